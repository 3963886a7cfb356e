"""cvt: between floats, halves and integers, with every rounding."""

from __future__ import annotations

from .emitter import VALUE, Emitter
from .floats import ROUNDS, rounding
from .syntax import Instruction

INTEGRAL = {"rni", "rzi", "rmi", "rpi"}


def convert(e: Emitter, ins: Instruction) -> str:
    """cvt between all types."""
    parts = ins.parts
    to, source = parts[-2], parts[-1]
    d, *sources = ins.operands
    e.only(ins, {to, "ftz", "sat", "relu", *ROUNDS})
    if to in ("f16x2", "bf16x2") and source == "f32":
        return convert_pair(e, ins)
    if to == "tf32" and source == "f32" and "rna" in parts:
        return e.write(d, f"to_tf32({e.read(sources[0], 'f32')})")
    for kind in (to, source):
        if kind not in VALUE or kind in ("f16x2", "bf16x2", "tf32", "pred"):
            raise e.unsupported(ins, f"type '.{kind}'")
    x = e.read(sources[0], source)
    if "ftz" in parts and source == "f32":
        x = f"flush({x})"
    if "f" in to:
        return e.write(d, to_float(ins, to, source, x))
    return e.write(d, to_integer(e, ins, to, source, x))


def to_integer(e: Emitter, ins: Instruction, to: str, source: str, x: str) -> str:
    """An integer from a float, kept inside its type, or from another integer."""
    value = VALUE[to]
    if "f" not in source:
        function = "clamp_integer" if "sat" in ins.parts else "static_cast"
        return f"{function}<{value}>({x})"
    if not INTEGRAL & set(ins.parts):
        raise e.unsupported(ins, "a float to an integer without .rni, .rzi, .rmi or .rpi")
    return f"to_integer<{value}>(widen({x}), {rounding(ins)})"


def to_float(ins: Instruction, to: str, source: str, x: str) -> str:
    """A float or half from anything."""
    value, mode = VALUE[to], rounding(ins)
    half = to in ("f16", "bf16")
    if INTEGRAL & set(ins.parts):
        function = f"from_float<{value}>" if half else f"static_cast<{value}>"
        text = f"{function}(integral(widen({x}), {mode}))"
    elif half:
        text = to_half(value, source, mode, x)
    elif "f" not in source:
        text = f"from_integer<{value}>({x}, {mode})"
    elif to == "f32" and source == "f64":
        text = f"directed({x}, 0, {mode})"
    else:
        text = f"static_cast<{value}>(widen({x}))"
    if "ftz" in ins.parts and to == "f32":
        text = f"flush({text})"
    if "relu" in ins.parts:
        text = f"relu({text})"
    if "sat" in ins.parts:
        text = f"saturate{'_half' if half else ''}({text})"
    return text


def to_half(value: str, source: str, mode: str, x: str) -> str:
    """A half, rounded once."""
    if source in ("f32", "f16", "bf16") and mode == "Round::kNearest":
        return f"from_float<{value}>(widen({x}))"
    exact = f"static_cast<double>(widen({x}))"
    if "f" not in source:
        exact = f"from_integer<double>({x}, Round::kNearest)"
    return f"narrow<{value}>({exact}, 0, {mode})"


def convert_pair(e: Emitter, ins: Instruction) -> str:
    """Two floats to one register of packed halves; the first becomes the high one."""
    d, high, low = ins.operands
    half_type = VALUE[ins.parts[-2].removesuffix("x2")]
    texts = []
    for source in (high, low):
        text = to_half(half_type, "f32", rounding(ins), e.read(source, "f32"))
        texts.append(f"relu({text})" if "relu" in ins.parts else text)
    return e.write(d, f"uint32_t({texts[0]}.bits) << 16 | {texts[1]}.bits")
