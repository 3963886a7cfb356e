"""Recipes of operators that work element by element."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import AttributeProto, defs

from draw import ELEMENTS, FLOATS, Draw, Node, is_whole, limits, number_of
from recipes import recipe

Kind = defs.OpSchema.FormalParameterOption


def attributes_of(d: Draw) -> dict[str, Any]:
    """Values for some of the schema's numbers."""
    assert d.schema is not None
    drawn: dict[str, Any] = {}
    for name, attribute in sorted(d.schema.attributes.items()):
        if attribute.type == AttributeProto.FLOAT and d.flag(60):
            drawn[name] = round(d.real(0.05, 2.0), 3)
    return drawn


@recipe(
    *"Abs Acos Acosh Asin Asinh Atan Atanh BitwiseNot Ceil Celu Cos Cosh Elu Erf Exp Floor".split(),
    *"HardSigmoid HardSwish IsNaN LeakyRelu Log Mish Neg Not Reciprocal Relu Round".split(),
    *"Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Swish Tan Tanh".split(),
    *"ThresholdedRelu And BitwiseAnd BitwiseOr BitwiseXor Or Xor".split(),
    *"Add Sub Mul Equal Greater GreaterOrEqual Less LessOrEqual SwiGLU".split(),
)
def elementwise(d: Draw) -> Node:
    assert d.schema is not None
    formals = d.schema.inputs
    attributes = attributes_of(d)
    if d.schema.name == "Shrink" and is_whole(d.type(formals[0].type_str)):
        # onnx's function body casts bias and lambd to the element type first, the reference does
        # not: whole numbers leave no room for the difference.
        attributes = {"bias": float(d.integer(0, 3)), "lambd": float(d.integer(0, 3))}
    shapes = d.broadcast(len(formals))
    if d.schema.name == "SwiGLU":
        shapes = [shapes[0]] * 2
    kind = "finite" if d.schema.name == "Shrink" else "any"
    return Node(
        [d.tensor(d.type(f.type_str), s, kind) for f, s in zip(formals, shapes, strict=True)],
        attributes,
    )


@recipe("IsInf")
def is_inf(d: Draw) -> Node:
    keys = ("detect_negative", "detect_positive")
    return Node(
        [d.tensor(d.type("T1"), d.shape())],
        {key: d.integer(0, 1) for key in keys if d.flag()},
    )


@recipe("Gelu")
def gelu(d: Draw) -> Node:
    attributes = {"approximate": d.choice(("none", "tanh"))} if d.flag(70) else {}
    return Node([d.tensor(d.type(), d.shape())], attributes)


@recipe("Max", "Min", "Sum", "Mean")
def variadic(d: Draw) -> Node:
    name = d.type()
    kind = "sums" if d.schema.name in ("Sum", "Mean") else "any"
    return Node([d.tensor(name, s, kind) for s in d.broadcast(d.integer(1, 4))])


