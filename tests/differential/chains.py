"""Graphs of several nodes, grown one by one from what onnx's reference computes for each.

Every value has a twin, computed from operands that are off by a few roundings: how far the two are
apart says what a result may differ by. A node that would make the twins disagree in a whole number,
or leave the range of its type, is not taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import defs, helper
from onnx.reference import ReferenceEvaluator

from chain_patterns import PATTERNS
from draw import NAMES, Draw, Node
from oracle import Case, by_onnxruntime, by_tiercel, quietly
from recipes import RECIPES
from single import REFERENCE_FROM, attribute_value, demoted, fits, info_of, model_of

OPSETS = (13, 15, 17, 18, 20, 21, 22, 23, 24, 26, 28)
LARGEST = {"float16": 2e3, "bfloat16": 1e4}  # of numbers in a graph; else 1e5
UNIT = {"float16": 1e-3, "bfloat16": 8e-3, "float64": 4e-9}  # one rounding; else 1.2e-7
ROOM = 16.0  # how much farther than its twin a result may be
# Operators that round nothing, and those that round once.
EXACT = set(
    "Abs Neg Relu Floor Ceil Round Sign Max Min Identity Transpose Reshape Flatten Squeeze "
    "Unsqueeze Slice Concat Split Pad Gather GatherElements GatherND Expand Tile Where Equal "
    "Less Greater LessOrEqual GreaterOrEqual Not And Or Xor ReduceMax ReduceMin ArgMax ArgMin "
    "TopK MaxPool Cast Clip Shape Size DepthToSpace SpaceToDepth Trilu ScatterElements "
    "ScatterND Compress IsNaN IsInf ReverseSequence QuantizeLinear GlobalMaxPool Hardmax "
    "NonZero CenterCropPad EyeLike OneHot TensorScatter Unique BitShift BitwiseAnd BitwiseOr "
    "BitwiseXor BitwiseNot CastLike ThresholdedRelu".split()
)
# Operators that are exact next to 1, not next to the tiny numbers that they give far from 0.
ABSOLUTE = {"LogSoftmax", "Gelu", "Mish", "Softplus", "Selu", "Elu", "Celu", "Swish"}
ROUNDED_ONCE = {"Add", "Sub", "Mul", "Div", "LeakyRelu", "PRelu", "DequantizeLinear", "Sum"}
# What a window makes of NaN, or a whole number of an infinity, is open.
FINITE = set("MaxPool AveragePool LpPool GlobalMaxPool QuantizeLinear ArgMax ArgMin TopK".split())
# Operators of one node whose recipes start from a tensor of any shape.
LINKED = sorted(
    name
    for domain, name in RECIPES
    if domain == ""
    and name not in {"Upsample", "Scatter", "Range", "ConstantOfShape", "BitCast", "Unique"}
    and "Sequence" not in name
    and not name.startswith(("String", "Regex", "Optional"))
)
# What neural networks are made of comes oftener.
USUAL = (
    "Add Mul Sub Div Relu Sigmoid Tanh Exp Sqrt Erf Clip Max Where Cast Transpose Reshape Slice "
    "Concat Split Pad Gather Expand Squeeze Unsqueeze ReduceSum ReduceMean ReduceMax Softmax "
    "LeakyRelu Gelu Flatten Tile Pow LayerNormalization QuantizeLinear Not Equal Less"
).split()


class Unfit(Exception):
    """A recipe does not start from the value at hand."""


def _finite(x: np.ndarray) -> bool:
    return "float" not in x.dtype.name or bool(np.isfinite(x.astype(np.float64)).all())


def _spread(x: np.ndarray) -> float:
    return float(np.ptp(x.astype(np.float64))) if x.size and _finite(x) else np.inf


def schema_at(op: str, opset: int) -> defs.OpSchema:
    """The operator's form in an opset that may be too old for it."""
    try:
        return defs.get_schema(op, opset, "")
    except defs.SchemaError as error:
        raise Unfit(op) from error


@dataclass
class Value:
    """A value of a graph: its name, what it is and its twins, one off to each side."""

    name: str
    array: np.ndarray
    twins: tuple[np.ndarray, np.ndarray]


