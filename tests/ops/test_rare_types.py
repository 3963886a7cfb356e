"""Element types that no kernel holds: complex numbers, strings, and mixtures of floats."""

import ml_dtypes
import numpy as np
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

import tiercel

RNG = np.random.default_rng(7)
F = np.float32


def model_of(op, inputs, outputs, opset, attributes):
    names = ["" if x is None else f"x{i}" for i, x in enumerate(inputs)]
    node = helper.make_node(op, names, [f"y{i}" for i in range(outputs)], name="it", **attributes)
    infos = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
        for n, x in zip(names, inputs, strict=True)
        if n
    ]
    empty = [helper.make_empty_tensor_value_info(f"y{i}") for i in range(outputs)]
    graph = helper.make_graph([node], "g", infos, empty)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def run(op, *inputs, outputs=1, opset=23, **attributes):
    model = model_of(op, inputs, outputs, opset, attributes)
    feeds = {f"x{i}": x for i, x in enumerate(inputs) if x is not None}
    return tiercel.InferenceSession(model.SerializeToString()).run(None, feeds)


def expected(op, *inputs, outputs=1, opset=23, **attributes):
    model = model_of(op, inputs, outputs, opset, attributes)
    feeds = {f"x{i}": x for i, x in enumerate(inputs) if x is not None}
    return ReferenceEvaluator(model).run(None, feeds)


def numbers(dtype, *shape):
    x = RNG.integers(-2, 3, shape) + 1j * RNG.integers(-1, 2, shape)
    return x.astype(dtype)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_complex_numbers_are_chosen_and_compared(dtype):
    x, y = numbers(dtype, 3, 4), numbers(dtype, 4)
    x[0, 0] = complex(-0.0, 0.0)
    choice = RNG.random((3, 1)) > 0.5
    np.testing.assert_array_equal(run("Where", choice, x, y)[0], np.where(choice, x, y))
    np.testing.assert_array_equal(run("NonZero", x)[0], np.array(np.nonzero(x)))
    hot = run("OneHot", np.array([1, -1, 7]), np.array(4), np.array([2j, 3], dtype))[0]
    np.testing.assert_array_equal(hot[:, :], [[2j, 3, 2j, 2j], [2j, 2j, 2j, 3], [2j] * 4])


@pytest.mark.parametrize("kind", [np.complex64, np.complex128, object])
@pytest.mark.parametrize("axis", [None, 0, -1])
@pytest.mark.parametrize("is_sorted", [0, 1])
def test_unique(kind, axis, is_sorted):
    x = numbers(kind, 4, 5) if kind is not object else RNG.choice(["a", "", "bc", "é"], (4, 2))
    x = x.astype(kind)
    attributes = {"sorted": is_sorted} | ({} if axis is None else {"axis": axis})
    got = run("Unique", x, outputs=4, **attributes)
    plain = x if kind is not object else x.astype(str)
    y, first, inverse, counts = np.unique(plain, True, True, True, axis=axis)
    if not is_sorted:
        order = np.argsort(first)
        y, first, counts = np.take(y, order, axis or 0), first[order], counts[order]
        inverse = np.argsort(order)[inverse.ravel()]
    for mine, want in zip(got, [y, first, inverse.ravel(), counts], strict=True):
        np.testing.assert_array_equal(mine, want)


def test_strings():
    x = np.array([["a", "", "b"], ["", "", "c"]], object)
    np.testing.assert_array_equal(run("NonZero", x)[0], [[0, 0, 1], [0, 2, 2]])
    scales = np.array([2, 1.5], F)
    y = run("Resize", x, None, scales, mode="nearest")[0]
    numbered = run("Resize", np.arange(6, dtype=F).reshape(2, 3), None, scales, mode="nearest")[0]
    np.testing.assert_array_equal(y, x.ravel()[numbered.astype(int)])
    with pytest.raises(tiercel.InvalidGraph, match='mode is "linear"'):
        run("Resize", x, None, scales, mode="linear")
    images, grid = x.reshape(1, 1, 2, 3), (RNG.random((1, 4, 4, 2)) * 2.4 - 1.2).astype(F)
    at = run("GridSample", np.arange(1.0, 7, dtype=F).reshape(1, 1, 2, 3), grid, mode="nearest")[0]
    y = run("GridSample", images, grid, mode="nearest")[0]
    np.testing.assert_array_equal(y, np.array(["", *x.ravel()], object)[at.astype(int)])


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_linear_operators_on_complex_numbers(dtype):
    part = np.zeros(0, dtype).real.dtype
    x, grid = numbers(dtype, 1, 2, 4, 5), (RNG.random((1, 3, 3, 2)) * 2 - 1).astype(part)
    y = run("GridSample", x, grid)[0]
    real, imaginary = (run("GridSample", p, grid)[0] for p in (x.real.copy(), x.imag.copy()))
    np.testing.assert_array_equal(y, real + 1j * imaginary)
    x = numbers(dtype, 1, 4, 4)
    shape, block = np.array([3, 3]), np.array([2, 2])
    y = run("Col2Im", x, shape, block)[0]
    real, imaginary = (run("Col2Im", p, shape, block)[0] for p in (x.real.copy(), x.imag.copy()))
    np.testing.assert_array_equal(y, real + 1j * imaginary)


