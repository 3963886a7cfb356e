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
