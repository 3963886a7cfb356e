"""Arithmetic and bytes that the rooflines count, for shapes whose numbers are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flops
import pytest
from peaks import Peaks
from steps import collected

F = "float"


def count(op: str, inputs: Sequence[Any], output: Sequence[int], **attributes: Any) -> int:
    operands = [(F, shape) for shape in inputs]
    return flops.operations(op, "generic", operands, [(F, output)], attributes)


@pytest.mark.parametrize(
    ("op", "inputs", "output", "attributes", "expected"),
    [
        ("MatMul", [(2, 3, 4), (4, 5)], (2, 3, 5), {}, 2 * 2 * 3 * 4 * 5),
        ("MatMul", [(4,), (4, 5)], (5,), {}, 2 * 4 * 5),
        ("PermutedMatMul", [(4, 3), (4, 5)], (3, 5), {"perm_a": [1, 0]}, 2 * 3 * 4 * 5),
        ("WeightMatMul", [(2, 3, 8), (5, 4), (5, 1)], (2, 3, 5), {"N": 5}, 2 * 6 * 8 * 5),
        ("Gemm", [(4, 3), (5, 4), (5,)], (3, 5), {"transA": 1, "transB": 1}, 2 * 3 * 4 * 5),
        ("MatMulInteger", [(3, 4), (4, 5)], (3, 5), {}, 2 * 3 * 4 * 5),
        ("Conv", [(1, 3, 9, 9), (8, 3, 3, 3)], (1, 8, 7, 7), {}, 2 * 8 * 49 * 27),
        ("Conv", [(1, 8, 9, 9), (8, 1, 3, 3)], (1, 8, 9, 9), {"group": 8}, 2 * 8 * 81 * 9),
        ("Conv", [(2, 4, 20), (6, 4, 5)], (2, 6, 16), {}, 2 * 2 * 6 * 16 * 20),
        ("ConvTranspose", [(1, 4, 5), (4, 6, 3)], (1, 6, 7), {}, 2 * 4 * 5 * 6 * 3),
        ("LSTM", [(7, 2, 3), (1, 16, 3), (1, 16, 4)], (7, 1, 2, 4), {}, 2 * 14 * 16 * 7),
        ("Relu", [(3, 4)], (3, 4), {}, 12),
        ("Transpose", [(3, 4)], (4, 3), {}, 0),
    ],
)
def test_operations(
    op: str, inputs: Any, output: Any, attributes: dict[str, Any], expected: int
) -> None:
    assert count(op, inputs, output, **attributes) == expected


def test_lanes_beyond_the_last_channel_do_not_count() -> None:
    blocked = count("ConvBlocked", [(1, 2, 9, 9, 16), (20, 32, 3, 3)], (1, 2, 9, 9, 16), block=16)
    assert blocked == count("Conv", [(1, 32, 9, 9), (20, 32, 3, 3)], (1, 20, 9, 9))


def test_attention_by_heads_or_by_rows() -> None:
    pairs = 2 * 2 * 4 * 10 * 12 * (8 + 6)  # batch 2, 4 heads, 10 queries, 12 keys
    four = [(2, 4, 10, 8), (2, 4, 12, 8), (2, 4, 12, 6)]
    assert count("Attention", four, (2, 4, 10, 6)) == pairs
    three = [(2, 10, 32), (2, 12, 32), (2, 12, 24)]
    assert count("Attention", three, (2, 10, 24), q_num_heads=4, kv_num_heads=4) == pairs


def test_causal_attention_counts_the_pairs_that_are_seen() -> None:
    shapes = [(1, 1, 4, 8)] * 3
    assert count("Attention", shapes, (1, 1, 4, 8), is_causal=1) == 2 * 10 * 16


def test_pointwise_programs_count_their_instructions() -> None:
    operands = [(F, (3, 4))]
    assert flops.operations("Pointwise", "pointwise program of 5", operands, operands, {}) == 60


@pytest.mark.parametrize(
    ("element", "bits"), [("float", 32), ("int8", 8), ("uint4", 4), ("bool", 8), ("bfloat16", 16)]
)
def test_bits(element: str, bits: int) -> None:
    assert flops.bits(element) == bits


def test_bytes() -> None:
    inputs, outputs = [(F, (10, 4)), ("int64", (2,))], [(F, (2, 4))]
    assert flops.bytes_moved("Add", "generic", inputs, outputs) == 160 + 16 + 32
    assert flops.bytes_moved("Gather", "generic", inputs, outputs) == 32 + 16 + 32
    assert flops.bytes_moved("Reshape", "alias", inputs, outputs) == 0


def event(name: str, start: int, took: int, kernel: str, rows: int = 4) -> dict[str, Any]:
    args = {"op_name": "Relu", "kernel": kernel, "node_index": name, "attributes": {}}
    shapes = {"input_type_shape": [{F: [rows]}], "output_type_shape": [{F: [rows]}]}
    return {
        "cat": "Node",
        "name": f"{name}_kernel_time",
        "ts": start,
        "dur": took,
        "args": args | shapes,
    }


def test_steps_with_bodies_keep_their_own_time_only() -> None:
    events = [
        event("a", 0, 10, "generic"),
        event("inner", 12, 20, "generic"),
        event("inner", 40, 30, "generic"),
        event("loop", 11, 69, "body"),
    ]
    found = {step.name: step for step in collected(events, 1)}
    assert found["loop"].seconds == pytest.approx(19e-6)
    assert found["inner"].calls == 2 and found["inner"].seconds == pytest.approx(50e-6)
    assert found["a"].seconds == pytest.approx(10e-6)


def test_the_tighter_roof_counts() -> None:
    peaks = Peaks(1, {"float": 1e9, "int8": 4e9}, [(1 << 10, 8e9), (1 << 20, 1e9)])
    (step,) = collected([event("relu", 0, 10, "generic", 1 << 20)], 1)
    assert step.least(peaks) == pytest.approx((8 << 20) / 1e9) and step.limit == "memory"
    assert peaks.compute("int8") == 4e9 and peaks.compute("double") == 5e8
    assert peaks.memory(2 << 10) == pytest.approx(8e9)
    tiles = Peaks(1, {"float": 1e9, "bfloat16": 12e9}, peaks.copies)
    assert tiles.compute("float") == 2e9 and tiles.compute("float16") == 3e9
