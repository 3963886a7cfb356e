"""Products with matrices of 4 or 8 bits, scaled in blocks along the depth: the numbers stay packed
in panels. Few rows meet them as digits, in products of bytes, where the processor has those; for
many rows parts of panels are widened into the cache.
"""

from __future__ import annotations

from attached import epilogue_of_sums, epilogue_rows
from matmul_shapes import blocks
from product import nan_finder, product
from weight_packing import ACCURACY, BITS, BLOCK, NAMES, ZERO, extents, weight_packing
from weight_tiles import weight_tiles
from weight_words import DIGITS, GROUP, digits_of, row_product, widening

from _lang import dot, inline, kernel, namespace, parts

LENGTH = 128  # of a run of the depth with digits of a common scale
FEW = 8  # so many rows meet each panel by themselves
UNIT = 1 << 16  # bytes of panels of a unit of few rows, at least
DEEP, MOST_ROWS, WORK = 512, 256, 8_000_000  # of a block of many rows
BY_INT8 = 4  # the accuracy level that allows A to be rounded to 8 bits


def operands(k):
    """Where the packed inputs and the rows of A lie, and the zero point of all columns."""
    e, p, offset = extents(k), weight_packing(k), k.offset

    @inline
    def held(call, i):
        """Bytes of packed input i in the workspace."""
        there = i >= k.n_inputs(call) or k.has_packed(call, i)
        return 0 if there else (p.size(call, i) + 63) // 64 * 64

    @inline
    def rows_at(call):
        return held(call, 1) + held(call, 2) + held(call, 3)

    @inline
    def place(call, i):
        out = k.workspace(call)
        if i < k.n_inputs(call):
            if k.has_packed(call, i):
                out = k.packed(call, i)
            elif i > 1:
                out = offset(out, held(call, 1) + (held(call, 2) if i > 2 else 0))
        return out

    @inline
    def depth(call):
        """Of A."""
        return k.input_dim(call, 0, k.input_rank(call, 0) - 1)

    @inline
    def rows(call):
        return k.input_size(call, 0) // max(depth(call), 1)

    @inline
    def zero(call):
        """-1 where columns have zero points."""
        out = k.attr_int(call, ZERO)
        if k.n_inputs(call) > 3 and k.has_input(call, 3):
            out = -1
        return out

    @inline
    def is_rounded(call):
        return k.attr_int(call, ACCURACY) == BY_INT8

    @inline
    def pack_missing(call):
        for i in range(1, 4):
            if held(call, i) > 0:
                p.pack(call, i, place(call, i))

    return namespace(
        *("operands",),
        held=held,
        rows_at=rows_at,
        place=place,
        depth=depth,
        rows=rows,
        zero=zero,
        is_rounded=is_rounded,
        pack_missing=pack_missing,
        columns=e.columns,
        panels=e.panels,
        groups=e.groups,
        blocks=e.blocks,
        panel_bytes=e.panel_bytes,
        whole_depth=e.depth,
    )


