"""Convolutions on the software device: one to three axes, groups, pads, dilations, transposed."""

import ctypes
import itertools

import numpy as np
import pytest
from launch import run
from values import FLOATS, ceil_div, near, random, wide


class ConvArgs(ctypes.Structure):
    """struct ConvArgs of kernels/cuda/conv.cuh."""

    _fields_ = [(name, ctypes.c_int) for name in ("batch", "groups", "channels", "filters")] + [
        (name, ctypes.c_int * 3) for name in ("size", "out", "kernel", "stride", "dilation", "pad")
    ]


def three(values, fill=1):
    """Values of up to three axes, the missing ones first."""
    return (ctypes.c_int * 3)(*[fill] * (3 - len(values)), *values)


def reference(x, w, stride, dilation, pads, groups):
    """Conv in float64; pads are pairs."""
    x = np.pad(wide(x), [(0, 0), (0, 0), *pads])
    n, axes = x.shape[0], x.ndim - 2
    kernel = w.shape[2:]
    out = [
        (x.shape[2 + i] - (kernel[i] - 1) * dilation[i] - 1) // stride[i] + 1 for i in range(axes)
    ]
    xs = x.reshape(n, groups, -1, *x.shape[2:])
    ws = wide(w).reshape(groups, -1, *w.shape[1:])
    y = np.zeros((n, groups, ws.shape[1], *out))
    for tap in itertools.product(*map(range, kernel)):
        cut = tuple(
            slice(t * d, t * d + (o - 1) * s + 1, s)
            for t, d, o, s in zip(tap, dilation, out, stride, strict=True)
        )
        y += np.einsum("ngc...,gmc->ngm...", xs[(..., *cut)], ws[(..., *tap)])
    return y.reshape(n, -1, *out)


def convolve(kernel, block, bm, bn, x, w, bias, args, transposed=False, seed=0):
    """Make the table of taps, then run a kernel."""
    volume = int(np.prod(args.kernel))
    entries = ceil_div(args.channels * volume, 32) * 32
    table = np.zeros((entries, 4), np.int32)
    run("conv", "conv_table", 2, 256, table, args, entries, np.int32(transposed), seed=seed)
    out = [n for i, n in enumerate(args.out) if i >= 5 - x.ndim]
    y = np.zeros((args.batch, args.groups * args.filters, *out), x.dtype)
    points = args.batch * int(np.prod(args.out))
    grid = args.groups * ceil_div(args.filters, bm) * ceil_div(points, bn)
    run("conv", kernel, grid, block, x, w, bias, y, table, args, seed=seed)
    return y


# x, filters, groups, kernel, stride, dilation, pads
CASES = [
    ((2, 3, 9, 11), 5, 1, (3, 3), (1, 1), (1, 1), [(1, 1), (1, 1)]),
    ((1, 16, 8, 16), 130, 1, (1, 1), (1, 1), (1, 1), [(0, 0), (0, 0)]),
    ((2, 8, 12, 7), 12, 2, (3, 2), (2, 1), (1, 2), [(0, 2), (3, 1)]),
    ((3, 4, 37), 6, 1, (5,), (3,), (2,), [(2, 1)]),
    ((1, 4, 5, 6, 7), 4, 2, (3, 2, 3), (1, 2, 2), (2, 1, 1), [(1, 2), (0, 1), (2, 2)]),
    ((1, 40, 6, 6), 66, 1, (3, 3), (1, 1), (1, 1), [(1, 1), (1, 1)]),
]
KERNELS = {
    "conv_f32": (256, 128, 128),
    "conv_small_f32": (256, 64, 64),
    "conv_tf32": (256, 128, 128),
    "conv_f16": (256, 128, 128),
    "conv_bf16": (256, 128, 128),
    "conv_small_f16": (128, 64, 64),
    "conv_small_bf16": (128, 64, 64),
}


def build(shape, filters, groups, kernel, stride, dilation, pads, out):
    """ConvArgs of a case."""
    return ConvArgs(
        shape[0], groups, shape[1] // groups, filters // groups, three(shape[2:]), three(out),
        three(kernel), three(stride), three(dilation), three([p[0] for p in pads], 0),
    )  # fmt: skip


