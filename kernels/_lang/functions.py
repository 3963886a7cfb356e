"""Mathematical functions on `Lanes`: polynomials for float, libm for double and rare ones.

Coefficients are minimax fits as in Cephes (exp, log, tanh) and Eigen (erf): a few units in the
last place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from _lang.lanes import I32, Lanes, declared


def fma(a: Lanes, b: Lanes, c: Lanes) -> Lanes:
    return a.call("fma", b, c)


def minimum(a: Lanes, b: Any) -> Lanes:
    """The smaller; NaN when one is NaN."""
    if not a.is_float:
        return a.call("smin" if a.is_signed else "umin", b)
    least = a.lift(b).compare("<", a).select(b, a)
    return least if _is_number(b) else a.lift(b).compare("!=", b).select(b, least)


def maximum(a: Lanes, b: Any) -> Lanes:
    """The larger; NaN when one is NaN."""
    if not a.is_float:
        return a.call("smax" if a.is_signed else "umax", b)
    most = a.lift(b).compare(">", a).select(b, a)
    return most if _is_number(b) else a.lift(b).compare("!=", b).select(b, most)


def _is_number(b: Any) -> bool:
    """Whether it is known and no NaN, so that comparing it is all that a NaN of `a` needs."""
    return not isinstance(b, Lanes) or isinstance(b.value, ir.Constant)


def clamped(x: Lanes, low: float, high: float) -> Lanes:
    """x within the bounds; NaN stays."""
    return maximum(minimum(x, x.const(high)), x.const(low))


def absolute(a: Lanes) -> Lanes:
    if a.is_float:
        return a.call("fabs")
    return a.compare("<", 0).select(-a, a) if a.is_signed else a


def polynomial(x: Lanes, coefficients: Sequence[float]) -> Lanes:
    """Highest power first."""
    out = x.const(coefficients[0])
    for c in coefficients[1:]:
        out = fma(out, x, x.const(c))
    return out


# Adding 1.5 * 2^23 leaves the rounded number in the low bits of the sum.
_SHIFT = 12582912.0
# e^r up to half of log 2, within 3.1e-9 of it.
_NEAR = (0.001381454, 0.008368745, 0.04166839, 0.16666521, 0.49999994, 1.0, 1.0)


def _multiple(x: Lanes, factor: float) -> tuple[Lanes, Lanes]:
    """The whole number next to factor · x, and the same in the low bits of a float."""
    t = fma(x, x.const(factor), x.const(_SHIFT))
    return t - _SHIFT, t


def exp(x: Lanes) -> Lanes:
    if x.element == "double":
        return x.each("exp")
    # Beyond these bounds the powers below give infinity and 0.
    inside = clamped(x, -104.0, 89.0)
    n, t = _multiple(inside, 1.44269504088896341)
    r = fma(n, x.const(2.12194440e-4), fma(n, x.const(-0.693359375), inside))
    p = polynomial(r, _NEAR)
    if x.lanes == 16:
        return _scaled(p, n)
    # Two powers of two reach the ends of the exponent range.
    whole = t.bits("int32") - x.const(_SHIFT).bits("int32")
    half = whole >> 1
    return p * ((half + 127) << 23).bits("float") * ((whole - half + 127) << 23).bits("float")


def _scaled(x: Lanes, n: Lanes) -> Lanes:
    """x · 2^n of sixteen floats, which are a vector of AVX-512 alone."""
    b, kind = x.b, x.value.type
    shape = ir.FunctionType(kind, [kind, kind, kind, ir.IntType(16), I32])
    scalef = declared(b, "llvm.x86.avx512.mask.scalef.ps.512", shape)
    everywhere, as_set = ir.IntType(16)(-1), I32(4)
    return x.like(b.call(scalef, [x.value, n.value, x.value, everywhere, as_set]))


def log(x: Lanes) -> Lanes:
    if x.element == "double":
        return x.each("log")
    tiny = x.compare("<", 1.17549435e-38)
    scaled = tiny.select(x * 8388608.0, x)
    bits = scaled.bits("int32")
    e = ((bits >> 23) & 255).to("float") - 126.0
    e = tiny.select(e - 23.0, e)
    m = ((bits & 0x007FFFFF) | 0x3F000000).bits("float")
    low = m.compare("<", 0.707106781186547524)
    e = low.select(e - 1.0, e)
    f = low.select(m + m, m) - 1.0
    z = f * f
    p = polynomial(
        f,
        (
            7.0376836292e-2,
            -1.1514610310e-1,
            1.1676998740e-1,
            -1.2420140846e-1,
            1.4249322787e-1,
            -1.6668057665e-1,
            2.0000714765e-1,
            -2.4999993993e-1,
            3.3333331174e-1,
        ),
    )
    y = f * z * p
    y = fma(e, x.const(-2.12194440e-4), y) - z * 0.5
    y = fma(e, x.const(0.693359375), f + y)
    y = x.compare("==", float("inf")).select(x, y)
    y = x.compare("==", 0.0).select(x.const(float("-inf")), y)
    return x.compare("<", 0.0).select(x.const(float("nan")), x.compare("!=", x).select(x, y))


def tanh(x: Lanes) -> Lanes:
    """A quotient of polynomials up to where the result is 1."""
    if x.element == "double":
        return x.each("tanh")
    inside = clamped(x, -7.90531110763549805, 7.90531110763549805)
    z = inside * inside
    top = polynomial(
        z,
        (
            -2.76076847742355e-16,
            2.00018790482477e-13,
            -8.60467152213735e-11,
            5.12229709037114e-8,
            1.48572235717979e-5,
            6.37261928875436e-4,
            4.89352455891786e-3,
        ),
    )
    bottom = polynomial(
        z, (1.19825839466702e-6, 1.18534705686654e-4, 2.26843463243900e-3, 4.89352518554385e-3)
    )
    y = inside * top / bottom
    return absolute(x).compare("<", 0.0004).select(x, y)


def erf(x: Lanes) -> Lanes:
    if x.element == "double":
        return x.each("erf")
    inside = clamped(x, -3.832506856900711, 3.832506856900711)
    z = inside * inside
    top = polynomial(
        z,
        (
            0.00022905065861350646,
            0.0034082910107109506,
            0.050955695062380861,
            0.18520832239976145,
            1.128379143519084,
        ),
    )
    bottom = polynomial(
        z,
        (
            -1.1791602954361697e-7,
            0.000023547966471313185,
            0.0010179625278914885,
            0.014070470171167667,
            0.11098505178285362,
            0.49746925110067538,
            1.0,
        ),
    )
    return inside * top / bottom


def sigmoid(x: Lanes) -> Lanes:
    """1 / (1 + e^-x)."""
    if x.element == "double":
        e = exp(-absolute(x))
        return x.compare("<", 0.0).select(e, x.const(1.0)) / (e + 1.0)
    # From 18 on it is 1; below -104, whose exponential is infinite, 0.
    if x.lanes == 16:
        n, t = _multiple(inside := clamped(x, -104.0, 87.0), -1.44269504088896341)
    else:
        n, t = _multiple(inside := clamped(x, -87.0, 87.0), -1.44269504088896341)
    # e^-x = 2^n e^-r; signs alternate.
    r = fma(n, x.const(0.693147182), inside)
    p = polynomial(r, [c * (-1) ** i for i, c in enumerate(_NEAR)])
    if x.lanes == 16:
        return 1.0 / (_scaled(p, n) + 1.0)
    e = (p.bits("int32") + (t.bits("int32") << 23)).bits("float")
    return x.compare("<", -87.0).select(x.const(0.0), 1.0 / (e + 1.0))


def _intrinsic(name: str) -> Callable[[Lanes], Lanes]:
    return lambda a: a.call(name)


def _libm(name: str) -> Callable[[Lanes], Lanes]:
    return lambda a: a.each(name)


UNARY: dict[str, Callable[[Lanes], Lanes]] = {
    "abs": absolute,
    "exp": exp,
    "log": log,
    "tanh": tanh,
    "erf": erf,
    "sigmoid": sigmoid,
    "neg": lambda a: -a,
    "sqrt": _intrinsic("sqrt"),
    "floor": _intrinsic("floor"),
    "ceil": _intrinsic("ceil"),
    "rint": _intrinsic("rint"),
    "trunc": _intrinsic("trunc"),
    **{
        n: _libm(n)
        for n in (
            *("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh"),
            *("atanh", "log1p", "expm1", "cbrt", "exp2", "log2", "log10", "lgamma"),
        )
    },
}
BINARY: dict[str, Callable[[Lanes, Lanes], Lanes]] = {
    "min": minimum,
    "max": maximum,
    "pow": lambda a, b: a.each("pow", b),
    "fmod": lambda a, b: a.each("fmod", b),
    "atan2": lambda a, b: a.each("atan2", b),
    "copysign": lambda a, b: a.call("copysign", b),
}
COMPARE = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
