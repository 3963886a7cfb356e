"""Convolutions of single channels, from planes in shared memory, on the software device."""

import ctypes

import numpy as np
import pytest
from launch import run
from test_conv import ConvArgs, build, reference
from values import FLOATS, ceil_div, near, random, wide


class DepthwiseArgs(ctypes.Structure):
    """struct DepthwiseArgs of kernels/cuda/depthwise.cu."""

    _fields_ = [("c", ConvArgs)] + [(name, ctypes.c_int) for name in ("planes", "lines", "bands")]


# x, side of windows, stride, pads; planes of a block, or lines of a band
CASES = [
    ((2, 6, 9, 11), 3, 1, [(1, 1), (1, 1)], 1, 0),
    ((2, 8, 7, 7), 3, 1, [(1, 1), (1, 1)], 8, 0),
    ((1, 5, 16, 5), 3, 2, [(0, 1), (1, 0)], 3, 0),
    ((1, 2, 31, 40), 3, 2, [(1, 1), (1, 1)], 1, 7),
    ((1, 3, 20, 8), 3, 1, [(4, 3), (4, 0)], 1, 5),
    ((2, 3, 17, 9), 5, 1, [(2, 2), (2, 2)], 4, 0),
    ((1, 2, 40, 16), 5, 2, [(2, 1), (1, 2)], 1, 14),
    ((1, 4, 8, 7), 7, 1, [(3, 3), (3, 3)], 2, 0),
    ((1, 1, 33, 8), 7, 2, [(3, 3), (3, 3)], 1, 3),
    ((1, 2, 3, 30), 7, 1, [(3, 3), (0, 0)], 2, 0),
]


def convolve(name, x, w, bias, stride, pads, planes, lines, seed=0):
    """Runs a kernel."""
    args = build(
        x.shape, x.shape[1], x.shape[1], w.shape[2:], (stride,) * 2, (1, 1), pads,
        [(n + p + q - w.shape[2]) // stride + 1 for n, (p, q) in zip(x.shape[2:], pads,
                                                                     strict=True)],
    )  # fmt: skip
    out = args.out[1], args.out[2]
    bands = ceil_div(out[0], lines) if lines else 1
    y = np.zeros((*x.shape[:2], *out), x.dtype)
    grid = ceil_div(x.shape[0] * x.shape[1], planes) * bands
    given = DepthwiseArgs(args, planes, lines or out[0], bands)
    kernel = f"conv_depthwise_{w.shape[2]}_{name}"
    run("depthwise", kernel, grid, 256, x, w, bias, y, given, seed=seed)
    return y


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("case", range(len(CASES)))
def test_planes_and_bands(name, case):
    shape, side, stride, pads, planes, lines = CASES[case]
    rng = np.random.default_rng(case)
    x, w = random(rng, shape, name), random(rng, (shape[1], 1, side, side), name)
    bias = random(rng, shape[1], name) if case % 2 else None
    want = reference(x, w, (stride,) * 2, (1, 1), pads, shape[1])
    if bias is not None:
        want += wide(bias).reshape(-1, 1, 1)
    got = convolve(name, x, w, bias, stride, pads, planes, lines, seed=case)
    near(got, want, name, scale=side * 3)


@pytest.mark.parametrize("name", FLOATS)
def test_images_that_do_not_begin_at_16_bytes(name):
    rng = np.random.default_rng(3)
    x = random(rng, 2 * 6 * 7 + 1, name)[1:].reshape(1, 2, 6, 7)
    w = random(rng, (2, 1, 3, 3), name)
    pads = [(1, 1), (1, 1)]
    want = reference(x, w, (1, 1), (1, 1), pads, 2)
    near(convolve(name, x, w, None, 1, pads, 2, 0), want, name, scale=8)


def test_infinite_weights_meet_no_padding():
    x, w = np.ones((1, 1, 4, 5), np.float32), np.ones((1, 1, 3, 3), np.float32)
    w[0, 0, 0, 0], x[0, 0, 3, 4] = np.inf, np.nan
    got = convolve("f32", x, w, None, 1, [(1, 1), (1, 1)], 1, 0)[0, 0]
    want = np.full((4, 5), np.inf)
    want[0], want[:, 0] = [4, 6, 6, 6, 4], [4, 6, 6, 4]
    want[2:, 3:] = np.nan
    np.testing.assert_array_equal(got, want)
