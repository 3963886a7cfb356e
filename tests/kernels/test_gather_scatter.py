"""Operators that read or write at indices agree with onnx's reference and check every index."""

from __future__ import annotations

import numpy as np
import pytest

from single_node import agree, check, run

RNG = np.random.default_rng(8)


def values(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("index", ["int32", "int64"])
def test_gather(axis, index):
    x = values(4, 5, 3)
    check("Gather", [x, np.array([[0, -1], [2, 1]], index)], axis=axis)
    check("Gather", [x, np.array(-2, index)], axis=axis)


@pytest.mark.parametrize("dtype", ["float16", "int8", "bool", "int64", "complex128"])
def test_gather_takes_every_width(dtype):
    x = RNG.integers(0, 2, (4, 5)).astype(dtype)
    agree(run("Gather", [x, np.array([3, 0])]), [x[[3, 0]]])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_gather_elements(axis):
    shape = [2 if a == axis else n for a, n in enumerate((4, 5, 3))]
    check("GatherElements", [values(4, 5, 3), RNG.integers(-3, 3, shape)], axis=axis)


def test_gather_nd():
    x = values(2, 3, 4, 5)
    check("GatherND", [x, RNG.integers(-2, 2, (3, 2))])
    check("GatherND", [x, RNG.integers(-3, 3, (2, 6, 1))], batch_dims=1)


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "min", "max"])
@pytest.mark.parametrize("dtype", ["float32", "int32", "float16", "uint8"])
def test_scatter(reduction, dtype):
    x = RNG.integers(0, 9, (4, 5)).astype(dtype)
    updates = RNG.integers(0, 9, (2, 3)).astype(dtype)
    indices = np.array([[0, 1, 2], [3, -2, 1]])
    for axis in (0, 1):
        check("ScatterElements", [x, indices, updates], axis=axis, reduction=reduction)
    rows = RNG.integers(0, 9, (3, 5)).astype(dtype)
    check("ScatterND", [x, np.array([[1], [3], [-4]]), rows], reduction=reduction)


def test_duplicates_add_up():
    got = run(
        "ScatterND",
        [np.zeros(3, np.float32), np.array([[1], [1], [1]]), np.ones(3, np.float32)],
        reduction="add",
    )
    agree(got, [np.array([0, 3, 0], np.float32)])


@pytest.mark.parametrize("op", ["Gather", "GatherElements", "GatherND"])
@pytest.mark.parametrize("index", [-5, 4, 2**40])
def test_an_index_outside_is_an_error(op, index):
    with pytest.raises(Exception, match="node"):
        run(op, [values(4), np.array([index])])


def test_compress():
    x = values(4, 5, 3)
    check("Compress", [x, np.array([True, False, True])], axis=1)
    check("Compress", [x, np.array([True, False, True, True])])
    check("Compress", [x, np.array([False])], axis=0)


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_one_hot(axis):
    inputs = [np.array([[1, -2, 7]]), np.array(4), np.array([2.0, 3.0], np.float32)]
    check("OneHot", inputs, axis=axis)


@pytest.mark.parametrize("mode", ["linear", "circular"])
def test_tensor_scatter(mode):
    cache, update = values(2, 3, 8, 4), values(2, 3, 2, 4)
    starts = np.array([1, 6 if mode == "linear" else 7])
    check("TensorScatter", [cache, update, starts], mode=mode, opset=24)
