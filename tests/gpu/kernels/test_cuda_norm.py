"""Normalizations on the software device."""

import numpy as np
import pytest
from launch import run
from values import FLOATS, ceil_div, near, random, wide

# The type of what is added up, and of the rest, in names of kernels.
ROWS = {**{name: (name, name) for name in FLOATS}, "f32_f16": ("f32", "f16")}
ROWS["f32_bf16"] = ("f32", "bf16")


@pytest.mark.parametrize("suffix", ROWS)
@pytest.mark.parametrize("rms", [0, 1])
def test_rows(suffix, rms):
    given, name = ROWS[suffix]
    rng = np.random.default_rng(1)
    for seed, n in enumerate(
        [1, 5, 64, 100, 257, 400, 768, 1024, 2000, 3001, 4096, 8192, 8193, 9000]
    ):
        rows = 9 if n <= 1024 else 3
        x = random(rng, (rows, n), given) + random(rng, (rows, 1), given)
        scale, bias = random(rng, n, name), random(rng, n, name)
        residual = random(rng, (3, n), given) if seed % 3 else None
        add = random(rng, n, given) if seed % 3 == 2 else None
        v = wide(x)
        if residual is not None:
            v = v + np.tile(wide(residual), (rows // 3, 1))
        if add is not None:
            v = v + wide(add)
        mean = 0 if rms else v.mean(1, keepdims=True)
        inverse = 1 / np.sqrt(((v - mean) ** 2).mean(1, keepdims=True) + 1e-3)
        want = (v - mean) * inverse * wide(scale) + wide(bias)
        for kernel in ("norm_short", "norm"):
            if kernel == "norm_short" and n > 1024:
                continue
            y, total = np.zeros(x.shape, scale.dtype), np.zeros_like(x)
            stats = np.zeros((2, rows), np.float32)
            grid = rows if kernel == "norm" else ceil_div(rows, 8)
            operands = [x, residual, add, scale, bias, y, total, stats[0], stats[1]]
            numbers = [rows, n, 3, np.float32(1e-3), np.int32(rms)]
            run("norm", f"{kernel}_{suffix}", grid, 256, *operands, *numbers, seed=seed)
            near(y, want, name, scale=4)
            near(total, v, given)
            near(stats[1:], inverse.T, "f32", scale=10)


@pytest.mark.parametrize("name", FLOATS)
def test_only_what_is_given(name):
    x = random(np.random.default_rng(4), (2, 40), name)
    y = np.zeros_like(x)
    nothing = [None] * 4
    run("norm", f"norm_{name}", 2, 256, x, *nothing, y, None, None, None, 2, 40, 1,
        np.float32(0), np.int32(1))  # fmt: skip
    near(y, wide(x) / np.sqrt((wide(x) ** 2).mean(1, keepdims=True)), name)


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
