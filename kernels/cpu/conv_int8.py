"""ConvInteger and QLinearConv for any number of spatial axes, as products of 8-bit matrices."""

from __future__ import annotations

from byte_words import sums_as_floats
from matmul_int8 import ISAS
from numba import float32, int32, int64
from panels_int8 import UNSIGNED
from windows_int8 import ATTRIBUTES, GROUP, gathering, geometry, packing, zero_points

from _lang import inline, kernel, parts

ROWS = 96  # output channels whose products are made at once
BAND = 256  # words of one channel that are packed together, at least


def product(k, weight, x_point, w_point, finish):
    """The parts of a kernel: rows and weights are packed, tiles that several units take gathered,
    and multiplied. `finish(call, sums, image, first, rows, start, count)` takes the sums
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
    def rows_at_once(call):
        return max(BAND // max(e.line(call), 1), 1)

    @inline
    def bands_of(call):
        """Units of neighbouring rows: threads write to cache lines of their own, nearly always."""
        at_once = rows_at_once(call)
        return (lines_of(call) + at_once - 1) // at_once

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
    def tile_bytes(call):
        """Of the panels of a tile, and of what zero points need of their columns."""
        return e.panels(call) * width * (e.pitch(call) * 4 + 8)

    @inline
    def shared_tile(call, place):
        """Where a tile lies that several units multiply; the facts of its columns come first."""
        at = e.weights_at(call) * 4 + (0 if k.has_packed(call, weight) else packed_bytes(call))
        return k.offset(k.workspace(call), (at + 63) // 64 * 64 + place * tile_bytes(call))

    @inline
    def gather_place(call, place, right):
        tile = e.panels(call) * width
        image, start = place // e.tiles(call), place % e.tiles(call) * tile
        count = min(e.pixels(call) - start, tile)
        gather_tile(call, image, start, count, k.offset(right, tile * 8), right)

    @inline
    def multiply_units(call, begin, end, scratch):
        tile, channels = e.panels(call) * width, e.channels(call)
        part = (channels + e.blocks(call) - 1) // e.blocks(call)
        left = k.offset(scratch, spare)
        own = k.offset(left, ROWS * 8)
        sums = k.offset(own, tile_bytes(call))
        for unit in range(begin, end):
            place, first = unit // e.blocks(call), unit % e.blocks(call) * part
            image, start = place // e.tiles(call), place % e.tiles(call) * tile
            count, right = min(e.pixels(call) - start, tile), own
            if e.blocks(call) > 1:
                right = shared_tile(call, place)
            else:
                gather_place(call, place, right)
            panels = k.offset(right, tile * 8)
            for c in range(first, min(first + part, channels), ROWS):
                rows = min(min(first + part, channels) - c, ROWS)
                channel = image % k.attr_int(call, GROUP) * channels + c
                block(call, channel, rows, count, panels, right, left, sums, scratch)
                finish(call, sums, image * channels + c, channel, rows, start, count)

    def run(call, phase, begin, end, scratch):
        if phase == 0:
            for unit in range(begin, end):
                if unit < bands_of(call):
                    first = unit * rows_at_once(call)
                    for line in range(first, min(first + rows_at_once(call), lines_of(call))):
                        pack_line(call, line, k.workspace(call))
                else:
                    pack_weight(call, unit - bands_of(call), weights(call))
        elif phase == 1:
            for unit in range(begin, end):
                gather_place(call, unit, shared_tile(call, unit))
        else:
            g.begin(scratch)
            multiply_units(call, begin, end, scratch)
            g.end()
        return k.OK

    def units(call, phase):
        n = int64(0)
        if k.output_size(call, 0) > 0:
            if phase == 1:
                n = e.images(call) * e.tiles(call) if e.blocks(call) > 1 else 0
            elif phase == 2:
                n = e.images(call) * e.tiles(call) * e.blocks(call)
            else:
                n = bands_of(call)
                n += 0 if k.has_packed(call, weight) else k.input_dim(call, weight, 0)
        return n

    def workspace(call):
        n = int64(0)
        if k.output_size(call, 0) > 0:
            n = e.weights_at(call) * 4
            n += 0 if k.has_packed(call, weight) else packed_bytes(call)
            if e.blocks(call) > 1:
                n += 64 + e.images(call) * e.tiles(call) * tile_bytes(call)
        return n

    def scratch(call):
        sums = e.panels(call) * width * ROWS * 4
        return spare + ROWS * 8 + tile_bytes(call) + sums + 64

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
        phases=3,
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
    v, lanes = k.vector("float"), k.lanes("float")
    sums_of = sums_as_floats(lanes)

    @k.outline("int64(pointer, int64, pointer, int64, int32, float, float, float, int32)")
    def round_row(to, at, sums, n, bias, scale, low, high, zero):
        factor, least, most = v.set(scale), v.set(low), v.set(high)
        point, whole = v.set(float32(zero)), n // lanes * lanes
        for i in range(0, whole, lanes):
            q = v.rint(sums_of(sums, i, bias) * factor)
            v.store_bytes(to, at + i, v.min(v.max(q, least), most) + point)
        for i in range(whole, n):
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
