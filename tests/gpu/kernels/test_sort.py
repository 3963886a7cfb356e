"""TopK and CumSum on the software device."""

import numpy as np
import pytest
from launch import run
from values import near, random, wide

TYPES = ("f32", "f16", "bf16", "i32", "i64")


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("largest", [0, 1])
def test_topk(name, largest):
    rng = np.random.default_rng(1)
    cases = [(3, 10, 1, 10), (2, 40, 3, 7), (1, 1, 1, 1), (1, 700, 1, 300), (2, 64, 1, 64)]
    for seed, (outer, n, inner, k) in enumerate(cases):
        x = random(rng, (outer, n, inner), name)  # of integers many are equal
        if name in ("f32", "f16", "bf16"):
            x = np.round(x * x.dtype.type(4))
            if seed % 2:
                x[0, n // 2] = np.nan
                x[0, 0] = -np.inf
        keys = wide(x).astype(np.float64)
        keys = np.where(np.isnan(keys), 1e300, keys)
        order = np.argsort(-keys if largest else keys, axis=1, kind="stable")[:, :k]
        padded = max(2, 1 << (n - 1).bit_length())
        shared = padded * (12 if name == "i64" else 8)
        for kernel in ("topk", "topk_long"):
            y, places = np.zeros((outer, k, inner), x.dtype), np.zeros((outer, k, inner), np.int64)
            more = [np.int32(padded)] if kernel == "topk" else []
            run("sort", f"{kernel}_{name}", outer * inner, 256, x, y, places, n, inner, k, *more,
                np.int32(largest), shared=shared if kernel == "topk" else 0, seed=seed)  # fmt: skip
            np.testing.assert_array_equal(places, order)
            near(y, np.take_along_axis(x, order, 1), name)


@pytest.mark.parametrize("name", [*TYPES, "f64"])
def test_running_sums(name):
    rng = np.random.default_rng(2)
    for seed, (outer, n, inner) in enumerate([(3, 10, 1), (2, 700, 1), (1, 256, 1), (2, 20, 5)]):
        x = random(rng, (outer, n, inner), name)
        for exclusive in (0, 1):
            for reverse in (0, 1):
                v = wide(x)[:, ::-1] if reverse else wide(x)
                want = np.cumsum(v, axis=1)
                if exclusive:
                    want = np.concatenate([np.zeros_like(want[:, :1]), want[:, :-1]], 1)
                want = want[:, ::-1] if reverse else want
                flags = np.int32(exclusive), np.int32(reverse)
                y = np.zeros_like(x)
                run("sort", f"cumsum_inner_{name}", 1, 256, x, y, outer, n, inner, *flags)
                near(y, want, name, scale=20)
                if inner == 1:
                    y = np.zeros_like(x)
                    run("sort", f"cumsum_{name}", outer, 256, x, y, n, *flags, seed=seed)
                    near(y, want, name, scale=20)
