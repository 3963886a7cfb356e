"""Asynchronous copies from global to shared memory: cp.async and its groups."""

from __future__ import annotations

from .emitter import Emitter
from .moves import hint
from .syntax import Instruction


def copy(e: Emitter, ins: Instruction) -> str:
    """cp.async, cp.async.commit_group, cp.async.wait_group, cp.async.wait_all."""
    parts = ins.parts
    if parts[1] != "async":
        raise e.unsupported(ins)
    if parts[2:] == ["commit_group"]:
        return "t.block->services->async_commit(t);"
    if parts[2:] == ["wait_group"]:
        pending = e.read(ins.operands[0], "u32")
        return f"t.block->services->async_wait(t, {e.where(ins)}, {pending});"
    if parts[2:] == ["wait_all"]:
        commit = "t.block->services->async_commit(t);"
        return f"{commit} t.block->services->async_wait(t, {e.where(ins)}, 0);"
    known = {"ca", "cg", "shared", "shared::cta", "global"}
    if any(part not in known and not hint(part) for part in parts[2:]):
        raise e.unsupported(ins)
    to, source, size, *rest = ins.operands
    if len(rest) > 1:
        raise e.unsupported(ins, "a cache policy")
    if rest and isinstance(rest[0], str) and e.function.registers.get(rest[0]) == "pred":
        read = f"({e.read(rest[0], 'pred')} ? 0 : {size})"  # the predicate says: ignore the source
    else:
        read = e.read(rest[0], "u32") if rest else str(size)
    arguments = f"{e.where(ins)}, {e.address(to)}, {e.address(source)}, {size}, {read}"
    return f"t.block->services->async_copy(t, {arguments});"
