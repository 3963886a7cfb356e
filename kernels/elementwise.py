"""Elementwise operators over SIMD values: one line each; tiles for every dtype come from it."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils

from _lang import tile
from _lang.lanes import Lanes
from _lang.small_floats import FORMS, SCALE

REAL = "float double"
SIGNED = "int8 int16 int32 int64"
UNSIGNED = "uint8 uint16 uint32 uint64"
WHOLE = f"{SIGNED} {UNSIGNED}"
NUMBER = f"{REAL} {WHOLE}"
ANY = f"{NUMBER} bool"

PI = 3.141592653589793
SQRT_HALF = 0.7071067811865476
SQRT_2_OVER_PI = 0.7978845608028654


def _negative(x: Any, below: Any, otherwise: Any) -> Any:
    """`below` where x < 0, else `otherwise` (also for NaN)."""
    return x.compare("<", 0).select(below, otherwise)


def _softplus(v: Any, x: Any) -> Any:
    """log(1 + e^x) without overflow."""
    tail = v.exp(-v.abs(x))
    return v.max(x, x.const(0)) + (v.log1p(tail) if x.element == "double" else v.log(tail + 1.0))


def _mish(v: Any, x: Any) -> Any:
    """x tanh(log(1 + e)) = x (e² + 2e) / (e² + 2e + 2), e = e^x; from 20 on the quotient is 1."""
    e = v.exp(v.min(x, x.const(20.0)))
    n = e * (e + 2.0)
    return x * (n / (n + 2.0))


def _even_polynomial(v: Any, z: Any, *coefficients: float) -> Any:
    """The highest power first."""
    y = z.const(coefficients[0])
    for c in coefficients[1:]:
        y = v.fma(y, z, z.const(c))
    return y


def _atan(v: Any, x: Any) -> Any:
    """atan t = π/2 - atan 1/t = π/4 + atan (t - 1)/(t + 1), which leaves |t| < tan π/8."""
    if x.element == "double":
        return v.atan(x)
    t = v.abs(x)
    large, middle = t.compare(">", 2.414213562373095), t.compare(">", 0.41421356237309503)
    start = large.select(x.const(PI / 2), middle.select(x.const(PI / 4), x.const(0)))
    top = large.select(x.const(-1), middle.select(t - 1.0, t))
    z = top / large.select(t, middle.select(t + 1.0, x.const(1)))
    zz = z * z
    tail = _even_polynomial(
        v, zz, 8.05374449538e-2, -1.38776856032e-1, 1.99777106478e-1, -3.33329491539e-1
    )
    y = start + v.fma(tail * zz, z, z)
    return t.compare("<", 1e-4).select(x, _negative(x, -y, y))


def _asin_of(v: Any, a: Any, z: Any) -> Any:
    """asin a for 0 <= a <= 1/2, z = a²."""
    tail = _even_polynomial(
        v, z, 4.2163199048e-2, 2.4181311049e-2, 4.5470025998e-2, 7.4953002686e-2, 1.6666752422e-1
    )
    return v.fma(tail * z, a, a)


def _asin(v: Any, x: Any) -> Any:
    """asin a = π/2 - 2 asin √((1 - a)/2)."""
    if x.element == "double":
        return v.asin(x)
    a = v.abs(x)
    large, half = a.compare(">", 0.5), (1.0 - a) * 0.5
    z = large.select(half, a * a)
    y = _asin_of(v, large.select(v.sqrt(half), a), z)
    y = large.select(x.const(PI / 2) - (y + y), y)
    return a.compare("<", 1e-4).select(x, _negative(x, -y, y))


def _acos(v: Any, x: Any) -> Any:
    """acos x = 2 asin √((1 - x)/2), or π less that of -x; near 0, π/2 - asin x."""
    if x.element == "double":
        return v.acos(x)
    a = v.abs(x)
    large, half = a.compare(">", 0.5), (1.0 - a) * 0.5
    y = _asin_of(v, large.select(v.sqrt(half), a), large.select(half, a * a))
    far = _negative(x, x.const(PI) - (y + y), y + y)
    return large.select(far, x.const(PI / 2) - _negative(x, -y, y))


# π/2 as the sum of two doubles.
HALF_TURN, HALF_TURN_REST = 1.5707963267948966, 6.123233995736766e-17
FAR = 1e9  # up to which they are enough


def _wave(v: Any, x: Any, name: str) -> Any:
    """sin or cos: the distance to the nearest multiple of π/2, in double, into polynomials."""
    if x.element == "double":
        return getattr(v, name)(x)
    wide = x.to("double")
    n = (wide * (1 / HALF_TURN)).call("rint")
    rest = n.call("fma", wide.const(-HALF_TURN), wide)
    rest = n.call("fma", wide.const(-HALF_TURN_REST), rest)
    quarter = (n - (n * 0.25).call("floor") * 4.0).to("float")
    if name == "cos":
        quarter = quarter.compare(">", 2.5).select(quarter - 3.0, quarter + 1.0)
    r = rest.to("float")
    z = r * r
    sine = v.fma(
        _even_polynomial(v, z, -1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1) * z, r, r
    )
    cosine = _even_polynomial(
        v, z, 2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2
    )
    cosine = v.fma(cosine * z, z, 1.0 - z * 0.5)
    odd = v.abs(quarter - 2.0).compare("==", 1.0)
    y = odd.select(cosine, sine)
    y = quarter.compare(">", 1.5).select(-y, y)
    if name == "sin":
        y = x.compare("==", 0.0).select(x, y)
    return _but_far(v, x, y, name)


def _but_far(v: Any, x: Any, y: Any, name: str) -> Any:
    """y, and libm's own where x is far from 0."""
    b, far = x.b, v.abs(x).compare(">", FAR)
    some = far.value
    if x.lanes > 1:
        some = b.icmp_unsigned("!=", b.bitcast(some, ir.IntType(x.lanes)), ir.IntType(x.lanes)(0))
    slot = cgutils.alloca_once_value(b, y.value)
    with b.if_then(some, likely=False):
        b.store(far.select(getattr(v, name)(x), y).value, slot)
    return y.like(b.load(slot))


