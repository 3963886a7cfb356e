"""Dot products of narrow integers: the instruction that each instruction set has for them."""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import Any

from llvmlite import ir
from numba.extending import intrinsic

from _lang.isas import VECTOR_BITS
from _lang.lanes import I32, Lanes, declared
from _lang.simd import Vec

_I8, _I16 = ir.IntType(8), ir.IntType(16)


def _bytes(b: Any, total: Any, x: Any, y: Any, lanes: int) -> Any:
    """total + four products of an unsigned byte of x and a signed byte of y, in each lane."""
    wide, narrow = ir.VectorType(I32, lanes), ir.VectorType(_I8, lanes * 4)
    shape = ir.FunctionType(wide, [wide, narrow, narrow])
    function = declared(b, f"llvm.x86.avx512.vpdpbusd.{lanes * 32}", shape)
    return b.call(function, [total, b.bitcast(x, narrow), b.bitcast(y, narrow)])


def _words(b: Any, total: Any, x: Any, y: Any, lanes: int) -> Any:
    """total + two products of signed 16-bit words, in each lane."""
    wide, narrow = ir.VectorType(I32, lanes), ir.VectorType(_I16, lanes * 2)
    name = {8: "llvm.x86.avx2.pmadd.wd", 16: "llvm.x86.avx512.pmaddw.d.512"}[lanes]
    function = declared(b, name, ir.FunctionType(wide, [narrow, narrow]))
    return b.add(total, b.call(function, [b.bitcast(x, narrow), b.bitcast(y, narrow)]))


def _portable(b: Any, total: Any, x: Any, y: Any, lanes: int) -> Any:
    """As `_words`, in plain arithmetic."""
    p, q = Lanes(b, x, "int32", lanes), Lanes(b, y, "int32", lanes)
    low = ((p << 16) >> 16) * ((q << 16) >> 16)
    return (Lanes(b, total, "int32", lanes) + low + (p >> 16) * (q >> 16)).value


@cache
def dot(isa: str) -> ModuleType:
    """`group` narrow numbers share a 32-bit lane; `add(total, x, y)` adds their products.

    group 4: x holds unsigned bytes and y signed ones. group 2: both hold signed 16-bit words.
    """
    lanes = VECTOR_BITS[isa] // 32
    vec = Vec("int32", lanes)
    build = _bytes if isa in ("amx", "bf16", "vnni") else _portable if isa == "neon" else _words

    @intrinsic
    def add(typing: Any, total: Any, x: Any, y: Any) -> Any:
        return vec(vec, vec, vec), lambda ctx, b, sig, args: build(b, *args, lanes)

    module = ModuleType("dot")
    module.__dict__.update(group=4 if build is _bytes else 2, add=add)
    return module
