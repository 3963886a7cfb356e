"""Pooling and resizing on the software device."""

import ctypes
import itertools

import numpy as np
import pytest
from launch import run
from values import FLOATS, near, random, wide


class PoolArgs(ctypes.Structure):
    """struct PoolArgs of kernels/cuda/pool.cu."""

    _fields_ = (
        [("planes", ctypes.c_longlong)]
        + [
            (name, ctypes.c_int * 3)
            for name in ("size", "out", "kernel", "stride", "dilation", "pad", "pad_end")
        ]
        + [("include_pad", ctypes.c_int), ("p", ctypes.c_float)]
    )


class ResizeArgs(ctypes.Structure):
    """struct ResizeArgs of kernels/cuda/pool.cu."""

    _fields_ = [(name, ctypes.c_int * 3) for name in ("size", "out", "taps")]
    _fields_ += [("outside", ctypes.c_float)]


def three(values, fill):
    """Values of up to three axes, the missing ones first."""
    return (ctypes.c_int * 3)(*[fill] * (3 - len(values)), *values)


# size, kernel, stride, dilation, pads, rounded up
CASES = [
    ((7, 9), (3, 2), (2, 1), (1, 1), [(1, 1), (0, 1)], False),
    ((8, 8), (3, 3), (2, 2), (1, 1), [(0, 0), (0, 0)], True),
    ((20,), (4,), (3,), (2,), [(2, 1)], False),
    ((4, 5, 6), (2, 3, 2), (1, 2, 2), (1, 1, 2), [(0, 1), (1, 1), (1, 0)], False),
]


def windows(x, kernel, stride, dilation, pads, out):
    """Items and flat places of each window; NaN and -1 outside, None where even padding ends."""
    padded_ends = [s + p + q for s, (p, q) in zip(x.shape, pads, strict=True)]
    for o in np.ndindex(*out):
        items, places, counted = [], [], 0
        for k in itertools.product(*map(range, kernel)):
            at = [
                a * s + b * d - p[0]
                for a, s, b, d, p in zip(o, stride, k, dilation, pads, strict=True)
            ]
            counted += all(a + p[0] < e for a, p, e in zip(at, pads, padded_ends, strict=True))
            if all(0 <= a < n for a, n in zip(at, x.shape, strict=True)):
                items.append(x[tuple(at)])
                places.append(tuple(at))
        yield o, np.array(items), places, counted


FAILURE = (5 << 32) + 4  # what a kernel reports


@pytest.mark.parametrize("name", [*FLOATS, "s8", "u8"])
@pytest.mark.parametrize("case", range(len(CASES)))
def test_pool(name, case):
    size, kernel, stride, dilation, pads, up = CASES[case]
    x = random(np.random.default_rng(case), (3, *size), name)
    rounded = np.ceil if up else np.floor
    out = [
        int(rounded((n + p + q - (k - 1) * d - 1) / s)) + 1
        for n, k, s, d, (p, q) in zip(size, kernel, stride, dilation, pads, strict=True)
    ]
    shape = (3, *out)
    largest, places, columns = np.zeros(shape), np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    averages = np.zeros((2, *shape))
    norms = np.zeros((3, *shape))
    for plane in range(3):
        for o, items, at, counted in windows(wide(x[plane]), kernel, stride, dilation, pads, out):
            best = int(np.argmax(items))
            largest[(plane, *o)] = items[best]
            start = plane * int(np.prod(size))
            places[(plane, *o)] = start + np.ravel_multi_index(at[best], size)
            columns[(plane, *o)] = start + np.ravel_multi_index(at[best], size, order="F")
            averages[(0, plane, *o)] = items.mean()
            averages[(1, plane, *o)] = items.sum() / counted
            for i, p in enumerate((1, 2, 3)):
                norms[(i, plane, *o)] = (np.abs(items.astype(np.float64)) ** p).sum() ** (1 / p)
    spatial = [
        three(size, 1),
        three(out, 1),
        three(kernel, 1),
        three(stride, 1),
        three(dilation, 1),
    ]
    edges = [three([p[0] for p in pads], 0), three([p[1] for p in pads], 0)]
    y, where = np.zeros(shape, x.dtype), np.zeros(shape, np.int64)
    status = np.zeros(1, np.uint64)
    for by_columns, want in ((0, places), (1, columns)):
        args = PoolArgs(3, *spatial, *edges, 0, 0)
        run("pool", f"max_pool_{name}", 2, 256, x, y, where, status, FAILURE, y.size,
            np.int32(by_columns), args)  # fmt: skip
        near(y, largest, name)
        np.testing.assert_array_equal(where, want)
    assert status[0] == 0
    if name not in FLOATS:
        return
    for include in (0, 1):
        args = PoolArgs(3, *spatial, *edges, include, 0)
        run("pool", f"average_pool_{name}", 2, 256, x, y, y.size, args)
        near(y, averages[include], name, scale=2)
    for i, p in enumerate((1, 2, 3)):
        run("pool", f"lp_pool_{name}", 2, 256, x, y, y.size, PoolArgs(3, *spatial, *edges, 0, p))
        near(y, norms[i], name, scale=4)