class Chain:
    """A graph while it grows."""

    def __init__(self, integer: Callable[[int, int], int]) -> None:
        self.integer = integer
        self.draw = Draw(integer)
        self.opset = self.draw.choice(OPSETS)
        self.values: list[Value] = []
        self.nodes: list[onnx.NodeProto] = []
        self.feeds: dict[str, np.ndarray] = {}
        self.constants: dict[str, np.ndarray] = {}
        self.share = self.draw.choice((0, 50, 70, 100))  # of operands that are constant
        self.linked: set[str] = set()
        self.count = 0

    def name(self, letter: str) -> str:
        self.count += 1
        return f"{letter}{self.count}"

    def operand(self, array: np.ndarray, constant: bool | None = None) -> Value:
        """A new graph input or initialiser."""
        name = self.name("x")
        if constant if constant is not None else self.draw.flag(self.share):
            self.constants[name] = array
        else:
            self.feeds[name] = array
        value = Value(name, array, (array, array))
        self.values.append(value)
        return value

    def value_of(self, array: np.ndarray) -> Value | None:
        return next((v for v in self.values if v.array is array), None)

    def add(self, op: str, inputs: list[Any], outputs: int = 1, **attributes: Any) -> list[Value]:
        """The outputs of a new node; inputs are values, arrays (new operands) or None. Raises Unfit
        where the node is none of this opset or its results cannot be compared."""
        schema = schema_at(op, self.opset)
        if schema.since_version < REFERENCE_FROM.get(op, 0):
            raise Unfit(op)
        arrays = [v.array if isinstance(v, Value) else v for v in inputs]
        node = Node(arrays, attributes, outputs)
        older = demoted(node, schema)
        if not fits(older, schema):
            raise Unfit(op)
        kept = inputs[: len(older.inputs)]
        kept = [None if older.inputs[i] is None else v for i, v in enumerate(kept)]
        given = [v if isinstance(v, Value) or v is None else Value("", v, (v, v)) for v in kept]
        results = self.computed(op, older, [v and v.array for v in given])
        if op in FINITE and not all(_finite(v.array) for v in given if v is not None):
            raise Unfit(op)
        if op == "BatchNormalization" and attributes.get("training_mode") and _halves(given[0]):
            raise Unfit(op)  # the reference adds squares up in halves
        if op == "DynamicQuantizeLinear" and not given[0].array.any():
            raise Unfit(op)  # what scale zeros have is open
        if op == "LogSoftmax" and _spread(given[0].array) > 8:
            raise Unfit(op)  # the reference takes the logarithm of a quotient, which may be 0
        sides = []
        for side in (0, 1):
            shaken = [v and self.shaken(op, v.twins[side], side) for v in given]
            sides.append(self.computed(op, older, shaken))
            self.check(op, results, sides[side])
        for i, v in enumerate(given):
            if v is not None and v.name == "":
                # Small whole numbers are mostly shapes and axes, which models hold as constants.
                early = v.array.dtype.kind == "i" and v.array.ndim < 2 and self.draw.flag(60)
                given[i] = self.operand(v.array, True if early else None)
        names = [self.name("y") for _ in range(outputs)]
        values = {k: attribute_value(v) for k, v in older.attributes.items()}
        of = [v.name if v is not None else "" for v in given]
        self.nodes.append(helper.make_node(op, of, names, name=f"node_{names[0]}", **values))
        made = []
        for name, result, *twins in zip(names, results, *sides, strict=True):
            if op not in EXACT:
                twins = [self.perturbed(twin, side) for side, twin in enumerate(twins)]
            twins[0] = flushed(twins[0])
            if op in ABSOLUTE:
                unit = 4 * UNIT.get(result.dtype.name, 1.2e-7)
                twins = [
                    (t + s * unit).astype(t.dtype) for t, s in zip(twins, (-1, 1), strict=True)
                ]
            made.append(Value(name, result, (twins[0], twins[1])))
        self.values += made
        self.linked |= {v.name for v in given if v is not None}
        return made

    def computed(self, op: str, node: Node, inputs: list[Any]) -> list[np.ndarray]:
        names = ["" if x is None else f"a{i}" for i, x in enumerate(inputs)]
        feeds = {n: x for n, x in zip(names, inputs, strict=True) if n}
        results = [f"b{i}" for i in range(node.outputs)]
        attributes = {k: attribute_value(v) for k, v in node.attributes.items()}
        proto = helper.make_node(op, names, results, **attributes)
        infos = [info_of(n, x) for n, x in feeds.items()]
        model = model_of([proto], infos, results, {"": self.opset})
        out = quietly(lambda: ReferenceEvaluator(model).run(None, feeds))
        if isinstance(out, Exception):
            raise Unfit(str(out))
        return [np.asarray(x) for x in out]

    def shaken(self, op: str, twin: np.ndarray, side: int) -> np.ndarray:
        return twin if op in EXACT or op in ROUNDED_ONCE else self.perturbed(twin, side)

    def perturbed(self, x: np.ndarray, side: int) -> np.ndarray:
        """The array, each float off by two to four roundings, up or down; on the other side the
        other way."""
        if "float" not in x.dtype.name:
            return x
        unit = 4 * UNIT.get(x.dtype.name, 1.2e-7)
        with np.errstate(all="ignore"):
            by = self.draw.rng.uniform(0.5, 1, x.shape)
            up = np.where((np.arange(x.size).reshape(x.shape) % 3 == 0) == (side == 0), 1, -1)
            off = 1 + unit * by * up
            return np.asarray(x.astype(np.float64) * off).astype(x.dtype)

    def check(self, op: str, results: list[np.ndarray], twins: list[np.ndarray]) -> None:
        for result, twin in zip(results, twins, strict=True):
            if result.dtype == object or result.dtype not in NAMES or result.shape != twin.shape:
                raise Unfit(op)
            if result.size > 1 << 15 or result.ndim > 6:
                raise Unfit(op)
            if "float" not in result.dtype.name:
                if not np.array_equal(result, twin):
                    raise Unfit(op)
                continue
            with np.errstate(all="ignore"):
                a, b = result.astype(np.float64), twin.astype(np.float64)
                finite = np.isfinite(a)
                if not np.array_equal(finite, np.isfinite(b)):
                    raise Unfit(op)
                if op in ("Div", "Pow", "Reciprocal") and np.isinf(a).any():
                    raise Unfit(op)  # its sign is that of a zero, which roundings do not keep
                if np.abs(a[finite]).max(initial=0) > LARGEST.get(result.dtype.name, 1e5):
                    raise Unfit(op)
                if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
                    raise Unfit(op)


