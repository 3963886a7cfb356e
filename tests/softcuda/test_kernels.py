"""Real kernels on the software device: right results under every schedule, no false alarm."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from softcuda import Device, Module

Floats = npt.NDArray[Any]
Load = Callable[..., Module]
SCHEDULES = [(seed, checked) for checked in (True, False) for seed in (0, 1, 2)]


def normal(shape: tuple[int, ...], scale: float = 1.0) -> Floats:
    """Random values, always the same."""
    values = np.random.default_rng(0).standard_normal(shape) * scale
    return values.astype(np.float32)


@pytest.mark.parametrize("seed,checked", SCHEDULES)
@pytest.mark.parametrize(
    "name,m,n,k,grid,block",
    [
        ("sgemm_tile16", 35, 45, 33, (3, 3), (16, 16)),
        ("sgemm_64x64", 128, 128, 128, (2, 2), (256,)),
    ],
)
def test_products(
    device: Device,
    kernels: Load,
    name: str,
    m: int,
    n: int,
    k: int,
    grid: tuple[int, ...],
    block: tuple[int, ...],
    seed: int,
    checked: bool,
) -> None:
    device.set("seed", seed)
    a, b = normal((m, k)), normal((k, n))
    c = device.empty((m, n))
    module = kernels("products.cu", checked)
    module.launch(name, grid, block, [device.upload(a), device.upload(b), c, m, n, k])
    np.testing.assert_allclose(c.numpy(), a @ b, atol=1e-3)


def convolution(x: Floats, weight: Floats, bias: Floats, window: int, pad: int) -> Floats:
    """A convolution and ReLU over [N, H, W, C] with stride 1."""
    n, h, w, _ = x.shape
    padded = np.pad(x.astype(np.float32), ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    taps = [padded[:, r : r + h, s : s + w] for r in range(window) for s in range(window)]
    columns = np.stack(taps, 3).reshape(n * h * w, -1)
    return np.maximum(columns @ weight.astype(np.float32) + bias, 0)


@pytest.mark.parametrize("seed,checked", SCHEDULES)
def test_convolution_by_wmma_and_cp_async(
    device: Device, kernels: Load, seed: int, checked: bool
) -> None:
    device.set("seed", seed)
    n, h, w, c, channels, window, pad = 1, 9, 7, 32, 64, 3, 1
    x = normal((n, h, w, c)).astype(np.float16)
    weight = normal((window * window * c, channels), 0.05).astype(np.float16)
    bias = normal((channels,))
    y = device.empty((n, h, w, channels), np.float16)
    arrays = [device.upload(x), device.upload(weight), device.upload(bias), y]
    numbers = [n, h, w, c, channels, window, window, pad, 1, h, w, 1]
    shared = max((2 * 64 * 40 + 2 * 32 * 72) * 2, 64 * 68 * 4)
    grid = ((n * h * w + 63) // 64, 1)
    kernels("convolution.cu", checked).launch(
        "conv_wmma_f16", grid, (128,), [*arrays, *numbers], shared=shared
    )
    expected = convolution(x, weight, bias, window, pad)
    np.testing.assert_allclose(y.numpy().reshape(-1, channels), expected, atol=2e-2)


@pytest.mark.parametrize("seed,checked", SCHEDULES)
def test_product_by_mma_and_ldmatrix(
    device: Device, kernels: Load, seed: int, checked: bool
) -> None:
    device.set("seed", seed)
    a, b = normal((64, 64)).astype(np.float16), normal((64, 64)).astype(np.float16)
    c = device.empty((64, 64))
    arguments = [device.upload(a), device.upload(b), c, 64, 64, 64]
    kernels("tensor_product.cu", checked).launch("hgemm_mma", (1, 1), (128,), arguments)
    np.testing.assert_allclose(c.numpy(), a.astype(np.float32) @ b.astype(np.float32), atol=1e-2)


@pytest.mark.parametrize("seed,checked", SCHEDULES)
def test_rows(device: Device, kernels: Load, seed: int, checked: bool) -> None:
    device.set("seed", seed)
    module = kernels("rows.cu", checked)
    x = normal((3, 300), 4)
    y = device.empty(x.shape)
    module.launch("softmax_rows", (3,), (256,), [device.upload(x), y, 300])
    e = np.exp(x - x.max(1, keepdims=True))
    np.testing.assert_allclose(y.numpy(), e / e.sum(1, keepdims=True), atol=1e-6)

    h = normal((6, 96)).astype(np.float16)
    gain, shift = normal((96,)).astype(np.float16), normal((96,), 2).astype(np.float16)
    z = device.empty(h.shape, np.float16)
    arrays = [device.upload(h), device.upload(gain), device.upload(shift), z]
    module.launch("layernorm_h", (2,), (128,), [*arrays, 6, 96, 1e-5])
    wide = h.astype(np.float32)
    centred = wide - wide.mean(1, keepdims=True)
    unit = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(z.numpy(), unit * gain + shift, atol=1e-2)

    bytes_ = np.random.default_rng(1).integers(0, 256, 1 << 12).astype(np.uint8)
    counts = device.upload(np.zeros(256, np.uint32))
    module.launch("histogram256", (4,), (256,), [device.upload(bytes_), counts, bytes_.size])
    np.testing.assert_array_equal(counts.numpy(), np.bincount(bytes_, minlength=256))


erf = np.vectorize(math.erf)
FUNCTIONS: dict[str, Callable[[Floats], Floats]] = {
    "exp": np.exp,
    "log": np.log,
    "tanh": np.tanh,
    "erf": erf,
    "sqrt": np.sqrt,
    "sin": np.sin,
    "cos": np.cos,
    "pow": lambda v: v**1.7,
    "round": np.rint,
    "floor": np.floor,
    "ceil": np.ceil,
    "sigmoid": lambda v: 1 / (1 + np.exp(-v)),
    "gelu": lambda v: 0.5 * v * (1 + erf(v * 0.70710678)),
    "log1p": np.log1p,
    "fmod": lambda v: np.fmod(v, np.float64(np.float32(0.7))),
    "atan": np.arctan,
    "rsqrt": lambda v: 1 / np.sqrt(v),
    "fastexp": np.exp,
    "cast_i8": lambda v: v.astype(np.int32).astype(np.int8),
    "isnan": np.isnan,
    "sinh": np.sinh,
    "softplus": lambda v: np.log1p(np.exp(v)),
}
POSITIVE = {"log", "sqrt", "pow", "log1p", "rsqrt"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_one_element(device: Device, kernels: Load, name: str) -> None:
    x = normal((3000,), 5)
    if name in POSITIVE:
        x = np.abs(x) + np.float32(1e-3)
    if name in ("sin", "cos"):
        x[:50] *= 1e6  # the slow path, with its table and local memory
    y = device.empty(x.shape)
    kernels("pointwise.cu").launch("u_" + name, (7,), (128,), [device.upload(x), y, x.size])
    expected = FUNCTIONS[name](x.astype(np.float64)).astype(np.float64)
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-6, atol=1e-6)


def test_half_precision_is_exact(device: Device, kernels: Load) -> None:
    module = kernels("pointwise.cu")
    n = 1000
    a, b = normal((n, 2)).astype(np.float16), normal((n, 2), 3).astype(np.float16)
    y = device.empty((n, 2), np.float16)
    module.launch("h2ops", (8,), (128,), [device.upload(a), device.upload(b), y, n])
    total = a + b
    product = a * total
    expected = (a.astype(np.float64) * b + product).astype(np.float16)
    np.testing.assert_array_equal(y.numpy(), expected)


class Shape(ctypes.Structure):
    """What ``transpose_nd`` takes by value."""

    _fields_ = [("d", ctypes.c_int * 6), ("s", ctypes.c_int * 6), ("rank", ctypes.c_int)]


def test_operators(device: Device, kernels: Load) -> None:
    module = kernels("pointwise.cu")
    x, index = normal((10, 7)), np.array([3, -1, 0, 9, -10], np.int64)
    y = device.empty((5, 7))
    arrays = [device.upload(x), device.upload(index), y]
    module.launch("gather_i64", (1,), (64,), [*arrays, 10, 7, 5])
    np.testing.assert_array_equal(y.numpy(), x[index])

    x = normal((1000,), 3)
    q = device.empty(1000, np.uint8)
    module.launch("quant_u8", (8,), (128,), [device.upload(x), q, 0.02, 128, 1000])
    steps = np.rint(x / np.float32(0.02)).astype(np.int32) + 128
    np.testing.assert_array_equal(q.numpy(), np.clip(steps, 0, 255))

    rng = np.random.default_rng(2)
    a, b = (rng.integers(-128, 128, (r, 32)).astype(np.int8) for r in (5, 6))
    c = device.empty((5, 6), np.int32)
    module.launch("igemm_dp4a", (1, 5), (32,), [device.upload(a), device.upload(b), c, 5, 6, 8])
    np.testing.assert_array_equal(c.numpy(), a.astype(int) @ b.astype(int).T)

    x = normal((9, 77))
    best = device.empty(9, np.int32)
    module.launch("argmax_row", (9,), (32,), [device.upload(x), best, 77])
    np.testing.assert_array_equal(best.numpy(), x.argmax(1))

    x = normal((3, 4, 5))
    turned = np.ascontiguousarray(x.transpose(2, 0, 1))
    shape = Shape((ctypes.c_int * 6)(*turned.shape), (ctypes.c_int * 6)(1, 20, 5), 3)
    z = device.empty(turned.shape)
    module.launch("transpose_nd", (1,), (64,), [device.upload(x), z, shape, 60])
    np.testing.assert_array_equal(z.numpy(), turned)


def test_atomics(device: Device, kernels: Load) -> None:
    module = kernels("pointwise.cu")
    flags = (np.random.default_rng(3).random(1000) > 0.6).astype(np.float32)
    count = device.upload(np.zeros(1, np.int32))
    module.launch("nonzero_count", (8,), (128,), [device.upload(flags), count, 1000])
    assert count.numpy()[0] == int(flags.sum())
    x = normal((1000,))
    both = device.upload(np.zeros(2, np.uint32))
    module.launch("atomic_max_f", (8,), (128,), [device.upload(x), both, 1000])
    largest, total = both.numpy().view(np.float32)
    assert largest == (x * x).max()
    assert abs(total - x.sum()) < 1e-2
