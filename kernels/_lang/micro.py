"""The register-blocked inner loop of matrix products: rows × vectors of float, kept in
registers over the whole depth.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import ir
from numba import types

from _lang.abi import PTR
from _lang.emit import intrinsic_of
from _lang.lanes import I32, I64, Lanes, declared, splat

_F32 = ir.FloatType()


@cache
def micro(rows: int, vectors: int, lanes: int, masked: bool) -> Any:
    """C[rows, vectors·lanes] = A B, or C += A B when `first` is 0.

    Arguments (depth, a, a_row, a_step, b, b_row, c, c_row, columns, first): a[r·a_row +
    k·a_step], b[k·b_row + j], c[r·c_row + j], all strides in elements. `masked`: only the first
    `columns` columns exist in B and C.
    """
    number = types.int64
    sig = types.void(number, PTR, number, number, PTR, number, PTR, number, number, number)
    vector = ir.VectorType(_F32, lanes)

    def lower(ctx: Any, b: Any, _: Any, args: Any) -> Any:
        depth, a, a_row, a_step, source, b_row, c, c_row, columns, first = args
        masks = _masks(b, columns, vectors, lanes) if masked else [None] * vectors
        at = _places(b, c, c_row, rows, vectors, lanes)
        start = _start(b, at, masks, first, vector)
        done = _loop(b, (depth, a, a_row, a_step, source, b_row), start, masks, vector)
        for place, value, mask in zip(at, done, masks * rows, strict=True):
            _store(b, place, value, mask)
        return ctx.get_dummy_value()

    return intrinsic_of(sig, lower)


def _masks(b: Any, columns: Any, vectors: int, lanes: int) -> list[Any]:
    index = ir.Constant(ir.VectorType(I64, lanes), [I64(i) for i in range(lanes)])
    out = []
    for v in range(vectors):
        left = b.sub(columns, I64(v * lanes))
        out.append(b.icmp_signed("<", index, splat(b, left, "int64", lanes).value))
    return out


def _float_pointer(b: Any, pointer: Any, element: Any) -> Any:
    return b.gep(b.bitcast(pointer, _F32.as_pointer()), [element])


def _load(b: Any, place: Any, mask: Any, vector: ir.VectorType) -> Any:
    typed = b.bitcast(place, vector.as_pointer())
    if mask is None:
        value = b.load(typed)
        value.align = 4
        return value
    shape = ir.FunctionType(vector, [typed.type, I32, mask.type, vector])
    function = declared(b, f"llvm.masked.load.v{vector.count}f32.p0", shape)
    return b.call(function, [typed, I32(4), mask, ir.Constant(vector, None)])


def _store(b: Any, place: Any, value: Any, mask: Any) -> None:
    typed = b.bitcast(place, value.type.as_pointer())
    if mask is None:
        b.store(value, typed).align = 4
        return
    shape = ir.FunctionType(ir.VoidType(), [value.type, typed.type, I32, mask.type])
    function = declared(b, f"llvm.masked.store.v{value.type.count}f32.p0", shape)
    b.call(function, [value, typed, I32(4), mask])


def _places(b: Any, c: Any, c_row: Any, rows: int, vectors: int, lanes: int) -> list[Any]:
    """Where the vectors of C lie, row by row."""
    out = []
    for r in range(rows):
        start = b.mul(c_row, I64(r))
        out += [_float_pointer(b, c, b.add(start, I64(v * lanes))) for v in range(vectors)]
    return out


def _start(b: Any, at: list[Any], masks: list[Any], first: Any, vector: ir.VectorType) -> list[Any]:
    """Zeros, or what C holds."""
    fresh = b.icmp_signed("!=", first, I64(0))
    before, other, after = b.block, b.append_basic_block("held"), b.append_basic_block("begun")
    b.cbranch(fresh, after, other)
    b.position_at_end(other)
    rows = len(at) // len(masks)
    held = [_load(b, p, m, vector) for p, m in zip(at, masks * rows, strict=True)]
    b.branch(after)
    b.position_at_end(after)
    out = []
    for value in held:
        phi = b.phi(vector)
        phi.add_incoming(ir.Constant(vector, None), before)
        phi.add_incoming(value, other)
        out.append(phi)
    return out


def _loop(
    b: Any, args: Any, start: list[Any], masks: list[Any], vector: ir.VectorType
) -> list[Any]:
    """The accumulators after the whole depth."""
    depth, a, a_row, a_step, source, b_row = args
    rows, lanes = len(start) // len(masks), vector.count
    head, body, after = (b.append_basic_block(n) for n in ("depth", "step", "deep"))
    before = b.block
    # One pointer for three rows: the rows between are its multiples of the row stride.
    bases = [_float_pointer(b, a, b.mul(a_row, I64(r))) for r in range(0, rows, 3)]
    first_row = b.bitcast(source, _F32.as_pointer())
    b.branch(head)
    b.position_at_end(head)
    k = b.phi(I64)
    k.add_incoming(I64(0), before)
    pointers = [b.phi(p.type) for p in bases]
    row = b.phi(_F32.as_pointer())
    sums = [b.phi(vector) for _ in start]
    for phi, value in zip([*pointers, *sums], [*bases, *start], strict=True):
        phi.add_incoming(value, before)
    row.add_incoming(first_row, before)
    b.cbranch(b.icmp_signed("<", k, depth), body, after)
    b.position_at_end(body)
    right = [_load(b, b.gep(row, [I64(v * lanes)]), mask, vector) for v, mask in enumerate(masks)]
    new = []
    for r in range(rows):
        place = b.gep(pointers[r // 3], [b.mul(a_row, I64(r % 3))])
        left = splat(b, b.load(place), "float", lanes)
        for v, value in enumerate(right):
            held = Lanes(b, sums[r * len(masks) + v], "float", lanes)
            new.append(left.call("fma", left.like(value), held).value)
    for phi in pointers:
        phi.add_incoming(b.gep(phi, [a_step]), b.block)
    row.add_incoming(b.gep(row, [b_row]), b.block)
    for phi, value in zip(sums, new, strict=True):
        phi.add_incoming(value, b.block)
    k.add_incoming(b.add(k, I64(1)), b.block)
    b.branch(head)
    b.position_at_end(after)
    return sums
