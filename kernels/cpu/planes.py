"""A padded channel split by the strides into phases, over which windows slide as over one line."""

from strides import every_other
from windows import window

from _lang import inline, namespace

BLOCK = 4  # vectors of results held at once


def planes(k, weight, t="T"):
    """Functions over phases (row % stride, column % stride) of an image or line of float32: each
    element of the window is a constant distance away for all outputs, which then are one line with
    gaps, as long as the rows of a phase. With three spatial axes a channel is several such images,
    one behind another.

    `geometry(call)` and `phases(call)` tell of one of these, `pad_channel(call, x, to, phase_rows,
    phase_columns)` makes all of a channel. `places(call, to)` writes the distances of the window's
    elements and returns their number; `images_in` and `images_out` count images, and `over(call,
    z)` has the first and the end of those of the window that lie inside for output image z, and
    the input image that the window begins with.
    """
    v, lanes = k.vector(t), k.lanes(t)
    get, put, put_place = k.load(t), k.store(t), k.store("int64")
    pick = every_other(k)
    w = window(k, weight)

    @inline
    def geometry(call):
        """Strides, dilations, pads, extents of input, window and output: rows, then columns."""
        last = k.input_rank(call, 0) - 1
        step_y, spread_y, pad_y, height, taps_y, rows = 1, 1, 0, 1, 1, 1
        if last > 2:
            a = last - 3
            step_y, spread_y, pad_y = w.stride(call, a), w.dilation(call, a), w.before(call, a)
            height, taps_y = k.input_dim(call, 0, a + 2), w.extent(call, a)
            rows = k.output_dim(call, 0, a + 2)
        step_x, spread_x = w.stride(call, last - 2), w.dilation(call, last - 2)
        pad_x, width = w.before(call, last - 2), k.input_dim(call, 0, last)
        taps_x, columns = w.extent(call, last - 2), k.output_dim(call, 0, last)
        return (
            *(step_y, spread_y, pad_y, height, taps_y, rows),
            *(step_x, spread_x, pad_x, width, taps_x, columns),
        )

    @inline
    def phase_extent(extent, pad, outputs, step, taps, spread):
        """Rows or columns of one phase of the padded channel."""
        return max(extent + pad, (outputs - 1) * step + (taps - 1) * spread + 1) // step + 1

    @k.outline("int64(call, pointer, pointer, int64, int64)")
    def pad_image(call, x, to, phase_rows, phase_columns):
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

    @inline
    def images_in(call):
        return k.input_dim(call, 0, 2) if k.input_rank(call, 0) > 4 else 1

    @inline
    def images_out(call):
        return k.output_dim(call, 0, 2) if k.input_rank(call, 0) > 4 else 1

    @inline
    def over(call, z):
        low, high, top = 0, 1, 0
        if k.input_rank(call, 0) > 4:
            top, spread = z * w.stride(call, 0) - w.before(call, 0), w.dilation(call, 0)
            low = max((spread - 1 - top) // spread, 0)
            high = min(max((images_in(call) - 1 - top) // spread + 1, 0), w.extent(call, 0))
        return low, max(high, low), top

    @k.outline("int64(call, pointer)")
    def places(call, to):
        step_y, spread_y, _, _, taps_y, _, step_x, spread_x, _, _, taps_x, _ = geometry(call)
        count, phase_rows, phase_columns, _, _, _ = phases(call)
        phase = phase_rows * phase_columns
        images, spread_z = 1, 0
        if k.input_rank(call, 0) > 4:
            images, spread_z = w.extent(call, 0), w.dilation(call, 0)
        at = 0
        for z in range(images):
            for y in range(0, taps_y * spread_y, spread_y):
                line = z * spread_z * count * phase + y % step_y * step_x * phase
                line += y // step_y * phase_columns
                for x in range(0, taps_x * spread_x, spread_x):
                    put_place(to, at, line + x % step_x * phase + x // step_x)
                    at += 1
        return at

    @inline
    def pad_channel(call, x, to, phase_rows, phase_columns):
        count, _, _, _, _, image = phases(call)
        for z in range(images_in(call)):
            place = k.offset(to, z * count * phase_rows * phase_columns * 4)
            pad_image(call, k.offset(x, z * image * 4), place, phase_rows, phase_columns)

    return namespace(
        "planes",
        geometry=geometry,
        phases=phases,
        pad_channel=pad_channel,
        places=places,
        images_in=images_in,
        images_out=images_out,
        over=over,
    )
