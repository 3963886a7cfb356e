"""A block of C = A B over packed or plain B: cut along the depth, half types summed wide."""

from __future__ import annotations

from attached import epilogue_of_sums, epilogue_rows
from matmul_shapes import blocks
from panels import DEPTH, block_product, panels, tallest
from split_tiles import ROW, TILE, no_product, split_product
from transpose_block import transpose_block

from _lang import inline, namespace

MOST_ROWS = 240  # of a block of C: DEPTH columns of as many rows of A stay in the L2 cache
TILED_ROWS, TILED_DEPTH = 256, 768  # the same, of pieces for AMX tiles
TILED_WORK = 12_000_000  # multiplications of a block by tiles, which pay for the pieces of A
TILED_FROM = 25  # the least depth: less leaves most of each tile empty

SHARED_PIECES = 64 << 20  # bytes of pieces of A that all blocks share, at most


# What kernels of matrix products are compiled for: AMX has tiles for some types only.
ROWS = (("float float16 bfloat16", "amx v4 v3 neon"), ("double", None))
# Rows that multiply rounded numbers, where the session allows it.
ROUNDED = {"variant": "bfloat16", "isa": "amx", "order": -1}
NOT_ROUNDED = ("session.precision asks for all bits of the factors",)


def allowed(k, index):
    """`supports` of such a row; `index`: of its attribute "bfloat16"."""

    def supports(call):
        return 0 if k.attr_int(call, index) == 1 else 1

    return supports


def cuts(width, few, tiled):
    """How C is cut: `blocks`, in larger ones where more than `few` rows go by tiles."""
    plain = blocks(1, width, MOST_ROWS, units=8)
    if not tiled:
        return plain
    large = blocks(width, width, TILED_ROWS, TILED_WORK, 6 * width, 4)

    @inline
    def height(m):
        return large.height(m) if m > few else plain.height(m)

    @inline
    def wide(m, n, depth):
        return large.width(m, n, depth) if m > few else plain.width(m, n, depth)

    return namespace("cuts", height=height, width=wide)


