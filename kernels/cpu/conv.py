"""Conv for any number of spatial axes, one output row at a time."""

from windows import WINDOW, window

from _lang import WIDE_FLOATS, inline, kernel, parts

ATTRIBUTES = (*WINDOW, "group")
GROUP = len(WINDOW)


def row_sums(k, weight, sums, value, factor):
    """The inline function `accumulate(call, unit, row)`: into `row` (type `sums`, zeroed by the
    caller) the sums of one output row.

    `value(call, i)` is element i of the input, `factor(call, channel, i)` element i of the
    weight of an output channel.
    """
    w = window(k, weight)
    ld, st = k.load(sums), k.store(sums)

    @inline
    def accumulate(call, unit, row):
        last = k.input_rank(call, 0) - 1
        columns, width = k.output_dim(call, 0, last), k.input_dim(call, 0, last)
        taps = k.input_dim(call, weight, last)
        outer_taps = w.outer_taps(call)
        rows_out, rows_in = 1, 1
        for a in range(2, last):
            rows_out *= k.output_dim(call, 0, a)
            rows_in *= k.input_dim(call, 0, a)
        channels = k.output_dim(call, 0, 1)
        depth = k.input_dim(call, weight, 1)
        channel = unit // rows_out % channels
        batch = unit // (rows_out * channels)
        first = channel // (channels // k.attr_int(call, GROUP)) * depth
        step, spread, pad = (
            w.stride(call, last - 2),
            w.dilation(call, last - 2),
            w.before(call, last - 2),
        )
        for tap in range(outer_taps):
            source = w.source_row(call, tap, unit % rows_out)
            if source >= 0:
                for c in range(depth):
                    at = ((batch * k.input_dim(call, 0, 1) + first + c) * rows_in + source) * width
                    of = ((channel * depth + c) * outer_taps + tap) * taps
                    for t in range(taps):
                        shift = t * spread - pad
                        f = factor(call, channel, of + t)
                        for i in range(
                            w.first_column(shift, step), w.end_column(shift, step, columns, width)
                        ):
                            st(row, i, ld(row, i) + f * value(call, at + i * step + shift))

    return accumulate


def rows(k):
    """`units`: output rows along the last axis."""

    def units(call, phase):
        size = k.output_size(call, 0)
        return size // k.output_dim(call, 0, k.output_rank(call, 0) - 1) if size > 0 else 0

    return units


def row_scratch(k, bytes_each):
    def scratch(call):
        return bytes_each * k.output_dim(call, 0, k.output_rank(call, 0) - 1)

    return scratch


@kernel("Conv", types={"T": WIDE_FLOATS}, attributes=ATTRIBUTES, epilogue=True)
def conv(k):
    sums = "double" if k.dtype("T").name == "double" else "float"
    get, put = k.load("T"), k.store("T")
    ld, cast = k.load(sums), k.cast(sums)
    width = k.dtype("T").bits // 8
    bytes_each = 8 if sums == "double" else 4

    @inline
    def value(call, i):
        return cast(get(k.input(call, 0), i))

    @inline
    def factor(call, channel, i):
        return cast(get(k.input(call, 1), i))

    accumulate = row_sums(k, 1, sums, value, factor)

    def run(call, phase, begin, end, scratch):
        y = k.output(call, 0)
        rank = k.output_rank(call, 0)
        columns = k.output_dim(call, 0, rank - 1)
        rows_out = 1
        for a in range(2, rank - 1):
            rows_out *= k.output_dim(call, 0, a)
        for unit in range(begin, end):
            k.fill(scratch, 0, columns * bytes_each)
            accumulate(call, unit, scratch)
            bias = cast(0)
            if k.has_input(call, 2):
                bias = cast(get(k.input(call, 2), unit // rows_out % k.output_dim(call, 0, 1)))
            for i in range(columns):
                put(y, unit * columns + i, ld(scratch, i) + bias)
            k.epilogue(call, k.offset(y, unit * columns * width), unit * columns, columns)
        return k.OK

    return parts(run=run, units=rows(k), scratch=row_scratch(k, bytes_each))
