"""How a blocked convolution is cut into bands of rows, sets of output channels and parts."""

from conv_tile import UNROLL
from windows import WINDOW

from _lang import inline, namespace

GROUP = len(WINDOW)
BAND = 224 << 10  # bytes of inputs that one unit of work reads: what stays in the L2 cache
HEAVY = 1 << 20  # bytes of weights that come from further away for every band
LINE = 120  # pixels of one row of an image that is one line
UNITS = 16  # of work, at least, where there are enough output channels or rows
WORK = 400_000  # multiplications of a unit that pay for handing it to another thread
EACH = 16  # multiplications that an output costs beyond its own
LATENCY = 8  # half cycles of a multiplication and addition


def bands(k, w, most_pixels):
    """Functions of a call: facts of its shapes, and the numbers of `bands_of`, `sets_of` and
    `parts_of`. All depend on shapes alone. `most_pixels`: of a tile of one, two, three blocks.
    """
    lanes = k.lanes("T")
    one, two, three = most_pixels

    @inline
    def taps_of(call):
        return k.input_dim(call, 1, 2) * k.input_dim(call, 1, 3)

    @inline
    def group_blocks(call):
        return k.output_dim(call, 0, 1) // k.attr_int(call, GROUP)

    @k.outline("int64(call)")
    def upright(call):
        """Whether the image is one pixel wide: then its rows are worked through as columns."""
        one_wide = k.input_dim(call, 0, 3) == 1 and k.output_dim(call, 0, 3) == 1
        one_wide = one_wide and k.input_dim(call, 1, 3) == 1 and w.before(call, 1) == 0
        return 1 if one_wide else 0

    @inline
    def side(call, a):
        """The spatial axis that serves as rows (0) or columns (1)."""
        return 1 - a if upright(call) == 1 else a * 1

    @inline
    def extent(call, a):
        return k.input_dim(call, 0, side(call, a) + 2)

    @inline
    def taps(call, a):
        return k.input_dim(call, 1, side(call, a) + 2)

    @inline
    def stride(call, a):
        return w.stride(call, side(call, a))

    @inline
    def spread(call, a):
        return w.dilation(call, side(call, a))

    @k.outline("int64(call, int64)")
    def pad(call, a):
        return w.before(call, side(call, a))

    @k.outline("int64(call)")
    def is_line(call):
        """One window element, everywhere inside, without gaps: the image is one line."""
        out = taps_of(call) == 1
        for i in range(2):
            out = out and w.stride(call, i) == 1 and pad(call, i) == 0
            out = out and k.input_dim(call, 0, i + 2) == k.output_dim(call, 0, i + 2)
        return 1 if out else 0

    @inline
    def blocked_channels(call):
        """Input channels of a group that fill blocks; of a line the last may have `UNROLL`."""
        part, whole = lanes, 0
        if is_line(call) == 1:
            part = min(lanes, UNROLL)
        if k.input_rank(call, 0) == 5:
            whole = k.input_dim(call, 1, 1) // part * part
        return whole

    @k.outline("int64(call, int64)")
    def grid(call, axis):
        """Rows (0) or columns (1) of output pixels as they are worked through."""
        rows = k.output_dim(call, 0, side(call, 0) + 2)
        columns = k.output_dim(call, 0, side(call, 1) + 2)
        if is_line(call) == 1:
            pixels = rows * columns
            columns = min(pixels, LINE)
            rows = (pixels + columns - 1) // max(columns, 1)
        return rows if axis == 0 else columns

    @k.outline("int64(int64, int64)")
    def cost(columns, vectors):
        """Cycles for a row of pixels and one block, in units of 1/64: two sums a cycle, two loads a
        cycle, and no tile faster than the latency of its sums."""
        most = one if vectors == 1 else two if vectors == 2 else three
        n = (columns + most - 1) // most
        total = 0
        for i in range(n):
            pixels = columns * (i + 1) // n - columns * i // n
            total += max(pixels * vectors, pixels + vectors, LATENCY)
        return total * 64 // vectors

    @k.outline("int64(call)")
    def sets_of(call):
        """Sets of two or three blocks that share out the outputs of a group."""
        columns, blocks = grid(call, 1), group_blocks(call)
        n = max(blocks // 2, 1)
        if cost(columns, 3) < cost(columns, 2):
            n = (blocks + 2) // 3
        return n

    @inline
    def packed_bytes(call):
        return k.output_dim(call, 0, 1) * lanes * k.input_dim(call, 1, 1) * taps_of(call) * 4

    @k.outline("int64(call)")
    def bands_of(call):
        bytes_row = grid(call, 1) * k.input_dim(call, 1, 1) * 4
        for i in range(2):
            bytes_row *= min(w.stride(call, i), k.input_dim(call, 1, i + 2))
        room = BAND
        if packed_bytes(call) > HEAVY:
            room = 2 * BAND
        held = max(room // max(bytes_row, 1), 1)
        rows = grid(call, 0)
        work = k.output_size(call, 0) * (k.input_dim(call, 1, 1) * taps_of(call) + EACH)
        tasks = max(k.output_dim(call, 0, 0) * k.attr_int(call, GROUP) * sets_of(call), 1)
        shared = (min(work // WORK, UNITS) + tasks - 1) // tasks
        return min(max((rows + held - 1) // held, shared), rows)

    @k.outline("int64(call)")
    def parts_of(call):
        tasks = k.output_dim(call, 0, 0) * k.attr_int(call, GROUP) * bands_of(call)
        return min((UNITS + tasks - 1) // max(tasks, 1), sets_of(call))

    return namespace(
        "bands",
        taps_of=taps_of,
        blocked_channels=blocked_channels,
        group_blocks=group_blocks,
        extent=extent,
        taps=taps,
        stride=stride,
        spread=spread,
        pad=pad,
        is_line=is_line,
        grid=grid,
        packed_bytes=packed_bytes,
        sets_of=sets_of,
        bands_of=bands_of,
        parts_of=parts_of,
    )
