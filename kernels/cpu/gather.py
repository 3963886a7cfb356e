"""Gather, GatherElements, GatherND, Compress, OneHot, TensorScatter; every index is checked."""

from numba import int64, types

from _lang import BYTES, inline, kernel, parts
from _lang.abi import PTR
from _lang.emit import intrinsic_of

INDICES = "int64 int32"


@kernel("Gather", types={"T": BYTES, "Tind": INDICES}, attributes=("axis",))
def gather(k):
    """A unit is one index under one outer coordinate: a run of the axes behind."""
    get, put, index_at = k.load("T"), k.store("T"), k.load("Tind")
    width = k.dtype("T").bits // 8

    @inline
    def axis_of(call):
        a = k.attr_int(call, 0)
        return a + k.input_rank(call, 0) if a < 0 else a

    @inline
    def inner_of(call):
        n = 1
        for a in range(axis_of(call) + 1, k.input_rank(call, 0)):
            n *= k.input_dim(call, 0, a)
        return n

    def run(call, phase, begin, end, scratch):
        x, y, indices = k.input(call, 0), k.output(call, 0), k.input(call, 1)
        inner = inner_of(call)
        extent = k.input_dim(call, 0, axis_of(call))
        count = k.input_size(call, 1)
        for unit in range(begin, end):
            at = unit % count
            index = int64(index_at(indices, at))
            if index < 0:
                index += extent
            if index < 0 or index >= extent:
                k.set_error_index(call, at)
                return k.INDEX_OUT_OF_RANGE
            row = unit // count * extent + index
            if inner == 1:
                put(y, unit, get(x, row))
            else:
                k.copy(y, unit * inner * width, x, row * inner * width, inner * width)
        return k.OK

    def units(call, phase):
        size = k.output_size(call, 0)
        return size // inner_of(call) if size > 0 else 0

    return parts(run=run, units=units)


@kernel("GatherElements", types={"T": BYTES, "Tind": INDICES}, attributes=("axis",))
def gather_elements(k):
    """A unit is one row of indices along the last axis."""
    get, put, index_at = k.load("T"), k.store("T"), k.load("Tind")

    def run(call, phase, begin, end, scratch):
        x, y, indices = k.input(call, 0), k.output(call, 0), k.input(call, 1)
        rank = k.input_rank(call, 0)
        axis = k.attr_int(call, 0)
        if axis < 0:
            axis += rank
        extent = k.input_dim(call, 0, axis)
        columns = k.input_dim(call, 1, rank - 1)
        for unit in range(begin, end):
            base = int64(0)
            rest = unit
            stride = k.input_dim(call, 0, rank - 1)
            axis_stride = int64(1)
            for i in range(rank - 1):
                a = rank - 2 - i
                coordinate = rest % k.input_dim(call, 1, a)
                rest = rest // k.input_dim(call, 1, a)
                if a == axis:
                    axis_stride = stride
                else:
                    base += coordinate * stride
                stride *= k.input_dim(call, 0, a)
            column_step = 0 if axis == rank - 1 else 1
            for c in range(columns):
                index = int64(index_at(indices, unit * columns + c))
                if index < 0:
                    index += extent
                if index < 0 or index >= extent:
                    k.set_error_index(call, unit * columns + c)
                    return k.INDEX_OUT_OF_RANGE
                put(y, unit * columns + c, get(x, base + c * column_step + index * axis_stride))
        return k.OK

    def units(call, phase):
        size = k.output_size(call, 0)
        return size // k.input_dim(call, 1, k.input_rank(call, 1) - 1) if size > 0 else 0

    return parts(run=run, units=units)


@kernel("GatherND", types={"T": BYTES}, attributes=("batch_dims",))
def gather_nd(k):
    """A unit is one index tuple: a run of the axes that it does not address."""
    index_at = k.load("int64")
    width = k.dtype("T").bits // 8

    @inline
    def depth_of(call):
        return k.input_dim(call, 1, k.input_rank(call, 1) - 1)

    def run(call, phase, begin, end, scratch):
        x, y, indices = k.input(call, 0), k.output(call, 0), k.input(call, 1)
        batch_dims = k.attr_int(call, 0)
        depth = depth_of(call)
        batches = 1
        for a in range(batch_dims):
            batches *= k.input_dim(call, 0, a)
        tuples = k.input_size(call, 1) // depth
        inner = 1
        for a in range(batch_dims + depth, k.input_rank(call, 0)):
            inner *= k.input_dim(call, 0, a)
        for unit in range(begin, end):
            row = unit // (tuples // batches)
            for d in range(depth):
                extent = k.input_dim(call, 0, batch_dims + d)
                index = index_at(indices, unit * depth + d)
                if index < 0:
                    index += extent
                if index < 0 or index >= extent:
                    k.set_error_index(call, unit * depth + d)
                    return k.INDEX_OUT_OF_RANGE
                row = row * extent + index
            k.copy(y, unit * inner * width, x, row * inner * width, inner * width)
        return k.OK

    def units(call, phase):
        return k.input_size(call, 1) // depth_of(call) if k.output_size(call, 0) > 0 else 0

    return parts(run=run, units=units)


