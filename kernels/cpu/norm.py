"""Normalisations: over the last axes, over channels, over groups, and dropout."""

from __future__ import annotations

from attached import input_rows
from numba import int64

from _lang import FLOATS, WIDE_FLOATS, inline, kernel, namespace, parts


def moments(k, t="T"):
    """Inline functions over `n` elements: `mean_of` and `spread_of` (mean squared distance)."""
    v, lanes = k.vector(t), k.lanes(t)
    get, cast = k.load(t), k.cast(t)

    @inline
    def mean_of(x, n):
        whole = n // (2 * lanes) * (2 * lanes)
        a, b = v.zero(), v.zero()
        for i in range(0, whole, 2 * lanes):
            a = a + v.load(x, i)
            b = b + v.load(x, i + lanes)
        total = v.sum(a + b)
        for i in range(whole, n):
            total += get(x, i)
        return total / cast(n)

    @inline
    def spread_of(x, n, mean):
        whole = n // (2 * lanes) * (2 * lanes)
        a, b, m = v.zero(), v.zero(), v.set(mean)
        for i in range(0, whole, 2 * lanes):
            p, q = v.load(x, i) - m, v.load(x, i + lanes) - m
            a = v.fma(p, p, a)
            b = v.fma(q, q, b)
        total = v.sum(a + b)
        for i in range(whole, n):
            d = get(x, i) - mean
            total += d * d
        return total / cast(n)

    return namespace("moments", mean_of=mean_of, spread_of=spread_of)


def layer_builder(centred, weight):
    """y = (x - mean) / sqrt(spread + epsilon) * scale + bias over the axes from `axis` on.

    `weight`: the type parameter of scale, bias and y.
    """

    def build(k):
        v, lanes, cast = k.vector("T"), k.lanes("T"), k.cast("T")
        get, put = k.load("T"), k.store(weight)
        w, of_weight = k.vector(weight, lanes), k.load(weight)
        narrow, stash, stash_half = k.cast("float"), k.store("float"), k.store("bfloat16")
        m = moments(k)
        size, out_size = k.dtype("T").bits // 8, k.dtype(weight).bits // 8

        @inline
        def row_size(call):
            axis = k.attr_int(call, 0)
            axis = axis + k.input_rank(call, 0) if axis < 0 else axis
            n = int64(1)
            for a in range(axis, k.input_rank(call, 0)):
                n *= k.input_dim(call, 0, a)
            return n

        @inline
        def normalise(call, x, y, n, mean, factor):
            """Weights of the whole row, or of its repeated end."""
            scale, bias = k.input(call, 1), k.input(call, 1)
            has_bias = k.has_input(call, 2)
            if has_bias:
                bias = k.input(call, 2)
            period = min(k.input_size(call, 1), n)
            biases = k.input_size(call, 2) if has_bias else period
            if period == n and biases == n:
                whole = n // lanes * lanes
                low, f = v.set(mean), v.set(factor)
                for i in range(0, whole, lanes):
                    z = (v.load(x, i) - low) * f * w.load(scale, i)
                    if has_bias:
                        z = z + w.load(bias, i)
                    w.store(y, i, z)
                start = whole
            else:
                start = int64(0)
            for i in range(start, n):
                z = (get(x, i) - mean) * factor * of_weight(scale, i % period)
                if has_bias:
                    z = z + of_weight(bias, i % biases)
                put(y, i, z)

        @inline
        def keep(call, i, unit, value):
            """A statistic in the type that stash_type names: float or bfloat16."""
            if k.n_outputs(call) > i and k.output_rank(call, i) >= 0:
                if k.attr_int(call, 2) == BFLOAT16:
                    stash_half(k.output(call, i), unit, value)
                else:
                    stash(k.output(call, i), unit, value)

        def run(call, phase, begin, end, scratch):
            n = row_size(call)
            epsilon = cast(k.attr_float(call, 1))
            for unit in range(begin, end):
                x = k.offset(k.input(call, 0), unit * n * size)
                y = k.offset(k.output(call, 0), unit * n * out_size)
                mean, factor = cast(float("nan")), cast(float("nan"))  # of no elements
                if n > 0:
                    mean = m.mean_of(x, n) if centred else cast(0)
                    factor = cast(1) / k.math.sqrt(m.spread_of(x, n, mean) + epsilon)
                normalise(call, x, y, n, mean, factor)
                keep(call, 1, unit, narrow(mean))
                keep(call, 2, unit, narrow(factor))
            return k.OK

        def units(call, phase):
            n = row_size(call)
            rows = int64(0)
            if n > 0:
                rows = k.output_size(call, 0) // n
            else:  # there are statistics of empty rows
                for i in range(1, k.n_outputs(call)):
                    if k.output_rank(call, i) >= 0:
                        rows = k.output_size(call, i)
            return rows

        def supports(call):
            n = row_size(call)
            odd = n > 0 and (n % max(k.input_size(call, 1), 1) != 0)
            return 1 if odd else 0

        def work(call):
            return k.output_size(call, 0) // 2

        return parts(run=run, units=units, supports=supports, work=work)

    return build


