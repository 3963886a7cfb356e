"""MaxPool and AveragePool of float32: each channel on its own, over a padded copy of it."""

from planes import BLOCK, planes
from pool import members
from windows import WINDOW, window

from _lang import inline, kernel, namespace, parts

REASONS = (
    "it has at most three spatial axes",
    "it does not know indices",
    "cut edges",
    "large windows or long rows: the maximum of whole rows comes first",
)


def sliding(k, lowest, join):
    """What poolings over planes share. `begin(call, scratch)` makes scratch memory of `needed`
    bytes ready and returns the elements of a window; `load(call, unit, scratch)` puts a channel
    there, of which `line(call, z, elements, scratch)` computes output image z and returns where.
    `join(a, b)` puts vectors together, beginning with `lowest`.
    """
    v, lanes, distance = k.vector("T"), k.lanes("T"), k.load("int64")
    p, w = planes(k, -1), window(k)
    phases = p.phases

    @k.outline("int64(pointer, pointer, int64, int64, int64, pointer)")
    def slide(source, places, first, end, length, to):
        """A line of outputs of the elements [first, end) of the window."""
        low = v.set(lowest)
        for start in range(0, length, BLOCK * lanes):
            a, b, c, d = low, low, low, low
            for e in range(first, end):
                at = start + distance(places, e)
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
    def channel_size(call):
        """Elements of a padded channel."""
        count, phase_rows, phase_columns, _, _, _ = phases(call)
        size = p.images_in(call) * count * phase_rows * phase_columns
        return (size + (BLOCK + 1) * lanes - 1) // lanes * lanes

    @inline
    def length_of(call):
        _, _, phase_columns, rows, columns, _ = phases(call)
        return (rows - 1) * phase_columns + columns

    @inline
    def line_size(call):
        return (length_of(call) + (BLOCK + 1) * lanes - 1) // lanes * lanes

    @inline
    def places_at(call, scratch):
        return k.offset(scratch, (channel_size(call) + line_size(call)) * 4)

    @inline
    def begin(call, scratch):
        for i in range(0, channel_size(call), lanes):
            v.store(scratch, i, v.set(lowest))
        return p.places(call, places_at(call, scratch))

    @inline
    def load(call, unit, scratch):
        _, phase_rows, phase_columns, _, _, image = phases(call)
        x = k.offset(k.input(call, 0), unit * p.images_in(call) * image * 4)
        p.pad_channel(call, x, scratch, phase_rows, phase_columns)

    @inline
    def line(call, z, elements, scratch):
        count, phase_rows, phase_columns, _, _, _ = phases(call)
        taps = elements // (w.extent(call, 0) if k.input_rank(call, 0) > 4 else 1)
        low, high, top = p.over(call, z)
        source = k.offset(scratch, top * count * phase_rows * phase_columns * 4)
        to, places = k.offset(scratch, channel_size(call) * 4), places_at(call, scratch)
        slide(source, places, low * taps, high * taps, length_of(call), to)
        return to

    @inline
    def needed(call):
        elements = 1
        for i in range(k.input_rank(call, 0) - 2):
            elements *= w.extent(call, i)
        return (channel_size(call) + line_size(call)) * 4 + elements * 8

    @inline
    def refused(call):
        why, rank = 0, k.input_rank(call, 0)
        if rank > 5:
            why = 1
        else:
            for i in range(max(rank - 4, 0), rank - 2):
                if w.before(call, i) < 0 or w.after(call, i) < 0:
                    why = 3
        return why

    return namespace(
        "sliding",
        window=w,
        phases=phases,
        images=p.images_out,
        begin=begin,
        load=load,
        line=line,
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
        elements, images = s.begin(call, scratch), s.images(call)
        for unit in range(begin, end):
            s.load(call, unit, scratch)
            for z in range(images):
                line, at = s.line(call, z, elements, scratch), (unit * images + z) * rows * columns
                for r in range(rows):
                    to, source = (at + r * columns) * 4, r * phase_columns * 4
                    k.copy(k.output(call, 0), to, line, source, columns * 4)
        return k.OK

    def scratch(call):
        return s.needed(call)

    def supports(call):
        why, last = s.refused(call), k.input_rank(call, 0) - 3
        small = w.stride(call, last) == 1 and w.extent(call, last) <= 3
        small = small and k.output_dim(call, 0, last + 2) <= 32
        dilated = False
        for i in range(last + 1):
            dilated = dilated or w.dilation(call, i) != 1
        if why == 0 and last > 0 and not dilated and not small:
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

    @inline
    def counts_at(call, scratch):
        return k.offset(scratch, (s.needed(call) + 63) // 64 * 64)

    @inline
    def deliver(call, unit, z, line, counts):
        """Averages of image z of a channel from their sums."""
        _, _, phase_columns, rows, columns, _ = s.phases(call)
        last, images = k.input_rank(call, 0) - 3, s.images(call)
        deep = counted(call, 0, z) if last > 1 else 1
        for r in range(rows):
            tall = counted(call, last - 1, r) if last > 0 else 1
            area = v.set(cast(max(deep * tall, 1)))
            to, source = ((unit * images + z) * rows + r) * columns, r * phase_columns
            for i in range(0, columns, lanes):
                n, sums = min(columns - i, lanes), v.load(line, source + i)
                out = sums / (area * v.load(counts, i))
                v.store_n(k.output(call, 0), to + i, out, n)

    def run(call, phase, begin, end, scratch):
        _, _, _, rows, columns, _ = s.phases(call)
        elements, images, last = s.begin(call, scratch), s.images(call), k.input_rank(call, 0) - 3
        counts = counts_at(call, scratch)
        for i in range(columns):
            put(counts, i, cast(max(counted(call, last, i), 1)))
        for unit in range(begin, end):
            s.load(call, unit, scratch)
            for z in range(images):
                deliver(call, unit, z, s.line(call, z, elements, scratch), counts)
            at, n = unit * images * rows * columns, images * rows * columns
            k.epilogue(call, k.offset(k.output(call, 0), at * 4), at, n)
        return k.OK

    def scratch(call):
        columns = k.output_dim(call, 0, k.output_rank(call, 0) - 1) + lanes
        return s.needed(call) + 64 + columns * 4

    def supports(call):
        return s.refused(call)

    return parts(run=run, units=channels(k), scratch=scratch, supports=supports)