def shared_pieces(k, g, cut, split, take_rows):
    """Functions that make the pieces of A once for all blocks of C."""
    tiled, few = split.count > 0, tallest(k.isa)
    half, offset = g.bytes < g.wide_bytes, k.offset
    steps_of, step_bytes, plane_bytes = split.steps, split.step_bytes, split.plane_bytes
    split_rows = split.split_rows

    @inline
    def pays(n, depth):
        """Whether AMX tiles are faster than vectors."""
        return tiled and depth >= TILED_FROM and n > (TILE // 2 if half else TILE)

    @k.outline("int64(int64, int64, int64)")
    def pieces_bytes(m, n, depth):
        """Of the pieces of a matrix A, which all blocks of C share; 0 where each block makes its
        own.
        """
        high, alone = cut.height(m), cut.width(m, n, depth) >= n
        bytes_all = (m + high - 1) // high * steps_of(depth) * step_bytes(high)
        by_block = not pays(n, depth) or m <= 2 * few or alone or bytes_all > SHARED_PIECES
        return 0 if by_block else bytes_all

    @inline
    def piece_units(m):
        return (m + TILE - 1) // TILE

    @inline
    def pieces_at(m, depth, i):
        """The byte where the pieces of the block from row i begin."""
        return i // cut.height(m) * steps_of(depth) * step_bytes(cut.height(m))

    @inline
    def plane_of(m, n, depth):
        """The bytes from one piece to the next, as `sums` takes them."""
        if not pays(n, depth):
            return -1
        return plane_bytes(cut.height(m)) if pieces_bytes(m, n, depth) > 0 else 0

    @inline
    def make_pieces(to, a, at, row_step, depth_step, unit, m, depth, memory):
        """Those of some rows of A."""
        high, end = cut.height(m), min((unit + 1) * TILE, m)
        for i in range(unit * TILE, end):
            x, x_row, first = a, row_step, at + i * row_step
            if half or depth_step != 1:
                x, x_row, first = memory, depth, 0
                take_rows(memory, a, at + i * row_step, 1, row_step, depth_step, depth)
            place = offset(to, pieces_at(m, depth, i) + i % high * ROW)
            split_rows(place, plane_bytes(high), offset(x, first * g.wide_bytes), x_row, 1, depth)

    return namespace(
        *("shared_pieces",),
        pieces_bytes=pieces_bytes,
        piece_units=piece_units,
        pieces_at=pieces_at,
        plane_of=plane_of,
        make_pieces=make_pieces,
    )


def block_memory(g, split, few):
    """How deep the parts are that a block sums at once, and the scratch memory for them."""
    half, tiled = g.bytes < g.wide_bytes, split.count > 0
    steps_of, step_bytes, tile_scratch = split.steps, split.step_bytes, split.scratch

    @inline
    def most_depth(rows, depth):
        """Few rows are one register block: nothing is read twice."""
        most = depth
        if tiled and rows > 2 * few:
            cuts = (depth + TILED_DEPTH - 1) // TILED_DEPTH
            most = ((depth + cuts - 1) // max(cuts, 1) + TILE - 1) // TILE * TILE
        elif rows > few:
            most = min(depth, DEPTH)
        return most

    @inline
    def copies(rows, depth_step):
        """Whether rows of A are copied: to widen them, or to have them lie along the depth."""
        return half or (depth_step != 1 and rows > few)

    @inline
    def a_bytes(rows, depth):
        return (rows * most_depth(rows, depth) * g.wide_bytes + 63) // 64 * 64

    @inline
    def before(rows, columns, depth):
        """Bytes of rows of A and of wide sums."""
        return a_bytes(rows, depth) + (rows * columns * g.wide_bytes + 63) // 64 * 64 * half

    @inline
    def rows_scratch(rows, depth):
        """Of pieces of rows, and of the products with them."""
        return steps_of(depth) * step_bytes(rows) + tile_scratch(depth) if tiled else 0

    @inline
    def scratch(rows, columns, depth):
        tail = g.width * most_depth(rows, depth) * g.wide_bytes + 64  # one panel
        if tiled and rows > 2 * few:
            most = most_depth(rows, depth)
            tail = max(tail, rows_scratch(rows, most), depth * 4)
        return before(rows, columns, depth) + tail

    return namespace(
        *("block_memory",),
        rows_scratch=rows_scratch,
        most_depth=most_depth,
        copies=copies,
        a_bytes=a_bytes,
        before=before,
        scratch=scratch,
    )


def nan_finder(k, wide):
    """`has_nan(c, c_row, rows, columns)`: 1 when there is a NaN or infinity."""
    p, lanes = k.vector(wide), k.lanes(wide)

    @k.outline("int64(pointer, int64, int64, int64)")
    def has_nan(c, c_row, rows, columns):
        found = p.zero()
        for r in range(rows):
            j = 0
            while j < columns:
                x = p.load_n(c, r * c_row + j, columns - j)
                found = found + (x - x)
                j += lanes
        total = p.sum(found)
        return 0 if total == total else 1

    return has_nan


def row_taker(k, t, wide):
    """`take_rows`: part of A in the wide type, rows behind one another."""
    dtype, lanes = k.dtype(t), k.lanes(wide)
    p, v, get, put = k.vector(wide), k.vector(t, lanes), k.load(t), k.store(wide)
    turn = transpose_block(dtype.name, wide, lanes)

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

    return take_rows


def deliverer(k, t, wide):
    """`deliver`: wide sums rounded to the type of C; nothing where they are in C already."""
    half, lanes = k.dtype(t).bits < 32, k.lanes(wide)
    p, v = k.vector(wide), k.vector(t, lanes)

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

    return deliver


def finisher(k, t, deliver):
    """`finish`: a block of the output from its sums, where `sums_at` says, with the epilogue."""
    half, size = k.dtype(t).bits < 32, k.dtype(t).bits // 8
    of_sums, of_rows = epilogue_of_sums(), epilogue_rows()

    @inline
    def finish(call, first, x, rows, columns, n):
        """`first`: the output element that the block begins with; `n`: columns of the output."""
        c = k.offset(k.output(call, 0), first * size)
        if half:
            if of_sums(call, x, columns, c, first, columns, rows, n) == 0:
                deliver(c, n, x, rows, columns)
        elif columns == n:
            k.epilogue(call, c, first, rows * n)
        else:
            of_rows(call, c, first, columns, rows, n)

    return finish


def product(k, t="T", pieces=0):
    """Inline functions over one block of C.

    `sums` leaves the products, in the wide type, where `sums_at` says: in C itself, or in scratch
    memory for half types; `deliver` rounds those into C, once, and `finish` into the output, by way
    of the epilogue. `pieces`: of a number where AMX tiles multiply; 0: as many as its type has.
    """
    g, size = panels(k, t), k.dtype(t).bits // 8
    wide, half = g.wide, size < g.wide_bytes
    lanes, p, v = k.lanes(wide), k.vector(wide), k.vector(t, k.lanes(wide))
    offset, take_rows = k.offset, row_taker(k, t, wide)
    few, tiled = tallest(k.isa), k.isa == "amx" and wide == "float"
    cut = cuts(g.width, 2 * few, tiled)
    split = split_product(k, t, pieces) if tiled else no_product()
    by_tiles, split_rows, steps_of = split.multiply, split.split_rows, split.steps
    plane_bytes, step_bytes, count = split.plane_bytes, split.step_bytes, split.count
    has_nan, block_of, pack_b = nan_finder(k, wide), g.block, g.pack_b
    wide_block = block_product(k, wide, "wide_block") if half else block_of
    m, deliver = block_memory(g, split, few), deliverer(k, t, wide)
    most_depth, copies, a_bytes, before = m.most_depth, m.copies, m.a_bytes, m.before

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

    shared = shared_pieces(k, g, cut, split, take_rows)

    @k.outline(
        "int64(int64, pointer, pointer, int64, int64, int64, pointer, int64, int64, pointer, int64,"
        "int64, int64, int64, pointer)"
    )
    def add_up(plane, ready, a, at, row, step, b, b_row, b_panel, c, c_row, m, n, depth, memory):
        """As `sums`; `plane` -1: without AMX tiles."""
        most, start = most_depth(m, depth), 0
        rest = offset(memory, before(m, n, depth))
        while start < depth:
            deep = min(depth - start, most)
            x, x_row, x_step = offset(a, (at + start * step) * size), row, step
            if plane < 1 and copies(m, step):
                x, x_row, x_step = memory, deep, 1
                take_rows(x, a, at + start * step, m, row, step, deep)
            part, fresh = offset(b, start * b_row * size), 1 if start == 0 else 0
            if tiled and plane >= 0:
                apart, room = plane, rest
                pieces = offset(ready, start // TILE * count * plane)
                if plane == 0:
                    pieces, apart = rest, plane_bytes(m)
                    room = offset(rest, steps_of(most) * step_bytes(m))
                    split_rows(rest, apart, x, x_row, m, deep)
                by_tiles(m, n, deep, pieces, apart, part, b_row, b_panel, c, c_row, fresh, room)
            else:
                multiply(m, n, deep, x, x_row, x_step, part, b_row, b_panel, c, c_row, fresh, rest)
            start += deep
        return 0

    @inline
    def sums(plane, ready, a, at, row, step, b, b_row, b_panel, c, c_row, m, n, depth, memory):
        """C[m, n] of A[m, depth], `row` and `step` apart from element `at`. B: rows of b_row
        elements, panels b_panel elements apart. c, c_row: of the sums. `plane`: of the pieces of
        these rows of A at `ready`; 0 when there are none; -1: without AMX tiles.
        """
        if depth == 0:
            for r in range(m):
                k.fill(offset(c, r * c_row * g.wide_bytes), 0, n * g.wide_bytes)
        how = plane if tiled and m > 2 * few else -1
        add_up(how, ready, a, at, row, step, b, b_row, b_panel, c, c_row, m, n, depth, memory)
        if how >= 0 and has_nan(c, c_row, m, n) == 1:
            add_up(-1, ready, a, at, row, step, b, b_row, b_panel, c, c_row, m, n, depth, memory)

    @k.outline(
        "int64(int64, int64, int64, pointer, int64, pointer, int64, int64, pointer, int64, int64,"
        "pointer)"
    )
    def tile_rows(m, n, depth, a, row, b, b_row, b_panel, c, c_row, fresh, memory):
        """As `block` by AMX tiles, of rows of floats; `memory`: `rows_scratch` bytes."""
        room = offset(memory, steps_of(depth) * step_bytes(m))
        split_rows(memory, plane_bytes(m), a, row, m, depth)
        by_tiles(m, n, depth, memory, plane_bytes(m), b, b_row, b_panel, c, c_row, fresh, room)
        return 0

    return namespace(
        *("product",),
        half=half,
        panels=g,
        cut=cut,
        few=few,
        take_rows=take_rows,
        scratch=m.scratch,
        sums_at=sums_at,
        sums=sums,
        shared=shared,
        tiled=tiled,
        tile_rows=tile_rows,
        rows_scratch=m.rows_scratch,
        has_nan=has_nan,
        deliver=deliver,
        finish=finisher(k, t, deliver),
    )
