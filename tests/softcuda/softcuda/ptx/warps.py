"""What the threads of a warp exchange: shuffles, votes, matches, reductions."""

from __future__ import annotations

from .emitter import Emitter
from .syntax import Instruction

SHUFFLE = {"idx": "kIndex", "up": "kUp", "down": "kDown", "bfly": "kXor"}
REDUCE = {"add": "kAdd", "and": "kAnd", "or": "kOr", "xor": "kXor", "min": "kMin", "max": "kMax"}


def shuffle(e: Emitter, ins: Instruction) -> str:
    """shfl.sync."""
    if ins.parts[1] != "sync" or ins.parts[2] not in SHUFFLE:
        raise e.unsupported(ins)
    d, value, by, clamp, mask = ins.operands
    arguments = [
        f"Exchange::{SHUFFLE[ins.parts[2]]}",
        e.read(mask, "u32"),
        e.read(value, "b32"),
        e.read(by, "u32"),
        e.read(clamp, "u32"),
    ]
    call = f"t.block->services->shuffle(t, {e.where(ins)}, {', '.join(arguments)})"
    return f"const uint32_t got = {call}; {e.write_pair(d, 'got', 't.predicate')}"


def gather(e: Emitter, ins: Instruction, kind: str, mask: str, value: str) -> str:
    """The call that gathers a value of each lane."""
    return f"t.block->services->gather(t, {e.where(ins)}, Gather::{kind}, {mask}, {value})"


def vote(e: Emitter, ins: Instruction) -> str:
    """vote.sync."""
    mode = ins.parts[2]
    if ins.parts[1] != "sync" or mode not in ("all", "any", "uni", "ballot"):
        raise e.unsupported(ins)
    d, value, mask = ins.operands
    lanes = e.read(mask, "u32")
    call = gather(e, ins, "kBallot", lanes, f"uint64_t({e.read(value, 'pred')})")
    text = f"const auto set = static_cast<uint32_t>({call}); "
    results = {
        "ballot": "set",
        "any": "set != 0",
        "all": f"set == {lanes}",
        "uni": f"(set == 0 || set == {lanes})",
    }
    return text + e.write(d, results[mode])


def match(e: Emitter, ins: Instruction) -> str:
    """match.any.sync and match.all.sync."""
    d, value, mask = ins.operands
    kind = "kMatchAll" if "all" in ins.parts else "kMatch"
    call = gather(e, ins, kind, e.read(mask, "u32"), f"uint64_t({e.read(value, ins.type)})")
    text = f"const auto set = static_cast<uint32_t>({call}); "
    return text + e.write_pair(d, "set", "t.predicate")


def reduce(e: Emitter, ins: Instruction) -> str:
    """redux.sync of integers."""
    operation, kind = ins.parts[2], ins.type
    if operation not in REDUCE or kind not in ("u32", "s32", "b32"):
        raise e.unsupported(ins)
    signed = "S" if kind == "s32" and operation in ("min", "max") else ""
    d, value, mask = ins.operands
    name = REDUCE[operation] + signed
    call = gather(e, ins, name, e.read(mask, "u32"), f"uint64_t({e.read(value, 'u32')})")
    return e.write(d, f"static_cast<uint32_t>({call})")


def active_mask(e: Emitter, ins: Instruction) -> str:
    """activemask: each lane alone, which the standard allows and careless code does not expect."""
    return e.write(ins.operands[0], "1u << t.lane")