def few_rows(k, o, by_words):
    """`digits(call, row)` and `compute(call, panel, rows, to, memory)`: rows as digits, and all of
    them times a panel.
    """
    offset, get, put = k.offset, k.load("int32"), k.store("int32")

    @inline
    def length(call):
        block = k.attr_int(call, BLOCK)
        return LENGTH if block % LENGTH == 0 or o.blocks(call) == 1 else block

    @inline
    def runs(call):
        return (o.whole_depth(call) + length(call) - 1) // length(call)

    @inline
    def apart(call):
        return (o.groups(call) * GROUP + 127) // 64 * 64

    @inline
    def row_bytes(call):
        return (DIGITS * apart(call) + runs(call) * 4 * (DIGITS + 1) + 127) // 64 * 64

    @inline
    def row_at(call, row):
        return offset(k.workspace(call), o.rows_at(call) + row * row_bytes(call))

    made = {"row_bytes": row_bytes}
    if by_words:
        add = dot(k.isa).add
        take3, take1 = digits_of(k, DIGITS), digits_of(k, 1)
        four3, four1 = row_product(k, add, 4, DIGITS), row_product(k, add, 4, 1)
        eight3, eight1 = row_product(k, add, 8, DIGITS), row_product(k, add, 8, 1)
        whole, single = k.cast("int32"), k.cast("float")

        @inline
        def digits(call, row, x):
            """Of a row of floats; the last word tells whether they are of use."""
            to, n = row_at(call, row), runs(call)
            steps = offset(to, DIGITS * apart(call))
            totals = offset(steps, n * 4)
            if o.is_rounded(call):
                bad = take1(
                    *(x, o.depth(call), to, apart(call), steps, totals, length(call), n),
                    *(o.whole_depth(call), o.zero(call)),
                )
            else:
                bad = take3(
                    *(x, o.depth(call), to, apart(call), steps, totals, length(call), n),
                    *(o.whole_depth(call), o.zero(call)),
                )
            put(to, row_bytes(call) // 4 - 1, whole(bad))

        @inline
        def is_bad(call, row):
            return get(row_at(call, row), row_bytes(call) // 4 - 1) != 0

        @inline
        def multiply(call, row, words, scales, zeros, to):
            a, n, run = row_at(call, row), runs(call), length(call)
            steps = offset(a, DIGITS * apart(call))
            totals, zero, block = (
                offset(steps, n * 4),
                single(o.zero(call)),
                k.attr_int(call, BLOCK),
            )
            pitch, count = apart(call) // 4, o.groups(call)
            if k.attr_int(call, BITS) == 4:
                if o.is_rounded(call):
                    four1(
                        words, scales, zeros, zero, block, a, pitch, steps, totals, run, count, to
                    )
                else:
                    four3(
                        words, scales, zeros, zero, block, a, pitch, steps, totals, run, count, to
                    )
            elif o.is_rounded(call):
                eight1(words, scales, zeros, zero, block, a, pitch, steps, totals, run, count, to)
            else:
                eight3(words, scales, zeros, zero, block, a, pitch, steps, totals, run, count, to)

        made |= {"digits": digits, "multiply": multiply, "is_bad": is_bad}
    return namespace("few_rows", **made)


@kernel(
    "WeightMatMul",
    domain="tiercel",
    types={"T": "float float16 bfloat16"},
    attributes=NAMES,
    isa="amx vnni v4 v3 neon",
    epilogue=True,
)
def weight_matmul(k):
    """Phase 0 packs what is not constant; phase 1 takes rows of A as digits, or as floats; a unit
    of phase 2 is a block of C.
    """
    by_words = dot(k.isa).group == 4
    o, x = operands(k), product(k, "float")
    f = few_rows(k, o, by_words)
    half, size, lanes = k.dtype("T").bits < 32, k.dtype("T").bits // 8, k.lanes("float")
    v, t, width, offset = k.vector("float"), k.vector("T", k.lanes("float")), 2 * lanes, k.offset
    single, cut = k.cast("float"), blocks(1, 2 * lanes, MOST_ROWS, WORK, 6 * width, 4)
    widen4, widen8, p = widening(k, 4), widening(k, 8), weight_packing(k)
    finish, finish_sums = epilogue_rows(), epilogue_of_sums()

    @inline
    def is_few(call):
        return by_words and o.rows(call) <= FEW

    @inline
    def per_unit(call):
        """Panels of a unit of few rows."""
        return max(UNIT // max(o.panel_bytes(call), 1), 1)

    @inline
    def panel(call, i, number):
        each = o.blocks(call) * width
        step = o.panel_bytes(call) if i == 1 else each * (4 if i == 2 else 1)
        return offset(o.place(call, i), number * step)

    @inline
    def float_row(call, row, memory):
        """A row of A as floats, in `memory` where it is of a half type."""
        n = o.depth(call)
        at = offset(k.input(call, 0), row * n * size)
        if half:
            i = 0
            while i < n:
                v.store_n(memory, i, t.load_n(at, i, n - i), n - i)
                i += lanes
            at = memory
        return at

    @inline
    def widen(call, number, start, deep, to):
        words, scales, zeros = (
            panel(call, 1, number),
            panel(call, 2, number),
            panel(call, 3, number),
        )
        zero, block = single(o.zero(call)), k.attr_int(call, BLOCK)
        if k.attr_int(call, BITS) == 4:
            widen4(to, words, scales, zeros, zero, block, start, deep)
        else:
            widen8(to, words, scales, zeros, zero, block, start, deep)

    tiled = k.isa == "amx"
    e, has_nan = weight_tiles(k, o, panel) if tiled else None, nan_finder(k, "float")

    @inline
    def by_tiles(call):
        out = False
        if tiled:
            out = not is_few(call) and e.fits(call)
        return out

    @inline
    def floats_bytes(call):
        """Of rows of a half type as floats."""
        return (o.rows(call) * o.depth(call) * 4 + 63) // 64 * 64 if half else 0

    @inline
    def pieces(call, row):
        """Where those of the block of rows lie that has this one."""
        to, high = offset(k.workspace(call), o.rows_at(call) + floats_bytes(call)), 0
        if tiled:
            high = cut.height(o.rows(call))
            to = offset(to, row // high * e.pieces_bytes(call, high))
        return to

    @inline
    def prepare(call, row):
        """A row of A for the products with many."""
        at = o.rows_at(call) + row * o.depth(call) * 4
        x = float_row(call, row, offset(k.workspace(call), at))
        if tiled:
            if by_tiles(call):
                high = cut.height(o.rows(call))
                e.split(call, pieces(call, row), high, row % high, x)

    @k.outline("int64(call, pointer, int64, int64, int64, int64, pointer, pointer)")
    def block_sums(call, a, first, rows, column, columns, sums, memory):
        """Rows of floats times columns: [rows][columns] floats at `sums`."""
        depth = o.depth(call)
        wide = (columns + width - 1) // width
        part = offset(memory, wide * width * DEEP * 4)
        rest = offset(part, (rows * columns * 4 + 63) // 64 * 64)
        for start in range(0, depth, DEEP):
            deep = min(depth - start, DEEP)
            for j in range(wide):
                to = offset(memory, j * width * deep * 4)
                widen(call, column // width + j, start, deep, to)
            to = sums if start == 0 else part
            x.sums(
                *(0, rest, a, first * depth + start, depth, 1, memory, width, deep * width, to),
                *(columns, rows, columns, deep, rest),
            )
            if start > 0:
                i, n = 0, rows * columns
                while i < n:
                    y = v.load_n(sums, i, n - i) + v.load_n(part, i, n - i)
                    v.store_n(sums, i, y, n - i)
                    i += lanes
        return 0

    @inline
    def deliver(call, sums, row, rows, column, columns):
        n = o.columns(call)
        first = row * n + column
        c, done = offset(k.output(call, 0), first * size), False
        if half:
            done = finish_sums(call, sums, columns, c, first, columns, rows, n) == 1
        for r in range(0 if done else rows):
            j = 0
            while j < columns:
                y = v.load_n(sums, r * columns + j, columns - j)
                t.store_n(c, r * n + j, y, columns - j)
                j += lanes
        if not half:
            finish(call, c, first, columns, rows, n)

    @inline
    def few(call, unit, scratch):
        """All rows times some panels."""
        per, rows = per_unit(call), o.rows(call)
        first, column = unit * per, unit * per * width
        columns = min(per * width, o.columns(call) - column)
        memory = offset(scratch, (rows * columns * 4 + 63) // 64 * 64)
        for number in range(first, min(first + per, o.panels(call))):
            at = number * width - column
            left = min(columns - at, width)
            words, scales = panel(call, 1, number), panel(call, 2, number)
            for r in range(rows):
                to = offset(scratch, (r * columns + at) * 4)
                if f.is_bad(call, r):
                    a = float_row(call, r, memory)
                    room = offset(memory, (o.depth(call) * 4 + 127) // 64 * 64)
                    block_sums(call, a, 0, 1, number * width, left, to, room)
                else:
                    f.multiply(call, r, words, scales, panel(call, 3, number), memory)
                    v.store_n(to, 0, v.load(memory, 0), left)
                    if left > lanes:
                        v.store_n(to, lanes, v.load(memory, lanes), left - lanes)
        deliver(call, scratch, 0, rows, column, columns)

    @inline
    def many(call, unit, scratch):
        m, n, depth = o.rows(call), o.columns(call), o.depth(call)
        high, wide = cut.height(m), cut.width(m, n, depth)
        across = (n + wide - 1) // wide
        row, column = unit // across * high, unit % across * wide
        rows, columns = min(high, m - row), min(wide, n - column)
        a = k.input(call, 0)
        if half:
            a = offset(k.workspace(call), o.rows_at(call))
        memory = offset(scratch, (rows * columns * 4 + 63) // 64 * 64)
        done = False
        if tiled:
            if by_tiles(call):
                e.multiply(call, pieces(call, row), high, rows, column, columns, scratch, memory)
                done = has_nan(scratch, columns, rows, columns) == 0
        if not done:
            block_sums(call, a, row, rows, column, columns, scratch, memory)
        deliver(call, scratch, row, rows, column, columns)

    def run(call, phase, begin, end, scratch):
        for unit in range(begin, end):
            if phase == 0:
                o.pack_missing(call)
            elif phase == 1:
                if by_words and o.rows(call) <= FEW:
                    f.digits(call, unit, float_row(call, unit, scratch))
                else:
                    prepare(call, unit)
            elif by_words and o.rows(call) <= FEW:
                few(call, unit, scratch)
            else:
                many(call, unit, scratch)
        return k.OK

    def units(call, phase):
        m, n = o.rows(call), o.columns(call)
        out = 0
        if phase == 0:
            out = 1 if o.rows_at(call) > 0 else 0
        elif phase == 1:
            out = m if half or is_few(call) or by_tiles(call) else 0
        elif is_few(call):
            out = (o.panels(call) + per_unit(call) - 1) // per_unit(call) if m > 0 else 0
        elif m > 0:
            high, wide = cut.height(m), cut.width(m, n, o.depth(call))
            out = ((m + high - 1) // high) * ((n + wide - 1) // wide)
        return out

    def workspace(call):
        m = o.rows(call)
        out = floats_bytes(call)
        if is_few(call):
            out = m * f.row_bytes(call)
        if tiled:
            if by_tiles(call) and m > 0:
                high = cut.height(m)
                out += (m + high - 1) // high * e.pieces_bytes(call, high)
        return o.rows_at(call) + out

    def scratch(call):
        m, n, depth = o.rows(call), o.columns(call), o.depth(call)
        rows, columns = cut.height(m), cut.width(m, n, depth)
        row = (depth * 4 + 127) // 64 * 64
        if is_few(call):
            rows, columns = m, per_unit(call) * width
        sums = (rows * columns * 4 + 63) // 64 * 64
        panels = (columns + width - 1) // width
        rest = sums + row + panels * width * DEEP * 4 + x.scratch(rows, columns, DEEP)
        if tiled:
            rest = max(rest, e.memory_bytes(call))
        return sums + rest + 256

    def work(call):
        out = k.output_size(call, 0) * o.depth(call) // (150 if tiled else 60)
        if is_few(call):
            out = max(o.panels(call) * o.panel_bytes(call) // 12, out // 2)
        return out

    def pack_size(call, i):
        return p.size(call, i) if i > 0 else 0

    def pack(call, i, packed):
        p.pack(call, i, packed)
        return k.OK

    return parts(
        run=run,
        phases=3,
        units=units,
        workspace=workspace,
        scratch=scratch,
        work=work,
        pack_size=pack_size,
        pack=pack,
    )
