"""A whole PTX module as one C++ file: functions, kernels, variables, and the table of them."""

from __future__ import annotations

from . import control, conversions, copies, floats, integers, matrices, moves, warps
from .emitter import BITS, NUMBER, REGISTER, Emitter, cpp_name
from .errors import PtxError
from .parse import parse, size_of
from .syntax import BranchTargets, Function, Instruction, Label, ParsedModule, Variable

PRELUDE = """// Translated from PTX for the software device.
#include "matrix.h"
using namespace softcuda;
static inline float bits_f32(uint32_t b) { return std::bit_cast<float>(b); }
static inline double bits_f64(uint64_t b) { return std::bit_cast<double>(b); }
"""
ARITHMETIC = {"add", "sub", "min", "max", "neg", "abs", "div"}
INTEGERS = {"and", "or", "xor", "not", "rem"}
FLOATS = {"fma", "sqrt", "rcp", "rsqrt", "sin", "cos", "ex2", "lg2", "tanh", "copysign"}
BITWISE = {"prmt", "lop3", "shf", "bfi", "bfe", "popc", "clz", "brev", "bfind", "sad", "dp4a"}
OTHERS = {
    **dict.fromkeys(INTEGERS, integers.simple),
    **dict.fromkeys(BITWISE, integers.bits),
    "mul24": integers.multiply,
    "mad24": integers.multiply,
    "shl": integers.shift,
    "shr": integers.shift,
    "setp": integers.set_predicate,
    "set": integers.set_value,
    "selp": integers.select,
    "slct": integers.select,
    "testp": floats.test_property,
    "cvt": conversions.convert,
    "mov": moves.move,
    "ld": moves.load,
    "ldu": moves.load,
    "st": moves.store,
    "atom": moves.atomic,
    "red": moves.atomic,
    "cvta": moves.convert_address,
    "isspacep": moves.convert_address,
    **dict.fromkeys(("prefetch", "prefetchu", "nanosleep", "discard"), moves.nothing),
    "bra": control.branch,
    "ret": control.leave,
    "exit": control.leave,
    "trap": control.trap,
    "bar": control.barrier,
    "barrier": control.barrier,
    "membar": control.fence,
    "fence": control.fence,
    "shfl": warps.shuffle,
    "vote": warps.vote,
    "match": warps.match,
    "redux": warps.reduce,
    "activemask": warps.active_mask,
    "mma": matrices.multiply,
    "wmma": matrices.wmma,
    "ldmatrix": matrices.load_matrix,
    "cp": copies.copy,
}
WAITS = {"bar", "barrier", "shfl", "vote", "match", "redux", "mma", "wmma", "ldmatrix", "call"}


def instruction(
    e: Emitter, ins: Instruction, targets: dict[str, tuple[str, ...]], known: set[str]
) -> str:
    """One instruction as C++.

    Raises:
        UnsupportedInstruction: Names the instruction and its line.
    """
    name, kind = ins.name, ins.type
    try:
        if name == "brx":
            return control.branch_indexed(e, ins, targets)
        if name == "call":
            return control.call(e, ins, known)
        if "cc" in ins.parts or name in ("addc", "subc", "madc"):
            return integers.with_carry(e, ins)
        if name in ARITHMETIC | FLOATS or name in ("mul", "mad"):
            if kind in ("f32", "f64"):
                return floats.arithmetic(e, ins)
            if kind.removesuffix("x2") in ("f16", "bf16"):
                return floats.half(e, ins)
            if name in ARITHMETIC:
                return integers.simple(e, ins)
            if name in ("mul", "mad"):
                return integers.multiply(e, ins)
        elif name in OTHERS:
            return OTHERS[name](e, ins)
    except (KeyError, ValueError) as error:
        if isinstance(error, PtxError):
            raise
        raise e.unsupported(ins, f"operands {ins.operands}") from error
    raise e.unsupported(ins)


