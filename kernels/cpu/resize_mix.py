"""Resizing along one axis at a time: where the parts of a weighted sum lie, and sums of whole rows
of the input. Shared by the kernels that resize in vectors.
"""

from numba import int64
from resize import COORDINATE, CROP, MODE, tables

from _lang import inline, namespace

TYPES = "float float16 bfloat16"
PICKS, INTERPOLATES = "it picks elements", "it interpolates"
REGION = "a region of interest needs numbers to fill its outside"


def two_phases(k, m, make, groups=None):
    """`run` and `units` of a kernel: phase 0 fills the tables of all axes, and the groups of `line`
    where there are any; in phase 1 `make(call, begin, end, scratch)` makes rows of the output.
    """

    def grouped(call, axis):
        m.prepare(call, axis)
        if axis == m.line(call):
            behind = m.tables_before(call, k.output_rank(call, 0))
            groups(call, axis, k.offset(k.workspace(call), behind))

    prepare = inline(grouped) if groups else m.prepare

    def run(call, phase, begin, end, scratch):
        if phase == 1:
            make(call, begin, end, scratch)
        else:
            for axis in range(begin, end):
                prepare(call, axis)
        return k.OK

    def units(call, phase):
        n = m.lines(call, m.line(call))
        if phase == 0 and n > 0:
            n = k.output_rank(call, 0)
        return n

    return run, units


