"""Sums of 16-bit floats that stay float32 between nodes on the GPU: what products store, what norms
read, launches.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, helper

import softcuda
from gpu_nodes import element_type, launches
from tiercel import InferenceSession, OrtValue, SessionOptions

Array = NDArray[Any]
Arrays = dict[str, Array]
Product = tuple[list[NodeProto], Arrays, Array]
TYPES: dict[str, np.dtype[Any]] = {
    "f16": np.dtype(np.float16),
    "bf16": np.dtype(ml_dtypes.bfloat16),
}
EPSILON = 2.0**-12


def normal(seed: int, dtype: np.dtype[Any], *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def wide(x: Array) -> Array:
    return x.astype(np.float64)


def matmul(dtype: np.dtype[Any], m: int, n: int) -> Product:
    x, w = normal(1, dtype, m, 64), normal(2, dtype, 64, n)
    return [helper.make_node("MatMul", ["x", "w"], ["p"])], {"x": x, "w": w}, wide(x) @ wide(w)


def gemm(dtype: np.dtype[Any], m: int, n: int) -> Product:
    x, w, c = normal(1, dtype, m, 64), normal(2, dtype, n, 64), normal(3, dtype, n)
    node = helper.make_node("Gemm", ["x", "w", "c"], ["p"], transB=1, beta=2.0)
    return [node], {"x": x, "w": w, "c": c}, wide(x) @ wide(w).T + 2 * wide(c)


def permuted(dtype: np.dtype[Any], m: int, n: int) -> Product:
    x, w = normal(1, dtype, 64, m), normal(2, dtype, 64, n)
    nodes = [
        helper.make_node("Transpose", ["x"], ["turned"]),
        helper.make_node("MatMul", ["turned", "w"], ["p"]),
    ]
    return nodes, {"x": x, "w": w}, wide(x).T @ wide(w)


def by_columns(dtype: np.dtype[Any], m: int, n: int) -> Product:
    x = normal(1, dtype, m, 64)
    w = np.random.default_rng(2).integers(0, 256, (n, 2, 32), np.uint8)
    s = np.full((n, 2), 2.0**-6).astype(dtype)
    sizes = {"K": 64, "N": n, "bits": 8, "block_size": 32}
    node = helper.make_node("MatMulNBits", ["x", "w", "s"], ["p"], domain="com.microsoft", **sizes)
    return [node], {"x": x, "w": w, "s": s}, wide(x) @ (wide(w) - 128).reshape(n, 64).T / 64


def by_rows(dtype: np.dtype[Any], m: int, n: int) -> Product:
    x = normal(1, dtype, m, 64)
    w, s = np.random.default_rng(2).integers(-128, 128, (64, n), np.int8), np.full((2, n), 2.0**-6)
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["d"], axis=0, block_size=32),
        helper.make_node("MatMul", ["x", "d"], ["p"]),
    ]
    return nodes, {"x": x, "w": w, "s": s.astype(dtype)}, wide(x) @ wide(w) / 64


def no_product(dtype: np.dtype[Any], m: int, n: int) -> Product:
    x, z = normal(1, dtype, m, n), normal(2, dtype, m, 1)
    return [helper.make_node("Mul", ["x", "z"], ["p"])], {"x": x, "z": z}, wide(x) * wide(z)


def expected(t: Array, k: Arrays, op: str) -> Array:
    centred = t if op == "RMSNormalization" else t - t.mean(-1, keepdims=True)
    made = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + EPSILON) * wide(k["g"])
    return made + wide(k["b"]) if "b" in k else made


def text_of(
    nodes: list[NodeProto], operands: Arrays, inputs: set[str], outputs: list[str]
) -> bytes:
    """A model whose inputs have those names; other operands are constants."""
    kind, shape = element_type(operands["x"]), operands["r"].shape
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info(n, element_type(operands[n]), operands[n].shape)
            for n in sorted(inputs)
        ],
        [helper.make_tensor_value_info(n, kind, shape) for n in outputs],
        [
            helper.make_tensor(n, element_type(a), a.shape, a.tobytes(), raw=True)
            for n, a in operands.items()
            if n not in inputs
        ],
    )
    opsets = [helper.make_opsetid("", 23), helper.make_opsetid("com.microsoft", 1)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    return bytes(made.SerializeToString())


def on_gpu(text: bytes, *disabled: str) -> InferenceSession:
    """A session in which no node may fall back."""
    options = SessionOptions()
    options.verify_passes = True
    options.disabled_passes = list(disabled)
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    return InferenceSession(text, options, ["CUDAExecutionProvider"])


def launches_of_run(
    device: softcuda.Device, session: InferenceSession, feeds: dict[str, OrtValue]
) -> int:
    """Those of a run after the first."""
    session.run_with_ort_values(None, feeds)
    return launches(device, lambda: session.run_with_ort_values(None, feeds))


NORMS = {"LayerNormalization": ["g", "b"], "RMSNormalization": ["g"]}
# Tiles of both sizes, few rows; lines that pairs and packs of items do not fill.
CASES = [
    (matmul, 70, 72), (matmul, 67, 131), (matmul, 20, 33), (matmul, 3, 40), (matmul, 1, 9),
    (gemm, 70, 65), (gemm, 5, 48), (permuted, 66, 70), (by_columns, 4, 40), (by_columns, 17, 33),
    (by_rows, 1, 70), (by_rows, 12, 64), (no_product, 3, 1200), (no_product, 2, 9000),
    (no_product, 2, 9001), (no_product, 9, 13),
]  # fmt: skip


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize(("product", "m", "n"), CASES)
def test_sum(
    cuda_driver: softcuda.Device,
    product: Callable[[np.dtype[Any], int, int], Product],
    m: int,
    n: int,
    name: str,
    norm: str,
) -> None:
    dtype, names = TYPES[name], NORMS[norm]
    nodes, operands, made = product(dtype, m, n)
    operands |= {"r": normal(4, dtype, m, n), "g": normal(5, dtype, n), "b": normal(6, dtype, n)}
    t = made + wide(operands["r"])
    operands["q"] = t.astype(dtype)
    nodes += [
        helper.make_node("Add", ["p", "r"], ["t"]),
        helper.make_node(norm, ["t", *names], ["y"], axis=-1, epsilon=EPSILON),
        helper.make_node("Sub", ["t", "q"], ["u"]),
    ]
    inputs = {"x", "r", "q", "z"} & set(operands)
    text = text_of(nodes, operands, inputs, ["y", "u"])
    session, plain = on_gpu(text), on_gpu(text, "widen")
    assert re.search(r"^  widen +changed", session.explain(), re.M), session.explain()
    feeds = {o: OrtValue.ortvalue_from_numpy(operands[o]) for o in inputs}
    y, u = (value.numpy() for value in session.run_with_ort_values(None, feeds))
    # What 16 bits would lose of t is all that is left of it.
    ulp, size = float(ml_dtypes.finfo(dtype).eps), float(np.abs(t).max())
    lost = t - wide(operands["q"])
    assert (np.abs(wide(u) - lost) <= 0.6 * ulp * np.abs(lost) + 4e-6 * size).all()
    assert (u != 0).mean() > 0.3
    want = expected(t, {o: operands[o] for o in names}, norm)
    assert (np.abs(wide(y) - want) <= 0.6 * ulp * np.abs(want) + 2e-4).all()
    assert launches_of_run(cuda_driver, session, feeds) == launches_of_run(
        cuda_driver, plain, feeds
    )


@pytest.mark.parametrize("name", TYPES)
def test_residual_blocks(cuda_driver: softcuda.Device, name: str) -> None:
    """A stream far from zero, of which norms see the differences: halves round those away."""
    dtype, m, n = TYPES[name], 19, 72
    far = 100 if name == "f16" else 12
    operands = {"x": normal(1, dtype, m, n), "v": normal(2, dtype, n, n) / dtype.type(8)}
    operands["x"] = (wide(operands["x"]) + far).astype(dtype)
    operands |= {"r": normal(3, dtype, m, n), "g": normal(4, dtype, n), "b": normal(5, dtype, n)}
    nodes = [helper.make_node("Add", ["x", "r"], ["s0"])]
    t = wide(operands["x"]) + wide(operands["r"])
    for i in range(4):
        nodes += [
            helper.make_node("LayerNormalization", [f"s{i}", "g", "b"], [f"n{i}"], epsilon=EPSILON),
            helper.make_node("MatMul", [f"n{i}", "v"], [f"m{i}"]),
            helper.make_node("Add", [f"s{i}", f"m{i}"], [f"s{i + 1}"]),
        ]
        t = t + expected(t, operands, "LayerNormalization") @ wide(operands["v"])
    nodes.append(helper.make_node("LayerNormalization", ["s4", "g", "b"], ["y"], epsilon=EPSILON))
    want = expected(t, operands, "LayerNormalization")
    text = text_of(nodes, operands, {"x"}, ["y"])
    session, plain = on_gpu(text), on_gpu(text, "widen")
    host = InferenceSession(text, providers=["CPUExecutionProvider"])
    feeds = {"x": OrtValue.ortvalue_from_numpy(operands["x"])}
    got, rounded, other = (
        wide(s.run_with_ort_values(None, feeds)[0].numpy()) for s in (session, plain, host)
    )
    error = np.linalg.norm(got - want)
    assert error < 0.25 * np.linalg.norm(rounded - want)
    assert np.linalg.norm(got - other) < 1.5 * error
    assert (
        launches_of_run(cuda_driver, session, feeds)
        == launches_of_run(cuda_driver, plain, feeds)
        == 10
    )
