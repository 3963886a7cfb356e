"""Windows of images of bytes as panels of words for 8-bit products, and their weights."""

from __future__ import annotations

from byte_words import CHANNELS, weave
from numba import int32, int64
from panels_int8 import UNSIGNED, panels_int8
from windows import WINDOW, window

from _lang import inline, namespace

ATTRIBUTES = (*WINDOW, "group")
GROUP = len(WINDOW)
TILE_BYTES = 256 << 10  # of panels: what stays in the second-level cache
MOST_PANELS = 8
UNITS = 16  # that channels are shared out for


def geometry(k, weight):
    """Inline functions over a call: extents of the image that the windows touch, which has its
    padding; channels come in words of `group` numbers, as products take them.
    """
    w, g = window(k, weight), panels_int8(k)

    @inline
    def reach(call, i):
        """Extent of spatial axis i."""
        touched = (k.output_dim(call, 0, i + 2) - 1) * w.stride(call, i)
        return touched + (w.extent(call, i) - 1) * w.dilation(call, i) + 1

    @inline
    def lines(call):
        """Rows of one channel."""
        n = int64(1)
        for i in range(k.input_rank(call, 0) - 3):
            n *= reach(call, i)
        return n

    @inline
    def line(call):
        return reach(call, k.input_rank(call, 0) - 3)

    @inline
    def pixels(call):
        n = int64(1)
        for a in range(2, k.input_rank(call, 0)):
            n *= k.output_dim(call, 0, a)
        return n

    @inline
    def taps(call):
        """From the weights, which are all that packing sees."""
        n = int64(1)
        for a in range(2, k.input_rank(call, weight)):
            n *= k.input_dim(call, weight, a)
        return n

    @inline
    def depth(call):
        """Channels of one group."""
        return k.input_dim(call, weight, 1)

    @inline
    def words(call):
        return (depth(call) + g.group - 1) // g.group

    @inline
    def pitch(call):
        """Words of a packed row of weights."""
        return g.pitch(taps(call) * words(call) * g.group)

    @inline
    def images(call):
        """Groups of all images."""
        return k.input_dim(call, 0, 0) * k.attr_int(call, GROUP)

    @inline
    def channels(call):
        """Output channels of one group."""
        return k.input_dim(call, weight, 0) // k.attr_int(call, GROUP)

    @inline
    def sums_at(call):
        """Where the sums over the channels of every pixel lie behind the words of the images."""
        return images(call) * words(call) * lines(call) * line(call)

    @inline
    def weights_at(call):
        """Where the packed weights lie behind those; loads reach beyond the end of a row."""
        return sums_at(call) + images(call) * lines(call) * line(call) + 2 * g.width

    @inline
    def panels(call):
        """Panels of one tile of pixels."""
        fit = TILE_BYTES // max(pitch(call) * g.width * 4, 1)
        need = (pixels(call) + g.width - 1) // g.width
        return max(min(min(fit, MOST_PANELS), need), 1)

    @inline
    def tiles(call):
        tile = panels(call) * g.width
        return (pixels(call) + tile - 1) // tile

    @inline
    def blocks(call):
        """Blocks of output channels per tile: several when there are few tiles to share out."""
        places = max(images(call) * tiles(call), 1)
        out = int64(1)
        if places < UNITS:
            out = min(max(channels(call) // 32, 1), UNITS // places)
        return out

    return namespace(
        "geometry",
        window=w,
        panels_int8=g,
        reach=reach,
        lines=lines,
        line=line,
        pixels=pixels,
        taps=taps,
        depth=depth,
        words=words,
        pitch=pitch,
        images=images,
        channels=channels,
        sums_at=sums_at,
        weights_at=weights_at,
        panels=panels,
        tiles=tiles,
        blocks=blocks,
    )


def zero_points(k, x_point, weight, w_point):
    """Inline functions (call, channel): the zero points of x and of the weights of a channel, as
    packing shifts the numbers.
    """
    get, shift = k.load("uint8"), panels_int8(k).shift

    @inline
    def number(call, i, operand, channel):
        zero = int64(0)
        if k.has_input(call, i):
            zero = int64(get(k.input(call, i), channel if k.input_size(call, i) > 1 else 0))
            zero -= 256 if zero > 127 and k.input_dtype(call, operand) != UNSIGNED else 0
        return zero

    @inline
    def of_x(call, channel):
        zero = number(call, x_point, 0, 0)
        return zero - shift if k.input_dtype(call, 0) == UNSIGNED else zero

    @inline
    def of_weight(call, channel):
        zero = number(call, w_point, weight, channel)
        return zero if k.input_dtype(call, weight) == UNSIGNED else zero + shift

    return of_x, of_weight


def packing(k, e, weight, x_zero):
    """`pack_line(call, unit, to)`: one row of all channels of a group of an image as words, and
    their sums; `pack_weight(call, channel, to)`: one output channel's weights and their sum.
    """
    w, group, get = e.window, e.panels_int8.group, k.load("uint8")
    put_byte, put_half = k.store("uint8"), k.store("int16")
    put, load, byte, half = k.store("int32"), k.load("int32"), k.cast("uint8"), k.cast("int16")
    four, bits = group == 4, 32 // group
    mask = int32(0xFF if four else 0xFFFF)
    lanes = k.lanes("int32")
    put_words = weave(lanes)

    @inline
    def source_line(call, line):
        """The row of x under row `line` of the padded image, or -1 in the padding."""
        at, size = int64(0), int64(1)
        for j in range(k.input_rank(call, 0) - 3):
            i = k.input_rank(call, 0) - 4 - j
            position = line % e.reach(call, i) - w.before(call, i)
            line = line // e.reach(call, i)
            if position < 0 or position >= k.input_dim(call, 0, i + 2):
                at = int64(-1)
            if at >= 0:
                at += position * size
            size *= k.input_dim(call, 0, i + 2)
        return at

    @k.outline("int64(pointer, pointer, int64, pointer, int64, int32, int32)")
    def add_row(to, sums, start, x, n, shift, flip):
        """Bytes of a channel into words from `start` on, `shift` bits up, and onto the sums."""
        for i in range(n):
            value = int32(get(x, i)) ^ flip
            value -= int32(128)  # a signed byte by now
            put(sums, start + i, load(sums, start + i) + value)
            put(to, start + i, load(to, start + i) | ((value & mask) << shift))
        return 0

    @k.outline("int64(pointer, pointer, int64, pointer, int64, int32)")
    def add_wide_row(to, sums, start, x, n, shift):
        """The same for unsigned bytes that keep their value, in halves of words."""
        for i in range(n):
            value = int32(get(x, i))
            put(sums, start + i, load(sums, start + i) + value)
            put(to, start + i, load(to, start + i) | ((value & mask) << shift))
        return 0

    @inline
    def weave_row(call, to, sums, start, at, apart, n):
        """Pixels of four channels, `apart` bytes apart, as far as loads of vectors are inside x."""
        x, most = k.input(call, 0), k.input_size(call, 0) - (CHANNELS - 1) * apart - lanes
        flip = int64(0 if k.input_dtype(call, 0) == UNSIGNED else 128)
        i = int64(0)
        while i < n and at + i <= most:
            put_words(to, sums, start + i, x, at + i, apart, flip, n - i)
            i += lanes
        return min(i, max(n, 0))

    @inline
    def pad(to, low, high, value):
        for i in range(low, high):
            put(to, i, load(to, i) + value)

    @k.outline("int64(call, int64, pointer)")
    def pack_line(call, unit, to):
        image, row = unit // e.lines(call), unit % e.lines(call)
        n, depth, last = e.line(call), e.depth(call), k.input_rank(call, 0) - 1
        width, left = k.input_dim(call, 0, last), w.before(call, last - 2)
        rows, source = int64(1), source_line(call, row)
        for a in range(2, last):
            rows *= k.input_dim(call, 0, a)
        zero, is_unsigned = x_zero(call, 0), k.input_dtype(call, 0) == UNSIGNED
        first, end = min(max(left, 0), n), min(max(left + width, 0), n)
        if source < 0:
            end = first
        sums = k.offset(to, (e.sums_at(call) + unit * n) * 4)
        k.fill(sums, 0, n * 4)
        for word in range(e.words(call)):
            place = (image * e.words(call) + word) * e.lines(call) + row
            line = k.offset(to, place * n * 4)
            k.fill(line, 0, n * 4)
            around = int32(0)
            count = min(depth - word * group, group)
            done = int64(0)
            if four and count == CHANNELS:
                at = ((image * depth + word * group) * rows + source) * width + first - left
                done = weave_row(call, line, sums, first, at, rows * width, end - first)
            for c in range(count):
                shift = int32(c * bits)
                around = around | ((int32(zero) & mask) << shift)
                at = (image * depth + word * group + c) * rows + source
                x = k.offset(k.input(call, 0), at * width + first - left + done)
                n_left = end - first - done
                if not four and is_unsigned:
                    add_wide_row(line, sums, first, x, n_left, shift)
                elif n_left > 0:
                    flip = int32(0 if is_unsigned else 128)
                    add_row(line, sums, first + done, x, n_left, shift, flip)
            pad(line, 0, first, around)
            pad(line, end, n, around)
            pad(sums, 0, first, int32(zero * count))
            pad(sums, end, n, int32(zero * count))
        return 0

    @k.outline("int64(call, int64, pointer)")
    def pack_weight(call, channel, to):
        depth, taps, length = e.depth(call), e.taps(call), e.pitch(call)
        is_unsigned = k.input_dtype(call, weight) == UNSIGNED
        flip = int32(0 if is_unsigned else 128)
        low = int32(0 if four or is_unsigned else 128)
        row, total = k.offset(to, channel * length * 4), int32(0)
        k.fill(row, 0, length * 4)
        for c in range(depth):
            for t in range(taps):
                value = int32(get(k.input(call, weight), (channel * depth + c) * taps + t))
                value = (value ^ flip) - low
                at = t * e.words(call) * group + c
                if four:
                    put_byte(row, at, byte(value))
                else:
                    put_half(row, at, half(value))
                total += value
        put(to, k.input_dim(call, weight, 0) * length + channel, total)
        return 0

    return pack_line, pack_weight


def gathering(k, e):
    """`gather(call, image, start, count, words, to, sums)`: the words under the windows of `count`
    pixels as a panel, and the sums of its columns.
    """
    w, width = e.window, e.panels_int8.width
    v, lanes = k.vector("int32"), k.lanes("int32")
    put, load = k.store("int32"), k.load("int32")

    @inline
    def padded_line(call, tap, row):
        """The row of the padded image under outer tap `tap` for output row `row`."""
        at, size = int64(0), int64(1)
        for j in range(k.input_rank(call, 0) - 3):
            i = k.input_rank(call, 0) - 4 - j
            position = row % k.output_dim(call, 0, i + 2) * w.stride(call, i)
            position += tap % w.extent(call, i) * w.dilation(call, i)
            row = row // k.output_dim(call, 0, i + 2)
            tap = tap // w.extent(call, i)
            at += position * size
            size *= e.reach(call, i)
        return at

    @inline
    def strip(to, at, x, source, n, step):
        if step == 1:
            v.store_n(to, at, v.load(x, source), min(n, lanes))
            if n > lanes:
                v.store_n(to, at + lanes, v.load(x, source + lanes), n - lanes)
        else:
            for i in range(n):
                put(to, at + i, load(x, source + i * step))

    @k.outline("int64(call, int64, int64, int64, pointer, pointer, pointer)")
    def gather(call, image, start, count, x, to, sums):
        last = k.input_rank(call, 0) - 1
        columns, taps = k.output_dim(call, 0, last), w.extent(call, last - 2)
        step, spread = w.stride(call, last - 2), w.dilation(call, last - 2)
        words, plane = e.words(call), e.lines(call) * e.line(call)
        filled = e.taps(call) * words
        k.fill(to, filled * width * 4, (e.pitch(call) - filled) * width * 4)
        k.fill(sums, 0, width * 4)
        done, row, column = int64(0), start // columns, start % columns
        while done < count:
            n = min(columns - column, count - done)
            for tap in range(w.outer_taps(call)):
                line = padded_line(call, tap, row) * e.line(call) + column * step
                for t in range(taps):
                    at = line + t * spread
                    first = (tap * taps + t) * words
                    for word in range(words):
                        source = (image * words + word) * plane + at
                        strip(to, (first + word) * width + done, x, source, n, step)
                    source = e.sums_at(call) + image * plane + at
                    for i in range(n):
                        old = load(sums, done + i)
                        put(sums, done + i, old + load(x, source + i * step))
            done += n
            row += 1
            column = int64(0)
        return 0

    return gather