def draw(cases, name, seed):
    """Number, x, w, bias or None, ConvArgs and the result, of each case for kernels of `name`."""
    rng, kind = np.random.default_rng(seed), "f32" if name == "tf32" else name
    for number, (shape, filters, groups, window, stride, dilation, pads) in enumerate(cases):
        x = random(rng, shape, kind)
        w = random(rng, (filters, shape[1] // groups, *window), kind)
        bias = random(rng, filters, kind) if number % 2 == 0 else None
        want = reference(x, w, stride, dilation, pads, groups)
        if bias is not None:
            want += wide(bias).reshape(-1, *[1] * len(window))
        args = build(shape, filters, groups, window, stride, dilation, pads, want.shape[2:])
        yield number, x, w, bias, args, want


@pytest.mark.parametrize("kernel", KERNELS)
def test_convolution(kernel):
    name = kernel.split("_")[-1]
    for seed, x, w, bias, args, want in draw(CASES, name, 1):
        got = convolve(kernel, *KERNELS[kernel], x, w, bias, args, seed=seed + 1)
        near(got, want, name, scale=np.sqrt(w[0].size))


@pytest.mark.parametrize("name", FLOATS)
def test_depthwise(name):
    rng = np.random.default_rng(2)
    cases = [
        ((2, 6, 9, 11), 6, (3, 3), (1, 1), (1, 1), [(1, 1), (1, 1)]),
        ((1, 3, 8, 5), 6, (2, 5), (2, 3), (1, 2), [(0, 1), (4, 2)]),
        ((2, 4, 33), 4, (7,), (2,), (1,), [(3, 3)]),
        ((1, 2, 4, 5, 6), 2, (3, 3, 3), (1, 1, 2), (1, 1, 1), [(1, 1), (0, 1), (1, 0)]),
    ]
    for seed, (shape, filters, window, stride, dilation, pads) in enumerate(cases):
        x, w = random(rng, shape, name), random(rng, (filters, 1, *window), name)
        bias = random(rng, filters, name)
        want = reference(x, w, stride, dilation, pads, shape[1])
        want += wide(bias).reshape(-1, *[1] * len(window))
        args = build(shape, filters, shape[1], window, stride, dilation, pads, want.shape[2:])
        y = np.zeros(want.shape, x.dtype)
        run("conv", f"conv_depthwise_{name}", 3, 256, x, w, bias, y, args, seed=seed)
        near(y, want, name, scale=8)


@pytest.mark.parametrize("name", FLOATS)
def test_transposed(name):
    rng = np.random.default_rng(3)
    block = 256 if name == "f32" else 128
    cases = [
        ((2, 3, 5, 6), 4, 1, (3, 3), (2, 2), (1, 1), [(1, 1), (1, 1)]),
        ((1, 4, 7, 4), 6, 2, (2, 3), (1, 3), (2, 1), [(0, 1), (2, 0)]),
        ((2, 5, 9), 3, 1, (4,), (2,), (1,), [(1, 1)]),
        ((1, 2, 3, 4, 5), 2, 1, (2, 3, 2), (2, 1, 2), (1, 1, 1), [(0, 0), (1, 1), (0, 1)]),
        ((1, 3, 6, 8), 40, 1, (2, 2), (2, 2), (1, 1), [(0, 0), (0, 0)]),
    ]
    for seed, (shape, filters, groups, window, stride, dilation, pads) in enumerate(cases):
        x = random(rng, shape, name)
        w = random(rng, (shape[1], filters // groups, *window), name)
        extents = zip(shape[2:], stride, window, dilation, strict=True)
        full = [(s - 1) * t + (k - 1) * d + 1 for s, t, k, d in extents]
        spread = np.zeros(
            (*shape[:2], *[(s - 1) * t + 1 for s, t in zip(shape[2:], stride, strict=True)])
        )
        spread[(..., *[slice(None, None, t) for t in stride])] = wide(x)
        flipped = wide(w).reshape(groups, shape[1] // groups, filters // groups, *window)
        rows = np.ascontiguousarray(w.reshape(flipped.shape).swapaxes(1, 2))
        flipped = np.flip(flipped.swapaxes(1, 2), axis=tuple(range(3, 3 + len(window))))
        edges = [((k - 1) * d,) * 2 for k, d in zip(window, dilation, strict=True)]
        flipped = flipped.reshape(filters, shape[1] // groups, *window)
        want = reference(spread, flipped, [1] * len(window), dilation, edges, groups)
        cut = [slice(p, n - q) for (p, q), n in zip(pads, full, strict=True)]
        want = want[(..., *cut)]
        args = build(shape, filters, groups, window, stride, dilation, pads, want.shape[2:])
        got = convolve(f"conv_transpose_{name}", block, 64, 64, x, rows, None, args, True, seed)
        near(got, want, name, scale=8)
