"""The pieces of a blocked image, in which every tap of a convolution is one shift: rows padded and
behind one another, strides cut into phases.
"""

from __future__ import annotations

from split_tiles import LANES, ROW, TILE

from _lang import inline, namespace

GROUP_OF_TWO = 2 * LANES  # channels of two blocks, which are one step along the depth


def runs(k, e):
    """`split_run` and `clear`: the pieces of a run of pixels, or zeros."""
    put, offset, pieces, v = e.put, k.offset, e.count, k.vector("float", LANES)

    @k.outline("int64(pointer, int64, pointer, pointer, int64, int64, int64, int64)")
    def split_run(to, apart, x, y, first, second, step, count):
        """`count` pixels, `step` apart, of which two blocks have `first` and `second` channels."""
        if first == LANES and second == LANES:
            for i in range(count):
                put(to, apart, v.load(x, i * step), v.load(y, i * step))
                to = offset(to, ROW)
        else:
            for i in range(count):
                low = v.load_n(x, i * step, first)
                put(to, apart, low, v.load_n(y, i * step, second))
                to = offset(to, ROW)
        return 0

    @k.outline("int64(pointer, int64, int64)")
    def clear(to, apart, count):
        for p in range(pieces):
            k.fill(to, p * apart, count * ROW)
        return 0

    return split_run, clear


def image_pieces(k, w, e):
    """Functions of a call with window `w`; `e`: see split_parts.

    Output pixel (y, x) of a band reads, under tap (r, s), pixel (y + shift(r), x + shift(s)) of the
    phase that the tap falls into. A row of a phase is `columns` pixels: no gap is left behind it
    where the zeros before the next row serve.
    """
    offset, pieces, put_place = k.offset, e.count, k.store("int64")
    split_run, clear = runs(k, e)

    @k.outline("int64(call, int64)")
    def stride(call, a):
        return w.stride(call, a)

    @k.outline("int64(call, int64)")
    def spread(call, a):
        return w.dilation(call, a)

    @k.outline("int64(call, int64)")
    def pad(call, a):
        return w.before(call, a)

    @inline
    def taps(call, a):
        return k.input_dim(call, 1, a + 2)

    @inline
    def shift(call, a, tap):
        return tap * spread(call, a) // stride(call, a)

    @inline
    def phase(call, a, tap):
        return tap * spread(call, a) % stride(call, a)

    @inline
    def phases(call, a):
        return min(stride(call, a), (taps(call, a) - 1) * spread(call, a) + 1)

    @inline
    def last_shift(call, a):
        return shift(call, a, taps(call, a) - 1)

    @k.outline("int64(call)")
    def rows_under_taps(call):
        """Rows of output, each as often as a row of taps finds an image under it."""
        deep, total = k.input_dim(call, 0, 2), 0
        for i in range(taps(call, 0)):
            at, step = pad(call, 0) - i * spread(call, 0), stride(call, 0)
            low = max((at + step - 1) // step, 0)
            high = min((deep - 1 + at) // step + 1, k.output_dim(call, 0, 2))
            total += max(high - low, 0)
        return total

    @k.outline("int64(call)")
    def columns(call):
        """Pixels of a row of a phase."""
        out, last = k.output_dim(call, 0, 3), last_shift(call, 1)
        shared = 0
        if stride(call, 1) == 1:
            behind = max(out + last - pad(call, 1) - k.input_dim(call, 0, 3), 0)
            shared = min(min(pad(call, 1), behind), last)
        return out + last - shared

    @inline
    def rows(call, height):
        """Of a phase under `height` rows of output."""
        return height + last_shift(call, 0)

    @inline
    def planes(call):
        """Phases of an image."""
        return phases(call, 0) * phases(call, 1)

    @k.outline("int64(call, int64)")
    def plane(call, height):
        """Bytes from one piece of a step to the next."""
        pixels = (
            rows(call, height) * columns(call) + last_shift(call, 1) + TILE
        )  # a tile reads behind the last
        return planes(call) * pixels * ROW + ROW

    @inline
    def channel_steps(call):
        return (k.input_dim(call, 1, 1) + GROUP_OF_TWO - 1) // GROUP_OF_TWO

    @inline
    def step_bytes(call, height):
        return pieces * plane(call, height)

    @k.outline("int64(call, int64, pointer)")
    def find_places(call, height, to):
        """For each step of the depth, channels outermost, where pixel 0 of the band begins."""
        apart, across = plane(call, height), columns(call)
        pixels = (apart - ROW) // (planes(call) * ROW)
        at = 0
        for s in range(channel_steps(call)):
            for i in range(taps(call, 0)):
                for j in range(taps(call, 1)):
                    which = phase(call, 0, i) * phases(call, 1) + phase(call, 1, j)
                    pixel = which * pixels + shift(call, 0, i) * across + shift(call, 1, j)
                    put_place(to, at, s * pieces * apart + pixel * ROW)
                    at += 1
        return 0

    @k.outline("int64(call, int64, int64, int64, int64, pointer)")
    def split_step(call, image, step, row, height, to):
        """The pieces of one step under rows [row, row + height) of output: all of its phases."""
        apart, across, tall = plane(call, height), columns(call), rows(call, height)
        channels, deep, wide = (
            k.input_dim(call, 1, 1),
            k.input_dim(call, 0, 2),
            k.input_dim(call, 0, 3),
        )
        sy, sx, area = stride(call, 0), stride(call, 1), deep * wide
        first = min(channels - step * GROUP_OF_TWO, LANES)
        second = min(max(channels - step * GROUP_OF_TWO - LANES, 0), LANES)
        block = image * k.input_dim(call, 0, 1) + 2 * step
        x = offset(k.input(call, 0), block * area * LANES * 4)
        y = offset(x, area * LANES * 4 if second > 0 else 0)
        pixels = (apart - ROW) // (planes(call) * ROW)
        for which in range(planes(call)):
            py, px = which // phases(call, 1), which % phases(call, 1)
            begin = offset(to, which * pixels * ROW)
            low = min((max(pad(call, 1) - px, 0) + sx - 1) // sx, across)
            high = min((wide - 1 + pad(call, 1) - px) // sx + 1, across)
            high = max(high, low)
            for r in range(tall):
                line = (row + r) * sy + py - pad(call, 0)
                place = offset(begin, r * across * ROW)
                if line < 0 or line >= deep:
                    clear(place, apart, across)
                else:
                    clear(place, apart, low)
                    at = (line * wide + low * sx + px - pad(call, 1)) * LANES * 4
                    target = offset(place, low * ROW)
                    n = high - low
                    split_run(
                        target,
                        apart,
                        offset(x, at),
                        offset(y, at),
                        first,
                        second,
                        sx * LANES,
                        n,
                    )
                    clear(offset(place, high * ROW), apart, across - high)
            clear(offset(begin, tall * across * ROW), apart, last_shift(call, 1) + TILE)
        return 0

    return namespace(
        *("image_pieces",),
        columns=columns,
        rows_under_taps=rows_under_taps,
        rows=rows,
        planes=planes,
        plane=plane,
        channel_steps=channel_steps,
        step_bytes=step_bytes,
        find_places=find_places,
        split_step=split_step,
        stride=stride,
        spread=spread,
        pad=pad,
        taps=taps,
    )
