"""Reductions on the software device: along rows and columns, special values, positions."""

import numpy as np
import pytest
from launch import run
from values import FLOATS, ceil_div, near, random, wide

SHAPES = [(1, 1, 1), (9, 100, 1), (3, 257, 1), (2, 4096, 1), (2, 5, 3), (1, 40, 33), (2, 1, 70)]
TYPES = ("f32", "f64", "f16", "bf16", "i32", "i64")
OPERATIONS = {"sum": np.sum, "prod": np.prod, "max": np.max, "min": np.min}
BEFORE = (lambda x: x, np.abs, np.square)
AFTER = (lambda x, n: x, lambda x, n: x / n, lambda x, n: np.sqrt(x), lambda x, n: np.log(x))


def reduce(operation, name, x, first=0, last=0, seed=0):
    """Runs the kernels that are there for the shape; checks that they agree."""
    outer, n, inner = x.shape
    y = np.zeros((outer, inner), x.dtype)
    codes = np.int32(first), np.int32(last)
    grid = outer * ceil_div(inner, 32)
    run("reduce", f"reduce_{operation}_inner_{name}", grid, 256, x, y, n, inner, *codes, seed=seed)
    results = [y]
    if inner == 1:
        for block, grid in (((32, 8), ceil_div(outer, 8)), ((256, 1), outer)):
            y = np.zeros((outer, inner), x.dtype)
            run(
                "reduce",
                f"reduce_{operation}_{name}",
                grid,
                block,
                x,
                y,
                outer,
                n,
                *codes,
                seed=seed,
            )
            results.append(y)
    return results


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_operation(operation, name):
    rng = np.random.default_rng(1)
    for seed, shape in enumerate(SHAPES):
        x = random(rng, shape, name)
        if operation == "prod":
            x = (
                np.sign(x) * (1 + x / x.dtype.type(64))
                if name in ("f32", "f64", *FLOATS)
                else np.sign(x)
            )
            x = x.astype(random(rng, 1, name).dtype)
        with np.errstate(over="ignore"):
            want = OPERATIONS[operation](wide(x), axis=1)
        for y in reduce(operation, name, x, seed=seed):
            if name in ("i32", "i64"):
                np.testing.assert_array_equal(y, want.astype(x.dtype))
            else:
                near(y, want, name, scale=20)


@pytest.mark.parametrize("name", TYPES)
def test_functions_around_sums(name):
    rng = np.random.default_rng(2)
    for seed, shape in enumerate(SHAPES):
        x = random(rng, shape, name)
        for first, last in ((1, 0), (2, 0), (2, 2), (1, 3), (0, 1)):
            if name in ("i32", "i64") and last:
                continue
            with np.errstate(divide="ignore"):
                want = AFTER[last](BEFORE[first](wide(x)).sum(1), shape[1])
            for y in reduce("sum", name, x, first, last, seed):
                near(y, want, name, scale=20)


@pytest.mark.parametrize("name", FLOATS)
def test_nan_and_infinity(name):
    x = random(np.random.default_rng(3), (4, 50, 1), name)
    x[0, 7], x[1, 3], x[2, 9] = np.nan, np.inf, -np.inf
    for operation, function in OPERATIONS.items():
        if operation == "prod":
            continue
        for y in reduce(operation, name, x):
            near(y, function(wide(x), axis=1), name, scale=20)


@pytest.mark.parametrize("name", FLOATS)
def test_logsumexp(name):
    rng = np.random.default_rng(4)
    for seed, shape in enumerate(SHAPES):
        x = random(rng, shape, name) * random(rng, 1, name).dtype.type(8)
        x[0, 0, 0] = -np.inf
        y = np.zeros((shape[0], shape[2]), x.dtype)
        grid = ceil_div(y.size, 8)
        run("reduce", f"reduce_logsumexp_{name}", grid, 256, x, y, *shape, seed=seed)
        with np.errstate(divide="ignore"):
            near(y, np.logaddexp.reduce(wide(x), axis=1), name, scale=4)


@pytest.mark.parametrize("name", [*TYPES, "s8", "u8"])
def test_positions(name):
    rng = np.random.default_rng(5)
    for seed, shape in enumerate(SHAPES):
        x = random(rng, shape, name)
        if name in FLOATS and seed % 2:
            x = np.round(x)
            x[0, shape[1] // 2 :: 3] = np.nan
        for largest in (0, 1):
            for last in (0, 1):
                find = np.argmax if largest else np.argmin
                if last:
                    want = shape[1] - 1 - find(wide(x)[:, ::-1], axis=1)
                else:
                    want = find(wide(x), axis=1)
                for kernel, grid in (("arg", ceil_div(want.size, 8)), ("arg_inner", 1)):
                    y = np.zeros(want.shape, np.int64)
                    run("reduce", f"{kernel}_{name}", grid, 256, x, y, *shape, np.int32(largest),
                        np.int32(last), seed=seed)  # fmt: skip
                    np.testing.assert_array_equal(y, want)


@pytest.mark.parametrize("name", ["f32", "f16"])
@pytest.mark.parametrize("n", [169, 1001])
def test_equal_rows_give_equal_bits(name, n):
    """However they lie in memory."""
    rng = np.random.default_rng(n)
    x = np.ascontiguousarray(np.broadcast_to(random(rng, (n,), name), (9, n)))
    y = np.zeros(9, x.dtype)
    block, grid = ((256, 1), 9) if n > 256 else ((32, 8), 2)
    run("reduce", f"reduce_sum_{name}", grid, block, x, y, 9, n, np.int32(0), np.int32(1))
    assert len(np.unique(y)) == 1
