"""The pointwise programs of a call, for runs of its output and of its first input."""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from _lang import inline
from _lang.abi import EPILOGUE, PTR
from _lang.emit import intrinsic_of
from _lang.lanes import I64

_BYTES = ir.IntType(8).as_pointer()
APPLY_ROWS, APPLY_SUMS = 16, 24  # in TclEpilogue
PROLOGUE = 72  # in TclCall


def _field(b: Any, pointer: Any, offset: int, kind: Any) -> Any:
    return b.load(b.bitcast(b.gep(pointer, [I64(offset)]), kind.as_pointer()))


@cache
def epilogue_rows() -> Any:
    """`finish(call, data, start, count, rows, stride)`: applies the epilogue, if there is one, to
    `rows` runs of `count` elements, `stride` elements apart; `data` is output element `start`.
    """
    n = types.int64

    def lower(ctx: Any, b: Any, _: Any, args: Any) -> Any:
        record = _field(b, args[0], EPILOGUE, _BYTES)
        shape = ir.FunctionType(ir.VoidType(), [_BYTES, _BYTES, I64, I64, I64, I64])
        apply = _field(b, record, APPLY_ROWS, shape.as_pointer())
        with b.if_then(cgutils.is_not_null(b, apply)):
            b.call(apply, [_field(b, record, 8, _BYTES), *args[1:]])
        return ctx.get_dummy_value()

    return intrinsic_of(types.void(PTR, PTR, n, n, n, n), lower)


@cache
def epilogue_of_sums() -> Any:
    """`finish(call, sums, sums_stride, data, start, count, rows, stride)`: as `epilogue_rows`, from
    float32 results that are not rounded to the 16 bits of the output yet; 0 when there is no
    epilogue that takes them.
    """
    n = types.int64

    def lower(ctx: Any, b: Any, _: Any, args: Any) -> Any:
        record = _field(b, args[0], EPILOGUE, _BYTES)
        kinds = [_BYTES, _BYTES, I64, _BYTES, I64, I64, I64, I64]
        shape = ir.FunctionType(ir.VoidType(), kinds)
        apply = _field(b, record, APPLY_SUMS, shape.as_pointer())
        there = cgutils.is_not_null(b, apply)
        with b.if_then(there):
            b.call(apply, [_field(b, record, 8, _BYTES), *args[1:]])
        return b.zext(there, I64)

    return intrinsic_of(types.int64(PTR, PTR, n, PTR, n, n, n, n), lower)


@cache
def has_prologue() -> Any:
    """`has(call)`: 1 when input 0 is computed by a program instead of lying in memory."""

    def lower(ctx: Any, b: Any, _: Any, args: Any) -> Any:
        record = _field(b, args[0], PROLOGUE, _BYTES)
        return b.zext(cgutils.is_not_null(b, _field(b, record, 0, _BYTES)), I64)

    return intrinsic_of(types.int64(PTR), lower)


@cache
def prologue_fill() -> Any:
    """`fill(call, to, start, count)`: computes elements of input 0; there must be a prologue."""
    n = types.int64

    def lower(ctx: Any, b: Any, _: Any, args: Any) -> Any:
        record = _field(b, args[0], PROLOGUE, _BYTES)
        shape = ir.FunctionType(ir.VoidType(), [_BYTES, _BYTES, I64, I64])
        fill = _field(b, record, 0, shape.as_pointer())
        b.call(fill, [_field(b, record, 8, _BYTES), *args[1:]])
        return ctx.get_dummy_value()

    return intrinsic_of(types.void(PTR, PTR, n, n), lower)


def input_rows(k: Any, t: str = "T") -> Any:
    """`take(call, start, count, memory)`: where elements [start, start + count) of input 0 lie:
    in the input, or in `memory`, computed there by the prologue. A kernel that uses it takes
    prologues: its row of the kernel table says so.
    """
    has, fill = has_prologue(), prologue_fill()
    size = k.dtype(t).bits // 8
    k.__dict__["_takes_prologue"] = True

    @inline
    def take(call, start, count, memory):
        at = k.offset(k.input(call, 0), start * size)
        if has(call) != 0:
            fill(call, memory, start, count)
            at = memory
        return at

    return take
