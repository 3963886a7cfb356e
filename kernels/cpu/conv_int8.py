"""ConvInteger and QLinearConv for any number of spatial axes, as products of 8-bit matrices."""

from __future__ import annotations

from matmul_int8 import ISAS
from numba import float32, int32, int64
from panels_int8 import UNSIGNED, panels_int8
from windows import WINDOW, window

from _lang import inline, kernel, namespace, parts

ATTRIBUTES = (*WINDOW, "group")
GROUP = len(WINDOW)
TILE_BYTES = 256 << 10  # of panels: what stays in the second-level cache
MOST_PANELS = 8
ROWS = 96  # output channels whose products are made at once
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
            for c in range(count):
                shift = int32(c * bits)
                around = around | ((int32(zero) & mask) << shift)
                at = (image * depth + word * group + c) * rows + source
                x = k.offset(k.input(call, 0), at * width + first - left)
                if not four and is_unsigned:
                    add_wide_row(line, sums, first, x, end - first, shift)
                else:
                    add_row(
                        line, sums, first, x, end - first, shift, int32(0 if is_unsigned else 128)
                    )
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


def product(k, weight, x_point, w_point, finish):
    """The parts of a kernel. `finish(call, sums, image, first, rows, start, count)` takes the sums
    of a block of channels, rows of `count` pixels.
    """
    e = geometry(k, weight)
    g = e.panels_int8
    width, multiply, spare = g.width, g.multiply, g.spare
    put, load = k.store("int32"), k.load("int32")
    x_zero, w_zero = zero_points(k, x_point, weight, w_point)
    pack_line, pack_weight = packing(k, e, weight, x_zero)
    gather = gathering(k, e)

    @inline
    def lines_of(call):
        return e.images(call) * e.lines(call)

    @inline
    def packed_bytes(call):
        """Rows of weights, then their sums; tiles read rows behind the last."""
        rows = k.input_dim(call, weight, 0)
        return ((rows + 32) * e.pitch(call) + rows) * 4

    @inline
    def weights(call):
        memory = k.offset(k.workspace(call), e.weights_at(call) * 4)
        return k.packed(call, weight) if k.has_packed(call, weight) else memory

    @inline
    def block(call, channel, rows, count, panels, right, left, sums, scratch):
        """Products of `rows` channels with all panels of a tile."""
        length = e.pitch(call)
        a = k.offset(weights(call), channel * length * 4)
        totals = k.input_dim(call, weight, 0) * length
        for r in range(rows):
            put(left, 2 * r, int32(w_zero(call, channel + r)))
            put(left, 2 * r + 1, load(weights(call), totals + channel + r))
        for p in range(0, count, width):
            b, facts = k.offset(panels, p * length * 4), k.offset(right, p * 8)
            c, filled = k.offset(sums, p * 4), e.taps(call) * e.words(call)
            multiply(filled, length, a, b, c, rows, count, count - p, left, facts, scratch)

    @inline
    def gather_tile(call, image, start, count, panels, right):
        depth, zero = e.depth(call) * e.taps(call), int32(x_zero(call, 0))
        for p in range(0, count, width):
            n, facts = min(count - p, width), k.offset(right, p * 8)
            to = k.offset(panels, p * e.pitch(call) * 4)
            gather(call, image, start + p, n, k.workspace(call), to, facts)
            for i in range(width):
                put(facts, i, load(facts, i) - int32(depth) * zero)
                put(facts, width + i, zero)

    @inline
    def multiply_units(call, begin, end, scratch):
        tile, channels = e.panels(call) * width, e.channels(call)
        part = (channels + e.blocks(call) - 1) // e.blocks(call)
        left = k.offset(scratch, spare)
        right = k.offset(left, ROWS * 8)
        panels = k.offset(right, tile * 8)
        sums = k.offset(panels, tile * e.pitch(call) * 4)
        gathered = int64(-1)
        for unit in range(begin, end):
            place, first = unit // e.blocks(call), unit % e.blocks(call) * part
            image, start = place // e.tiles(call), place % e.tiles(call) * tile
            count = min(e.pixels(call) - start, tile)
            if place != gathered:
                gather_tile(call, image, start, count, panels, right)
                gathered = place
            for c in range(first, min(first + part, channels), ROWS):
                rows = min(min(first + part, channels) - c, ROWS)
                channel = image % k.attr_int(call, GROUP) * channels + c
                block(call, channel, rows, count, panels, right, left, sums, scratch)
                finish(call, sums, image * channels + c, channel, rows, start, count)

    def run(call, phase, begin, end, scratch):
        if phase == 0:
            for unit in range(begin, end):
                if unit < lines_of(call):
                    pack_line(call, unit, k.workspace(call))
                else:
                    pack_weight(call, unit - lines_of(call), weights(call))
        else:
            g.begin(scratch)
            multiply_units(call, begin, end, scratch)
            g.end()
        return k.OK

    def units(call, phase):
        n = int64(0)
        if k.output_size(call, 0) > 0:
            if phase == 1:
                n = e.images(call) * e.tiles(call) * e.blocks(call)
            else:
                n = lines_of(call)
                n += 0 if k.has_packed(call, weight) else k.input_dim(call, weight, 0)
        return n

    def workspace(call):
        n = int64(0)
        if k.output_size(call, 0) > 0:
            n = e.weights_at(call) * 4
            n += 0 if k.has_packed(call, weight) else packed_bytes(call)
        return n

    def scratch(call):
        tile = e.panels(call) * width
        return spare + ROWS * 8 + tile * (8 + e.pitch(call) * 4 + ROWS * 4) + 64

    def work(call):
        return k.output_size(call, 0) * e.depth(call) * e.taps(call) // 100

    def pack_size(call, i):
        return packed_bytes(call) if i == weight else 0

    def pack(call, i, packed):
        for channel in range(k.input_dim(call, weight, 0)):
            pack_weight(call, channel, packed)
        return k.OK

    return parts(
        run=run,
        units=units,
        phases=2,
        workspace=workspace,
        scratch=scratch,
        work=work,
        pack_size=pack_size,
        pack=pack,
    )


