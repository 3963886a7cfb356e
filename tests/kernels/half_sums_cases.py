"""Programs behind products of 16-bit floats, for one instruction set: test_half_sums.py runs this
file. What a product would round away is all that is left once its rounded value is subtracted.
"""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from onnx import helper, numpy_helper

import tiercel

TYPES = {"float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}
# Rows, depth, columns: one block, tails, many blocks of rows and of columns.
SIZES = [(1, 5, 3), (3, 33, 17), (4, 64, 2500), (70, 40, 130), (300, 96, 64), (260, 70, 700)]


def normal(seed: int, dtype: np.dtype, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def wide(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float64)


def run(nodes: list, feeds: dict[str, np.ndarray], **constants: np.ndarray) -> np.ndarray:
    """The output y of a graph whose nodes become one, with two threads."""
    kind = helper.np_dtype_to_tensor_dtype(feeds["x"].dtype)
    inputs = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
        )
        for name, value in feeds.items()
    ]
    graph = helper.make_graph(
        *(nodes, "g", inputs, [helper.make_tensor_value_info("y", kind, None)]),
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    options = tiercel.SessionOptions()
    options.intra_op_num_threads = 2
    session = tiercel.InferenceSession(model.SerializeToString(), options)
    values = {name: tiercel.OrtValue.ortvalue_from_numpy(x) for name, x in feeds.items()}
    made = session.run_with_ort_values(None, values)[0].numpy()
    computing = [op for _, op, *_ in session._sess.nodes() if op not in ("Reshape", "Transpose")]
    assert len(computing) == 1, computing
    return made


def near(got: np.ndarray, want: np.ndarray, product: np.ndarray) -> None:
    """`want` in the type of `got`, but for float32 sums as large as `product`."""
    ulp = float(ml_dtypes.finfo(got.dtype).eps)
    room = 0.6 * ulp * np.abs(want) + 3e-6 * np.abs(product).max()
    assert (np.abs(wide(got) - want) <= room).all()


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("m, depth, n", SIZES)
@pytest.mark.parametrize("name", TYPES)
def test_matmul(name: str, m: int, depth: int, n: int, constant: bool) -> None:
    x, w = normal(1, TYPES[name], m, depth), normal(2, TYPES[name], depth, n)
    product = wide(x) @ wide(w)
    rounded = product.astype(x.dtype)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"])]
    nodes.append(helper.make_node("Sub", ["p", "r"], ["y"]))
    feeds = {"x": x, "r": rounded} | ({} if constant else {"w": w})
    got = run(nodes, feeds, **({"w": w} if constant else {}))
    near(got, product - wide(rounded), product)
    assert (got != 0).mean() > 0.5


@pytest.mark.parametrize("operand", ["scalar", "row", "column", "matrix", "batch"])
@pytest.mark.parametrize("name", TYPES)
def test_operands(name: str, operand: str) -> None:
    b, m, depth, n = 3, 29, 40, 150
    x, w = normal(1, TYPES[name], b, m, depth), normal(2, TYPES[name], b, depth, n)
    shapes = {"scalar": (1,), "row": (n,), "column": (m, 1), "matrix": (m, n), "batch": (b, 1, 1)}
    z = normal(3, TYPES[name], *shapes[operand])
    product = wide(x) @ wide(w)
    rounded = product.astype(x.dtype)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Sub", ["p", "r"], ["d"]),
        helper.make_node("Mul", ["d", "z"], ["e"]),
        helper.make_node("Sub", ["e", "d"], ["y"]),
    ]
    got = run(nodes, {"x": x, "w": w, "r": rounded, "z": z})
    near(got, (product - wide(rounded)) * (wide(z) - 1), product * np.abs(wide(z) - 1).max())


@pytest.mark.parametrize("turned", [0, 1])
@pytest.mark.parametrize("m, depth, n", SIZES)
@pytest.mark.parametrize("name", TYPES)
def test_gemm(name: str, m: int, depth: int, n: int, turned: int) -> None:
    x, c = normal(1, TYPES[name], m, depth), normal(3, TYPES[name], n)
    w = normal(2, TYPES[name], *((n, depth) if turned else (depth, n)))
    product = 0.5 * (wide(x) @ (wide(w).T if turned else wide(w))) + 2 * wide(c)
    rounded = product.astype(x.dtype)
    attributes = {"alpha": 0.5, "beta": 2.0, "transB": turned}
    nodes = [helper.make_node("Gemm", ["x", "w", "c"], ["p"], **attributes)]
    nodes.append(helper.make_node("Sub", ["p", "r"], ["y"]))
    near(run(nodes, {"x": x, "r": rounded}, w=w, c=c), product - wide(rounded), product)


@pytest.mark.parametrize("m", [1, 3, 40])
@pytest.mark.parametrize("name", TYPES)
def test_packed_weights(name: str, m: int) -> None:
    """Activations are digits of eight bits there, three for a number."""
    depth, n = 64, 96
    x = normal(1, TYPES[name], m, depth)
    w = np.random.default_rng(2).integers(-128, 128, (depth, n), np.int8)
    scale = np.asarray(2.0**-6, TYPES[name])
    product = wide(x) @ w.astype(np.float64) * float(scale)
    rounded = product.astype(x.dtype)
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["d"]),
        helper.make_node("MatMul", ["x", "d"], ["p"]),
        helper.make_node("Sub", ["p", "r"], ["y"]),
    ]
    got = run(nodes, {"x": x, "r": rounded}, w=w, s=scale)
    near(got, product - wide(rounded), product)


def test_sums_that_float16_cannot_hold() -> None:
    """They are finite until they leave the program; NaN and infinity are what they were."""
    x = np.full((4, 8), 4096, np.float16)
    x[1, 2], x[2, 3] = np.inf, np.nan
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Mul", ["p", "z"], ["y"]),
    ]
    got = run(nodes, {"x": x}, w=np.full((8, 5), 64, np.float16), z=np.float16(2**-6).reshape(()))
    assert (got[[0, 3]] == 32768).all()
    assert np.isposinf(got[1]).all()
    assert np.isnan(got[2]).all()
