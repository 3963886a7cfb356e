"""Indices, lengths and counts that data gives: outside what they point into, an error names the
node, and nothing is read or written there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tiercel
from single_node import model_of

HUGE = [2**31 - 1, -(2**31)]


def real(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def whole(*values: Any, dtype: str = "int64") -> np.ndarray:
    return np.array(values, dtype)


@dataclass
class Bad:
    """A node whose input `at` holds what is outside; `values` are what it may hold, each filling
    the whole input."""

    op: str
    inputs: list[Any]
    at: int
    values: list[int]
    attributes: dict[str, Any] = field(default_factory=dict)
    opset: int = 24
    outputs: int = 1


MS = {"domain": "com.microsoft"}
ML = {"domain": "ai.onnx.ml"}
RNN = [real(3, 2, 4), real(1, 5, 4), real(1, 5, 5), None]
ATTENTION = {"q_num_heads": 1, "kv_num_heads": 1}
BOXES = np.array([[[0, 0, 1, 1], [0, 0, 2, 2]]], np.float32)
EMBED = [real(7, 8), real(5, 8), real(2, 8), real(8), real(8)]

CASES = [
    Bad("Gather", [real(4, 3), whole(0, 1)], 1, [4, -5, *HUGE]),
    Bad("Gather", [real(4, 3), whole(0, 1, dtype="int32")], 1, [3, -4, *HUGE], {"axis": 1}),
    Bad("Gather", [np.array(["a", "b"], object), whole(0, 1)], 1, [2, -3, *HUGE]),
    Bad("GatherElements", [real(4, 3), whole([0, 1, 2])], 1, [4, -5, *HUGE]),
    Bad("GatherElements", [np.array(["a", "b"], object), whole(0, 1)], 1, [2, -3, *HUGE]),
    Bad("GatherND", [real(4, 3), whole([0, 1])], 1, [4, -5, *HUGE]),
    Bad("GatherND", [real(2, 4, 3), whole([0], [1])], 1, [4, -5, *HUGE], {"batch_dims": 1}),
    Bad("ScatterElements", [real(4, 3), whole([0, 1, 2]), real(1, 3)], 1, [4, -5, *HUGE]),
    Bad(
        "ScatterElements",
        [real(4, 3), whole([0, 1, 2]), real(1, 3)],
        1,
        [4, -5, *HUGE],
        {"reduction": "add"},
    ),
    Bad("ScatterND", [real(4, 3), whole([0]), real(1, 3)], 1, [4, -5, *HUGE]),
    Bad("ScatterND", [real(4, 3), whole([0]), real(1, 3)], 1, [4, *HUGE], {"reduction": "max"}),
    Bad("Scatter", [real(4, 3), whole([0, 1, 2]), real(1, 3)], 1, [4, -5, *HUGE], opset=10),
    Bad("ArrayFeatureExtractor", [real(2, 4), whole(0, 1)], 1, [4, -5, *HUGE], ML),
    Bad(
        "ReverseSequence",
        [real(4, 2), whole(1, 2)],
        1,
        [5, -1, *HUGE],
        {"time_axis": 0, "batch_axis": 1},
    ),
    Bad("SequenceAt", [[real(2), real(3)], whole(0)], 1, [2, -3, *HUGE]),
    Bad("SequenceErase", [[real(2), real(3)], whole(0)], 1, [2, -3, *HUGE]),
    Bad("SequenceInsert", [[real(2), real(3)], real(1), whole(0)], 2, [3, -3, *HUGE]),
    Bad("MaxUnpool", [real(1, 1, 2, 2), whole([[[0, 3], [8, 11]]])], 1, [16, -1, *HUGE], {
        "kernel_shape": [2, 2],
        "strides": [2, 2],
    }),
    Bad("RotaryEmbedding", [real(1, 1, 2, 4), real(6, 2), real(6, 2), whole([0, 1])], 3, [
        6,
        -1,
        *HUGE,
    ]),
    Bad("TensorScatter", [real(2, 1, 4, 3), real(2, 1, 2, 3), whole(0, 1)], 2, [3, -1, *HUGE]),
    Bad(
        "Attention",
        [real(1, 1, 2, 4), real(1, 1, 5, 4), real(1, 1, 5, 4), None, None, None, whole(3)],
        6,
        [6, -1, *HUGE],
    ),
    Bad("RoiAlign", [real(2, 1, 4, 4), real(1, 4), whole(0)], 2, [2, -1, *HUGE]),
    Bad("NegativeLogLikelihoodLoss", [real(2, 3), whole(0, 1)], 1, [3, -1, *HUGE]),
    Bad("SoftmaxCrossEntropyLoss", [real(2, 3), whole(0, 1)], 1, [3, -1, *HUGE]),
    Bad("TopK", [real(4), whole(1)], 1, [5, -1, *HUGE], outputs=2),
    Bad("RNN", [*RNN, whole(1, 2, dtype="int32")], 4, [4, -1, *HUGE], {"hidden_size": 5}),
    Bad("CumSum", [real(2, 3), whole(0)], 1, [2, -3, *HUGE]),
    Bad("CumProd", [real(2, 3), whole(0)], 1, [2, -3, *HUGE], opset=26),
    Bad("Unsqueeze", [real(2, 3), whole(0)], 1, [3, -4, *HUGE]),
    Bad("Squeeze", [real(1, 3, 1), whole(0)], 1, [3, -4, *HUGE]),
    Bad("ReduceSum", [real(2, 3), whole(0)], 1, [2, -3, *HUGE]),
    Bad("DFT", [real(1, 4, 1), None, whole(1)], 2, [3, -4, *HUGE]),
    Bad("ConstantOfShape", [whole(2)], 0, [-1, -(2**31)]),
    Bad("Expand", [real(2), whole(2)], 1, [3, -2, *HUGE]),
    Bad("Reshape", [real(4), whole(2, 2)], 1, [5, -2, *HUGE]),
    Bad("Tile", [real(2), whole(2)], 1, [-1, -(2**31)]),
    Bad("Split", [real(4), whole(2, 2)], 1, [3, -1, *HUGE], outputs=2),
    Bad("Slice", [real(4), whole(0), whole(2), whole(0)], 3, [1, -2, *HUGE]),
    Bad("Pad", [real(4), whole(1, 1)], 1, [-3, -(2**31)]),
    Bad("EmbedLayerNormalization", [
        whole([1, 2], dtype="int32"), whole([0, 1], dtype="int32"), *EMBED,
    ], 0, [7, -8, *HUGE], MS, outputs=2),
    Bad("EmbedLayerNormalization", [
        whole([1, 2], dtype="int32"), whole([0, 1], dtype="int32"), *EMBED,
    ], 1, [2, -3, *HUGE], MS, outputs=2),
    Bad("RotaryEmbedding", [real(1, 1, 2, 4), whole([0, 1]), real(6, 2), real(6, 2)], 1, [
        6, -1, *HUGE,
    ], MS),
]  # fmt: skip


def model_and_feeds(
    case: Bad, value: int | None, constant: bool
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """The model, with the index input in it where `constant`; value None: what it holds."""
    inputs = list(case.inputs)
    if value is not None:
        inputs[case.at] = np.full_like(inputs[case.at], value)
    plain = [np.zeros(1, np.float32) if isinstance(x, list) else x for x in inputs]
    model = model_of(case.op, plain, case.outputs, case.opset, case.attributes)
    for info in model.graph.input:
        if isinstance(inputs[int(info.name[1:])], list):
            kind = helper.make_tensor_sequence_value_info(info.name, TensorProto.FLOAT, None)
            info.CopyFrom(kind)
    feeds = {f"x{i}": x for i, x in enumerate(inputs) if x is not None}
    if constant:
        name = f"x{case.at}"
        model.graph.initializer.append(numpy_helper.from_array(feeds.pop(name), name))
        kept = [info for info in model.graph.input if info.name != name]
        del model.graph.input[:]
        model.graph.input.extend(kept)
    return model, feeds


def run(case: Bad, value: int | None, constant: bool) -> list[Any]:
    model, feeds = model_and_feeds(case, value, constant)
    return list(tiercel.InferenceSession(model.SerializeToString()).run(None, feeds))


def label(case: Bad) -> str:
    return f"{case.op}-{case.at}-{'-'.join(str(v) for v in case.attributes.values())}"


@pytest.mark.parametrize("constant", [False, True], ids=["given", "constant"])
@pytest.mark.parametrize("case", CASES, ids=label)
def test_an_index_outside_is_an_error_that_names_the_node(case: Bad, constant: bool) -> None:
    run(case, None, constant)
    for value in case.values:
        with pytest.raises(Exception, match='"node"'):
            run(case, value, constant)


@pytest.mark.parametrize("value", [-(2**62), -9, 3, 10**6, 2**62])
def test_what_only_counts_is_clamped(value: int) -> None:
    """Slice, the boxes of NonMaxSuppression, OneHot and Trilu take any number."""
    cut = Bad("Slice", [real(4), whole(0), whole(2)], 2, [])
    assert len(run(cut, value, False)[0]) == len(range(4)[:value])
    scores = np.array([[[0.9, 0.8]]], np.float32)
    boxes = Bad("NonMaxSuppression", [BOXES, scores, whole(1)], 2, [])
    assert len(run(boxes, value, False)[0]) <= 2
    hot = Bad("OneHot", [whole(0, 1), np.array(3), np.array([0, 1], np.float32)], 0, [])
    assert run(hot, value, False)[0].sum() == 0
    assert run(Bad("Trilu", [real(3, 3), np.array(0)], 1, []), value, False)[0].shape == (3, 3)


@pytest.mark.parametrize("length", [1, 5, 9])
def test_compress_reads_no_further_than_its_axis(length: int) -> None:
    case = Bad("Compress", [real(4, 2), np.zeros(length, bool)], 1, [], {"axis": 0})
    try:
        rows = len(run(case, 1, False)[0])
    except Exception as error:
        assert '"node"' in str(error)
    else:
        assert rows <= min(length, 4)
