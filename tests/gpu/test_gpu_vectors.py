"""Operators whose kernels ask for a processor's vectors on the CUDA provider, against the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from onnx import TensorProto

import softcuda
from gpu_nodes import agree, element_type, normal

Array = npt.NDArray[Any]
# Fewer items than a vector has, whole vectors and a rest.
WIDTHS = [1, 3, 8, 37]


def check(op: str, feeds: dict[str, Array | None], outputs: int = 1, **given: Any) -> None:
    """All outputs of the type of x."""
    x = feeds["x"]
    assert x is not None
    agree(op, feeds, [element_type(x)] * outputs, kernel="generic", slack=4, **given)


@pytest.mark.parametrize("op", ["NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("width", WIDTHS)
def test_losses(cuda_driver: softcuda.Device, op: str, reduction: str, width: int) -> None:
    rng = np.random.default_rng(width)
    for shape in ((4, width), (2, 5, width), (2, width, 3, 2)):
        labels = rng.integers(0, shape[1], (shape[0], *shape[2:]))
        feeds: dict[str, Array | None] = {"x": normal("float", *shape), "labels": labels}
        check(op, feeds, reduction=reduction)
        feeds["weights"] = np.abs(normal("float", shape[1]))
        check(op, feeds, reduction=reduction, ignore_index=0)
        if op == "SoftmaxCrossEntropyLoss":
            check(op, feeds, 2, reduction=reduction)


@pytest.mark.parametrize("width", WIDTHS)
def test_lines_of_vectors(cuda_driver: softcuda.Device, width: int) -> None:
    x = normal("float", 3, 4, width)
    for axis in (0, 1, 2):
        check("Hardmax", {"x": x}, axis=axis)
    image = normal("float", 2, 7, 3, width)
    check("LRN", {"x": image}, size=3, alpha=0.02, beta=0.6, bias=1.5)
    if width > 1:
        check("MeanVarianceNormalization", {"x": image}, axes=[0, 2, 3])


def test_regions(cuda_driver: softcuda.Device) -> None:
    x = normal("float", 2, 5, 11, 13)
    regions = np.array([[0, 0, 9, 9], [1.5, 2, 12, 10.5], [3, 3, 3.2, 3.1]], np.float32)
    feeds = {"x": x, "regions": regions, "batches": np.array([1, 0, 1])}
    for mode in ("avg", "max"):
        check("RoiAlign", feeds, mode=mode, output_height=3, output_width=2, spatial_scale=0.9)


@pytest.mark.parametrize("width", WIDTHS)
def test_deformed_windows(cuda_driver: softcuda.Device, width: int) -> None:
    x, w = normal("float", 1, 2, 5, width + 2), normal("float", 3, 2, 3, 3)
    shape = (1, 18, 3, width)
    feeds = {"x": x, "w": w, "offset": normal("float", *shape), "b": normal("float", 3)}
    check("DeformConv", feeds, kernel_shape=[3, 3])


@pytest.mark.parametrize("dtype", ["float", "float16", "bfloat16"])
@pytest.mark.parametrize("width", WIDTHS)
def test_causal_windows(cuda_driver: softcuda.Device, dtype: str, width: int) -> None:
    x, w = normal(dtype, 2, 6, width), normal(dtype, 6, 1, 4)
    feeds: dict[str, Array | None] = {"x": x, "w": w, "b": normal(dtype, 6)}
    check("CausalConvWithState", feeds, 2)
    feeds["state"] = normal(dtype, 2, 6, 3)
    check("CausalConvWithState", feeds, 2, activation="silu")


def test_a_label_that_is_no_class(cuda_driver: softcuda.Device) -> None:
    feeds = {"x": normal("float", 3, 4), "labels": np.array([0, 4, 1])}
    with pytest.raises(Exception, match="out of range|not valid"):
        agree("NegativeLogLikelihoodLoss", feeds, [TensorProto.FLOAT], kernel="generic")
