"""Mathematical functions on `Lanes`: polynomials for float, libm for double and rare ones.

Coefficients are minimax fits as in Cephes (exp, log, tanh) and Eigen (erf): a few units in the
last place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from _lang.lanes import Lanes


def fma(a: Lanes, b: Lanes, c: Lanes) -> Lanes:
    return a.call("fma", b, c)


def minimum(a: Lanes, b: Lanes) -> Lanes:
    """The smaller; NaN when one is NaN."""
    if not a.is_float:
        return a.call("smin" if a.is_signed else "umin", b)
    b = a.lift(b)
    least = a.compare("<", b).select(a, b)
    return a.compare("!=", a).select(a, least)


def maximum(a: Lanes, b: Lanes) -> Lanes:
    """The larger; NaN when one is NaN."""
    if not a.is_float:
        return a.call("smax" if a.is_signed else "umax", b)
    b = a.lift(b)
    most = a.compare(">", b).select(a, b)
    return a.compare("!=", a).select(a, most)


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


def exp(x: Lanes) -> Lanes:
    if x.element == "double":
        return x.each("exp")
    inside = maximum(minimum(x, x.const(89.0)), x.const(-104.0))
    # Adding 1.5 * 2^23 leaves the rounded quotient in the low bits of the sum.
    shift = 12582912.0
    t = fma(inside, x.const(1.44269504088896341), x.const(shift))
    n, whole = t - shift, t.bits("int32") - x.const(shift).bits("int32")
    r = fma(n, x.const(-0.693359375), inside)
    r = fma(n, x.const(2.12194440e-4), r)
    p = polynomial(
        r,
        (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5),
    )
    y = fma(p, r * r, r) + 1.0
    # Two powers of two reach the ends of the exponent range.
    half = whole >> 1
    y = y * ((half + 127) << 23).bits("float") * ((whole - half + 127) << 23).bits("float")
    y = x.compare(">", 88.7228394).select(x.const(float("inf")), y)
    return x.compare("<", -103.972084).select(x.const(0.0), y)


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
    if x.element == "double":
        return x.each("tanh")
    a = absolute(x)
    z = x * x
    p = polynomial(
        z,
        (
            -5.70498872745e-3,
            2.06390887954e-2,
            -5.37397155531e-2,
            1.33314422036e-1,
            -3.33332819422e-1,
        ),
    )
    small = fma(p * z, x, x)
    large = 1.0 - 2.0 / (exp(minimum(a, a.const(20.0)) * 2.0) + 1.0)
    large = large.call("copysign", x)
    y = a.compare("<", 0.625).select(small, large)
    return x.compare("!=", x).select(x, y)


def erf(x: Lanes) -> Lanes:
    if x.element == "double":
        return x.each("erf")
    inside = maximum(minimum(x, x.const(3.832506856900711)), x.const(-3.832506856900711))
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
    y = inside * top / bottom
    return x.compare("!=", x).select(x, y)


def sigmoid(x: Lanes) -> Lanes:
    """1 / (1 + e^-x), from the side where the exponential is small."""
    e = exp(-absolute(x))
    small = e / (e + 1.0)
    large = 1.0 / (e + 1.0)
    y = x.compare("<", 0.0).select(small, large)
    return x.compare("!=", x).select(x, y)


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
