"""Quantised operators of com.microsoft agree with onnxruntime."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from contrib_run import Array, check, random, reference, whole

BYTES = [np.uint8, np.int8]


def integers(*shape: int, dtype: Any, seed: int = 0) -> Array:
    low = 0 if np.dtype(dtype).kind == "u" else -128
    return whole(low, low + 256, *shape, seed=seed, dtype=dtype)


def step(value: float) -> Array:
    return np.array(value, np.float32)


def zero(dtype: Any, value: int = 0) -> Array:
    return np.array(value + (100 if np.dtype(dtype).kind == "u" else -5), dtype)


def with_zeros(inputs: list[Array | None], dtype: Any) -> list[Array]:
    """Zero points that are left out are 0; onnxruntime's shape inference wants to see them."""
    return [np.array(0, dtype) if x is None else x for x in inputs]


@pytest.mark.parametrize("op", ["QLinearAdd", "QLinearMul"])
@pytest.mark.parametrize("dtype", BYTES)
@pytest.mark.parametrize(
    "shapes", [((2, 3, 5), (2, 3, 5)), ((2, 3, 5), (3, 1)), ((5,), ()), ((), (4,))]
)
@pytest.mark.parametrize("zeros", [False, True])
def test_two_operands(op: str, dtype: Any, shapes: Any, zeros: bool) -> None:
    inputs: list[Array | None] = []
    for i, shape in enumerate(shapes):
        point = zero(dtype, i) if zeros else None
        inputs += [integers(*shape, dtype=dtype, seed=i), step(0.02 * (i + 1)), point]
    inputs += [step(0.05), zero(dtype, 7) if zeros else None]
    check(op, inputs, 1, want=reference(op, with_zeros(inputs, dtype)))


@pytest.mark.parametrize("dtype", BYTES)
@pytest.mark.parametrize("zeros", [False, True])
def test_one_operand(dtype: Any, zeros: bool) -> None:
    x = integers(2, 3, 6, 5, dtype=dtype)
    x_zero = zero(dtype) if zeros else None
    inputs = [x, step(0.02), x_zero, step(0.015), zero(dtype, 9) if zeros else None]
    check("QLinearSigmoid", inputs, 1)
    check("QLinearLeakyRelu", inputs, 1, alpha=0.3)
    pool = {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]}
    op = "QLinearAveragePool"
    for extra in ({}, {"count_include_pad": 1}, {"ceil_mode": 1}):
        want = reference(op, with_zeros(inputs, dtype), **pool, **extra)
        check(op, inputs, 1, want=want, **pool, **extra)
    inputs[0] = np.moveaxis(x, 1, -1).copy()
    want = reference(op, with_zeros(inputs, dtype), channels_last=1, **pool)
    check(op, inputs, 1, want=want, channels_last=1, **pool)
    if zeros:
        check("QLinearGlobalAveragePool", inputs, 1, channels_last=1)
        inputs[0] = x
        check("QLinearGlobalAveragePool", inputs, 1)


@pytest.mark.parametrize("dtype", BYTES)
@pytest.mark.parametrize(("axis", "opset"), [(-1, 13), (1, 13), (1, 11), (2, 11), (0, 12)])
def test_softmax(dtype: Any, axis: int, opset: int) -> None:
    point = np.array(0 if dtype == np.uint8 else -128, dtype)
    inputs = [integers(2, 3, 4, dtype=dtype), step(0.05), zero(dtype), step(1 / 256), point]
    check("QLinearSoftmax", inputs, 1, axis=axis, opset=opset, constants={1, 2, 3, 4})


@pytest.mark.parametrize("dtype", BYTES)
def test_concat(dtype: Any) -> None:
    inputs = [step(0.03), zero(dtype, 4)]
    for i in range(3):
        inputs += [
            integers(2, i + 1, 3, dtype=dtype, seed=i),
            step(0.02 + 0.01 * i),
            zero(dtype, i),
        ]
    check("QLinearConcat", inputs, 1, axis=1, constants={0, 1, 3, 4, 6, 7, 9, 10})


@pytest.mark.parametrize("dtype", BYTES)
def test_where(dtype: Any) -> None:
    inputs = [whole(0, 2, 3, 1, dtype=bool)]
    for i in range(2):
        inputs += [integers(2, 3, 4, dtype=dtype, seed=i), step(0.02 + 0.01 * i), zero(dtype, i)]
    inputs += [step(0.025), zero(dtype, 5)]
    check("QLinearWhere", inputs, 1)


# onnxruntime has no kernel of int8 by uint8.
@pytest.mark.parametrize(
    ("a", "b"), [(np.uint8, np.uint8), (np.uint8, np.int8), (np.int8, np.int8)]
)
@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("out", [False, True])
def test_gemm(a: Any, b: Any, columns: bool, out: bool) -> None:
    n = 4
    b_scale = np.abs(random(n, seed=3)) / 50 if columns else step(0.02)
    b_zero = integers(n, dtype=b, seed=4) if columns else zero(b)
    for first, second in ((0, 0), (1, 1), (0, 1)):
        left = integers(*((7, 5) if first else (5, 7)), dtype=a)
        right = integers(*((n, 7) if second else (7, n)), dtype=b, seed=1)
        inputs: list[Array | None] = [left, step(0.01), zero(a), right, b_scale, b_zero]
        inputs += [whole(-900, 900, n, dtype=np.int32)]
        if out:
            inputs += [step(0.2), zero(a, 3)]
        check("QGemm", inputs, 2e-4, transA=first, transB=second, alpha=0.5, constants={3, 4, 5})