class Linked(Draw):
    """Draws a node that starts from a value of a graph: its type, its shape and its elements."""

    def __init__(self, chain: Chain, value: Value, schema: defs.OpSchema) -> None:
        super().__init__(chain.integer, schema)
        self.chain, self.value = chain, value
        self.rng = chain.draw.rng
        self.odd = self.odd and self.flag(20)
        self._typed = self._shaped = self.used = False

    def type(self, parameter: str = "T", but: Any = ()) -> str:
        if not self._typed:
            self._typed = True
            name = NAMES[self.value.array.dtype]
            if name not in self.admitted(parameter) or name in but:
                raise Unfit(name)
            self._types[parameter] = name
        return super().type(parameter, but)

    def shape(self, low: int = 0, high: int = 4) -> tuple[int, ...]:
        if self._shaped:
            return super().shape(low, high)
        self._shaped = True
        shape = self.value.array.shape
        if not low <= len(shape) <= high:
            raise Unfit("rank")
        return shape

    def full(self, low: int = 1, high: int = 4) -> tuple[int, ...]:
        shape = self.shape(low, high)
        if 0 in shape:
            raise Unfit("zero")
        return shape

    def broadcast(self, count: int, low: int = 0, high: int = 4) -> list[tuple[int, ...]]:
        whole = self.shape(low, 6)
        rest = [self.towards(whole) if self.flag(60) else whole for _ in range(count - 1)]
        shapes = [whole, *rest]
        return [shapes[i] for i in self.permutation(count)] if self.flag(30) else shapes

    def tensor(self, name: str, shape: Any, kind: str = "any") -> np.ndarray:
        if not self.used and self._suits(self.value.array, name, shape, kind):
            self.used = True
            return self.value.array
        for value in reversed(self.chain.values):
            if self._suits(value.array, name, shape, kind) and self.flag(40):
                return value.array
        return super().tensor(name, shape, "finite" if kind == "any" and not self.odd else kind)

    @staticmethod
    def _suits(x: np.ndarray, name: str, shape: Any, kind: str) -> bool:
        if NAMES.get(x.dtype) != name or x.shape != tuple(shape):
            return False
        if kind in ("any", "sums") or x.dtype == bool:
            return True
        with np.errstate(all="ignore"):
            wide = x.astype(np.float64)
        if not np.isfinite(wide).all():
            return False
        least, most = wide.min(initial=1), wide.max(initial=1)
        if kind == "positive":
            return bool(least > 0.05)
        if kind == "unit":
            return bool(least >= -1 and most <= 1)
        if kind == "small":
            return bool(least >= -100 and most <= 100 and np.array_equal(wide, np.rint(wide)))
        return bool(least > -1e4 and most < 1e4)


def _halves(value: Value | None) -> bool:
    return value is not None and value.array.dtype.name in ("float16", "bfloat16")


def flushed(x: np.ndarray) -> np.ndarray:
    """With zeros for numbers below the normal ones of float32, which a kernel may flush."""
    if x.dtype != np.float32:
        return x
    return np.where(np.abs(x) < np.finfo(np.float32).tiny, np.copysign(np.float32(0), x), x)


