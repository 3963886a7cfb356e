"""Element types that no kernel has as they are: mixtures, texts, complex numbers, whole numbers."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from single_node import agree, check, run

RNG = np.random.default_rng(4)


def real(*shape: int, dtype: str = "float32") -> np.ndarray:
    return RNG.standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint32", "uint64"])
def test_shrink_of_numbers_without_sign(dtype):
    check("Shrink", [np.array([0, 2, 3, 4, 90], dtype)], bias=2.0, lambd=3.0)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_means_of_whole_numbers_are_cut_off(dtype):
    x = np.array([[-3, -4], [-1, 0], [3, 4]], dtype)
    agree(run("ReduceMean", [x, np.array([1])], keepdims=0), [np.array([-3, 0, 3], dtype)])


def test_sums_of_products_beyond_64_bits_wrap():
    x, y = np.array(2**63 - 1), np.array(25)
    agree(run("Mul", [x, y]), [x * y])


def test_attention_of_mixed_floats_and_masks_of_numbers():
    q, k, v = (real(1, 2, 3, 4) for _ in "qkv")
    want = run("Attention", [q, k, v], opset=24)
    got = run("Attention", [q, k, v.astype(np.float16)], opset=24)
    assert got[0].dtype == np.float32
    np.testing.assert_allclose(got[0], want[0], atol=2e-3)
    mask = np.array([[0, 1, 2]] * 3)
    want = run("Attention", [q, k, v, mask.astype(np.float32)], opset=24)
    agree(run("Attention", [q, k, v, mask], opset=24), want, 1e-6)


def test_normalisation_and_sampling_of_mixed_floats():
    x, scale = real(2, 5), real(5, dtype="float64")
    got = run("RMSNormalization", [x, scale], opset=23)[0]
    assert got.dtype == np.float64
    want = run("RMSNormalization", [x, scale.astype(np.float32)], opset=23)[0]
    np.testing.assert_allclose(got, want, rtol=1e-5)
    grid = RNG.uniform(-1, 1, (1, 2, 2, 2))
    image = real(1, 1, 4, 4)
    want = run("GridSample", [image, grid.astype(np.float32)], opset=22)[0]
    np.testing.assert_allclose(run("GridSample", [image, grid], opset=22)[0], want, atol=1e-5)


@pytest.mark.parametrize("types", [("uint8", "int8"), ("int8", "uint8")])
def test_quantized_convolutions_of_either_sign(types):
    x = RNG.integers(0, 100, (1, 2, 4, 4)).astype(types[0])
    w = RNG.integers(-9, 9, (3, 2, 3, 3)).astype(np.int8)
    one, zero = np.float32(0.25), np.array(4, types[0])
    inputs = [x, one, zero, w, one, np.int8(0), np.float32(1), np.array(6, types[1])]
    check("QLinearConv", [np.asarray(i) for i in inputs])


@pytest.mark.parametrize("dtype", ["int16", "uint16", "int64"])
def test_whole_numbers_are_interpolated_and_rounded(dtype):
    x = np.array([[[[0, 10], [20, 31]]]], dtype)
    scales = np.array([1, 1, 2, 2], np.float32)
    check("Resize", [x, None, scales], mode="linear")


def test_texts_that_are_moved_or_chosen():
    x = np.array([["b", ""], ["a", "b"]], object)
    agree(run("NonZero", [x]), [np.array([[0, 1, 1], [0, 0, 1]])])
    want = [np.array(v, dtype=object) for v in (["", "a", "b"],)]
    agree(run("Unique", [x]), want)
    outputs = run("Unique", [x], outputs=4, sorted=0)
    assert [o.tolist() for o in outputs] == [["b", "", "a"], [0, 1, 2], [0, 1, 2, 0], [2, 1, 1]]
    scales = np.array([1, 2], np.float32)
    agree(run("Resize", [x, None, scales], mode="nearest"), [np.repeat(x, 2, 1)])
    empty = np.zeros((2, 0), object)
    assert run("Pad", [empty, np.array([0, 1, 0, 0])])[0].tolist() == [[""], [""]]


def test_complex_numbers_are_chosen():
    x = np.array([[1j, 0], [2, 1j]], np.complex128)
    check("NonZero", [x])
    for dtype in (np.complex64, np.complex128):
        agree(run("Unique", [x.astype(dtype)]), [np.array([0, 1j, 2], dtype)])
    values = np.array([1j, 2], np.complex128)
    agree(run("OneHot", [np.array([1]), np.array(2), values]), [values[None, :]])
    choice = np.zeros((0, 1), bool)
    assert run("Where", [choice, x[:1, :1], x[:1, :1]])[0].shape == (0, 1)


def test_small_floats_in_dropout_and_cast():
    x = np.array([1, 2, 0.5], ml_dtypes.float8_e4m3fn)
    inputs = [x, np.array(0, np.float32), np.array(True)]
    agree(run("Dropout", inputs, opset=22), [x])
    six = np.array([1, 2, 0.5], ml_dtypes.float6_e3m2fn)
    number = 28  # TensorProto.FLOAT6E3M2
    agree(run("Cast", [six], opset=28, to=number), [six])


def test_erf_stays_within_one():
    x = np.linspace(-8, 8, 200001, dtype=np.float32)
    assert np.abs(run("Erf", [x])[0]).max() == 1
    assert run("Gelu", [x[x < 0]], opset=20)[0].max() <= 0


def test_scales_that_are_powers_of_two():
    scale = np.array([4], ml_dtypes.float8_e8m0fnu)
    got = run("DequantizeLinear", [np.array([7], np.uint8), scale], opset=25, output_dtype=1)
    agree(got, [np.array([28], np.float32)])
