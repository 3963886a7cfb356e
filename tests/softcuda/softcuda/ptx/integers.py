"""Integers, bits, comparisons and choices."""

from __future__ import annotations

from .emitter import BITS, VALUE, Emitter
from .syntax import Instruction, Pair

FLOATS = {"f16", "bf16", "f32", "f64"}
COMPARE = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
COMPARE |= {"lo": "<", "ls": "<=", "hi": ">", "hs": ">="}
COMBINE = {"and": "&", "or": "|", "xor": "^"}
WIDER = {"u16": "u32", "s16": "s32", "u32": "u64", "s32": "s64"}


def simple(e: Emitter, ins: Instruction) -> str:
    """add, sub, and, or, xor, not, neg, abs, min, max, div, rem of integers."""
    kind, name = ins.type, ins.name
    e.only(ins, {"sat"} if name in ("add", "sub") else {"relu"} if name in ("min", "max") else ())
    d, a, *rest = ins.operands
    unsigned = "u" + kind[1:] if kind[0] in "su" else kind
    value = VALUE[kind]
    x = e.read(a, kind)
    if "sat" in ins.parts:
        both = f"int64_t({x}) {'+' if name == 'add' else '-'} int64_t({e.read(rest[0], kind)})"
        return e.write(d, f"clamp_integer<{value}>({both})")
    if name == "not":
        return e.write(d, f"!{x}" if kind == "pred" else f"static_cast<{value}>(~{x})")
    if name == "neg":
        return e.write(d, f"static_cast<{value}>(0 - {e.read(a, unsigned)})")
    if name == "abs":
        minus = f"static_cast<{value}>(0 - {e.read(a, unsigned)})"
        return e.write(d, f"{x} < 0 ? {minus} : {x}")
    y = e.read(rest[0], kind)
    if name in ("add", "sub"):
        sign = "+" if name == "add" else "-"
        both = f"{e.read(a, unsigned)} {sign} {e.read(rest[0], unsigned)}"
        return e.write(d, f"static_cast<{value}>({both})")
    if name in COMBINE:
        return e.write(d, f"static_cast<{value}>({x} {COMBINE[name]} {y})")
    if name in ("div", "rem"):
        function = "divide" if name == "div" else "remainder_of"
        return e.write(d, f"{function}<{value}>({x}, {y})")
    if "relu" in ins.parts:
        y = f"std::max<{value}>({y}, 0)" if name == "max" else y
        return e.write(d, f"std::max<{value}>(std::{name}<{value}>({x}, {y}), 0)")
    return e.write(d, f"std::{name}<{value}>({x}, {y})")


def multiply(e: Emitter, ins: Instruction) -> str:
    """mul and mad: low, high or all of the product; mul24 and mad24."""
    e.only(ins, {"lo", "hi", "wide"})
    kind = ins.type
    d, a, b, *c = ins.operands
    value, unsigned = VALUE[kind], "u" + kind[1:]
    if "wide" in ins.parts:
        wide = VALUE[WIDER[kind]]
        text = f"static_cast<{wide}>({e.read(a, kind)}) * static_cast<{wide}>({e.read(b, kind)})"
        if c:
            added = "u" + WIDER[kind][1:]
            text = f"static_cast<{VALUE[added]}>({text}) + {e.read(c[0], added)}"
        return e.write(d, f"static_cast<{wide}>({text})")
    if ins.name.endswith("24"):
        if "hi" in ins.parts:
            raise e.unsupported(ins)
        shift = f"static_cast<{value}>({{}} << 8) >> 8"
        x, y = (shift.format(e.read(o, unsigned)) for o in (a, b))
        text = f"static_cast<uint32_t>({x}) * static_cast<uint32_t>({y})"
    elif "hi" in ins.parts:
        high = f"multiply_high<{value}>({e.read(a, kind)}, {e.read(b, kind)})"
        text = f"static_cast<{VALUE[unsigned]}>({high})"
    else:
        factor = "uint32_t" if BITS[kind] < 32 else VALUE[unsigned]
        text = f"{factor}({e.read(a, unsigned)}) * {e.read(b, unsigned)}"
    if c:
        text += f" + {e.read(c[0], unsigned)}"
    return e.write(d, f"static_cast<{value}>({text})")