def _erf(v: Any, x: Any) -> Any:
    """Within [-1, 1], which the quotient of polynomials leaves by one rounding."""
    y = v.erf(x)
    if x.element == "double":
        return y
    y = y.compare(">", 1).select(y.const(1), y)
    return y.compare("<", -1).select(y.const(-1), y)


def _gelu(v: Any, x: Any) -> Any:
    return x * 0.5 * (_erf(v, x * SQRT_HALF) + 1.0)


def _gelu_tanh(v: Any, x: Any) -> Any:
    """0.5 (1 + tanh t) is the sigmoid of 2t."""
    t = x * (SQRT_2_OVER_PI * 2.0) * v.fma(x * x, x.const(0.044715), x.const(1.0))
    return x * v.sigmoid(t)


def _sign(x: Any) -> Any:
    one, zero = x.const(1), x.const(0)
    positive = x.compare(">", 0).select(one, zero)
    signed = x.compare("<", 0).select(x.const(-1), positive) if x.is_signed else positive
    return x.compare("!=", x).select(x, signed) if x.is_float else signed


def _divide(x: Any, y: Any) -> Any:
    """Quotient towards zero. Whole numbers over zero are zero; the least over -1 wraps."""
    if x.is_float:
        return x / y
    by_zero = y.compare("==", 0)
    if not x.is_signed:
        return by_zero.select(x.const(0), x / by_zero.select(y.const(1), y))
    minus = y.compare("==", -1)
    safe = by_zero.select(y.const(1), minus.select(y.const(1), y))
    return by_zero.select(x.const(0), minus.select(-x, x / safe))


