"""Transpose, Expand, Tile, DepthToSpace, SpaceToDepth, ReverseSequence: elements reordered."""

from strided import CHUNK, view_bytes, views
from transpose_block import transpose_block

from _lang import BYTES, inline, kernel, parts

TILE_ROWS, TILE_COLUMNS = 32, 256  # of the output, in one unit of a transposition


def chunks(k):
    """`units`: output 0 cut into chunks of elements."""

    def units(call, phase):
        return (k.output_size(call, 0) + CHUNK - 1) // CHUNK

    return units


@kernel("Transpose", types={"T": BYTES}, attributes=("perm",))
def transpose(k):
    """Tiles of two axes: the output's last one and the one where the input is contiguous.
    Rows when they are the same.
    """
    get, put = k.load("T"), k.store("T")
    start, push, copy = views(k, "T")
    bits = k.dtype("T").bits
    side = min(256 // bits, 16)  # of the squares that are turned in registers
    turn = transpose_block(k.dtype("T").name, k.dtype("T").name, side)

    @inline
    def turned(x, y, x_at, step, y_at, y_step, height, width):
        """Columns of x, `step` apart, become rows of y."""
        whole_rows, whole_columns = height - height % side, width - width % side
        for c in range(0, whole_columns, side):
            for r in range(0, whole_rows, side):
                turn(y, y_at + r * y_step + c, y_step, x, x_at + c * step + r, step)
        for r in range(height):
            for c in range(whole_columns if r < whole_rows else 0, width):
                put(y, y_at + r * y_step + c, get(x, x_at + c * step + r))

    @inline
    def source(call, axis):
        if k.attr_n(call, 0) > 0:
            a = k.attr_ints(call, 0, axis)
            return a + k.input_rank(call, 0) if a < 0 else a
        return k.input_rank(call, 0) - 1 - axis

    @inline
    def stride(call, axis):
        """Distance in the input of neighbours along output axis `axis`."""
        s = 1
        for a in range(source(call, axis) + 1, k.input_rank(call, 0)):
            s *= k.input_dim(call, 0, a)
        return s

    @inline
    def contiguous_axis(call):
        found = 0
        for a in range(k.input_rank(call, 0)):
            if source(call, a) == k.input_rank(call, 0) - 1:
                found = a
        return found

    @inline
    def rows(call, x, y, begin, end, view):
        rank = k.input_rank(call, 0)
        start(view)
        for a in range(rank):
            push(view, k.output_dim(call, 0, a), stride(call, a))
        copy(view, y, x, 0, begin * CHUNK, min(end * CHUNK, k.output_size(call, 0)))

    @inline
    def tile(call, x, y, unit):
        last = k.input_rank(call, 0) - 1
        near = contiguous_axis(call)
        n_columns = k.output_dim(call, 0, last)
        n_rows = k.output_dim(call, 0, near)
        column_tiles = (n_columns + TILE_COLUMNS - 1) // TILE_COLUMNS
        row_tiles = (n_rows + TILE_ROWS - 1) // TILE_ROWS
        column = unit % column_tiles * TILE_COLUMNS
        row = unit // column_tiles % row_tiles * TILE_ROWS
        rest = unit // (column_tiles * row_tiles)
        step = stride(call, last)
        y_step = 1
        x_at = column * step + row
        y_at = column
        y_stride = n_columns
        for i in range(last):
            a = last - 1 - i
            if a == near:
                y_step = y_stride
                y_at += row * y_step
            else:
                coordinate = rest % k.output_dim(call, 0, a)
                rest = rest // k.output_dim(call, 0, a)
                x_at += coordinate * stride(call, a)
                y_at += coordinate * y_stride
            y_stride *= k.output_dim(call, 0, a)
        width = min(n_columns - column, TILE_COLUMNS)
        height = min(n_rows - row, TILE_ROWS)
        turned(x, y, x_at, step, y_at, y_step, height, width)

    def run(call, phase, begin, end, scratch):
        x, y = k.input(call, 0), k.output(call, 0)
        rank = k.input_rank(call, 0)
        if rank == 0 or contiguous_axis(call) == rank - 1:
            rows(call, x, y, begin, end, scratch)
        else:
            for unit in range(begin, end):
                tile(call, x, y, unit)
        return k.OK

    def units(call, phase):
        rank = k.input_rank(call, 0)
        size = k.output_size(call, 0)
        n = (size + CHUNK - 1) // CHUNK
        if size > 0 and rank > 0:
            near = contiguous_axis(call)
            if near != rank - 1:
                columns = k.output_dim(call, 0, rank - 1)
                heights = k.output_dim(call, 0, near)
                n = size // (columns * heights)
                n *= (columns + TILE_COLUMNS - 1) // TILE_COLUMNS
                n *= (heights + TILE_ROWS - 1) // TILE_ROWS
        return n

    def scratch(call):
        return view_bytes(k.input_rank(call, 0))

    return parts(run=run, units=units, scratch=scratch)


@kernel("Expand", types={"T": BYTES})
def expand(k):
    start, push, copy = views(k, "T")

    def run(call, phase, begin, end, scratch):
        rank = k.output_rank(call, 0)
        missing = rank - k.input_rank(call, 0)
        start(scratch)
        for a in range(rank):
            stride = 0
            if a >= missing:
                if k.input_dim(call, 0, a - missing) != 1:
                    stride = 1
                    for b in range(a - missing + 1, k.input_rank(call, 0)):
                        stride *= k.input_dim(call, 0, b)
            push(scratch, k.output_dim(call, 0, a), stride)
        copy(
            scratch,
            k.output(call, 0),
            k.input(call, 0),
            0,
            begin * CHUNK,
            min(end * CHUNK, k.output_size(call, 0)),
        )
        return k.OK

    def scratch(call):
        return view_bytes(k.output_rank(call, 0))

    return parts(run=run, units=chunks(k), scratch=scratch)


@kernel("Tile", types={"T": BYTES})
def tile(k):
    """Each axis is two: the repeats, which stand still in the input, and the input's own."""
    start, push, copy = views(k, "T")

    def run(call, phase, begin, end, scratch):
        rank = k.output_rank(call, 0)
        start(scratch)
        for a in range(rank):
            extent = k.input_dim(call, 0, a)
            stride = 1
            for b in range(a + 1, rank):
                stride *= k.input_dim(call, 0, b)
            push(scratch, k.output_dim(call, 0, a) // extent, 0)
            push(scratch, extent, stride)
        copy(
            scratch,
            k.output(call, 0),
            k.input(call, 0),
            0,
            begin * CHUNK,
            min(end * CHUNK, k.output_size(call, 0)),
        )
        return k.OK

    def scratch(call):
        return view_bytes(2 * k.output_rank(call, 0))

    return parts(run=run, units=chunks(k), scratch=scratch)


@kernel("DepthToSpace", types={"T": BYTES}, attributes=("blocksize", "mode:DCR|CRD"))
def depth_to_space(k):
    """A unit is an output row, which takes turns with the rows of `blocksize` channels."""
    get, put = k.load("T"), k.store("T")

    def run(call, phase, begin, end, scratch):
        block, channels = k.attr_int(call, 0), k.output_dim(call, 0, 1)
        height, width = k.input_dim(call, 0, 2), k.input_dim(call, 0, 3)
        image = height * width
        row_step, column_step, channel_step = block * channels * image, channels * image, image
        if k.attr_int(call, 1) == 1:
            row_step, column_step, channel_step = block * image, image, block * block * image
        x, y = k.input(call, 0), k.output(call, 0)
        for unit in range(begin, end):
            line, plane = unit // block % height, unit // block // height
            at = plane // channels * k.input_dim(call, 0, 1) * image + line * width
            at += plane % channels * channel_step + unit % block * row_step
            to = unit * block * width
            if block == 2:
                for i in range(width):
                    put(y, to + i * 2, get(x, at + i))
                    put(y, to + i * 2 + 1, get(x, at + column_step + i))
            else:
                for turn in range(block):
                    for i in range(width):
                        put(y, to + i * block + turn, get(x, at + turn * column_step + i))
        return k.OK

    def units(call, phase):
        return k.output_size(call, 0) // max(k.output_dim(call, 0, 3), 1)

    return parts(run=run, units=units)


@kernel("SpaceToDepth", types={"T": BYTES}, attributes=("blocksize", "mode:DCR|CRD"))
def space_to_depth(k):
    start, push, copy = views(k, "T")

    def run(call, phase, begin, end, scratch):
        block = k.attr_int(call, 0)
        channels = k.input_dim(call, 0, 1)
        height = k.output_dim(call, 0, 2)
        width = k.output_dim(call, 0, 3)
        row = k.input_dim(call, 0, 3)
        image = k.input_dim(call, 0, 2) * row
        start(scratch)
        push(scratch, k.input_dim(call, 0, 0), channels * image)
        if k.attr_int(call, 1) == 1:
            push(scratch, channels, image)
        push(scratch, block, row)
        push(scratch, block, 1)
        if k.attr_int(call, 1) == 0:
            push(scratch, channels, image)
        push(scratch, height, row * block)
        push(scratch, width, block)
        copy(
            scratch,
            k.output(call, 0),
            k.input(call, 0),
            0,
            begin * CHUNK,
            min(end * CHUNK, k.output_size(call, 0)),
        )
        return k.OK

    def scratch(call):
        return view_bytes(6)

    return parts(run=run, units=chunks(k), scratch=scratch)


@kernel("ReverseSequence", types={"T": BYTES}, attributes=("batch_axis", "time_axis"))
def reverse_sequence(k):
    """A unit is one index of the axes up to the later of batch and time axis; the axes behind
    are one run.
    """
    length_of = k.load("int64")
    width = k.dtype("T").bits // 8

    @inline
    def axis_of(call, attribute):
        a = k.attr_int(call, attribute)
        return a + k.input_rank(call, 0) if a < 0 else a

    @inline
    def inner(call):
        n = 1
        for a in range(max(axis_of(call, 0), axis_of(call, 1)) + 1, k.input_rank(call, 0)):
            n *= k.input_dim(call, 0, a)
        return n

    def run(call, phase, begin, end, scratch):
        x, y = k.input(call, 0), k.output(call, 0)
        batch_axis, time_axis = axis_of(call, 0), axis_of(call, 1)
        last = max(batch_axis, time_axis)
        run_bytes = inner(call) * width
        for unit in range(begin, end):
            rest = unit
            batch = unit
            time = unit
            time_stride = 1
            stride = 1
            for i in range(last + 1):
                a = last - i
                extent = k.input_dim(call, 0, a)
                if a == batch_axis:
                    batch = rest % extent
                if a == time_axis:
                    time = rest % extent
                    time_stride = stride
                rest = rest // extent
                stride *= extent
            n = length_of(k.input(call, 1), batch)
            if n < 0 or n > k.input_dim(call, 0, time_axis):
                k.set_error_index(call, batch)
                return k.INVALID_VALUE
            source = unit
            if time < n:
                source = unit + (n - 1 - 2 * time) * time_stride
            k.copy(y, unit * run_bytes, x, source * run_bytes, run_bytes)
        return k.OK

    def units(call, phase):
        n = inner(call)
        size = k.output_size(call, 0)
        return size // n if size > 0 else 0

    return parts(run=run, units=units)
