"""Moves, loads, stores, atomic operations and address spaces."""

from __future__ import annotations

from .emitter import BITS, SPACES, VALUE, Emitter
from .syntax import Address, Instruction, Operand, Vector

CACHE = {"weak", "volatile", "nc", "ca", "cg", "cs", "lu", "cv", "wb", "wt", "unified", "entry"}
ORDERED = {"relaxed", "acquire", "release", "acq_rel", "mmio"}
SCOPES = {"cta", "cluster", "gpu", "sys"}
VECTORS = {"v2": 2, "v4": 4, "v8": 8}
SPACE_NAMES = {"param", "global", "shared", "local", "const", "shared::cta", "param::entry"}
SPACE_NAMES |= {"param::func"}


def hint(part: str) -> bool:
    """A qualifier that only advises the caches."""
    return part.startswith(("L1::", "L2::"))


def space_of(e: Emitter, ins: Instruction) -> str:
    """The address space that an instruction names; refuses qualifiers that are not known."""
    space = "generic"
    for part in ins.parts[1:-1]:
        if part in SPACE_NAMES:
            space = part.split("::")[0]
        elif part not in CACHE | ORDERED | SCOPES | set(VECTORS) and not hint(part):
            raise e.unsupported(ins, f"qualifier '.{part}'")
    return space


def move(e: Emitter, ins: Instruction) -> str:
    """mov, also to and from vectors of registers."""
    e.only(ins, ())
    d, source = ins.operands
    kind = ins.type
    if isinstance(d, Vector):
        width = BITS[kind] // len(d.items)
        text = f"const {VALUE[kind]} all = {e.read(source, kind)};"
        for i, item in enumerate(d.items):
            text += " " + e.write(item, f"static_cast<uint{width}_t>(all >> {i * width})")
        return text
    if isinstance(source, Vector):
        width = BITS[kind] // len(source.items)
        pieces = [
            f"{VALUE[kind]}({e.read(item, f'b{width}')}) << {i * width}"
            for i, item in enumerate(source.items)
        ]
        return e.write(d, f"static_cast<{VALUE[kind]}>({' | '.join(pieces)})")
    return e.write(d, e.read(source, kind))


def place(e: Emitter, ins: Instruction, operand: Operand, size: int, access: str) -> str:
    """The declaration of ``p``, the host pointer to a device address."""
    space = space_of(e, ins)
    if space == "param":
        return f"char* p = reinterpret_cast<char*>({e.address(operand)});"
    fresh = ins.name == "ld" and "volatile" in ins.parts and space != "shared"
    if fresh or any(part in ORDERED for part in ins.parts):
        access = "kAtomic"
    arguments = f"t, {e.where(ins)}, {SPACES[space]}, {e.address(operand)}, {size}"
    return f"char* p = reach<kChecked>({arguments}, Access::{access});"


def load(e: Emitter, ins: Instruction) -> str:
    """ld and ldu of every space, scalar and vector."""
    d, address, *rest = ins.operands
    if rest:
        raise e.unsupported(ins, "a cache policy")
    items = e.items(d)
    size = BITS[ins.type] // 8
    text = place(e, ins, address, size * len(items), "kRead")
    for i, item in enumerate(items):
        text += " " + e.write(item, f"load<{VALUE[ins.type]}>(p + {i * size})")
    return text


def store(e: Emitter, ins: Instruction) -> str:
    """st of every space, scalar and vector."""
    address, source, *rest = ins.operands
    if rest:
        raise e.unsupported(ins, "a cache policy")
    items = e.items(source)
    size = BITS[ins.type] // 8
    text = place(e, ins, address, size * len(items), "kWrite")
    for i, item in enumerate(items):
        text += f" store<{VALUE[ins.type]}>(p + {i * size}, {e.read(item, ins.type)});"
    return text


ATOMIC = {
    "exch": "x",
    "cas": "old == x ? y : old",
    "and": "T(old & x)",
    "or": "T(old | x)",
    "xor": "T(old ^ x)",
    "inc": "old >= x ? T(0) : T(old + 1)",
    "dec": "old == 0 || old > x ? x : T(old - 1)",
}


def atomic_update(kind: str, operation: str) -> str | None:
    """The new value, from ``old``, ``x`` and ``y``."""
    if operation in ATOMIC:
        return ATOMIC[operation]
    if operation not in ("add", "min", "max"):
        return None
    if kind.endswith("x2"):
        single = VALUE[kind[:-2]]
        half = {"add": "add(a, b)"}.get(operation, f"{operation}_half(a, b, false)")
        return f"packed<{single}>([]({single} a, {single} b) {{ return {half}; }}, old, x)"
    if kind in ("f16", "bf16"):
        return {"add": "add(old, x)"}.get(operation, f"{operation}_half(old, x, false)")
    if operation == "add":
        return "old + x" if kind[0] == "f" else "T(std::make_unsigned_t<T>(old) + x)"
    if kind[0] == "f":
        return f"{operation}imum(old, x, false)"
    return f"std::{operation}<T>(old, x)"


def atomic(e: Emitter, ins: Instruction) -> str:
    """atom and red."""
    kind = ins.type
    operations = {*ATOMIC, "add", "min", "max"}
    operation = next((part for part in ins.parts[1:] if part in operations), "")
    space = "generic"
    for part in ins.parts[1:-1]:
        if part in SPACE_NAMES:
            space = part.split("::")[0]
        elif part not in ORDERED | SCOPES | {operation, "noftz"} and not hint(part):
            raise e.unsupported(ins, f"qualifier '.{part}'")
    update = atomic_update(kind, operation)
    if update is None:
        raise e.unsupported(ins)
    d, address, *values = ins.operands if ins.name == "atom" else ("_", *ins.operands)
    if not isinstance(address, Address):
        raise e.unsupported(ins)
    where = f"t, {e.where(ins)}, {SPACES[space]}, {e.address(address)}, {BITS[kind] // 8}"
    names = dict(zip("xy", (e.read(v, kind) for v in values), strict=False))
    given = "".join(f"const T {name} = {value}; " for name, value in names.items())
    captured = ", ".join(names)
    # comparing bits: floats are compared as they stand
    function = f"[{captured}](T old) -> T {{ return {update}; }}"
    text = f"using T = {VALUE[kind]}; {given}char* p = reach<kChecked>({where}, Access::kAtomic); "
    return text + e.write(d, f"exchange<T>(p, {function})")


def convert_address(e: Emitter, ins: Instruction) -> str:
    """cvta and isspacep."""
    d, source = ins.operands
    if ins.name == "isspacep":
        space = ins.parts[1].split("::")[0]
        kind = "local" if space in ("param", "const") else space
        return e.write(d, f"is_in(t, {SPACES[kind]}, {e.read(source, 'u64')})")
    to = "to" in ins.parts
    space = ins.parts[2 if to else 1].split("::")[0]
    if space not in {*SPACES, "param"}:
        raise e.unsupported(ins)
    kind = SPACES.get(space, SPACES["local"])
    direction = "from_generic" if to else "to_generic"
    value = e.read(source, ins.type)
    return e.write(d, f"static_cast<{VALUE[ins.type]}>({direction}(t, {kind}, {value}))")


def nothing(e: Emitter, ins: Instruction) -> str:
    """Advice that changes no result: prefetches and sleeps."""
    return ""
