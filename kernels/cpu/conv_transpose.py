"""ConvTranspose for any number of spatial axes: products Wᵀ X of tiles of pixels, whose rows are
added where their taps put them.
"""

from numba import int64
from panels import panels
from strides import woven
from windows import WINDOW

from _lang import WIDE_FLOATS, inline, kernel, namespace, parts

ATTRIBUTES = (*WINDOW, "group", "output_padding", "output_shape")
GROUP, OUTPUT_PADDING, OUTPUT_SHAPE = len(WINDOW), len(WINDOW) + 1, len(WINDOW) + 2
TILE_BYTES = 256 << 10  # of packed inputs, and again of products: both stay in the L2 cache
DEPTH = 256  # of one block of a panel, which then stays in the first-level cache
ROWS = 96  # of products made at once
UNITS = 16  # that channels are shared out for


def transposed_window(k):
    """Inline functions of (call, spatial axis): stride, dilation, and the padding before the
    axis.
    """

    @inline
    def stride(call, i):
        return k.attr_ints(call, 1, i) if k.attr_n(call, 1) > 0 else 1

    @inline
    def dilation(call, i):
        return k.attr_ints(call, 2, i) if k.attr_n(call, 2) > 0 else 1

    @inline
    def before(call, i):
        auto = k.attr_int(call, 4)
        pad = int64(0)
        if auto == 1 or auto == 2 or k.attr_n(call, OUTPUT_SHAPE) > 0:
            total = (k.input_dim(call, 0, i + 2) - 1) * stride(call, i)
            total += (k.input_dim(call, 1, i + 2) - 1) * dilation(call, i) + 1
            if k.attr_n(call, OUTPUT_PADDING) > 0:
                total += k.attr_ints(call, OUTPUT_PADDING, i)
            total = max(total - k.output_dim(call, 0, i + 2), 0)
            pad = total // 2 if auto == 1 else (total + 1) // 2
        elif auto == 0 and k.attr_n(call, 3) > 0:
            pad = k.attr_ints(call, 3, i)
        return pad

    return stride, dilation, before


