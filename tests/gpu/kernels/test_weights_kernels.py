"""Products with matrices of 4 or 8 bits, and such matrices widened, on the software device."""

import ctypes

import numpy as np
import pytest
from launch import run
from values import FLOATS, ceil_div, near, random, wide


class WeightArgs(ctypes.Structure):
    """struct WeightArgs of kernels/cuda/weights.cu."""

    _fields_ = [
        (name, ctypes.c_longlong) for name in ("m", "n", "k", "blocks", "pitch", "zero_pitch")
    ] + [(name, ctypes.c_int) for name in ("block", "bits", "flip", "zero")]


def packed(values, bits):
    """Small numbers along the last axis, two a byte for four bits."""
    if bits == 8:
        return values.astype(np.uint8)
    if values.shape[-1] % 2:
        values = np.concatenate([values, np.zeros_like(values[..., :1])], -1)
    return (values[..., ::2] | values[..., 1::2] << 4).astype(np.uint8)


# m, n, k, block, zero points, signed
CASES = [
    (1, 9, 96, 32, 1, 0),
    (3, 20, 100, 16, 0, 1),
    (8, 5, 600, 128, 1, 1),
    (1, 1, 3, 3, 0, 0),
    (5, 130, 70, 8, 1, 0),
    (2, 67, 50, 50, 1, 0),
    (4, 67, 40, 8, 0, 0),
]


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("lines", ["columns", "rows"])
def test_products_with_few_bits(name, bits, lines):
    rng = np.random.default_rng(bits)
    for seed, (m, n, k, block, zero, signed) in enumerate(CASES):
        blocks, flip = ceil_div(k, block), signed << (bits - 1)
        q = rng.integers(0, 2**bits, (n, k))
        zeros = rng.integers(0, 2**bits, (n, blocks)) if zero else None
        scales = np.abs(random(rng, (n, blocks), name)) * random(rng, 1, name).dtype.type(0.1)
        a, each = random(rng, (m, k), name), np.arange(k) // block
        center = 3 if zeros is None else (zeros ^ flip)[:, each]
        w = ((q ^ flip) - center) * wide(scales)[:, each]
        as_it_lies = [x if x is None or lines == "columns" else np.ascontiguousarray(x.T)
                      for x in (q, scales, zeros)]  # fmt: skip
        b, z = (None if x is None else packed(x, bits) for x in (as_it_lies[0], as_it_lies[2]))
        pitches = b.shape[-1], 0 if z is None else z.shape[-1]
        args = WeightArgs(m, n, k, blocks, *pitches, block, bits, flip, 3)
        y = np.zeros((m, n), a.dtype)
        grid = ceil_div(n, 8 if lines == "columns" else 64)
        operands = [b, as_it_lies[1], z]
        run("weights", f"weights_{lines}_{name}", grid, 256, a, *operands, y, args, seed=seed)
        near(y, wide(a) @ w.T, name, scale=8 * 2 ** (bits - 4))
        y = np.zeros((n, k) if lines == "columns" else (k, n), a.dtype)
        run("weights", f"widen_{lines}_{name}", 2, 256, *operands, y, args, seed=seed)
        near(y, w if lines == "columns" else w.T, name)
