"""Rotary embeddings on the software device."""

import ctypes

import numpy as np
import pytest
from launch import run
from values import FLOATS, near, random, wide


class RotaryArgs(ctypes.Structure):
    """struct RotaryArgs of kernels/cuda/decode.cu."""

    _fields_ = (
        [("x", ctypes.c_longlong * 4), ("y", ctypes.c_longlong * 4)]
        + [(name, ctypes.c_longlong) for name in ("batch", "heads", "rows", "size", "half")]
        + [("interleaved", ctypes.c_int), ("flat", ctypes.c_int)]
        + [(name, ctypes.c_longlong) for name in ("limit", "failure")]
    )


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("interleaved", [0, 1])
def test_rotary(name, interleaved):
    rng = np.random.default_rng(3)
    batch, heads, rows, size = 2, 3, 5, 12
    for kind, half in enumerate([6, 4, 6]):
        x = random(rng, (batch, rows, heads, size), name).swapaxes(1, 2)
        angles = rng.standard_normal((20, half))
        c, s = (f(angles).astype(x.dtype) for f in (np.cos, np.sin))
        positions = [None, np.array([7]), rng.integers(0, 20, (batch, rows))][kind]
        at = [np.arange(rows)[None], 7 + np.arange(rows)[None], positions][kind]
        cos, sin = wide(c)[at][:, None], wide(s)[at][:, None]
        v = wide(x)
        pairs = (slice(0, 2 * half, 2), slice(1, 2 * half, 2))
        first, second = pairs if interleaved else (slice(0, half), slice(half, 2 * half))
        want = v.copy()
        want[..., first] = v[..., first] * cos - v[..., second] * sin
        want[..., second] = v[..., second] * cos + v[..., first] * sin
        y = np.zeros((batch, heads, rows, size), x.dtype)
        strides = [(ctypes.c_longlong * 4)(*(t // z.itemsize for t in z.strides)) for z in (x, y)]
        args = RotaryArgs(
            *strides, batch, heads, rows, size, half, interleaved, int(kind == 1), 0, 0
        )
        run("decode", f"rotary_embedding_{name}", 1, 256, x, c, s, positions, y, None, args)
        near(y, want, name)


@pytest.mark.parametrize(("limit", "want"), [(9, 0), (8, 77), (2, 77)])
def test_rotary_reports_positions_outside_the_table(limit, want):
    x, table = np.ones((1, 1, 2, 4), np.float32), np.ones((9, 2), np.float32)
    y, status, positions = np.zeros_like(x), np.zeros(1, np.int64), np.array([[8, 2]])
    strides = [(ctypes.c_longlong * 4)(8, 8, 4, 1) for _ in range(2)]
    args = RotaryArgs(*strides, 1, 1, 2, 4, 2, 0, 0, limit, 77)
    run("decode", "rotary_embedding_f32", 1, 256, x, table, table, positions, y, status, args)
    assert status[0] == want
    assert np.any(y[0, 0, 0]) == (want == 0)
