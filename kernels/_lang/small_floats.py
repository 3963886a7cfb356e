"""The 4-, 6- and 8-bit floats as LLVM arithmetic: widening, and narrowing to nearest even."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from _lang.lanes import Lanes


@dataclass(frozen=True)
class Form:
    """How a small float is encoded: sign, exponent, mantissa, from the top."""

    bits: int
    mantissa: int
    bias: int
    largest: float
    nan: int | None  # its word; None: numbers only, and what is too large saturates
    infinite: bool = False

    @property
    def sign(self) -> int:
        """The sign's bit."""
        return 1 << (self.bits - 1)

    @property
    def unsigned_zero(self) -> bool:
        """Minus zero's word is NaN."""
        return self.nan == self.sign


FORMS = {
    "float8e4m3fn": Form(8, 3, 7, 448.0, 0x7F),
    "float8e4m3fnuz": Form(8, 3, 8, 240.0, 0x80),
    "float8e5m2": Form(8, 2, 15, 57344.0, 0x7F, True),
    "float8e5m2fnuz": Form(8, 2, 16, 57344.0, 0x80),
    "float6e2m3": Form(6, 3, 1, 7.5, None),
    "float6e3m2": Form(6, 2, 3, 28.0, None),
    "float4e2m1": Form(4, 1, 1, 6.0, None),
}
SCALE = "float8e8m0"  # a power of two without sign
SMALL_FLOATS = (*FORMS, SCALE)


def widen_small(b: Any, word: Any, name: str) -> Any:
    """One word to float."""
    w = Lanes(b, b.zext(word, ir.IntType(32)), "int32", 1)
    if name == SCALE:
        # 2^(w - 127); 2^-127 is below the normal numbers, 255 is NaN.
        y = (w << 23).bits("float")
        y = w.compare("==", 0).select(y.const(2.0**-127), y)
        return w.compare("==", 255).select(y.const(float("nan")), y).value
    form = FORMS[name]
    magnitude = w & (form.sign - 1)
    # The exponent lands in float's field; the multiplication corrects the bias, denormals included.
    y = (magnitude << (23 - form.mantissa)).bits("float") * (2.0 ** (127 - form.bias))
    y = (y.bits("int32") | ((w & form.sign) << (32 - form.bits))).bits("float")
    nan = y.const(float("nan"))
    if form.infinite:
        infinity = y.const(float("inf")).call("copysign", y)
        y = magnitude.compare("==", 0x7C).select(infinity, y)
        return magnitude.compare(">", 0x7C).select(nan, y).value
    if form.nan is None:
        return y.value
    is_nan = (w if form.unsigned_zero else magnitude).compare("==", form.nan)
    return is_nan.select(nan, y).value


def narrow_small(b: Any, value: Any, name: str) -> Any:
    """One float to a word. What is too large becomes infinity, else NaN, else the largest."""
    x = Lanes(b, value, "float", 1)
    byte = ir.IntType(8)
    if name == SCALE:
        return b.trunc(_narrow_scale(x).value, byte)
    form = FORMS[name]
    sign = (x.bits("int32") >> (32 - form.bits)) & form.sign
    a = x.call("fabs")
    limit = form.largest * (1.0 if form.nan is None else 2.0)
    a = a.compare(">", limit).select(a.const(limit), a)
    # Below the normal numbers, words count multiples of the least one.
    least = 2.0 ** (1 - form.bias - form.mantissa)
    small = (a * (1.0 / least)).call("rint").to("int32")
    bits = a.bits("int32")
    drop = 23 - form.mantissa
    rounded = (bits + ((bits >> drop) & 1) + ((1 << (drop - 1)) - 1)) >> drop
    normal = rounded - ((127 - form.bias) << form.mantissa)
    magnitude = a.compare("<", 2.0 ** (1 - form.bias)).select(small, normal)
    if form.nan is None:
        out = x.compare("!=", x).select(magnitude.const(0), magnitude | sign)
        return b.trunc(out.value, byte)
    if form.unsigned_zero:
        out = magnitude | magnitude.compare("==", 0).select(sign.const(0), sign)
        largest, beyond = 0x7F, out.const(form.nan)
    else:
        out = magnitude | sign
        largest, beyond = (0x7B, sign | 0x7C) if form.infinite else (0x7E, sign | form.nan)
    out = magnitude.compare(">", largest).select(beyond, out)
    return b.trunc(x.compare("!=", x).select(out.const(form.nan), out).value, byte)


def _narrow_scale(x: Lanes) -> Lanes:
    """The nearest power of two of |x|, ties upwards; infinity and NaN are NaN."""
    bits = x.bits("int32")
    exponent = (bits >> 23) & 255
    rest = bits & 0x7FFFFF
    up = rest.compare(">", 0x400000)
    tie = rest.compare("==", 0x400000) & exponent.compare(">", 0)
    out = (up | tie).select(exponent + 1, exponent)
    out = out.compare(">", 254).select(out.const(254), out)
    return exponent.compare("==", 255).select(out.const(255), out)
