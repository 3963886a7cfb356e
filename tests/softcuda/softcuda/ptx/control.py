"""Branches, calls, returns, barriers and fences."""

from __future__ import annotations

from .emitter import Emitter, cpp_name
from .syntax import Arguments, Instruction


def branch(e: Emitter, ins: Instruction) -> str:
    """bra."""
    target = ins.operands[0]
    if not isinstance(target, str) or ins.parts[1:] not in ([], ["uni"]):
        raise e.unsupported(ins)
    return f"goto {cpp_name(target)};"


def branch_indexed(e: Emitter, ins: Instruction, targets: dict[str, tuple[str, ...]]) -> str:
    """brx.idx: a branch to the label of a list that a register picks."""
    index, name = ins.operands
    if ins.parts[1:2] != ["idx"] or not isinstance(name, str) or name not in targets:
        raise e.unsupported(ins, f"branch targets {name}")
    cases = " ".join(f"case {i}: goto {cpp_name(label)};" for i, label in enumerate(targets[name]))
    wild = f't.block->services->fail(t, {e.where(ins)}, Fault::kLaunch, "wild branch");'
    return f"switch ({e.read(index, 'u32')}) {{ {cases} default: {wild} }}"


def leave(e: Emitter, ins: Instruction) -> str:
    """ret, and exit of a kernel."""
    if ins.name == "exit" and not e.function.entry:
        raise e.unsupported(ins, "exit from a device function")
    return "return;"


def trap(e: Emitter, ins: Instruction) -> str:
    """trap: the launch fails."""
    return f't.block->services->fail(t, {e.where(ins)}, Fault::kLaunch, "trap");'


def call(e: Emitter, ins: Instruction, known: set[str]) -> str:
    """call of a device function by its name; a failed device assertion."""
    lists = [o.items for o in ins.operands if isinstance(o, Arguments)]
    name = next((o for o in ins.operands if isinstance(o, str)), "")
    if name == "__assertfail":
        text = 'Fault::kAssert, "an assertion of the kernel failed"'
        return f"t.block->services->fail(t, {e.where(ins)}, {text});"
    if name not in known:
        raise e.unsupported(ins, f"a call of {name}")
    passed = [cpp_name(argument) for each in lists for argument in each]
    return f"function_{cpp_name(name)}({', '.join(['t', *passed])});"


def barrier(e: Emitter, ins: Instruction) -> str:
    """bar, barrier and bar.warp.sync."""
    parts = [part for part in ins.parts[1:] if part not in ("cta", "aligned")]
    where = e.where(ins)
    if parts[:1] == ["warp"]:
        mask = e.read(ins.operands[0], "u32")
        return f"t.block->services->warp_barrier(t, {where}, {mask});"
    if parts[:1] == ["red"]:
        return barrier_reduction(e, ins, where)
    if parts not in (["sync"], ["arrive"]):
        raise e.unsupported(ins)
    number = e.read(ins.operands[0], "u32")
    count = e.read(ins.operands[1], "u32") if len(ins.operands) > 1 else "0"
    wait = "true" if parts == ["sync"] else "false"
    return f"t.block->services->barrier(t, {where}, {number}, {count}, {wait});"


def barrier_reduction(e: Emitter, ins: Instruction, where: str) -> str:
    """bar.red: a barrier that counts or combines a predicate."""
    d, number, *middle, value = ins.operands
    if middle or number != "0":
        raise e.unsupported(ins, "a barrier other than 0 of all threads")
    count = f"t.block->services->barrier_count(t, {where}, {e.read(value, 'pred')})"
    if "popc" in ins.parts:
        return e.write(d, count)
    if "and" in ins.parts:
        return e.write(d, f"{count} == t.block->dims.count()")
    return e.write(d, f"{count} != 0")


def fence(e: Emitter, ins: Instruction) -> str:
    """membar and fence: of the block, or of the whole device."""
    device = not {"cta"} & set(ins.parts)
    if {"proxy", "mbarrier_init"} & set(ins.parts):
        raise e.unsupported(ins)
    return f"t.block->services->fence(t, {'true' if device else 'false'});"
