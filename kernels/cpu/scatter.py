"""ScatterElements and ScatterND with every reduction; every index is checked."""

from numba import int64

from _lang import BYTES, WIDE, inline, kernel, parts

CHUNK = 4096
COLUMNS = 64  # elements that lie behind one another of a unit of work, at least
INDICES = "int64 int32"
MODES = "reduction:none|add|mul|min|max"


def reduced(k):
    """The inline function that merges an update into an element, by the number of the reduction;
    minimum and maximum are NaN where one is.
    """

    @inline
    def merge(mode, old, new):
        out = new
        if mode == 1:
            out = old + new
        elif mode == 2:
            out = old * new
        elif mode == 3:
            out = old if old < new or old != old else new
        elif mode == 4:
            out = old if old > new or old != old else new
        return out

    return merge


def overwritten(k):
    """Without a reduction the update replaces the element."""

    @inline
    def merge(mode, old, new):
        return new

    return merge


def row_merger(k, merge, replaces):
    """`merge_row(y, at, updates, source, n, mode)`: a run of updates into a run of elements."""
    get, put, width = k.load("T"), k.store("T"), k.dtype("T").bits // 8

    @inline
    def merge_run(y, at, updates, source, n, mode):
        for i in range(n):
            put(y, at + i, merge(mode, get(y, at + i), get(updates, source + i)))

    @k.outline("int64(pointer, int64, pointer, int64, int64, int64)")
    def merge_row(y, at, updates, source, n, mode):
        if replaces or mode == 0:
            k.copy(y, at * width, updates, source * width, n * width)
        elif mode == 1:
            merge_run(y, at, updates, source, n, 1)
        else:
            merge_run(y, at, updates, source, n, mode)
        return 0

    return merge_row


