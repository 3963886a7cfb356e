"""Shape, Size, Range, EyeLike and Trilu: tensors made of counts, or masked by position."""

from _lang import BYTES, kernel, parts

CHUNK = 4096  # elements of one unit


@kernel("Shape", types={}, attributes=("start",))
def shape(k):
    put = k.store("int64")

    def run(call, phase, begin, end, scratch):
        rank = k.input_rank(call, 0)
        first = k.attr_int(call, 0)
        if first < 0:
            first = max(first + rank, 0)
        for i in range(k.output_size(call, 0)):
            put(k.output(call, 0), i, k.input_dim(call, 0, first + i))
        return k.OK

    return parts(run=run)


@kernel("Size", types={})
def size(k):
    put = k.store("int64")

    def run(call, phase, begin, end, scratch):
        put(k.output(call, 0), 0, k.input_size(call, 0))
        return k.OK

    return parts(run=run)


@kernel("Range", types={"T": "float double float16 bfloat16 int16 int32 int64"})
def range_kernel(k):
    get, put, cast = k.load("T"), k.store("T"), k.cast("T")

    def run(call, phase, begin, end, scratch):
        y = k.output(call, 0)
        start = get(k.input(call, 0), 0)
        delta = get(k.input(call, 2), 0)
        for i in range(begin * CHUNK, min(end * CHUNK, k.output_size(call, 0))):
            put(y, i, start + cast(i) * delta)
        return k.OK

    def units(call, phase):
        return (k.output_size(call, 0) + CHUNK - 1) // CHUNK

    return parts(run=run, units=units)


@kernel(
    "EyeLike",
    types={
        "T2": "float double float16 bfloat16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool"
    },
    attributes=("k",),
)
def eye_like(k):
    put, cast = k.store("T2"), k.cast("T2")
    width = k.dtype("T2").bits // 8

    def run(call, phase, begin, end, scratch):
        y = k.output(call, 0)
        columns = k.output_dim(call, 0, 1)
        shift = k.attr_int(call, 0)
        for row in range(begin, end):
            k.fill(y, row * columns * width, columns * width)
            if row + shift >= 0 and row + shift < columns:
                put(y, row * columns + row + shift, cast(1))
        return k.OK

    def units(call, phase):
        return k.output_dim(call, 0, 0)

    return parts(run=run, units=units)


@kernel("Trilu", types={"T": BYTES}, attributes=("upper",), inplace=True)
def trilu(k):
    """A unit is one row; elements outside the triangle become zero bytes."""
    width = k.dtype("T").bits // 8
    number = k.load("int64")

    def run(call, phase, begin, end, scratch):
        x, y = k.input(call, 0), k.output(call, 0)
        rank = k.input_rank(call, 0)
        rows = k.input_dim(call, 0, rank - 2)
        columns = k.input_dim(call, 0, rank - 1)
        diagonal = 0
        if k.has_input(call, 1):
            diagonal = number(k.input(call, 1), 0)
        diagonal = min(max(diagonal, -rows), columns)
        upper = k.attr_int(call, 0) != 0
        for unit in range(begin, end):
            row = unit % rows
            at = unit * columns * width
            if upper:
                edge = min(max(row + diagonal, 0), columns)
                k.fill(y, at, edge * width)
                first = edge
                last = columns
            else:
                edge = min(max(row + diagonal + 1, 0), columns)
                k.fill(y, at + edge * width, (columns - edge) * width)
                first = 0
                last = edge
            k.copy(y, at + first * width, x, at + first * width, (last - first) * width)
        return k.OK

    def units(call, phase):
        size = k.input_size(call, 0)
        return size // k.input_dim(call, 0, k.input_rank(call, 0) - 1) if size > 0 else 0

    return parts(run=run, units=units)
