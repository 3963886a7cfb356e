"""Loads and stores of single elements: half, float8 and packed types become compute types."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, register_model

from _lang.abi import PTR
from _lang.dtypes import DTYPES, DType, Word128
from _lang.float8 import narrow_float8, widen_float8
from _lang.lanes import I64, Lanes

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


def _packed_place(b: Any, index: Any, bits: int) -> tuple[Any, Any]:
    """Byte number and shift of a sub-byte element."""
    per_byte = 8 // bits
    byte = b.udiv(index, I64(per_byte))
    shift = b.trunc(b.mul(b.urem(index, I64(per_byte)), I64(bits)), _I8)
    return byte, shift


def load_element(b: Any, pointer: Any, index: Any, dtype: DType) -> Any:
    """Element `index` in its compute type."""
    if dtype.bits < 8:
        byte, shift = _packed_place(b, index, dtype.bits)
        word = b.lshr(b.load(b.gep(pointer, [byte])), shift)
        top = _I8(8 - dtype.bits)
        word = b.shl(word, top)
        return b.ashr(word, top) if dtype.is_signed else b.lshr(word, top)
    word = b.load(element_pointer(b, pointer, index, dtype))
    word.align = _alignment(dtype)
    if dtype.name in ("float16", "bfloat16"):
        return widen_half(b, word, dtype.name)
    if dtype.name.startswith("float8"):
        return widen_float8(b, word, dtype.name)
    return word


def store_element(b: Any, pointer: Any, index: Any, value: Any, dtype: DType) -> None:
    """`value` of the compute type into element `index`."""
    if dtype.bits < 8:
        byte, shift = _packed_place(b, index, dtype.bits)
        place = b.gep(pointer, [byte])
        mask = _I8((1 << dtype.bits) - 1)
        kept = b.and_(b.load(place), b.not_(b.shl(mask, shift)))
        b.store(b.or_(kept, b.shl(b.and_(value, mask), shift)), place)
        return
    if dtype.name in ("float16", "bfloat16"):
        value = narrow_half(b, value, dtype.name)
    elif dtype.name.startswith("float8"):
        value = narrow_float8(b, value, dtype.name)
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
