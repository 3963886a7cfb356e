"""Operators that order or pick elements by value agree with numpy and onnx's reference."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from single_node import agree, check, run

RNG = np.random.default_rng(10)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "uint8"])
def test_top_k(axis, largest, dtype):
    x = RNG.integers(0, 6, (5, 7, 6)).astype(dtype)
    for count in (1, 3, 5):
        check("TopK", [x, np.array([count])], axis=axis, largest=largest, outputs=2)


def test_top_k_of_a_long_line():
    x = RNG.standard_normal(5000).astype(np.float32)
    order = np.argsort(-x, kind="stable")[:1000]
    agree(run("TopK", [x, np.array([1000])], outputs=2), [x[order], order])


@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize(
    "dtype", ["float32", "float16", "bfloat16", "float64", "int32", "uint32", "int64", "uint8"]
)
def test_top_k_of_rows(dtype, largest):
    """Rows of every length past whole blocks, with ties, zeros of both signs, infinities and NaN,
    which is larger than all numbers.
    """
    for length in (1, 15, 64, 65, 200, 1000):
        x = RNG.integers(-50 if dtype[0] != "u" else 0, 50, (3, length)).astype(np.float32)
        if "float" in dtype:
            for value in (np.nan, np.inf, -np.inf, -0.0):
                x[1, RNG.random(length) < 0.05] = value
        x = x.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
        if dtype == "uint32":
            x[2] += np.uint32(1 << 31)
        wide = x.astype(np.float64)
        numbers, is_nan = (
            np.nan_to_num(wide, nan=np.inf, posinf=np.inf, neginf=-np.inf),
            np.isnan(wide),
        )
        keys = (-numbers, ~is_nan) if largest else (numbers, is_nan)
        order = np.lexsort((np.broadcast_to(np.arange(length), x.shape), *keys))
        for count in {1, min(10, length), length}:
            y, i = run("TopK", [x, np.array([count])], outputs=2, largest=largest)
            np.testing.assert_array_equal(i, order[:, :count])
            np.testing.assert_array_equal(y.astype(np.float64), np.take_along_axis(wide, i, 1))


def test_unique_sorted():
    x = RNG.integers(0, 5, (4, 5)).astype(np.float32)
    check("Unique", [x], outputs=4)
    check("Unique", [RNG.integers(0, 2, (2, 9, 2)).astype(np.int64)], outputs=4, axis=1)


def test_unique_in_order_of_appearance():
    x = RNG.integers(0, 5, 20)
    y, first, inverse, counts = np.unique(
        x, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.argsort(first)
    want = [y[order], first[order], np.argsort(order)[inverse], counts[order]]
    agree(run("Unique", [x], outputs=4, sorted=0), want)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bool", "int8", "int64", "float16"])
def test_non_zero(dtype):
    x = RNG.integers(0, 2, (3, 4, 2)).astype(dtype)
    agree(run("NonZero", [x]), [np.array(np.nonzero(x))])


def test_non_zero_takes_minus_zero_for_zero():
    agree(run("NonZero", [np.array([-0.0, 1.0], np.float32)]), [np.array([[1]])])


@pytest.mark.parametrize("center", [0, 1])
def test_non_max_suppression(center):
    boxes = RNG.random((2, 30, 4)).astype(np.float32)
    boxes[..., 2:] += boxes[..., :2] * (1 - center)
    scores = RNG.random((2, 3, 30)).astype(np.float32)
    limits = [np.array([6]), np.array([0.3], np.float32), np.array([0.2], np.float32)]
    check("NonMaxSuppression", [boxes, scores, *limits], center_point_box=center)
    check("NonMaxSuppression", [boxes, scores, np.array([0]), *limits[1:]])


@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "int64", "uint64", "int8", "float16", "str"]
)
@pytest.mark.parametrize("high", [3, 2**7 - 1, 2**62])
@pytest.mark.parametrize("sort", [0, 1])
def test_unique_elements(dtype, high, sort):
    high = min(high, {"int8": 127, "float16": 2000}.get(dtype, high))
    low = 0 if dtype in ("uint64", "str") else -high
    x = RNG.integers(low, high, 700)
    x = np.array([f"{v:x}" for v in x], object) if dtype == "str" else x.astype(dtype)
    if dtype in ("float32", "float64"):
        x[::7] = -0.0
        x[1::50] = np.inf
    y, first, inverse, counts = np.unique(
        x, return_index=True, return_inverse=True, return_counts=True
    )
    if not sort:
        order = np.argsort(first)
        y, first, counts = y[order], first[order], counts[order]
        inverse = np.argsort(order)[inverse]
    got = run("Unique", [x], outputs=4, sorted=sort)
    agree(got, [y, first, inverse, counts])


def test_unique_ends_of_whole_numbers():
    x = np.array([2**64 - 1, 0, 2**63, 2**63 - 1, 0, 2**64 - 1], np.uint64)
    agree(run("Unique", [x], outputs=1), [np.unique(x)])
    x = np.array([-(2**63), 2**63 - 1, 0, -1, 2**63 - 1, -(2**63)])
    agree(run("Unique", [x], outputs=1), [np.unique(x)])


def test_unique_puts_each_nan_last():
    x = np.array([np.nan, 2, -np.inf, np.nan, -1, 2], np.float32)
    want = np.array([-np.inf, -1, 2, np.nan, np.nan], np.float32)
    agree(run("Unique", [x], outputs=1), [want])
