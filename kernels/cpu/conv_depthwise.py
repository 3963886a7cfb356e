"""Depthwise Conv of float32: each channel on its own, over a padded copy of it."""

from planes import BLOCK, planes
from windows import WINDOW, window

from _lang import inline, kernel, parts

ATTRIBUTES = (*WINDOW, "group")
GROUP = len(WINDOW)
REASONS = (
    "it has at most three spatial axes",
    "groups of more than one channel",
    "cut edges",
    "many outputs share a channel: a matrix product reads it once",
)


@kernel(
    "Conv",
    types={"T": "float"},
    attributes=ATTRIBUTES,
    variant="depthwise",
    order=-2,
    epilogue=True,
    reasons=REASONS,
)
def conv(k):
    """A unit is one output channel of one image.

    Scratch memory holds the padded channel, split by the strides into phases (row % stride,
    column % stride), so that each window element is a constant distance away for all outputs of
    one phase: outputs then are one line, as long as the rows of a phase, with gaps that are not
    stored.
    """
    v, lanes = k.vector("T"), k.lanes("T")
    get, distance, cast = k.load("T"), k.load("int64"), k.cast("T")
    w = window(k, 1)
    p = planes(k, 1)

    @inline
    def length_of(call):
        """Elements of the line of outputs of an image."""
        _, _, phase_columns, rows, columns, _ = p.phases(call)
        return (rows - 1) * phase_columns + columns

    @inline
    def channel_size(call):
        """Elements of a padded channel."""
        count, phase_rows, phase_columns, _, _, _ = p.phases(call)
        size = p.images_in(call) * count * phase_rows * phase_columns
        return (size + (BLOCK + 1) * lanes - 1) // lanes * lanes

    @inline
    def line_size(call):
        return (length_of(call) + (BLOCK + 1) * lanes - 1) // lanes * lanes

    @k.outline("int64(pointer, pointer, pointer, int64, int64, float, int64, pointer)")
    def slide(source, weights, places, first, end, bias, length, to):
        """A line of outputs by the elements [first, end) of the window."""
        for start in range(0, length, BLOCK * lanes):
            a, b, c, d = v.set(bias), v.set(bias), v.set(bias), v.set(bias)
            for e in range(first, end):
                at, f = start + distance(places, e), v.set(get(weights, e))
                a = v.fma(f, v.load(source, at), a)
                b = v.fma(f, v.load(source, at + lanes), b)
                c = v.fma(f, v.load(source, at + 2 * lanes), c)
                d = v.fma(f, v.load(source, at + 3 * lanes), d)
            v.store(to, start, a)
            v.store(to, start + lanes, b)
            v.store(to, start + 2 * lanes, c)
            v.store(to, start + 3 * lanes, d)
        return 0

    @inline
    def compute(call, unit, scratch, line, places, elements):
        """The outputs of one channel, padded in scratch memory."""
        count, phase_rows, phase_columns, rows, columns, _ = p.phases(call)
        images, channel, bias = p.images_out(call), unit % k.output_dim(call, 0, 1), cast(0)
        if k.has_input(call, 2):
            bias = get(k.input(call, 2), channel)
        weights = k.offset(k.input(call, 1), channel * elements * 4)
        taps = elements // (w.extent(call, 0) if k.input_rank(call, 0) > 4 else 1)
        for z in range(images):
            low, high, top = p.over(call, z)
            source = k.offset(scratch, top * count * phase_rows * phase_columns * 4)
            slide(source, weights, places, low * taps, high * taps, bias, length_of(call), line)
            at = (unit * images + z) * rows * columns
            for r in range(rows):
                to, of = (at + r * columns) * 4, r * phase_columns * 4
                k.copy(k.output(call, 0), to, line, of, columns * 4)
        at, n = unit * images * rows * columns, images * rows * columns
        k.epilogue(call, k.offset(k.output(call, 0), at * 4), at, n)

    def run(call, phase, begin, end, scratch):
        _, phase_rows, phase_columns, _, _, image = p.phases(call)
        line = k.offset(scratch, channel_size(call) * 4)
        places = k.offset(line, line_size(call) * 4)
        k.fill(scratch, 0, channel_size(call) * 4)
        elements = p.places(call, places)
        outputs, groups = k.output_dim(call, 0, 1), k.attr_int(call, GROUP)
        for unit in range(begin, end):
            source = unit // outputs * groups + unit % outputs // (outputs // groups)
            x = k.offset(k.input(call, 0), source * p.images_in(call) * image * 4)
            p.pad_channel(call, x, scratch, phase_rows, phase_columns)
            compute(call, unit, scratch, line, places, elements)
        return k.OK

    def units(call, phase):
        size = k.output_size(call, 0)
        return k.output_dim(call, 0, 0) * k.output_dim(call, 0, 1) if size > 0 else 0

    def scratch(call):
        elements = k.input_size(call, 1) // max(k.input_dim(call, 1, 0), 1)
        return (channel_size(call) + line_size(call)) * 4 + elements * 8

    def supports(call):
        why = 0
        if k.input_rank(call, 0) > 5:
            why = 1
        elif k.input_dim(call, 1, 1) != 1:
            why = 2
        elif k.output_dim(call, 0, 1) > 4 * k.input_dim(call, 0, 1):
            why = 4
        else:
            for i in range(max(k.input_rank(call, 0) - 4, 0), k.input_rank(call, 0) - 2):
                if w.before(call, i) < 0 or w.after(call, i) < 0:
                    why = 3
        return why

    return parts(run=run, units=units, scratch=scratch, supports=supports)