def step(chain: Chain, value: Value) -> None:
    """One node of any operator, from `value`."""
    d = chain.draw
    op = d.choice(USUAL if d.flag(60) else LINKED)
    linked = Linked(chain, value, defs.get_schema(op))
    node = RECIPES["", op](linked)
    inputs = [None if x is None else chain.value_of(x) or x for x in node.inputs]
    if not node.reference or not any(isinstance(x, Value) for x in inputs):
        raise Unfit(op)
    while inputs and inputs[-1] is None:
        inputs.pop()
    chain.add(op, inputs, node.outputs, **node.attributes)


def start(d: Draw) -> np.ndarray:
    name = d.choice(("float",) * 8 + ("double", "float16", "bfloat16", "int32", "int64", "uint8"))
    shape = d.shape(1, 4)
    if d.flag(30):
        shape = (d.integer(1, 2), d.choice((2, 4, 8, 16, 17)), *(d.integer(2, 9) for _ in "hw"))
    return d.tensor(name, shape, "unit" if d.flag(40) else "finite")


def draw_chain(integer: Callable[[int, int], int]) -> Case:
    """A case of several nodes."""
    chain = Chain(integer)
    d = chain.draw
    chain.operand(start(d), False)
    wanted = d.integer(3, 10)
    for _ in range(4 * wanted):
        if len(chain.nodes) >= wanted:
            break
        made = [v for v in chain.values if v.name.startswith("y")] or chain.values[:1]
        value = made[-1] if d.flag(60) else d.choice(made)
        try:
            if d.flag(35):
                d.choice(PATTERNS)(chain, value)
            else:
                step(chain, value)
        except Unfit:
            continue
    return finished(chain)


def finished(chain: Chain) -> Case:
    """The case of a grown graph: its outputs are the values that no node takes, and a few more."""
    d = chain.draw
    outputs = [
        v
        for v in chain.values
        if v.name.startswith("y") and (v.name not in chain.linked or d.flag(15))
    ]
    used = {name for node in chain.nodes for name in node.input}
    feeds = {n: x for n, x in chain.feeds.items() if n in used}
    constants = {n: x for n, x in chain.constants.items() if n in used}
    symbols = d.choice(("none", "own", "shared"))
    infos = []
    for name, x in feeds.items():
        info = info_of(name, x, symbols != "none")
        if symbols == "shared":
            for dim, extent in zip(info.type.tensor_type.shape.dim, x.shape, strict=True):
                dim.dim_param = f"n{extent}"
        infos.append(info)
    model = model_of(chain.nodes, infos, [v.name for v in outputs], {"": chain.opset}, constants)
    return Case(
        label="chain",
        model=model,
        feeds=feeds,
        wanted=[v.array for v in outputs],
        allowed=[leeway(v) for v in outputs],
    )


def leeway(value: Value) -> float:
    """What each element may be off: that of whole numbers is 0."""
    if "float" not in value.array.dtype.name:
        return 0.0
    with np.errstate(all="ignore"):
        a = value.array.astype(np.float64)
        finite = np.isfinite(a)
        off = (np.abs(a - twin.astype(np.float64))[finite] for twin in value.twins)
        apart = max(float(part.max(initial=0)) for part in off)
        most = float(np.abs(a[finite]).max(initial=0))
    return ROOM * (apart + UNIT.get(value.array.dtype.name, 1.2e-7) * most) + 1e-12


def differs(case: Case, got: list[Any] | Exception) -> str:
    """How results differ from what was computed node by node."""
    if isinstance(got, Exception):
        return f"{type(got).__name__}: {got}"
    for i, (g, w, room) in enumerate(zip(got, case.wanted or [], case.allowed or [], strict=True)):
        if g.shape != w.shape or g.dtype != w.dtype:
            return f"output {i}: {g.dtype}{g.shape}, expected {w.dtype}{w.shape}"
        with np.errstate(all="ignore"):
            a, b = g.astype(np.float64), w.astype(np.float64)
            good = (np.abs(a - b) <= room) | (a == b) | (np.isnan(a) & np.isnan(b))
        if not good.all():
            at = tuple(int(k) for k in np.argwhere(~good)[0])
            count = int((~good).sum())
            at_most = f"expected {w[at]!r} ±{room:.2g}"
            return f"output {i}: {count} of {g.size} differ: at {at} {g[at]!r}, {at_most}"
    return ""


def chain_verdict(case: Case) -> str | None:
    """Why tiercel is wrong, optimised or not. Where ONNX Runtime agrees, the reference is."""
    for optimised in (True, False):
        got = by_tiercel(case, optimised)
        text = differs(case, got)
        if not text:
            continue
        told = by_onnxruntime(case)
        if not isinstance(told, Exception) and not isinstance(got, Exception):
            theirs = Case("chain", case.model, case.feeds, wanted=told, allowed=case.allowed)
            if not differs(theirs, got):
                continue
        name = "optimised" if optimised else "not optimised"
        return f"{name}: {text}"
    return ""
