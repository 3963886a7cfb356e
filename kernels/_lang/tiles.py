"""Elementwise loops written straight in LLVM IR: vectors of the instruction set, then single
elements.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from _lang import functions
from _lang.decorators import TileRow
from _lang.dtypes import DTYPES, DType
from _lang.isas import VECTOR_BITS
from _lang.lanes import I64, Lanes, llvm_type, splat
from _lang.scalar import load_element, store_element
from _lang.simd import compute_element, load_vector, store_vector
from _lang.small_floats import SMALL_FLOATS

_BYTES = ir.IntType(8).as_pointer()


class Family:
    """`v` of a tile: functions of `Lanes`, and constants of the first operand's type."""

    def __init__(self, model: Lanes) -> None:
        self._model = model
        self.one, self.zero = model.const(1), model.const(0)

    def const(self, number: float) -> Lanes:
        """`number` in the first operand's type."""
        return self._model.const(number)

    def select(self, mask: Lanes, yes: Any, no: Any) -> Lanes:
        return mask.select(yes, no)

    def fma(self, a: Lanes, b: Any, c: Any) -> Lanes:
        return functions.fma(a, a.lift(b), a.lift(c))

    def __getattr__(self, name: str) -> Any:
        if name in functions.UNARY:
            return functions.UNARY[name]
        if name in functions.BINARY:
            function = functions.BINARY[name]
            return lambda a, b: function(a, a.lift(b))
        if name in functions.COMPARE:
            sign = functions.COMPARE[name]
            return lambda a, b: a.compare(sign, b)
        raise AttributeError(name)


def _loaded(b: Any, pointer: Any, i: Any, dtype: DType, lanes: int) -> Lanes:
    """Operand elements from i: numbers in their compute type, bool as a mask."""
    if lanes == 1:
        value = load_element(b, pointer, i, dtype)
    else:
        value = load_vector(b, pointer, i, dtype, lanes)
    made = Lanes(b, value, compute_element(dtype), lanes)
    return made.compare("!=", 0) if dtype.name == "bool" else made


def _stored(b: Any, pointer: Any, i: Any, made: Lanes, dtype: DType) -> None:
    """A result, converted to the dtype; a mask becomes 0 and 1."""
    element = compute_element(dtype)
    if made.element == "bool":
        wide = b.zext(made.value, llvm_type("uint8", made.lanes))
        made = Lanes(b, wide, "uint8", made.lanes)
    made = made.to(element)
    if made.lanes == 1:
        store_element(b, pointer, i, made.value, dtype)
    else:
        store_vector(b, pointer, i, made.value, dtype, made.lanes)


def _parameters(b: Any, row: TileRow, params: Any, element: str, lanes: int) -> list[Lanes]:
    """Attributes, as numbers of the first operand's type."""
    out = []
    for i in range(len(row.attributes)):
        number = b.load(b.gep(params, [I64(i)]))
        scalar = Lanes(b, number, "double", 1).to("float" if element == "bool" else element)
        out.append(splat(b, scalar.value, scalar.element, lanes))
    return out


def _loop(b: Any, begin: Any, end: Any, step: int, body: Any) -> None:
    """for i in range(begin, end, step)"""
    head, inside, after = (b.append_basic_block(n) for n in ("head", "body", "after"))
    before = b.block
    b.branch(head)
    b.position_at_end(head)
    i = b.phi(I64)
    i.add_incoming(begin, before)
    b.cbranch(b.icmp_signed("<", i, end), inside, after)
    b.position_at_end(inside)
    body(i)
    i.add_incoming(b.add(i, I64(step)), b.block)
    b.branch(head)
    b.position_at_end(after)


def tile_lanes(row: TileRow, isa: str) -> int:
    """Lanes of the widest operand or result; 1 for types without vector loads."""
    widest = 8
    for name in [*row.operands, row.result]:
        dtype = DTYPES[name]
        if dtype.bits < 8 or name in SMALL_FLOATS:
            return 1
        element = compute_element(dtype)
        widest = max(widest, llvm_width(element))
    return VECTOR_BITS[isa] // widest


def llvm_width(element: str) -> int:
    """Bits of a compute element."""
    return {"float": 32, "double": 64}.get(element) or int(element.lstrip("uint"))


def lower_tile(symbol: str, row: TileRow, isa: str) -> str:
    """IR text of the C function `symbol`: TclTileFn of kernel.h."""
    module = ir.Module(symbol)
    shape = ir.FunctionType(ir.VoidType(), [_BYTES] * 4 + [I64, ir.DoubleType().as_pointer()])
    function = ir.Function(module, shape, symbol)
    b = ir.IRBuilder(function.append_basic_block())
    out, *pointers = function.args[:4]
    n, params = function.args[4:]
    dtypes = [DTYPES[name] for name in row.operands]

    def body(lanes: int) -> Any:
        first = "bool" if row.operands[0] == "bool" else compute_element(dtypes[0])
        extra = _parameters(b, row, params, first, lanes)

        def at(i: Any) -> None:
            operands = [_loaded(b, p, i, d, lanes) for p, d in zip(pointers, dtypes, strict=False)]
            made = row.build(Family(operands[0]), *operands, *extra)
            _stored(b, out, i, made, DTYPES[row.result])

        return at

    lanes = tile_lanes(row, isa)
    whole = I64(0)
    if lanes > 1:
        whole = b.and_(n, I64(-lanes))
        _loop(b, I64(0), whole, lanes, body(lanes))
    _loop(b, whole, n, 1, body(1))
    b.ret_void()
    return str(module)
