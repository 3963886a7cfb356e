"""Normalisations agree with numpy and onnx's reference."""

from __future__ import annotations

import numpy as np
import pytest

from single_node import agree, run


@pytest.mark.parametrize(
    "axes", [None, [0, 2, 3], [1, 2, 3], [3], [1], [0, 1], [0, 1, 2, 3], [-1, 0]]
)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (3, 2, 8, 33), (1, 1, 1, 1)])
def test_mean_variance(axes, dtype, shape):
    x = (np.random.default_rng(12).standard_normal(shape) * 3 + 1).astype(dtype)
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


def local_response(x: np.ndarray, alpha: float, beta: float, bias: float, size: int) -> np.ndarray:
    squares = x.astype(np.float64) ** 2
    total = np.zeros_like(squares)
    for c in range(x.shape[1]):
        first, last = max(c - (size - 1) // 2, 0), c + size // 2 + 1
        total[:, c] = squares[:, first:last].sum(1)
    return (x / (bias + alpha / size * total) ** beta).astype(x.dtype)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 40])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("shape", [(2, 7, 5, 7), (1, 32, 4, 8), (3, 5), (2, 18, 33), (1, 1, 1, 1)])
def test_local_response(shape, dtype, size):
    x = (np.random.default_rng(12).standard_normal(shape) * 3).astype(dtype)
    for alpha, beta, bias in ((1e-4, 0.75, 1.0), (0.3, 0.5, 2.0), (1.0, 1.0, 0.5)):
        got = run("LRN", [x], alpha=alpha, beta=beta, bias=bias, size=size)
        want = local_response(x, alpha, beta, bias, size)
        agree(got, [want], 2e-3 if dtype == "float16" else 2e-5)


def test_local_response_keeps_what_is_no_number_in_its_window():
    x = np.random.default_rng(12).standard_normal((1, 9, 3, 5)).astype(np.float32)
    x[0, 4, 1, 2] = np.nan
    x[0, 0, 0, 0] = np.inf
    got = run("LRN", [x], size=3)[0]
    with np.errstate(invalid="ignore"):
        want = local_response(x, 9.99999975e-05, 0.75, 1.0, 3)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    agree([got], [want], 2e-5)
