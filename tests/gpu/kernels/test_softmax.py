"""Softmax and its logarithm on the software device: lengths around every limit, special values."""

import numpy as np
import pytest
from launch import run
from values import FLOATS, ceil_div, lanes_of_few, near, random, wide

# Around every number of items that a thread may hold, in packs and one by one.
LENGTHS = [1, 3, 32, 48, 61, 100, 200, 256]
LENGTHS += [257, 400, 1000, 1024, 1500, 3000, 3001, 8192, 8200, 9001]


def reference(x, axis, logarithm):
    """In float64, with the infinities and NaN of the definition."""
    x = wide(x)
    with np.errstate(all="ignore"):
        shifted = x - x.max(axis, keepdims=True)
        total = np.exp(shifted).sum(axis, keepdims=True)
        return shifted - np.log(total) if logarithm else np.exp(shifted) / total


def spiced(rng, shape, name):
    """Random rows; some have -inf, inf or NaN, one has nothing but -inf."""
    x = random(rng, shape, name) * np.array(4, random(rng, 1, name).dtype)
    x[0, 0] = -np.inf
    x[1 % len(x), -1] = np.inf
    x[2 % len(x), x.shape[1] // 2] = np.nan
    x[3 % len(x)] = -np.inf
    return x


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("logarithm", [0, 1])
def test_last_axis(name, logarithm):
    rng = np.random.default_rng(1)
    for seed, n in enumerate(LENGTHS):
        rows = 11 if n <= 1024 else 5
        x = spiced(rng, (rows, n), name)
        want = reference(x, 1, logarithm)
        grids = {"softmax": rows}
        if n <= 1024:
            grids["softmax_short"] = ceil_div(rows, 8)
        if n <= 256:
            grids["softmax_few"] = ceil_div(rows * lanes_of_few(n), 256)
        for kernel, grid in grids.items():
            y = np.zeros_like(x)
            args = [grid, 256, x, y, *([n] if kernel == "softmax" else [rows, n])]
            run("softmax", f"{kernel}_{name}", *args, np.int32(logarithm), seed=seed)
            near(y, want, name)


@pytest.mark.parametrize("name", FLOATS)
def test_rows_that_do_not_begin_at_16_bytes(name):
    x = random(np.random.default_rng(2), 3 * 64 + 1, name)[1:]
    y = np.zeros(3 * 64 + 1, x.dtype)[1:]
    run("softmax", f"softmax_{name}", 3, 256, x, y, 64, np.int32(0))
    near(y.reshape(3, 64), reference(x.reshape(3, 64), 1, 0), name)


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("logarithm", [0, 1])
def test_inner_axis(name, logarithm):
    rng = np.random.default_rng(3)
    for seed, (outer, n, inner) in enumerate([(2, 5, 3), (1, 40, 33), (3, 1, 64), (2, 17, 130)]):
        x = spiced(rng, (outer * n, inner), name).reshape(outer, n, inner)
        y = np.zeros_like(x)
        grid = outer * ceil_div(inner, 32)
        run(
            "softmax",
            f"softmax_inner_{name}",
            grid,
            256,
            x,
            y,
            n,
            inner,
            np.int32(logarithm),
            seed=seed,
        )
        near(y, reference(x, 1, logarithm), name)
