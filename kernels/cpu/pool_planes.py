"""MaxPool and AveragePool of float32 images and lines: each channel on its own, over a padded copy
of it.
"""

from planes import BLOCK, planes
from pool import members
from windows import WINDOW, window

from _lang import inline, kernel, namespace, parts

REASONS = (
    "it has one or two spatial axes only",
    "it does not know indices",
    "cut edges",
    "windows that do not overlap are read once",
)


def sliding(k, lowest, join):
    """What poolings over planes share. `channel(call, unit, scratch)`: the line of outputs of one
    channel, at the pointer that it returns, where scratch memory was made ready by `clear(call,
    scratch)`; `join(a, b)` puts vectors together, beginning with `lowest`.
    """
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
        low = v.set(lowest)
        for start in range(0, length, BLOCK * lanes):
            a, b, c, d = low, low, low, low
            for ty in range(taps_y):
                ry = ty * spread_y
                line = ry % step_y * step_x * phase + ry // step_y * phase_columns + start
                for tx in range(taps_x):
                    rx = tx * spread_x
                    at = line + rx % step_x * phase + rx // step_x
                    a = join(a, v.load(source, at))
                    b = join(b, v.load(source, at + lanes))
                    c = join(c, v.load(source, at + 2 * lanes))
                    d = join(d, v.load(source, at + 3 * lanes))
            v.store(to, start, a)
            v.store(to, start + lanes, b)
            v.store(to, start + 2 * lanes, c)
            v.store(to, start + 3 * lanes, d)
        return 0

    @inline
    def padded(call):
        count, phase_rows, phase_columns, _, _, _ = phases(call)
        return count * phase_rows * phase_columns + BLOCK * lanes

    @inline
    def clear(call, scratch):
        size = padded(call)
        for i in range(0, size, lanes):
            v.store_n(scratch, i, v.set(lowest), min(size - i, lanes))

    @inline
    def channel(call, unit, scratch):
        _, phase_rows, phase_columns, _, _, image = phases(call)
        line = k.offset(scratch, padded(call) * 4)
        x = k.offset(k.input(call, 0), unit * image * 4)
        pad_channel(call, x, scratch, phase_rows, phase_columns)
        slide(call, scratch, line, phase_rows, phase_columns)
        return line

    @inline
    def needed(call):
        """Elements of scratch memory."""
        _, _, phase_columns, rows, columns, _ = phases(call)
        return padded(call) + rows * phase_columns + columns + BLOCK * lanes

    @inline
    def refused(call):
        why = 0
        if k.input_rank(call, 0) > 4:
            why = 1
        else:
            for i in range(k.input_rank(call, 0) - 2):
                if w.before(call, i) < 0 or w.after(call, i) < 0:
                    why = 3
        return why

    return namespace(
        "sliding",
        window=w,
        phases=phases,
        clear=clear,
        channel=channel,
        needed=needed,
        refused=refused,
    )


def channels(k):
    """`units`: channels of every image."""

    def units(call, phase):
        size = k.output_size(call, 0)
        return k.output_dim(call, 0, 0) * k.output_dim(call, 0, 1) if size > 0 else 0

    return units


@kernel(
    "MaxPool", types={"T": "float"}, attributes=WINDOW, variant="planes", order=-2, reasons=REASONS
)
def max_pool(k):
    """A unit is one channel of one image. Scratch memory holds its phases, then the outputs."""
    v = k.vector("T")

    @inline
    def join(a, b):
        return v.max(a, b)

    s = sliding(k, -float("inf"), join)
    w = s.window

    def run(call, phase, begin, end, scratch):
        _, _, phase_columns, rows, columns, _ = s.phases(call)
        s.clear(call, scratch)
        for unit in range(begin, end):
            line = s.channel(call, unit, scratch)
            at = unit * rows * columns
            for r in range(rows):
                to, source = (at + r * columns) * 4, r * phase_columns * 4
                k.copy(k.output(call, 0), to, line, source, columns * 4)
        return k.OK

    def scratch(call):
        return s.needed(call) * 4

    def supports(call):
        why = s.refused(call)
        last = k.input_rank(call, 0) - 3
        if why == 0 and w.extent(call, last) <= w.stride(call, last):
            why = 4
        if k.n_outputs(call) > 1:
            if k.output_rank(call, 1) >= 0:
                why = 2
        return why

    return parts(run=run, units=channels(k), scratch=scratch, supports=supports)


@kernel(
    "AveragePool",
    types={"T": "float"},
    attributes=(*WINDOW, "count_include_pad"),
    variant="planes",
    order=-2,
    reasons=REASONS,
    epilogue=True,
)
def average_pool(k):
    """A unit is one channel of one image. Scratch memory holds its phases, the sums, then how many
    elements each column's window has.
    """
    v, lanes = k.vector("T"), k.lanes("T")
    put, cast = k.store("T"), k.cast("T")
    counted = members(k)

    @inline
    def join(a, b):
        return a + b

    s = sliding(k, 0.0, join)

    def run(call, phase, begin, end, scratch):
        _, _, phase_columns, rows, columns, _ = s.phases(call)
        s.clear(call, scratch)
        spatial = k.input_rank(call, 0) - 2
        counts, y = k.offset(scratch, s.needed(call) * 4), k.output(call, 0)
        for i in range(columns):
            put(counts, i, cast(max(counted(call, spatial - 1, i), 1)))
        for unit in range(begin, end):
            line = s.channel(call, unit, scratch)
            for r in range(rows):
                height = v.set(cast(max(counted(call, 0, r), 1) if spatial == 2 else 1))
                to, source = (unit * rows + r) * columns, r * phase_columns
                for i in range(0, columns, lanes):
                    n = min(columns - i, lanes)
                    sums = v.load(line, source + i)
                    v.store_n(y, to + i, sums / (height * v.load(counts, i)), n)
            at = unit * rows * columns
            k.epilogue(call, k.offset(y, at * 4), at, rows * columns)
        return k.OK

    def scratch(call):
        return (s.needed(call) + k.output_dim(call, 0, k.output_rank(call, 0) - 1) + lanes) * 4

    def supports(call):
        return s.refused(call)

    return parts(run=run, units=channels(k), scratch=scratch, supports=supports)
