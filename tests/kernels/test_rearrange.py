"""Operators that reorder elements or make tensors from shapes agree with numpy and onnx's
reference.
"""

from __future__ import annotations

import numpy as np
import pytest

from single_node import agree, check, run

RNG = np.random.default_rng(7)
DTYPES = ["float32", "float64", "float16", "int8", "int16", "int32", "int64", "uint8", "bool"]
SHAPES = [(3,), (2, 3), (40, 50), (4, 5, 6), (2, 3, 4, 5), (3, 1, 4, 1, 2), (2, 0, 3)]


def values(shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray:
    return np.array(RNG.integers(0, 2 if dtype == "bool" else 100, shape), dtype)


@pytest.mark.parametrize("shape", SHAPES)
def test_transpose_orders_axes(shape):
    x = values(shape)
    agree(run("Transpose", [x]), [x.transpose()])
    for _ in range(4):
        perm = RNG.permutation(len(shape))
        agree(run("Transpose", [x], perm=perm.tolist()), [x.transpose(perm)])


@pytest.mark.parametrize("dtype", DTYPES)
def test_transpose_takes_every_width(dtype):
    x = values((3, 17, 33), dtype)
    agree(run("Transpose", [x], perm=[2, 0, 1]), [x.transpose(2, 0, 1)])


@pytest.mark.parametrize("dtype", DTYPES)
def test_expand_and_tile_repeat(dtype):
    x = values((3, 1, 4), dtype)
    agree(run("Expand", [x, np.array([2, 1, 5, 4])]), [np.broadcast_to(x, (2, 3, 5, 4))])
    agree(run("Tile", [x, np.array([2, 3, 1])]), [np.tile(x, (2, 3, 1))])


def test_expand_of_a_scalar():
    got = run("Expand", [np.array(3, np.float32), np.array([2, 3])])
    agree(got, [np.full((2, 3), 3, np.float32)])


@pytest.mark.parametrize(
    ("shape", "target", "zero"),
    [
        ((2, 3, 4), [4, -1], 0),
        ((2, 3, 4), [0, 0, 2, 2], 0),
        ((2, 3, 4), [-1], 0),
        ((2, 0), [0, 5], 1),
        ((), [1, 1], 0),
    ],
)
def test_reshape(shape, target, zero):
    check("Reshape", [values(shape), np.array(target)], allowzero=zero)


def test_shapes_that_keep_the_order_of_elements():
    x = values((2, 1, 3, 1))
    for axis in (0, 1, 2, 4, -1, -4):
        check("Flatten", [x], axis=axis)
    check("Squeeze", [x])
    check("Squeeze", [x, np.array([1, -1])])
    check("Unsqueeze", [x, np.array([0, -1])])


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_to_space(mode):
    check("DepthToSpace", [values((2, 12, 3, 5))], blocksize=2, mode=mode)


def test_space_to_depth():
    check("SpaceToDepth", [values((2, 3, 4, 6))], blocksize=2)


@pytest.mark.parametrize("axes", [(0, 1), (1, 0)])
def test_reverse_sequence(axes):
    x = values((4, 4, 3))
    lengths = np.array([1, 4, 2, 0])
    check("ReverseSequence", [x, lengths], batch_axis=axes[0], time_axis=axes[1])


@pytest.mark.parametrize("upper", [0, 1])
@pytest.mark.parametrize("diagonal", [-7, -1, 0, 2, 9])
def test_trilu(upper, diagonal):
    check("Trilu", [values((2, 4, 5)), np.array(diagonal)], upper=upper)


def test_shape_and_size():
    x = values((2, 3, 4, 5))
    for start, end in [(0, 4), (-2, 4), (1, -1), (3, 1), (-9, 9)]:
        check("Shape", [x], start=start, end=end)
    check("Size", [x])


@pytest.mark.parametrize("bounds", [(1, 30, 4), (10, -3, -2), (5, 5, 1), (3, 9, -1)])
@pytest.mark.parametrize("dtype", ["int64", "int32", "float32", "float64"])
def test_range(bounds, dtype):
    check("Range", [np.array(b, dtype) for b in bounds])


def test_eye_like():
    check("EyeLike", [values((3, 5))], k=-1, dtype=7)
    check("EyeLike", [values((3, 5), "int32")], k=1)
