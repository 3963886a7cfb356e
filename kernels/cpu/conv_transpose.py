"""ConvTranspose for any number of spatial axes, and Col2Im: windows that add into the output."""

from numba import int64
from windows import WINDOW

from _lang import FLOATS, WIDE_FLOATS, inline, kernel, parts

ATTRIBUTES = (*WINDOW, "group", "output_padding", "output_shape")
GROUP, OUTPUT_PADDING, OUTPUT_SHAPE = len(WINDOW), len(WINDOW) + 1, len(WINDOW) + 2


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


@kernel("ConvTranspose", types={"T": WIDE_FLOATS}, attributes=ATTRIBUTES, epilogue=True)
def conv_transpose(k):
    """A unit is one output row: the input rows that reach it, each spread out by the stride."""
    sums = "double" if k.dtype("T").name == "double" else "float"
    get, put = k.load("T"), k.store("T")
    ld, st, cast = k.load(sums), k.store(sums), k.cast(sums)
    element, bytes_each = k.dtype("T").bits // 8, 8 if sums == "double" else 4
    stride, dilation, before = transposed_window(k)

    @inline
    def source_row(call, tap, row):
        """The input row that outer tap `tap` spreads over output row `row`, or -1."""
        at = int64(0)
        size = int64(1)
        for j in range(k.input_rank(call, 0) - 3):
            i = k.input_rank(call, 0) - 4 - j
            position = row % k.output_dim(call, 0, i + 2) + before(call, i)
            position -= tap % k.input_dim(call, 1, i + 2) * dilation(call, i)
            row = row // k.output_dim(call, 0, i + 2)
            tap = tap // k.input_dim(call, 1, i + 2)
            step = stride(call, i)
            if (
                position < 0
                or position % step != 0
                or position // step >= k.input_dim(call, 0, i + 2)
            ):
                at = int64(-1)
            if at >= 0:
                at += position // step * size
            size *= k.input_dim(call, 0, i + 2)
        return at

    @inline
    def accumulate(call, batch, channel, out_row, row):
        last = k.input_rank(call, 0) - 1
        columns, width = k.output_dim(call, 0, last), k.input_dim(call, 0, last)
        taps = k.input_dim(call, 1, last)
        outer_taps, rows_in = int64(1), int64(1)
        for a in range(2, last):
            outer_taps *= k.input_dim(call, 1, a)
            rows_in *= k.input_dim(call, 0, a)
        group = k.attr_int(call, GROUP)
        depth = k.input_dim(call, 0, 1) // group
        per_group = k.input_dim(call, 1, 1)
        first = channel // per_group * depth
        step, spread, pad = stride(call, last - 2), dilation(call, last - 2), before(call, last - 2)
        for tap in range(outer_taps):
            source = source_row(call, tap, out_row)
            if source >= 0:
                for c in range(first, first + depth):
                    at = ((batch * k.input_dim(call, 0, 1) + c) * rows_in + source) * width
                    of = ((c * per_group + channel % per_group) * outer_taps + tap) * taps
                    for t in range(taps):
                        shift = t * spread - pad
                        f = cast(get(k.input(call, 1), of + t))
                        low = max((step - 1 - shift) // step, 0)
                        high = min(max((columns - 1 - shift) // step + 1, 0), width)
                        for i in range(low, high):
                            o = i * step + shift
                            st(row, o, ld(row, o) + f * cast(get(k.input(call, 0), at + i)))

    def run(call, phase, begin, end, scratch):
        y = k.output(call, 0)
        rank = k.output_rank(call, 0)
        columns = k.output_dim(call, 0, rank - 1)
        channels = k.output_dim(call, 0, 1)
        rows_out = int64(1)
        for a in range(2, rank - 1):
            rows_out *= k.output_dim(call, 0, a)
        for unit in range(begin, end):
            channel = unit // rows_out % channels
            k.fill(scratch, 0, columns * bytes_each)
            accumulate(call, unit // (rows_out * channels), channel, unit % rows_out, scratch)
            bias = cast(0)
            if k.has_input(call, 2):
                bias = cast(get(k.input(call, 2), channel))
            for i in range(columns):
                put(y, unit * columns + i, ld(scratch, i) + bias)
            k.epilogue(call, k.offset(y, unit * columns * element), unit * columns, columns)
        return k.OK

    def units(call, phase):
        size = k.output_size(call, 0)
        return size // k.output_dim(call, 0, k.output_rank(call, 0) - 1) if size > 0 else 0

    def scratch(call):
        return bytes_each * k.output_dim(call, 0, k.output_rank(call, 0) - 1)

    return parts(run=run, units=units, scratch=scratch)


@kernel("Col2Im", types={"T": FLOATS + " int32 int64"}, attributes=("strides", "dilations", "pads"))
def col2im(k):
    """A unit is one image of one channel, to which every block adds its elements."""
    get, put, cast = k.load("T"), k.store("T"), k.cast("T")
    number = k.load("int64")
    width = k.dtype("T").bits // 8

    @inline
    def listed(call, attribute, i, default):
        return k.attr_ints(call, attribute, i) if k.attr_n(call, attribute) > 0 else default

    @inline
    def pixel(call, tap, block):
        """The flat pixel under element `tap` of block `block`, or -1 in the padding."""
        spatial = k.output_rank(call, 0) - 2
        at, size = int64(0), int64(1)
        for j in range(spatial):
            i = spatial - 1 - j
            image, extent = k.output_dim(call, 0, i + 2), number(k.input(call, 2), i)
            step, spread = listed(call, 0, i, 1), listed(call, 1, i, 1)
            pad, end_pad = listed(call, 2, i, 0), listed(call, 2, i + spatial, 0)
            blocks = max((image + pad + end_pad - (extent - 1) * spread - 1) // step + 1, 1)
            position = block % blocks * step + tap % extent * spread - pad
            block = block // blocks
            tap = tap // extent
            if position < 0 or position >= image:
                at = int64(-1)
            if at >= 0:
                at += position * size
            size *= image
        return at

    def run(call, phase, begin, end, scratch):
        x, y = k.input(call, 0), k.output(call, 0)
        spatial = k.output_rank(call, 0) - 2
        image, taps = int64(1), int64(1)
        for i in range(spatial):
            image *= k.output_dim(call, 0, i + 2)
            taps *= number(k.input(call, 2), i)
        blocks = k.input_dim(call, 0, 2)
        for unit in range(begin, end):
            k.fill(y, unit * image * width, image * width)
            for tap in range(taps):
                for block in range(blocks):
                    at = pixel(call, tap, block)
                    if at >= 0:
                        to = unit * image + at
                        put(y, to, cast(get(y, to) + get(x, (unit * taps + tap) * blocks + block)))
        return k.OK

    def units(call, phase):
        return (
            k.output_dim(call, 0, 0) * k.output_dim(call, 0, 1) if k.output_size(call, 0) > 0 else 0
        )

    return parts(run=run, units=units)
