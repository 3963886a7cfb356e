"""DeformConv: a convolution whose window elements lie where the offsets put them."""

from numba import float64, int64
from panels import panels
from windows import WINDOW, window

from _lang import WIDE_FLOATS, inline, kernel, parts

ATTRIBUTES = (*WINDOW[:4], "group", "offset_group")
GROUP, OFFSET_GROUP = 4, 5
DEPTH = 256  # of one block of a panel, which then stays in the first-level cache


def placing(k):
    """`place(call, batch, group, first, count, table)`: for every window element and each of
    `count` output positions from `first` on, the corners between which the offsets of a group put
    it: pairs of an element of a channel, or -1 outside, and its weight, the mask included.
    """
    get, put, st = k.load("T"), k.store("double"), k.store("int64")
    ld, number = k.load("int64"), k.load("double")
    w = window(k, 1)

    @inline
    def pad(call, i):
        return k.attr_ints(call, 3, i) if k.attr_n(call, 3) > 0 else 0

    @inline
    def along(call, axis, tap, position, offset):
        """The lower corner on one spatial axis, how far beyond it the place lies, and the elements
        from one to the next.
        """
        t, o, stride = tap, position, int64(1)
        spatial = k.input_rank(call, 0) - 2
        for j in range(spatial - 1 - axis):
            t = t // k.input_dim(call, 1, spatial + 1 - j)
            o = o // k.output_dim(call, 0, spatial + 1 - j)
            stride *= k.input_dim(call, 0, spatial + 1 - j)
        t = t % k.input_dim(call, 1, axis + 2)
        o = o % k.output_dim(call, 0, axis + 2)
        base = o * w.stride(call, axis) - pad(call, axis) + t * w.dilation(call, axis)
        p = float64(base) + offset
        if not (p > -1e9 and p < 1e9):
            p = -1e9
        low = k.math.floor(p)
        return int64(low), p - low, stride

    @inline
    def add_axis(table, entry, corners, axis, low, part, stride, extent):
        for c in range(corners):
            at = 2 * (entry + c)
            up = (c >> axis) & 1
            old, e = ld(table, at), low + up
            share = part if up == 1 else 1.0 - part
            st(table, at, old + e * stride if old >= 0 and e >= 0 and e < extent else int64(-1))
            put(table, at + 1, number(table, at + 1) * share)

    @k.outline("int64(call, int64, int64, int64, int64, pointer)")
    def place(call, batch, group, first, count, table):
        spatial, taps, positions = k.input_rank(call, 0) - 2, int64(1), int64(1)
        for a in range(2, k.input_rank(call, 0)):
            taps *= k.input_dim(call, 1, a)
            positions *= k.output_dim(call, 0, a)
        corners = 1 << spatial
        groups = k.attr_int(call, OFFSET_GROUP)
        for tap in range(taps):
            of = (batch * groups + group) * taps + tap
            for i in range(count):
                entry, position = (tap * count + i) * corners, first + i
                factor = 1.0
                if k.has_input(call, 4):
                    factor = float64(get(k.input(call, 4), of * positions + position))
                for c in range(corners):
                    st(table, 2 * (entry + c), 0)
                    put(table, 2 * (entry + c) + 1, factor)
                for axis in range(spatial):
                    at = (of * spatial + axis) * positions + position
                    offset = float64(get(k.input(call, 2), at))
                    low, part, stride = along(call, axis, tap, position, offset)
                    extent = k.input_dim(call, 0, axis + 2)
                    add_axis(table, entry, corners, axis, low, part, stride, extent)
        return 0

    return place


