"""Col2Im: blocks that add into the images they were cut from."""

from numba import int64

from _lang import FLOATS, inline, kernel, parts


@kernel("Col2Im", types={"T": FLOATS + " int32 int64"}, attributes=("strides", "dilations", "pads"))
def col2im(k):
    """A unit is one image of one channel, to which every block adds its elements."""
    get, put, cast = k.load("T"), k.store("T"), k.cast("T")
    number = k.load("int64")
    width = k.dtype("T").bits // 8

    @inline
    def listed(call, attribute, i, default):
        return k.attr_ints(call, attribute, i) if k.attr_n(call, attribute) > 0 else default

    @inline
    def pixel(call, tap, block):
        """The flat pixel under element `tap` of block `block`, or -1 in the padding."""
        spatial = k.output_rank(call, 0) - 2
        at, size = int64(0), int64(1)
        for j in range(spatial):
            i = spatial - 1 - j
            image, extent = k.output_dim(call, 0, i + 2), number(k.input(call, 2), i)
            step, spread = listed(call, 0, i, 1), listed(call, 1, i, 1)
            pad, end_pad = listed(call, 2, i, 0), listed(call, 2, i + spatial, 0)
            blocks = max((image + pad + end_pad - (extent - 1) * spread - 1) // step + 1, 1)
            position = block % blocks * step + tap % extent * spread - pad
            block = block // blocks
            tap = tap // extent
            if position < 0 or position >= image:
                at = int64(-1)
            if at >= 0:
                at += position * size
            size *= image
        return at

    def run(call, phase, begin, end, scratch):
        x, y = k.input(call, 0), k.output(call, 0)
        spatial = k.output_rank(call, 0) - 2
        image, taps = int64(1), int64(1)
        for i in range(spatial):
            image *= k.output_dim(call, 0, i + 2)
            taps *= number(k.input(call, 2), i)
        blocks = k.input_dim(call, 0, 2)
        for unit in range(begin, end):
            k.fill(y, unit * image * width, image * width)
            for tap in range(taps):
                for block in range(blocks):
                    at = pixel(call, tap, block)
                    if at >= 0:
                        to = unit * image + at
                        put(y, to, cast(get(y, to) + get(x, (unit * taps + tap) * blocks + block)))
        return k.OK

    def units(call, phase):
        return (
            k.output_dim(call, 0, 0) * k.output_dim(call, 0, 1) if k.output_size(call, 0) > 0 else 0
        )

    return parts(run=run, units=units)
