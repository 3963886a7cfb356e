"""The 8-bit floats as LLVM arithmetic: widening, and narrowing to nearest even."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from _lang.lanes import Lanes

# mantissa bits, exponent bias, largest finite value, word of NaN, whether an infinity exists
FORMS = {
    "float8e4m3fn": (3, 7, 448.0, 0x7F, False),
    "float8e4m3fnuz": (3, 8, 240.0, 0x80, False),
    "float8e5m2": (2, 15, 57344.0, 0x7F, True),
    "float8e5m2fnuz": (2, 16, 57344.0, 0x80, False),
}


def widen_float8(b: Any, word: Any, name: str) -> Any:
    """One word to float."""
    w = Lanes(b, b.zext(word, ir.IntType(32)), "int32", 1)
    if name == "float8e8m0":
        # 2^(w - 127); 2^-127 is below the normal numbers, 255 is NaN.
        y = (w << 23).bits("float")
        y = w.compare("==", 0).select(y.const(2.0**-127), y)
        return w.compare("==", 255).select(y.const(float("nan")), y).value
    mantissa, bias, _, nan, infinite = FORMS[name]
    magnitude = w & 0x7F
    # The exponent lands in float's field; the multiplication corrects the bias, denormals included.
    y = (magnitude << (23 - mantissa)).bits("float") * (2.0 ** (127 - bias))
    y = (y.bits("int32") | ((w & 0x80) << 24)).bits("float")
    if infinite:
        infinity = y.const(float("inf")).call("copysign", y)
        y = magnitude.compare("==", 0x7C).select(infinity, y)
        return magnitude.compare(">", 0x7C).select(y.const(float("nan")), y).value
    is_nan = w.compare("==", nan) if nan == 0x80 else magnitude.compare("==", nan)
    return is_nan.select(y.const(float("nan")), y).value


def narrow_float8(b: Any, value: Any, name: str) -> Any:
    """One float to a word; what is too large becomes the largest finite value."""
    x = Lanes(b, value, "float", 1)
    byte = ir.IntType(8)
    if name == "float8e8m0":
        bits = x.bits("int32")
        exponent = (bits >> 23) & 255
        rest = bits & 0x7FFFFF
        up = rest.compare(">", 0x400000)
        tie = rest.compare("==", 0x400000) & exponent.compare(">", 0)
        out = (up | tie).select(exponent + 1, exponent)
        out = out.compare(">", 254).select(out.const(254), out)
        return b.trunc(x.compare("!=", x).select(out.const(255), out).value, byte)
    mantissa, bias, largest, nan, _ = FORMS[name]
    sign = (x.bits("int32") >> 24) & 0x80
    a = x.call("fabs")
    a = a.compare(">", largest).select(a.const(largest), a)
    # Below the normal numbers, words count multiples of the least one.
    least = 2.0 ** (1 - bias - mantissa)
    small = (a * (1.0 / least)).call("rint").to("int32")
    bits = a.bits("int32")
    drop = 23 - mantissa
    rounded = (bits + ((bits >> drop) & 1) + ((1 << (drop - 1)) - 1)) >> drop
    normal = rounded - ((127 - bias) << mantissa)
    out = a.compare("<", 2.0 ** (1 - bias)).select(small, normal)
    if nan == 0x80:
        # One zero only: minus zero would be NaN.
        out = out | out.compare("==", 0).select(sign.const(0), sign)
    else:
        out = out | sign
    return b.trunc(x.compare("!=", x).select(out.const(nan), out).value, byte)
