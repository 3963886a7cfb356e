"""Col2Im: blocks that add into the images they were cut from."""

from numba import int64

from _lang import FLOATS, inline, kernel, parts


@kernel("Col2Im", types={"T": FLOATS + " int32 int64"}, attributes=("strides", "dilations", "pads"))
def col2im(k):
    """A unit is one image of one channel, to which every block adds its elements."""
    get, put, cast = k.load("T"), k.store("T"), k.cast("T")
    number, put_number, offset = k.load("int64"), k.store("int64"), k.offset
    width = k.dtype("T").bits // 8

    @inline
    def listed(call, attribute, i, default):
        return k.attr_ints(call, attribute, i) if k.attr_n(call, attribute) > 0 else default

    @inline
    def axis(call, i):
        """Of spatial axis i: extents of image and block, stride, dilation, padding, blocks."""
        spatial = k.output_rank(call, 0) - 2
        image, extent = k.output_dim(call, 0, i + 2), number(k.input(call, 2), i)
        step, spread = listed(call, 0, i, 1), listed(call, 1, i, 1)
        pad, end_pad = listed(call, 2, i, 0), listed(call, 2, i + spatial, 0)
        blocks = max((image + pad + end_pad - (extent - 1) * spread - 1) // step + 1, 1)
        return image, extent, step, spread, pad, blocks

    @inline
    def line_at(call, tap, line):
        """The first pixel of the image's line that holds element `tap` of the blocks of a line of
        blocks, or -1 in the padding.
        """
        last = k.output_rank(call, 0) - 3
        size, extent, _, _, _, _ = axis(call, last)
        at, tap = int64(0), tap // extent
        for back in range(last):
            image, extent, step, spread, pad, blocks = axis(call, last - 1 - back)
            position = line % blocks * step + tap % extent * spread - pad
            line, tap = line // blocks, tap // extent
            at = at + position * size if at >= 0 and 0 <= position < image else int64(-1)
            size *= image
        return at

    @inline
    def sizes(call):
        """Pixels of an image, taps of a block, lines of blocks."""
        last = k.output_rank(call, 0) - 3
        pixels, taps = int64(1), int64(1)
        for i in range(last + 1):
            pixels *= k.output_dim(call, 0, i + 2)
            taps *= number(k.input(call, 2), i)
        _, _, _, _, _, blocks = axis(call, last)
        return pixels, taps, k.input_dim(call, 0, 2) // blocks

    @k.outline("int64(pointer, pointer, int64, int64)")
    def add_line(to, x, n, step):
        if step == 1:
            for b in range(n):
                put(to, b, cast(get(to, b) + get(x, b)))
        else:
            for b in range(n):
                put(to, b * step, cast(get(to, b * step) + get(x, b)))
        return 0

    def run(call, phase, begin, end, scratch):
        x, y = k.input(call, 0), k.output(call, 0)
        image, extent, step, spread, pad, blocks = axis(call, k.output_rank(call, 0) - 3)
        pixels, taps, lines = sizes(call)
        for tap in range(taps):
            for line in range(lines):
                put_number(scratch, tap * lines + line, line_at(call, tap, line))
        for unit in range(begin, end):
            k.fill(y, unit * pixels * width, pixels * width)
            for tap in range(taps):
                shift = tap % extent * spread - pad
                low = max((step - 1 - shift) // step, 0)
                high = min((image - 1 - shift) // step + 1, blocks)
                for line in range(lines):
                    at = number(scratch, tap * lines + line)
                    if at >= 0 and low < high:
                        first = (unit * taps + tap) * lines + line
                        add_line(
                            offset(y, (unit * pixels + at + shift + low * step) * width),
                            offset(x, (first * blocks + low) * width),
                            high - low,
                            step,
                        )
        return k.OK

    def scratch(call):
        _, taps, lines = sizes(call)
        return taps * lines * 8

    def units(call, phase):
        return (
            k.output_dim(call, 0, 0) * k.output_dim(call, 0, 1) if k.output_size(call, 0) > 0 else 0
        )

    return parts(run=run, units=units, scratch=scratch)