def scatter_elements(k, merge, replaces):
    """Phase 0 copies the data; phase 1 writes the updates in order, so that duplicates have one
    meaning. Where only the axis differs between indices and data, a unit is one coordinate of the
    axes before it and some columns behind it; else there is one.
    """
    get, put, index_at = k.load("T"), k.store("T"), k.load("Tind")
    width, merge_row = k.dtype("T").bits // 8, row_merger(k, merge, replaces)

    @k.outline("int64(call)")
    def axis_of(call):
        axis = k.attr_int(call, 0)
        return axis + k.input_rank(call, 0) if axis < 0 else axis

    @k.outline("int64(call)")
    def is_even(call):
        """Whether indices and data have the same axes but for the one."""
        even = 1
        for a in range(k.input_rank(call, 0)):
            if a != axis_of(call) and k.input_dim(call, 0, a) != k.input_dim(call, 1, a):
                even = 0
        return even

    @k.outline("int64(call)")
    def inner_of(call):
        n = int64(1)
        for a in range(axis_of(call) + 1, k.input_rank(call, 0)):
            n *= k.input_dim(call, 0, a)
        return n

    @k.outline("int64(pointer, int64, int64)")
    def is_constant(indices, first, n):
        """Whether a run of indices is one number."""
        index, other = index_at(indices, first), int64(0)
        if n > 1 and index_at(indices, first + n - 1) == index:
            for c in range(n):
                other |= int64(index_at(indices, first + c) ^ index)
        elif n > 1:
            other = int64(1)
        return 1 if other == 0 else 0

    @k.outline("int64(call, int64)")
    def write_line(call, outer):
        """All updates under one coordinate of the axes before, where none are behind."""
        y, indices, updates = k.output(call, 0), k.input(call, 1), k.input(call, 2)
        mode, axis = k.attr_int(call, 1), axis_of(call)
        extent, count = k.input_dim(call, 0, axis), k.input_dim(call, 1, axis)
        for t in range(outer * count, (outer + 1) * count):
            index = int64(index_at(indices, t))
            if index < 0:
                index += extent
            if index < 0 or index >= extent:
                return t
            at = outer * extent + index
            put(y, at, merge(mode, get(y, at), get(updates, t)))
        return -1

    @k.outline("int64(call, int64, int64, int64)")
    def write_columns(call, outer, low, high):
        """The columns [low, high) under one coordinate of the axes before."""
        y, indices, updates = k.output(call, 0), k.input(call, 1), k.input(call, 2)
        axis, inner, mode = axis_of(call), inner_of(call), k.attr_int(call, 1)
        extent, count, n = k.input_dim(call, 0, axis), k.input_dim(call, 1, axis), high - low
        for t in range(count):
            source, base = (outer * count + t) * inner + low, outer * extent * inner + low
            runs = n if is_constant(indices, source, n) == 1 else 1
            for c in range(0, n, runs):
                index = int64(index_at(indices, source + c))
                if index < 0:
                    index += extent
                if index < 0 or index >= extent:
                    return source + c
                at = base + index * inner + c
                if runs > 1:
                    merge_row(y, at, updates, source, n, mode)
                else:
                    put(y, at, merge(mode, get(y, at), get(updates, source + c)))
        return -1

    @inline
    def chunks(call):
        return max(inner_of(call) // COLUMNS, 1)

    @k.outline("int64(call, int64, int64)")
    def write_units(call, begin, end):
        unit, cuts, inner, error = begin, chunks(call), inner_of(call), int64(-1)
        while unit < end and error < 0:
            outer, low = unit // cuts, unit % cuts
            high = min(low + end - unit, cuts)
            if inner == 1:
                error = write_line(call, outer)
            else:
                error = write_columns(call, outer, low * inner // cuts, high * inner // cuts)
            unit += high - low
        return error

    @inline
    def write_row(call, row, mode):
        y, indices, updates = k.output(call, 0), k.input(call, 1), k.input(call, 2)
        rank = k.input_rank(call, 0)
        axis = k.attr_int(call, 0)
        if axis < 0:
            axis += rank
        extent = k.input_dim(call, 0, axis)
        columns = k.input_dim(call, 1, rank - 1)
        base = int64(0)
        rest = row
        stride = k.input_dim(call, 0, rank - 1)
        axis_stride = int64(1)
        inside = True
        for i in range(rank - 1):
            a = rank - 2 - i
            coordinate = rest % k.input_dim(call, 1, a)
            rest = rest // k.input_dim(call, 1, a)
            if a == axis:
                axis_stride = stride
            else:
                base += coordinate * stride
                inside = inside and coordinate < k.input_dim(call, 0, a)
            stride *= k.input_dim(call, 0, a)
        column_step = 1
        if axis == rank - 1:
            column_step = 0
        else:
            inside = inside and columns <= k.input_dim(call, 0, rank - 1)
        error = int64(-1)
        for c in range(columns):
            index = int64(index_at(indices, row * columns + c))
            if index < 0:
                index += extent
            if not inside or index < 0 or index >= extent:
                error = row * columns + c
                break
            at = base + c * column_step + index * axis_stride
            put(y, at, merge(mode, get(y, at), get(updates, row * columns + c)))
        return error

    def run(call, phase, begin, end, scratch):
        if phase == 0:
            first = begin * CHUNK
            last = min(end * CHUNK, k.output_size(call, 0))
            k.copy(
                k.output(call, 0),
                first * width,
                k.input(call, 0),
                first * width,
                (last - first) * width,
            )
            return k.OK
        error = int64(-1)
        if is_even(call) == 1:
            error = write_units(call, begin, end)
        else:
            columns = k.input_dim(call, 1, k.input_rank(call, 0) - 1)
            for row in range(k.input_size(call, 1) // columns):
                if error < 0:
                    error = write_row(call, row, k.attr_int(call, 1))
        if error >= 0:
            k.set_error_index(call, error)
            return k.INDEX_OUT_OF_RANGE
        return k.OK

    def units(call, phase):
        n = (k.output_size(call, 0) + CHUNK - 1) // CHUNK
        if phase == 1 and k.input_size(call, 1) == 0:
            n = 0
        elif phase == 1:
            n = 1
            if is_even(call) == 1:
                n = k.input_size(call, 1) // (k.input_dim(call, 1, axis_of(call)) * inner_of(call))
                n *= chunks(call)
        return n

    supports = replaces_only(k, 1) if replaces else None
    return parts(run=run, units=units, supports=supports, phases=2)


def scatter_nd(k, merge, replaces):
    """Phases as in ScatterElements; an index tuple addresses a run of the axes behind, and a unit
    is some columns of all the runs.
    """
    index_at, width = k.load("int64"), k.dtype("T").bits // 8
    merge_row = row_merger(k, merge, replaces)

    @inline
    def depth_of(call):
        return k.input_dim(call, 1, k.input_rank(call, 1) - 1)

    @k.outline("int64(call)")
    def inner_of(call):
        n = int64(1)
        for a in range(depth_of(call), k.input_rank(call, 0)):
            n *= k.input_dim(call, 0, a)
        return n

    @inline
    def chunks(call):
        return max(inner_of(call) // COLUMNS, 1)

    def run(call, phase, begin, end, scratch):
        x, y, indices, updates = (
            k.input(call, 0),
            k.output(call, 0),
            k.input(call, 1),
            k.input(call, 2),
        )
        if phase == 0:
            first = begin * CHUNK
            last = min(end * CHUNK, k.output_size(call, 0))
            k.copy(y, first * width, x, first * width, (last - first) * width)
            return k.OK
        mode, depth, inner = k.attr_int(call, 0), depth_of(call), inner_of(call)
        low, high = begin * inner // chunks(call), end * inner // chunks(call)
        for t in range(k.input_size(call, 1) // depth):
            row = int64(0)
            for d in range(depth):
                extent = k.input_dim(call, 0, d)
                index = index_at(indices, t * depth + d)
                if index < 0:
                    index += extent
                if index < 0 or index >= extent:
                    k.set_error_index(call, t * depth + d)
                    return k.INDEX_OUT_OF_RANGE
                row = row * extent + index
            merge_row(y, row * inner + low, updates, t * inner + low, high - low, mode)
        return k.OK

    def units(call, phase):
        n = (k.output_size(call, 0) + CHUNK - 1) // CHUNK
        if phase == 1:
            n = chunks(call) if k.input_size(call, 1) > 0 else 0
        return n

    supports = replaces_only(k, 0) if replaces else None
    return parts(run=run, units=units, supports=supports, phases=2)


def replaces_only(k, attribute):
    """`supports` of the rows that move elements only."""

    def supports(call):
        return 0 if k.attr_int(call, attribute) == 0 else 1

    return supports


REASONS = ("a reduction needs numbers",)


@kernel(
    "ScatterElements",
    types={"T": BYTES, "Tind": INDICES},
    attributes=("axis", MODES),
    variant="replace",
    inplace=True,
    reasons=REASONS,
)
def scatter_elements_replace(k):
    return scatter_elements(k, overwritten(k), True)


@kernel(
    "ScatterElements",
    types={"T": WIDE, "Tind": INDICES},
    attributes=("axis", MODES),
    inplace=True,
)
def scatter_elements_reduce(k):
    return scatter_elements(k, reduced(k), False)


@kernel(
    "ScatterND",
    types={"T": BYTES},
    attributes=(MODES,),
    variant="replace",
    inplace=True,
    reasons=REASONS,
)
def scatter_nd_replace(k):
    return scatter_nd(k, overwritten(k), True)


@kernel("ScatterND", types={"T": WIDE}, attributes=(MODES,), inplace=True)
def scatter_nd_reduce(k):
    return scatter_nd(k, reduced(k), False)