@kernel("DeformConv", types={"T": WIDE_FLOATS}, attributes=ATTRIBUTES)
def deform_conv(k):
    """A unit is a panel of output positions: the samples of all channels under all window elements
    go to scratch memory, and from there into a matrix product.
    """
    g = panels(k)
    block, width, size = g.block, g.width, g.bytes
    get, put, cast = k.load("T"), k.store("T"), k.cast("T")
    ld, number = k.load("int64"), k.load("double")
    place = placing(k)

    @inline
    def extent(call, of):
        """Window elements, or output positions of a channel, or elements of an input channel."""
        n = int64(1)
        for a in range(2, k.input_rank(call, 0)):
            if of == 0:
                n *= k.input_dim(call, 1, a)
            elif of == 1:
                n *= k.output_dim(call, 0, a)
            else:
                n *= k.input_dim(call, 0, a)
        return n

    @inline
    def table_bytes(call):
        return 16 * extent(call, 0) * width * (1 << (k.input_rank(call, 0) - 2))

    @inline
    def corner(x, table, entry):
        at = ld(table, 2 * entry)
        return cast(number(table, 2 * entry + 1)) * get(x, at) if at >= 0 else cast(0)

    @k.outline("int64(pointer, pointer, int64, int64, int64, pointer)")
    def sample(x, table, taps, count, corners, to):
        """One channel at all places of the table: rows of a panel."""
        for tap in range(taps):
            for i in range(count):
                entry, s = (tap * count + i) * corners, cast(0)
                if corners == 4:
                    s = corner(x, table, entry) + corner(x, table, entry + 1)
                    s += corner(x, table, entry + 2) + corner(x, table, entry + 3)
                else:
                    for c in range(corners):
                        s += corner(x, table, entry + c)
                put(to, tap * width + i, s)
            for i in range(count, width):
                put(to, tap * width + i, cast(0))
        return 0

    @inline
    def gather(call, batch, first, count, table, panel):
        taps, plane, channels = extent(call, 0), extent(call, 2), k.input_dim(call, 0, 1)
        groups = k.attr_int(call, OFFSET_GROUP)
        per_group, corners = channels // groups, 1 << (k.input_rank(call, 0) - 2)
        for group in range(groups):
            place(call, batch, group, first, count, table)
            for c in range(group * per_group, (group + 1) * per_group):
                x = k.offset(k.input(call, 0), (batch * channels + c) * plane * size)
                to = k.offset(panel, c * taps * width * size)
                sample(x, table, taps, count, corners, to)

    @inline
    def multiply(call, batch, first, count, panel):
        positions, group = extent(call, 1), k.attr_int(call, GROUP)
        outputs, depth = k.output_dim(call, 0, 1), k.input_dim(call, 1, 1) * extent(call, 0)
        rows = outputs // group
        for m in range(outputs):
            bias = cast(0)
            if k.has_input(call, 3):
                bias = get(k.input(call, 3), m)
            for i in range(first, first + count):
                put(k.output(call, 0), (batch * outputs + m) * positions + i, bias)
        for part in range(group):
            c = (batch * outputs + part * rows) * positions + first
            for d in range(0, depth, DEPTH):
                a = k.offset(k.input(call, 1), (part * rows * depth + d) * size)
                b = k.offset(panel, (part * depth + d) * width * size)
                y, n = k.offset(k.output(call, 0), c * size), min(depth - d, DEPTH)
                block(rows, count, n, a, depth, 1, b, width, depth * width, y, positions, 0)

    def run(call, phase, begin, end, scratch):
        positions = extent(call, 1)
        tiles = (positions + width - 1) // width
        panel = k.offset(scratch, table_bytes(call))
        for unit in range(begin, end):
            batch, first = unit // tiles, unit % tiles * width
            count = min(positions - first, width)
            gather(call, batch, first, count, scratch, panel)
            multiply(call, batch, first, count, panel)
        return k.OK

    def units(call, phase):
        tiles = (extent(call, 1) + width - 1) // width
        return k.output_dim(call, 0, 0) * tiles if k.output_size(call, 0) > 0 else 0

    def scratch(call):
        return table_bytes(call) + size * k.input_dim(call, 0, 1) * extent(call, 0) * width + 64

    def work(call):
        depth = k.input_dim(call, 1, 1) * extent(call, 0)
        return k.output_size(call, 0) // max(k.output_dim(call, 0, 1), 1) * depth * 4

    return parts(run=run, units=units, scratch=scratch, work=work)
