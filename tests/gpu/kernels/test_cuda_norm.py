"""Normalizations on the software device."""

import numpy as np
import pytest
from launch import run
from values import FLOATS, ceil_div, lanes_of_few, near, random, wide

LENGTHS = [1, 5, 24, 64, 100, 120, 256, 257, 400, 768, 1024]
LENGTHS += [2000, 3001, 4096, 8192, 8193, 9000]


def grids(rows, n, alone):
    """Kernels for such rows: grid and block; some take no more than x."""
    found = {"norm_long": (rows, 512)}
    if alone and n <= 8192:
        found["norm"] = (rows, 256)
    if alone and n <= 1024:
        found["norm_short"] = (ceil_div(rows, 8), 256)
    if alone and n <= 256:
        found["norm_few"] = (ceil_div(rows * lanes_of_few(n), 256), 256)
    return found


# The type of what is added up, and of the rest, in names of kernels.
ROWS = {**{name: (name, name) for name in FLOATS}, "f32_f16": ("f32", "f16")}
ROWS["f32_bf16"] = ("f32", "bf16")


@pytest.mark.parametrize("suffix", ROWS)
@pytest.mark.parametrize("rms", [0, 1])
def test_rows(suffix, rms):
    given, name = ROWS[suffix]
    rng = np.random.default_rng(1)
    for seed, n in enumerate(LENGTHS):
        rows = 9 if n <= 1024 else 3
        x = random(rng, (rows, n), given) + random(rng, (rows, 1), given)
        scale, bias = random(rng, n, name), random(rng, n, name)
        for alone in (True, False):
            residual = None if alone else random(rng, (3, n), given)
            add = random(rng, n, given) if not alone and seed % 2 else None
            v = wide(x)
            if residual is not None:
                v = v + np.tile(wide(residual), (rows // 3, 1))
            if add is not None:
                v = v + wide(add)
            mean = 0 if rms else v.mean(1, keepdims=True)
            inverse = 1 / np.sqrt(((v - mean) ** 2).mean(1, keepdims=True) + 1e-3)
            want = (v - mean) * inverse * wide(scale) + wide(bias)
            for kernel, (grid, block) in grids(rows, n, alone).items():
                y = np.zeros(x.shape, scale.dtype)
                total = None if alone else np.zeros_like(x)
                stats = np.zeros((2, rows), np.float32)
                operands = [x, residual, add, scale, bias, y, total, stats[0], stats[1]]
                numbers = [rows, n, 3, np.float32(1e-3), np.int32(rms)]
                run("norm", f"{kernel}_{suffix}", grid, block, *operands, *numbers, seed=seed)
                near(y, want, name, scale=4)
                near(stats[1:], inverse.T, "f32", scale=10)
                if total is not None:
                    near(total, v, given)


@pytest.mark.parametrize("name", FLOATS)
def test_only_what_is_given(name):
    x = random(np.random.default_rng(4), (2, 40), name)
    y = np.zeros_like(x)
    nothing = [None] * 4
    for kernel, (grid, block) in grids(2, 40, True).items():
        y[:] = 0
        run("norm", f"{kernel}_{name}", grid, block, x, *nothing, y, None, None, None, 2, 40, 1,
            np.float32(0), np.int32(1))  # fmt: skip
        near(y, wide(x) / np.sqrt((wide(x) ** 2).mean(1, keepdims=True)), name)


@pytest.mark.parametrize("kernel", ["norm_few", "norm_short", "norm", "norm_long"])
def test_a_mean_far_from_zero(kernel):
    n = 200
    x = random(np.random.default_rng(5), (2, n), "f32") + np.float32(1e4)
    x[0, 0] = -1e6  # far from the others
    y = np.zeros_like(x)
    grid, block = grids(2, n, True)[kernel]
    run("norm", f"{kernel}_f32", grid, block, x, *[None] * 4, y, None, None, None, 2, n, 1,
        np.float32(0), np.int32(0))  # fmt: skip
    v = wide(x) - wide(x).mean(1, keepdims=True)
    np.testing.assert_allclose(y, v / np.sqrt((v**2).mean(1, keepdims=True)), rtol=0, atol=2e-3)


@pytest.mark.parametrize("name", FLOATS)
def test_groups(name):
    rng = np.random.default_rng(2)
    for seed, (batch, groups, channels, inner) in enumerate(
        [(2, 3, 4, 8), (1, 2, 3, 5), (2, 5, 1, 130), (1, 1, 2, 1000), (3, 2, 2, 1)]
    ):
        x = random(rng, (batch, groups, channels * inner), name)
        scale, bias = random(rng, groups * channels, name), random(rng, groups * channels, name)
        y = np.zeros_like(x)
        run("norm", f"group_norm_{name}", batch * groups, 512, x, scale, bias, y, groups, channels,
            inner, np.float32(1e-3), seed=seed)  # fmt: skip
        v = wide(x)
        v = (v - v.mean(2, keepdims=True)) / np.sqrt(v.var(2, keepdims=True) + 1e-3)
        v = v.reshape(batch, groups * channels, inner)
        want = v * wide(scale)[:, None] + wide(bias)[:, None]
        near(y.reshape(want.shape), want, name, scale=4)


@pytest.mark.parametrize("name", FLOATS)
def test_batch_norm(name):
    rng = np.random.default_rng(3)
    x = random(rng, (2, 5, 37), name)
    scale, bias, mean = (random(rng, 5, name) for _ in range(3))
    variance = np.abs(random(rng, 5, name))
    y = np.zeros_like(x)
    run("norm", f"batch_norm_{name}", 2, 256, x, scale, bias, mean, variance, y, x.size, 5, 37,
        np.float32(1e-2))  # fmt: skip
    scale, bias, mean, variance = (wide(p)[:, None] for p in (scale, bias, mean, variance))
    near(y, (wide(x) - mean) / np.sqrt(variance + 1e-2) * scale + bias, name, scale=4)