@kernel("Compress", types={"T": BYTES}, attributes=("axis",))
def compress(k):
    """One unit: what is selected lies where the selections before it end."""
    selects = k.load("uint8")
    width = k.dtype("T").bits // 8

    def run(call, phase, begin, end, scratch):
        x, y, condition = k.input(call, 0), k.output(call, 0), k.input(call, 1)
        flat = k.attr_n(call, 0) < 0
        axis = 0
        extent = k.input_size(call, 0)
        inner = int64(1)
        outer = int64(1)
        if not flat:
            axis = k.attr_int(call, 0)
            if axis < 0:
                axis += k.input_rank(call, 0)
            extent = k.input_dim(call, 0, axis)
            for a in range(axis):
                outer *= k.input_dim(call, 0, a)
            for a in range(axis + 1, k.input_rank(call, 0)):
                inner *= k.input_dim(call, 0, a)
        length = min(k.input_size(call, 1), extent)
        count = 0
        for i in range(length):
            if selects(condition, i) != 0:
                count += 1
        at = 0
        for o in range(outer):
            for i in range(length):
                if selects(condition, i) != 0:
                    k.copy(
                        y, at * inner * width, x, (o * extent + i) * inner * width, inner * width
                    )
                    at += 1
        k.set_output_dim(call, 0, axis, count)
        return k.OK

    return parts(run=run)


@kernel(
    "OneHot", types={"T1": "int64 int32 float uint8", "T3": "b32 b64 b8 b16"}, attributes=("axis",)
)
def one_hot(k):
    """A unit is one index under one outer coordinate; its depth is the extent of the output's
    axis.
    """
    index_at, get, put = k.load("T1"), k.load("T3"), k.store("T3")

    @inline
    def axis_of(call):
        a = k.attr_int(call, 0)
        return a + k.output_rank(call, 0) if a < 0 else a

    def run(call, phase, begin, end, scratch):
        y = k.output(call, 0)
        axis = axis_of(call)
        depth = k.output_dim(call, 0, axis)
        inner = 1
        for a in range(axis + 1, k.output_rank(call, 0)):
            inner *= k.output_dim(call, 0, a)
        off, on = get(k.input(call, 2), 0), get(k.input(call, 2), 1)
        for unit in range(begin, end):
            base = unit // inner * depth * inner + unit % inner
            index = int64(index_at(k.input(call, 0), unit))
            if index < 0:
                index += depth
            for d in range(depth):
                put(y, base + d * inner, off)
            if index >= 0 and index < depth:
                put(y, base + index * inner, on)
        return k.OK

    def units(call, phase):
        return k.input_size(call, 0) if k.output_size(call, 0) > 0 else 0

    return parts(run=run, units=units)


def elsewhere():
    """`is_elsewhere(a, b)`: whether two pointers differ."""

    def lower(ctx, b, sig, args):
        return b.icmp_unsigned("!=", args[0], args[1])

    return intrinsic_of(types.boolean(PTR, PTR), lower)


@kernel(
    "TensorScatter", types={"T": BYTES}, attributes=("axis", "mode:linear|circular"), inplace=True
)
def tensor_scatter(k):
    """A unit is one coordinate of the axes before `axis`: the cache's slab with the update
    written over it.
    """
    index_at, is_elsewhere = k.load("int64"), elsewhere()
    width = k.dtype("T").bits // 8

    @inline
    def axis_of(call):
        a = k.attr_int(call, 0)
        return a + k.input_rank(call, 0) if a < 0 else a

    def run(call, phase, begin, end, scratch):
        cache, update, y = k.input(call, 0), k.input(call, 1), k.output(call, 0)
        axis = axis_of(call)
        extent = k.input_dim(call, 0, axis)
        length = k.input_dim(call, 1, axis)
        row = width
        for a in range(axis + 1, k.input_rank(call, 0)):
            row *= k.input_dim(call, 0, a)
        per_batch = 1
        for a in range(1, axis):
            per_batch *= k.input_dim(call, 0, a)
        for unit in range(begin, end):
            first = int64(0)
            if k.has_input(call, 2):
                first = index_at(k.input(call, 2), unit // per_batch)
            circular = k.attr_int(call, 1) == 1
            if first < 0 or (not circular and first + length > extent):
                k.set_error_index(call, unit // per_batch)
                return k.INDEX_OUT_OF_RANGE
            if is_elsewhere(y, cache):
                k.copy(y, unit * extent * row, cache, unit * extent * row, extent * row)
            for s in range(length):
                at = (first + s) % extent
                k.copy(y, (unit * extent + at) * row, update, (unit * length + s) * row, row)
        return k.OK

    def units(call, phase):
        n = 1
        for a in range(axis_of(call)):
            n *= k.input_dim(call, 0, a)
        return n if k.output_size(call, 0) > 0 else 0

    return parts(run=run, units=units)
