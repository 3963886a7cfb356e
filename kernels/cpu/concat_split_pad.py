"""Concat, Split, Slice, Pad and CenterCropPad: tensors joined, cut and bordered along axes."""

from numba import int64
from strided import CHUNK, view_bytes, views

from _lang import BYTES, inline, kernel, parts

INDICES = "int64 int32"


@kernel("Concat", types={"T": BYTES}, attributes=("axis",))
def concat(k):
    """The output is rows of one run from every input; a unit is a chunk of its elements."""
    width = k.dtype("T").bits // 8

    @inline
    def axis_of(call):
        a = k.attr_int(call, 0)
        return a + k.output_rank(call, 0) if a < 0 else a

    def run(call, phase, begin, end, scratch):
        y = k.output(call, 0)
        axis = axis_of(call)
        inner = int64(1)
        for a in range(axis + 1, k.output_rank(call, 0)):
            inner *= k.output_dim(call, 0, a)
        row = k.output_dim(call, 0, axis) * inner
        at = begin * CHUNK
        last = min(end * CHUNK, k.output_size(call, 0))
        outer, column = at // row, at % row
        which = int64(0)
        while at < last:
            length = k.input_dim(call, which, axis) * inner
            if column < length:
                n = min(length - column, last - at)
                k.copy(
                    y,
                    at * width,
                    k.input(call, which),
                    (outer * length + column) * width,
                    n * width,
                )
                at += n
                column += n
            column -= length
            which += 1
            if which == k.n_inputs(call):
                which = 0
                column = 0
                outer += 1
        return k.OK

    def units(call, phase):
        return (k.output_size(call, 0) + CHUNK - 1) // CHUNK

    return parts(run=run, units=units)


@kernel("Split", types={"T": BYTES}, attributes=("axis",))
def split(k):
    """The input is rows of one run to every output; a unit is a chunk of its elements."""
    width = k.dtype("T").bits // 8

    def run(call, phase, begin, end, scratch):
        x = k.input(call, 0)
        axis = k.attr_int(call, 0)
        if axis < 0:
            axis += k.input_rank(call, 0)
        inner = int64(1)
        for a in range(axis + 1, k.input_rank(call, 0)):
            inner *= k.input_dim(call, 0, a)
        row = k.input_dim(call, 0, axis) * inner
        at = begin * CHUNK
        last = min(end * CHUNK, k.input_size(call, 0))
        outer, column = at // row, at % row
        which = int64(0)
        while at < last:
            length = k.output_dim(call, which, axis) * inner
            if column < length:
                n = min(length - column, last - at)
                k.copy(
                    k.output(call, which),
                    (outer * length + column) * width,
                    x,
                    at * width,
                    n * width,
                )
                at += n
                column += n
            column -= length
            which += 1
            if which == k.n_outputs(call):
                which = 0
                column = 0
                outer += 1
        return k.OK

    def units(call, phase):
        return (k.input_size(call, 0) + CHUNK - 1) // CHUNK

    return parts(run=run, units=units)


@kernel("Slice", types={"T": BYTES, "Tind": INDICES})
def slice_kernel(k):
    start, push, copy = views(k, "T")
    number = k.load("Tind")

    @inline
    def entry(call, axis):
        """Position of `axis` in the lists of the node, or -1."""
        found = int64(-1)
        rank = k.input_rank(call, 0)
        for i in range(k.input_size(call, 1)):
            listed = int64(i)
            if k.has_input(call, 3):
                listed = int64(number(k.input(call, 3), i))
            if listed < 0:
                listed += rank
            if listed == axis:
                found = int64(i)
        return found

    def run(call, phase, begin, end, scratch):
        base = int64(0)
        stride = k.input_size(call, 0)
        start(scratch)
        for a in range(k.input_rank(call, 0)):
            extent = k.input_dim(call, 0, a)
            stride = stride // extent
            step = int64(1)
            i = entry(call, a)
            if i >= 0:
                if k.has_input(call, 4):
                    step = int64(number(k.input(call, 4), i))
                first = int64(number(k.input(call, 1), i))
                if first < 0:
                    first += extent
                top = extent - 1 if step < 0 else extent
                base += min(max(first, 0), top) * stride
            count = k.output_dim(call, 0, a)
            if count == 1:
                step = int64(1)
            push(scratch, count, step * stride)
        copy(
            scratch,
            k.output(call, 0),
            k.input(call, 0),
            base,
            begin * CHUNK,
            min(end * CHUNK, k.output_size(call, 0)),
        )
        return k.OK

    def units(call, phase):
        return (k.output_size(call, 0) + CHUNK - 1) // CHUNK

    def scratch(call):
        return view_bytes(k.output_rank(call, 0))

    return parts(run=run, units=units, scratch=scratch)


