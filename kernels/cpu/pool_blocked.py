"""Poolings of float32 images in the blocked layout: a vector of channels for each pixel."""

from numba import float32
from windows import WINDOW, window

from _lang import inline, kernel, namespace, parts

REASONS = ("the blocks are not as wide as this instruction set's vectors",)
INCLUDE_PAD = len(WINDOW)
AHEAD = 4  # sums of a global average that grow side by side


def sliding(k):
    """What poolings with a window share: `first(call, axis, i)` and `end(call, axis, i)`, the taps
    of output position i that lie inside, and `tap(call, unit row, ...)`; rows are units.
    """
    lanes = k.lanes("T")
    w = window(k)

    @k.outline("int64(call, int64, int64)")
    def origin(call, axis, i):
        return i * w.stride(call, axis) - w.before(call, axis)

    @inline
    def first(call, axis, at):
        spread = w.dilation(call, axis)
        return max((spread - 1 - at) // spread, 0)

    @inline
    def end(call, axis, at):
        inside = (k.input_dim(call, 0, axis + 2) - 1 - at) // w.dilation(call, axis) + 1
        return min(max(inside, 0), w.extent(call, axis))

    def units(call, phase):
        rows = k.output_dim(call, 0, 0) * k.output_dim(call, 0, 1) * k.output_dim(call, 0, 2)
        return rows if k.output_size(call, 0) > 0 else 0

    def work(call):
        taps = w.extent(call, 0) * w.extent(call, 1)
        return k.output_size(call, 0) * (taps + 12) // (2 * lanes) + 100

    def supports(call):
        return 0 if k.output_dim(call, 0, 4) == lanes else 1

    return namespace(
        "sliding",
        window=w,
        origin=origin,
        first=first,
        end=end,
        parts={"units": units, "work": work, "supports": supports},
    )


@kernel(
    "MaxPoolBlocked",
    domain="tiercel",
    types={"T": "float"},
    attributes=WINDOW,
    variant="lanes",
    reasons=REASONS,
)
def max_pool(k):
    """A unit is one row of outputs of one block."""
    v, lanes = k.vector("T"), k.lanes("T")
    s = sliding(k)
    w, origin, first, end = s.window, s.origin, s.first, s.end

    def run(call, phase, begin, end_unit, scratch):
        height, width = k.input_dim(call, 0, 2), k.input_dim(call, 0, 3)
        rows, columns = k.output_dim(call, 0, 2), k.output_dim(call, 0, 3)
        x, y = k.input(call, 0), k.output(call, 0)
        spread_y, spread_x = w.dilation(call, 0), w.dilation(call, 1)
        low = v.set(-float("inf"))
        for unit in range(begin, end_unit):
            top = origin(call, 0, unit % rows)
            from_y, to_y = first(call, 0, top), end(call, 0, top)
            plane = unit // rows * height
            for column in range(columns):
                left = origin(call, 1, column)
                from_x, to_x = first(call, 1, left), end(call, 1, left)
                best = low
                for ty in range(from_y, to_y):
                    line = (plane + top + ty * spread_y) * width + left
                    for tx in range(from_x, to_x):
                        best = v.max(best, v.load(x, (line + tx * spread_x) * lanes))
                v.store(y, (unit * columns + column) * lanes, best)
        return k.OK

    return parts(run=run, **s.parts)


@kernel(
    "AveragePoolBlocked",
    domain="tiercel",
    types={"T": "float"},
    attributes=(*WINDOW, "count_include_pad"),
    variant="lanes",
    reasons=REASONS,
)
def average_pool(k):
    """A unit is one row of outputs of one block. With padding counted no window reaches beyond it:
    each has all its elements."""
    v, lanes = k.vector("T"), k.lanes("T")
    s = sliding(k)
    w, origin, first, end = s.window, s.origin, s.first, s.end

    def run(call, phase, begin, end_unit, scratch):
        height, width = k.input_dim(call, 0, 2), k.input_dim(call, 0, 3)
        rows, columns = k.output_dim(call, 0, 2), k.output_dim(call, 0, 3)
        x, y = k.input(call, 0), k.output(call, 0)
        spread_y, spread_x = w.dilation(call, 0), w.dilation(call, 1)
        all_taps = w.extent(call, 0) * w.extent(call, 1)
        for unit in range(begin, end_unit):
            top = origin(call, 0, unit % rows)
            from_y, to_y = first(call, 0, top), end(call, 0, top)
            plane = unit // rows * height
            for column in range(columns):
                left = origin(call, 1, column)
                from_x, to_x = first(call, 1, left), end(call, 1, left)
                total = v.zero()
                for ty in range(from_y, to_y):
                    line = (plane + top + ty * spread_y) * width + left
                    for tx in range(from_x, to_x):
                        total = total + v.load(x, (line + tx * spread_x) * lanes)
                count = all_taps
                if k.attr_int(call, INCLUDE_PAD) == 0:
                    count = max(to_y - from_y, 0) * max(to_x - from_x, 0)
                mean = total / v.set(float32(count))
                v.store(y, (unit * columns + column) * lanes, mean)
        return k.OK

    return parts(run=run, **s.parts)


@kernel(
    "GlobalAveragePoolBlocked",
    domain="tiercel",
    types={"T": "float"},
    variant="lanes",
    reasons=REASONS,
)
def global_average_pool(k):
    """A unit is one block of one image."""
    v, lanes = k.vector("T"), k.lanes("T")

    def run(call, phase, begin, end, scratch):
        pixels = k.input_dim(call, 0, 2) * k.input_dim(call, 0, 3)
        x = k.input(call, 0)
        for unit in range(begin, end):
            a, b, c, d = v.zero(), v.zero(), v.zero(), v.zero()
            at = unit * pixels * lanes
            i = 0
            while i + AHEAD <= pixels:
                a = a + v.load(x, at + i * lanes)
                b = b + v.load(x, at + (i + 1) * lanes)
                c = c + v.load(x, at + (i + 2) * lanes)
                d = d + v.load(x, at + (i + 3) * lanes)
                i += AHEAD
            while i < pixels:
                a = a + v.load(x, at + i * lanes)
                i += 1
            mean = ((a + b) + (c + d)) / v.set(float32(pixels))
            v.store(k.output(call, 0), unit * lanes, mean)
        return k.OK

    def units(call, phase):
        size = k.output_size(call, 0)
        return k.output_dim(call, 0, 0) * k.output_dim(call, 0, 1) if size > 0 else 0

    def supports(call):
        return 0 if k.output_dim(call, 0, 4) == lanes else 1

    return parts(run=run, units=units, supports=supports)
