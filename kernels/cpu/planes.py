"""A padded channel split by the strides into phases, over which windows slide as over one line."""

from strides import every_other
from windows import window

from _lang import inline, namespace

BLOCK = 4  # vectors of results held at once


def planes(k, weight, t="T"):
    """Functions over phases (row % stride, column % stride) of an image or line of float32: each
    element of the window is a constant distance away for all outputs, which then are one line with
    gaps, as long as the rows of a phase.

    `geometry(call)`, `phases(call)`, `pad_channel(call, x, to, phase_rows, phase_columns)`.
    """
    v, lanes = k.vector(t), k.lanes(t)
    get, put = k.load(t), k.store(t)
    pick = every_other(k)
    w = window(k, weight)

    @inline
    def geometry(call):
        """Strides, dilations, pads, extents of input, window and output: rows, then columns."""
        last = k.input_rank(call, 0) - 1
        two = last == 3
        step_y, spread_y, pad_y, height, taps_y, rows = 1, 1, 0, 1, 1, 1
        if two:
            step_y, spread_y, pad_y = w.stride(call, 0), w.dilation(call, 0), w.before(call, 0)
            height, taps_y = k.input_dim(call, 0, 2), w.extent(call, 0)
            rows = k.output_dim(call, 0, 2)
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

    return namespace("planes", geometry=geometry, phases=phases, pad_channel=pad_channel)
