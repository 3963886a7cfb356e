"""The cases of the self-test: models of one node over the operators that GPUs run."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .selftest_case import TYPES, Case, ints
from .selftest_more_cases import more_cases

_FLOATS = ("f32", "f16", "bf16", "f64")
_UNARY = (
    "Abs Neg Relu Sqrt Reciprocal Floor Ceil Round Sign Exp Log Sigmoid Tanh Erf Gelu Softplus "
    "HardSwish HardSigmoid Elu LeakyRelu Selu Mish Sin Cos Asin Atanh"
).split()
_BINARY = "Add Sub Mul Div Max Min Pow Greater Equal".split()


def _pointwise() -> Iterator[Case]:
    for dtype in _FLOATS:
        for op in _UNARY:
            yield Case("pointwise", op, dtype, ((3, 5, 1031),))
        for op in _BINARY:
            yield Case("pointwise", op, dtype, ((3, 5, 1031), (3, 5, 1031)))
    for dtype in ("f32", "f16", "i8", "i32", "i64"):
        for shape in ((1,), (1031,), (3, 5, 1), (5, 1), (3, 1, 1031)):
            yield Case("pointwise", "Add", dtype, ((3, 5, 1031), shape))
    for op in ("And", "Or", "Xor"):
        yield Case("pointwise", op, "bool", ((7, 129), (129,)))
    for source in _FLOATS:
        for target in TYPES:
            yield Case("pointwise", "Cast", source, ((5, 77),), {"to": TYPES[target]})


def _products() -> Iterator[Case]:
    for dtype in (*_FLOATS, "i32"):
        for m, k, n in ((1, 300, 200), (5, 70, 33), (64, 64, 64), (130, 257, 190), (256, 512, 384)):
            yield Case("products", "MatMul", dtype, ((m, k), (k, n)))
        yield Case("products", "MatMul", dtype, ((2, 3, 40, 50), (3, 50, 60)))
    for dtype in ("f32", "f16"):
        for a, b in ((0, 0), (0, 1), (1, 0), (1, 1)):
            shapes = ((70, 40) if a else (40, 70), (50, 70) if b else (70, 50), (50,))
            attributes = {"transA": a, "transB": b, "alpha": 0.5, "beta": 2.0}
            yield Case("products", "Gemm", dtype, shapes, attributes)


def _reductions() -> Iterator[Case]:
    ops = "Sum Mean Max Min Prod L1 L2 LogSum LogSumExp SumSquare".split()
    for dtype in _FLOATS:
        for op in ops:
            for axes in (ints(0), ints(2), ints(0, 1, 2)):
                yield Case("reductions", f"Reduce{op}", dtype, ((5, 6, 130),), constants=(axes,))
    for op in ("ArgMax", "ArgMin"):
        for axis in (0, 1):
            yield Case("reductions", op, "f32", ((33, 70),), {"axis": axis})
    yield Case("reductions", "CumSum", "f32", ((33, 70),), constants=(np.array(1),))


def _moves() -> Iterator[Case]:
    for dtype in ("f32", "f16", "i8", "i64", "f64"):
        for perm in ((1, 0, 2), (2, 1, 0), (0, 2, 1)):
            yield Case("moves", "Transpose", dtype, ((30, 40, 50),), {"perm": perm})
        yield Case("moves", "Concat", dtype, ((3, 40), (5, 40)), {"axis": 0})
        yield Case("moves", "Concat", dtype, ((9, 4), (9, 70)), {"axis": 1})
        ends = (ints(1, 2), ints(30, 70), ints(0, 1), ints(2, 3))
        yield Case("moves", "Slice", dtype, ((33, 80),), constants=ends)
        yield Case("moves", "Expand", dtype, ((33, 1),), constants=(ints(4, 33, 70),))
        yield Case("moves", "Tile", dtype, ((33, 7),), constants=(ints(2, 3),))
        yield Case("moves", "Pad", dtype, ((33, 7),), constants=(ints(1, 2, 3, 4),))
        for axis in (0, 1):
            shapes = ((60, 64), (3, 50))
            yield Case("moves", "Gather", dtype, shapes, {"axis": axis}, integers=1, limit=60)
        yield Case("moves", "GatherND", dtype, ((20, 30), (50, 2)), integers=1, limit=20)
    yield Case("moves", "Split", "f32", ((9, 70),), {"axis": 1, "num_outputs": 2}, outputs=2)
    yield Case("moves", "DepthToSpace", "f32", ((2, 16, 9, 7),), {"blocksize": 2})


def _rows() -> Iterator[Case]:
    for dtype in ("f32", "f16", "bf16"):
        for rows, length in ((7, 1), (300, 33), (40, 768), (5, 5000)):
            for op in ("Softmax", "LogSoftmax"):
                yield Case("rows", op, dtype, ((rows, length),), {"axis": -1})
            scale = ((rows, length), (length,), (length,))
            yield Case("rows", "LayerNormalization", dtype, scale, {"axis": -1})
            yield Case("rows", "RMSNormalization", dtype, scale[:2], {"axis": -1})
        yield Case("rows", "Softmax", dtype, ((6, 40, 50),), {"axis": 1})
    yield Case("rows", "InstanceNormalization", "f32", ((2, 6, 31, 17), (6,), (6,)))
    groups = {"num_groups": 3}
    yield Case("rows", "GroupNormalization", "f32", ((2, 6, 31, 17), (6,), (6,)), groups)


def _convolutions() -> Iterator[Case]:
    for dtype in ("f32", "f16", "bf16"):
        for x, w, attributes in (
            ((2, 32, 28, 28), (64, 32, 3, 3), {"pads": [1, 1, 1, 1]}),
            ((1, 3, 64, 64), (32, 3, 7, 7), {"strides": [2, 2], "pads": [3, 3, 3, 3]}),
            ((2, 64, 14, 14), (96, 64, 1, 1), {}),
            ((1, 32, 30, 30), (32, 1, 3, 3), {"group": 32}),
            ((1, 32, 30, 30), (48, 8, 3, 3), {"group": 4, "dilations": [2, 2]}),
            ((2, 8, 100), (16, 8, 5), {}),
            ((1, 40, 33, 60), (130, 40, 3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
            ((2, 24, 200), (72, 24, 3), {"dilations": [2]}),
        ):
            yield Case("convolutions", "Conv", dtype, (x, w, (w[0],)), attributes)
        window = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
        for op in ("MaxPool", "AveragePool"):
            yield Case("convolutions", op, dtype, ((2, 16, 33, 33),), window)
        yield Case("convolutions", "GlobalAveragePool", dtype, ((2, 16, 33, 33),))
    turned = ((1, 16, 15, 15), (16, 8, 3, 3))
    yield Case("convolutions", "ConvTranspose", "f32", turned, {"strides": [2, 2]})


def _bytes() -> Iterator[Case]:
    rng = np.random.default_rng(1)
    for dtype in ("i8", "u8"):
        zeros = tuple(np.array(zero, f"{dtype[0]}1") for zero in (3, 20))
        for m, k, n in ((1, 300, 200), (64, 64, 64), (130, 257, 190), (256, 512, 384)):
            yield Case("bytes", "MatMulInteger", dtype, ((m, k), (k, n)), constants=zeros)
        for x, w, attributes in (
            ((2, 32, 28, 28), (64, 32, 3, 3), {"pads": [1, 1, 1, 1]}),
            ((1, 3, 64, 64), (32, 3, 7, 7), {"strides": [2, 2], "pads": [3, 3, 3, 3]}),
            ((1, 32, 30, 30), (32, 1, 3, 3), {"group": 32}),
        ):
            yield Case("bytes", "ConvInteger", dtype, (x, w), attributes, zeros)
            unit, step = np.array(0.1, np.float32), np.array(2, np.float32)
            weights = rng.integers(-128, 128, w).astype(np.int8)
            given = (unit, zeros[0], weights, unit, np.array(0, np.int8), step, zeros[1])
            yield Case("bytes", "QLinearConv", dtype, (x,), attributes, given)
    yield Case("bytes", "DynamicQuantizeLinear", "f32", ((33, 700),), outputs=3)
    for dtype in ("f32", "f16"):
        for rows, bits in ((1, 4), (7, 8), (90, 4)):
            numbers = rng.integers(0, 256, (200, 8, 8 * bits)).astype(np.uint8)
            scales = (rng.random((200, 8)) * 0.1).astype(f"f{int(dtype[1:]) // 8}")
            attributes = {"K": 500, "N": 200, "bits": bits, "block_size": 64}
            yield Case(
                *("bytes", "MatMulNBits", dtype, ((rows, 500),), attributes, (numbers, scales)),
                domain="com.microsoft",
            )


def _attention() -> Iterator[Case]:
    for dtype in ("f32", "f16"):
        for queries, keys, size in (
            *((1, 100, 64), (70, 70, 64), (33, 130, 32), (40, 50, 100), (40, 50, 200)),
        ):
            shapes = ((2, 4, queries, size), (2, 4, keys, size), (2, 4, keys, size))
            yield Case("attention", "Attention", dtype, shapes)
        causal = ((1, 4, 64, 64), (1, 2, 64, 64), (1, 2, 64, 64))
        yield Case("attention", "Attention", dtype, causal, {"is_causal": 1})


def cases() -> list[Case]:
    """All of them, family by family."""
    families = (
        *(_pointwise, _products, _reductions, _moves, _rows, _convolutions, _bytes, _attention),
    )
    return [case for family in families for case in family()] + more_cases()
