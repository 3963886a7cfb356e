"""Lower kernels and tiles to PTX: sources of processors' kernels, for GPUs of sm_80 and later."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

from _lang import emit
from _lang.decorators import TileRow
from _lang.dtypes import DTYPES, DType
from _lang.lanes import I64, Lanes
from _lang.scalar import load_element, store_element
from _lang.simd import compute_element
from _lang.tiles import Family

TRIPLE = "nvptx64-nvidia-cuda"
TARGET = {"cpu": "sm_80", "features": "+ptx75"}

# One thread computes units [g * per, (g + 1) * per) of a phase, g being its number in the grid,
# with `bytes` of scratch of its own. A code that is not 0 goes to `status`, with the step's number
# above it.
_ENTRY = """
declare i32 @llvm.nvvm.read.ptx.sreg.tid.x()
declare i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
declare i32 @llvm.nvvm.read.ptx.sreg.ntid.x()
declare i32 @run(ptr, i64, i64, i64, ptr)
define ptx_kernel void @kernel(ptr %call, i64 %phase, i64 %units, i64 %per, ptr %scratch,
                               i64 %bytes, ptr %status, i64 %step) {
  %thread = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %block = call i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
  %threads = call i32 @llvm.nvvm.read.ptx.sreg.ntid.x()
  %first = mul i32 %block, %threads
  %number = add i32 %first, %thread
  %g = zext i32 %number to i64
  %begin = mul i64 %g, %per
  %idle = icmp sge i64 %begin, %units
  br i1 %idle, label %done, label %busy
busy:
  %after = add i64 %begin, %per
  %inside = icmp slt i64 %after, %units
  %end = select i1 %inside, i64 %after, i64 %units
  %at = mul i64 %g, %bytes
  %own = getelementptr i8, ptr %scratch, i64 %at
  %code = call i32 @run(ptr %call, i64 %phase, i64 %begin, i64 %end, ptr %own)
  %bad = icmp ne i32 %code, 0
  br i1 %bad, label %failed, label %done
failed:
  %high = shl i64 %step, 32
  %low = zext i32 %code to i64
  %both = or i64 %high, %low
  %before = atomicrmw umax ptr %status, i64 %both monotonic
  br label %done
done:
  ret void
}
"""
# Programs on finished blocks run behind the kernel on a GPU: the function in their record is null.
_APPLY = re.compile(r"= load void \(i8\*, i8\*, i64, i64(?:, i64, i64)?\)\*, .*")
_DECLARED = re.compile(r'^declare .*?@(?:"([^"]+)"|([\w.$]+))\(', re.M)
# What kernels/cuda/libm.cu may have, and the intrinsics of LLVM that stand for it.
_LIBM = re.compile(
    r"(a?sinh?|a?cosh?|a?tanh?|exp|exp2|expm1|log|log2|log10|log1p|cbrt|erfc?|lgamma|tgamma|pow|"
    r"fmod|atan2|hypot|ldexp)f?"
)
_INTRINSIC = re.compile(r'@"?llvm\.(sin|cos|tan|exp|exp2|log|log2|log10|pow)\.f(32|64)"?(?=\()')
_TARGETS = re.compile(r"^target (triple|datalayout) = .*$", re.M)


class Unsupported(Exception):
    """What a kernel needs, and a GPU has not."""


@cache
def target_machine() -> Any:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return llvm.Target.from_triple(TRIPLE).create_target_machine(opt=3, **TARGET)


def _by_libm(text: str) -> str:
    """Calls of libm in place of intrinsics, which LLVM does not lower for GPUs."""
    text, count = _INTRINSIC.subn(lambda m: f"@{m[1]}{'f' * (m[2] == '32')}", text)
    if count == 0:
        return text
    declared: set[str] = set()
    kept = []
    for line in text.splitlines():
        symbol = _DECLARED.match(line)
        if symbol is None or symbol.group() not in declared:
            kept.append(line)
        if symbol is not None:
            declared.add(symbol.group())
    return "\n".join(kept)


def _parsed(text: str) -> Any:
    # Before the text: loads and stores are aligned by it.
    head = f'target datalayout = "{target_machine().target_data}"\ntarget triple = "{TRIPLE}"\n'
    return llvm.parse_assembly(head + _by_libm(_TARGETS.sub("", text)))


def _assembly(texts: Iterable[str], exported: str) -> str:
    """PTX of several IR modules, of which one function stays visible. Raises Unsupported."""
    machine = target_machine()
    first, *rest = texts
    module = _parsed(first)
    for text in rest:
        module.link_in(_parsed(text))
    for function in module.functions:
        if not function.is_declaration and function.name != exported:
            function.linkage = "internal"
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    outside = [f.name for f in module.functions if f.is_declaration]
    missing = [n for n in outside if not n.startswith("llvm.") and not _LIBM.fullmatch(n)]
    missing += [n for n in outside if _INTRINSIC.match(f"@{n}(")]
    if missing:
        raise Unsupported(", ".join(sorted(missing)))
    for function in module.functions:
        if _LIBM.fullmatch(function.name):  # names such as sin are words of PTX
            function.name = f"tcl_{function.name}"
    return str(machine.emit_assembly(module))


def _with_blocks(text: str) -> list[str]:
    """The text and those of all building blocks below it."""
    kept, seen, waiting = [], set(), [text]
    while waiting:
        kept.append(waiting.pop(0))
        for quoted, plain in _DECLARED.findall(kept[-1]):
            symbol = quoted or plain
            if symbol not in seen and emit.is_block(symbol):
                seen.add(symbol)
                waiting.append(emit.block_text(symbol))
    return kept


def shortened(ptx: str) -> str:
    """Without comments, empty lines and indentation."""
    lines = (" ".join(re.sub(r"//.*", "", line).split()) for line in ptx.splitlines())
    return "\n".join(line for line in lines if line) + "\n"


def lower_kernel(text: str) -> str:
    """PTX of a kernel's `run`, given as IR text of the C function @run: the entry `kernel`. It
    declares the functions of libm that it calls, tcl_NAME each. Raises Unsupported.
    """
    texts = [_APPLY.sub("= inttoptr i64 0 to ptr", t) for t in _with_blocks(text)]
    texts = [t.replace(" = common global", " = internal global") for t in texts]
    return shortened(_assembly([_ENTRY, *texts], "kernel"))


def _width(dtype: DType) -> int:
    """Bits of the register that holds an element."""
    return 64 if dtype.bits == 64 else 32


_LETTERS = {32: "r", 64: "l"}  # LLVM's names of registers of so many bits


def _tile_ir(row: TileRow) -> str:
    """IR text of a tile for one element: registers of 32 or 64 bits in and out, attributes as
    doubles.
    """
    dtypes, result = [DTYPES[name] for name in row.operands], DTYPES[row.result]
    module = ir.Module("tile")
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), []), "tile")
    b = ir.IRBuilder(function.append_basic_block())
    byte = ir.IntType(8).as_pointer()

    def operand(i: int, kind: ir.Type, bits: int) -> Any:
        text = f"mov.b{bits} $0, ^{i};"
        return b.asm(ir.FunctionType(kind, []), text, f"={_LETTERS[bits]}", [], False)

    def loaded(word: Any, dtype: DType) -> Lanes:
        slot = b.alloca(I64)
        b.store(word, b.bitcast(slot, word.type.as_pointer()))
        value = load_element(b, b.bitcast(slot, byte), I64(0), dtype)
        made = Lanes(b, value, compute_element(dtype), 1)
        return made.compare("!=", 0) if dtype.name == "bool" else made

    words = [operand(i, ir.IntType(_width(d)), _width(d)) for i, d in enumerate(dtypes)]
    operands = [loaded(word, dtype) for word, dtype in zip(words, dtypes, strict=True)]
    first = "float" if row.operands[0] == "bool" else compute_element(dtypes[0])
    numbers = range(len(dtypes), len(dtypes) + len(row.attributes))
    words = [b.bitcast(operand(i, I64, 64), ir.DoubleType()) for i in numbers]
    extra = [Lanes(b, word, "double", 1).to(first) for word in words]
    made = row.build(Family(operands[0]), *operands, *extra)
    if made.element == "bool":
        made = Lanes(b, b.zext(made.value, ir.IntType(8)), "uint8", 1)
    slot = b.alloca(I64)
    b.store(I64(0), slot)
    store_element(b, b.bitcast(slot, byte), I64(0), made.to(compute_element(result)).value, result)
    bits = _width(result)
    word = b.load(b.bitcast(slot, ir.IntType(bits).as_pointer()))
    shape = ir.FunctionType(ir.VoidType(), [word.type])
    b.asm(shape, f"mov.b{bits} ^r, $0;", _LETTERS[bits], [word], True)
    b.ret_void()
    return str(module)


def lower_tile(row: TileRow) -> str:
    """PTX of a tile as a template: `^0` … are its operands and attributes, `^r` the result, and
    `~` stands in every inner name where its reader puts a number. It may call functions of libm,
    tcl_NAME each. Raises Unsupported.
    """
    ptx = shortened(_assembly([_tile_ir(row)], "tile"))
    body = ptx[ptx.index("{") :]
    if re.search(r"\.(global|local)\b", body):
        raise Unsupported("memory")
    body = re.sub(r"%(\w)", r"%~\1", body).replace("$L", "$~L")
    body, returns = re.subn(r"^ret;\n", "bra.uni $~done;\n", body, flags=re.M)
    at_end = "bra.uni $~done;\n}\n"
    if returns == 1 and body.endswith(at_end):
        return body.removesuffix(at_end) + "}\n"
    return body[: body.rindex("}")] + "$~done:\n}\n"