def one_width(k):
    return k.dtype("T").compute == k.dtype("V").compute


BFLOAT16 = 16  # of onnx.TensorProto.DataType
ODD = ("scale has not one element for each of the normalised axes",)
kernel(
    "LayerNormalization",
    types={"T": FLOATS},
    attributes=("axis", "epsilon", "stash_type"),
    reasons=ODD,
)(layer_builder(True, "T"))
kernel(
    "LayerNormalization",
    domain="tiercel",
    types={"T": "float", "V": "float16 bfloat16"},
    attributes=("axis", "epsilon", "stash_type"),
    reasons=ODD,
)(layer_builder(True, "V"))
kernel(
    "RMSNormalization",
    types={"T": FLOATS, "V": FLOATS},
    where=one_width,
    attributes=("axis", "epsilon", "stash_type"),
    reasons=ODD,
)(layer_builder(False, "V"))


def plane_size(k):
    @inline
    def plane(call):
        """Elements of one channel."""
        n = int64(1)
        for axis in range(2, k.input_rank(call, 0)):
            n *= k.input_dim(call, 0, axis)
        return n

    return plane


@kernel(
    "BatchNormalization",
    types={"T": WIDE_FLOATS, "T1": WIDE_FLOATS, "T2": WIDE_FLOATS},
    where=lambda k: k.dtype("T") == k.dtype("T1") == k.dtype("T2"),
    attributes=("epsilon", "momentum", "training_mode"),
)
def batch_norm(k):
    """A unit is one channel; in training its statistics come from the batch."""
    get, put, cast = k.load("T"), k.store("T"), k.cast("T2")
    weight, statistic, keep = k.load("T1"), k.load("T2"), k.store("T2")
    plane, to = plane_size(k), k.cast("T")

    @inline
    def of_batch(call, c, n, channels, mean, squared):
        """Mean of x, or of (x - mean)², over all batches of channel c."""
        batches = k.input_size(call, 0) // max(n * channels, 1)
        total = cast(0)
        for b in range(batches):
            for i in range(n):
                d = cast(get(k.input(call, 0), (b * channels + c) * n + i)) - mean
                total += d * d if squared else d
        return total / cast(max(batches * n, 1))

    def run(call, phase, begin, end, scratch):
        n = plane(call)
        channels = k.input_dim(call, 0, 1) if k.input_rank(call, 0) > 1 else 1
        batches = k.input_size(call, 0) // max(n * channels, 1)
        momentum = cast(k.attr_float(call, 1))
        for c in range(begin, end):
            mean, spread = statistic(k.input(call, 3), c), statistic(k.input(call, 4), c)
            if k.attr_int(call, 2) != 0:
                was, had = mean, spread
                mean = of_batch(call, c, n, channels, cast(0), False)
                spread = of_batch(call, c, n, channels, mean, True)
                if k.n_outputs(call) > 1 and k.output_rank(call, 1) >= 0:
                    keep(k.output(call, 1), c, was * momentum + mean * (cast(1) - momentum))
                if k.n_outputs(call) > 2 and k.output_rank(call, 2) >= 0:
                    keep(k.output(call, 2), c, had * momentum + spread * (cast(1) - momentum))
            factor = weight(k.input(call, 1), c) / k.math.sqrt(spread + cast(k.attr_float(call, 0)))
            shift = weight(k.input(call, 2), c) - mean * factor
            for b in range(batches):
                at = (b * channels + c) * n
                for i in range(n):
                    put(
                        k.output(call, 0),
                        at + i,
                        to(get(k.input(call, 0), at + i) * factor + shift),
                    )
        return k.OK

    def units(call, phase):
        return k.input_dim(call, 0, 1) if k.input_rank(call, 0) > 1 else 1

    def work(call):
        return k.output_size(call, 0)

    return parts(run=run, units=units, work=work)


