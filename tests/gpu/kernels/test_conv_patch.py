"""Convolutions by patches on the software device: shapes of tiles, taps, tails, groups, NaN."""

import ctypes

import numpy as np
import pytest
from launch import run
from test_conv import ConvArgs, build, draw
from values import ceil_div, near, random, wide

BYTES = 32  # of the channels of a place that are in a patch at once


class PatchArgs(ctypes.Structure):
    """struct PatchArgs of kernels/cuda/conv_patch.cu."""

    _fields_ = [
        ("c", ConvArgs),
        *[(name, ctypes.c_int) for name in ("bits", "lines", "places")],
        ("step", ctypes.c_int * 3),
        ("sums", ctypes.c_void_p),
    ]


def patch_args(c, points, bits):
    """PatchArgs of a tile; what a kernel of one item skips is not read."""
    places, step = [], [1, 1, 1]
    for i, n in ((1, points >> bits), (2, 1 << bits)):
        if c.kernel[i] == 1:
            c.stride[i], step[i] = 1, c.stride[i]
        places.append((n - 1) * c.stride[i] + (c.kernel[i] - 1) * c.dilation[i] + 1)
    return PatchArgs(c, bits, *places, (ctypes.c_int * 3)(*step))


# Filters and points of a tile.
TILES = [(128, 128), (64, 128), (128, 64), (64, 64)]


def capacity(filters):
    """Places of the largest patch."""
    return (48 * 1024 - 3 * filters * 64) // (2 * BYTES + 4)


def arranged(w):
    """Weights as the kernels take them."""
    rows, channels = w.shape[:2]
    taps, chunk = int(np.prod(w.shape[2:])), BYTES // w.itemsize
    y = np.zeros((rows, ceil_div(channels, chunk), taps, chunk), w.dtype)
    kernel = f"conv_patch_weights_{'b16' if w.itemsize == 2 else 'tf32'}"
    run("conv_patch", kernel, 3, 256, w, y, y.size, np.int32(channels), np.int32(taps))
    want = np.zeros((rows, taps, y.shape[1] * chunk), w.dtype)
    want[..., :channels] = w.reshape(rows, channels, taps).swapaxes(1, 2)
    want = want.reshape(rows, taps, -1, chunk).swapaxes(1, 2)
    near(y, want, "tf32", scale=0 if w.itemsize == 2 else 0.2)
    return y


def convolve(name, tile, bits, x, w, bias, c, seed=0, parts=0):
    """One launch; None where the patch does not fit. The sum of `parts` of the channels, if any."""
    filters, points = tile
    args = patch_args(ConvArgs.from_buffer_copy(c), points, bits)
    threads = filters // 64 * (points // 32) * 32
    taps = c.kernel[1] * c.kernel[2]
    size = args.lines * args.places
    if size > capacity(filters) or 2 * size > (taps + 1) // 2 * 3 * threads:
        return None
    y = np.zeros((c.batch, c.groups * c.filters, *[n for n in c.out][5 - x.ndim :]), x.dtype)
    tiles = ceil_div(c.out[1], points >> bits) * ceil_div(c.out[2], 1 << bits)
    grid = c.groups * c.batch * tiles * ceil_div(c.filters, filters)
    kernel = f"conv_patch_{filters}_{points}_{name}"
    if parts:
        sums = np.full((parts, *y.shape), np.nan, np.float32)
        args.arrays = {"sums": sums}
        blocks = (grid, parts)
        run("conv_patch", kernel, blocks, threads, x, arranged(w), None, y, args, seed=seed)
        return sums.sum(0)
    run("conv_patch", kernel, grid, threads, x, arranged(w), bias, y, args, seed=seed)
    return y


# x, filters, groups, kernel, stride, dilation, pads
CASES = [
    ((2, 24, 9, 19), 70, 1, (3, 3), (1, 1), (1, 1), [(1, 1), (1, 1)]),
    ((1, 34, 17, 18), 130, 1, (3, 3), (1, 1), (1, 1), [(0, 2), (1, 0)]),
    ((1, 16, 21, 33), 8, 1, (3, 3), (2, 2), (1, 1), [(1, 1), (1, 1)]),
    ((2, 40, 12, 7), 12, 2, (3, 2), (2, 1), (1, 2), [(0, 2), (3, 1)]),
    ((3, 17, 137), 6, 1, (5,), (1,), (2,), [(2, 1)]),
    ((1, 33, 150), 9, 1, (3,), (2,), (1,), [(1, 1)]),
    ((1, 16, 12, 20), 66, 1, (1, 7), (1, 1), (1, 1), [(0, 0), (3, 3)]),
    ((2, 50, 19, 17), 20, 1, (1, 1), (2, 3), (1, 1), [(1, 0), (0, 2)]),
    ((1, 18, 30, 31), 5, 1, (5, 5), (1, 1), (3, 2), [(6, 6), (4, 4)]),
]


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("name", ["f16", "bf16", "tf32"])
def test_by_patches(name, tile):
    seen = 0
    for seed, x, w, bias, args, want in draw(CASES, name, 4):
        for bits in range(3, 8):
            if 1 << bits > tile[1] or (seed + bits) % 2:
                continue
            got = convolve(name, tile, bits, x, w, bias, args, seed=seed + 1)
            if got is not None:
                seen += 1
                near(got, want, name, scale=np.sqrt(w[0].size))
    assert seen > 8


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_only_windows_that_see_it_are_touched(value):
    rng = np.random.default_rng(5)
    x, w = random(rng, (1, 16, 12, 16), "f16"), random(rng, (64, 16, 3, 3), "f16")
    x[0, 3, 5, 15] = value
    args = build(x.shape, 64, 1, (3, 3), (1, 1), (1, 1), [(1, 1), (1, 1)], (12, 16))
    got = convolve("f16", (64, 64), 3, x, w, None, args)
    seen = np.zeros((12, 16), bool)
    seen[4:7, 14:] = True
    np.testing.assert_array_equal(~np.isfinite(got[0]).all(0), seen)


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("name", ["f16", "bf16", "tf32"])
def test_parts_of_the_channels(name, tile):
    seen = 0
    for seed, x, w, bias, args, want in draw(CASES[:6], name, 4):
        got = convolve(
            name, tile, 3 + seed % 4, x, w, None, args, seed=seed + 1, parts=2 + seed % 3
        )
        if got is not None:
            seen += 1
            plain = want if bias is None else want - wide(bias)[:, *[None] * (x.ndim - 2)]
            near(got, plain, name, scale=np.sqrt(w[0].size))
    assert seen > 2