def _modulo(v: Any, x: Any, y: Any, fmod: Any) -> Any:
    """fmod: the sign of x, as in C; else the sign of y, as in Python."""
    rest = v.fmod(x, y) if x.is_float else x - _divide(x, y) * y
    if not x.is_signed:
        return rest
    differ = rest.compare("<", 0) ^ y.compare("<", 0)
    other = differ & rest.compare("!=", 0) & fmod.compare("==", 0)
    return other.select(rest + y, rest)


def _shift(x: Any, y: Any, direction: Any) -> Any:
    """Bits beyond the width are gone: zero, or the sign for a negative number to the right."""
    bits = int(x.element.lstrip("uint"))
    inside = y.compare("<", bits) & y.compare(">=", 0) if x.is_signed else y.compare("<", bits)
    by = inside.select(y, y.const(0))
    gone = x.compare("<", 0).select(x.const(-1), x.const(0)) if x.is_signed else x.const(0)
    left = inside.select(x << by, x.const(0))
    return direction.compare("==", 0).select(left, inside.select(x >> by, gone))


def _power(v: Any, x: Any, y: Any) -> Any:
    """Whole powers go through double and are cut off."""
    if x.is_float:
        return v.pow(x, y.to(x.element))
    return v.pow(x.to("double"), y.to("double")).to("int64").to(x.element)


def _shrink(x: Any, bias: Any, lambd: Any) -> Any:
    above = x.compare(">", lambd).select(x - bias, x.const(0))
    if not x.is_float and not x.is_signed:
        return above
    return x.compare("<", -lambd).select(x + bias, above)


def _selu(v: Any, x: Any, alpha: Any, gamma: Any) -> Any:
    return gamma * x.compare("<=", 0).select(alpha * (v.exp(x) - 1.0), x)


def _celu(v: Any, x: Any, alpha: Any) -> Any:
    return _negative(x, alpha * (v.exp(x / alpha) - 1.0), x)


def _is_infinite(x: Any, negative: Any, positive: Any) -> Any:
    up = x.compare("==", float("inf")) & positive.compare("!=", 0)
    return up | (x.compare("==", float("-inf")) & negative.compare("!=", 0))


def _clip(v: Any, x: Any, low: Any, high: Any) -> Any:
    return v.min(v.max(x, low), high)


def _hard_sigmoid(v: Any, x: Any, alpha: Any, beta: Any) -> Any:
    return v.max(v.min(v.fma(x, alpha, beta), x.const(1)), x.const(0))


def _hard_swish(v: Any, x: Any) -> Any:
    return x * v.max(v.min(v.fma(x, x.const(1 / 6), x.const(0.5)), x.const(1)), x.const(0))


def _named(name: str) -> Any:
    """The function of that name in the vector family."""
    return lambda v, x: getattr(v, name)(x)


def _comparison(sign: str) -> Any:
    return lambda v, x, y: x.compare(sign, y)


# Functions of one real number.
tile("Acos", REAL, _acos)
tile("Asin", REAL, _asin)
tile("Atan", REAL, _atan)
tile("Sin", REAL, lambda v, x: _wave(v, x, "sin"))
tile("Cos", REAL, lambda v, x: _wave(v, x, "cos"))
for _name in "acosh asinh atanh cosh sinh tan".split():
    tile(_name.capitalize(), REAL, _named(_name))
tile("Erf", REAL, _erf)
for _name in "ceil exp floor log sigmoid sqrt tanh".split():
    tile(_name.capitalize(), REAL, _named(_name))
