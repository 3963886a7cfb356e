"""Sums of 16-bit floats that stay float32 for a norm and for another sum, for one instruction set:
test_wide_sums.py runs this file. What 16 bits would lose is all that is left of a sum once its
rounded value is subtracted.
"""

from __future__ import annotations

from collections.abc import Callable

import ml_dtypes
import numpy as np
import pytest
from onnx import helper, numpy_helper

import tiercel

TYPES = {"float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}
# Rows, depth, columns: one block, tails, many blocks of rows and of columns.
SIZES = [(1, 32, 3), (3, 32, 17), (4, 64, 2500), (70, 32, 130), (300, 96, 64), (260, 64, 701)]
Arrays = dict[str, np.ndarray]
EPSILON = 2.0**-12


def normal(seed: int, dtype: np.dtype, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def wide(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float64)


def tensor_info(name: str, x: np.ndarray) -> object:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)


def matmul(dtype: np.dtype, m: int, depth: int, n: int) -> tuple[list, Arrays, np.ndarray]:
    x, w = normal(1, dtype, m, depth), normal(2, dtype, depth, n)
    return [helper.make_node("MatMul", ["x", "w"], ["p"])], {"x": x, "w": w}, wide(x) @ wide(w)


def gemm(dtype: np.dtype, m: int, depth: int, n: int) -> tuple[list, Arrays, np.ndarray]:
    x, w, c = normal(1, dtype, m, depth), normal(2, dtype, n, depth), normal(3, dtype, n)
    node = helper.make_node("Gemm", ["x", "w", "c"], ["p"], transB=1, beta=2.0)
    return [node], {"x": x, "w": w, "c": c}, wide(x) @ wide(w).T + 2 * wide(c)


def permuted(dtype: np.dtype, m: int, depth: int, n: int) -> tuple[list, Arrays, np.ndarray]:
    x, w = normal(1, dtype, depth, m), normal(2, dtype, depth, n)
    nodes = [
        helper.make_node("Transpose", ["x"], ["turned"]),
        helper.make_node("MatMul", ["turned", "w"], ["p"]),
    ]
    return nodes, {"x": x, "w": w}, wide(x).T @ wide(w)


def packed(dtype: np.dtype, m: int, depth: int, n: int) -> tuple[list, Arrays, np.ndarray]:
    x, blocks = normal(1, dtype, m, depth), depth // 32
    w = np.random.default_rng(2).integers(0, 256, (n, blocks, 32), np.uint8)
    s = np.full((n, blocks), 2.0**-6).astype(dtype)
    sizes = {"K": depth, "N": n, "bits": 8, "block_size": 32}
    node = helper.make_node("MatMulNBits", ["x", "w", "s"], ["p"], domain="com.microsoft", **sizes)
    matrix = (w.astype(np.float64) - 128).reshape(n, depth).T * 2.0**-6
    return [node], {"x": x, "w": w, "s": s}, wide(x) @ matrix


def no_product(dtype: np.dtype, m: int, depth: int, n: int) -> tuple[list, Arrays, np.ndarray]:
    x, z = normal(1, dtype, m, n), normal(2, dtype, m, 1)
    return [helper.make_node("Mul", ["x", "z"], ["p"])], {"x": x, "z": z}, wide(x) * wide(z)


def expected(t: np.ndarray, k: Arrays, norm: str) -> np.ndarray:
    centred = t if norm == "RMSNormalization" else t - t.mean(-1, keepdims=True)
    made = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + EPSILON) * wide(k["g"])
    return made + wide(k["b"]) if "b" in k else made


PRODUCTS = [matmul, gemm, permuted, packed, no_product]
NORMS = {"LayerNormalization": ["g", "b"], "RMSNormalization": ["g"], "LayerNormalization ": ["g"]}


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("m, depth, n", SIZES)
@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("name", TYPES)
def test_sum(name: str, product: Callable, m: int, depth: int, n: int, norm: str) -> None:
    dtype = TYPES[name]
    nodes, operands, made = product(dtype, m, depth, n)
    operands |= {"r": normal(4, dtype, m, n), "g": normal(5, dtype, n), "b": normal(6, dtype, n)}
    t = made + wide(operands["r"])
    operands["q"] = t.astype(dtype)
    op, names = norm.strip(), NORMS[norm]
    nodes += [
        helper.make_node("Add", ["p", "r"], ["t"]),
        helper.make_node(op, ["t", *names], ["y"], axis=-1, epsilon=EPSILON),
        helper.make_node("Sub", ["t", "q"], ["u"]),
    ]
    kind = helper.np_dtype_to_tensor_dtype(dtype)
    inputs = {"x", "r", "q", "z"} & set(operands)
    graph = helper.make_graph(
        nodes,
        "g",
        [tensor_info(n, operands[n]) for n in sorted(inputs)],
        [helper.make_tensor_value_info(o, kind, (m, n)) for o in ("y", "u")],
        [numpy_helper.from_array(x, o) for o, x in operands.items() if o not in inputs],
    )
    opsets = [helper.make_opsetid("", 23), helper.make_opsetid("com.microsoft", 1)]
    options = tiercel.SessionOptions()
    options.intra_op_num_threads = 2
    text = helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    session = tiercel.InferenceSession(text, options)
    feeds = {o: tiercel.OrtValue.ortvalue_from_numpy(operands[o]) for o in inputs}
    y, u = (value.numpy() for value in session.run_with_ort_values(None, feeds))
    ulp, size = float(ml_dtypes.finfo(dtype).eps), float(np.abs(t).max())
    lost = t - wide(operands["q"])
    assert (np.abs(wide(u) - lost) <= 0.6 * ulp * np.abs(lost) + 4e-6 * size).all()
    assert (u != 0).mean() > 0.3
    want = expected(t, {o: operands[o] for o in names}, op)
    assert (np.abs(wide(y) - want) <= 0.6 * ulp * np.abs(want) + 2e-4).all()