def with_carry(e: Emitter, ins: Instruction) -> str:
    """add, sub and mad that take the carry of the instruction before (addc …), leave one (.cc), or
    both.
    """
    e.only(ins, {"lo", "hi", "cc"})
    kind, name = ins.type, ins.name.removesuffix("c")
    bits = BITS[kind]
    if name not in ("add", "sub", "mad") or bits not in (32, 64):
        raise e.unsupported(ins)
    value, wide = f"uint{bits}_t", "uint64_t" if bits == 32 else "Wide"
    d, *operands = ins.operands
    *factors, last = (e.read(o, kind if "hi" in ins.parts else f"u{bits}") for o in operands)
    first = " * ".join(factors)
    if "hi" in ins.parts:
        first = f"multiply_high<{VALUE[kind]}>({', '.join(factors)})"
    sign = "-" if name == "sub" else "+"
    text = "using Wide = unsigned __int128; " if bits == 64 else ""
    text += f"{wide} sum = {wide}({value}({first})) {sign} {value}({last})"
    if ins.name.endswith("c"):
        text += f" {sign} carry"
    left = f" carry = uint32_t(sum >> {bits}) & 1;" if "cc" in ins.parts else ""
    return f"{text}; {e.write(d, f'static_cast<{VALUE[kind]}>(sum)')}{left}"


def shift(e: Emitter, ins: Instruction) -> str:
    """shl and shr."""
    e.only(ins, ())
    kind = ins.type
    d, a, by = ins.operands
    direction = "left" if ins.name == "shl" else "right"
    return e.write(d, f"shift_{direction}<{VALUE[kind]}>({e.read(a, kind)}, {e.read(by, 'u32')})")


def bits(e: Emitter, ins: Instruction) -> str:
    """prmt, lop3, shf, bfi, bfe, popc, clz, brev, bfind, sad, dp4a, dp2a."""
    kind, name = ins.type, ins.name
    d, *sources = ins.operands
    value = VALUE[kind]
    r = [e.read(s, kind if i == 0 else "u32") for i, s in enumerate(sources)]
    if name in ("bfe", "brev", "popc", "clz", "bfi", "prmt", "lop3"):
        e.only(ins, ())
    if name == "prmt":
        return e.write(d, f"permute({r[0]}, {r[1]}, {r[2]})")
    if name == "lop3":
        return e.write(d, f"logic3({r[0]}, {r[1]}, {r[2]}, {r[3]})")
    if name == "shf":
        e.only(ins, {"l", "r", "wrap", "clamp"})
        left, clamp = ("true" if part in ins.parts else "false" for part in ("l", "clamp"))
        return e.write(d, f"funnel({r[0]}, {r[1]}, {r[2]}, {left}, {clamp})")
    if name == "bfi":
        into = e.read(sources[1], kind)
        return e.write(d, f"field_insert<{value}>({r[0]}, {into}, {r[2]}, {r[3]})")
    if name == "bfe":
        return e.write(d, f"field_extract<{value}>({r[0]}, {r[1]}, {r[2]})")
    if name == "popc":
        return e.write(d, f"static_cast<uint32_t>(std::popcount({r[0]}))")
    if name == "clz":
        return e.write(d, f"static_cast<uint32_t>(std::countl_zero({r[0]}))")
    if name == "brev":
        return e.write(d, f"reverse_bits({r[0]})")
    if name == "bfind":
        e.only(ins, {"shiftamt"})
        shifted = "true" if "shiftamt" in ins.parts else "false"
        return e.write(d, f"find_leading<{value}>({r[0]}, {shifted})")
    if name == "sad":
        e.only(ins, ())
        x, y, z = (e.read(s, kind) for s in sources)
        difference = f"({x} < {y} ? {y} - {x} : {x} - {y})"
        return e.write(d, f"static_cast<{value}>({z} + {difference})")
    return dot(e, ins)


def dot(e: Emitter, ins: Instruction) -> str:
    """dp4a: four products of bytes, added up."""
    if ins.name != "dp4a":
        raise e.unsupported(ins)
    d, *sources = ins.operands
    first, second = ("int8_t" if part == "s32" else "uint8_t" for part in ins.parts[1:3])
    x, y, z = (e.read(s, "b32") for s in sources)
    return e.write(d, f"dot_bytes<{first}, {second}>({x}, {y}, {z})")


