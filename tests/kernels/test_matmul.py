"""Real matrix products agree with numpy: shapes and tails, transposed and broadcast operands, NaN
and infinity, any number of threads.
"""

from __future__ import annotations

import random

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import tiercel
from single_node import agree, model_of, run

EXTENTS = [1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 16, 17, 31, 33, 64, 97, 130, 250, 300]
LIMITS = {"float32": 1e-5, "float64": 1e-13, "float16": 4e-3, "bfloat16": 3e-2}


def normal(seed: int, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def near(got: np.ndarray, want: np.ndarray, dtype: str) -> None:
    """Within a share of the largest element: sums round in another order."""
    assert got.dtype == np.dtype(dtype)
    assert got.shape == want.shape
    scale = max(float(np.abs(want).max()), 1.0) if want.size else 1.0
    np.testing.assert_allclose(got.astype(np.float64), want, rtol=0, atol=LIMITS[dtype] * scale)


def run_constant(op: str, a: np.ndarray, b: np.ndarray, *more: np.ndarray, **attributes):
    """As `run`, with everything but A a constant of the model."""
    m = model_of(op, [a, b, *more], 1, 21, attributes)
    for i, x in enumerate((b, *more), 1):
        m.graph.initializer.append(numpy_helper.from_array(x, f"x{i}"))
    return tiercel.InferenceSession(m.SerializeToString()).run(None, {"x0": a})[0]


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("seed", range(40))
def test_matmul(dtype, seed):
    rng = random.Random(seed)
    m, depth, n = (rng.choice(EXTENTS) for _ in range(3))
    a, b = normal(seed, (m, depth), dtype), normal(seed + 1000, (depth, n), dtype)
    want = a.astype(np.float64) @ b.astype(np.float64)
    near(run("MatMul", [a, b])[0], want, dtype)
    near(run_constant("MatMul", a, b), want, dtype)


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("seed", range(40))
def test_gemm(dtype, seed):
    rng = random.Random(seed)
    m, depth, n = (rng.choice(EXTENTS) for _ in range(3))
    turned = {"transA": rng.randint(0, 1), "transB": rng.randint(0, 1)}
    alpha, beta = rng.choice([(1.0, 1.0), (0.5, 2.0)])
    a, b = normal(seed, (m, depth), dtype), normal(seed + 1000, (depth, n), dtype)
    c = normal(seed + 2000, rng.choice([(n,), (m, n), (1, n), (m, 1), (1,), ()]), dtype)
    want = alpha * (a.astype(np.float64) @ b.astype(np.float64)) + beta * c.astype(np.float64)
    a = np.ascontiguousarray(a.T) if turned["transA"] else a
    b = np.ascontiguousarray(b.T) if turned["transB"] else b
    near(run("Gemm", [a, b, c], alpha=alpha, beta=beta, **turned)[0], want, dtype)
    near(run_constant("Gemm", a, b, c, alpha=alpha, beta=beta, **turned), want, dtype)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((2, 3, 20, 8), (3, 8, 9)),
        ((8,), (4, 8, 3)),
        ((4, 5, 8), (8,)),
        ((8,), (8,)),
        ((1, 4, 70, 33), (5, 1, 33, 18)),
        ((3, 0), (0, 5)),
    ],
)
def test_batches_are_broadcast(left, right):
    a, b = normal(0, left, "float32"), normal(1, right, "float32")
    near(run("MatMul", [a, b])[0], np.matmul(a, b), "float32")
    near(run_constant("MatMul", a, b), np.matmul(a, b), "float32")


@pytest.mark.parametrize("m", [1, 2, 5, 13, 40])
@pytest.mark.parametrize("n", [3, 16, 70])
def test_not_a_number_and_infinity_stay_in_their_rows(m, n):
    a, b = normal(0, (m, 37), "float32"), normal(1, (37, n), "float32")
    a[-1, 3], b[5, -1] = np.nan, np.inf
    with np.errstate(invalid="ignore"):
        want = a @ b
    for got in (run("MatMul", [a, b])[0], run_constant("MatMul", a, b)):
        np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
        np.testing.assert_array_equal(np.isposinf(got), np.isposinf(want))
        finite = np.isfinite(want)
        np.testing.assert_allclose(got[finite], want[finite], rtol=1e-4, atol=1e-4)


def permuted_model(
    shapes: list[tuple[int, ...]], perms: list[list[int] | None], dtype: str
) -> onnx.ModelProto:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    infos = [helper.make_tensor_value_info(f"x{i}", kind, s) for i, s in enumerate(shapes)]
    nodes, names = [], []
    for i, perm in enumerate(perms):
        names.append(f"x{i}" if perm is None else f"t{i}")
        if perm is not None:
            nodes.append(helper.make_node("Transpose", [f"x{i}"], [f"t{i}"], perm=perm))
    nodes.append(helper.make_node("MatMul", names, ["y"]))
    graph = helper.make_graph(nodes, "g", infos, [helper.make_empty_tensor_value_info("y")])
    opsets = [helper.make_opsetid("", 21)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("rows", [1, 9, 50])
@pytest.mark.parametrize(
    ("perm_a", "perm_b"),
    [
        ([0, 2, 1, 3], [0, 2, 3, 1]),
        (None, [0, 2, 3, 1]),
        ([0, 2, 3, 1], [0, 2, 1, 3]),
        ([0, 1, 3, 2], None),
        ([0, 2, 1, 3], [3, 1, 2, 0]),
    ],
)
def test_transposed_operands(dtype, rows, perm_a, perm_b):
    logical = [(2, 3, rows, 24), (2, 3, 24, 37)]
    shapes = [
        s if p is None else tuple(s[i] for i in np.argsort(p))
        for s, p in zip(logical, (perm_a, perm_b), strict=True)
    ]
    operands = [normal(i, shape, dtype) for i, shape in enumerate(shapes)]
    m = permuted_model(shapes, [perm_a, perm_b], dtype)
    s = tiercel.InferenceSession(m.SerializeToString())
    wide = [
        x.astype(np.float64) if p is None else x.astype(np.float64).transpose(p)
        for x, p in zip(operands, (perm_a, perm_b), strict=True)
    ]
    got = s.run(None, {f"x{i}": x for i, x in enumerate(operands)})[0]
    near(got, np.matmul(*wide), dtype)


def test_results_do_not_depend_on_the_number_of_threads():
    a, b = normal(0, (300, 700), "float32"), normal(1, (700, 520), "float32")
    m = model_of("MatMul", [a, b], 1, 21, {})
    results = []
    for threads in (1, 2, 3):
        options = tiercel.SessionOptions()
        options.intra_op_num_threads = threads
        s = tiercel.InferenceSession(m.SerializeToString(), options)
        results.append(s.run(None, {"x0": a, "x1": b})[0])
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint32", "uint64"])
@pytest.mark.parametrize("m, depth, n", [(1, 3, 1), (4, 5, 16), (7, 9, 37), (6, 1, 33), (3, 0, 2)])
def test_products_of_whole_numbers(dtype, m, depth, n):
    high = 2 ** (31 if "32" in dtype else 62)
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, high, (2, 1, m, depth)), rng.integers(0, high, (3, depth, n))
    a, b = a.astype(dtype), b.astype(dtype)
    agree(run("MatMul", [a, b]), [a @ b])
    agree(run("MatMul", [a[0, 0], b[0]]), [a[0, 0] @ b[0]])
