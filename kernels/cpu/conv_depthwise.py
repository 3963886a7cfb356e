"""Depthwise Conv of float32 images and lines: each channel on its own, over a padded copy of it."""

from strides import every_other
from windows import WINDOW, window

from _lang import inline, kernel, parts

ATTRIBUTES = (*WINDOW, "group")
GROUP = len(WINDOW)
BLOCK = 4  # vectors of sums held at once
REASONS = ("it has one or two spatial axes only", "groups of more than one channel", "cut edges")


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
    get, put = k.load("T"), k.store("T")
    pick = every_other(k)
    w = window(k, 1)

    @inline
    def geometry(call):
        """Strides, dilations, pads, extents of input, window and output: rows, then columns."""
        last = k.input_rank(call, 0) - 1
        two = last == 3
        step_y, spread_y, pad_y, height, taps_y, rows = 1, 1, 0, 1, 1, 1
        if two:
            step_y, spread_y, pad_y = w.stride(call, 0), w.dilation(call, 0), w.before(call, 0)
            height, taps_y = k.input_dim(call, 0, 2), k.input_dim(call, 1, 2)
            rows = k.output_dim(call, 0, 2)
        step_x, spread_x = w.stride(call, last - 2), w.dilation(call, last - 2)
        pad_x, width = w.before(call, last - 2), k.input_dim(call, 0, last)
        taps_x, columns = k.input_dim(call, 1, last), k.output_dim(call, 0, last)
        return (
            *(step_y, spread_y, pad_y, height, taps_y, rows),
            *(step_x, spread_x, pad_x, width, taps_x, columns),
        )

    @inline
    def phase_extent(extent, pad, outputs, step, taps, spread):
        """Rows or columns of one phase of the padded channel."""
        return max(extent + pad, (outputs - 1) * step + (taps - 1) * spread + 1) // step + 1

    @k.outline("int64(call, pointer, pointer, int64, int64)")
    def pad_channel(call, x, to, phase_rows, phase_columns):
        step_y, _, pad_y, height, _, _, step_x, _, pad_x, width, _, _ = geometry(call)
        phase = phase_rows * phase_columns
        for y in range(height):
            row = (y + pad_y) % step_y * step_x * phase + (y + pad_y) // step_y * phase_columns
            if step_x == 1:
                k.copy(to, (row + pad_x) * 4, x, y * width * 4, width * 4)
            else:
                for px in range(step_x):
                    first = (px + step_x - pad_x % step_x) % step_x
                    at = row + px * phase + (first + pad_x) // step_x
                    i = first
                    if step_x == 2:
                        # The last row must not be read beyond.
                        safe = width if y + 1 == height else width + lanes
                        while i + 2 * lanes <= safe and i < width:
                            n = min((width - i + 1) // 2, lanes)
                            v.store_n(to, at, pick(x, y * width + i), n)
                            at += n
                            i += 2 * n
                    while i < width:
                        put(to, at, get(x, y * width + i))
                        at += 1
                        i += step_x
        return 0

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

    @inline
    def phases(call):
        (
            step_y,
            spread_y,
            pad_y,
            height,
            taps_y,
            rows,
            step_x,
            spread_x,
            pad_x,
            width,
            taps_x,
            cols,
        ) = geometry(call)
        phase_rows = phase_extent(height, pad_y, rows, step_y, taps_y, spread_y)
        phase_columns = phase_extent(width, pad_x, cols, step_x, taps_x, spread_x)
        return step_y * step_x, phase_rows, phase_columns, rows, cols, height * width

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
        else:
            for i in range(k.input_rank(call, 0) - 2):
                if w.before(call, i) < 0 or w.after(call, i) < 0:
                    why = 3
        return why

    return parts(run=run, units=units, scratch=scratch, supports=supports)