@kernel("Pad", types={"T": BYTES, "Tind": INDICES}, attributes=("mode:constant|reflect|edge|wrap",))
def pad(k):
    """A unit is one row along the last axis. Scratch memory holds the padding before each axis."""
    get, put, number = k.load("T"), k.store("T"), k.load("Tind")
    ld, st = k.load("int64"), k.store("int64")
    width = k.dtype("T").bits // 8

    @inline
    def inside(i, extent, mode):
        """The index that position i of an axis shows, or -1 for the constant."""
        out = i
        if i < 0 or i >= extent:
            if mode == 0:
                out = int64(-1)
            elif mode == 1:
                period = max(2 * (extent - 1), 1)
                out = i % period
                if out >= extent:
                    out = period - out
            elif mode == 2:
                out = min(max(i, 0), extent - 1)
            else:
                out = i % extent
        return out

    @inline
    def read_pads(call, before):
        rank = k.input_rank(call, 0)
        for a in range(rank):
            st(before, a, 0)
        half = k.input_size(call, 1) // 2
        for i in range(half):
            axis = int64(i)
            if k.has_input(call, 3):
                axis = int64(number(k.input(call, 3), i))
            if axis < 0:
                axis += rank
            st(before, axis, ld(k.input(call, 1), i))

    def run(call, phase, begin, end, scratch):
        x, y = k.input(call, 0), k.output(call, 0)
        rank = k.input_rank(call, 0)
        mode = k.attr_int(call, 0)
        empty = k.input_size(call, 0) == 0
        if rank == 0:
            put(y, 0, get(x, 0))
            return k.OK
        if empty and mode != 0:
            return k.INVALID_VALUE
        read_pads(call, scratch)
        columns = k.output_dim(call, 0, rank - 1)
        extent = k.input_dim(call, 0, rank - 1)
        first = ld(scratch, rank - 1)
        for unit in range(begin, end):
            rest = unit
            base = int64(0)
            stride = extent
            outside = False
            for i in range(rank - 1):
                a = rank - 2 - i
                at = inside(
                    rest % k.output_dim(call, 0, a) - ld(scratch, a), k.input_dim(call, 0, a), mode
                )
                rest = rest // k.output_dim(call, 0, a)
                outside = outside or at < 0
                base += at * stride
                stride *= k.input_dim(call, 0, a)
            left = min(max(first, 0), columns)
            right = min(max(first + extent, left), columns)
            if outside:
                right = left
            row = unit * columns
            k.copy(
                y, (row + left) * width, x, (base + left - first) * width, (right - left) * width
            )
            for part in range(2):
                for i in range(right if part == 1 else 0, columns if part == 1 else left):
                    at = inside(i - first, extent, mode)
                    if outside or at < 0:
                        if k.has_input(call, 2):
                            put(y, row + i, get(k.input(call, 2), 0))
                        else:
                            k.fill(y, (row + i) * width, width)
                    else:
                        put(y, row + i, get(x, base + at))
        return k.OK

    def units(call, phase):
        size = k.output_size(call, 0)
        rank = k.output_rank(call, 0)
        n = size
        if size > 0 and rank > 0:
            n = size // k.output_dim(call, 0, rank - 1)
        return n

    def scratch(call):
        return 8 * k.input_rank(call, 0)

    return parts(run=run, units=units, scratch=scratch)


@kernel("CenterCropPad", types={"T": BYTES})
def center_crop_pad(k):
    """A unit is one row along the last axis: the middle of the input's row between zeros."""
    width = k.dtype("T").bits // 8

    @inline
    def shift(call, axis):
        """What to add to an output index to get the input's."""
        have, want = k.input_dim(call, 0, axis), k.output_dim(call, 0, axis)
        return (have - want) // 2 if have >= want else -((want - have) // 2)

    def run(call, phase, begin, end, scratch):
        x, y = k.input(call, 0), k.output(call, 0)
        rank = k.input_rank(call, 0)
        columns, extent = int64(1), int64(1)
        first = int64(0)
        if rank > 0:
            columns = k.output_dim(call, 0, rank - 1)
            extent = k.input_dim(call, 0, rank - 1)
            first = -shift(call, rank - 1)
        for unit in range(begin, end):
            rest = unit
            base = int64(0)
            stride = extent
            outside = False
            for i in range(rank - 1):
                a = rank - 2 - i
                at = rest % k.output_dim(call, 0, a) + shift(call, a)
                rest = rest // k.output_dim(call, 0, a)
                outside = outside or at < 0 or at >= k.input_dim(call, 0, a)
                base += at * stride
                stride *= k.input_dim(call, 0, a)
            left = min(max(first, 0), columns)
            right = min(max(first + extent, left), columns)
            if outside:
                right = left
            row = unit * columns
            k.fill(y, row * width, left * width)
            k.copy(
                y, (row + left) * width, x, (base + left - first) * width, (right - left) * width
            )
            k.fill(y, (row + right) * width, (columns - right) * width)
        return k.OK

    def units(call, phase):
        size = k.output_size(call, 0)
        rank = k.output_rank(call, 0)
        n = size
        if size > 0 and rank > 0:
            n = size // k.output_dim(call, 0, rank - 1)
        return n

    return parts(run=run, units=units)
