"""Walks through packed decision trees, many at once: by gathers where registers have 512 bits."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import int64
from numba.extending import intrinsic

from _lang import inline
from _lang.abi import PTR
from _lang.isas import VECTOR_BITS
from _lang.lanes import I1, I32, I64, declared, llvm_type, splat
from _lang.simd import Vec


def at_once(k):
    """Pairs of a row and a tree that walk together, so that their loads overlap."""
    return 32 if VECTOR_BITS[k.isa] == 512 else 8


def walker(k, less, missing):
    """`walk(x, nodes, mask, shift, places, leaves)`: `places` holds the rows of as many pairs as
    walk together, in bytes of x, then the roots. `less`: branches compare by <, else by ≤;
    `missing`: NaN goes to the true side where bit 1 of the node says so.
    """
    return gathering(k, less, missing) if at_once(k) == 32 else one_by_one(k, less, missing)


def gather(b: Any, base: Any, places: Any, element: str, lanes: int) -> Any:
    """Elements of `lanes` places, bytes from `base`."""
    address = splat(b, b.ptrtoint(base, I64), "int64", lanes).value
    pointers = ir.VectorType(ir.IntType(8).as_pointer(), lanes)
    at = b.inttoptr(b.add(address, places), pointers)
    kind, every = llvm_type(element, lanes), ir.VectorType(I1, lanes)
    stem = {"float": "f32", "double": "f64", "int64": "i64"}[element]
    shape = ir.FunctionType(kind, [pointers, I32, every, kind])
    function = declared(b, f"llvm.masked.gather.v{lanes}{stem}.v{lanes}p0", shape)
    mask = ir.Constant(every, [I1(1)] * lanes)
    return b.call(function, [at, I32(4), mask, ir.Constant(kind, ir.Undefined)])


def gathering(k, less, missing):
    """Four registers of walks."""
    element, lanes = k.dtype("T").name, 8
    v, vec = k.vector("int64", lanes), Vec("int64", lanes)
    whole = llvm_type("int64", lanes)

    def number(n: int) -> Any:
        return ir.Constant(whole, [I64(n)] * lanes)

    def node(b: Any, nodes: Any, at: Any) -> Any:
        """The values and the words of nodes."""
        if element == "float":
            both = gather(b, nodes, b.shl(at, number(3)), "int64", lanes)
            low = b.trunc(both, ir.VectorType(I32, lanes))
            return b.bitcast(low, llvm_type("float", lanes)), b.lshr(both, number(32))
        place = b.shl(at, number(4))
        word = gather(b, nodes, b.add(place, number(8)), "int64", lanes)
        return gather(b, nodes, place, "double", lanes), b.and_(word, number((1 << 32) - 1))

    def build(b: Any, x: Any, rows: Any, nodes: Any, at: Any, mask: Any, shift: Any) -> Any:
        value, word = node(b, nodes, at)
        feature = b.and_(word, splat(b, mask, "int64", lanes).value)
        f = gather(b, x, b.add(rows, feature), element, lanes)
        past = b.fcmp_unordered(">=" if less else ">", f, value)
        if missing:
            marked = b.icmp_signed("!=", b.and_(word, number(2)), number(0))
            past = b.and_(past, b.not_(b.and_(b.fcmp_unordered("uno", f, f), marked)))
        ahead = b.lshr(word, splat(b, shift, "int64", lanes).value)
        return b.add(b.add(at, ahead), b.select(past, b.and_(word, number(1)), number(0)))

    @intrinsic
    def step(typing: Any, x: Any, rows: Any, nodes: Any, at: Any, mask: Any, shift: Any) -> Any:
        signature = vec(PTR, vec, PTR, vec, int64, int64)
        return signature, lambda ctx, b, sig, args: build(b, *args)

    @inline
    def walk(x, nodes, mask, shift, places, leaves):
        r0, r1 = v.load(places, 0), v.load(places, 8)
        r2, r3 = v.load(places, 16), v.load(places, 24)
        a0, a1 = v.load(places, 32), v.load(places, 40)
        a2, a3 = v.load(places, 48), v.load(places, 56)
        going = True
        while going:
            b0, b1 = step(x, r0, nodes, a0, mask, shift), step(x, r1, nodes, a1, mask, shift)
            b2, b3 = step(x, r2, nodes, a2, mask, shift), step(x, r3, nodes, a3, mask, shift)
            a0, a1 = step(x, r0, nodes, b0, mask, shift), step(x, r1, nodes, b1, mask, shift)
            a2, a3 = step(x, r2, nodes, b2, mask, shift), step(x, r3, nodes, b3, mask, shift)
            going = v.hmax(((a0 ^ b0) | (a1 ^ b1)) | ((a2 ^ b2) | (a3 ^ b3))) != 0
        v.store(leaves, 0, a0)
        v.store(leaves, 8, a1)
        v.store(leaves, 16, a2)
        v.store(leaves, 24, a3)

    return walk


def one_by_one(k, less, missing):
    """One walk per chain of scalar instructions."""
    size = k.dtype("T").bits // 8
    ld, link = k.load("T"), k.load("int32")
    ld64i, st64i, every = k.load("int64"), k.store("int64"), 2 * size // 4

    @inline
    def step(x, nodes, mask, shift, at):
        what = link(nodes, at * every + every // 2) * 1
        f, value = ld(k.offset(x, what & mask), 0), ld(nodes, at * 2)
        past = 1 - (f < value) if less else 1 - (f <= value)
        if missing:
            past = past & (1 - ((f != f) & (what >> 1)))
        return at + (what >> shift) + (past & what)

    @inline
    def walk(x, nodes, mask, shift, places, leaves):
        x0, x1 = k.offset(x, ld64i(places, 0)), k.offset(x, ld64i(places, 1))
        x2, x3 = k.offset(x, ld64i(places, 2)), k.offset(x, ld64i(places, 3))
        x4, x5 = k.offset(x, ld64i(places, 4)), k.offset(x, ld64i(places, 5))
        x6, x7 = k.offset(x, ld64i(places, 6)), k.offset(x, ld64i(places, 7))
        a0, a1, a2, a3 = (
            ld64i(places, 8) * 1,
            ld64i(places, 9) * 1,
            ld64i(places, 10) * 1,
            ld64i(places, 11) * 1,
        )
        a4, a5, a6, a7 = (
            ld64i(places, 12) * 1,
            ld64i(places, 13) * 1,
            ld64i(places, 14) * 1,
            ld64i(places, 15) * 1,
        )
        going = True
        while going:
            b0, b1 = step(x0, nodes, mask, shift, a0), step(x1, nodes, mask, shift, a1)
            b2, b3 = step(x2, nodes, mask, shift, a2), step(x3, nodes, mask, shift, a3)
            b4, b5 = step(x4, nodes, mask, shift, a4), step(x5, nodes, mask, shift, a5)
            b6, b7 = step(x6, nodes, mask, shift, a6), step(x7, nodes, mask, shift, a7)
            a0, a1 = step(x0, nodes, mask, shift, b0), step(x1, nodes, mask, shift, b1)
            a2, a3 = step(x2, nodes, mask, shift, b2), step(x3, nodes, mask, shift, b3)
            a4, a5 = step(x4, nodes, mask, shift, b4), step(x5, nodes, mask, shift, b5)
            a6, a7 = step(x6, nodes, mask, shift, b6), step(x7, nodes, mask, shift, b7)
            moved = (a0 ^ b0) | (a1 ^ b1) | (a2 ^ b2) | (a3 ^ b3)
            going = (moved | (a4 ^ b4) | (a5 ^ b5) | (a6 ^ b6) | (a7 ^ b7)) != 0
        st64i(leaves, 0, a0)
        st64i(leaves, 1, a1)
        st64i(leaves, 2, a2)
        st64i(leaves, 3, a3)
        st64i(leaves, 4, a4)
        st64i(leaves, 5, a5)
        st64i(leaves, 6, a6)
        st64i(leaves, 7, a7)

    return walk
