"""QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear: per tensor, per axis and blocked."""

from __future__ import annotations

from numba import int64

from _lang import inline, kernel, namespace, parts
from _lang.small_floats import FORMS

CHUNK = 4096  # elements per unit: whole bytes of every packed type
SMALL = "int8 uint8 int16 uint16 int4 uint4 int2 uint2"
SMALL_FLOAT = " ".join(FORMS)
RANGES = {
    **{f"int{n}": (-(2 ** (n - 1)), 2 ** (n - 1) - 1) for n in (2, 4, 8, 16, 32)},
    **{f"uint{n}": (0, 2**n - 1) for n in (2, 4, 8, 16)},
}


def grid(k):
    """Inline functions: the scale of flat element i. Attributes 0 and 1: axis and block_size."""

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

    @inline
    def scale_of(call, i, after, along, block):
        """`block` 0: one scale per step along the axis."""
        if block == 0:
            at = i // after % along
        else:
            blocks = (along + block - 1) // block
            at = (i // (after * along) * blocks + i // after % along // block) * after + i % after
        return at

    return namespace("grid", inner=inner, extent=extent, scale_of=scale_of)


def chunks(k):
    def units(call, phase):
        return (k.input_size(call, 0) + CHUNK - 1) // CHUNK

    return units


def each_run(k, convert):
    """`run` that calls `convert(call, i, scale index)` for every element."""
    g = grid(k)

    def run(call, phase, begin, end, scratch):
        stop = min(end * CHUNK, k.input_size(call, 0))
        if k.input_size(call, 1) == 1:
            for i in range(begin * CHUNK, stop):
                convert(call, i, 0)
        else:
            after, along, block = g.inner(call), g.extent(call), k.attr_int(call, 1)
            for i in range(begin * CHUNK, stop):
                convert(call, i, g.scale_of(call, i, after, along, block))
        return k.OK

    return run


@kernel(
    "QuantizeLinear",
    types={"T1": "float", "T2": "float", "T3": SMALL},
    attributes=("axis", "block_size"),
)
def quantize(k):
    get, put, scale = k.load("T1"), k.store("T3"), k.load("T2")
    zero, cast, to = k.load("T3"), k.cast("float"), k.cast("T3")
    low, high = RANGES[k.dtype("T3").name]
    low, high = float(low), float(high)

    @inline
    def convert(call, i, at):
        y = k.math.rint(cast(get(k.input(call, 0), i)) / scale(k.input(call, 1), at))
        if k.has_input(call, 2):
            y = y + cast(zero(k.input(call, 2), at))
        y = min(max(y, cast(low)), cast(high))
        put(k.output(call, 0), i, to(int64(y)))

    return parts(run=each_run(k, convert), units=chunks(k))


@kernel(
    "QuantizeLinear",
    types={"T1": "float", "T2": "float", "T3": SMALL_FLOAT},
    attributes=("axis", "block_size", "saturate"),
    variant="float",
)
def quantize_float(k):
    """Beyond the largest value: that value, or what the type has for overflow."""
    get, put, scale = k.load("T1"), k.store("T3"), k.load("T2")
    cast = k.cast("float")
    limit = FORMS[k.dtype("T3").name].largest

    @inline
    def convert(call, i, at):
        y = cast(get(k.input(call, 0), i)) / scale(k.input(call, 1), at)
        if k.attr_int(call, 2) != 0:
            y = y if y != y else min(max(y, cast(-limit)), cast(limit))
        put(k.output(call, 0), i, y)

    return parts(run=each_run(k, convert), units=chunks(k))


@kernel(
    "DequantizeLinear",
    types={"T1": f"{SMALL} int32 {SMALL_FLOAT}", "T2": "float", "T3": "float"},
    attributes=("axis", "block_size"),
)
def dequantize(k):
    get, put, scale = k.load("T1"), k.store("T3"), k.load("T2")
    cast = k.cast("float")

    @inline
    def convert(call, i, at):
        x = cast(get(k.input(call, 0), i))
        if k.has_input(call, 2):
            x = x - cast(get(k.input(call, 2), at))
        put(k.output(call, 0), i, x * scale(k.input(call, 1), at))

    return parts(run=each_run(k, convert), units=chunks(k))


@kernel("DynamicQuantizeLinear", types={"T1": "float", "T2": "uint8"})
def dynamic_quantize(k):
    """Phase 0 finds the range, which includes zero; phase 1 writes the elements."""
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
            high, low = max(high, get(x, i)), min(low, get(x, i))
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
