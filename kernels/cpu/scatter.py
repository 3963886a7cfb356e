"""ScatterElements and ScatterND with every reduction; every index is checked."""

from numba import int64

from _lang import BYTES, WIDE, inline, kernel, parts

CHUNK = 4096
INDICES = "int64 int32"
MODES = "reduction:none|add|mul|min|max"


def reduced(k):
    """The inline function that merges an update into an element, by the number of the reduction."""

    @inline
    def merge(mode, old, new):
        out = new
        if mode == 1:
            out = old + new
        elif mode == 2:
            out = old * new
        elif mode == 3:
            out = old if old < new else new
        elif mode == 4:
            out = old if old > new else new
        return out

    return merge


def overwritten(k):
    """Without a reduction the update replaces the element."""

    @inline
    def merge(mode, old, new):
        return new

    return merge


def scatter_elements(k, merge, supports=None):
    """Phase 0 copies the data; phase 1, one unit, writes the updates in order, so that
    duplicates have one meaning.
    """
    get, put, index_at = k.load("T"), k.store("T"), k.load("Tind")
    width = k.dtype("T").bits // 8

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
        mode = k.attr_int(call, 1)
        rank = k.input_rank(call, 0)
        columns = k.input_dim(call, 1, rank - 1)
        for row in range(k.input_size(call, 1) // columns):
            error = write_row(call, row, mode)
            if error >= 0:
                k.set_error_index(call, error)
                return k.INDEX_OUT_OF_RANGE
        return k.OK

    def units(call, phase):
        if phase == 0:
            return (k.output_size(call, 0) + CHUNK - 1) // CHUNK
        return 1 if k.input_size(call, 1) > 0 else 0

    return parts(run=run, units=units, supports=supports, phases=2)


def scatter_nd(k, merge, supports=None):
    """Phases as in ScatterElements; an index tuple addresses a run of the axes behind."""
    get, put, index_at = k.load("T"), k.store("T"), k.load("int64")
    width = k.dtype("T").bits // 8

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
        mode = k.attr_int(call, 0)
        depth = k.input_dim(call, 1, k.input_rank(call, 1) - 1)
        inner = int64(1)
        for a in range(depth, k.input_rank(call, 0)):
            inner *= k.input_dim(call, 0, a)
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
            if mode == 0:
                k.copy(y, row * inner * width, updates, t * inner * width, inner * width)
            else:
                for i in range(inner):
                    at = row * inner + i
                    put(y, at, merge(mode, get(y, at), get(updates, t * inner + i)))
        return k.OK

    def units(call, phase):
        if phase == 0:
            return (k.output_size(call, 0) + CHUNK - 1) // CHUNK
        return 1 if k.input_size(call, 1) > 0 else 0

    return parts(run=run, units=units, supports=supports, phases=2)


def replaces(k, attribute):
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
    reasons=REASONS,
)
def scatter_elements_replace(k):
    return scatter_elements(k, overwritten(k), replaces(k, 1))


@kernel("ScatterElements", types={"T": WIDE, "Tind": INDICES}, attributes=("axis", MODES))
def scatter_elements_reduce(k):
    return scatter_elements(k, reduced(k))


@kernel("ScatterND", types={"T": BYTES}, attributes=(MODES,), variant="replace", reasons=REASONS)
def scatter_nd_replace(k):
    return scatter_nd(k, overwritten(k), replaces(k, 0))


@kernel("ScatterND", types={"T": WIDE}, attributes=(MODES,))
def scatter_nd_reduce(k):
    return scatter_nd(k, reduced(k))
