"""Losses over classes: NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss."""

from __future__ import annotations

from numba import int64

from _lang import WIDE_FLOATS, inline, kernel, parts

ATTRIBUTES = ("ignore_index", "reduction:none|sum|mean")
TYPES = {"T": WIDE_FLOATS, "Tind": "int32 int64"}


def shifts_of(k):
    """`shifts(x, at, classes, n, count, to)`: of `count` neighbouring lines of classes, n elements
    apart, the largest elements to `to`, the logarithms of the sums of exponentials behind them.
    """
    v, lanes = k.vector("T"), k.lanes("T")
    get, put, cast = k.load("T"), k.store("T"), k.cast("T")

    @inline
    def of_row(x, at, classes, to):
        whole, most, sums = classes // lanes * lanes, v.set(cast(float("-inf"))), v.zero()
        for c in range(0, whole, lanes):
            most = v.max(most, v.load(x, at + c))
        top = v.hmax(most)
        for c in range(whole, classes):
            top = max(top, get(x, at + c))
        shift = v.set(top)
        for c in range(0, whole, lanes):
            sums = sums + v.exp(v.load(x, at + c) - shift)
        total = v.sum(sums)
        for c in range(whole, classes):
            total += k.math.exp(get(x, at + c) - top)
        put(to, 0, top)
        put(to, lanes, k.math.log(total))

    @inline
    def of_columns(x, at, classes, n, count, to):
        top, total = v.set(cast(float("-inf"))), v.zero()
        for c in range(classes):
            top = v.max(top, v.load_n(x, at + c * n, count))
        for c in range(classes):
            total = total + v.exp(v.load_n(x, at + c * n, count) - top)
        v.store(to, 0, top)
        v.store(to, lanes, v.log(total))

    @inline
    def shifts(x, at, classes, n, count, to):
        if n == 1:
            of_row(x, at, classes, to)
        else:
            of_columns(x, at, classes, n, count, to)

    @inline
    def logarithms(x, y, at, classes, n, count, of):
        """Log probabilities of those lines to the same place in y."""
        if n == 1:
            top, log, whole = v.set(get(of, 0)), v.set(get(of, lanes)), classes // lanes * lanes
            for c in range(at, at + whole, lanes):
                v.store(y, c, v.load(x, c) - top - log)
            left = classes - whole
            if left > 0:
                z = v.load_n(x, at + whole, left) - top - log
                v.store_n(y, at + whole, z, left)
        else:
            top, log = v.load(of, 0), v.load(of, lanes)
            for c in range(at, at + classes * n, n):
                v.store_n(y, c, v.load_n(x, c, count) - top - log, count)

    return shifts, logarithms


def loss_builder(softmax):
    """[batch, classes, d1 …] against labels [batch, d1 …], weighted by class. Phase 0: losses and
    weights to the workspace; phase 1: their sums.
    """

    def build(k):
        lanes, size = k.lanes("T"), k.dtype("T").bits // 8
        get, put, cast, label_of = k.load("T"), k.store("T"), k.cast("T"), k.load("Tind")
        shifts, logarithms = shifts_of(k)

        @inline
        def inner(call):
            n = int64(1)
            for axis in range(2, k.input_rank(call, 0)):
                n *= k.input_dim(call, 0, axis)
            return n

        @inline
        def lines(call, at, classes, n, count, scratch):
            """What the losses of `count` neighbouring lines need."""
            x = k.input(call, 0)
            if softmax:
                shifts(x, at, classes, n, count, scratch)
                if k.n_outputs(call) > 1 and k.output_rank(call, 1) >= 0:
                    logarithms(x, k.output(call, 1), at, classes, n, count, scratch)

        @inline
        def loss_of(call, unit, at, i, classes, n, scratch):
            """Loss and weight of line i of those; whether the label is a class, or ignored."""
            labels, keep = k.input_size(call, 1), k.workspace(call)
            label = int64(label_of(k.input(call, 1), unit))
            loss, weight, known = cast(0), cast(0), True
            if not (k.attr_n(call, 0) >= 0 and label == k.attr_int(call, 0)):
                known = label >= 0 and label < classes
                if known:
                    weight = get(k.input(call, 2), label) if k.has_input(call, 2) else cast(1)
                    z = get(k.input(call, 0), at + i + label * n)
                    if softmax:
                        z = z - get(scratch, i) - get(scratch, lanes + i)
                    loss = -z * weight
            put(keep, unit, loss)
            put(keep, labels + unit, weight)
            if k.attr_int(call, 1) == 0:
                put(k.output(call, 0), unit, loss)
            return known

        @inline
        def reduce(call):
            total, weights = cast(0), cast(0)
            for unit in range(k.input_size(call, 1)):
                total += get(k.workspace(call), unit)
                weights += get(k.workspace(call), k.input_size(call, 1) + unit)
            put(k.output(call, 0), 0, total / weights if k.attr_int(call, 1) == 2 else total)

        def run(call, phase, begin, end, scratch):
            if phase == 1:
                reduce(call)
                return k.OK
            classes, n, unit = k.input_dim(call, 0, 1), inner(call), begin
            while unit < end:
                at = unit // n * classes * n + unit % n
                count = min(min(n - unit % n, end - unit), int64(lanes))
                lines(call, at, classes, n, count, scratch)
                for i in range(count):
                    if not loss_of(call, unit + i, at, i, classes, n, scratch):
                        k.set_error_index(call, unit + i)
                        return k.INDEX_OUT_OF_RANGE
                unit += count
            return k.OK

        def units(call, phase):
            if phase == 0:
                return k.input_size(call, 1)
            return 0 if k.attr_int(call, 1) == 0 else 1

        def workspace(call):
            return 2 * k.input_size(call, 1) * size

        def scratch(call):
            return 2 * lanes * size

        def work(call):
            return k.input_size(call, 0) * (2 if softmax else 1)

        return parts(
            run=run, units=units, workspace=workspace, scratch=scratch, work=work, phases=2
        )

    return build


kernel("NegativeLogLikelihoodLoss", types=TYPES, attributes=ATTRIBUTES)(loss_builder(False))
kernel("SoftmaxCrossEntropyLoss", types=TYPES, attributes=ATTRIBUTES)(loss_builder(True))
