"""MaxPool of images: the maximum of rows in vectors first, then along the row."""

from __future__ import annotations

from numba import int64
from windows import WINDOW, window

from _lang import inline, kernel, parts


@kernel(
    "MaxPool",
    types={"T": "float double"},
    attributes=(*WINDOW, "storage_order"),
    variant="rows",
    order=-1,
    reasons=("not an image", "indices are wanted", "windows are dilated"),
)
def max_pool_rows(k):
    """A unit is one output row; scratch memory holds the maximum of its padded input rows."""
    w = window(k)
    v, lanes = k.vector("T"), k.lanes("T")
    get, put, cast = k.load("T"), k.store("T"), k.cast("T")
    size = k.dtype("T").bits // 8
    lowest = cast(float("-inf"))

    @inline
    def reach(call):
        """Elements of the padded row that windows touch."""
        taps, steps = k.attr_ints(call, 0, 1), w.stride(call, 1)
        needed = (k.output_dim(call, 0, 3) - 1) * steps + taps
        return max(needed, w.before(call, 1) + k.input_dim(call, 0, 3))

    @k.outline("int64(call, int64, pointer)")
    def down(call, unit, row):
        """The maximum over the window's rows."""
        height, width = k.input_dim(call, 0, 2), k.input_dim(call, 0, 3)
        plane, line = unit // k.output_dim(call, 0, 2), unit % k.output_dim(call, 0, 2)
        top = line * w.stride(call, 0) - w.before(call, 0)
        first = max(top, int64(0))
        end = min(top + k.attr_ints(call, 0, 0), height)
        left = w.before(call, 1)
        for i in range(left):
            put(row, i, lowest)
        for i in range(left + width, reach(call)):
            put(row, i, lowest)
        to = k.offset(row, left * size)
        base = k.offset(k.input(call, 0), plane * height * width * size)
        whole = width // lanes * lanes
        for i in range(0, whole, lanes):
            most = v.set(lowest)
            for y in range(first, end):
                most = v.max(most, v.load(base, y * width + i))
            v.store(to, i, most)
        for i in range(whole, width):
            one = lowest
            for y in range(first, end):
                x = get(base, y * width + i)
                one = x if x > one or x != x else one
            put(to, i, one)
        return 0

    @k.outline("int64(call, int64, pointer)")
    def along(call, unit, row):
        """The maximum over the window's columns."""
        columns, taps = k.output_dim(call, 0, 3), k.attr_ints(call, 0, 1)
        step = w.stride(call, 1)
        y = k.offset(k.output(call, 0), unit * columns * size)
        whole = columns // lanes * lanes if step == 1 else int64(0)
        for i in range(0, whole, lanes):
            most = v.load(row, i)
            for t in range(1, taps):
                most = v.max(most, v.load(row, i + t))
            v.store(y, i, most)
        if step == 2 and taps == 3:
            for i in range(columns):
                a, b, c = get(row, 2 * i), get(row, 2 * i + 1), get(row, 2 * i + 2)
                a = b if b > a or b != b else a
                put(y, i, c if c > a or c != c else a)
        elif step == 2 and taps == 2:
            for i in range(columns):
                a, b = get(row, 2 * i), get(row, 2 * i + 1)
                put(y, i, b if b > a or b != b else a)
        else:
            for i in range(whole, columns):
                one = get(row, i * step)
                for t in range(1, taps):
                    x = get(row, i * step + t)
                    one = x if x > one or x != x else one
                put(y, i, one)
        return 0

    def run(call, phase, begin, end, scratch):
        for unit in range(begin, end):
            down(call, unit, scratch)
            along(call, unit, scratch)
        return k.OK

    def units(call, phase):
        columns = k.output_dim(call, 0, 3)
        return k.output_size(call, 0) // columns if columns > 0 else 0

    def scratch(call):
        return reach(call) * size + 64

    def supports(call):
        reason = 0
        if k.input_rank(call, 0) != 4:
            reason = 1
        elif k.n_outputs(call) > 1 and k.output_rank(call, 1) >= 0:
            reason = 2
        elif w.dilation(call, 0) != 1 or w.dilation(call, 1) != 1:
            reason = 3
        return reason

    def work(call):
        return k.output_size(call, 0)

    return parts(run=run, units=units, scratch=scratch, supports=supports, work=work)