@pytest.mark.parametrize("a", BYTES)
@pytest.mark.parametrize("b", BYTES)
@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_products(a: Any, b: Any, columns: bool, zeros: bool, bias: bool) -> None:
    n = 4
    b_scale = np.abs(random(n, seed=3)) / 50 if columns else step(0.02)
    b_zero = (integers(n, dtype=b, seed=4) if columns else zero(b)) if zeros else None
    right, added = integers(7, n, dtype=b, seed=1), random(n) if bias else None
    if not (a == np.int8 and b == np.uint8):
        inputs = [integers(2, 5, 7, dtype=a), right, step(0.01), b_scale]
        inputs += [zero(a) if zeros else None, b_zero, added]
        check("MatMulIntegerToFloat", inputs, 1e-4, constants={1, 3})
    inputs = [random(2, 5, 7), right, b_scale, b_zero, added]
    check("DynamicQuantizeMatMul", inputs, 1e-4, constants={1, 2})


LINEAR = [np.uint8, np.int8, np.uint16, np.int16, ml_dtypes.uint4, ml_dtypes.int4]


@pytest.mark.parametrize("dtype", LINEAR)
@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_linear(dtype: Any, axis: int | None) -> None:
    x = random(3, 4) * 5
    n = () if axis is None else (x.shape[axis],)
    low = 3 if "u" in np.dtype(dtype).name else -2
    scale, point = np.full(n, 0.5, np.float32), np.full(n, low).astype(dtype)
    options = {} if axis is None else {"axis": axis}
    check("QuantizeLinear", [x, scale, point], 0, constants={2}, **options)
    quantised = reference("QuantizeLinear", [x, scale, point], constants={2}, **options)[0]
    check("DequantizeLinear", [quantised, scale, point], 0, constants={0, 2}, **options)


def test_linear_without_zero_point() -> None:
    check("QuantizeLinear", [np.abs(random(3, 4)), step(0.1)], 0)
    check("DequantizeLinear", [whole(-99, 99, 5), step(0.1)], 0)
    check("DequantizeLinear", [integers(3, 4, dtype=np.int8), step(0.1)], 0)


@pytest.mark.parametrize("dtype", BYTES)
@pytest.mark.parametrize("last", [0, 1])
@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("columns", [False, True])
def test_conv(dtype: Any, last: int, group: int, columns: bool) -> None:
    x = integers(2, 4, 7, 6, dtype=dtype)
    x = np.moveaxis(x, 1, -1).copy() if last else x
    w = integers(6, 4 // group, 3, 3, dtype=np.int8, seed=1)
    scale = np.abs(random(6)) / 50 if columns else step(0.02)
    point = np.zeros(6, np.int8) if columns else np.array(0, np.int8)
    inputs = [x, step(0.02), zero(dtype), w, scale, point, step(0.3), zero(dtype, 5)]
    inputs += [whole(-500, 500, 6)]
    options = {"channels_last": last, "group": group, "pads": [1, 1, 0, 1], "strides": [2, 1]}
    check("QLinearConv", inputs, 1, constants={1, 2, 3, 4, 5, 6, 7, 8}, **options)


def test_by_definition() -> None:
    """What onnxruntime has on other devices only."""
    x = integers(2, 3, 4, dtype=np.int8)
    real = (x.astype(np.float32) - 3) * 0.02
    mean = np.clip(np.rint(real.mean((1,), keepdims=True) / np.float32(0.01)) + 4, -128, 127)
    inputs = [x, step(0.02), np.array(3, np.int8), step(0.01), np.array(4, np.int8)]
    check("QLinearReduceMean", inputs, 1, want=[mean.astype(np.int8)], axes=[1], keepdims=1)
    y = integers(3, 1, dtype=np.int8, seed=1)
    want = [(x.astype(np.int32) - 3) * (y.astype(np.int32) - 2)]
    check("MulInteger", [x, np.array(3, np.int8), y, np.array(2, np.int8)], want=want)
    check("MulInteger", [x, None, y], want=[x.astype(np.int32) * y])
    want = [x.sum((0, 2), np.int32)]
    check("ReduceSumInteger", [x], want=want, axes=[0, 2], keepdims=0)


@pytest.mark.parametrize("dtype", BYTES)
def test_max_pool(dtype: Any) -> None:
    x = integers(2, 7, 6, 3, dtype=dtype)
    options = {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]}
    check("NhwcMaxPool", [x], 0, **options)
    check("NhwcMaxPool", [x], 0, kernel_shape=[2, 2], dilations=[2, 1], ceil_mode=1)
