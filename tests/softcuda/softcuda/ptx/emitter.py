"""Operands of instructions as C++: registers, numbers, variables, addresses."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .errors import PtxError, UnsupportedInstruction
from .syntax import Address, Function, Instruction, Operand, Pair, Variable, Vector

# The C++ type that a value of a PTX type has in an expression.
VALUE = {
    "pred": "bool",
    **{f"{k}{n}": f"uint{n}_t" for k in "bu" for n in (8, 16, 32, 64)},
    **{f"s{n}": f"int{n}_t" for n in (8, 16, 32, 64)},
    "f16": "Half",
    "bf16": "Bfloat",
    "f16x2": "uint32_t",
    "bf16x2": "uint32_t",
    "f32": "float",
    "f64": "double",
    "tf32": "uint32_t",
}
# The C++ type of a register.
REGISTER = {**VALUE, "f16": "uint16_t", "bf16": "uint16_t"} | {
    f"s{n}": f"uint{n}_t" for n in (8, 16, 32, 64)
}
BITS = {kind: int(re.findall(r"\d+", kind)[0]) for kind in VALUE if kind != "pred"}
BITS |= {"f16x2": 32, "bf16x2": 32, "tf32": 32}

AXES = {"%tid": "t.tid", "%ntid": "t.block->dims", "%ctaid": "t.block->index"}
AXES["%nctaid"] = "t.block->grid"
SPECIAL = {
    "%laneid": "t.lane",
    "%warpid": "t.warp",
    "%nwarpid": "uint32_t((t.block->dims.count() + 31) / 32)",
    "%smid": "0u",
    "%nsmid": "1u",
    "%gridid": "0ull",
    "%lanemask_eq": "(1u << t.lane)",
    "%lanemask_lt": "((1u << t.lane) - 1)",
    "%lanemask_le": "((2u << t.lane) - 1)",
    "%lanemask_gt": "~((2u << t.lane) - 1)",
    "%lanemask_ge": "~((1u << t.lane) - 1)",
    "%clock": "uint32_t(t.block->services->clock(t))",
    "%clock64": "t.block->services->clock(t)",
    "%globaltimer": "t.block->services->clock(t)",
    "%dynamic_smem_size": "(t.block->shared_bytes - t.block->dynamic_offset)",
    "%total_smem_size": "t.block->shared_bytes",
}
SPACES = {
    "global": "Space::kGlobal",
    "const": "Space::kGlobal",
    "shared": "Space::kShared",
    "local": "Space::kLocal",
    "generic": "Space::kGeneric",
}
NUMBER = re.compile(r"-?(0[xX][0-9a-fA-F]+|\d+)U?")


def cpp_name(name: str) -> str:
    """A PTX name as a C++ one."""
    return "v" + re.sub(r"\W", "_", name)


class Emitter:
    """Knows the names of one function, and writes its operands as C++."""

    def __init__(
        self, function: Function, shared: dict[str, str], module_variables: Iterable[Variable]
    ) -> None:
        self.function = function
        self.shared = shared  # name: the C++ expression of its offset
        self.globals = {v.name for v in module_variables if v.space in ("global", "const")}
        self.locals = {v.name for v in function.variables if v.space in ("local", "param")}
        self.parameters = {v.name for v in [*function.parameters, *function.results]}
        self.places: list[str] = []

    def unsupported(self, ins: Instruction, why: str = "") -> UnsupportedInstruction:
        """The error that an instruction is not known."""
        where = f"PTX line {ins.place.ptx_line}, function {self.function.name}"
        if ins.place.line:
            where += f", {ins.place.file}:{ins.place.line}"
        reason = f": {why}" if why else ""
        return UnsupportedInstruction(
            f"{where}: the software device does not know '{ins.opcode}'{reason}"
        )

    def only(self, ins: Instruction, known: Iterable[str]) -> None:
        """Refuses an instruction with a qualifier (between name and type) that is not known."""
        for part in ins.parts[1:-1]:
            if part not in known:
                raise self.unsupported(ins, f"qualifier '.{part}'")

    def register(self, name: str) -> str:
        """A register that is written."""
        if name not in self.function.registers:
            raise PtxError(f"{self.function.name}: {name} is no register")
        return cpp_name(name)

    def read(self, operand: Operand, kind: str) -> str:
        """The value of an operand as a type."""
        if not isinstance(operand, str):
            raise PtxError(f"{self.function.name}: expected a value, got {operand}")
        value = VALUE[kind]
        if operand in self.function.registers:
            if REGISTER[self.function.registers[operand]] == value:
                return cpp_name(operand)
            return f"as<{value}>({cpp_name(operand)})"
        if operand.startswith("!"):
            return f"!{self.read(operand[1:], kind)}"
        if operand[:2] in ("0f", "0F"):
            bits = f"0x{operand[2:]}u"
            return bits if kind in ("b32", "u32", "s32") else f"as<{value}>(bits_f32({bits}))"
        if operand[:2] in ("0d", "0D"):
            bits = f"bits_f64(0x{operand[2:]}ull)"
            return f"static_cast<float>({bits})" if kind == "f32" else f"as<{value}>({bits})"
        if NUMBER.fullmatch(operand):
            return self.number(operand.rstrip("U"), kind)
        return self.symbol(operand, kind)

    def number(self, text: str, kind: str) -> str:
        """A whole number as a type."""
        if kind in ("f16", "bf16"):
            return f"{VALUE[kind]}{{{int(text, 0) & 0xFFFF}}}"
        if kind == "pred":
            return "true" if int(text, 0) else "false"
        if kind in ("f32", "f64"):
            return f"{VALUE[kind]}({text})"
        bits = BITS[kind]
        return f"static_cast<{VALUE[kind]}>({int(text, 0) % 2**bits}{'ull' if bits > 32 else 'u'})"

    def symbol(self, name: str, kind: str) -> str:
        """A special register, or the address of a variable."""
        axis, _, dimension = name.partition(".")
        if axis in AXES and dimension:
            text = f"{AXES[axis]}.{dimension}" if dimension in "xyz" else "0u"
        elif name in SPECIAL:
            text = SPECIAL[name]
        else:
            base, _, offset = name.partition("+")
            text = f"({self.base(base)} + {offset or 0})"
        return f"static_cast<{VALUE[kind]}>({text})"

    def base(self, name: str) -> str:
        """The address that a name stands for, in its own space."""
        if name in self.function.registers:
            return f"uint64_t({cpp_name(name)})"
        if name in self.shared:
            return f"uint64_t({self.shared[name]})"
        if name in self.locals:
            return f"uint64_t({cpp_name(name)})"
        if name in self.parameters:
            return f"uint64_t({cpp_name(name)})"
        if name in self.globals:
            return f"global_{cpp_name(name)}"
        if NUMBER.fullmatch(name):
            return f"{name}ull"
        raise PtxError(f"{self.function.name}: unknown name {name}")

    def address(self, operand: Operand) -> str:
        """A device address, in its own space."""
        if not isinstance(operand, Address):
            raise PtxError(f"{self.function.name}: expected an address, got {operand}")
        base = self.base(operand.base)
        if not operand.offset:
            return base
        if BITS.get(self.function.registers.get(operand.base, ""), 64) == 32:
            # an address in a register of 32 bits stays inside them
            return f"uint64_t({cpp_name(operand.base)} + {operand.offset & 0xFFFFFFFF}u)"
        return f"({base} + {operand.offset & 0xFFFFFFFFFFFFFFFF}ull)"

    def write(self, operand: Operand, value: str) -> str:
        """The statement that puts a value into a register; ``_`` takes nothing."""
        if operand == "_":
            return f"(void)({value});"
        if not isinstance(operand, str):
            raise PtxError(f"{self.function.name}: expected a register, got {operand}")
        return f"put({self.register(operand)}, {value});"

    def write_pair(self, operand: Operand, value: str, beside: str) -> str:
        """Puts a value, and what stands beside it, into ``a|p`` or into ``a`` alone."""
        if isinstance(operand, Pair):
            return f"{self.write(operand.first, value)} {self.write(operand.second, beside)}"
        return self.write(operand, value)

    def items(self, operand: Operand) -> list[str]:
        """The registers of a vector, or the one register."""
        if isinstance(operand, Vector):
            return list(operand.items)
        if isinstance(operand, str):
            return [operand]
        raise PtxError(f"{self.function.name}: expected registers, got {operand}")

    def where(self, ins: Instruction) -> str:
        """The C++ object that tells where an instruction stands."""
        place = ins.place
        file = place.file.replace("\\", "\\\\").replace('"', '\\"')
        self.places.append(f'{{"{file}", {place.line}, {place.ptx_line}}}')
        return f"at_{cpp_name(self.function.name)}[{len(self.places) - 1}]"
