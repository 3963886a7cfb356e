"""Squares of lanes × lanes elements, transposed in registers."""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import ir
from numba import types

from _lang.abi import PTR
from _lang.dtypes import DTYPES
from _lang.emit import intrinsic_of
from _lang.lanes import I32
from _lang.simd import load_vector, store_vector


@cache
def transpose_block(source: str, target: str, lanes: int) -> Any:
    """`turn(to, to_at, to_row, x, at, row)`: element j of row i of the square at `at` goes to
    element i of row j of the square at `to_at`; strides in elements. `target` is `source`, or its
    compute type.
    """
    n = types.int64
    have, want = DTYPES[source], DTYPES[target]

    def lower(ctx: Any, b: Any, _: Any, args: Any) -> Any:
        to, to_at, to_row, x, at, row = args
        rows = []
        for i in range(lanes):
            place = b.add(at, b.mul(row, ir.IntType(64)(i)))
            rows.append(load_vector(b, x, place, have, lanes))
        step = 1
        while step < lanes:
            rows = _exchange(b, rows, step, lanes)
            step *= 2
        for j in range(lanes):
            place = b.add(to_at, b.mul(to_row, ir.IntType(64)(j)))
            store_vector(b, to, place, rows[j], want, lanes)
        return ctx.get_dummy_value()

    return intrinsic_of(types.void(PTR, n, n, PTR, n, n), lower)


def _exchange(b: Any, rows: list[Any], step: int, lanes: int) -> list[Any]:
    """Swaps, in every square of 2 · step, the block above right with the block below left."""
    lane = range(lanes)
    upper = [j if j & step == 0 else lanes + j - step for j in lane]
    lower = [j + step if j & step == 0 else lanes + j for j in lane]
    out = list(rows)
    for i in lane:
        if i & step == 0:
            pair = rows[i], rows[i + step]
            out[i] = b.shuffle_vector(*pair, _picks(upper))
            out[i + step] = b.shuffle_vector(*pair, _picks(lower))
    return out


def _picks(lanes: list[int]) -> Any:
    return ir.Constant(ir.VectorType(I32, len(lanes)), [I32(i) for i in lanes])