tile("Round", REAL, lambda v, x: v.rint(x))
tile("Reciprocal", REAL, lambda v, x: 1.0 / x)
tile("Softplus", REAL, _softplus)
tile("Softsign", REAL, lambda v, x: x / (v.abs(x) + 1.0))
tile("Mish", REAL, _mish)
tile("Gelu", REAL, _gelu)
tile("GeluTanh", REAL, _gelu_tanh, domain="tiercel")
tile("HardSwish", REAL, _hard_swish)
tile("HardSigmoid", REAL, _hard_sigmoid, attributes=("alpha", "beta"))
tile(
    *("Elu", REAL, lambda v, x, a: _negative(x, a * (v.exp(x) - 1.0), x)),
    attributes=("alpha",),
)
tile("Celu", REAL, _celu, attributes=("alpha",))
tile("Selu", REAL, _selu, attributes=("alpha", "gamma"))
tile("LeakyRelu", REAL, lambda v, x, a: _negative(x, x * a, x), attributes=("alpha",))
tile(
    *("ThresholdedRelu", REAL, lambda v, x, a: x.compare(">", a).select(x, x.const(0))),
    attributes=("alpha",),
)
tile("Swish", REAL, lambda v, x, a: x * v.sigmoid(x * a), attributes=("alpha",))
tile("SwiGLU", REAL, lambda v, x, y, a: x * v.sigmoid(x * a) * y, attributes=("alpha",))
tile("IsNaN", REAL, lambda v, x: x.compare("!=", x), result="bool")
tile(
    *("IsInf", REAL, lambda v, x, n, p: _is_infinite(x, n, p)),
    attributes=("detect_negative", "detect_positive"),
    result="bool",
)

# Functions of one number of any type.
tile("Abs", NUMBER, lambda v, x: v.abs(x))
tile("Neg", f"{REAL} {SIGNED}", lambda v, x: -x)
tile("Sign", NUMBER, lambda v, x: _sign(x))
tile("Relu", f"{REAL} {SIGNED}", lambda v, x: v.max(x, x.const(0)))
tile("Shrink", NUMBER, lambda v, x, b, d: _shrink(x, b, d), attributes=("bias", "lambd"))
tile("BitwiseNot", WHOLE, lambda v, x: ~x)
tile("Not", "bool", lambda v, x: x ^ 1)

# Two numbers.
tile("Add", NUMBER, lambda v, x, y: x + y)
tile("Sub", NUMBER, lambda v, x, y: x - y)
tile("Mul", NUMBER, lambda v, x, y: x * y)
tile("Div", NUMBER, lambda v, x, y: _divide(x, y))
tile("Max", NUMBER, lambda v, x, y: v.max(x, y))
tile("Min", NUMBER, lambda v, x, y: v.min(x, y))
tile("Mod", NUMBER, _modulo, attributes=("fmod",))
tile("PRelu", f"{REAL} int32 int64 uint32 uint64", lambda v, x, s: _negative(x, x * s, x))
tile(
    *("BitShift", WHOLE, lambda v, x, y, d: _shift(x, y, d)),
    attributes=("direction:LEFT|RIGHT",),
)
for _name, _build in (
    ("BitwiseAnd", lambda v, x, y: x & y),
    ("BitwiseOr", lambda v, x, y: x | y),
    ("BitwiseXor", lambda v, x, y: x ^ y),
):
    tile(_name, WHOLE, _build)
    tile(_name.removeprefix("Bitwise"), "bool", _build)
for _base in ("float", "double", "int32", "int64"):
    for _exponent in ("float", "double", *WHOLE.split()):
        tile("Pow", f"{_base},{_exponent}->{_base}", _power)
for _name, _sign_text, _types in (
    *(("Equal", "==", ANY), ("Less", "<", NUMBER), ("LessOrEqual", "<=", NUMBER)),
    *(("Greater", ">", NUMBER), ("GreaterOrEqual", ">=", NUMBER)),
):
    tile(_name, _types, _comparison(_sign_text), result="bool")

# Three operands.
tile("Clip", NUMBER, _clip)
for _name in ANY.split():
    tile(
        *("Where", f"bool,{_name},{_name}->{_name}"),
        lambda v, c, x, y: c.compare("!=", 0).select(x, y),
    )


def _to_odd(x: Any) -> Any:
    """double to float so that rounding the float again is rounding the double once: an inexact
    result is cut off and its last bit set.
    """
    near = x.to("float")
    back, bits = near.to("double"), near.bits("int32")
    above = back.call("fabs").compare(">", x.call("fabs"))
    cut = above.select(bits - 1, bits) | 1
    inexact = back.compare("!=", x) & x.compare("==", x)
    return inexact.select(cut, bits).bits("float")


