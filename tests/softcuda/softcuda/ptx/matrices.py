"""Matrix instructions of a warp: mma, wmma, ldmatrix."""

from __future__ import annotations

import re

from .emitter import SPACES, Emitter
from .syntax import Instruction, Operand

ELEMENT = {
    "f16": "Half",
    "bf16": "Bfloat",
    "tf32": "Tf32",
    "s8": "int8_t",
    "u8": "uint8_t",
    "f32": "float",
    "s32": "int32_t",
}
MMA_SHAPES = {
    "f16": {(16, 8, 8), (16, 8, 16)},
    "bf16": {(16, 8, 8), (16, 8, 16)},
    "tf32": {(16, 8, 4), (16, 8, 8)},
    "s8": {(8, 8, 16), (16, 8, 16), (16, 8, 32)},
    "u8": {(8, 8, 16), (16, 8, 16), (16, 8, 32)},
}
WMMA_SHAPES = {
    "f16": {(16, 16, 16), (32, 8, 16), (8, 32, 16)},
    "bf16": {(16, 16, 16), (32, 8, 16), (8, 32, 16)},
    "s8": {(16, 16, 16), (32, 8, 16), (8, 32, 16)},
    "u8": {(16, 16, 16), (32, 8, 16), (8, 32, 16)},
    "tf32": {(16, 16, 8)},
}


def shape_of(e: Emitter, ins: Instruction) -> tuple[int, int, int]:
    """``m16n8k16`` as numbers."""
    for part in ins.parts:
        found = re.fullmatch(r"m(\d+)n(\d+)k(\d+)", part)
        if found:
            m, n, k = (int(text) for text in found.groups())
            return m, n, k
    raise e.unsupported(ins, "no shape")


def registers(e: Emitter, operand: Operand, name: str) -> str:
    """A C array with the bits of the operand's registers."""
    values = ", ".join(e.read(item, "b32") for item in e.items(operand))
    return f"const uint32_t {name}[] = {{{values}}}; "


def results(e: Emitter, operand: Operand) -> str:
    """Puts the array ``d`` into the registers of a result."""
    return " ".join(e.write(item, f"d[{i}]") for i, item in enumerate(e.items(operand)))


def multiply(e: Emitter, ins: Instruction) -> str:
    """mma.sync and wmma.mma.sync."""
    wide = ins.name == "wmma"
    m, n, k = shape_of(e, ins)
    types = [part for part in ins.parts if part in ELEMENT]
    if len(types) == 2:  # f16 products of wmma name only what is added
        types = [types[0], "f16", "f16", types[1]]
    allowed = {"sync", "aligned", "row", "col", "mma", "satfinite", f"m{m}n{n}k{k}"}
    unknown = [part for part in ins.parts[1:] if part not in allowed | set(ELEMENT)]
    shapes = WMMA_SHAPES if wide else MMA_SHAPES
    if unknown or len(types) != 4 or (m, n, k) not in shapes.get(types[1], ()):
        raise e.unsupported(ins)
    d, a, b, c = ins.operands
    name = "wmma" if wide else "mma"
    saturate = "true" if "satfinite" in ins.parts else "false"
    cpp = [ELEMENT[types[i]] for i in (1, 2, 3, 0)]
    work = f"{name}<{', '.join(cpp)}, {m}, {n}, {k}, {saturate}>"
    text = registers(e, a, "a") + registers(e, b, "b") + registers(e, c, "c")
    text += f"uint32_t d[{len(e.items(d))}] = {{}}; Fragments all{{d, a, b, c}}; "
    text += f"t.block->services->warp_work(t, {e.where(ins)}, &{work}, &all); "
    return text + results(e, d)


def wmma(e: Emitter, ins: Instruction) -> str:
    """wmma.load, wmma.store and wmma.mma."""
    if ins.parts[1] == "mma":
        return multiply(e, ins)
    m, n, k = shape_of(e, ins)
    which, kind = ins.parts[2], ins.type
    if kind not in ELEMENT or ins.parts[1] not in ("load", "store"):
        raise e.unsupported(ins)
    rows, cols = {"a": (m, k), "b": (k, n), "c": (m, n), "d": (m, n)}[which]
    space = next((part for part in ins.parts if part in ("global", "shared")), "generic")
    element = "float" if kind == "tf32" else ELEMENT[kind]
    columns = "true" if "col" in ins.parts else "false"
    storing = ins.parts[1] == "store"
    fragment, address = (ins.operands[1], ins.operands[0]) if storing else ins.operands[:2]
    stride = e.read(ins.operands[2], "u32") if len(ins.operands) > 2 else str(cols)
    text = f"const FragmentPlace at{{{SPACES[space]}, {e.address(address)}, {stride}, {columns}}}; "
    arguments = f"<kChecked, {element}, {rows}, {cols}>(t, {e.where(ins)}, at, d);"
    if storing:
        return text + registers(e, fragment, "d") + "wmma_store" + arguments
    text += f"uint32_t d[{len(e.items(fragment))}] = {{}}; wmma_load{arguments} "
    return text + results(e, fragment)


def load_matrix(e: Emitter, ins: Instruction) -> str:
    """ldmatrix of 8 x 8 matrices of 16-bit elements."""
    count = next((int(part[1]) for part in ins.parts if part in ("x1", "x2", "x4")), 0)
    known = {"sync", "aligned", "m8n8", f"x{count}", "trans", "shared", "shared::cta"}
    if not count or ins.type != "b16" or set(ins.parts[1:-1]) - known:
        raise e.unsupported(ins)
    d, address = ins.operands
    space = SPACES["shared" if "shared" in ins.opcode else "generic"]
    reach = f"reach<kChecked>(t, {e.where(ins)}, {space}, {e.address(address)}, 16, Access::kRead)"
    transposed = "true" if "trans" in ins.parts else "false"
    text = f"uint32_t d[{count}] = {{}}; "
    text += f"MatrixRows all{{d, t.lane < {8 * count} ? {reach} : nullptr}}; "
    work = f"&ldmatrix<{count}, {transposed}>"
    text += f"t.block->services->warp_work(t, {e.where(ins)}, {work}, &all); "
    return text + results(e, d)
