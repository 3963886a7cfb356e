"""Normalisations agree with numpy and onnx's reference."""

from __future__ import annotations

import numpy as np
import pytest

from single_node import agree, run

RNG = np.random.default_rng(12)


@pytest.mark.parametrize(
    "axes", [None, [0, 2, 3], [1, 2, 3], [3], [1], [0, 1], [0, 1, 2, 3], [-1, 0]]
)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (3, 2, 8, 33), (1, 1, 1, 1)])
def test_mean_variance(axes, dtype, shape):
    x = (RNG.standard_normal(shape) * 3 + 1).astype(dtype)
    over = tuple(axes or (0, 2, 3))
    wide = x.astype(np.float64)
    want = wide - wide.mean(over, keepdims=True)
    want = (want / (wide.std(over, keepdims=True) + 1e-9)).astype(dtype)
    attributes = {} if axes is None else {"axes": axes}
    agree(
        run("MeanVarianceNormalization", [x], **attributes),
        [want],
        2e-3 if dtype == "float16" else 2e-5,
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 2, 5, 9])
@pytest.mark.parametrize("shape", [(2, 7, 3, 5), (1, 3, 23, 29), (1, 4, 1100)])
def test_lrn(shape: tuple[int, ...], size: int, dtype: type) -> None:
    x = np.random.default_rng(size).standard_normal(shape).astype(dtype)
    squares = np.zeros(shape)
    for c in range(shape[1]):
        near = slice(max(c - (size - 1) // 2, 0), c + size // 2 + 1)
        squares[:, c] = (x[:, near].astype(np.float64) ** 2).sum(1)
    want = x / (1.5 + 0.3 / size * squares) ** 0.75
    (got,) = run("LRN", [x], size=size, alpha=0.3, beta=0.75, bias=1.5)
    np.testing.assert_allclose(got, want, rtol=2e-6, atol=1e-7)
