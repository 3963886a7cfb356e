"""The register-blocked inner loop of matrix products: rows × vectors of sums, kept in registers
over the whole depth.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import ir
from numba import types

from _lang.abi import PTR
from _lang.dtypes import DTYPES
from _lang.emit import intrinsic_of
from _lang.lanes import ELEMENTS, I32, I64, Lanes, declared, splat
from _lang.simd import load_vector, store_vector

LINE = 64  # bytes


@cache
def micro(rows: int, vectors: int, lanes: int, masked: bool, wide: str, stored: str) -> Any:
    """C[rows, vectors·lanes] = A B, or C += A B when `first` is 0.

    Arguments (depth, a, a_row, a_step, b, b_row, b_panel, c, c_row, columns, first, coming,
    coming_row): a[r·a_row + k·a_step], b[p·b_panel + k·b_row + j] for column j of panel p of two
    vectors, c[r·c_row + j], all strides in elements. A and C are of `wide`, B of `stored` and
    widened as it is loaded. `masked`: only the first `columns` columns exist in C. Otherwise step k
    asks for the memory of as many vectors from `coming` + k·coming_row bytes on.
    """
    n = types.int64
    sig = types.void(n, PTR, n, n, PTR, n, n, PTR, n, n, n, PTR, n)
    shape = _Shape(rows, vectors, lanes, masked, wide, stored)

    def lower(ctx: Any, b: Any, _: Any, args: Any) -> Any:
        _Body(b, shape, args).emit()
        return ctx.get_dummy_value()

    return intrinsic_of(sig, lower)


def prefetch(near: int = 3) -> Any:
    """`ahead(pointer, byte)`: asks for the cache line there, into the first-level cache or (2) the
    second; no fault when there is no memory.
    """

    def lower(ctx: Any, b: Any, _: Any, args: Any) -> Any:
        ask(b, b.gep(args[0], [args[1]]), near)
        return ctx.get_dummy_value()

    return intrinsic_of(types.void(PTR, types.int64), lower)


def ask(b: Any, place: Any, near: int = 3) -> None:
    """The prefetch of the cache line at a pointer."""
    place = b.bitcast(place, ir.IntType(8).as_pointer())
    shape = ir.FunctionType(ir.VoidType(), [place.type, I32, I32, I32])
    b.call(declared(b, "llvm.prefetch.p0", shape), [place, I32(0), I32(near), I32(1)])


class _Shape:
    def __init__(
        self, rows: int, vectors: int, lanes: int, masked: bool, wide: str, stored: str
    ) -> None:
        self.rows, self.vectors, self.lanes, self.masked = rows, vectors, lanes, masked
        self.wide, self.stored = wide, stored
        self.element = ELEMENTS[wide]
        self.vector = ir.VectorType(self.element, lanes)


class _Body:
    """The code of one call, in the builder `b`."""

    def __init__(self, b: Any, shape: _Shape, args: Any) -> None:
        self.b, self.shape = b, shape
        self.depth, self.a, self.a_row, self.a_step, self.right, self.b_row = args[:6]
        self.b_panel, self.c, self.c_row, self.columns, self.first = args[6:11]
        self.coming, self.coming_row = args[11:]

    def emit(self) -> None:
        s = self.shape
        cells = [(r, v) for r in range(s.rows) for v in range(s.vectors)]
        done = self._loop(self._start(cells))
        for (r, v), value in zip(cells, done, strict=True):
            store_vector(
                *(self.b, self.c, self._cell(r, v), value, DTYPES[s.wide], s.lanes),
                self._left(v),
            )

    def _left(self, v: int) -> Any:
        """Columns that exist from vector v on; None: a whole vector."""
        s = self.shape
        return self.b.sub(self.columns, I64(v * s.lanes)) if s.masked else None

    def _cell(self, r: int, v: int) -> Any:
        """The element of C where vector v of row r begins."""
        start = self.b.mul(self.c_row, I64(r))
        return self.b.add(start, I64(v * self.shape.lanes))

    def _start(self, cells: list[tuple[int, int]]) -> list[Any]:
        """Zeros, or what C holds."""
        b, s = self.b, self.shape
        fresh = b.icmp_signed("!=", self.first, I64(0))
        before, other, after = b.block, b.append_basic_block("held"), b.append_basic_block("begun")
        b.cbranch(fresh, after, other)
        b.position_at_end(other)
        held = [
            load_vector(b, self.c, self._cell(r, v), DTYPES[s.wide], s.lanes, self._left(v))
            for r, v in cells
        ]
        b.branch(after)
        b.position_at_end(after)
        out = []
        for value in held:
            phi = b.phi(s.vector)
            phi.add_incoming(ir.Constant(s.vector, None), before)
            phi.add_incoming(value, other)
            out.append(phi)
        return out

    def _row_of_b(self, row: Any) -> list[Any]:
        """One row of B as wide vectors; `row` is the element where it begins."""
        b, s = self.b, self.shape
        out = []
        for v in range(s.vectors):
            at = b.add(row, I64(v % 2 * s.lanes))
            if v > 1:
                at = b.add(at, b.mul(self.b_panel, I64(v // 2)))
            out.append(load_vector(b, self.right, at, DTYPES[s.stored], s.lanes))
        return out

    def _ask(self, place: Any) -> None:
        """For the lines of a row of each panel from `place` on."""
        b, s = self.b, self.shape
        size = DTYPES[s.stored].bits // 8
        for panel in range((s.vectors + 1) // 2):
            apart = b.mul(self.b_panel, I64(panel * size))
            for line in range(0, min(s.vectors, 2) * s.lanes * size, LINE):
                ask(b, b.gep(place, [b.add(apart, I64(line))]))

    def _loop(self, start: list[Any]) -> list[Any]:
        """The sums after the whole depth."""
        b, s = self.b, self.shape
        pointer = s.element.as_pointer()
        head, body, after = (b.append_basic_block(n) for n in ("depth", "step", "deep"))
        before = b.block
        # One pointer for three rows: the rows between are its multiples of the row stride.
        first = b.bitcast(self.a, pointer)
        bases = [b.gep(first, [b.mul(self.a_row, I64(r))]) for r in range(0, s.rows, 3)]
        b.branch(head)
        b.position_at_end(head)
        k, row, coming = b.phi(I64), b.phi(I64), b.phi(self.coming.type)
        pointers = [b.phi(pointer) for _ in bases]
        sums = [b.phi(s.vector) for _ in start]
        begun = [I64(0), I64(0), self.coming, *bases, *start]
        for phi, value in zip([k, row, coming, *pointers, *sums], begun, strict=True):
            phi.add_incoming(value, before)
        b.cbranch(b.icmp_signed("<", k, self.depth), body, after)
        b.position_at_end(body)
        right = self._row_of_b(row)
        if not s.masked:
            self._ask(coming)
        new = []
        for r in range(s.rows):
            place = b.gep(pointers[r // 3], [b.mul(self.a_row, I64(r % 3))])
            left = splat(b, b.load(place), s.wide, s.lanes)
            for v, value in enumerate(right):
                held = Lanes(b, sums[r * s.vectors + v], s.wide, s.lanes)
                new.append(left.call("fma", left.like(value), held).value)
        moved = [b.gep(phi, [self.a_step]) for phi in pointers]
        next_k, next_row = b.add(k, I64(1)), b.add(row, self.b_row)
        asked = b.gep(coming, [self.coming_row])
        for phi, value in zip(
            [k, row, coming, *pointers, *sums],
            [next_k, next_row, asked, *moved, *new],
            strict=True,
        ):
            phi.add_incoming(value, b.block)
        b.branch(head)
        b.position_at_end(after)
        return sums