def group_builder(grouped):
    """InstanceNormalization is GroupNormalization with one channel per group."""

    def build(k):
        m, plane, take = moments(k), plane_size(k), input_rows(k)
        v, lanes = k.vector("T"), k.lanes("T")
        get, put, cast = k.load("T"), k.store("T"), k.cast("T")
        size = k.dtype("T").bits // 8

        def run(call, phase, begin, end, scratch):
            n, channels = plane(call), k.input_dim(call, 0, 1)
            groups = k.attr_int(call, 1) if grouped else channels
            per = channels // groups
            epsilon = cast(k.attr_float(call, 0))
            for unit in range(begin, end):
                at = unit * per * n
                y = k.offset(k.output(call, 0), at * size)
                x = take(call, at, per * n, y)
                mean = m.mean_of(x, per * n)
                factor = cast(1) / k.math.sqrt(m.spread_of(x, per * n, mean) + epsilon)
                for c in range(per):
                    channel = unit % groups * per + c
                    scale = get(k.input(call, 1), channel) * factor
                    shift = get(k.input(call, 2), channel) - mean * scale
                    scales, shifts, whole = v.set(scale), v.set(shift), n // lanes * lanes
                    for i in range(c * n, c * n + whole, lanes):
                        v.store(y, i, v.fma(v.load(x, i), scales, shifts))
                    for i in range(c * n + whole, c * n + n):
                        put(y, i, k.math.fma(get(x, i), scale, shift))
                k.epilogue(call, y, at, per * n)
            return k.OK

        def units(call, phase):
            groups = k.attr_int(call, 1) if grouped else k.input_dim(call, 0, 1)
            return k.input_dim(call, 0, 0) * groups

        def work(call):
            return k.output_size(call, 0)

        return parts(run=run, units=units, work=work)

    return build


kernel("InstanceNormalization", types={"T": FLOATS}, attributes=("epsilon",), epilogue=True)(
    group_builder(False)
)
kernel(
    "GroupNormalization",
    types={"T": FLOATS},
    attributes=("epsilon", "num_groups", "stash_type"),
    epilogue=True,
)(group_builder(True))


