"""QLinearConv of images whose channels stand alone, a vector of channels at a time: planes of bytes
become blocks of floats, which hold sums of products of bytes exactly, and blocks become planes.
"""

from __future__ import annotations

from block import transpose
from conv_depthwise_rows import depthwise_rows
from conv_int8_depthwise import LARGE, MOST_TAPS, widened
from numba import float32, int32, int64
from panels_int8 import UNSIGNED
from windows import WINDOW, window

from _lang import inline, kernel, parts

ATTRIBUTES = (*WINDOW, "group")
GROUP = len(WINDOW)
BAND = 1 << 12  # elements of a plane that become a block at once: what stays in the L2 cache
REASONS = (
    "it has two spatial axes only",
    "groups that are not one channel and one output",
    "cut edges, or a large window",
    "planes that are smaller than a vector",
)


@kernel(
    "QLinearConv",
    types={"T1": "b8", "T2": "b8", "T3": "b8"},
    attributes=ATTRIBUTES,
    variant="depthwise blocks",
    isa="amx vnni v4 v3 neon",
    order=-2,
    reasons=REASONS,
)
def q_linear_conv(k):
    """A unit is a band of rows of a vector of channels of one image. Scratch memory: two squares of
    vectors; a vector each of zeros, of where sums start and of factors; weights, twice; the block
    of rows under the band, that of sums. Weights are packed [blocks][taps][channels of the block].
    """
    v, lanes = k.vector("float"), k.lanes("float")
    get, put, put_byte, byte = k.load("uint8"), k.store("float"), k.store("uint8"), k.cast("uint8")
    real, load, offset, rint = k.load("float"), k.load("int32"), k.offset, k.math.rint
    w, sweep, turn = window(k, 3), depthwise_rows(k, 3), transpose(k)
    unsigned, signed = widened("uint8", lanes), widened("int8", lanes)
    square, line = lanes * lanes * 4, lanes * 4

    @inline
    def number(call, i, at, operand):
        """A byte of input i, of the type of input `operand`; 0 without the input."""
        value = int64(0)
        if k.has_input(call, i):
            value = int64(get(k.input(call, i), at if k.input_size(call, i) > 1 else 0))
            if value > 127 and k.input_dtype(call, operand) != UNSIGNED:
                value -= 256
        return value

    @inline
    def taps_of(call):
        return k.input_dim(call, 3, 2) * k.input_dim(call, 3, 3)

    @inline
    def area_of(call):
        return k.input_dim(call, 0, 2) * k.input_dim(call, 0, 3)

    @inline
    def out_area(call):
        return k.output_dim(call, 0, 2) * k.output_dim(call, 0, 3)

    @inline
    def blocks_of(call):
        return (k.output_dim(call, 0, 1) + lanes - 1) // lanes

    @k.outline("int64(call, int64, pointer)")
    def pack_block(call, block, to):
        channels, taps = k.input_dim(call, 3, 0), taps_of(call)
        for t in range(taps):
            for j in range(lanes):
                c = min(block * lanes + j, channels - 1)
                put(to, t * lanes + j, float32(number(call, 3, c * taps + t, 3)))
        return 0

    @k.outline("int64(call, int64, pointer, pointer)")
    def less_zeros(call, block, weights, memory):
        """The weights of a block without their zero points, at `memory` after those."""
        channels = k.output_dim(call, 0, 1)
        for j in range(lanes):
            put(memory, j, float32(number(call, 5, min(block * lanes + j, channels - 1), 3)))
        zero = v.load(memory, 0)
        for t in range(taps_of(call)):
            v.store(memory, (t + 1) * lanes, v.load(weights, t * lanes) - zero)
        return 0

    @inline
    def bands_of(call):
        """Bands that have pixels enough for a square, all of them."""
        rows, columns = k.output_dim(call, 0, 2), k.output_dim(call, 0, 3)
        most = max(rows // ((lanes + columns - 1) // columns), 1)
        return min((max(area_of(call), out_area(call)) + BAND - 1) // BAND, most)

    @inline
    def most_rows(call):
        """Of the output, in one band."""
        return (k.output_dim(call, 0, 2) + bands_of(call) - 1) // bands_of(call)

    @inline
    def reach_of(call, rows):
        """Rows of input under so many rows of output."""
        window_rows = (k.input_dim(call, 3, 2) - 1) * w.dilation(call, 0) + 1
        return (rows - 1) * w.stride(call, 0) + window_rows

    @k.outline("int64(call, int64, int64, int64, int64, pointer, pointer)")
    def gather(call, image, block, first, end, to, squares):
        """Pixels of a block without their zero point, as [pixels, c]. The last square of pixels
        lies as far to the right as they go."""
        area, channels = area_of(call), k.output_dim(call, 0, 1)
        is_unsigned = k.input_dtype(call, 0) == UNSIGNED
        zero, x = v.set(float32(number(call, 2, 0, 0))), k.input(call, 0)
        for start in range(first, end, lanes):
            p = min(start, end - lanes)
            for j in range(lanes):
                c = min(block * lanes + j, channels - 1)
                at = (image * channels + c) * area + p
                z = unsigned(x, at) if is_unsigned else signed(x, at)
                v.store(squares, j * lanes, z - zero)
            turn(squares, lanes, offset(to, (p - first) * line), lanes)
        return 0

    @k.outline("int64(call, int64, int64, int64, int64, pointer, pointer, pointer)")
    def deliver(call, image, block, first, end, sums, factors, squares):
        """Sums [pixels, c] as bytes of the planes of a block."""
        area, channels = out_area(call), k.output_dim(call, 0, 1)
        is_unsigned = k.output_dtype(call, 0) == UNSIGNED
        zero = int64(get(k.input(call, 7), 0))
        zero -= 256 if zero > 127 and not is_unsigned else 0
        least = v.set(float32((0 if is_unsigned else -128) - zero))
        most = v.set(float32((255 if is_unsigned else 127) - zero))
        factor, point = v.load(factors, 0), v.set(float32(zero))
        turned = offset(squares, square)
        for start in range(first, end, lanes):
            p = min(start, end - lanes)
            for j in range(lanes):
                q = v.rint(v.load(sums, (p - first + j) * lanes) * factor)
                v.store(squares, j * lanes, v.min(v.max(q, least), most) + point)
            turn(squares, lanes, turned, lanes)
            for j in range(min(channels - block * lanes, lanes)):
                at = (image * channels + block * lanes + j) * area + p
                v.store_bytes(k.output(call, 0), at, v.load(turned, j * lanes))
        return 0

    @k.outline("int64(call, int64, int64, int64, int64, int64, pointer, pointer)")
    def add_large(call, image, channel, lane, first, end, sums, factors):
        """The bytes of a channel whose bias is no float: added as whole numbers."""
        area, channels = out_area(call), k.output_dim(call, 0, 1)
        is_unsigned = k.output_dtype(call, 0) == UNSIGNED
        zero = int64(get(k.input(call, 7), 0))
        zero -= 256 if zero > 127 and not is_unsigned else 0
        low, high = (0 if is_unsigned else -128) - zero, (255 if is_unsigned else 127) - zero
        bias, scale = load(k.input(call, 8), channel), real(factors, lane)
        at = (image * channels + channel) * area
        for p in range(first, end):
            total = float32(int32(real(sums, (p - first) * lanes + lane)) + bias)
            q = min(max(rint(total * scale), float32(low)), float32(high))
            put_byte(k.output(call, 0), at + p, byte(int64(q) + zero))
        return 0

    @inline
    def is_large(call, channel):
        bias = int64(0)
        if k.has_input(call, 8):
            bias = int64(load(k.input(call, 8), channel))
        return bias <= -LARGE or bias >= LARGE

    @k.outline("int64(call, int64, pointer, pointer)")
    def prepare(call, block, start, factors):
        """Where the sums of a block start, and what they are multiplied by."""
        channels = k.output_dim(call, 0, 1)
        x_scale, y_scale = real(k.input(call, 1), 0), real(k.input(call, 6), 0)
        for j in range(lanes):
            c, bias = min(block * lanes + j, channels - 1), float32(0)
            if k.has_input(call, 8) and not is_large(call, c):
                bias = float32(load(k.input(call, 8), c))
            w_scale = real(k.input(call, 4), c if k.input_size(call, 4) > 1 else 0)
            put(start, j, bias)
            put(factors, j, x_scale * w_scale / y_scale)
        return 0

    @k.outline("int64(call, int64, int64, int64, pointer, pointer, pointer)")
    def convolve(call, image, block, band, own, memory, x):
        """A band of rows of a block whose weights are `own`."""
        rows, bands, area = k.output_dim(call, 0, 2), bands_of(call), area_of(call)
        width, columns = k.input_dim(call, 0, 3), k.output_dim(call, 0, 3)
        row, stop = band * rows // bands, (band + 1) * rows // bands
        zeros = offset(memory, 2 * square)
        start, factors = offset(zeros, line), offset(zeros, 2 * line)
        weights = offset(zeros, 3 * line)
        prepare(call, block, start, factors)
        less_zeros(call, block, own, weights)
        top = row * w.stride(call, 0) - w.before(call, 0)
        end = min(max((top + reach_of(call, stop - row)) * width, lanes), area)
        first = max(min(max(top, 0) * width, end - lanes), 0)
        gather(call, image, block, first, end, x, memory)
        sums = offset(x, (reach_of(call, most_rows(call)) * width + lanes) * line)
        plane, out = offset(x, -first * line), offset(sums, -row * columns * line)
        for r in range(row, stop):
            sweep(call, r, plane, offset(weights, line), out, start, zeros)
        low, high = row * columns, stop * columns
        deliver(call, image, block, low, high, sums, factors, memory)
        for j in range(min(k.output_dim(call, 0, 1) - block * lanes, lanes)):
            if is_large(call, block * lanes + j):
                add_large(call, image, block * lanes + j, j, low, high, sums, factors)
        return 0

    def run(call, phase, begin, end, scratch):
        taps, blocks, bands = taps_of(call), blocks_of(call), bands_of(call)
        zeros = offset(scratch, 2 * square)
        raw = offset(zeros, (taps + 4) * line)
        k.fill(zeros, 0, line)
        for unit in range(begin, end):
            place, own = unit // bands, raw
            if k.has_packed(call, 3):
                own = offset(k.packed(call, 3), place % blocks * taps * line)
            else:
                pack_block(call, place % blocks, raw)
            x = offset(raw, taps * line)
            convolve(call, place // blocks, place % blocks, unit % bands, own, scratch, x)
        return k.OK

    def units(call, phase):
        n = k.output_dim(call, 0, 0) * blocks_of(call)
        return n * bands_of(call) if k.output_size(call, 0) > 0 else 0

    def scratch(call):
        rows = most_rows(call)
        planes = reach_of(call, rows) * k.input_dim(call, 0, 3) + lanes
        planes += rows * k.output_dim(call, 0, 3)
        return 2 * square + (planes + 2 * taps_of(call) + 4) * line

    def work(call):
        return k.output_size(call, 0) * (taps_of(call) + 20) // (3 * lanes) + 100

    def supports(call):
        why = 0
        if k.input_rank(call, 0) != 4:
            why = 1
        elif k.input_dim(call, 3, 1) != 1 or k.input_dim(call, 3, 0) != k.attr_int(call, GROUP):
            why = 2
        else:
            for i in range(2):
                if w.before(call, i) < 0 or w.after(call, i) < 0 or taps_of(call) > MOST_TAPS:
                    why = 3
            if min(area_of(call), out_area(call)) < lanes:
                why = 4 if why == 0 else why
        return why

    def pack_size(call, index):
        return blocks_of(call) * taps_of(call) * line if index == 3 else 0

    def pack(call, index, to):
        for block in range(blocks_of(call)):
            pack_block(call, block, offset(to, block * taps_of(call) * line))
        return k.OK

    return parts(
        run=run,
        units=units,
        scratch=scratch,
        work=work,
        supports=supports,
        pack_size=pack_size,
        pack=pack,
    )