def _to_int32(x: Any) -> Any:
    """float to int32, saturating, NaN to 0: LLVM's own saturating conversion is no vector."""
    low, high = -2147483648.0, 2147483520.0  # what float has inside the range
    inside = x.compare("<", high).select(x, x.const(high))
    inside = inside.compare(">", low).select(inside, x.const(low))
    kind = ir.VectorType(ir.IntType(32), x.lanes) if x.lanes > 1 else ir.IntType(32)
    y = Lanes(x.b, x.b.fptosi(inside.value, kind), "int32", x.lanes)
    y = x.compare(">", high).select(y.const(2147483647), y)
    return x.compare("!=", x).select(y.const(0), y)


def _cast(target: str) -> Any:
    """Between types: fractions are cut off, integers wrap, and what is not zero is true."""

    def build(v: Any, x: Any) -> Any:
        if x.element == "bool":
            x = x.to("uint8")
        if target == "bool":
            return x.compare("!=", 0)
        if target in ("float16", "bfloat16"):
            return _to_odd(x) if x.element == "double" else x.to("float")
        if x.is_float and target in ("int8", "int16", "uint8", "uint16"):
            return (_to_int32(x) if x.element == "float" else x.to("int32")).to(target)
        if x.element == "float" and target == "int32":
            return _to_int32(x)
        if x.is_float and target == "uint32":
            return x.to("int64").to(target)
        return x.to(target)

    return build


def _cast_float8(largest: float) -> Any:
    """Beyond the largest value: that value; or, not saturated, what the type has for overflow."""

    def build(v: Any, x: Any, saturate: Any) -> Any:
        x = _to_odd(x) if x.element == "double" else x
        inside = v.min(v.max(x, x.const(-largest)), x.const(largest))
        return saturate.compare("!=", 0).select(inside, x)

    return build


def _cast_scale(v: Any, x: Any, saturate: Any, mode: Any) -> Any:
    """The power of two that is next to |x|: above, below or nearest, as the mode says."""
    x = _to_odd(x) if x.element == "double" else x
    bits = x.bits("int32") & 0x7FFFFFFF
    exponent, rest = bits >> 23, bits & 0x7FFFFF
    tie = rest.compare("==", 0x400000) & exponent.compare(">", 0)
    nearest = (rest.compare(">", 0x400000) | tie) & mode.compare("==", 2)
    up = (rest.compare("!=", 0) & mode.compare("==", 0)) | nearest
    stays = exponent.compare("==", 254) & saturate.compare("!=", 0)
    made = up.select(stays.select(exponent, exponent + 1), exponent)
    made = exponent.compare("==", 255).select(exponent, made)
    return (made << 23).bits("float")


_CASTS = [*NUMBER.split(), "bool", "float16", "bfloat16"]
for _from in _CASTS:
    for _to in _CASTS:
        if _from != _to:
            tile("Cast", f"{_from}->{_to}", _cast(_to))
# Small and packed types go by way of their compute type; programs chain the two steps.
for _name, _form in FORMS.items():
    tile("Cast", f"{_name}->float", lambda v, x: x)
    if _form.nan is None:
        tile("Cast", f"float->{_name}", lambda v, x: x)
        tile("Cast", f"double->{_name}", lambda v, x: _to_odd(x))
    else:
        for _from in REAL.split():
            _build = _cast_float8(_form.largest)
            tile("Cast", f"{_from}->{_name}", _build, attributes=("saturate",))
tile("Cast", f"{SCALE}->float", lambda v, x: x)
for _from in REAL.split():
    tile(
        *("Cast", f"{_from}->{SCALE}", _cast_scale),
        attributes=("saturate", "round_mode:up|down|nearest"),
    )
for _bits in (2, 4):
    for _kind in ("int", "uint"):
        tile("Cast", f"{_kind}8->{_kind}{_bits}", lambda v, x: x)
        tile("Cast", f"{_kind}{_bits}->{_kind}8", lambda v, x: x)
