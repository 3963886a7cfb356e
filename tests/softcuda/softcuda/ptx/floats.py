"""Floats of every width: arithmetic, roundings, approximations."""

from __future__ import annotations

from .emitter import VALUE, Emitter
from .syntax import Instruction

ROUNDS = {"rn": "kNearest", "rz": "kZero", "rm": "kDown", "rp": "kUp", "rna": "kAway"}
ROUNDS |= {"rni": "kNearest", "rzi": "kZero", "rmi": "kDown", "rpi": "kUp"}
UNARY = {
    "sqrt": "std::sqrt({})",
    "rcp": "1 / {}",
    "rsqrt": "1 / std::sqrt({})",
    "sin": "std::sin({})",
    "cos": "std::cos({})",
    "ex2": "std::exp2({})",
    "lg2": "std::log2({})",
    "tanh": "std::tanh({})",
    "neg": "-{}",
    "abs": "std::abs({})",
}
DIRECTED = {"add", "sub", "mul", "fma", "mad", "div", "rcp", "sqrt"}
KNOWN = {"ftz", "sat", "approx", "full", "rn", "rz", "rm", "rp", "NaN", "noftz"}


def rounding(ins: Instruction) -> str:
    """The rounding that the instruction names; nearest otherwise."""
    name = next((part for part in ins.parts if part in ROUNDS), "rn")
    return f"Round::{ROUNDS[name]}"


def arithmetic(e: Emitter, ins: Instruction) -> str:
    """All float instructions of f32 and f64."""
    kind = ins.type
    e.only(ins, KNOWN)
    d, *sources = ins.operands
    ftz = "ftz" in ins.parts and kind == "f32"
    r = [f"flush({e.read(s, kind)})" if ftz else e.read(s, kind) for s in sources]
    text = expression(e, ins, r)
    text = f"static_cast<{VALUE[kind]}>({text})"
    if ftz:
        text = f"flush({text})"
    if "sat" in ins.parts:
        text = f"saturate({text})"
    return e.write(d, text)


def expression(e: Emitter, ins: Instruction, r: list[str]) -> str:
    """The operation itself, over operands that are already C++."""
    name, kind, mode = ins.name, ins.type, rounding(ins)
    directed = mode != "Round::kNearest"
    if directed and (
        kind != "f32" or name not in ("add", "sub", "mul", "fma", "mad", "div", "rcp", "sqrt")
    ):
        raise e.unsupported(ins, "a rounding other than to nearest")
    if name in UNARY:
        if directed:
            return (
                f"div_directed(1, {r[0]}, {mode})"
                if name == "rcp"
                else f"sqrt_directed({r[0]}, {mode})"
            )
        return UNARY[name].format(r[0])
    if name in ("min", "max"):
        nan = "true" if "NaN" in ins.parts else "false"
        return f"{name}imum({r[0]}, {r[1]}, {nan})"
    if name == "copysign":
        return f"std::copysign({r[1]}, {r[0]})"
    if directed:
        if name in ("add", "sub"):
            return f"add_directed({r[0]}, {'-' if name == 'sub' else ''}{r[1]}, {mode})"
        if name == "div":
            return f"div_directed({r[0]}, {r[1]}, {mode})"
        return f"fma_directed({r[0]}, {r[1]}, {r[2] if len(r) > 2 else '-0.0f'}, {mode})"
    if name in ("fma", "mad"):
        return f"std::fma({r[0]}, {r[1]}, {r[2]})"
    return f"{r[0]} {dict(add='+', sub='-', mul='*', div='/')[name]} {r[1]}"


HALF = {
    "add": "add({}, {})",
    "sub": "sub({}, {})",
    "mul": "mul({}, {})",
    "fma": "fma_half({}, {}, {})",
    "neg": "negate({})",
    "abs": "absolute({})",
    "min": "min_half({}, {}, nan)",
    "max": "max_half({}, {}, nan)",
    "ex2": "from_float<H>(std::exp2(widen({})))",
    "tanh": "from_float<H>(std::tanh(widen({})))",
}


def half(e: Emitter, ins: Instruction) -> str:
    """f16 and bf16, single and packed."""
    e.only(ins, {"rn", "ftz", "sat", "relu", "NaN", "approx"})
    if ins.name not in HALF:
        raise e.unsupported(ins)
    kind = ins.type
    single = VALUE[kind.removesuffix("x2")]
    names = ["x", "y", "z"][: len(ins.operands) - 1]
    text = HALF[ins.name].format(*names)
    text = text.replace("nan", "true" if "NaN" in ins.parts else "false").replace(
        "<H>", f"<{single}>"
    )
    if "sat" in ins.parts:
        text = f"saturate_half({text})"
    if "relu" in ins.parts:
        text = f"relu({text})"
    arguments = ", ".join(f"{single} {name}" for name in names)
    function = f"[]({arguments}) {{ return {text}; }}"
    values = ", ".join(e.read(s, kind) for s in ins.operands[1:])
    call = (
        f"packed<{single}>({function}, {values})"
        if kind.endswith("x2")
        else f"({function})({values})"
    )
    return e.write(ins.operands[0], call)


def test_property(e: Emitter, ins: Instruction) -> str:
    """testp."""
    tests = {"finite": "std::isfinite", "infinite": "std::isinf", "notanumber": "std::isnan"}
    tests |= {"number": "!std::isnan", "normal": "std::isnormal"}
    d, a = ins.operands
    value = e.read(a, ins.type)
    if ins.parts[1] == "subnormal":
        return e.write(d, f"std::fpclassify({value}) == FP_SUBNORMAL")
    if ins.parts[1] not in tests:
        raise e.unsupported(ins)
    return e.write(d, f"{tests[ins.parts[1]]}({value})")
