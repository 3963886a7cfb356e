"""Convolutions of 8-bit integers on the software device: layouts, zero points, rounding."""

import ctypes

import numpy as np
import pytest
from launch import device, run
from test_conv import CASES, ConvArgs, build, reference
from test_gemm_bytes import PAIRS, integers
from values import ceil_div


class ByteConvArgs(ctypes.Structure):
    """struct ByteConvArgs of kernels/cuda/conv_bytes.cu."""

    _fields_ = (
        ("c", ConvArgs),
        ("room", ctypes.c_int * 3),
        ("held", ctypes.c_int),
        ("pitch", ctypes.c_longlong),
    )


class ByteResult(ctypes.Structure):
    """struct ByteResult of kernels/cuda/conv_bytes.cu."""

    _fields_ = [
        (name, ctypes.c_void_p) for name in ("bias", "x_scale", "w_scale", "y_scale", "y_zero")
    ] + [("w_step", ctypes.c_int), ("kind", ctypes.c_int)]


def lay_out(x, images, places, zero, args, seed):
    """Channels last, with room for the padding."""
    y = np.zeros((images, places, args.held), np.uint8)
    grid = images * ceil_div(places, 64) * ceil_div(args.held, 32)
    run("conv_bytes", "conv_lay_out", grid, 256, x, y, zero, args, seed=seed)
    return y


