"""DeformConv: a convolution whose window elements lie where the offsets put them."""

from numba import float64, int64
from windows import WINDOW, window

from _lang import WIDE_FLOATS, inline, kernel, parts

ATTRIBUTES = (*WINDOW[:4], "group", "offset_group")
GROUP, OFFSET_GROUP = 4, 5


@kernel("DeformConv", types={"T": WIDE_FLOATS}, attributes=ATTRIBUTES)
def deform_conv(k):
    """A unit is one output position: its samples of all channels and window elements go to
    scratch memory, then every output channel is a dot product with them.
    """
    sums = "double" if k.dtype("T").name == "double" else "float"
    get, put, to_element = k.load("T"), k.store("T"), k.cast("T")
    ld, st, cast = k.load(sums), k.store(sums), k.cast(sums)
    bytes_each = 8 if sums == "double" else 4
    w = window(k, 1)

    @inline
    def pad(call, i):
        return k.attr_ints(call, 3, i) if k.attr_n(call, 3) > 0 else 0

    @inline
    def taps_of(call):
        n = int64(1)
        for a in range(2, k.input_rank(call, 1)):
            n *= k.input_dim(call, 1, a)
        return n

    @inline
    def positions_of(call):
        n = int64(1)
        for a in range(2, k.output_rank(call, 0)):
            n *= k.output_dim(call, 0, a)
        return n

    @inline
    def place(call, batch, offset_group, tap, position, axis):
        """Where window element `tap` lies on spatial axis `axis`."""
        spatial = k.input_rank(call, 0) - 2
        t, o = int64(tap), int64(position)
        for j in range(spatial - 1 - axis):
            t = t // k.input_dim(call, 1, k.input_rank(call, 1) - 1 - j)
            o = o // k.output_dim(call, 0, k.output_rank(call, 0) - 1 - j)
        t = t % k.input_dim(call, 1, axis + 2)
        o = o % k.output_dim(call, 0, axis + 2)
        groups = k.attr_int(call, OFFSET_GROUP)
        at = ((batch * groups + offset_group) * taps_of(call) + tap) * spatial + axis
        shift = float64(get(k.input(call, 2), at * positions_of(call) + position))
        return (
            float64(o * w.stride(call, axis) - pad(call, axis) + t * w.dilation(call, axis)) + shift
        )

    @inline
    def sample(call, batch, channel, offset_group, tap, position):
        """Multilinear sample of one channel under one window element; 0 outside."""
        spatial = k.input_rank(call, 0) - 2
        total = float64(0)
        for corner in range(1 << spatial):
            at, stride = int64(0), int64(1)
            factor = 1.0
            for j in range(spatial):
                axis = spatial - 1 - j
                p = place(call, batch, offset_group, tap, position, axis)
                extent = k.input_dim(call, 0, axis + 2)
                if not (p > -1e9 and p < 1e9):
                    p = -1e9
                low = k.math.floor(p)
                e = int64(low)
                if (corner >> j) & 1 == 1:
                    e += 1
                    factor *= p - low
                else:
                    factor *= 1.0 - (p - low)
                if e < 0 or e >= extent:
                    at = int64(-1)
                if at >= 0:
                    at += e * stride
                stride *= extent
            if at >= 0:
                plane = (batch * k.input_dim(call, 0, 1) + channel) * stride
                total += factor * float64(get(k.input(call, 0), plane + at))
        return total

    @inline
    def gather(call, batch, position, row):
        """Samples of every channel and window element, times the mask."""
        taps = taps_of(call)
        channels = k.input_dim(call, 0, 1)
        groups = k.attr_int(call, OFFSET_GROUP)
        for i in range(channels * taps):
            channel, tap = i // taps, i % taps
            offset_group = channel // (channels // groups)
            v = sample(call, batch, channel, offset_group, tap, position)
            if k.has_input(call, 4):
                at = (batch * groups + offset_group) * taps + tap
                v *= float64(get(k.input(call, 4), at * positions_of(call) + position))
            st(row, i, cast(v))

    def run(call, phase, begin, end, scratch):
        positions = positions_of(call)
        outputs = k.output_dim(call, 0, 1)
        depth = k.input_dim(call, 1, 1) * taps_of(call)
        for unit in range(begin, end):
            batch, position = unit // positions, unit % positions
            gather(call, batch, position, scratch)
            for m in range(outputs):
                first = m // (outputs // k.attr_int(call, GROUP)) * depth
                s = cast(0)
                if k.has_input(call, 3):
                    s = cast(get(k.input(call, 3), m))
                for i in range(depth):
                    s += ld(scratch, first + i) * cast(get(k.input(call, 1), m * depth + i))
                put(k.output(call, 0), (batch * outputs + m) * positions + position, to_element(s))
        return k.OK

    def units(call, phase):
        size = k.output_size(call, 0)
        return size // k.output_dim(call, 0, 1) if size > 0 else 0

    def scratch(call):
        return bytes_each * k.input_dim(call, 0, 1) * taps_of(call) + 64

    return parts(run=run, units=units, scratch=scratch)