def test_a_window_without_items():
    x, y, status = (
        np.zeros((1, 4), np.float32),
        np.zeros((1, 6), np.float32),
        np.zeros(1, np.uint64),
    )
    args = PoolArgs(1, *(three(v, 1) for v in ([4], [6], [1], [1], [1])), three([1], 0),
                    three([1], 0), 0, 0)  # fmt: skip
    run("pool", "max_pool_f32", 1, 256, x, y, None, status, FAILURE, 6, np.int32(0), args)
    assert status[0] == 0
    assert y[0, 0] == y[0, -1] == -np.inf
    assert not y[0, 1:-1].any()
    where = np.full((1, 6), -1, np.int64)
    run("pool", "max_pool_f32", 1, 256, x, y, where, status, FAILURE, 6, np.int32(0), args)
    assert status[0] == FAILURE
    assert where.tolist() == [[-1, 0, 1, 2, 3, -1]]
    run("pool", "average_pool_f32", 1, 256, x, y, 6, args)
    assert not y.any()


@pytest.mark.parametrize("name", [*FLOATS, "s8", "u8"])
def test_resize(name):
    rng = np.random.default_rng(9)
    weight = np.float32 if name in FLOATS else np.float64
    for size, out, taps in [((1, 5, 6), (1, 9, 4), (1, 2, 4)), ((3, 4, 5), (6, 2, 7), (2, 1, 2))]:
        x = random(rng, (2, *size), name)
        indices = [
            rng.integers(0, n, (o, t)).astype(np.int32)
            for n, o, t in zip(size, out, taps, strict=True)
        ]
        weights = [
            rng.standard_normal((o, t)).astype(weight) for o, t in zip(out, taps, strict=True)
        ]
        tables = []
        for n, i, w in zip(size, indices, weights, strict=True):
            table = np.zeros((len(i), n))
            np.add.at(table, (np.arange(len(i))[:, None], i), w)
            tables.append(table)
        want = np.einsum("pdhw,ad,bh,cw->pabc", x.astype(np.float64), *tables)
        want[:, 0], want[..., 1] = 7.5, 7.5
        indices[0][0, 0] = indices[2][1, 0] = -1
        if name not in FLOATS:
            limits = np.iinfo(x.dtype)
            want = np.clip(np.rint(want), limits.min, limits.max)
        y = np.zeros((2, *out), x.dtype)
        args = ResizeArgs(*(three(v, 1) for v in (size, out, taps)), 7.5)
        pairs = [a for pair in zip(indices, weights, strict=True) for a in pair]
        run("pool", f"resize_{name}", 1, 256, x, *pairs, y, y.size, args)
        near(y, want, name, scale=8)


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.int32, np.float64])
def test_nearest(dtype):
    rng = np.random.default_rng(10)
    x = rng.integers(0, 100, (2, 3, 4, 5)).astype(dtype)
    places = [
        rng.integers(0, n, o).astype(np.int32) for n, o in zip((3, 4, 5), (2, 9, 6), strict=True)
    ]
    y = np.zeros((2, 2, 9, 6), dtype)
    args = ResizeArgs(three((3, 4, 5), 1), three((2, 9, 6), 1), three((1, 1, 1), 1), 0)
    name = f"resize_nearest_b{x.itemsize * 8}"
    run("pool", name, 1, 256, x, *places, y, y.size, args)
    np.testing.assert_array_equal(y, x[:, places[0]][:, :, places[1]][..., places[2]])
