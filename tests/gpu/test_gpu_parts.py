"""Products and convolutions of few tiles on the CUDA provider: parts of k beside each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import softcuda
from gpu_nodes import agree, element_type, normal


def parts_of(device: softcuda.Device, dtype: str) -> int:
    """How often parts were added up."""
    suffix = {"float": "f32", "float16": "f16", "bfloat16": "bf16"}[dtype]
    return max(0, device.statistic(f"sum_parts_{suffix}"))


def check(device: softcuda.Device, op: str, parts: bool, *feeds: Any, **given: Any) -> None:
    """Both runs of `agree` add parts up, or none does."""
    names = dict(zip("abc", feeds, strict=False))
    before = parts_of(device, str(feeds[0].dtype).removesuffix("32"))
    agree(op, names, [element_type(feeds[0])], slack=8, **given)
    assert parts_of(device, str(feeds[0].dtype).removesuffix("32")) - before == 2 * parts


@pytest.mark.parametrize("dtype", ["float", "float16", "bfloat16"])
@pytest.mark.parametrize("rows", [1, 5, 20, 70])
def test_products(cuda_driver: softcuda.Device, dtype: str, rows: int) -> None:
    a, b = normal(dtype, rows, 2048), normal(dtype, 2048, 40, seed=1)
    check(cuda_driver, "MatMul", True, a, b, kernel="gemm")
    check(cuda_driver, "MatMul", False, a[:, :37], b[:37], kernel="gemm")  # 37 has no parts


@pytest.mark.parametrize("dtype", ["float", "float16"])
def test_gemm(cuda_driver: softcuda.Device, dtype: str) -> None:
    a, b, c = normal(dtype, 9, 1024), normal(dtype, 48, 1024, seed=1), normal(dtype, 48, seed=2)
    check(cuda_driver, "Gemm", True, a, b, c, kernel="gemm", transB=1, alpha=0.5, beta=2.0)


def test_batches_keep_their_axes(cuda_driver: softcuda.Device) -> None:
    a, b = normal("float", 2, 2, 3, 16, 512), normal("float", 2, 2, 3, 512, 16, seed=1)
    check(cuda_driver, "MatMul", False, a, b, kernel="gemm")  # no axis is left for parts
    check(cuda_driver, "MatMul", True, a[:1, :1, :1], b[:1, :1, :1], kernel="gemm")


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
def test_convolutions(cuda_driver: softcuda.Device, op: str) -> None:
    x, w = normal("float", 1, 200, 5, 6), normal("float", 200, 200, 3, 3, seed=1)[:, :30]
    if op == "Conv":
        w = np.ascontiguousarray(w.swapaxes(0, 1))
    bias = normal("float", 30, seed=2)
    kernel = "conv" if op == "Conv" else "conv_transpose"
    check(cuda_driver, op, True, x, w, bias, kernel=kernel, pads=[1, 1, 1, 1])


def test_an_epilogue_follows_the_sum(cuda_driver: softcuda.Device) -> None:
    from gpu_models import both, model

    w = normal("float", 2048, 24, seed=1)
    made = model("g (float[3,2048] x) => (float[3,24] y) { p = MatMul(x, w)  y = Tanh(p) }", w=w)
    before = parts_of(cuda_driver, "float")
    session = both(made, {"x": normal("float", 3, 2048) / 30}, atol=1e-4)
    assert parts_of(cuda_driver, "float") - before == 2
    assert "epilogue of" in session.explain()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_convolutions_by_patches(cuda_driver: softcuda.Device, dtype: str) -> None:
    x, w = normal(dtype, 1, 192, 7, 7), normal(dtype, 40, 192, 3, 3, seed=1)
    bias = normal(dtype, 40, seed=2)
    check(cuda_driver, "Conv", True, x, w, bias, kernel="conv", pads=[1, 1, 1, 1])
    check(cuda_driver, "Conv", False, x[:, :16], w[:, :16], bias, kernel="conv")
