"""Resize by nearest neighbours where the last axes that stay as they are make no long runs: rows
are picked in vectors, and written as often as they are wanted.
"""

from numba import int32, int64, uint8
from resize import ATTRIBUTES
from resize_mix import INTERPOLATES, REGION, mixing, two_phases
from resize_picks import BYTES_EACH, byte_picks, picks

from _lang import BYTES, inline, kernel, namespace, parts

ANY = 2  # how a row is picked where its elements are far apart; else by one vector, or by two
LONG = 64  # bytes that are copied rather than picked


def rows_of(k, m):
    """Functions of a call and of `line`: `groups(call, axis, to)` makes the table ready that stands
    behind those of all axes, `pick(call, axis, to, row, y, columns, rows)` picks a row by it and
    writes it to so many. Rows are of words: 32 bits, or bytes where elements are narrower. A group
    is one vector of outputs: where its picks begin, and the place of each from there. The last ends
    with the row, so that it may overlap with the one before.
    """
    wide = k.dtype("T1").bits >= 32
    word = 4 if wide else 1
    ld, st = k.load("int64"), k.store("int64")
    lanes = k.lanes("float") if wide else BYTES_EACH
    put = k.store("int32" if wide else "uint8")
    places = k.vector("int32" if wide else "uint8", lanes)
    words = k.vector("float" if wide else "uint8", lanes)
    near = picks(k.isa) if wide else byte_picks(k.isa)
    width = k.dtype("T1").bits // 8 // word
    small = int32 if wide else uint8

    @inline
    def words_each(call, axis):
        """Words that move together."""
        return m.run_length(call, axis) * width

    @inline
    def entries_at(count):
        return 64 + (8 * count + 63) // 64 * 64

    @inline
    def bytes_of(call, axis):
        count = (k.output_dim(call, 0, axis) * words_each(call, axis) + lanes - 1) // lanes
        return entries_at(count) + count * lanes * word

    @inline
    def source(table, each, e):
        return ld(table, 2 * (e // each)) * each + e % each

    @inline
    def bounds(table, each, first, have):
        low, high = int64(1) << 60, int64(0)
        for j in range(have):
            at = source(table, each, first + j)
            low, high = min(low, at), max(high, at)
        return low, high

    @k.outline("int64(call, int64, pointer)")
    def groups(call, axis, to):
        each, table = words_each(call, axis), m.table_of(call, axis)
        columns, extent = k.output_dim(call, 0, axis) * each, k.input_dim(call, 0, axis) * each
        count, have = (columns + lanes - 1) // lanes, min(columns, int64(lanes))
        span = int64(0)
        for g in range(count):
            low, high = bounds(table, each, min(g * lanes, columns - have), have)
            span = max(span, high - low)
        kind = min(span // lanes, int64(ANY))
        # Vectors end with the row, or with a copy of a row that is shorter.
        end = max(extent, (kind + 1) * lanes) - (kind + 1) * lanes
        for g in range(count):
            first = min(g * lanes, columns - have)
            low, high = bounds(table, each, first, have)
            low = min(low, end) if kind < ANY else int64(0)
            st(to, 8 + g, low)
            entry = k.offset(to, entries_at(count) + g * lanes * word)
            for j in range(lanes):
                put(entry, j, small(source(table, each, first + min(int64(j), have - 1)) - low))
        st(to, 0, kind)
        st(to, 1, 1 if kind < ANY and extent < (kind + 1) * lanes else 0)
        return 0

    def picking(take):
        @k.outline("int64(pointer, pointer, pointer, int64, int64)")
        def picked(to, row, y, columns, rows):
            count = (columns + lanes - 1) // lanes
            entries = k.offset(to, entries_at(count))
            for g in range(count):
                value = take(row, ld(to, 8 + g), places.load(entries, g * lanes))
                first = min(g * lanes, columns - lanes)
                if first >= 0:
                    for r in range(rows):
                        words.store(y, first + r * columns, value)
                else:
                    for r in range(rows):
                        words.store_n(y, r * columns, value, columns)
            return 0

        return picked

    one, two = picking(near.one), picking(near.two)
    if wide:
        far = picking(near.any)

    get, put_word = k.load("uint8"), k.store("uint8")

    @k.outline("int64(pointer, int64, pointer, pointer, int64, int64)")
    def single(table, each, row, y, columns, rows):
        """Byte after byte."""
        for e in range(columns):
            value = get(row, source(table, each, e))
            for r in range(rows):
                put_word(y, e + r * columns, value)
        return 0

    @inline
    def pick(call, axis, to, row, y, columns, rows):
        kind = ld(to, 0)
        if kind == 0:
            one(to, row, y, columns, rows)
        elif kind == 1:
            two(to, row, y, columns, rows)
        elif wide:
            far(to, row, y, columns, rows)
        else:
            single(m.table_of(call, axis), words_each(call, axis), row, y, columns, rows)

    return namespace(
        "rows",
        groups=groups,
        pick=pick,
        bytes_of=bytes_of,
        words_each=words_each,
        word=word,
        reach=2 * lanes * word,
    )


@kernel(
    "Resize",
    types={"T1": BYTES},
    attributes=ATTRIBUTES,
    variant="nearest-columns",
    order=-2,
    reasons=(INTERPOLATES, REGION, "long runs of elements stay together"),
)
def resize_picked(k):
    """A unit is one output row. Scratch memory: the list of a plane, and a copy of a short row."""
    m = mixing(k)
    c = rows_of(k, m)
    ld = k.load("int64")
    size = k.dtype("T1").bits // 8

    @k.outline("int64(call, int64, int64, pointer)")
    def make(call, begin, end, scratch):
        axis = m.line(call)
        run = m.run_length(call, axis)
        width, columns = k.input_dim(call, 0, axis) * run, k.output_dim(call, 0, axis) * run
        to = k.offset(k.workspace(call), m.tables_before(call, k.output_rank(call, 0)))
        above = k.output_dim(call, 0, axis - 1) if axis > 0 else int64(1)
        plane = width * k.input_dim(call, 0, axis - 1) if axis > 0 else width
        lines = m.table_of(call, max(axis - 1, 0))
        short, copy = ld(to, 1) != 0, k.offset(scratch, 64)
        place, line, unit = begin // above, begin % above, begin
        while unit < end:
            if unit == begin or line == 0:
                m.planes(call, max(axis - 1, 0), place, plane, scratch)
            at, rows = ld(scratch, 0), int64(1)
            if axis > 0:
                from_line, most = ld(lines, 2 * line), min(above - line, end - unit)
                at += from_line * width
                while rows < most and ld(lines, 2 * (line + rows)) == from_line:
                    rows += 1
            row = k.offset(k.input(call, 0), at * size)
            if short:
                k.copy(copy, 0, row, 0, width * size)
                row = copy
            y = k.offset(k.output(call, 0), unit * columns * size)
            c.pick(call, axis, to, row, y, columns * size // c.word, rows)
            unit += rows
            line += rows
            if line == above:
                line, place = int64(0), place + 1
        return 0

    run, units = two_phases(k, m, make, c.groups)

    def workspace(call):
        return m.tables_before(call, k.output_rank(call, 0)) + c.bytes_of(call, m.line(call))

    def scratch(call):
        return 64 + 2 * c.reach

    def supports(call):
        why = m.refused(call, True)
        if why == 0 and m.run_length(call, m.line(call)) * size >= LONG:
            why = 3
        return why

    return parts(
        run=run, units=units, workspace=workspace, scratch=scratch, supports=supports, phases=2
    )