class SharedLayout:
    """Offsets of shared variables, with gaps between them that nobody may touch."""

    GAP = 16

    def __init__(self, start: int = 0) -> None:
        self.end = start
        self.names: dict[str, str] = {}
        self.places: list[tuple[int, int]] = []

    def add(self, variable: Variable) -> None:
        """Places one variable; dynamic memory begins behind all others."""
        if variable.count < 0:
            self.names[variable.name] = "t.block->dynamic_offset"
            return
        align = max(variable.align, 16)
        offset = (self.end + align - 1) // align * align
        size = size_of(variable.type, variable.line) * variable.count
        self.names[variable.name] = str(offset)
        self.places.append((offset, size))
        self.end = offset + size + self.GAP


class ModuleEmitter:
    """Writes one module."""

    def __init__(self, module: ParsedModule, checked: bool) -> None:
        self.module = module
        self.checked = checked
        self.outer = SharedLayout()
        for variable in module.variables:
            if variable.space == "shared":
                self.outer.add(variable)
        for function in module.functions:
            if not function.entry:
                for variable in function.variables:
                    if variable.space == "shared":
                        self.outer.add(variable)
        self.known = {f.name for f in module.functions if f.defined and not f.entry}
        self.kernels: list[str] = []

    def text(self) -> str:
        """The C++ file."""
        checked = "true" if self.checked else "false"
        pieces = [PRELUDE, f"static constexpr bool kChecked = {checked};"]
        for variable in self.module.variables:
            if variable.space in ("global", "const"):
                pieces.append(self.global_variable(variable))
        functions = [f for f in self.module.functions if f.defined]
        pieces.extend(f"{self.signature(f)};" for f in functions)
        pieces.extend(self.function(f) for f in functions)
        pieces.append(self.table())
        return "\n".join(pieces) + "\n"

    def global_variable(self, v: Variable) -> str:
        """The address of a variable, and its initial bytes."""
        name = cpp_name(v.name)
        text = f"static uint64_t global_{name};"
        if v.initial:
            values = [self.initial(v, value) for value in v.initial]
            text += f"\nstatic const {REGISTER[v.type]} initial_{name}[] = {{{', '.join(values)}}};"
        return text

    def initial(self, v: Variable, value: str) -> str:
        """One initial value; addresses of other variables are not known before loading."""
        if value[:2] in ("0f", "0F"):
            return f"std::bit_cast<float>(0x{value[2:]}u)"
        if value[:2] in ("0d", "0D"):
            return f"std::bit_cast<double>(0x{value[2:]}ull)"
        if not NUMBER.fullmatch(value):
            raise PtxError(f"PTX line {v.line}: {v.name} holds an address, {value}: not supported")
        bits = BITS[v.type]
        return f"{int(value.rstrip('U'), 0) % 2**bits}u{'ll' if bits > 32 else ''}"

    def signature(self, f: Function) -> str:
        """The head of a function: a kernel takes its packed parameters, others one pointer each."""
        if f.entry:
            return f"static void kernel_{cpp_name(f.name)}(Thread& t, char* parameters)"
        pointers = [f"char* {cpp_name(v.name)}" for v in [*f.results, *f.parameters]]
        return f"static void function_{cpp_name(f.name)}({', '.join(['Thread& t', *pointers])})"

    def function(self, f: Function) -> str:
        """A function with its registers, variables and instructions."""
        used = {str(o) for s in f.statements if isinstance(s, Instruction) for o in s.operands}
        mentioned = any(name in text for name in self.outer.names for text in used)
        calls = any(isinstance(s, Instruction) and s.name == "call" for s in f.statements)
        static_outer = self.outer if mentioned or calls else SharedLayout()
        layout = SharedLayout(static_outer.end)
        if f.entry:
            for variable in f.variables:
                if variable.space == "shared":
                    layout.add(variable)
        shared = {**self.outer.names, **layout.names}
        e = Emitter(f, shared, self.module.variables)
        body = self.body(e)
        places = f"static const Where at_{cpp_name(f.name)}[] = {{\n  " + ",\n  ".join(
            [*e.places, '{"", 0, 0}']
        )
        if f.entry:
            waits = any(isinstance(s, Instruction) and s.name in WAITS for s in f.statements)
            self.kernels.append(
                self.kernel_row(f, [*static_outer.places, *layout.places], layout.end, waits)
            )
        return f"{places}\n}};\n{self.signature(f)} {{\n{body}}}\n"

    def body(self, e: Emitter) -> str:
        """Declarations and statements."""
        f = e.function
        lines = ["(void)t;", "[[maybe_unused]] uint32_t carry = 0;"]
        if f.entry:
            lines.append("(void)parameters;")
            for v, offset in zip(f.parameters, parameter_offsets(f)[0], strict=True):
                lines.append(f"[[maybe_unused]] char* {cpp_name(v.name)} = parameters + {offset};")
        for name, kind in f.registers.items():
            lines.append(f"[[maybe_unused]] {REGISTER[kind]} {cpp_name(name)}{{}};")
        for v in f.variables:
            if v.space in ("local", "param"):
                size = size_of(v.type, v.line) * max(v.count, 1)
                lines.append(f"alignas({max(v.align, 8)}) char {cpp_name(v.name)}[{size}];")
        targets = {s.name: s.labels for s in f.statements if isinstance(s, BranchTargets)}
        for s in f.statements:
            if isinstance(s, Label):
                lines.append(f"[[maybe_unused]] {cpp_name(s.name)}:;")
            elif isinstance(s, Instruction):
                guard = ""
                if s.guard:
                    guard = f"if ({'!' if s.negated else ''}{cpp_name(s.guard)}) "
                lines.append(f"{guard}{{ {instruction(e, s, targets, self.known)} }}")
        return "".join(f"  {line}\n" for line in lines)

    def kernel_row(self, f: Function, places: list[tuple[int, int]], end: int, waits: bool) -> str:
        """The kernel's line in the module's table."""
        offsets, total = parameter_offsets(f)
        sizes = [parameter_size(v) for v in f.parameters]
        parameters = ", ".join(f"{{{o}, {s}}}" for o, s in zip(offsets, sizes, strict=True))
        shared = ", ".join(f"{{{o}, {s}}}" for o, s in places)
        return (
            f'{{"{f.name}", &kernel_{cpp_name(f.name)}, {{{parameters}}}, {total}, {{{shared}}}, '
            f"{end}, {'true' if waits else 'false'}, {f.max_threads}}}"
        )

    def table(self) -> str:
        """The symbol that the driver asks for."""
        rows = []
        for v in self.module.variables:
            if v.space in ("global", "const"):
                name = cpp_name(v.name)
                size = size_of(v.type, v.line) * v.count
                initial = f"initial_{name}" if v.initial else "nullptr"
                rows.append(f'{{"{v.name}", {size}, {v.align}, {initial}, &global_{name}}}')
        kernels, variables = ",\n      ".join(self.kernels), ",\n      ".join(rows)
        return (
            'extern "C" const Module* softcuda_module() {\n'
            f"  static const Module module{{{{{kernels}}},\n      {{{variables}}}}};\n"
            "  return &module;\n}"
        )


def parameter_size(v: Variable) -> int:
    """Bytes of a kernel parameter."""
    return size_of(v.type, v.line) * v.count


def parameter_offsets(f: Function) -> tuple[list[int], int]:
    """Where each parameter of a kernel stands in the packed block, and its size."""
    offsets, end = [], 0
    for v in f.parameters:
        end = (end + v.align - 1) // v.align * v.align
        offsets.append(end)
        end += parameter_size(v)
    return offsets, end


def translate(text: str, checked: bool) -> str:
    """PTX to C++ on the software device's runtime (``native/matrix.h``).

    With ``checked``, every access to memory is checked for races, bounds and initial values.

    Raises:
        PtxError: The text is no PTX, or uses something the software device does not know; says
            which instruction, the PTX line and the line of the CUDA source when it is recorded.
    """
    return ModuleEmitter(parse(text), checked).text()