def convolve(types, x, w, zeros, args, result, dtype, seed):
    """Layouts, the table of runs, then the product."""
    c, (zx, zw) = args, zeros
    volume, run_bytes = int(np.prod(c.kernel)), 4 if c.channels <= 8 else 16
    a = ByteConvArgs(c, held=ceil_div(c.channels, run_bytes) * run_bytes)
    for i in range(3):
        a.room[i] = (c.out[i] - 1) * c.stride[i] + (c.kernel[i] - 1) * c.dilation[i] + 1
    a.pitch = ceil_div(volume * a.held, 16) * 16
    rows = ByteConvArgs(ConvArgs(channels=c.channels), held=a.held)
    rows.c.size[:] = [1, 1, volume]
    rows.room[:] = [1, 1, a.pitch // a.held]
    weights = lay_out(w, c.groups * c.filters, rows.room[2], None, rows, seed)
    images = lay_out(x, c.batch * c.groups, int(np.prod(a.room)), zx, a, seed)
    entries = ceil_div(volume * a.held, run_bytes) + 3
    table = np.zeros(entries, np.int32)
    run("conv_bytes", "conv_runs", 2, 256, table, a, np.int32(run_bytes), entries)
    y = np.zeros((c.batch, c.groups * c.filters, *c.out), dtype)
    columns = c.batch * int(np.prod(c.out))
    grid = c.groups * ceil_div(c.filters, 64) * ceil_div(columns, 128)
    run("conv_bytes", f"conv_{types}", grid, 256, images, weights, zx, zw, y, table, a, result,
        np.int32(zw is not None and zw.size > 1), seed=seed)  # fmt: skip
    return y


def whole(x, w, zeros, case):
    """The convolution in whole numbers; what is padded is the zero point."""
    _, _, groups, _, stride, dilation, pads = case
    zx, zw = zeros
    left = x.astype(np.int64) - (0 if zx is None else zx)
    right = w.astype(np.int64)
    if zw is not None:
        right = right - zw.reshape(-1, *[1] * (w.ndim - 1))
    return reference(left, right, stride, dilation, pads, groups).astype(np.int64)


def operands(rng, types, case):
    shape, filters, groups, window, *_ = case
    first, second = types.split("_")
    x = integers(rng, shape, first)
    return x, integers(rng, (filters, shape[1] // groups, *window), second)


WIDER = [((1, 70, 5, 9), 66, 1, (3, 3), (1, 1), (1, 1), [(1, 1), (1, 1)])]


@pytest.mark.parametrize("types", PAIRS)
def test_whole_sums(types):
    rng = np.random.default_rng(1)
    first, second = types.split("_")
    for seed, case in enumerate(CASES + WIDER):
        x, w = operands(rng, types, case)
        zx = integers(rng, 1, first) if seed % 2 else None
        zw = [None, integers(rng, 1, second), integers(rng, len(w), second)][seed % 3]
        want = whole(x, w, (zx, zw), case)
        args = build(*case, want.shape[2:])
        got = convolve(types, x, w, (zx, zw), args, ByteResult(), np.int32, seed)
        np.testing.assert_array_equal(got.reshape(want.shape), want)


def rounded(rng, w, name, each):
    """Random scales and a bias: a ByteResult, arrays of the device, and the same of numpy."""
    n = len(w)
    bias = rng.integers(-5000, 5000, n).astype(np.int32)
    scales = [(rng.random(size) + 0.5).astype(np.float32) for size in (1, n, 1)]
    scales[2] *= np.float32(w[0].size * 50)
    zero = integers(rng, 1, name)
    held = [device().upload(array) for array in (bias, *scales, zero)]
    result = ByteResult(*[array.pointer for array in held], each, 1 if name == "s8" else 2)
    return result, held, (bias, *scales, zero)


def finished(sums, parts, each, axes):
    """What QLinearConv makes of sums."""
    bias, x_scale, w_scale, y_scale, zero = parts
    shape = (-1, *[1] * axes)
    scale = x_scale * (w_scale if each else w_scale[:1]) / y_scale
    total = (sums + bias.reshape(shape)).astype(np.float32) * scale.reshape(shape)
    limits = np.iinfo(zero.dtype)
    return np.clip(np.rint(total) + zero, limits.min, limits.max).astype(zero.dtype)


@pytest.mark.parametrize("types", PAIRS)
def test_rounded(types):
    rng = np.random.default_rng(2)
    first, second = types.split("_")
    for seed, case in enumerate(CASES):
        x, w = operands(rng, types, case)
        zeros = integers(rng, 1, first), integers(rng, 1, second)
        result, held, parts = rounded(rng, w, "s8" if seed % 2 else "u8", seed % 2)
        sums = whole(x, w, zeros, case)
        args = build(*case, sums.shape[2:])
        got = convolve(types, x, w, zeros, args, result, parts[-1].dtype, seed)
        want = finished(sums, parts, seed % 2, x.ndim - 2)
        np.testing.assert_array_equal(got.reshape(want.shape), want)
        for array in held:
            array.free()


@pytest.mark.parametrize("types", PAIRS)
def test_single_channels(types):
    rng = np.random.default_rng(3)
    first, second = types.split("_")
    cases = [
        ((2, 6, 9, 11), 6, 6, (3, 3), (1, 1), (1, 1), [(1, 1), (1, 1)]),
        ((1, 3, 8, 5), 6, 3, (2, 5), (2, 3), (1, 2), [(0, 1), (4, 2)]),
        ((1, 2, 4, 5, 6), 2, 2, (3, 3, 3), (1, 1, 2), (1, 1, 1), [(1, 1), (0, 1), (1, 0)]),
    ]
    signs = np.int32((first == "s8") + 2 * (second == "s8"))
    for seed, case in enumerate(cases):
        x, w = operands(rng, types, case)
        zeros = integers(rng, 1, first), integers(rng, len(w), second)
        sums = whole(x, w, zeros, case)
        args = build(*case, sums.shape[2:])
        y = np.zeros(sums.shape, np.int32)
        run("conv_bytes", "conv_depthwise_bytes", 3, 256, x, w, *zeros, y, args, ByteResult(),
            np.int32(1), signs, seed=seed)  # fmt: skip
        np.testing.assert_array_equal(y, sums)
        result, held, parts = rounded(rng, w, first, 1)
        y = np.zeros(sums.shape, parts[-1].dtype)
        run("conv_bytes", "conv_depthwise_bytes", 3, 256, x, w, *zeros, y, args, result,
            np.int32(1), signs, seed=seed)  # fmt: skip
        np.testing.assert_array_equal(y, finished(sums, parts, 1, x.ndim - 2))
        for array in held:
            array.free()
