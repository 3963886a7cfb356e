"""ArgMax and ArgMin along every axis agree with numpy, whose extreme is NaN where there is one."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from single_node import run

SHAPES = [
    (3, 1000),
    (2, 256),
    (5, 257),
    (1, 1),
    (2, 21, 100),
    (3, 5, 16),
    (2, 9, 130),
    (4, 3, 2, 7),
]
DTYPES = ["float32", "float64", "float16", "bfloat16", "int64", "int32", "uint8", "int8"]
KINDS = ["spread", "ties", "NaN", "infinities", "zeros"]


def drawn(shape: tuple[int, ...], dtype: str, kind: str) -> np.ndarray:
    """Numbers of one kind; whole ones where the type knows no others."""
    rng = np.random.default_rng(len(shape) * 1000 + shape[-1])
    x = rng.integers(0, 4 if kind == "ties" else 120, shape).astype(np.float32)
    if dtype in ("float32", "float64", "float16", "bfloat16"):
        few = rng.random(shape) < 0.02
        if kind == "NaN":
            x[few] = np.nan
        elif kind == "infinities":
            x = np.where(few, np.inf, -np.inf)
        elif kind == "zeros":
            x = np.where(few, np.float32(0), np.float32(-0.0))
    return x.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
def test_places_of_extremes(op: str, dtype: str, kind: str) -> None:
    find = {"ArgMax": np.argmax, "ArgMin": np.argmin}[op]
    for shape in SHAPES:
        x = drawn(shape, dtype, kind)
        wide = x.astype(np.float64)
        for axis in range(len(shape)):
            [first] = run(op, [x], axis=axis, keepdims=0)
            np.testing.assert_array_equal(first, find(wide, axis))
            [last] = run(op, [x], axis=axis, keepdims=0, select_last_index=1)
            behind = find(np.flip(wide, axis), axis)
            np.testing.assert_array_equal(last, shape[axis] - 1 - behind)
