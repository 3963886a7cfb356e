"""Bytes of four channels woven into words, as products of bytes take them, and sums of products as
floats, by vectors of pixels.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import ir
from numba import types

from _lang.abi import PTR
from _lang.dtypes import DTYPES
from _lang.emit import intrinsic_of
from _lang.lanes import Lanes, splat
from _lang.simd import Vec, load_vector, store_vector

CHANNELS = 4


@cache
def weave(lanes: int) -> Any:
    """`put(to, sums, at, x, from, apart, flip, n)`: word i of `to`, from `at` on, gets byte from +
    i of x and those `apart` bytes further on, each turned over by `flip` (0 or 128) and less 128;
    the sums get their total. For the first n pixels of a vector.
    """
    n = types.int64
    byte, word = DTYPES["uint8"], DTYPES["int32"]

    def lower(ctx: Any, b: Any, _: Any, args: Any) -> Any:
        to, sums, at, x, start, apart, flip, count = args
        turn = splat(b, b.trunc(flip, ir.IntType(32)), "int32", lanes)
        words = total = None
        for c in range(CHANNELS):
            place = b.add(start, b.mul(apart, ir.IntType(64)(c)))
            raw = Lanes(b, load_vector(b, x, place, byte, lanes), "uint8", lanes)
            value = raw.to("int32") ^ turn
            words = value if words is None else words | (value << 8 * c)
            total = value if total is None else total + value
        words = words ^ words.const(0x80808080 - (1 << 32))
        store_vector(b, to, at, words.value, word, lanes, count)
        before = Lanes(b, load_vector(b, sums, at, word, lanes, count), "int32", lanes)
        after = before + total - total.const(128 * CHANNELS)
        store_vector(b, sums, at, after.value, word, lanes, count)
        return ctx.get_dummy_value()

    return intrinsic_of(types.void(PTR, PTR, n, PTR, n, n, n, n), lower)


@cache
def sums_as_floats(lanes: int) -> Any:
    """`load(sums, i, more)`: a vector of int32 plus `more`, which wraps, as floats."""

    def lower(ctx: Any, b: Any, _: Any, args: Any) -> Any:
        words = load_vector(b, args[0], args[1], DTYPES["int32"], lanes)
        total = Lanes(b, words, "int32", lanes) + splat(b, args[2], "int32", lanes)
        return total.to("float").value

    return intrinsic_of(Vec("float", lanes)(PTR, types.int64, types.int32), lower)
