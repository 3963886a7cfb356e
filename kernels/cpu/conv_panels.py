"""The inputs under each window element of a convolution, in panels of output pixels."""

from strides import every_other

from _lang import inline, namespace


def input_panels(k, w, width):
    """Functions of a call with window `w` over images of any number of axes, panels of `width`.

    `panel(call, part, start, count, to)` packs pixels [start, start + count) of one group of one
    image, `part` being batch · groups + group: [depth][width], where the depth counts channels and
    then window elements.
    """
    v, lanes = k.vector("float"), k.lanes("float")
    get, put = k.load("float"), k.store("float")
    pick = every_other(k)

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

    @k.outline("int64(pointer, pointer, int64, int64, int64, int64, int64)")
    def strip(x, to, channels, image, to_step, n, step):
        """The same n columns of every channel; without an input (image 0) zeros."""
        for c in range(channels):
            source, target = c * image, c * to_step
            if image == 0:
                i = 0
                while i < n:
                    v.store_n(to, target + i, v.zero(), n - i)
                    i += lanes
            elif step == 2 and c + 1 < channels and image >= 4 * lanes:
                # The loads end in the next channel.
                v.store_n(to, target, pick(x, source), n)
                if n > lanes:
                    v.store_n(to, target + lanes, pick(x, source + 2 * lanes), n - lanes)
            elif step > 1:
                for i in range(n):
                    put(to, target + i, get(x, source + i * step))
            elif n > lanes:
                v.store(to, target, v.load(x, source))
                v.store_n(to, target + lanes, v.load_n(x, source + lanes, n - lanes), n - lanes)
            else:
                v.store_n(to, target, v.load_n(x, source, n), n)
        return 0

    @k.outline("int64(call, pointer, int64, int64, int64, int64, int64, pointer)")
    def row_strips(call, x, outer, source, column, n, extent, to):
        """Columns [column, column + n) of one row of output under the elements of row `outer` of
        the window, which lies over row `source` of the input: -1 outside. `extent`: of that row."""
        last, channels = k.input_rank(call, 0) - 1, k.input_dim(call, 1, 1)
        taps, step = k.input_dim(call, 1, last), w.stride(call, last - 2)
        spread, pad = w.dilation(call, last - 2), w.before(call, last - 2)
        image, to_step = image_of(call), depth_of(call) // channels * width
        for tap in range(taps):
            shift = tap * spread - pad
            low = max(column, w.first_column(shift, step))
            high = min(column + n, max((extent - 1 - shift) // step + 1, 0))
            if source < 0:
                high = low
            target = k.offset(to, (outer * taps + tap) * width * 4)
            if low > column or high < column + n:
                strip(x, target, channels, 0, to_step, n, 1)
            if high > low:
                at = k.offset(x, (source * extent + low * step + shift) * 4)
                target = k.offset(target, (low - column) * 4)
                strip(at, target, channels, image, to_step, high - low, step)
        return 0

    @k.outline("int64(call, int64, int64, int64, pointer)")
    def panel(call, part, start, count, to):
        """Each row of the output that the panel touches, under each window element, is one strip.
        Columns beyond `count` are zeros: what memory held before may be denormal numbers, which
        take long."""
        last, channels = k.input_rank(call, 0) - 1, k.input_dim(call, 1, 1)
        columns, extent = k.output_dim(call, 0, last), k.input_dim(call, 0, last)
        if is_pointwise(call):
            columns, extent = pixels_of(call), image_of(call)
        x = k.offset(k.input(call, 0), part * channels * image_of(call) * 4)
        row, column, done = start // columns, start % columns, 0
        while done < count:
            n = min(columns - column, count - done)
            for outer in range(w.outer_taps(call)):
                source, target = w.source_row(call, outer, row), k.offset(to, done * 4)
                row_strips(call, x, outer, source, column, n, extent, target)
            done += n
            row += 1
            column = 0
        if count < width:
            target = k.offset(to, count * 4)
            strip(x, target, depth_of(call), 0, width, width - count, 1)
        return 0

    return namespace(
        "input_panels", depth_of=depth_of, pixels_of=pixels_of, image_of=image_of, panel=panel
    )
