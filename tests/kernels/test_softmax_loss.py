"""Hardmax and the losses over classes agree with numpy and onnx's reference."""

from __future__ import annotations

import numpy as np
import pytest

from single_node import agree, check, run

RNG = np.random.default_rng(13)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("shape", [(3, 4, 37), (2, 1, 1), (5, 3, 64)])
def test_hardmax(axis, dtype, shape):
    x = RNG.integers(-9, 9, shape).astype(dtype)
    want = np.zeros(shape, dtype)
    np.put_along_axis(want, x.argmax(axis, keepdims=True), 1, axis)
    agree(run("Hardmax", [x], axis=axis), [want])


def test_hardmax_of_infinities_and_nan():
    low, nan = -np.inf, np.nan
    x = np.full((4, 40), low, np.float32)
    x[1, 7], x[2, [3, 20]], x[3, 0] = nan, (nan, 1), nan
    want = np.zeros((4, 40), np.float32)
    want[[0, 1, 2, 3], [0, 0, 0, 0]] = 1
    want[2, [0, 20]] = 0, 1
    agree(run("Hardmax", [x]), [want])


@pytest.mark.parametrize("op", ["SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss"])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("shape", [(5, 7), (3, 40), (2, 5, 3), (2, 35, 3, 11)])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignored", [None, 2, -5])
def test_losses(op, reduction, shape, weighted, ignored):
    x = RNG.standard_normal(shape).astype(np.float32)
    labels = RNG.integers(0, shape[1], (shape[0], *shape[2:]))
    if ignored == -5:
        labels.flat[::3] = -5
    inputs = [x, labels]
    if weighted:
        inputs.append(RNG.random(shape[1]).astype(np.float32) + np.float32(0.1))
    attributes = {} if ignored is None else {"ignore_index": ignored}
    outputs = 2 if op.startswith("Softmax") else 1
    check(op, inputs, 2e-5, reduction=reduction, outputs=outputs, **attributes)


def test_a_label_beyond_the_classes_is_an_error():
    labels = np.array([0, 1, 2, 9])
    with pytest.raises(Exception, match="3"):
        run("SoftmaxCrossEntropyLoss", [np.zeros((4, 5), np.float32), labels])
