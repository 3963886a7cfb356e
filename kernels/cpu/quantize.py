"""QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear: per tensor, per axis and blocked."""

from __future__ import annotations

from numba import int64

from _lang import inline, kernel, parts
from _lang.small_floats import FORMS

CHUNK = 4096  # elements per unit: whole bytes of every packed type
SMALL = "int8 uint8 int16 uint16 int4 uint4 int2 uint2"
SMALL_FLOAT = " ".join(FORMS)
RANGES = {
    **{f"int{n}": (-(2 ** (n - 1)), 2 ** (n - 1) - 1) for n in (2, 4, 8, 16, 32)},
    **{f"uint{n}": (0, 2**n - 1) for n in (2, 4, 8, 16)},
}


def chunks(k):
    def units(call, phase):
        return (k.input_size(call, 0) + CHUNK - 1) // CHUNK

    return units


def each_run(k, convert, option=0):
    """`run` that writes `convert(element, scale, zero, is there a zero,
    attribute `option`)` for every element, by runs of elements that
    share a scale, or whose scales lie as they do. Attributes 0 and 1: axis and block_size.
    """
    get, put, scale = k.load("T1"), k.store("T3"), k.load("T2")
    kind = "T3" if k.dtype("T1").name == "float" else "T1"
    zero, cast = k.load(kind), k.cast("float")

    @inline
    def inner(call):
        """Elements behind the axis."""
        axis = k.attr_int(call, 0)
        axis = axis + k.input_rank(call, 0) if axis < 0 else axis
        n = int64(1)
        for a in range(axis + 1, k.input_rank(call, 0)):
            n *= k.input_dim(call, 0, a)
        return n

    @inline
    def extent(call):
        axis = k.attr_int(call, 0)
        axis = axis + k.input_rank(call, 0) if axis < 0 else axis
        return k.input_dim(call, 0, axis) if axis < k.input_rank(call, 0) else int64(1)

    @k.outline("int64(call, int64, int64, int64)")
    def shared(call, first, stop, at):
        """Elements [first, stop) of one scale."""
        x, y, step = k.input(call, 0), k.output(call, 0), scale(k.input(call, 1), at)
        chosen = k.attr_int(call, option)
        if k.has_input(call, 2):
            shift = cast(zero(k.input(call, 2), at))
            for i in range(first, stop):
                put(y, i, convert(cast(get(x, i)), step, shift, True, chosen))
        else:
            for i in range(first, stop):
                put(y, i, convert(cast(get(x, i)), step, cast(0), False, chosen))
        return 0

    @k.outline("int64(call, int64, int64, int64)")
    def single(call, first, stop, at):
        """Elements [first, stop) and as many scales from `at` on."""
        x, y, scales = k.input(call, 0), k.output(call, 0), k.input(call, 1)
        chosen = k.attr_int(call, option)
        if k.has_input(call, 2):
            zeros = k.input(call, 2)
            for i in range(first, stop):
                j = i - first + at
                shift = cast(zero(zeros, j))
                put(y, i, convert(cast(get(x, i)), scale(scales, j), shift, True, chosen))
        else:
            for i in range(first, stop):
                step = scale(scales, i - first + at)
                put(y, i, convert(cast(get(x, i)), step, cast(0), False, chosen))
        return 0

    def run(call, phase, begin, end, scratch):
        i, stop = begin * CHUNK, min(end * CHUNK, k.input_size(call, 0))
        if k.input_size(call, 1) == 1:
            shared(call, i, stop, 0)
            return k.OK
        after, along, block = inner(call), extent(call), max(k.attr_int(call, 1), 1)
        blocked, blocks = k.attr_int(call, 1) > 0, (along + block - 1) // block
        while i < stop:
            # `block` 1 and one scale a step along the axis, unless the scales are blocked.
            behind, step, outer = i % after, i // after % along, i // (after * along)
            if not blocked:
                if after == 1:
                    last = min(i + along - step, stop)
                    single(call, i, last, step)
                else:
                    last = min(i + after - behind, stop)
                    shared(call, i, last, step)
            elif after == 1:
                last = min(i + min(block - step % block, along - step), stop)
                shared(call, i, last, outer * blocks + step // block)
            else:
                last = min(i + after - behind, stop)
                single(call, i, last, (outer * blocks + step // block) * after + behind)
            i = last
        return k.OK

    return run


@kernel(
    "QuantizeLinear",
    types={"T1": "float", "T2": "float", "T3": SMALL},
    attributes=("axis", "block_size"),
)
def quantize(k):
    cast, to = k.cast("float"), k.cast("T3")
    low, high = RANGES[k.dtype("T3").name]
    low, high = float(low), float(high)

    @inline
    def convert(x, scale, zero, shifted, option):
        y = k.math.rint(x / scale)
        if shifted:
            y = y + zero
        return to(int64(min(max(y, cast(low)), cast(high))))

    return parts(run=each_run(k, convert), units=chunks(k))


@kernel(
    "QuantizeLinear",
    types={"T1": "float", "T2": "float", "T3": SMALL_FLOAT},
    attributes=("axis", "block_size", "saturate"),
    variant="float",
)
def quantize_float(k):
    """Beyond the largest value: that value, or what the type has for overflow."""
    cast = k.cast("float")
    limit = FORMS[k.dtype("T3").name].largest

    @inline
    def convert(x, scale, zero, shifted, saturate):
        y = x / scale
        if saturate != 0:
            y = y if y != y else min(max(y, cast(-limit)), cast(limit))
        return y

    return parts(run=each_run(k, convert, 2), units=chunks(k))


@kernel(
    "DequantizeLinear",
    types={"T1": f"{SMALL} int32 {SMALL_FLOAT}", "T2": "float", "T3": "float"},
    attributes=("axis", "block_size"),
)
def dequantize(k):
    @inline
    def convert(x, scale, zero, shifted, option):
        if shifted:
            x = x - zero
        return x * scale

    return parts(run=each_run(k, convert), units=chunks(k))


@kernel("DynamicQuantizeLinear", types={"T1": "float", "T2": "uint8"})
def dynamic_quantize(k):
    """Phase 0 finds the range, which includes zero and is NaN where an element is; phase 1 writes
    the elements.
    """
    v, lanes = k.vector("T1"), k.lanes("T1")
    get, put, cast = k.load("T1"), k.store("T2"), k.cast("T1")
    set_scale, get_scale = k.store("float"), k.load("float")
    get_zero, to = k.load("T2"), k.cast("T2")

    @inline
    def find_range(call):
        x, n = k.input(call, 0), k.input_size(call, 0)
        whole = n // lanes * lanes
        most, least = v.zero(), v.zero()
        for i in range(0, whole, lanes):
            y = v.load(x, i)
            most, least = v.max(most, y), v.min(least, y)
        high, low = v.hmax(most), v.hmin(least)
        for i in range(whole, n):
            one = get(x, i)
            high = one if one > high or one != one else high
            low = one if one < low or one != one else low
        scale = (high - low) / cast(255)
        zero = cast(0) if scale == cast(0) else k.math.rint(-low / scale)
        set_scale(k.output(call, 1), 0, scale)
        zero = min(max(zero, cast(0)), cast(255))
        put(k.output(call, 2), 0, to(int64(zero)))

    def run(call, phase, begin, end, scratch):
        if phase == 0:
            find_range(call)
            return k.OK
        x, y = k.input(call, 0), k.output(call, 0)
        scale, zero = get_scale(k.output(call, 1), 0), cast(get_zero(k.output(call, 2), 0))
        scale = cast(1) if scale == cast(0) else scale
        first, stop = begin * CHUNK, min(end * CHUNK, k.input_size(call, 0))
        whole = first + (stop - first) // lanes * lanes
        steps, shift, top = v.set(scale), v.set(zero), v.set(cast(255))
        for i in range(first, whole, lanes):
            z = v.rint(v.load(x, i) / steps) + shift
            v.store_bytes(y, i, v.min(v.max(z, v.zero()), top))
        for i in range(whole, stop):
            z = k.math.rint(get(x, i) / scale) + zero
            put(y, i, to(int64(min(max(z, cast(0)), cast(255)))))
        return k.OK

    def units(call, phase):
        return 1 if phase == 0 else (k.input_size(call, 0) + CHUNK - 1) // CHUNK

    return parts(run=run, phases=2, units=units)