def test_col2im_of_bool_is_or():
    x = RNG.random((1, 4, 4)) > 0.6
    y = run("Col2Im", x, np.array([3, 3]), np.array([2, 2]))[0]
    counts = run("Col2Im", x.astype(np.int64), np.array([3, 3]), np.array([2, 2]))[0]
    np.testing.assert_array_equal(y, counts > 0)


FLOATS = [F, np.float16, ml_dtypes.bfloat16, np.float64]
MIXED = [(a, b) for a in FLOATS for b in FLOATS if a != b]


@pytest.mark.parametrize("one, other", MIXED)
def test_mixtures_of_floats(one, other):
    x, scale = RNG.standard_normal((2, 6)), RNG.standard_normal(6)
    [y] = run("RMSNormalization", x.astype(one), scale.astype(other))
    wide = x.astype(one).astype(np.float64)
    want = wide / np.sqrt((wide**2).mean(-1, keepdims=True) + 1e-5)
    want = want * scale.astype(other).astype(np.float64)
    assert y.dtype == other
    tolerance = 2.0**-7 if 2 in (np.dtype(one).itemsize, np.dtype(other).itemsize) else 1e-5
    np.testing.assert_allclose(y.astype(np.float64), want, rtol=tolerance, atol=tolerance)

    q, k, v = (RNG.standard_normal((1, 2, 3, 4)) for _ in range(3))
    [y] = run("Attention", q.astype(one), k.astype(one), v.astype(other))
    [want] = run("Attention", *(a.astype(np.float64) for a in (q, k, v)))
    assert y.dtype == one
    np.testing.assert_allclose(y.astype(np.float64), want, atol=0.05)

    image, grid = RNG.standard_normal((1, 1, 4, 4)), RNG.random((1, 3, 3, 2)) - 0.5
    [y] = run("GridSample", image.astype(one), grid.astype(other))
    [want] = run("GridSample", image, grid)
    assert y.dtype == one
    np.testing.assert_allclose(y.astype(np.float64), want, atol=0.1)


@pytest.mark.parametrize("x", [np.uint8, np.int8])
@pytest.mark.parametrize("w", [np.uint8, np.int8])
@pytest.mark.parametrize("y", [np.uint8, np.int8])
def test_qlinear_conv_of_mixed_signedness(x, w, y):
    def quantized(dtype, *shape):
        low = -100 if dtype is np.int8 else 0
        return RNG.integers(low, low + 200, shape).astype(dtype)

    inputs = [quantized(x, 1, 2, 5, 5), np.array(0.02, F), quantized(x)[()].reshape(())]
    inputs += [quantized(w, 3, 2, 3, 3), np.array(0.03, F), np.array(0, w)]
    inputs += [np.array(0.2, F), quantized(y)[()].reshape(())]
    got = run("QLinearConv", *inputs, opset=21)[0]
    want = expected("QLinearConv", *inputs, opset=21)[0]
    assert got.dtype == y
    assert np.abs(got.astype(int) - want.astype(int)).max() <= 1


@pytest.mark.parametrize("dtype", [ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2])
def test_dropout_of_8_bit_floats(dtype):
    x = RNG.standard_normal((40, 50)).astype(dtype)
    y, mask = run("Dropout", x, np.array(0.5, F), np.array(True), outputs=2, opset=22, seed=3)
    assert 0.4 < mask.mean() < 0.6
    twice = (x.astype(F) * 2).astype(dtype).astype(F)
    np.testing.assert_array_equal(y.astype(F), np.where(mask, twice, 0))
