"""A block of C = A B over packed or plain B: cut along the depth, half types summed wide."""

from __future__ import annotations

from matmul_shapes import blocks
from panels import DEPTH, block_product, panels, tallest
from transpose_block import transpose_block

from _lang import inline, namespace

MOST_ROWS = 240  # of a block of C: DEPTH columns of as many rows of A stay in the L2 cache


def product(k, t="T"):
    """Inline functions over one block of C.

    `sums` leaves the products, in the wide type, where `sums_at` says: in C itself, or in scratch
    memory for half types; `deliver` rounds those into C, once.
    """
    g, dtype = panels(k, t), k.dtype(t)
    wide, size = g.wide, dtype.bits // 8
    half = size < g.wide_bytes
    lanes, p, v = k.lanes(wide), k.vector(wide), k.vector(t, k.lanes(wide))
    get, put, offset = k.load(t), k.store(wide), k.offset
    turn = transpose_block(dtype.name, wide, lanes)
    few = tallest(k.isa)
    cut = blocks(1, g.width, MOST_ROWS)
    block_of, pack_b = g.block, g.pack_b
    wide_block = block_product(k, wide, "wide_block") if half else block_of

    @k.outline("int64(pointer, pointer, int64, int64, int64, int64, int64)")
    def take_rows(to, a, at, rows, row_step, depth_step, depth):
        """A from element `at` as [rows][depth] in the wide type."""
        i = 0
        while row_step == 1 and i + lanes <= rows:
            d = 0
            while d + lanes <= depth:
                turn(to, i * depth + d, depth, a, at + i + d * depth_step, depth_step)
                d += lanes
            while d < depth:
                for r in range(i, i + lanes):
                    put(to, r * depth + d, get(a, at + r + d * depth_step))
                d += 1
            i += lanes
        while i < rows:
            d, row = 0, at + i * row_step
            while depth_step == 1 and d + lanes <= depth:
                p.store(to, i * depth + d, v.load(a, row + d))
                d += lanes
            while d < depth:
                put(to, i * depth + d, get(a, row + d * depth_step))
                d += 1
            i += 1
        return 0

    @inline
    def most_depth(rows, depth):
        """Few rows are one register block: nothing is read twice."""
        return depth if rows <= few else min(depth, DEPTH)

    @inline
    def copies(rows, depth_step):
        """Whether rows of A are copied: to widen them, or to have them lie along the depth."""
        return half or (depth_step != 1 and rows > few)

    @inline
    def a_bytes(rows, depth):
        return (rows * most_depth(rows, depth) * g.wide_bytes + 63) // 64 * 64

    @inline
    def scratch(rows, columns, depth):
        tail = g.width * most_depth(rows, depth) * g.wide_bytes + 64  # one panel
        return a_bytes(rows, depth) + (rows * columns * g.wide_bytes if half else 0) + tail

    @inline
    def sums_at(c, rows, depth, memory):
        return offset(memory, a_bytes(rows, depth)) if half else c

    @k.outline(
        "int64(int64, int64, int64, pointer, int64, int64, pointer, int64, int64, pointer, int64,"
        "int64, pointer)"
    )
    def multiply(m, n, depth, x, row, step, b, b_row, b_panel, c, c_row, fresh, memory):
        """As `block`. The last columns of a plain B are copied first, as nothing follows them; a
        panel of half types that many rows read is widened once.
        """
        if half and m > 2 * few:
            for j in range(0, n, g.width):
                part = offset(b, j // g.width * b_panel * size)
                for d in range(depth):
                    p.store(memory, d * g.width, v.load(part, d * b_row))
                    p.store(memory, d * g.width + lanes, v.load(part, d * b_row + lanes))
                to, left = offset(c, j * g.wide_bytes), min(n - j, g.width)
                wide_block(m, left, depth, x, row, step, memory, g.width, 0, to, c_row, fresh)
            return 0
        whole = n if b_row == g.width else n // g.width * g.width
        if whole > 0:
            block_of(m, whole, depth, x, row, step, b, b_row, b_panel, c, c_row, fresh)
        if whole < n:
            pack_b(memory, b, whole, n - whole, b_row, 1, depth)
            c = offset(c, whole * g.wide_bytes)
            block_of(m, n - whole, depth, x, row, step, memory, g.width, 0, c, c_row, fresh)
        return 0

    @inline
    def sums(
        a, at, row_step, depth_step, b, b_row, b_panel, c, c_row, rows, columns, depth, memory
    ):
        """B: rows of b_row elements, panels b_panel elements apart. c, c_row: of the sums."""
        most, start = most_depth(rows, depth), 0
        if depth == 0:
            for r in range(rows):
                k.fill(offset(c, r * c_row * g.wide_bytes), 0, columns * g.wide_bytes)
        while start < depth:
            deep = min(depth - start, most)
            x, x_row, x_step = offset(a, (at + start * depth_step) * size), row_step, depth_step
            if copies(rows, depth_step):
                x, x_row, x_step = memory, deep, 1
                take_rows(x, a, at + start * depth_step, rows, row_step, depth_step, deep)
            part, fresh = offset(b, start * b_row * size), 1 if start == 0 else 0
            behind = a_bytes(rows, depth) + (rows * columns * g.wide_bytes if half else 0)
            multiply(
                rows,
                columns,
                deep,
                x,
                x_row,
                x_step,
                part,
                b_row,
                b_panel,
                c,
                c_row,
                fresh,
                offset(memory, behind),
            )
            start += deep

    @inline
    def deliver(c, c_row, x, rows, columns):
        """Sums [rows][columns] in scratch memory into rows of C."""
        if half:
            for r in range(rows):
                j = 0
                while j + lanes <= columns:
                    v.store(c, r * c_row + j, p.load(x, r * columns + j))
                    j += lanes
                if j < columns:
                    left = columns - j
                    v.store_n(c, r * c_row + j, p.load_n(x, r * columns + j, left), left)

    return namespace(
        *("product",),
        half=half,
        panels=g,
        cut=cut,
        few=few,
        take_rows=take_rows,
        scratch=scratch,
        sums_at=sums_at,
        sums=sums,
        deliver=deliver,
    )
