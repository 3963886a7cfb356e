"""Operators in the element types that are computed by way of another one."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto

from single_node import agree, check, run

RNG = np.random.default_rng(3)
PACKED = ["int4", "uint4", "int2", "uint2", "float4_e2m1fn"]


def words(*shape: int) -> np.ndarray:
    """Different strings."""
    return np.array([f"w{i}" for i in range(int(np.prod(shape)))], object).reshape(shape)


def numbered(x: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Strings by their numbers, 0 being the empty one."""
    return np.concatenate([np.array([""], object), table.ravel()])[x]


def small(name: str, *shape: int) -> np.ndarray:
    return RNG.integers(0, 2, shape).astype(np.float32).astype(getattr(ml_dtypes, name))


@pytest.mark.parametrize("name", PACKED)
def test_packed_elements_move(name):
    x = small(name, 3, 5)
    agree(run("Transpose", [x], opset=25), [x.T])
    got = run("Pad", [x, np.array([1, 0, 0, 2])], opset=25)
    wide = np.pad(x.astype(np.float32), ((1, 0), (0, 2)))
    agree(got, [wide.astype(x.dtype)])
    agree(run("Reshape", [x, np.array([5, 3])], opset=25), [x.reshape(5, 3)])


def test_strings_move():
    x = words(4, 2, 2)
    agree(run("Transpose", [x], perm=[2, 0, 1]), [x.transpose(2, 0, 1)])
    agree(run("Compress", [x, np.array([True, False, True])], axis=0), [x[[0, 2]]])
    agree(run("GatherND", [x, np.array([[0, 1], [3, 0]])]), [x[[0, 3], [1, 0]]])
    lengths = np.array([2, 4])
    want = x.copy()
    want[:2, 0], want[:, 1] = x[:2, 0][::-1], x[:, 1][::-1]
    agree(run("ReverseSequence", [x, lengths], time_axis=0, batch_axis=1), [want])
    y = x.reshape(1, 4, 2, 2)
    numbers = np.arange(1, 17).reshape(1, 4, 2, 2)
    made = run("DepthToSpace", [numbers], blocksize=2)[0]
    agree(run("DepthToSpace", [y], blocksize=2), [numbered(made, x)])


def test_strings_are_padded_with_empty_ones():
    x = words(2, 2)
    want = np.array([["", "w0", "w1"], ["", "w2", "w3"]], object)
    agree(run("Pad", [x, np.array([0, 1, 0, 0])]), [want])
    agree(run("Trilu", [x], upper=0), [np.array([["w0", ""], ["w2", "w3"]], object)])


def test_strings_are_scattered():
    x, updates = words(4), np.array(["a", "b"], object)
    want = np.array(["b", "w1", "w2", "a"], object)
    agree(run("ScatterElements", [x, np.array([3, 0]), updates]), [want])
    agree(run("ScatterND", [x, np.array([[3], [0]]), updates]), [want])
    got = run("OneHot", [np.array([1, 0]), np.array(2), np.array(["off", "on"], object)])
    agree(got, [np.array([["off", "on"], ["on", "off"]], object)])


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_where_of_complex_numbers(dtype):
    x = (RNG.random((3, 1)) + 1j * RNG.random((3, 1))).astype(dtype)
    y = (RNG.random(4) - 1j * RNG.random(4)).astype(dtype)
    condition = RNG.integers(0, 2, (2, 1, 4)).astype(bool)
    agree(run("Where", [condition, x, y]), [np.where(condition, x, y)])


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint32", "uint64"])
def test_gemm_of_whole_numbers(dtype):
    a, b = (RNG.integers(0, 9, shape).astype(dtype) for shape in ((3, 2), (4, 3)))
    c = RNG.integers(0, 9, 4).astype(dtype)
    want = (2 * (a.T @ b.T) + 3 * c).astype(dtype)
    agree(run("Gemm", [a, b, c], transA=1, transB=1, alpha=2.0, beta=3.0), [want])


@pytest.mark.parametrize("dtype", ["int8", "uint16", "float16", "float64", "uint64"])
def test_one_hot_indices(dtype):
    check("OneHot", [np.array([1, 0, 2], dtype), np.array(3), np.array([0.5, 2.5], np.float32)])


@pytest.mark.parametrize("scale", ["float8_e8m0fnu", "int32"])
def test_scales_of_other_types(scale):
    x = np.array([[1, 2, 3], [4, 50, -600]], np.float32)
    s = np.array([2, 4], np.float32).astype(getattr(ml_dtypes, scale, scale))
    zero = np.zeros(2, np.int8)
    want = np.clip(np.rint(x / np.array([[2], [4]])), -128, 127).astype(np.int8)
    got = run("QuantizeLinear", [x, s, zero], opset=28, axis=0, precision=TensorProto.FLOAT)
    agree(got, [want])


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2"])
def test_products_of_8_bit_floats(dtype):
    kind = getattr(ml_dtypes, dtype)
    a, b = (RNG.integers(-4, 5, shape).astype(np.float32) for shape in ((3, 4), (4, 2)))
    one, zero = np.array(1, np.float32), np.array(0, np.float32).astype(kind)
    inputs = [a.astype(kind), one, zero, b.astype(kind), one, zero, np.array(2, np.float32), zero]
    agree(run("QLinearMatMul", inputs), [(a @ b / 2).astype(kind)])