@kernel("LpNormalization", types={"T": WIDE_FLOATS}, attributes=("axis", "p"))
def lp_normalization(k):
    """A unit is one line along the axis; a line of norm 0 stays."""
    get, put, cast = k.load("T"), k.store("T"), k.cast("T")

    def run(call, phase, begin, end, scratch):
        axis = k.attr_int(call, 0)
        axis = axis + k.input_rank(call, 0) if axis < 0 else axis
        n, inner = k.input_dim(call, 0, axis), int64(1)
        for a in range(axis + 1, k.input_rank(call, 0)):
            inner *= k.input_dim(call, 0, a)
        x = k.input(call, 0)
        for unit in range(begin, end):
            at = unit // inner * n * inner + unit % inner
            total = cast(0)
            for i in range(n):
                z = get(x, at + i * inner)
                total += k.math.abs(z) if k.attr_int(call, 1) == 1 else z * z
            if k.attr_int(call, 1) != 1:
                total = k.math.sqrt(total)
            total = cast(1) if total == cast(0) else total
            for i in range(n):
                put(k.output(call, 0), at + i * inner, get(x, at + i * inner) / total)
        return k.OK

    def units(call, phase):
        axis = k.attr_int(call, 0)
        n = k.input_dim(call, 0, axis + k.input_rank(call, 0) if axis < 0 else axis)
        return k.input_size(call, 0) // n if n > 0 else 0

    return parts(run=run, units=units)


@kernel("MeanVarianceNormalization", types={"T": WIDE_FLOATS}, attributes=("axes",))
def mean_variance(k):
    """(x - mean) / (deviation + 1e-9) over the axes, [0, 2, 3] unless they are given."""
    get, put, cast = k.load("T"), k.store("T"), k.cast("T")
    v, lanes, size, m = k.vector("T"), k.lanes("T"), k.dtype("T").bits // 8, moments(k)

    @inline
    def reduced(call, axis):
        n = k.attr_n(call, 0)
        if n <= 0:
            return axis != 1
        found = False
        for j in range(n):
            a = k.attr_ints(call, 0, j)
            a = a + k.input_rank(call, 0) if a < 0 else a
            found = found or a == axis
        return found

    @inline
    def kept(call):
        n = int64(1)
        for axis in range(k.input_rank(call, 0)):
            if not reduced(call, axis):
                n *= k.input_dim(call, 0, axis)
        return n

    @inline
    def place(call, unit, i):
        """Flat index of element i of group `unit`."""
        at, stride = int64(0), int64(1)
        for back in range(k.input_rank(call, 0)):
            axis = k.input_rank(call, 0) - 1 - back
            extent = k.input_dim(call, 0, axis)
            if reduced(call, axis):
                at += i % extent * stride
                i = i // extent
            else:
                at += unit % extent * stride
                unit = unit // extent
            stride *= extent
        return at

    @inline
    def run_of(call):
        """Neighbouring elements that are normalised together: the last axes, while reduced."""
        n, whole = int64(1), True
        for back in range(k.input_rank(call, 0)):
            axis = k.input_rank(call, 0) - 1 - back
            whole = whole and reduced(call, axis)
            if whole:
                n *= k.input_dim(call, 0, axis)
        return n

    @inline
    def normalise(x, y, n, mean, deviation):
        low, over, whole = v.set(mean), v.set(deviation), n // lanes * lanes
        for i in range(0, whole, lanes):
            v.store(y, i, (v.load(x, i) - low) / over)
        for i in range(whole, n):
            put(y, i, (get(x, i) - mean) / deviation)

    def run(call, phase, begin, end, scratch):
        x, y, n = k.input(call, 0), k.output(call, 0), run_of(call)
        runs = k.input_size(call, 0) // max(kept(call), 1) // max(n, 1)
        for unit in range(begin, end):
            mean, spread = cast(0), cast(0)
            for i in range(runs):
                mean += m.mean_of(k.offset(x, place(call, unit, i * n) * size), n)
            mean = mean / cast(runs)
            for i in range(runs):
                spread += m.spread_of(k.offset(x, place(call, unit, i * n) * size), n, mean)
            deviation = k.math.sqrt(spread / cast(runs)) + cast(1e-9)
            for i in range(runs):
                at = place(call, unit, i * n) * size
                normalise(k.offset(x, at), k.offset(y, at), n, mean, deviation)
        return k.OK

    def work(call):
        return k.output_size(call, 0)

    def units(call, phase):
        return kept(call)

    return parts(run=run, units=units, work=work)
