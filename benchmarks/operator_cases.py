"""One-node models of every operator over about a million elements, for benchmarks/operators.py."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "differential"))

from draw import ELEMENTS, Draw, Node
from recipes import RECIPES
from single import attribute_value, demoted, fits, history, info_of, model_of

TYPES = ("float", "int64", "uint8", "float16", "string")
SHAPES = {1: (1 << 20,), 2: (1024, 1024), 3: (16, 256, 256), 4: (16, 64, 32, 32)}
SHAPES |= {0: (), 5: (4, 16, 16, 32, 32), 6: (4, 4, 16, 16, 16, 16)}
OPSETS = {"": 21, "ai.onnx.ml": 3}  # what ONNX Runtime has kernels for; newer operators: their own


class Large(Draw):
    """Draws the plain form of a node: large tensors of one shape, the last axis, most defaults."""

    def __init__(self, schema: onnx.defs.OpSchema, name: str) -> None:
        super().__init__(lambda low, high: high, schema)
        self.rng = np.random.default_rng(0)
        self.odd = False
        self._main: str | None = name

    def type(self, parameter: str = "T", but: Sequence[str] = ()) -> str:
        if parameter not in self._types:
            admitted = [n for n in self.admitted(parameter) if n not in but]
            if self._main is not None:
                if self._main not in admitted:
                    raise LookupError(parameter)
                self._types[parameter], self._main = self._main, None
            else:
                usual = [n for n in (*self._types.values(), *TYPES, "int32") if n in admitted]
                self._types[parameter] = (usual or admitted)[0]
        return self._types[parameter]

    def flag(self, percent: int = 50) -> bool:
        return percent >= 60

    def choice(self, among: Sequence[Any]) -> Any:
        return among[0]

    def shape(self, low: int = 0, high: int = 4) -> tuple[int, ...]:
        return SHAPES[max(low, min(high, 2))]

    full = shape

    def broadcast(self, count: int, low: int = 0, high: int = 4) -> list[tuple[int, ...]]:
        return [self.shape(low, high)] * count

    def towards(self, whole: tuple[int, ...]) -> tuple[int, ...]:
        return whole

    def tensor(self, name: str, shape: Any, kind: str = "any") -> np.ndarray:
        if int(np.prod(shape)) > 1 << 22:
            raise ValueError(f"{shape} is too large")
        return super().tensor(name, shape, kind)

    def axes(self, rank: int, least: int = 0) -> list[int]:
        return [rank - 1]

    def extent(self) -> int:
        return 64

    def real(self, low: float, high: float) -> float:
        return float(np.float32((low + high) / 2 + 0.25))


class Maker:
    """Operands of one element type."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.draw = Large(onnx.defs.get_schema("Add"), name)

    def __call__(self, *shape: int, kind: str = "finite", name: str = "") -> np.ndarray:
        return self.draw.tensor(name or self.name, shape, kind)

    def below(self, high: int, *shape: int) -> np.ndarray:
        return self.draw.rng.integers(0, high, shape)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


SPATIAL = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
POOL = {"kernel_shape": [3, 3], "strides": [2, 2]}
ONE, ZERO = np.array(0.5, np.float32), np.array(3, np.uint8)
Sized = Callable[[Maker], Node]
FLOAT = ("float", "float16")


def recurrent(gates: int) -> Sized:
    return lambda m: Node(
        [m(64, 16, 256, kind="unit"), m(1, gates * 128, 256, kind="unit"),
         m(1, gates * 128, 128, kind="unit")], {"hidden_size": 128}, 2,
    )  # fmt: skip


def conv_quantized(m: Maker) -> Node:
    x, w = m(4, 32, 64, 64, name="uint8"), m(32, 32, 3, 3, name="int8")
    zero = np.array(0, np.int8)
    return Node([x, ONE, ZERO, w, ONE, zero, ONE, ZERO], SPATIAL)


def detections(m: Maker) -> Node:
    corner = m.draw.rng.uniform(0, 90, (1, 1000, 2))
    boxes = np.concatenate([corner, corner + 10], 2).astype(np.float32)
    scores = m.draw.rng.random((1, 10, 1000)).astype(np.float32)
    return Node([boxes, scores, ints(50), np.array([0.5], np.float32)])


