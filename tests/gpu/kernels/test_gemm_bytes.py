"""Products of 8-bit integers, whole and rounded, and ranges of floats on the software device."""

import ctypes

import numpy as np
import pytest
from launch import device, run
from test_gemm import arguments
from values import TYPES, ceil_div, random, wide

PAIRS = ["s8_s8", "u8_s8", "s8_u8", "u8_u8"]
SHAPES = {
    "gemm": [(1, 1, 1), (37, 65, 19), (130, 72, 64), (64, 70, 200)],
    "gemv": [(1, 1, 1), (3, 65, 19), (8, 20, 640), (1, 70, 200)],
}


class Rounding(ctypes.Structure):
    """struct Rounding of kernels/cuda/gemm_bytes.cu."""

    _fields_ = (
        [(name, ctypes.c_void_p) for name in ("a_scale", "b_scale", "y_scale", "y_zero")]
        + [(name, ctypes.c_longlong) for name in ("a_step", "b_step", "y_step", "zero_step")]
        + [("scale_type", ctypes.c_int), ("is_signed", ctypes.c_int)]
    )


def integers(rng, shape, name):
    """All numbers of a type."""
    limits = np.iinfo(TYPES[name])
    return rng.integers(limits.min, limits.max + 1, shape, limits.dtype)


def operands(rng, types, shape, turned):
    """Random a [m, k], b [k, n] by rows or columns, and a zero point for each row and column."""
    (first, second), (m, n, k) = types.split("_"), shape
    b = integers(rng, (n, k), second)
    b = b.T if turned else np.ascontiguousarray(b.T)
    return integers(rng, (m, k), first), b, integers(rng, m, first), integers(rng, n, second)


def shifted(x, zeros, step, axis):
    """Whole numbers less their zero points: none, one (step 0), or one each row or column."""
    if step is None:
        return x.astype(np.int32)
    points = zeros[:1] if step == 0 else zeros
    return x.astype(np.int32) - np.expand_dims(points.astype(np.int32), axis)


@pytest.mark.parametrize("types", PAIRS)
@pytest.mark.parametrize("kernel", SHAPES)
def test_bytes(types, kernel):
    rng = np.random.default_rng(2)
    for i, (m, n, k) in enumerate(SHAPES[kernel]):
        a, b, za, zb = operands(rng, types, (m, n, k), kernel == "gemv" or i % 2)
        bias = rng.integers(-1000, 1000, n).astype(np.int32)
        file, name, grid, more = chosen(kernel, types, m, n)
        for steps in [(None, None), (0, 1), (1, 0), (1, None)]:
            d = np.zeros((m, n), np.int32)
            run(file, name, grid, 256, a, b, None if steps[0] is None else za,
                None if steps[1] is None else zb, bias, d, arguments(a, b, None, d),
                steps[0] or 0, steps[1] or 0, *more, seed=i + 1)  # fmt: skip
            want = shifted(a, za, steps[0], 1) @ shifted(b, zb, steps[1], 0) + bias
            np.testing.assert_array_equal(d, want)


def chosen(kernel, types, m, n):
    """File, kernel, grid and what is given behind its arguments: by tiles, or by columns."""
    if kernel == "gemm":
        return "gemm_bytes", f"gemm_{types}", ceil_div(m, 128) * ceil_div(n, 64), []
    return "gemv_bytes", f"gemv_{types}", ceil_div(n, 8), [n]


@pytest.mark.parametrize("types", PAIRS)
@pytest.mark.parametrize("kind", ["f32", "f16", "bf16"])
@pytest.mark.parametrize("kernel", SHAPES)
def test_rounded_bytes(types, kind, kernel):
    rng = np.random.default_rng(3)
    for i, (m, n, k) in enumerate(SHAPES[kernel]):
        a, b, za, zb = operands(rng, types, (m, n, k), 1)
        each = i % 2
        scales = [np.abs(random(rng, size, kind)) + TYPES[kind](0.01) for size in (m, n, m)]
        name = "s8" if i < 2 else "u8"
        zy = integers(rng, m, name)
        held = [device().upload(x) for x in (*scales, zy)]
        r = Rounding(*[x.pointer for x in held], each, each, each, each, 0, name == "s8")
        r.scale_type = ["f32", "f16", "bf16"].index(kind)
        d = np.zeros((m, n), zy.dtype)
        file, entry, grid, more = chosen(kernel, f"rounded_{types}", m, n)
        run(file, entry, grid, 256, a, b, za, zb, d, arguments(a, b, None, d), each, each, r,
            *more, seed=i + 1)  # fmt: skip
        whole = shifted(a, za, each, 1) @ shifted(b, zb, each, 0)
        left, right, y = (s if each else s[:1] for s in (x.astype(np.float32) for x in scales))
        factor = (left / y)[:, None] * right[None]
        limits = np.iinfo(zy.dtype)
        rounded = np.rint(whole.astype(np.float32) * factor) + wide(zy if each else zy[:1])[:, None]
        np.testing.assert_array_equal(d, np.clip(rounded, limits.min, limits.max).astype(zy.dtype))
        for x in held:
            x.free()


def test_dynamic_quantization():
    rng = np.random.default_rng(4)
    cases = [random(rng, 5000), np.abs(random(rng, 300)), -np.abs(random(rng, 77)), np.zeros(5)]
    for seed, x in enumerate(x.astype(np.float32) for x in cases):
        blocks = 1 + seed
        ranges, y = np.zeros((blocks, 2), np.float32), np.zeros(x.size, np.uint8)
        scale, zero = np.zeros(1, np.float32), np.zeros(1, np.uint8)
        run("quantize", "range_f32", blocks, 256, x, ranges, x.size, seed=seed)
        run("quantize", "dynamic_quantize_f32", 3, 256, x, ranges, y, scale, zero, x.size, blocks,
            seed=seed)  # fmt: skip
        low, high = np.minimum(x.min(), 0), np.maximum(x.max(), 0)
        step = np.float32(high - low) / np.float32(255)
        point = np.clip(np.rint(-low / step), 0, 255) if step else 0
        assert scale[0] == step
        assert zero[0] == point
        want = np.clip(np.rint(x / (step or np.float32(1))) + point, 0, 255)
        np.testing.assert_array_equal(y, want.astype(np.uint8))