def spreading(k, stride, dilation, before):
    """`spread(call, sums, row, start, count, y)`: the products of `count` pixels from `start` on
    under every tap, rows of `row` elements, added to one channel of the output.
    """
    v, lanes, size = k.vector("T"), k.lanes("T"), k.dtype("T").bits // 8
    get, put = k.load("T"), k.store("T")
    weave = woven(k, "T")
    weave_low, weave_high = weave.low, weave.high

    @inline
    def target_row(call, tap, row):
        """The output row on which outer tap `tap` puts input row `row`, or -1 outside."""
        at, extent = int64(0), int64(1)
        for j in range(k.input_rank(call, 0) - 3):
            i = k.input_rank(call, 0) - 4 - j
            position = row % k.input_dim(call, 0, i + 2) * stride(call, i) - before(call, i)
            position += tap % k.input_dim(call, 1, i + 2) * dilation(call, i)
            row = row // k.input_dim(call, 0, i + 2)
            tap = tap // k.input_dim(call, 1, i + 2)
            if position < 0 or position >= k.output_dim(call, 0, i + 2):
                at = int64(-1)
            if at >= 0:
                at += position * extent
            extent *= k.output_dim(call, 0, i + 2)
        return at

    @k.outline("int64(pointer, int64, int64, int64, pointer, int64, int64)")
    def add_row(sums, low, high, at, y, step, shift):
        """y[i · step + shift] += sums[at + i] for i in [low, high)."""
        i = low
        if step == 1:
            while i < high:
                n = min(high - i, lanes)
                old = v.load_n(y, i + shift, n)
                v.store_n(y, i + shift, old + v.load_n(sums, at + i, n), n)
                i += lanes
        while i < high:
            o = i * step + shift
            put(y, o, get(y, o) + get(sums, at + i))
            i += 1
        return 0

    @k.outline("int64(pointer, int64, int64, int64, int64, pointer, int64)")
    def add_pair(sums, low, high, at, other, y, shift):
        """y[2i + shift] += sums[at + i] and y[2i + shift + 1] += sums[other + i]."""
        i = low
        while i < high:
            n, o = min(high - i, lanes), 2 * i + shift
            a, b = v.load_n(sums, at + i, n), v.load_n(sums, other + i, n)
            first, second = min(2 * n, lanes), 2 * n - lanes
            v.store_n(y, o, v.load_n(y, o, first) + weave_low(a, b), first)
            if second > 0:
                o += lanes
                v.store_n(y, o, v.load_n(y, o, second) + weave_high(a, b), second)
            i += lanes
        return 0

    @inline
    def add_taps(call, sums, row, first, end, y):
        """All taps of one outer tap over columns [first, end) of one input row; the products of
        column `first` come first.
        """
        i = k.input_rank(call, 0) - 3
        columns, taps = k.output_dim(call, 0, i + 2), k.input_dim(call, 1, i + 2)
        step, far, pad = stride(call, i), dilation(call, i), before(call, i)
        t = int64(0)
        while t < taps:
            shift, at = t * far - pad, t * row - first
            low = max(first, (step - 1 - shift) // step)
            high = min(end, (columns - 1 - shift) // step + 1)
            if step == 2 and far == 1 and t + 1 < taps:
                next_low = max(first, (step - 2 - shift) // step)
                next_high = min(end, (columns - 2 - shift) // step + 1)
                both, until = max(low, next_low), min(high, next_high)
                if both < until:
                    add_row(sums, low, both, at, y, step, shift)
                    add_row(sums, next_low, both, at + row, y, step, shift + 1)
                    add_pair(sums, both, until, at, at + row, y, shift)
                    low, next_low = until, until
                add_row(sums, next_low, next_high, at + row, y, step, shift + 1)
                t += 1
            add_row(sums, low, high, at, y, step, shift)
            t += 1
        return 0

    @k.outline("int64(call, pointer, int64, int64, int64, pointer)")
    def spread(call, sums, row, start, count, y):
        last = k.input_rank(call, 0) - 1
        width, taps = k.input_dim(call, 0, last), k.input_dim(call, 1, last)
        columns, outer_taps = k.output_dim(call, 0, last), int64(1)
        for a in range(2, last):
            outer_taps *= k.input_dim(call, 1, a)
        for tap in range(outer_taps):
            done, line, column = int64(0), start // width, start % width
            while done < count:
                n = min(width - column, count - done)
                target = target_row(call, tap, line)
                if target >= 0:
                    source = k.offset(sums, (tap * taps * row + done) * size)
                    to = k.offset(y, target * columns * size)
                    add_taps(call, source, row, column, column + n, to)
                done += n
                line += 1
                column = int64(0)
        return 0

    return spread


def extents(k, width, size):
    """Inline functions of a call: how its channels and pixels are cut."""

    @inline
    def span(call, of, output):
        """Pixels of one channel of the output or of input `of`."""
        n = int64(1)
        for a in range(2, k.input_rank(call, 0)):
            n *= k.output_dim(call, 0, a) if output else k.input_dim(call, of, a)
        return n

    @inline
    def depth_of(call):
        return k.input_dim(call, 1, 0) // k.attr_int(call, GROUP)

    @inline
    def chunk_of(call):
        """Output channels whose products are made at once."""
        return min(max(ROWS // max(span(call, 1, False), 1), 1), max(k.input_dim(call, 1, 1), 1))

    @inline
    def tile_of(call):
        """Pixels that are packed at once: whole panels."""
        rows = max(depth_of(call), chunk_of(call) * span(call, 1, False))
        fit = TILE_BYTES // max(rows * size, 1) // width
        return max(min(fit, (span(call, 0, False) + width - 1) // width), 1) * width

    @inline
    def parts_of(call):
        """Parts of the channels of one group: several when there are few groups to share out."""
        groups = k.input_dim(call, 0, 0) * k.attr_int(call, GROUP)
        chunks = (k.input_dim(call, 1, 1) + chunk_of(call) - 1) // chunk_of(call)
        return max(min(chunks, (UNITS + groups - 1) // max(groups, 1)), 1)

    @inline
    def part_of(call):
        """Channels of one part."""
        return (k.input_dim(call, 1, 1) + parts_of(call) - 1) // parts_of(call)

    return namespace(
        "extents",
        span=span,
        depth_of=depth_of,
        chunk_of=chunk_of,
        tile_of=tile_of,
        parts_of=parts_of,
        part_of=part_of,
    )


@kernel("ConvTranspose", types={"T": WIDE_FLOATS}, attributes=ATTRIBUTES, epilogue=True)
def conv_transpose(k):
    """A unit is a part of the output channels of one group of one image. Scratch memory holds a
    tile of inputs in panels, then the products of a chunk of channels.
    """
    g = panels(k)
    block, pack_b, width, size = g.block, g.pack_b, g.width, g.bytes
    get, v, lanes = k.load("T"), k.vector("T"), k.lanes("T")
    e = extents(k, width, size)
    spread = spreading(k, *transposed_window(k))

    @inline
    def fill_bias(call, channel, count):
        """What the products are added to."""
        plane = e.span(call, 0, True)
        for c in range(channel, channel + count):
            bias = v.zero()
            if k.has_input(call, 2):
                bias = v.set(get(k.input(call, 2), c % k.output_dim(call, 0, 1)))
            i = int64(0)
            while i < plane:
                v.store_n(k.output(call, 0), c * plane + i, bias, min(plane - i, lanes))
                i += lanes

    @inline
    def multiply(call, weight, rows, count, scratch, sums, tile):
        depth, step = e.depth_of(call), k.input_dim(call, 1, 1) * e.span(call, 1, False)
        for d in range(0, depth, DEPTH):
            a, b = k.offset(weight, d * step * size), k.offset(scratch, d * width * size)
            n = min(depth - d, DEPTH)
            fresh = 1 if d == 0 else 0
            block(rows, count, n, a, 1, step, b, width, depth * width, sums, tile, fresh)

    def run(call, phase, begin, end, scratch):
        depth, pixels, tile = e.depth_of(call), e.span(call, 0, False), e.tile_of(call)
        taps, plane, channels = (
            e.span(call, 1, False),
            e.span(call, 0, True),
            k.input_dim(call, 1, 1),
        )
        sums = k.offset(scratch, tile * depth * size)
        for unit in range(begin, end):
            image = unit // e.parts_of(call)  # batch · group + which group
            first = unit % e.parts_of(call) * e.part_of(call)
            count = max(min(e.part_of(call), channels - first), 0)
            out = image * channels + first
            fill_bias(call, out, count)
            of = image % k.attr_int(call, GROUP) * depth * channels
            for start in range(0, pixels if depth * count > 0 else 0, tile):
                n = min(tile, pixels - start)
                for p in range(0, n, width):
                    to, at = k.offset(scratch, p * depth * size), image * depth * pixels + start + p
                    pack_b(to, k.input(call, 0), at, min(n - p, width), pixels, 1, depth)
                for c in range(0, count, e.chunk_of(call)):
                    chunk = min(e.chunk_of(call), count - c)
                    weight = k.offset(k.input(call, 1), (of + first + c) * taps * size)
                    multiply(call, weight, chunk * taps, n, scratch, sums, tile)
                    for m in range(chunk):
                        source = k.offset(sums, m * taps * tile * size)
                        y = k.offset(k.output(call, 0), (out + c + m) * plane * size)
                        spread(call, source, tile, start, n, y)
            y = k.offset(k.output(call, 0), out * plane * size)
            k.epilogue(call, y, out * plane, count * plane)
        return k.OK

    def units(call, phase):
        groups = k.input_dim(call, 0, 0) * k.attr_int(call, GROUP)
        return groups * e.parts_of(call) if k.output_size(call, 0) > 0 else 0

    def scratch(call):
        rows = e.depth_of(call) + e.chunk_of(call) * e.span(call, 1, False)
        return rows * e.tile_of(call) * size + 64

    def work(call):
        sums = k.input_size(call, 0) // max(k.input_dim(call, 0, 1), 1) * e.depth_of(call)
        return sums * k.output_dim(call, 0, 1) * e.span(call, 1, False) // 60 + 100

    return parts(run=run, units=units, scratch=scratch, work=work)
