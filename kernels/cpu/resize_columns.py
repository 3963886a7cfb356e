"""Resize between elements where neighbours in memory are picked from: each output row is a sum of
input rows, resampled in vectors.
"""

from numba import int32, int64
from resize import ATTRIBUTES
from resize_mix import PICKS, REGION, TYPES, mixing, two_phases
from resize_picks import picks

from _lang import inline, kernel, namespace, parts

NEAR = 4096  # floats that stay in the first cache


def columns_of(k, m):
    """Functions of a call and of `line`: `groups(call, axis, to)` makes the table ready that stands
    behind those of all axes, `along(table, n, step, row, stride, rows, y, columns, last)` resamples
    rows by it that lie `stride` elements apart; `bytes_of(call, axis, taps)`.

    A group is one vector of outputs: where the picks of its first tap begin, the place of each from
    there, and the weights of each tap. Other taps lie `step` elements on. The last group ends with
    the row, so that it may overlap with the one before.
    """
    ld, st, number = k.load("int64"), k.store("int64"), k.load("double")
    put_place, put_weight = k.store("int32"), k.store("float")
    v, f, lanes = k.vector("T1"), k.vector("float"), k.lanes("float")
    places, cast = k.vector("int32", lanes), k.cast("float")
    pick = picks(k.isa)
    head = 64

    @inline
    def bytes_of(call, axis, n):
        columns = k.output_dim(call, 0, axis) * m.run_length(call, axis)
        count = (columns + lanes - 1) // lanes
        return head + (8 * count + 63) // 64 * 64 + 4 * lanes * (1 + n) * count

    @inline
    def left(table, n, i):
        """The first tap of element i, where the taps before the row count down from 0."""
        first = ld(table, 2 * i * n)
        if first == 0:
            first = int64(1)
            for t in range(n):
                first -= 1 if ld(table, 2 * (i * n + t)) == 0 else 0
        return first

    @inline
    def group(table, n, run, first, have, start, entry):
        """Fill one group; the distance between its first and its last pick."""
        low, high = int64(1) << 60, -(int64(1) << 60)
        for j in range(have):
            at = left(table, n, (first + j) // run) * run + (first + j) % run
            low, high = min(low, at), max(high, at)
        st(start, 0, low)
        for j in range(lanes):
            e = first + min(int64(j), have - 1)
            i = e // run
            put_place(entry, j, int32(left(table, n, i) * run + e % run - low))
            for t in range(n):
                put_weight(entry, (1 + t) * lanes + j, cast(number(table, 2 * (i * n + t) + 1)))
        return high - low

    @k.outline("int64(call, int64, pointer)")
    def groups(call, axis, to):
        run, n, table = m.run_length(call, axis), m.taps_of(call, axis), m.table_of(call, axis)
        columns = k.output_dim(call, 0, axis) * run
        count = (columns + lanes - 1) // lanes
        entries = k.offset(to, head + (8 * count + 63) // 64 * 64)
        have, span = min(columns, int64(lanes)), int64(0)
        for g in range(count):
            start = k.offset(to, head + 8 * g)
            entry = k.offset(entries, 4 * lanes * (1 + n) * g)
            first = min(g * lanes, columns - have)
            span = max(span, group(table, n, run, first, have, start, entry))
        st(to, 0, span)
        return 0

    def resampling(take, fixed, skips):
        """`fixed` taps, or any number; `skips`: what has no weight does not count."""

        @inline
        def summed(entries, e, n, row, at, step):
            index = places.load(entries, e)
            weight = f.load(entries, e + lanes)
            total = weight * take(row, at, index)
            if skips:
                total = f.select(f.eq(weight, f.zero()), f.zero(), total)
            for t in range(1, n):
                weight = f.load(entries, e + (1 + t) * lanes)
                more = f.fma(weight, take(row, at + t * step, index), total)
                total = f.select(f.eq(weight, f.zero()), total, more) if skips else more
            return total

        @k.outline("int64(pointer, int64, int64, pointer, int64, int64, pointer, int64)")
        def resampled(to, n, step, row, stride, rows, y, columns):
            count = (columns + lanes - 1) // lanes
            entries = k.offset(to, head + (8 * count + 63) // 64 * 64)
            taps = int64(fixed) if fixed else n
            for g in range(count):
                start, e = ld(to, 8 + g), g * (1 + taps) * lanes
                first = min(g * lanes, columns - lanes)
                if first >= 0:
                    for r in range(rows):
                        total = summed(entries, e, taps, row, start + r * stride, step)
                        v.store(y, first + r * columns, total)
                else:
                    for r in range(rows):
                        total = summed(entries, e, taps, row, start + r * stride, step)
                        v.store_n(y, r * columns, total, columns)
            return 0

        return resampled

    one_2, one_n = resampling(pick.one, 2, False), resampling(pick.one, 0, False)
    two_2, two_n = resampling(pick.two, 2, False), resampling(pick.two, 0, False)
    any_n = resampling(pick.any, 0, False)
    skipping_one, skipping = resampling(pick.one, 0, True), resampling(pick.any, 0, True)

    @inline
    def along(to, n, step, row, stride, rows, y, columns, last):
        span = ld(to, 0)
        if not last and span < lanes:
            skipping_one(to, n, step, row, stride, rows, y, columns)
        elif not last:
            skipping(to, n, step, row, stride, rows, y, columns)
        elif span >= 2 * lanes:
            any_n(to, n, step, row, stride, rows, y, columns)
        elif span >= lanes:
            if n == 2:
                two_2(to, n, step, row, stride, rows, y, columns)
            else:
                two_n(to, n, step, row, stride, rows, y, columns)
        elif n == 2:
            one_2(to, n, step, row, stride, rows, y, columns)
        else:
            one_n(to, n, step, row, stride, rows, y, columns)

    return namespace("columns", groups=groups, along=along, bytes_of=bytes_of)


@kernel(
    "Resize",
    types={"T1": TYPES},
    attributes=ATTRIBUTES,
    variant="columns",
    order=-1,
    reasons=(PICKS, REGION, "long runs of elements stay together"),
)
def resize_columns(k):
    """A unit is one output row. Scratch memory: the lists of planes and of rows, and sums of these
    rows, each between copies of its first and of its last element.
    """
    m = mixing(k)
    c = columns_of(k, m)
    put, get, lanes = k.store("float"), k.load("float"), k.lanes("float")
    size = k.dtype("T1").bits // 8

    @inline
    def margin(n, run):
        return (n * run + lanes - 1) // lanes * lanes

    @inline
    def stride_of(width, n, run):
        """Elements of a row with its margins, and what vectors that begin in it may reach."""
        return (width + 4 * lanes - 1) // lanes * lanes + 2 * margin(n, run)

    @inline
    def together(stride):
        """Rows that are summed before they are resampled: what was just stored is read late."""
        return max(min(NEAR // stride, int64(8)), int64(1))

    @inline
    def extend(row, n, run, width):
        for i in range((n - 1) * run):
            put(row, -1 - i, get(row, run - 1 - i % run))
            put(row, width + i, get(row, width - run + i % run))

    @k.outline("int64(call, int64, int64, pointer)")
    def make(call, begin, end, scratch):
        axis = m.line(call)
        run, n = m.run_length(call, axis), m.taps_of(call, axis)
        width, columns = k.input_dim(call, 0, axis) * run, k.output_dim(call, 0, axis) * run
        last = axis == k.output_rank(call, 0) - 1
        table = k.offset(k.workspace(call), m.tables_before(call, k.output_rank(call, 0)))
        above = k.output_dim(call, 0, axis - 1) if axis > 0 else int64(1)
        plane = width * k.input_dim(call, 0, axis - 1) if axis > 0 else width
        planes_to, rows_to = scratch, k.offset(scratch, m.list_bytes(call, axis - 1))
        row = k.offset(rows_to, m.list_bytes(call, axis) + 4 * margin(n, run))
        stride = stride_of(width, n, run)
        many = together(stride)
        planes, place, line = int64(0), begin // above, begin % above
        for first in range(begin, end, many):
            rows = min(end - first, many)
            for r in range(rows):
                if planes == 0 or line == 0:
                    planes = m.planes(call, max(axis - 1, 0), place, plane, planes_to)
                which, count = planes_to, planes
                if axis > 0:
                    which = rows_to
                    count = m.rows(call, axis - 1, line, width, planes_to, planes, rows_to)
                to = k.offset(row, 4 * r * stride)
                m.mix(k.input(call, 0), which, count, to, width)
                extend(to, n, run, width)
                line += 1
                if line == above:
                    line, place = int64(0), place + 1
            y = k.offset(k.output(call, 0), first * columns * size)
            c.along(table, n, run, row, stride, rows, y, columns, last)
        return 0

    run, units = two_phases(k, m, make, c.groups)

    def workspace(call):
        axis = m.line(call)
        return m.tables_before(call, k.output_rank(call, 0)) + c.bytes_of(
            call, axis, m.taps(call, axis)
        )

    def scratch(call):
        axis = m.line(call)
        run = m.run_length(call, axis)
        stride = stride_of(k.input_dim(call, 0, axis) * run, m.taps(call, axis), run)
        lists = m.list_bytes(call, axis - 1) + m.list_bytes(call, axis)
        return lists + 4 * stride * together(stride)

    def supports(call):
        why = m.refused(call, False)
        if why == 0 and m.run_length(call, m.line(call)) >= lanes:
            why = 3
        return why

    return parts(
        run=run, units=units, workspace=workspace, scratch=scratch, supports=supports, phases=2
    )
