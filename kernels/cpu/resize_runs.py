"""Resize between elements where the last axes stay as they are, as channels do that lie last or in
blocks: each output element is a sum of whole runs.
"""

from numba import int64
from resize import ATTRIBUTES
from resize_mix import PICKS, REGION, TYPES, mixing, two_phases

from _lang import inline, kernel, parts


@kernel(
    "Resize",
    types={"T1": TYPES},
    attributes=ATTRIBUTES,
    variant="runs",
    order=-1,
    reasons=(PICKS, REGION, "elements that stay together are no whole vector"),
)
def resize_runs_between(k):
    """A unit is a row of runs. Scratch memory: the lists of planes and of rows, and the sum of
    these rows, where there is more than one.
    """
    m = mixing(k)
    ld, number = k.load("int64"), k.load("double")
    v, f, lanes = k.vector("T1"), k.vector("float"), k.lanes("float")
    cast = k.cast("float")
    size = k.dtype("T1").bits // 8

    def along(source, fixed):
        """A row of outputs, of floats or of what the input has; `fixed` taps, or any number."""

        @inline
        def one(row, table, n, run, at):
            """A vector of the run of one output; what has no weight does not count."""
            total = f.zero()
            for t in range(n):
                weight = number(table, 2 * t + 1)
                if weight != 0.0:
                    part = source.load(row, ld(table, 2 * t) * run + at)
                    total = f.fma(f.set(cast(weight)), part, total)
            return total

        @inline
        def between(row, table, run, y):
            first, second = ld(table, 0) * run, ld(table, 2) * run
            low, high = f.set(cast(number(table, 1))), f.set(cast(number(table, 3)))
            for i in range(0, run, lanes):
                at = min(i, run - lanes)
                part = low * source.load(row, first + at)
                v.store(y, at, f.fma(high, source.load(row, second + at), part))

        @k.outline("int64(pointer, int64, pointer, int64, int64, pointer, int64)")
        def resampled(row, at, table, n, columns, y, run):
            row = k.offset(row, at)
            for i in range(columns):
                entry, to = k.offset(table, 16 * n * i), k.offset(y, i * run * size)
                both = fixed
                if fixed:
                    both = number(entry, 1) != 0.0 and number(entry, 3) != 0.0
                if both:
                    between(row, entry, run, to)
                else:
                    for j in range(0, run, lanes):
                        place = min(j, run - lanes)
                        v.store(to, place, one(row, entry, n, run, place))
            return 0

        return resampled

    floats_2, floats_n = along(f, True), along(f, False)
    inputs_2, inputs_n = along(v, True), along(v, False)

    @k.outline("int64(call, int64, int64, pointer)")
    def make(call, begin, end, scratch):
        axis = m.line(call)
        run, n = m.run_length(call, axis), m.taps_of(call, axis)
        width, columns = k.input_dim(call, 0, axis) * run, k.output_dim(call, 0, axis)
        x, table = k.input(call, 0), m.table_of(call, axis)
        above = k.output_dim(call, 0, axis - 1) if axis > 0 else int64(1)
        planes_to, rows_to = scratch, k.offset(scratch, m.list_bytes(call, axis - 1))
        row = k.offset(rows_to, m.list_bytes(call, axis))
        planes = int64(0)
        for unit in range(begin, end):
            if unit == begin or unit % above == 0:
                stride = width * k.input_dim(call, 0, axis - 1) if axis > 0 else width
                planes = m.planes(call, max(axis - 1, 0), unit // above, stride, planes_to)
            which, count = planes_to, planes
            if axis > 0:
                which = rows_to
                count = m.rows(call, axis - 1, unit % above, width, planes_to, planes, rows_to)
            y = k.offset(k.output(call, 0), unit * columns * run * size)
            if count == 1 and number(which, 1) == 1.0:
                at = ld(which, 0) * size
                if n == 2:
                    inputs_2(x, at, table, n, columns, y, run)
                else:
                    inputs_n(x, at, table, n, columns, y, run)
            else:
                m.mix(x, which, count, row, width)
                if n == 2:
                    floats_2(row, 0, table, n, columns, y, run)
                else:
                    floats_n(row, 0, table, n, columns, y, run)
        return 0

    run, units = two_phases(k, m, make)

    def workspace(call):
        return m.tables_before(call, k.output_rank(call, 0))

    def scratch(call):
        axis = m.line(call)
        n = k.input_dim(call, 0, axis) * m.run_length(call, axis) + lanes
        return m.list_bytes(call, axis - 1) + m.list_bytes(call, axis) + 4 * n

    def supports(call):
        why = m.refused(call, False)
        if why == 0 and m.run_length(call, m.line(call)) < lanes:
            why = 3
        return why

    return parts(
        run=run, units=units, workspace=workspace, scratch=scratch, supports=supports, phases=2
    )
