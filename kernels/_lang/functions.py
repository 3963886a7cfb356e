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
    # Beyond these bounds the powers below give infinity and 0.
    inside = x.compare("<", 89.0).select(x, x.const(89.0))
    inside = inside.compare(">", -104.0).select(inside, x.const(-104.0))
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
    return x.compare("!=", x).select(x, y)


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
    inside = x.compare("<", 7.90531110763549805).select(x, x.const(7.90531110763549805))
    inside = inside.compare(">", -7.90531110763549805).select(inside, x.const(-7.90531110763549805))
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
    y = absolute(x).compare("<", 0.0004).select(x, y)
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
    return x.compare("<", 0.0).select(e, x.const(1.0)) / (e + 1.0)


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
