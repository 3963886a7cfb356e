"""MaxPool of float32 images and lines: each channel on its own, over a padded copy of it."""

from planes import BLOCK, planes
from windows import WINDOW, window

from _lang import kernel, parts

REASONS = (
    "it has one or two spatial axes only",
    "it does not know indices",
    "cut edges",
    "windows that do not overlap are read once",
)


@kernel(
    "MaxPool", types={"T": "float"}, attributes=WINDOW, variant="planes", order=-2, reasons=REASONS
)
def max_pool(k):
    """A unit is one channel of one image. Scratch memory holds its phases, then the outputs."""
    v, lanes = k.vector("T"), k.lanes("T")
    image_planes = planes(k, -1)
    geometry, phases = image_planes.geometry, image_planes.phases
    pad_channel = image_planes.pad_channel
    w = window(k)

    @k.outline("int64(call, pointer, pointer, int64, int64)")
    def slide(call, source, to, phase_rows, phase_columns):
        """The line of outputs of one channel."""
        step_y, spread_y, _, _, taps_y, rows, step_x, spread_x, _, _, taps_x, columns = geometry(
            call
        )
        phase = phase_rows * phase_columns
        length = (rows - 1) * phase_columns + columns
        low = v.set(-float("inf"))
        for start in range(0, length, BLOCK * lanes):
            a, b, c, d = low, low, low, low
            for ty in range(taps_y):
                ry = ty * spread_y
                line = ry % step_y * step_x * phase + ry // step_y * phase_columns + start
                for tx in range(taps_x):
                    rx = tx * spread_x
                    at = line + rx % step_x * phase + rx // step_x
                    a = v.max(a, v.load(source, at))
                    b = v.max(b, v.load(source, at + lanes))
                    c = v.max(c, v.load(source, at + 2 * lanes))
                    d = v.max(d, v.load(source, at + 3 * lanes))
            v.store(to, start, a)
            v.store(to, start + lanes, b)
            v.store(to, start + 2 * lanes, c)
            v.store(to, start + 3 * lanes, d)
        return 0

    def run(call, phase, begin, end, scratch):
        count, phase_rows, phase_columns, rows, columns, image = phases(call)
        size = count * phase_rows * phase_columns + BLOCK * lanes
        line = k.offset(scratch, size * 4)
        low = v.set(-float("inf"))
        for i in range(0, size, lanes):
            v.store_n(scratch, i, low, min(size - i, lanes))
        for unit in range(begin, end):
            x = k.offset(k.input(call, 0), unit * image * 4)
            pad_channel(call, x, scratch, phase_rows, phase_columns)
            slide(call, scratch, line, phase_rows, phase_columns)
            at = unit * rows * columns
            for r in range(rows):
                to, source = (at + r * columns) * 4, r * phase_columns * 4
                k.copy(k.output(call, 0), to, line, source, columns * 4)
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
        else:
            for i in range(k.input_rank(call, 0) - 2):
                if w.before(call, i) < 0 or w.after(call, i) < 0:
                    why = 3
            last = k.input_rank(call, 0) - 3
            if why == 0 and w.extent(call, last) <= w.stride(call, last):
                why = 4
        if k.n_outputs(call) > 1:
            if k.output_rank(call, 1) >= 0:
                why = 2
        return why

    return parts(run=run, units=units, scratch=scratch, supports=supports)
