"""QLinearConv of images and lines whose channels stand alone, over padded copies as floats: sums of
products of bytes are whole numbers that float32 holds exactly.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from numba import float32, int32, int64, types
from panels_int8 import UNSIGNED
from planes import BLOCK, planes
from strides import every_other
from windows import WINDOW, window

from _lang import inline, kernel, parts
from _lang.abi import PTR
from _lang.dtypes import DTYPES
from _lang.emit import intrinsic_of
from _lang.lanes import Lanes
from _lang.simd import Vec, load_vector

ATTRIBUTES = (*WINDOW, "group")
GROUP = len(WINDOW)
MOST_TAPS = 128  # whose products of 16 bits add up to less than 2^23
LOW = (1 << 32) - 1
LARGE = 1 << 23  # from which on a bias is added to whole numbers
REASONS = (
    "it has one or two spatial axes only",
    "groups of more than one channel",
    "cut edges, or a large window",
)


@cache
def widened(dtype: str, lanes: int) -> Any:
    """`load(pointer, i)`: a vector of bytes as floats."""

    def lower(ctx: Any, b: Any, _: Any, args: Any) -> Any:
        value = load_vector(b, args[0], args[1], DTYPES[dtype], lanes)
        return Lanes(b, value, dtype, lanes).to("float").value

    return intrinsic_of(Vec("float", lanes)(PTR, types.int64), lower)


@kernel(
    "QLinearConv",
    types={"T1": "b8", "T2": "b8", "T3": "b8"},
    attributes=ATTRIBUTES,
    variant="depthwise",
    isa="amx vnni v4 v3 neon",
    order=-1,
    reasons=REASONS,
)
def q_linear_conv(k):
    """A unit is one output channel of one image. Scratch memory: the channel as floats, where steps
    split it; without its zero point, padded and in phases (planes.py); the line of sums; where the
    taps lie; the weights of the channel; bytes of the output.
    """
    v, lanes = k.vector("float"), k.lanes("float")
    get, put, put_byte, byte = k.load("uint8"), k.store("float"), k.store("uint8"), k.cast("uint8")
    real, number, load = k.load("float"), k.load("float"), k.load("int32")
    w, offset, rint = window(k, 3), k.offset, k.math.rint
    unsigned, signed = widened("uint8", lanes), widened("int8", lanes)
    image_planes, pick = planes(k, 3, "float"), every_other(k)
    geometry, phases = image_planes.geometry, image_planes.phases
    ld64 = k.load("int64")

    @inline
    def as_number(call, i, at, operand):
        """A byte of input i, of the type of input `operand`."""
        value = int64(get(k.input(call, i), at))
        return value - (256 if value > 127 and k.input_dtype(call, operand) != UNSIGNED else 0)

    @inline
    def zero_of(call, i, channel, operand):
        zero = int64(0)
        if k.has_input(call, i):
            zero = as_number(call, i, channel if k.input_size(call, i) > 1 else 0, operand)
        return zero

    @k.outline("int64(call, int64, int64, float, pointer)")
    def widen(call, start, count, zero, to):
        """Bytes of x without the zero point as floats."""
        x, is_unsigned = k.input(call, 0), k.input_dtype(call, 0) == UNSIGNED
        less, size = v.set(zero), k.input_size(call, 0)
        i = 0
        while i < count:
            if start + i + lanes <= size:
                z = unsigned(x, start + i) if is_unsigned else signed(x, start + i)
                v.store_n(to, i, z - less, count - i)
            else:
                for j in range(i, min(i + lanes, count)):
                    put(to, j, float32(as_number(call, 0, start + j, 0)) - zero)
            i += lanes
        return 0

    @inline
    def spread_row(row, width, pad, step, phase, to):
        """Columns of a row into as many phases as the step has."""
        if step == 2:
            odd = pad & 1
            for i in range(odd, width, 2 * lanes):
                v.store_n(to, (i + pad) >> 1, pick(row, i), (width - i + 1) >> 1)
            to = offset(to, phase * 4)
            for i in range(1 - odd, width, 2 * lanes):
                v.store_n(to, (i + pad) >> 1, pick(row, i), (width - i + 1) >> 1)
        else:
            for i in range(width):
                put(to, (i + pad) % step * phase + (i + pad) // step, real(row, i))

    @k.outline("int64(call, int64, float, int64, int64, int64, int64, pointer, pointer)")
    def fill(call, start, zero, pads, steps, phase, columns, to, plain):
        """The channel at element `start` in phases of `columns` columns, whose first elements are
        `phase` apart; `pads` and `steps` hold two numbers of 32 bits. `plain`: memory for it.
        """
        pad_y, pad_x, step_y, step_x = pads >> 32, pads & LOW, steps >> 32, steps & LOW
        last = k.input_rank(call, 0) - 1
        width = k.input_dim(call, 0, last)
        height = k.input_dim(call, 0, 2) if last == 3 else 1
        part, line = pad_y % step_y, pad_y // step_y * columns
        if step_x > 1:
            widen(call, start, height * width, zero, plain)
        for y in range(height):
            place = offset(to, (part * step_x * phase + line) * 4)
            if step_x == 1:
                widen(call, start + y * width, width, zero, offset(place, pad_x * 4))
            else:
                spread_row(offset(plain, y * width * 4), width, pad_x, step_x, phase, place)
            part += 1
            if part == step_y:
                part, line = 0, line + columns
        return 0

    @k.outline("int64(pointer, pointer, pointer, int64, int64, pointer)")
    def slide(planes, weights, places, taps, length, to):
        """The line of sums of one channel."""
        for start in range(0, length, BLOCK * lanes):
            a, b, c, d = v.zero(), v.zero(), v.zero(), v.zero()
            for t in range(taps):
                at, f = start + ld64(places, t), v.set(real(weights, t))
                a = v.fma(f, v.load(planes, at), a)
                b = v.fma(f, v.load(planes, at + lanes), b)
                c = v.fma(f, v.load(planes, at + 2 * lanes), c)
                d = v.fma(f, v.load(planes, at + 3 * lanes), d)
            v.store(to, start, a)
            v.store(to, start + lanes, b)
            v.store(to, start + 2 * lanes, c)
            v.store(to, start + 3 * lanes, d)
        return 0

    @k.outline("int64(call, int64, pointer, int64, int64, int64, pointer)")
    def deliver(call, channel, sums, rows, columns, row, to):
        """Sums, `row` apart, as bytes of the output; stores reach beyond the end."""
        is_unsigned = k.output_dtype(call, 0) == UNSIGNED
        zero = int64(get(k.input(call, 7), 0))
        zero -= 256 if zero > 127 and not is_unsigned else 0
        low = float32((0 if is_unsigned else -128) - zero)
        high = float32((255 if is_unsigned else 127) - zero)
        bias = int32(0)
        if k.has_input(call, 8):
            bias = load(k.input(call, 8), channel)
        w_scale = number(k.input(call, 4), channel if k.input_size(call, 4) > 1 else 0)
        scale = number(k.input(call, 1), 0) * w_scale / number(k.input(call, 6), 0)
        if bias > -LARGE and bias < LARGE:
            add, factor, point = v.set(float32(bias)), v.set(scale), v.set(float32(zero))
            least, most = v.set(low), v.set(high)
            for r in range(rows):
                for i in range(0, columns, lanes):
                    q = v.rint((v.load(sums, r * row + i) + add) * factor)
                    v.store_bytes(to, r * columns + i, v.min(v.max(q, least), most) + point)
        else:
            for r in range(rows):
                for i in range(columns):
                    q = rint(float32(int32(real(sums, r * row + i)) + bias) * scale)
                    q = min(max(q, low), high)
                    put_byte(to, r * columns + i, byte(int64(q) + zero))
        return 0

    @inline
    def sizes(call):
        """Floats of: a channel where steps split it, its phases, the sums."""
        count, phase_rows, phase_columns, rows, columns, image = phases(call)
        plain = (image + 4 * lanes + 15) // 16 * 16 if count > 1 else 16
        padded = (count * phase_rows * phase_columns + (BLOCK + 1) * lanes + 15) // 16 * 16
        sums = (rows * phase_columns + columns + (BLOCK + 1) * lanes + 15) // 16 * 16
        return plain, padded, sums

    def run(call, phase, begin, end, scratch):
        step_y, _, pad_y, _, _, _, step_x, _, pad_x, _, _, _ = geometry(call)
        _, phase_rows, phase_columns, rows, columns, image = phases(call)
        plain, padded, sums = sizes(call)
        planes_at = offset(scratch, plain * 4)
        line, places = offset(planes_at, padded * 4), offset(planes_at, (padded + sums) * 4)
        weights = offset(places, MOST_TAPS * 8)
        result = offset(weights, MOST_TAPS * 4)
        k.fill(planes_at, 0, padded * 4)
        image_planes.places(call, places)
        outputs, groups = k.output_dim(call, 0, 1), k.attr_int(call, GROUP)
        taps, held = k.input_size(call, 3) // max(outputs, 1), -1
        pads, steps = (pad_y << 32) | pad_x, (step_y << 32) | step_x
        phase = phase_rows * phase_columns
        x_zero, length = float32(zero_of(call, 2, 0, 0)), (rows - 1) * phase_columns + columns
        for unit in range(begin, end):
            channel = unit % outputs
            source = unit // outputs * groups + channel // (outputs // groups)
            if source != held:
                at = source * image
                fill(call, at, x_zero, pads, steps, phase, phase_columns, planes_at, scratch)
                held = source
            zero = zero_of(call, 5, channel, 3)
            for t in range(taps):
                put(weights, t, float32(as_number(call, 3, channel * taps + t, 3) - zero))
            slide(planes_at, weights, places, taps, length, line)
            deliver(call, channel, line, rows, columns, phase_columns, result)
            k.copy(k.output(call, 0), unit * rows * columns, result, 0, rows * columns)
        return k.OK

    def units(call, phase):
        size = k.output_size(call, 0)
        return k.output_dim(call, 0, 0) * k.output_dim(call, 0, 1) if size > 0 else 0

    def scratch(call):
        _, _, _, rows, columns, _ = phases(call)
        plain, padded, sums = sizes(call)
        return (plain + padded + sums + 3 * MOST_TAPS) * 4 + rows * columns + 4 * lanes

    def work(call):
        taps = k.input_size(call, 3) // max(k.output_dim(call, 0, 1), 1)
        return k.output_size(call, 0) * (taps + 20) // (3 * lanes) + 100

    def supports(call):
        why, taps = 0, 1
        for i in range(k.input_rank(call, 3) - 2):
            taps *= k.input_dim(call, 3, i + 2)
        if k.input_rank(call, 0) > 4 or k.input_rank(call, 0) < 3:
            why = 1
        elif k.input_dim(call, 3, 1) != 1:
            why = 2
        else:
            for i in range(k.input_rank(call, 0) - 2):
                if w.before(call, i) < 0 or w.after(call, i) < 0 or taps > MOST_TAPS:
                    why = 3
        return why

    return parts(run=run, units=units, scratch=scratch, work=work, supports=supports)
