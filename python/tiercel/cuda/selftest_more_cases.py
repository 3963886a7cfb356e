"""More cases of the self-test: activations, cells, quantization, sorting, scattering, images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .selftest_case import Array, Case, ints

_UNARY = (
    "Acos Acosh Asinh Atan Celu Clip Cosh IsInf IsNaN Shrink Sinh Softsign Tan ThresholdedRelu"
).split()
_HALVES = ("f32", "f16", "bf16")


def _activations() -> Iterator[Case]:
    for op in _UNARY:
        if op != "Acosh":  # has no value between 0 and 1
            yield Case("pointwise", op, "f32", ((3, 5, 1031),))
    for dtype in ("f32", "f16"):
        yield Case("pointwise", "PRelu", dtype, ((3, 5, 37), (5, 1)))
        for op in ("Less", "LessOrEqual", "GreaterOrEqual"):
            yield Case("pointwise", op, dtype, ((7, 129), (129,)))
        for op in ("Mean", "Sum"):
            yield Case("pointwise", op, dtype, ((7, 129), (129,), (7, 1)))
    yield Case("pointwise", "Mod", "f32", ((7, 129), (129,)), {"fmod": 1})
    for dtype in ("i8", "i32", "i64"):
        for op in ("Mod", "BitwiseAnd", "BitwiseOr", "BitwiseXor"):
            yield Case("pointwise", op, dtype, ((7, 129), (129,)))
        yield Case("pointwise", "BitwiseNot", dtype, ((7, 129),))
    places = (np.array([3], np.uint8),)
    yield Case("pointwise", "BitShift", "u8", ((7, 129),), {"direction": "LEFT"}, places)
    yield Case("pointwise", "Not", "bool", ((7, 129),))
    yield Case("pointwise", "CastLike", "f32", ((7, 129),), constants=(np.zeros(1, np.float16),))
    yield Case("pointwise", "Where", "bool", ((7, 129),), constants=(_numbers(129), _numbers(7, 1)))


def _numbers(*shape: int) -> Array:
    return np.random.default_rng(1).uniform(0.1, 0.9, shape).astype(np.float32)


def _cells() -> Iterator[Case]:
    steps, batch, size, hidden = 5, 3, 20, 32
    for op, gates in (("RNN", 1), ("GRU", 3), ("LSTM", 4)):
        outputs = 3 if op == "LSTM" else 2
        for directions, name in ((1, "forward"), (1, "reverse"), (2, "bidirectional")):
            rows = gates * hidden
            weights = (directions, rows, size), (directions, rows, hidden), (directions, 2 * rows)
            shapes = ((steps, batch, size), *weights)
            attributes = {"hidden_size": hidden, "direction": name}
            yield Case("recurrent", op, "f32", shapes, attributes, outputs=outputs)
    for reset in (0, 1):
        rows = 3 * hidden
        shapes = ((steps, batch, size), (1, rows, size), (1, rows, hidden), (1, 2 * rows))
        attributes = {"hidden_size": hidden, "linear_before_reset": reset}
        yield Case("recurrent", "GRU", "f16", shapes, attributes, outputs=2)


def _quantization() -> Iterator[Case]:
    scales, zeros = _numbers(12) / 50, np.arange(-6, 6).astype(np.int8)
    for given in ((np.array(0.02, np.float32), np.array(3, np.int8)), (scales, zeros)):
        yield Case("quantization", "QuantizeLinear", "f32", ((7, 12, 40),), constants=given)
        yield Case("quantization", "DequantizeLinear", "i8", ((7, 12, 40),), constants=given)
    one, three = np.array(0.02, np.float32), np.array(3, np.uint8)
    weights = np.random.default_rng(4).integers(0, 256, (40, 33)).astype(np.uint8)
    operands = (one, three, weights, one, three, one, three)
    yield Case("quantization", "QLinearMatMul", "u8", ((7, 40),), constants=operands)


def _sorting() -> Iterator[Case]:
    for dtype in (*_HALVES, "i64"):
        for axis, largest in ((1, 1), (1, 0), (0, 1)):
            attributes = {"axis": axis, "largest": largest}
            shapes = ((40, 300),)
            yield Case("sorting", "TopK", dtype, shapes, attributes, (ints(7),), outputs=2)
    for dtype in ("f32", "f16", "f64", "i64"):
        for axis in (0, 1):
            attributes = {"exclusive": axis, "reverse": 1 - axis}
            axes = (np.array(axis),)
            yield Case("sorting", "CumSum", dtype, ((33, 700),), attributes, axes)


def _scattering() -> Iterator[Case]:
    updates = _numbers(5, 40)
    rows = np.random.default_rng(2).permutation(40)[:5].reshape(5, 1) * np.ones((1, 40), np.int64)
    places = np.random.default_rng(3).permutation(40)[:5].reshape(5, 1).astype(np.int64)
    yield Case("scattering", "ScatterElements", "f32", ((40, 40),), constants=(rows, updates))
    yield Case("scattering", "ScatterND", "f32", ((40, 40),), constants=(places, updates))
    equal = (np.zeros((5, 40), np.int64), updates), (np.zeros((5, 1), np.int64), updates)
    for how in ("add", "mul", "max", "min"):
        for op, constants in zip(("ScatterElements", "ScatterND"), equal, strict=True):
            attributes = {"reduction": how}
            yield Case("scattering", op, "f32", ((40, 40),), attributes, constants)
    for dtype in ("f32", "f16", "i64"):
        shapes = ((60, 64), (3, 50))
        yield Case("scattering", "GatherElements", dtype, shapes, integers=1, limit=3)
    hot = (np.array(9), np.array([0.5, 2.0], np.float32))
    yield Case("scattering", "OneHot", "i64", ((7, 13),), {"axis": 1}, hot)
    yield Case("scattering", "Trilu", "f32", ((3, 33, 40),), {"upper": 0}, (np.array(2),))
    lengths = (ints(5, 1, 3, 7),)
    reverse = {"time_axis": 0, "batch_axis": 1}
    yield Case("scattering", "ReverseSequence", "f32", ((7, 4, 9),), reverse, lengths)


def _images() -> Iterator[Case]:
    none = np.zeros(0, np.float32)
    for dtype in _HALVES:
        for mode in ("nearest", "linear", "cubic"):
            scales = np.array([1, 1, 1.7, 0.6], np.float32)
            constants = (none, scales)
            yield Case("images", "Resize", dtype, ((1, 3, 20, 30),), {"mode": mode}, constants)
        window = {"kernel_shape": [3, 3], "strides": [2, 1], "p": 2}
        yield Case("images", "LpPool", dtype, ((2, 4, 17, 19),), window)
        yield Case("images", "GlobalMaxPool", dtype, ((2, 4, 17, 19),))
        channels = ((8,),) * 4
        yield Case("images", "BatchNormalization", dtype, ((2, 8, 9, 12), *channels))
        yield Case("images", "BatchNormalization", dtype, ((2, 8, 7, 7), *channels))
    yield Case("images", "GridSample", "f32", ((2, 3, 9, 11), (2, 5, 6, 2)))
    yield Case("images", "AffineGrid", "f32", ((2, 2, 3),), constants=(ints(2, 3, 8, 9),))
    yield Case("images", "LRN", "f32", ((2, 9, 7, 8),), {"size": 5})
    offsets = ((1, 4, 6, 7), (8, 4, 3, 3), (1, 18, 4, 5))
    yield Case("images", "DeformConv", "f32", offsets, {"kernel_shape": [3, 3]})
    yield Case("images", "SpaceToDepth", "f32", ((2, 4, 8, 6),), {"blocksize": 2})
    blocks = (ints(8, 9), ints(2, 3))
    yield Case("images", "Col2Im", "f32", ((2, 18, 49),), {}, blocks)
    yield Case("images", "CenterCropPad", "f32", ((20, 10),), constants=(ints(10, 12),))


def _others() -> Iterator[Case]:
    for dtype in ("f32", "f16"):
        for interleaved in (0, 1):
            shapes = ((2, 4, 9, 32), (2, 9, 16), (2, 9, 16))
            attributes = {"interleaved": interleaved}
            yield Case("attention", "RotaryEmbedding", dtype, shapes, attributes)
        equation = {"equation": "bij,bjk->bik"}
        yield Case("products", "Einsum", dtype, ((2, 9, 33), (2, 33, 17)), equation)
        yield Case("rows", "LpNormalization", dtype, ((7, 100),), {"axis": 1, "p": 2})
        yield Case("rows", "Hardmax", dtype, ((7, 100),), {"axis": 1})
        yield Case("rows", "MeanVarianceNormalization", dtype, ((2, 3, 9, 8),))
    yield Case("signals", "DFT", "f32", ((2, 32, 1),), constants=(np.array(32), np.array(1)))
    yield Case("signals", "STFT", "f32", ((1, 128, 1),), constants=(np.array(8), _numbers(16)))
    yield Case("signals", "Det", "f32", ((5, 4, 4),))


def more_cases() -> list[Case]:
    """All of them, family by family."""
    families = (_activations, _cells, _quantization, _sorting, _scattering, _images, _others)
    return [case for family in families for case in family()]
