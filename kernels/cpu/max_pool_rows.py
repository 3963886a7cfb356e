"""MaxPool of images and volumes: the maximum of rows in vectors first, then along the row."""

from __future__ import annotations

from numba import int64
from strides import every_other
from windows import WINDOW, window

from _lang import inline, kernel, parts


@kernel(
    "MaxPool",
    types={"T": "float double"},
    attributes=(*WINDOW, "storage_order"),
    variant="rows",
    order=-1,
    reasons=(
        "it has two or three spatial axes only",
        "indices are wanted",
        "windows are dilated",
        "cut edges",
    ),
)
def max_pool_rows(k):
    """A unit is one output row; scratch memory holds the maximum of its padded input rows."""
    w = window(k)
    v, lanes = k.vector("T"), k.lanes("T")
    get, put, cast = k.load("T"), k.store("T"), k.cast("T")
    size = k.dtype("T").bits // 8
    lowest, single = cast(float("-inf")), k.dtype("T").name == "float"
    pick = every_other(k) if single else v.load

    @inline
    def reach(call):
        """Elements of the padded row that windows touch."""
        last = k.input_rank(call, 0) - 1
        taps, steps = k.attr_ints(call, 0, last - 2), w.stride(call, last - 2)
        needed = (k.output_dim(call, 0, last) - 1) * steps + taps
        return max(needed, w.before(call, last - 2) + k.input_dim(call, 0, last))

    @inline
    def under(call, axis, position):
        """The first and the end of the window along a spatial axis, inside the input."""
        top = position * w.stride(call, axis) - w.before(call, axis)
        end = min(top + k.attr_ints(call, 0, axis), k.input_dim(call, 0, axis + 2))
        return max(top, int64(0)), end

    @k.outline("int64(call, int64, pointer)")
    def down(call, unit, row):
        """The maximum over the window's rows."""
        last = k.input_rank(call, 0) - 1
        height, width = k.input_dim(call, 0, last - 1), k.input_dim(call, 0, last)
        plane, line = (
            unit // k.output_dim(call, 0, last - 1),
            unit % k.output_dim(call, 0, last - 1),
        )
        first, end = under(call, last - 3, line)
        near, far = int64(0), int64(1)
        if last == 4:
            near, far = under(call, 0, plane % k.output_dim(call, 0, 2))
            plane = plane // k.output_dim(call, 0, 2) * k.input_dim(call, 0, 2)
        left = w.before(call, last - 2)
        for i in range(left):
            put(row, i, lowest)
        for i in range(left + width, reach(call)):
            put(row, i, lowest)
        to = k.offset(row, left * size)
        base = k.offset(k.input(call, 0), plane * height * width * size)
        whole = width // lanes * lanes
        for i in range(0, whole, lanes):
            most = v.set(lowest)
            for z in range(near, far):
                for y in range(z * height + first, z * height + end):
                    most = v.max(most, v.load(base, y * width + i))
            v.store(to, i, most)
        if whole < width:
            most, left = v.set(lowest), width - whole
            for z in range(near, far):
                for y in range(z * height + first, z * height + end):
                    most = v.max(most, v.load_n(base, y * width + whole, left))
            v.store_n(to, whole, most, left)
        return 0

    @k.outline("int64(call, int64, pointer)")
    def along(call, unit, row):
        """The maximum over the window's columns."""
        last = k.input_rank(call, 0) - 1
        columns, taps = k.output_dim(call, 0, last), k.attr_ints(call, 0, last - 2)
        step = w.stride(call, last - 2)
        y = k.offset(k.output(call, 0), unit * columns * size)
        if step == 1 or (single and step == 2):
            for i in range(0, columns, lanes):
                most = v.load(row, i) if step == 1 else pick(row, 2 * i)
                for t in range(1, taps):
                    most = v.max(most, v.load(row, i + t) if step == 1 else pick(row, 2 * i + t))
                v.store_n(y, i, most, min(columns - i, lanes))
        else:
            for i in range(columns):
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
        columns = k.output_dim(call, 0, k.output_rank(call, 0) - 1)
        return k.output_size(call, 0) // columns if columns > 0 else 0

    def scratch(call):
        return (reach(call) + 4 * lanes) * size

    def supports(call):
        reason, rank = 0, k.input_rank(call, 0)
        if rank != 4 and rank != 5:
            reason = 1
        elif k.n_outputs(call) > 1 and k.output_rank(call, 1) >= 0:
            reason = 2
        else:
            for i in range(rank - 2):
                if w.dilation(call, i) != 1:
                    reason = 3
            if reason == 0 and w.before(call, rank - 3) < 0:
                reason = 4
        return reason

    def work(call):
        return k.output_size(call, 0)

    return parts(run=run, units=units, scratch=scratch, supports=supports, work=work)
