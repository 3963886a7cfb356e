"""Depthwise Conv of float32 images and lines: each channel on its own, over a padded copy of it."""

from planes import BLOCK, planes
from windows import WINDOW, window

from _lang import kernel, parts

ATTRIBUTES = (*WINDOW, "group")
GROUP = len(WINDOW)
REASONS = (
    "it has one or two spatial axes only",
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
    get = k.load("T")
    w = window(k, 1)

    image_planes = planes(k, 1)
    geometry, phases = image_planes.geometry, image_planes.phases
    pad_channel = image_planes.pad_channel

    @k.outline("int64(call, pointer, pointer, int64, int64, int64)")
    def slide(call, planes, to, channel, phase_rows, phase_columns):
        """The line of outputs of one channel."""
        step_y, spread_y, _, _, taps_y, rows, step_x, spread_x, _, _, taps_x, columns = geometry(
            call
        )
        weight = k.input(call, 1)
        bias = v.zero()
        if k.has_input(call, 2):
            bias = v.set(get(k.input(call, 2), channel))
        phase = phase_rows * phase_columns
        length = (rows - 1) * phase_columns + columns
        for start in range(0, length, BLOCK * lanes):
            a, b, c, d = bias, bias, bias, bias
            for ty in range(taps_y):
                ry = ty * spread_y
                line = ry % step_y * step_x * phase + ry // step_y * phase_columns + start
                for tx in range(taps_x):
                    rx = tx * spread_x
                    at = line + rx % step_x * phase + rx // step_x
                    f = v.set(get(weight, (channel * taps_y + ty) * taps_x + tx))
                    a = v.fma(f, v.load(planes, at), a)
                    b = v.fma(f, v.load(planes, at + lanes), b)
                    c = v.fma(f, v.load(planes, at + 2 * lanes), c)
                    d = v.fma(f, v.load(planes, at + 3 * lanes), d)
            v.store(to, start, a)
            v.store(to, start + lanes, b)
            v.store(to, start + 2 * lanes, c)
            v.store(to, start + 3 * lanes, d)
        return 0

    def run(call, phase, begin, end, scratch):
        count, phase_rows, phase_columns, rows, columns, image = phases(call)
        size = count * phase_rows * phase_columns + BLOCK * lanes
        line = k.offset(scratch, size * 4)
        k.fill(scratch, 0, size * 4)
        outputs = k.output_dim(call, 0, 1)
        groups = k.attr_int(call, GROUP)
        y = k.output(call, 0)
        for unit in range(begin, end):
            channel = unit % outputs
            source = unit // outputs * groups + channel // (outputs // groups)
            x = k.offset(k.input(call, 0), source * image * 4)
            pad_channel(call, x, scratch, phase_rows, phase_columns)
            slide(call, scratch, line, channel, phase_rows, phase_columns)
            at = unit * rows * columns
            for r in range(rows):
                k.copy(y, (at + r * columns) * 4, line, r * phase_columns * 4, columns * 4)
            k.epilogue(call, k.offset(y, at * 4), at, rows * columns)
        return k.OK

    def units(call, phase):
        size = k.output_size(call, 0)
        return k.output_dim(call, 0, 0) * k.output_dim(call, 0, 1) if size > 0 else 0

    def scratch(call):
        count, phase_rows, phase_columns, rows, columns, _ = phases(call)
        size = count * phase_rows * phase_columns + BLOCK * lanes
        return (size + rows * phase_columns + columns + BLOCK * lanes) * 4

    def supports(call):
        why = 0
        if k.input_rank(call, 0) > 4:
            why = 1
        elif k.input_dim(call, 1, 1) != 1:
            why = 2
        elif k.output_dim(call, 0, 1) > 4 * k.input_dim(call, 0, 1):
            why = 4
        else:
            for i in range(k.input_rank(call, 0) - 2):
                if w.before(call, i) < 0 or w.after(call, i) < 0:
                    why = 3
        return why

    return parts(run=run, units=units, scratch=scratch, supports=supports)
