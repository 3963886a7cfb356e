"""Softmax, LogSoftmax, Hardmax and the losses made of them."""

from __future__ import annotations

from numba import int64

from _lang import FLOATS, inline, kernel, namespace, parts


def axes(k):
    """Inline functions: the call as [outer, extent, inner] around attribute 0, the axis."""

    @inline
    def axis(call):
        a = k.attr_int(call, 0)
        return a + k.input_rank(call, 0) if a < 0 else a

    @inline
    def extent(call):
        return k.input_dim(call, 0, axis(call)) if k.input_rank(call, 0) > 0 else int64(1)

    @inline
    def inner(call):
        n = int64(1)
        for a in range(axis(call) + 1, k.input_rank(call, 0)):
            n *= k.input_dim(call, 0, a)
        return n

    return namespace("axes", extent=extent, inner=inner)


def wide_name(k):
    return "double" if k.dtype("T").name == "double" else "float"


def softmax_builder(logarithm):
    """Rows of contiguous elements in vectors; columns (inner > 1) one at a time."""

    def build(k):
        v, lanes = k.vector("T"), k.lanes("T")
        get, put, cast = k.load("T"), k.store("T"), k.cast("T")
        a = axes(k)
        size = k.dtype("T").bits // 8
        lowest = cast(float("-inf"))

        @inline
        def row(x, y, n):
            whole = n // lanes * lanes
            most = v.set(lowest)
            for i in range(0, whole, lanes):
                most = v.max(most, v.load(x, i))
            top = v.hmax(most)
            for i in range(whole, n):
                top = max(top, get(x, i))
            top = cast(0) if top == lowest else top
            shift, sums = v.set(top), v.zero()
            for i in range(0, whole, lanes):
                e = v.exp(v.load(x, i) - shift)
                sums = sums + e
                if not logarithm:
                    v.store(y, i, e)
            total = v.sum(sums)
            for i in range(whole, n):
                e = k.math.exp(get(x, i) - top)
                total += e
                if not logarithm:
                    put(y, i, e)
            if logarithm:
                down = top + k.math.log(total)
                less = v.set(down)
                for i in range(0, whole, lanes):
                    v.store(y, i, v.load(x, i) - less)
                for i in range(whole, n):
                    put(y, i, get(x, i) - down)
            else:
                scale = v.set(cast(1) / total)
                for i in range(0, whole, lanes):
                    v.store(y, i, v.load(y, i) * scale)
                for i in range(whole, n):
                    put(y, i, get(y, i) * (cast(1) / total))

        @inline
        def column(x, y, n, inner):
            top = lowest
            for i in range(n):
                top = max(top, get(x, i * inner))
            total = cast(0)
            for i in range(n):
                total += k.math.exp(get(x, i * inner) - top)
            down = k.math.log(total)
            for i in range(n):
                z = get(x, i * inner) - top
                put(y, i * inner, z - down if logarithm else k.math.exp(z) / total)

        @inline
        def columns(x, y, n, inner):
            """As many neighbouring columns as a vector has lanes."""
            top = v.set(lowest)
            for i in range(n):
                top = v.max(top, v.load(x, i * inner))
            total = v.zero()
            for i in range(n):
                e = v.exp(v.load(x, i * inner) - top)
                total = total + e
                if not logarithm:
                    v.store(y, i * inner, e)
            for i in range(n):
                if logarithm:
                    v.store(y, i * inner, v.load(x, i * inner) - top - v.log(total))
                else:
                    v.store(y, i * inner, v.load(y, i * inner) / total)

        def run(call, phase, begin, end, scratch):
            n, inner = a.extent(call), a.inner(call)
            x, y = k.input(call, 0), k.output(call, 0)
            if inner == 1:
                for unit in range(begin, end):
                    at = unit * n * size
                    row(k.offset(x, at), k.offset(y, at), n)
            else:
                unit = begin
                while unit < end:
                    at = (unit // inner * n * inner + unit % inner) * size
                    if end - unit >= lanes and unit % inner + lanes <= inner:
                        columns(k.offset(x, at), k.offset(y, at), n, inner)
                        unit += lanes
                    else:
                        column(k.offset(x, at), k.offset(y, at), n, inner)
                        unit += 1
            return k.OK

        def units(call, phase):
            n = a.extent(call)
            return k.output_size(call, 0) // n if n > 0 else 0

        def work(call):
            return k.output_size(call, 0)

        return parts(run=run, units=units, work=work)

    return build


# Half types would round the exponentials before they are summed: they go through a wide row.
kernel("Softmax", types={"T": "float double"}, attributes=("axis",))(softmax_builder(False))
kernel("LogSoftmax", types={"T": FLOATS}, attributes=("axis",))(softmax_builder(True))


@kernel("Softmax", types={"T": "float16 bfloat16"}, attributes=("axis",), variant="narrow")
def softmax_narrow(k):
    """One scratch row of exponentials in float."""
    get, put, cast = k.load("T"), k.store("T"), k.cast("T")
    ld, st = k.load("float"), k.store("float")
    a = axes(k)

    def run(call, phase, begin, end, scratch):
        n, inner = a.extent(call), a.inner(call)
        x, y = k.input(call, 0), k.output(call, 0)
        for unit in range(begin, end):
            at = unit // inner * n * inner + unit % inner
            top = cast(float("-inf"))
            for i in range(n):
                top = max(top, get(x, at + i * inner))
            total = cast(0)
            for i in range(n):
                e = k.math.exp(get(x, at + i * inner) - top)
                st(scratch, i, e)
                total += e
            for i in range(n):
                put(y, at + i * inner, ld(scratch, i) / total)
        return k.OK

    def units(call, phase):
        n = a.extent(call)
        return k.output_size(call, 0) // n if n > 0 else 0

    def scratch(call):
        return a.extent(call) * 4

    def work(call):
        return k.output_size(call, 0) * 4

    return parts(run=run, units=units, scratch=scratch, work=work)


@kernel("Hardmax", types={"T": FLOATS}, attributes=("axis",))
def hardmax(k):
    """1 at the first largest element, 0 elsewhere."""
    get, put = k.load("T"), k.store("T")
    a = axes(k)

    def run(call, phase, begin, end, scratch):
        n, inner = a.extent(call), a.inner(call)
        x, y = k.input(call, 0), k.output(call, 0)
        for unit in range(begin, end):
            at = unit // inner * n * inner + unit % inner
            best = int64(0)
            for i in range(n):
                if get(x, at + i * inner) > get(x, at + best * inner):
                    best = int64(i)
                put(y, at + i * inner, 0)
            put(y, at + best * inner, 1)
        return k.OK

    def units(call, phase):
        n = a.extent(call)
        return k.output_size(call, 0) // n if n > 0 else 0

    return parts(run=run, units=units)


LOSS = ("ignore_index", "reduction:none|sum|mean")
LABELS = {"T": FLOATS, "Tind": "int32 int64"}


def loss_builder(softmax):
    """[batch, classes, d1 …] against labels [batch, d1 …], weighted by class."""

    def build(k):
        get, put, cast = k.load("T"), k.store("T"), k.cast("T")
        label_of = k.load("Tind")

        @inline
        def inner(call):
            n = int64(1)
            for axis in range(2, k.input_rank(call, 0)):
                n *= k.input_dim(call, 0, axis)
            return n

        @inline
        def logarithm(call, at, classes, inner_size, i):
            """Log probability of class i of the row at `at`."""
            x = k.input(call, 0)
            z = get(x, at + i * inner_size)
            if softmax:
                top = cast(float("-inf"))
                for c in range(classes):
                    top = max(top, get(x, at + c * inner_size))
                total = cast(0)
                for c in range(classes):
                    total += k.math.exp(get(x, at + c * inner_size) - top)
                z = z - top - k.math.log(total)
            return z

        def run(call, phase, begin, end, scratch):
            classes, n = k.input_dim(call, 0, 1), inner(call)
            ignored = k.attr_int(call, 0)
            has_ignored = k.attr_n(call, 0) >= 0
            reduction = k.attr_int(call, 1)
            total, weights = cast(0), cast(0)
            for unit in range(k.input_size(call, 1)):
                at = unit // n * classes * n + unit % n
                label = int64(label_of(k.input(call, 1), unit))
                if softmax and k.n_outputs(call) > 1:
                    for c in range(classes):
                        value = logarithm(call, at, classes, n, c)
                        put(k.output(call, 1), at + c * n, value)
                loss, weight = cast(0), cast(0)
                if not (has_ignored and label == ignored):
                    if label < 0 or label >= classes:
                        k.set_error_index(call, unit)
                        return k.INDEX_OUT_OF_RANGE
                    weight = cast(1)
                    if k.has_input(call, 2):
                        weight = get(k.input(call, 2), label)
                    loss = -logarithm(call, at, classes, n, label) * weight
                if reduction == 0:
                    put(k.output(call, 0), unit, loss)
                total += loss
                weights += weight
            if reduction == 1:
                put(k.output(call, 0), 0, total)
            elif reduction == 2:
                put(k.output(call, 0), 0, total / weights)
            return k.OK

        def work(call):
            return k.input_size(call, 0) * 8

        return parts(run=run, work=work)

    return build


kernel("NegativeLogLikelihoodLoss", types=LABELS, attributes=LOSS)(loss_builder(False))
kernel("SoftmaxCrossEntropyLoss", types={"T": FLOATS, "Tind": "int32 int64"}, attributes=LOSS)(
    loss_builder(True)
)
