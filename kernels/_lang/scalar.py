"""Loads and stores of single elements: half, small floats and packed types become compute
types.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, register_model

from _lang.abi import PTR
from _lang.dtypes import DTYPES, DType, Word128
from _lang.lanes import I64, Lanes
from _lang.small_floats import SMALL_FLOATS, narrow_small, widen_small

_I8, _I16 = ir.IntType(8), ir.IntType(16)


@register_model(Word128)
class _Word128Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, ir.IntType(128))


def widen_half(b: Any, word: Any, kind: str, lanes: int = 1) -> Any:
    """float16 or bfloat16 words to float."""
    wide = ir.FloatType() if lanes == 1 else ir.VectorType(ir.FloatType(), lanes)
    if kind == "float16":
        half = ir.HalfType() if lanes == 1 else ir.VectorType(ir.HalfType(), lanes)
        return b.fpext(b.bitcast(word, half), wide)
    whole = ir.IntType(32) if lanes == 1 else ir.VectorType(ir.IntType(32), lanes)
    sixteen = Lanes(b, None, "int32", lanes).const(16).value
    return b.bitcast(b.shl(b.zext(word, whole), sixteen), wide)


def narrow_half(b: Any, value: Any, kind: str, lanes: int = 1) -> Any:
    """float to float16 or bfloat16 words, rounded to nearest even."""
    word = _I16 if lanes == 1 else ir.VectorType(_I16, lanes)
    if kind == "float16":
        half = ir.HalfType() if lanes == 1 else ir.VectorType(ir.HalfType(), lanes)
        return b.bitcast(b.fptrunc(value, half), word)
    x = Lanes(b, value, "float", lanes)
    bits = x.bits("uint32")
    rounded = (bits + (((bits >> 16) & 1) + 0x7FFF)) >> 16
    quiet = (bits >> 16) | 0x40
    return b.trunc(x.compare("!=", x).select(quiet, rounded).value, word)


def element_pointer(b: Any, pointer: Any, index: Any, dtype: DType) -> Any:
    """Where element `index` of whole bytes lies."""
    typed = b.bitcast(pointer, dtype.storage.as_pointer())
    return b.gep(typed, [index])


def _alignment(dtype: DType) -> int:
    return min(max(dtype.bits // 8, 1), 8)


def _packed_place(b: Any, pointer: Any, index: Any, bits: int) -> tuple[Any, Any, Any]:
    """Where a sub-byte element lies: its bytes (one and the same unless it crosses them), and its
    lowest bit in the first.
    """
    at = b.mul(index, I64(bits))
    shift = b.and_(at, I64(7))
    first = b.gep(pointer, [b.lshr(at, I64(3))])
    crosses = b.icmp_unsigned(">", shift, I64(8 - bits))
    return first, b.gep(first, [b.zext(crosses, I64)]), b.trunc(shift, _I16)


def _load_packed(b: Any, pointer: Any, index: Any, bits: int) -> Any:
    """The bits of a sub-byte element as a byte."""
    first, second, shift = _packed_place(b, pointer, index, bits)
    word = b.zext(b.load(first), _I16)
    if 8 % bits:
        word = b.or_(word, b.shl(b.zext(b.load(second), _I16), _I16(8)))
    return b.and_(b.trunc(b.lshr(word, shift), _I8), _I8((1 << bits) - 1))


def _store_packed(b: Any, pointer: Any, index: Any, word: Any, bits: int) -> None:
    """The low bits of a byte into a sub-byte element; its neighbours stay."""
    first, second, shift = _packed_place(b, pointer, index, bits)
    mask = b.shl(_I16((1 << bits) - 1), shift)
    value = b.and_(b.shl(b.zext(word, _I16), shift), mask)

    def mixed(old: Any, by: int) -> Any:
        part, keep = (b.trunc(b.lshr(v, _I16(by)), _I8) for v in (value, b.not_(mask)))
        return b.or_(b.and_(old, keep), part)

    old = b.load(first)
    if 8 % bits:
        # Where both bytes are one, this writes it unchanged.
        b.store(mixed(b.load(second), 8), second)
    b.store(mixed(old, 0), first)


def load_element(b: Any, pointer: Any, index: Any, dtype: DType) -> Any:
    """Element `index` in its compute type."""
    if dtype.bits < 8:
        word = _load_packed(b, pointer, index, dtype.bits)
        if dtype.is_float:
            return widen_small(b, word, dtype.name)
        top = _I8(8 - dtype.bits)
        return b.ashr(b.shl(word, top), top) if dtype.is_signed else word
    word = b.load(element_pointer(b, pointer, index, dtype))
    word.align = _alignment(dtype)
    if dtype.name in ("float16", "bfloat16"):
        return widen_half(b, word, dtype.name)
    if dtype.name in SMALL_FLOATS:
        return widen_small(b, word, dtype.name)
    return word


def store_element(b: Any, pointer: Any, index: Any, value: Any, dtype: DType) -> None:
    """`value` of the compute type into element `index`."""
    if dtype.name in ("float16", "bfloat16"):
        value = narrow_half(b, value, dtype.name)
    elif dtype.name in SMALL_FLOATS:
        value = narrow_small(b, value, dtype.name)
    if dtype.bits < 8:
        _store_packed(b, pointer, index, value, dtype.bits)
        return
    b.store(value, element_pointer(b, pointer, index, dtype)).align = _alignment(dtype)


@cache
def loader(name: str) -> Callable[..., Any]:
    """`load(pointer, index)` for elements of dtype `name`."""
    dtype = DTYPES[name]

    @intrinsic
    def load(typing: Any, pointer: Any, index: Any) -> Any:
        def emit(ctx: Any, b: Any, sig: Any, args: Any) -> Any:
            return load_element(b, args[0], args[1], dtype)

        return dtype.compute(PTR, types.int64), emit

    return load


@cache
def storer(name: str) -> Callable[..., Any]:
    """`store(pointer, index, value)` for elements of dtype `name`; rounds once or wraps."""
    dtype = DTYPES[name]

    @intrinsic
    def store(typing: Any, pointer: Any, index: Any, value: Any) -> Any:
        def emit(ctx: Any, b: Any, sig: Any, args: Any) -> Any:
            store_element(b, args[0], args[1], args[2], dtype)
            return ctx.get_dummy_value()

        return types.void(PTR, types.int64, dtype.compute), emit

    return store