# Operators whose sizes a recipe draws small, each in the types in which it matters.
SIZED: dict[str, tuple[Sequence[str], Sized]] = {
    "Conv": (FLOAT, lambda m: Node([m(4, 64, 64, 64), m(64, 64, 3, 3), m(64)], SPATIAL)),
    "ConvTranspose": (FLOAT, lambda m: Node(
        [m(4, 32, 64, 64), m(32, 32, 2, 2)], {"strides": [2, 2]})),
    "ConvInteger": (("uint8",), lambda m: Node([m(4, 32, 64, 64), m(32, 32, 3, 3)], SPATIAL)),
    "QLinearConv": (("uint8",), conv_quantized),
    "MatMul": (("float", "int64", "float16"), lambda m: Node([m(1024, 512), m(512, 512)])),
    "Gemm": (FLOAT, lambda m: Node([m(1024, 512), m(512, 512), m(512)])),
    "Einsum": (("float",), lambda m: Node(
        [m(1024, 512), m(512, 512)], {"equation": "ij,jk->ik"})),
    "MatMulInteger": (("uint8",), lambda m: Node([m(1024, 512), m(512, 512)])),
    "QLinearMatMul": (("uint8",), lambda m: Node(
        [m(1024, 512), ONE, ZERO, m(512, 512), ONE, ZERO, ONE, ZERO])),
    "MaxPool": (("float", "uint8", "float16"), lambda m: Node([m(16, 64, 32, 32)], POOL)),
    "AveragePool": (FLOAT, lambda m: Node([m(16, 64, 32, 32)], POOL)),
    "LpPool": (("float",), lambda m: Node([m(16, 64, 32, 32)], POOL)),
    "GlobalAveragePool": (FLOAT, lambda m: Node([m(16, 64, 32, 32)])),
    "GlobalMaxPool": (FLOAT, lambda m: Node([m(16, 64, 32, 32)])),
    "GlobalLpPool": (("float",), lambda m: Node([m(16, 64, 32, 32)])),
    "LRN": (("float",), lambda m: Node([m(16, 64, 32, 32)], {"size": 5})),
    "BatchNormalization": (FLOAT, lambda m: Node(
        [m(16, 64, 32, 32), m(64), m(64), m(64), m(64, kind="positive")])),
    "InstanceNormalization": (("float",), lambda m: Node([m(16, 64, 32, 32), m(64), m(64)])),
    "MeanVarianceNormalization": (("float",), lambda m: Node([m(16, 64, 32, 32)])),
    "GroupNormalization": (
        ("float",), lambda m: Node([m(16, 64, 32, 32), m(64), m(64)], {"num_groups": 8})),
    "RMSNormalization": (FLOAT, lambda m: Node([m(1024, 1024), m(1024)])),
    "NegativeLogLikelihoodLoss": (
        ("float",), lambda m: Node([m(16384, 64), m.below(64, 16384)])),
    "SoftmaxCrossEntropyLoss": (
        ("float",), lambda m: Node([m(16384, 64), m.below(64, 16384)])),
    "Trilu": (("float", "int64"), lambda m: Node([m(1024, 1024)])),
    "LayerNormalization": (FLOAT, lambda m: Node([m(1024, 1024), m(1024), m(1024)])),
    "Resize": (("float", "uint8"), lambda m: Node(
        [m(4, 16, 64, 64), None, np.array([1, 1, 2, 2], np.float32)], {"mode": "linear"})),
    "Upsample": (("float", "uint8"), lambda m: Node(
        [m(4, 16, 64, 64), np.array([1, 1, 2, 2], np.float32)], {"mode": "nearest"})),
    "GridSample": (("float",), lambda m: Node(
        [m(1, 16, 256, 256), np.float32(m(1, 256, 256, 2, kind="unit"))])),
    "RNN": (("float",), recurrent(1)),
    "GRU": (("float",), recurrent(3)),
    "LSTM": (("float",), recurrent(4)),
    "Attention": (("float",), lambda m: Node([m(2, 8, 512, 64, kind="unit") for _ in "qkv"])),
    "RotaryEmbedding": (FLOAT, lambda m: Node(
        [m(1, 8, 1024, 128), m(1, 1024, 64), m(1, 1024, 64)])),
    "TopK": (("float", "int64"), lambda m: Node([m(1024, 1024), ints(10)], {}, 2)),
    "NonMaxSuppression": (("float",), detections),
    "Slice": (TYPES, lambda m: Node(
        [m(1024, 1024), ints(1, 1), ints(1000, 1000), ints(0, 1), ints(1, 2)])),
    "Gather": (TYPES, lambda m: Node([m(1024, 1024), m.below(1024, 1024)])),
    "GatherElements": (TYPES, lambda m: Node([m(1024, 1024), m.below(1024, 1024, 1024)])),
    "GatherND": (TYPES, lambda m: Node([m(1024, 1024), m.below(1024, 100000, 2)])),
    "ScatterElements": (TYPES, lambda m: Node(
        [m(1024, 1024), m.below(1024, 512, 1024), m(512, 1024)])),
    "ScatterND": (TYPES, lambda m: Node([m(1024, 1024), m.below(1024, 512, 1), m(512, 1024)])),
    "Pad": (("float", "int64", "uint8"), lambda m: Node([m(1000, 1000), ints(9, 9, 9, 9)])),
    "Concat": (TYPES, lambda m: Node([m(1024, 512), m(1024, 512)], {"axis": 1})),
    "Split": (TYPES, lambda m: Node([m(1024, 1024), ints(512, 512)], {"axis": 1}, 2)),
    "Expand": (TYPES, lambda m: Node([m(1024, 1), ints(1024, 1024)])),
    "Tile": (TYPES, lambda m: Node([m(256, 512), ints(4, 2)])),
    "Reshape": (TYPES, lambda m: Node([m(1024, 1024), ints(-1, 256)])),
    "Squeeze": (TYPES, lambda m: Node([m(1024, 1, 1024), ints(1)])),
    "Unsqueeze": (TYPES, lambda m: Node([m(1024, 1024), ints(1)])),
    "Transpose": (TYPES, lambda m: Node([m(64, 128, 128)], {"perm": [2, 0, 1]})),
    "DepthToSpace": (("float", "uint8"), lambda m: Node([m(4, 64, 64, 64)], {"blocksize": 2})),
    "SpaceToDepth": (("float", "uint8"), lambda m: Node([m(4, 64, 64, 64)], {"blocksize": 2})),
    "ReverseSequence": (TYPES, lambda m: Node([m(128, 64, 128), 1 + m.below(128, 64)])),
    "Compress": (TYPES, lambda m: Node(
        [m(1024, 1024), m.below(2, 1024).astype(bool)], {"axis": 0})),
    "OneHot": (("int64", "float"), lambda m: Node(
        [m.below(64, 16384), np.array(64), m(2)])),
    "Unique": (("float", "int64", "string"), lambda m: Node([m(1 << 18)])),
    "EyeLike": (("float",), lambda m: Node([m(1024, 1024)])),
    "ConstantOfShape": (("float",), lambda m: Node([ints(1024, 1024)])),
    "Range": (("float", "int64"), lambda m: Node(
        [np.array(v, ELEMENTS[m.name]) for v in (0, 1 << 20, 1)])),
    "Det": (("float",), lambda m: Node([m(4096, 16, 16, kind="unit")])),
    "DFT": (("float",), lambda m: Node([m(64, 4096, 1), None, np.array(1)])),
    "RoiAlign": (("float",), lambda m: Node(
        [m(1, 64, 64, 64), np.float32(m.below(20, 64, 4) + [0, 0, 24, 24]), m.below(1, 64)],
        {"output_height": 7, "output_width": 7})),
    "MaxUnpool": (("float",), lambda m: Node(
        [m(4, 64, 32, 32), 4 * np.arange(4 * 64 * 1024).reshape(4, 64, 32, 32)],
        {"kernel_shape": [2, 2], "strides": [2, 2]})),
    "QuantizeLinear": (("float",), lambda m: Node([m(1024, 1024), ONE, ZERO])),
    "DequantizeLinear": (("uint8",), lambda m: Node([m(1024, 1024), ONE, ZERO])),
}  # fmt: skip


