"""The cases of the self-test: models of one node over the operators that GPUs run."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Dims = tuple[int, ...]

_OPSET = 23
_TYPES = {
    "f32": 1,
    "f16": 10,
    "bf16": 16,
    "f64": 11,
    "i32": 6,
    "i64": 7,
    "i8": 3,
    "u8": 2,
    "bool": 9,
}
_FLOATS = ("f32", "f16", "bf16", "f64")
# Largest difference of results, relative to the largest number of the output.
BOUNDS = {"f32": 2e-5, "f16": 4e-3, "bf16": 3e-2, "f64": 1e-12}


@dataclass(frozen=True)
class Case:
    """One node; inputs are random of a type and shape, or constants that are given."""

    family: str
    op: str
    dtype: str
    shapes: tuple[Dims, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    constants: tuple[Array, ...] = ()  # inputs behind the random ones
    outputs: int = 1
    integers: int = 0  # so many inputs, the last of the random ones, are int64 below `limit`
    limit: int = 1
    domain: str = ""

    @property
    def name(self) -> str:
        """Operator, type, shapes, attributes and constants."""
        shapes = " ".join("x".join(map(str, shape)) or "1" for shape in self.shapes)
        attributes = "".join(f" {key}={value}" for key, value in self.attributes.items())
        constants = "".join(f" {a.tolist() if a.size < 9 else a.shape}" for a in self.constants)
        return f"{self.op} {self.dtype} {shapes}{attributes}{constants}"

    def types(self) -> list[str]:
        """The type of each random input."""
        return [self.dtype] * (len(self.shapes) - self.integers) + ["i64"] * self.integers

    def model(self) -> bytes:
        """The serialised model."""
        from onnx import ValueInfoProto, helper, numpy_helper

        names = [f"x{i}" for i in range(len(self.shapes))]
        constants = [f"c{i}" for i in range(len(self.constants))]
        outputs = [f"y{i}" for i in range(self.outputs)]
        node = helper.make_node(
            self.op, [*names, *constants], outputs, domain=self.domain, **self.attributes
        )
        inputs = [
            helper.make_tensor_value_info(name, _TYPES[dtype], list(shape))
            for name, dtype, shape in zip(names, self.types(), self.shapes, strict=True)
        ]
        given = [
            numpy_helper.from_array(a, name)
            for name, a in zip(constants, self.constants, strict=True)
        ]
        results = [ValueInfoProto(name=name) for name in outputs]  # their types follow
        graph = helper.make_graph([node], "selftest", inputs, results, given)
        opset = [helper.make_opsetid("", _OPSET), helper.make_opsetid("com.microsoft", 1)]
        made = helper.make_model(graph, opset_imports=opset, ir_version=10)
        return bytes(made.SerializeToString())

    def feeds(self) -> dict[str, Array]:
        """Random inputs, the same in every run."""
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        made = {}
        for i, (dtype, shape) in enumerate(zip(self.types(), self.shapes, strict=True)):
            if i >= len(self.shapes) - self.integers:
                made[f"x{i}"] = rng.integers(0, self.limit, shape)
            else:
                made[f"x{i}"] = _random(rng, dtype, shape)
        return made


def _random(rng: np.random.Generator, dtype: str, shape: Dims) -> Array:
    if dtype == "bool":
        return np.asarray(rng.random(shape) < 0.5)
    if dtype[0] in "iu":
        return np.asarray(rng.integers(1, 50, shape)).astype(f"{dtype[0]}{int(dtype[1:]) // 8}")
    values = np.asarray(rng.uniform(0.1, 0.9, shape))  # every function has a value there
    if dtype == "bf16":
        import ml_dtypes

        return values.astype(ml_dtypes.bfloat16)
    return values.astype(f"f{int(dtype[1:]) // 8}")


def _ints(*values: int) -> Array:
    return np.array(values, np.int64)


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
        for target in _TYPES:
            yield Case("pointwise", "Cast", source, ((5, 77),), {"to": _TYPES[target]})


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
            for axes in (_ints(0), _ints(2), _ints(0, 1, 2)):
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
        ends = (_ints(1, 2), _ints(30, 70), _ints(0, 1), _ints(2, 3))
        yield Case("moves", "Slice", dtype, ((33, 80),), constants=ends)
        yield Case("moves", "Expand", dtype, ((33, 1),), constants=(_ints(4, 33, 70),))
        yield Case("moves", "Tile", dtype, ((33, 7),), constants=(_ints(2, 3),))
        yield Case("moves", "Pad", dtype, ((33, 7),), constants=(_ints(1, 2, 3, 4),))
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
        for queries, keys, size in ((1, 100, 64), (70, 70, 64), (33, 130, 32)):
            shapes = ((2, 4, queries, size), (2, 4, keys, size), (2, 4, keys, size))
            yield Case("attention", "Attention", dtype, shapes)
        causal = ((1, 4, 64, 64), (1, 2, 64, 64), (1, 2, 64, 64))
        yield Case("attention", "Attention", dtype, causal, {"is_causal": 1})


def cases() -> list[Case]:
    """All of them, family by family."""
    families = (
        *(_pointwise, _products, _reductions, _moves, _rows, _convolutions, _bytes, _attention),
    )
    return [case for family in families for case in family()]
