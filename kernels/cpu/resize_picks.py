"""Vectors picked from a row: what each instruction set has for elements near each other."""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import Any

from llvmlite import ir
from numba import types

from _lang import namespace
from _lang.abi import PTR
from _lang.dtypes import DTYPES
from _lang.emit import intrinsic_of
from _lang.isas import VECTOR_BITS
from _lang.lanes import I1, I32, Lanes, declared
from _lang.scalar import element_pointer
from _lang.simd import Vec, load_vector

BYTES_EACH = 16  # lanes of vectors of bytes


def _loaded(b: Any, pointer: Any, at: Any, lanes: int) -> Any:
    return load_vector(b, pointer, at, DTYPES["float"], lanes)


def _permuted(b: Any, row: Any, index: Any, lanes: int) -> Any:
    """Elements `index` of one vector; the low bits of an index count."""
    name = {8: "llvm.x86.avx2.permps", 16: "llvm.x86.avx512.permvar.sf.512"}[lanes]
    shape = ir.FunctionType(row.type, [row.type, index.type])
    return b.call(declared(b, name, shape), [row, index])


def _of_one(b: Any, pointer: Any, at: Any, index: Any, lanes: int) -> Any:
    return _permuted(b, _loaded(b, pointer, at, lanes), index, lanes)


def _of_two(b: Any, pointer: Any, at: Any, index: Any, lanes: int) -> Any:
    first = _loaded(b, pointer, at, lanes)
    second = _loaded(b, pointer, b.add(at, ir.Constant(at.type, lanes)), lanes)
    if lanes == 16:
        kinds = [first.type, index.type, first.type]
        function = declared(
            b, "llvm.x86.avx512.vpermi2var.ps.512", ir.FunctionType(first.type, kinds)
        )
        return b.call(function, [first, index, second])
    beyond = Lanes(b, index, "int32", lanes).compare(">", lanes - 1)
    low, high = (_permuted(b, row, index, lanes) for row in (first, second))
    return b.select(beyond.value, high, low)


def _of_any(b: Any, pointer: Any, at: Any, index: Any, lanes: int) -> Any:
    """Each element by an address of its own."""
    base = element_pointer(b, pointer, at, DTYPES["float"])
    kind = ir.VectorType(ir.FloatType(), lanes)
    places = b.gep(base, [index], source_etype=ir.FloatType())
    places.type = ir.VectorType(ir.PointerType(), lanes)  # llvmlite takes it for a single one
    shape = ir.FunctionType(kind, [places.type, I32, ir.VectorType(I1, lanes), kind])
    gather = declared(b, f"llvm.masked.gather.v{lanes}f32.v{lanes}p0", shape)
    everywhere = ir.Constant(ir.VectorType(I1, lanes), [I1(1)] * lanes)
    return b.call(gather, [places, I32(4), everywhere, ir.Constant(kind, ir.Undefined)])


def _bytes_of_one(b: Any, pointer: Any, at: Any, index: Any, name: str) -> Any:
    row = load_vector(b, pointer, at, DTYPES["uint8"], BYTES_EACH)
    shape = ir.FunctionType(row.type, [row.type, index.type])
    return b.call(declared(b, name, shape), [row, index])


def _bytes_of_two(b: Any, pointer: Any, at: Any, index: Any, name: str) -> Any:
    lanes = BYTES_EACH
    low = _bytes_of_one(b, pointer, at, index, name)
    near = Lanes(b, index, "uint8", lanes)
    beyond = b.add(at, ir.Constant(at.type, lanes))
    high = _bytes_of_one(b, pointer, beyond, (near - lanes).value, name)
    return b.select(near.compare("<", lanes).value, low, high)


@cache
def byte_picks(isa: str) -> ModuleType:
    """As `picks`, of bytes and vectors of 16 of them; without `any`."""
    name = "llvm.aarch64.neon.tbl1.v16i8" if isa == "neon" else "llvm.x86.ssse3.pshuf.b.128"
    vec = Vec("uint8", BYTES_EACH)
    sig = vec(PTR, types.int64, vec)

    def made(build: Any) -> Any:
        return intrinsic_of(sig, lambda ctx, b, _, args: build(b, *args, name))

    return namespace("byte_picks", one=made(_bytes_of_one), two=made(_bytes_of_two))


@cache
def picks(isa: str) -> ModuleType:
    """`one(pointer, at, index)`: the floats at pointer[at + index], where all indices are below the
    lanes of a vector; `two`: below twice as many; `any`: whatever they are. All of one or two
    vectors from `at` on is read.
    """
    lanes = VECTOR_BITS[isa] // 32
    vec = Vec("float", lanes)
    sig = vec(PTR, types.int64, Vec("int32", lanes))
    near = isa != "neon"

    def made(build: Any) -> Any:
        return intrinsic_of(sig, lambda ctx, b, _, args: build(b, *args, lanes))

    return namespace(
        "picks",
        one=made(_of_one if near else _of_any),
        two=made(_of_two if near else _of_any),
        any=made(_of_any),
    )
