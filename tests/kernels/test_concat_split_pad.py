"""Operators that join, cut and border tensors agree with onnx's reference."""

from __future__ import annotations

import numpy as np
import pytest

from single_node import agree, check, run

RNG = np.random.default_rng(9)


def values(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_concat_and_split(axis):
    shapes = [[2 if i != axis % 3 else n for i in range(3)] for n in (3, 0, 1, 2)]
    check("Concat", [values(*s) for s in shapes], axis=axis)
    check("Split", [values(7, 7, 7), np.array([3, 0, 4])], axis=axis, outputs=3)
    check("Split", [values(7, 7, 7)], axis=axis, outputs=3, num_outputs=3)


@pytest.mark.parametrize("dtype", ["float16", "int8", "bool", "int64", "complex128"])
def test_concat_takes_every_width(dtype):
    a, b = (RNG.integers(0, 2, (3, n)).astype(dtype) for n in (2, 4))
    agree(run("Concat", [a, b], axis=1), [np.concatenate([a, b], 1)])


@pytest.mark.parametrize("seed", range(30))
def test_slice(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 4))
    axes = rng.permutation(3)[:n] - 3 * rng.integers(0, 2)
    # A start before the beginning with a negative step is clamped to 0, unlike in numpy.
    starts, ends = rng.integers(-4, 8, n), rng.integers(-8, 8, n)
    steps = rng.choice([-3, -2, -1, 1, 2, 3], n)
    check("Slice", [values(4, 6, 5), starts, ends, axes, steps])


def test_slice_with_extreme_ends():
    x = values(4, 6)
    low, high = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    agree(run("Slice", [x, np.array([1]), np.array([high])]), [x[1:]])
    agree(
        run("Slice", [x, np.array([-1]), np.array([low]), np.array([1]), np.array([-1])]),
        [x[:, ::-1]],
    )


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
def test_pad(mode):
    x, fill = values(3, 4, 5), np.array(2.5, np.float32)
    check("Pad", [x, np.array([1, 2, 0, 2, 1, 3]), fill], mode=mode)
    check("Pad", [x, np.array([1, 2, 2, 0]), fill, np.array([-1, 0])], mode=mode)


def test_negative_padding_cuts():
    x = values(3, 4, 5)
    got = run("Pad", [x, np.array([-1, 0, 2, 0, -2, -1])])
    agree(got, [np.pad(x[1:, :-2, :-1], [(0, 0), (0, 0), (2, 0)])])


def test_center_crop_pad():
    check("CenterCropPad", [values(20, 8, 3), np.array([10, 9, 8])])
    check("CenterCropPad", [values(20, 8, 3), np.array([11, 5])], axes=[0, 2])