def mixing(k):
    """Functions of a call. The last axis that changes is `line`; what lies behind it moves as runs
    of `run_length` elements. The workspace begins with four words for each axis: where its table of
    taps and weights lies and how many taps an element has. Lists are pairs: an offset in the input,
    a weight.
    """
    taps, fill, _, unchanged = tables(k)
    ld, st = k.load("int64"), k.store("int64")
    number, put_number = k.load("double"), k.store("double")
    v, f, lanes = k.vector("T1"), k.vector("float"), k.lanes("float")
    cast = k.cast("float")

    @k.outline("int64(call)")
    def line(call):
        axis = int64(0)
        for a in range(k.output_rank(call, 0)):
            if unchanged(call, a) == 0:
                axis = int64(a)
        return axis

    @inline
    def run_length(call, axis):
        n = int64(1)
        for a in range(axis + 1, k.output_rank(call, 0)):
            n *= k.output_dim(call, 0, a)
        return n

    @k.outline("int64(call, int64)")
    def tables_before(call, axis):
        """Bytes of the workspace in front of the table of an axis."""
        n = (32 * k.output_rank(call, 0) + 63) // 64 * 64
        for a in range(axis):
            n += 16 * taps(call, a) * k.output_dim(call, 0, a)
        return n

    @inline
    def prepare(call, axis):
        """Fill the table of an axis."""
        at = tables_before(call, axis)
        st(k.workspace(call), 4 * axis, at)
        st(k.workspace(call), 4 * axis + 1, taps(call, axis))
        fill(call, axis, k.offset(k.workspace(call), at))

    @inline
    def table_of(call, axis):
        return k.offset(k.workspace(call), ld(k.workspace(call), 4 * axis))

    @inline
    def taps_of(call, axis):
        return ld(k.workspace(call), 4 * axis + 1)

    @k.outline("int64(call, int64, int64, int64, pointer)")
    def planes(call, axes, place, stride, to):
        """The list of element number `place` of the first `axes` axes; its length. `stride`:
        elements between two of the last of these axes."""
        count = int64(1)
        for a in range(axes):
            count *= taps_of(call, a)
        for c in range(count):
            rest, combination, step = place, int64(c), stride
            base, factor = int64(0), 1.0
            for j in range(axes):
                a = axes - 1 - j
                n, extent = taps_of(call, a), k.output_dim(call, 0, a)
                at = rest % extent * n
                if n > 1:
                    at += combination % n
                    combination = combination // n
                table = table_of(call, a)
                base += ld(table, 2 * at) * step
                factor *= number(table, 2 * at + 1)
                rest = rest // extent
                step *= k.input_dim(call, 0, a)
            st(to, 2 * c, base)
            put_number(to, 2 * c + 1, factor)
        return count

    @k.outline("int64(call, int64, int64, int64, pointer, int64, pointer)")
    def rows(call, axis, i, stride, plane, count, to):
        """The list of element i of an axis within the planes of a list; what has no weight does
        not count."""
        n = taps_of(call, axis)
        table = k.offset(table_of(call, axis), 16 * n * i)
        m = int64(0)
        for c in range(count):
            for t in range(n):
                weight = number(plane, 2 * c + 1) * number(table, 2 * t + 1)
                if weight != 0.0:
                    st(to, 2 * m, ld(plane, 2 * c) + ld(table, 2 * t) * stride)
                    put_number(to, 2 * m + 1, weight)
                    m += 1
        return m

    @inline
    def weight_at(which, i):
        return f.set(cast(number(which, 2 * i + 1)))

    @inline
    def sum_at(x, which, count, at):
        """A vector of the sum of rows."""
        total = f.zero()
        for c in range(count):
            total = f.fma(weight_at(which, c), v.load(x, ld(which, 2 * c) + at), total)
        return total

    @inline
    def four_at(x, which, count, row, at):
        a, b, c, d = f.zero(), f.zero(), f.zero(), f.zero()
        for i in range(count):
            weight, source = weight_at(which, i), ld(which, 2 * i) + at
            a = f.fma(weight, v.load(x, source), a)
            b = f.fma(weight, v.load(x, source + lanes), b)
            c = f.fma(weight, v.load(x, source + 2 * lanes), c)
            d = f.fma(weight, v.load(x, source + 3 * lanes), d)
        f.store(row, at, a)
        f.store(row, at + lanes, b)
        f.store(row, at + 2 * lanes, c)
        f.store(row, at + 3 * lanes, d)

    @k.outline("int64(pointer, pointer, int64, pointer, int64)")
    def mix(x, which, count, row, width):
        """The sum of rows of `width` elements as floats. What is written may end with a whole
        vector."""
        done = int64(0)
        if count == 2:
            first, second = ld(which, 0), ld(which, 2)
            low, high = weight_at(which, 0), weight_at(which, 1)
            done = width // lanes * lanes
            for i in range(0, done, lanes):
                part = low * v.load(x, first + i)
                f.store(row, i, f.fma(high, v.load(x, second + i), part))
        else:
            for i in range(0, width - 4 * lanes + 1, 4 * lanes):
                four_at(x, which, count, row, i)
                done = i + 4 * lanes
            for i in range(done, width - lanes + 1, lanes):
                f.store(row, i, sum_at(x, which, count, i))
                done = i + lanes
        if done < width and width >= lanes:
            f.store(row, width - lanes, sum_at(x, which, count, width - lanes))
        elif done < width:
            total = f.zero()
            for c in range(count):
                source = v.load_n(x, ld(which, 2 * c), width)
                total = f.fma(weight_at(which, c), source, total)
            f.store(row, 0, total)
        return 0

    @inline
    def list_bytes(call, axes):
        """Bytes of a list of all combinations of the first `axes` axes."""
        n = int64(16)
        for a in range(axes):
            n *= taps(call, a)
        return (n + 63) // 64 * 64

    @inline
    def lines(call, axis):
        """Units of phase 1: elements of the axes in front of `axis`."""
        n = int64(1)
        for a in range(axis):
            n *= k.output_dim(call, 0, a)
        return n if k.output_size(call, 0) > 0 and k.input_size(call, 0) > 0 else int64(0)

    @inline
    def refused(call, nearest):
        why = 0
        if (k.attr_int(call, MODE) == 0) != nearest:
            why = 1
        elif k.attr_int(call, COORDINATE) == CROP:
            why = 2
        return why

    return namespace(
        "mixing",
        taps=taps,
        line=line,
        run_length=run_length,
        tables_before=tables_before,
        prepare=prepare,
        table_of=table_of,
        taps_of=taps_of,
        planes=planes,
        rows=rows,
        mix=mix,
        list_bytes=list_bytes,
        lines=lines,
        refused=refused,
    )