def pixels_of(k):
    """The inline function (call): pixels of one output channel."""

    @inline
    def pixels(call):
        return k.output_size(call, 0) // (k.output_dim(call, 0, 0) * k.output_dim(call, 0, 1))

    return pixels


@kernel("ConvInteger", types={"T1": "b8", "T2": "b8"}, attributes=ATTRIBUTES, isa=ISAS)
def conv_integer(k):
    pixels = pixels_of(k)

    @inline
    def finish(call, sums, plane, channel, rows, start, count):
        for r in range(rows):
            to = ((plane + r) * pixels(call) + start) * 4
            k.copy(k.output(call, 0), to, sums, r * count * 4, count * 4)

    return product(k, 1, 2, 3, finish)


@kernel("QLinearConv", types={"T1": "b8", "T2": "b8", "T3": "b8"}, attributes=ATTRIBUTES, isa=ISAS)
def q_linear_conv(k):
    pixels, number, load = pixels_of(k), k.load("float"), k.load("int32")
    get, put, byte = k.load("uint8"), k.store("uint8"), k.cast("uint8")

    @k.outline("int64(pointer, int64, pointer, int64, int32, float, float, float, int32)")
    def round_row(to, at, sums, n, bias, scale, low, high, zero):
        for i in range(n):
            q = k.math.rint(float32(load(sums, i) + bias) * scale)
            q = min(max(q, low), high)
            put(to, at + i, byte(int32(q) + zero))
        return 0

    @inline
    def finish(call, sums, plane, channel, rows, start, count):
        is_unsigned = k.output_dtype(call, 0) == UNSIGNED
        zero = int32(get(k.input(call, 7), 0))
        zero -= int32(256 if zero > 127 and not is_unsigned else 0)
        low = float32(int32(0 if is_unsigned else -128) - zero)
        high = float32(int32(255 if is_unsigned else 127) - zero)
        for r in range(rows):
            bias = int32(0)
            if k.has_input(call, 8):
                bias = load(k.input(call, 8), channel + r)
            w_scale = number(k.input(call, 4), channel + r if k.input_size(call, 4) > 1 else 0)
            scale = number(k.input(call, 1), 0) * w_scale / number(k.input(call, 6), 0)
            to = (plane + r) * pixels(call) + start
            row = k.offset(sums, r * count * 4)
            round_row(k.output(call, 0), to, row, count, bias, scale, low, high, zero)

    return product(k, 3, 2, 5, finish)