def _divisor(d: Draw, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Whole numbers over zero have no meaning, nor has the least one over -1."""
    x = d.tensor(name, shape)
    if not is_whole(name):
        return x
    x = np.where(x == 0, np.array(3, x.dtype) if limits(name)[1] >= 3 else 1, x)
    return np.where(x.astype(np.int64) == -1, 1, x).astype(ELEMENTS[name]).reshape(shape)


@recipe("Div")
def div(d: Draw) -> Node:
    name = d.type()
    first, second = d.broadcast(2)
    return Node([d.tensor(name, first), _divisor(d, name, second)])


@recipe("Mod")
def mod(d: Draw) -> Node:
    name = d.type()
    first, second = d.broadcast(2)
    fmod = {"fmod": 1} if name in FLOATS or d.flag() else {}
    if is_whole(name):
        return Node([d.tensor(name, first), _divisor(d, name, second)], fmod)
    # The quotient of far apart floats is not representable: references differ there.
    divisor = d.tensor(name, second, "positive") * d.choice((1, -1))
    return Node([d.tensor(name, first, "finite"), divisor.astype(ELEMENTS[name])], fmod)


@recipe("Pow")
def power(d: Draw) -> Node:
    base, exponent = d.type("T"), d.type("T1")
    first, second = d.broadcast(2)
    if is_whole(base):
        # A whole base: exponents whose powers both fit, and no negative ones.
        x = d.tensor(base, first, "small")
        y = np.abs(d.tensor(exponent, second, "small").astype(np.float64))
        return Node([x, np.minimum(np.rint(y), 3).astype(ELEMENTS[exponent])])
    y = d.tensor(exponent, second, "any" if exponent in FLOATS else "small")
    return Node([d.tensor(base, first), y], tolerance=4)


@recipe("BitShift")
def bit_shift(d: Draw) -> Node:
    name = d.type()
    first, second = d.broadcast(2)
    bits = ELEMENTS[name].itemsize * 8
    # Shifts by the whole width or more have no meaning.
    shifts = d.rng.integers(0, bits, second).astype(ELEMENTS[name])
    return Node([d.tensor(name, first), shifts], {"direction": d.choice(("LEFT", "RIGHT"))})


@recipe("Clip")
def clip(d: Draw) -> Node:
    name = d.type()
    low, high = (d.tensor(name, (), "finite") if d.flag(70) else None for _ in "lh")
    if low is not None and high is not None and low > high:
        low, high = high, low
    return Node([d.tensor(name, d.shape()), low, high])


@recipe("PRelu")
def prelu(d: Draw) -> Node:
    name = d.type()
    shape = d.shape()
    # The reference multiplies even where the slope is not taken.
    slope = d.tensor(name, d.towards(shape), "finite")
    return Node([d.tensor(name, shape), slope])


@recipe("Where")
def where(d: Draw) -> Node:
    condition, x, y = d.broadcast(3)
    name = d.type()
    return Node([d.tensor("bool", condition), d.tensor(name, x), d.tensor(name, y)])


def castable(d: Draw, source: str, target: str, shape: tuple[int, ...]) -> np.ndarray:
    """Elements whose value in `target` is defined: floats beyond a whole type are not, and the
    standard leaves the rounding of 4-bit targets to saturation that numpy lacks."""
    if source == "string":
        return np.array(d.rng.choice(["0", "1", "7", "3"], shape), object).reshape(shape)
    if is_whole(target) and not is_whole(source):
        low, high = limits(target)
        x = d.rng.uniform(max(low, -100), min(high, 100), shape)
        return np.asarray(x).astype(np.float32).astype(ELEMENTS[source]).reshape(shape)
    if target == "float8e8m0" or source == "float8e8m0":
        x = 2.0 ** d.rng.integers(0, 1 if is_whole(source) else 3, shape)
        return np.asarray(x).astype(ELEMENTS[source]).reshape(shape)
    return d.tensor(source, shape, "any" if target in ("float", "double", "bool") else "finite")


def cast_pair(d: Draw) -> tuple[str, str]:
    """Two types for a Cast; complex numbers have no Cast, and strings only from and to some."""
    plain = ("string", "complex64", "complex128")
    source = d.type("T1", but=plain[1:])
    targets = [n for n in d.admitted("T2") if n not in plain[1:]]
    if source == "string":
        targets = [n for n in targets if n in ("float", "double", "int32", "int64", "uint8")]
    if source not in ("int32", "int64", "bool", "uint8"):
        # Texts of floats are not fixed by the standard to the digit.
        targets = [n for n in targets if n != "string"]
    return source, d.choice(targets)


@recipe("Cast")
def cast(d: Draw) -> Node:
    source, target = cast_pair(d)
    attributes: dict[str, Any] = {"to": number_of(target)}
    if target.startswith("float8") and d.flag(30):
        attributes["saturate"] = d.integer(0, 1)
    return Node([castable(d, source, target, d.shape())], attributes)


@recipe("CastLike")
def cast_like(d: Draw) -> Node:
    source, target = cast_pair(d)
    return Node([castable(d, source, target, d.shape()), d.tensor(target, d.shape(0, 2), "small")])


@recipe("BitCast")
def bit_cast(d: Draw) -> Node:
    source = d.type("T1", but=("string",))
    packed = {"uint4": 4, "int4": 4, "float4e2m1": 4, "uint2": 2, "int2": 2}
    packed |= {"float6e2m3": 6, "float6e3m2": 6}

    def bits(name: str) -> int:
        return packed.get(name, ELEMENTS[name].itemsize * 8)

    targets = [n for n in d.admitted("T2") if n != "string" and bits(n) == bits(source)]
    targets = [n for n in targets if (n == "bool") == (source == "bool")]
    return Node([d.tensor(source, d.shape())], {"to": number_of(d.choice(targets or [source]))})


@recipe("Dropout")
def dropout(d: Draw) -> Node:
    """At rest, or in training with nothing left out: other masks are random."""
    x = d.tensor(d.type("T"), d.shape())
    training = np.array(d.flag()) if d.flag() else None
    ratio = d.tensor(d.type("T1"), (), "unit") if training is None or not training else None
    if training is not None and training:
        ratio = np.zeros((), ELEMENTS[d.type("T1")])
    return Node([x, ratio, training], {}, 2 if d.flag() else 1)


@recipe("StringConcat")
def string_concat(d: Draw) -> Node:
    return Node([d.tensor("string", s) for s in d.broadcast(2)])


@recipe("RegexFullMatch")
def regex_full_match(d: Draw) -> Node:
    pattern = d.choice(("a*", "[a-c]+", "(a|b)?", r"\d", ".*", "[^b]*b", r"-?\d+(\.\d)?"))
    return Node([d.tensor("string", d.shape())], {"pattern": pattern})