def compare(kind: str, relation: str, x: str, y: str) -> str | None:
    """A comparison as C++; None where the relation is unknown."""
    if kind in FLOATS:
        x, y = f"widen({x})", f"widen({y})"
        unordered = f"(std::isnan({x}) || std::isnan({y}))"
        if relation == "nan":
            return unordered
        if relation == "num":
            return f"!{unordered}"
        if relation in ("equ", "neu", "ltu", "leu", "gtu", "geu"):
            return f"({x} {COMPARE[relation[:2]]} {y} || {unordered})"
        if relation == "ne":
            return f"({x} != {y} && !{unordered})"
    return f"({x} {COMPARE[relation]} {y})" if relation in COMPARE else None


def combined(e: Emitter, ins: Instruction, text: str) -> tuple[str, str]:
    """A comparison and its opposite, each combined with a third operand where there is one."""
    join = next((part for part in ins.parts[2:] if part in COMBINE), None)
    if join is None:
        return text, f"!{text}"
    other = e.read(ins.operands[3], "pred")
    return f"bool({text} {COMBINE[join]} {other})", f"bool(!{text} {COMBINE[join]} {other})"


def set_predicate(e: Emitter, ins: Instruction) -> str:
    """setp."""
    relation, kind = ins.parts[1], ins.type
    d, a, b, *_ = ins.operands
    if kind in ("f16x2", "bf16x2"):
        return packed_predicates(e, ins)
    e.only(ins, {relation, "ftz", *COMBINE})
    text = compare(kind, relation, e.read(a, kind), e.read(b, kind))
    if text is None:
        raise e.unsupported(ins, f"relation '.{relation}'")
    if "ftz" in ins.parts and kind == "f32":
        x, y = (f"flush({e.read(o, kind)})" for o in (a, b))
        text = compare(kind, relation, x, y) or ""
    yes, no = combined(e, ins, text)
    return e.write_pair(d, yes, no) if isinstance(d, Pair) else e.write(d, yes)


def packed_predicates(e: Emitter, ins: Instruction) -> str:
    """setp of packed halves: one predicate of each half."""
    relation, half = ins.parts[1], VALUE[ins.type[:-2]]
    e.only(ins, {relation, "ftz"})
    d, a, b, *_ = ins.operands
    if not isinstance(d, Pair):
        raise e.unsupported(ins, "one predicate for two halves")
    texts = []
    for by in (0, 16):
        x, y = (f"{half}{{uint16_t({e.read(o, 'b32')} >> {by})}}" for o in (a, b))
        texts.append(compare(ins.type[:-2], relation, x, y))
    if texts[0] is None or texts[1] is None:
        raise e.unsupported(ins, f"relation '.{relation}'")
    return e.write_pair(d, texts[0], texts[1])


def set_value(e: Emitter, ins: Instruction) -> str:
    """set: a comparison as a number, or as packed numbers."""
    relation, result, kind = ins.parts[1], ins.parts[-2], ins.type
    e.only(ins, {relation, result, "ftz"})
    d, a, b, *_ = ins.operands
    lanes = (0, 16) if kind.endswith("x2") else (0,)
    single = kind.removesuffix("x2")
    texts = []
    for by in lanes:
        x, y = e.read(a, kind), e.read(b, kind)
        if len(lanes) == 2:
            x, y = (f"{VALUE[single]}{{uint16_t({o} >> {by})}}" for o in (x, y))
        text = compare(single, relation, x, y)
        if text is None:
            raise e.unsupported(ins, f"relation '.{relation}'")
        texts.append(text)
    one = {"f16": "0x3c00u", "bf16": "0x3f80u", "f32": "0x3f800000u"}
    if len(lanes) == 2:
        yes = one.get(result.removesuffix("x2"), "0xffffu")
        halves = [f"({x} ? {yes} << {by} : 0u)" for x, by in zip(texts, lanes, strict=True)]
        return e.write(d, " | ".join(halves))
    if result in one:
        bits_type = "uint16_t" if BITS[result] == 16 else "uint32_t"
        return e.write(d, f"static_cast<{bits_type}>({texts[0]} ? {one[result]} : 0u)")
    return e.write(d, f"static_cast<{VALUE[result]}>({texts[0]} ? -1 : 0)")


def select(e: Emitter, ins: Instruction) -> str:
    """selp and slct."""
    d, a, b, c = ins.operands
    if ins.name == "selp":
        e.only(ins, ())
        kind = ins.type
        return e.write(d, f"{e.read(c, 'pred')} ? {e.read(a, kind)} : {e.read(b, kind)}")
    kind = ins.parts[-2]
    e.only(ins, {kind, "ftz"})
    return e.write(d, f"{e.read(c, ins.type)} >= 0 ? {e.read(a, kind)} : {e.read(b, kind)}")