def types_of(name: str, domain: str) -> Sequence[str]:
    return SIZED[name][0] if domain == "" and name in SIZED else TYPES


def node_of(domain: str, name: str, element: str) -> Node | None:
    """The node, or None where the operator has no form in this type."""
    if domain == "" and name in SIZED:
        return SIZED[name][1](Maker(element))
    draw = Large(history()[domain, name][-1], element)
    try:
        node = RECIPES[domain, name](draw)
    except (LookupError, ValueError):
        return None
    return node if draw._main is None or element == "float" else None


def models() -> Iterator[tuple[str, str, onnx.ModelProto, dict[str, Any]]]:
    """Operator, element type, model and inputs of every case."""
    for domain, name in sorted(RECIPES):
        if (domain, name) not in history():
            continue
        schemas = history()[domain, name]
        for element in types_of(name, domain):
            node = node_of(domain, name, element)
            if node is None:
                continue
            limit = OPSETS.get(domain, 1)
            older = [s for s in schemas if s.since_version <= limit] or schemas[:1]
            node = demoted(node, older[-1])
            if not fits(node, older[-1]):
                continue
            opset = max(limit, older[-1].since_version)
            names = ["" if x is None else f"x{i}" for i, x in enumerate(node.inputs)]
            feeds = {n: x for n, x in zip(names, node.inputs, strict=True) if n}
            results = [f"y{i}" for i in range(node.outputs)]
            attributes = {k: attribute_value(v) for k, v in node.attributes.items()}
            made = helper.make_node(name, names, results, "node", domain=domain, **attributes)
            imports = {"": opset if domain == "" else OPSETS[""]}
            imports |= {domain: opset} if domain else {}
            infos = [info_of(n, x) for n, x in feeds.items()]
            model = model_of([made], infos, results, imports)
            yield (f"{domain}::{name}" if domain else name), element, model, feeds
