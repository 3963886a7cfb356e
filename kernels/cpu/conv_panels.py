"""The inputs under each window element of a convolution, in panels of output pixels."""

from strides import every_other
from transpose_block import transpose_block

from _lang import inline, namespace


def input_panels(k, w, width):
    """Functions of a call with window `w` over images of any number of axes, panels of `width`.

    `panel(call, source, start, count, first, channels, to, table)` packs pixels [start, start +
    count) of some channels of one group of one image, `source` being batch · groups + group:
    [depth][width], where the depth counts channels and then window elements. `table`: memory of
    `table_bytes`.
    """
    v, lanes = k.vector("float"), k.lanes("float")
    get, put, known, place = k.load("float"), k.store("float"), k.load("int64"), k.store("int64")
    pick, turn = every_other(k), transpose_block("float", "float", lanes)

    @inline
    def depth_of(call):
        n = k.input_dim(call, 1, 1)
        for a in range(2, k.input_rank(call, 1)):
            n *= k.input_dim(call, 1, a)
        return n

    @inline
    def pixels_of(call):
        n = 1
        for a in range(2, k.output_rank(call, 0)):
            n *= k.output_dim(call, 0, a)
        return n

    @inline
    def image_of(call):
        """Elements of one channel of input."""
        n = 1
        for a in range(2, k.input_rank(call, 0)):
            n *= k.input_dim(call, 0, a)
        return n

    @inline
    def is_pointwise(call):
        """One window element, everywhere inside, without gaps: the image is one line."""
        out = True
        for i in range(k.input_rank(call, 0) - 2):
            out = out and k.input_dim(call, 1, i + 2) == 1 and w.stride(call, i) == 1
            out = out and w.before(call, i) == 0 and w.after(call, i) == 0
        return out

    @inline
    def elements_of(call):
        """Elements of the window."""
        return depth_of(call) // max(k.input_dim(call, 1, 1), 1)

    @inline
    def table_bytes(call):
        """Of a row, the rows of input that it sees, and three numbers for each element."""
        return (1 + w.outer_taps(call) + 3 * elements_of(call)) * 8

    @inline
    def forget(table):
        place(table, 0, -1)

    @k.outline("int64(call, int64, int64, int64, pointer)")
    def survey(call, row, column, n, table):
        """For each element of the window over columns [column, column + n) of a row of output:
        where the inputs under them begin in their channel, and the first and the end of those that
        have one."""
        last = k.input_rank(call, 0) - 1
        extent, taps = k.input_dim(call, 0, last), k.input_dim(call, 1, last)
        if is_pointwise(call):
            extent = image_of(call)
        step, spread, pad = (
            w.stride(call, last - 2),
            w.dilation(call, last - 2),
            w.before(call, last - 2),
        )
        outer_taps = w.outer_taps(call)
        if known(table, 0) != row:
            for outer in range(outer_taps):
                place(table, 1 + outer, w.source_row(call, outer, row))
            place(table, 0, row)
        for tap in range(taps):
            shift = tap * spread - pad
            first = max(w.first_column(shift, step), column)
            end = min(max((extent - 1 - shift) // step + 1, 0), column + n)
            for outer in range(outer_taps):
                source, low, high = known(table, 1 + outer), first, end
                if source < 0 or high < low:
                    low, high = column, column
                at = 1 + outer_taps + 3 * (outer * taps + tap)
                place(table, at, source * extent + low * step + shift)
                place(table, at + 1, low - column)
                place(table, at + 2, high - column)
        return 0

    @inline
    def take(x, at, to, target, n, step, end):
        """Up to two vectors of columns, `step` apart in the input of `end` elements."""
        if step == 1:
            if n > lanes:
                v.store(to, target, v.load(x, at))
                v.store_n(to, target + lanes, v.load_n(x, at + lanes, n - lanes), n - lanes)
            else:
                v.store_n(to, target, v.load_n(x, at, n), n)
        elif step == 2 and at + 4 * lanes <= end:
            v.store_n(to, target, pick(x, at), n)
            if n > lanes:
                v.store_n(to, target + lanes, pick(x, at + 2 * lanes), n - lanes)
        else:
            for i in range(n):
                put(to, target + i, get(x, at + i * step))

    @inline
    def is_run(table, e, n, at, step, end):
        """Whether elements e, e + 1, … lie behind one another, as many as a square has, under n
        columns that all have inputs; `at`: the first input of `end`."""
        last = 3 * (e + lanes - 1)
        near = known(table, last) == known(table, 3 * e) + lanes - 1
        whole = known(table, 3 * e + 2) - known(table, 3 * e + 1) == n
        whole = whole and known(table, last + 2) - known(table, last + 1) == n
        return near and whole and at + (lanes - 1) * (step + 1) < end

    @k.outline("int64(pointer, int64, pointer, int64, int64, int64, pointer)")
    def plain(x, channels, table, elements, image, step, to):
        """Whole rows of a panel, of steps of one or two, of as many channels as come first without
        a read beyond the last; returns how many."""
        reach = known(table, 3 * (elements - 1)) + 2 * step * lanes
        end = channels * image
        while channels > 0 and (channels - 1) * image + reach > end:
            channels -= 1
        target = 0
        for c in range(channels):
            base = c * image
            if step == 1:
                for e in range(elements):
                    at = base + known(table, 3 * e)
                    v.store(to, target, v.load(x, at))
                    v.store(to, target + lanes, v.load(x, at + lanes))
                    target += width
            else:
                for e in range(elements):
                    at = base + known(table, 3 * e)
                    v.store(to, target, pick(x, at))
                    v.store(to, target + lanes, pick(x, at + 2 * lanes))
                    target += width
        return channels

    @inline
    def is_whole(table, elements):
        """Whether all columns of a panel have inputs under all elements."""
        whole = True
        for e in range(elements):
            whole = whole and known(table, 3 * e + 2) - known(table, 3 * e + 1) == width
        return whole

    @k.outline("int64(call, pointer, int64, pointer, int64, int64, pointer)")
    def strips(call, x, channels, table, n, room, to):
        """n columns of a panel, of which `survey` made the table, and that has `room`."""
        elements, image = elements_of(call), image_of(call)
        step, c = w.stride(call, k.input_rank(call, 0) - 3), 0
        turns = step > 2 and n <= lanes and room >= lanes
        if n == width and step < 3 and is_whole(table, elements):
            c = plain(x, channels, table, elements, image, step, to)
        while c < channels:
            e, base = 0, c * image
            while e < elements:
                low, high = known(table, 3 * e + 1), known(table, 3 * e + 2)
                at, target = base + known(table, 3 * e), (c * elements + e) * width
                if turns and e + lanes <= elements:
                    if is_run(table, e, n, at, step, channels * image):
                        turn(to, target, width, x, at, step)
                        e += lanes
                        continue
                if high - low < n:
                    v.store_n(to, target, v.zero(), n)
                    v.store_n(to, target + lanes, v.zero(), n - lanes)
                if high > low:
                    take(x, at, to, target + low, high - low, step, channels * image)
                e += 1
            c += 1
        return 0

    @k.outline("int64(call, int64, int64, int64, int64, int64, pointer, pointer)")
    def panel(call, source, start, count, first, channels, to, table):
        """Columns beyond `count` are zeros: what memory held before may be denormal numbers, which
        take long."""
        columns = k.output_dim(call, 0, k.output_rank(call, 0) - 1)
        if is_pointwise(call):
            columns = pixels_of(call)
        x = (source * k.input_dim(call, 1, 1) + first) * image_of(call)
        x = k.offset(k.input(call, 0), x * 4)
        row, column, done = start // columns, start % columns, 0
        entries = k.offset(table, (1 + w.outer_taps(call)) * 8)
        most = lanes if w.stride(call, k.input_rank(call, 0) - 3) > 2 else width
        while done < count:
            n = min(columns - column, count - done, most)
            survey(call, row, column, n, table)
            strips(call, x, channels, entries, n, width - done, k.offset(to, done * 4))
            done += n
            column += n
            if column == columns:
                row, column = row + 1, 0
        if count < width:
            for d in range(channels * elements_of(call)):
                for i in range(count, width, lanes):
                    v.store_n(to, d * width + i, v.zero(), width - i)
        return 0

    return namespace(
        "input_panels",
        depth_of=depth_of,
        pixels_of=pixels_of,
        elements_of=elements_of,
        table_bytes=table_bytes,
        forget=forget,
        panel=panel,
    )
