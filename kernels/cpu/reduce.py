"""Reductions over any axes, arguments of extremes, and running sums and products."""

from __future__ import annotations

from numba import int64

from _lang import WIDE, inline, kernel, namespace, parts


def reduction(k):
    """Inline functions: which axes go, how many elements, and where element i of a group lies."""
    axis_at = k.load("int64")

    @inline
    def reduced(call, axis):
        n = k.input_size(call, 1) if k.has_input(call, 1) else int64(0)
        found = n == 0 and k.attr_int(call, 1) == 0
        for j in range(n):
            a = axis_at(k.input(call, 1), j)
            a = a + k.input_rank(call, 0) if a < 0 else a
            found = found or a == axis
        return found

    @k.outline("int64(call)")
    def count(call):
        """Elements of one group."""
        n = int64(1)
        for axis in range(k.input_rank(call, 0)):
            if reduced(call, axis):
                n *= k.input_dim(call, 0, axis)
        return n

    @k.outline("int64(call)")
    def inner(call):
        """Elements behind the last reduced axis, when all reduced axes are neighbours; else 0."""
        n, phase = int64(1), 0
        for back in range(k.input_rank(call, 0)):
            axis = k.input_rank(call, 0) - 1 - back
            extent = k.input_dim(call, 0, axis)
            if extent != 1:
                if reduced(call, axis):
                    phase = 1 if phase == 0 else phase
                    n = n if phase == 1 else int64(0)
                elif phase == 0:
                    n *= extent
                else:
                    phase = 2
        return n

    @k.outline("int64(call, int64, int64)")
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

    return namespace("reduction", count=count, inner=inner, place=place)


def units_of_output(k):
    def units(call, phase):
        return k.output_size(call, 0)

    return units


def reduce_builder(first, take, last):
    """A unit is one output: `first(k)`, `take(k)(total, x)` for each x, `last(k)(total, n)`."""

    def build(k):
        r = reduction(k)
        get, put = k.load("T"), k.store("T")
        start, step, end = first(k), take(k), last(k)

        def run(call, phase, begin, stop, scratch):
            x, n, inner = k.input(call, 0), r.count(call), r.inner(call)
            for unit in range(begin, stop):
                total = start()
                if inner > 0:
                    at = unit // inner * inner * n + unit % inner
                    for i in range(n):
                        total = step(total, get(x, at + i * inner))
                else:
                    for i in range(n):
                        total = step(total, get(x, r.place(call, unit, i)))
                put(k.output(call, 0), unit, end(total, n))
            return k.OK

        def work(call):
            return k.input_size(call, 0)

        return parts(run=run, units=units_of_output(k), work=work)

    return build


def zero(k):
    cast = k.cast("T")
    return inline(lambda: cast(0))


def one(k):
    cast = k.cast("T")
    return inline(lambda: cast(1))


def bound(low):
    def build(k):
        dtype, cast = k.dtype("T"), k.cast("T")
        if dtype.is_float:
            value = float("-inf") if low else float("inf")
        elif dtype.is_signed:
            value = -(2 ** (dtype.bits - 1)) if low else 2 ** (dtype.bits - 1) - 1
        else:
            value = 0 if low else 2**dtype.bits - 1
        return inline(lambda: cast(value))

    return build


def same(k):
    return inline(lambda total, n: total)


def add(k):
    return inline(lambda total, x: total + x)


def multiply(k):
    return inline(lambda total, x: total * x)


def larger(k):
    @inline
    def step(total, x):
        return x if x > total or x != x else total

    return step


def smaller(k):
    @inline
    def step(total, x):
        return x if x < total or x != x else total

    return step


def add_square(k):
    return inline(lambda total, x: total + x * x)


def add_absolute(k):
    cast = k.cast("T")

    @inline
    def step(total, x):
        return total + (x if x >= cast(0) else -x if x < cast(0) else x)

    return step


def mean(k):
    cast = k.cast("T")
    if k.dtype("T").is_float:
        return inline(lambda total, n: total / cast(n))
    signed = k.dtype("T").is_signed

    @inline
    def towards_zero(total, n):
        n = cast(max(n, 1))
        return cast(-(-total // n)) if signed and total < 0 else cast(total // n)

    return towards_zero


def root(k):
    cast = k.cast("T")
    if k.dtype("T").is_float:
        return inline(lambda total, n: k.math.sqrt(total))
    return inline(lambda total, n: cast(k.math.sqrt(float(total))))


def logarithm(k):
    cast = k.cast("T")
    if k.dtype("T").is_float:
        return inline(lambda total, n: k.math.log(total))
    return inline(lambda total, n: cast(k.math.log(float(total))))


REDUCE = ("keepdims", "noop_with_empty_axes")
for _op, _first, _take, _last in (
    ("ReduceSum", zero, add, same),
    ("ReduceMean", zero, add, mean),
    ("ReduceProd", one, multiply, same),
    ("ReduceMax", bound(True), larger, same),
    ("ReduceMin", bound(False), smaller, same),
    ("ReduceL1", zero, add_absolute, same),
    ("ReduceL2", zero, add_square, root),
    ("ReduceSumSquare", zero, add_square, same),
    ("ReduceLogSum", zero, add, logarithm),
):
    _types = f"{WIDE} uint8 int8" if _op in ("ReduceMax", "ReduceMin") else WIDE
    kernel(_op, types={"T": _types}, attributes=REDUCE)(reduce_builder(_first, _take, _last))


@kernel("ReduceLogSumExp", types={"T": WIDE}, attributes=REDUCE)
def reduce_log_sum_exp(k):
    """The largest exponent is taken out first."""
    r = reduction(k)
    get, put, cast = k.load("T"), k.store("T"), k.cast("T")
    wide = k.cast("float" if k.dtype("T").name not in ("double", "int64", "uint64") else "double")

    def run(call, phase, begin, end, scratch):
        x, n = k.input(call, 0), r.count(call)
        for unit in range(begin, end):
            top = wide(float("-inf"))
            for i in range(n):
                top = max(top, wide(get(x, r.place(call, unit, i))))
            if top - top != wide(0):
                top = wide(0)
            total = wide(0)
            for i in range(n):
                total += k.math.exp(wide(get(x, r.place(call, unit, i))) - top)
            put(k.output(call, 0), unit, cast(k.math.log(total) + top))
        return k.OK

    def work(call):
        return k.input_size(call, 0) * 8

    return parts(run=run, units=units_of_output(k), work=work)


for _op in ("ReduceMax", "ReduceMin"):

    @kernel(_op, types={"T": "bool"}, attributes=REDUCE)
    def reduce_bool(k, largest=_op == "ReduceMax"):
        r = reduction(k)
        get, put = k.load("T"), k.store("T")

        def run(call, phase, begin, end, scratch):
            n = r.count(call)
            for unit in range(begin, end):
                set_ones = int64(0)
                for i in range(n):
                    if get(k.input(call, 0), r.place(call, unit, i)) != 0:
                        set_ones += 1
                found = set_ones > 0 if largest else set_ones == n
                put(k.output(call, 0), unit, 1 if found else 0)
            return k.OK

        return parts(run=run, units=units_of_output(k))


def lines(k):
    """Inline functions: extent and stride of the axis of attribute 0."""

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

    return namespace("lines", extent=extent, inner=inner)


def argument_builder(largest):
    def build(k):
        get, put = k.load("T"), k.store("int64")
        a = lines(k)

        def run(call, phase, begin, end, scratch):
            n, inner = a.extent(call), a.inner(call)
            last = k.attr_int(call, 2) != 0
            for unit in range(begin, end):
                at = unit // inner * n * inner + unit % inner
                best, value = int64(0), get(k.input(call, 0), at)
                for i in range(1, n):
                    x = get(k.input(call, 0), at + i * inner)
                    better = x > value if largest else x < value
                    same = x == value
                    if x != x:  # NaN is the extreme, as in numpy
                        better, same = value == value, value != value
                    if better or (last and same):
                        best, value = int64(i), x
                put(k.output(call, 0), unit, best)
            return k.OK

        def work(call):
            return k.input_size(call, 0)

        return parts(run=run, units=units_of_output(k), work=work)

    return build


ARGUMENT = ("axis", "keepdims", "select_last_index")
kernel("ArgMax", types={"T": WIDE}, attributes=ARGUMENT)(argument_builder(True))
kernel("ArgMin", types={"T": WIDE}, attributes=ARGUMENT)(argument_builder(False))


def running_builder(product):
    """Along one axis, from either end, with or without the element itself."""

    def build(k):
        get, put, cast = k.load("T"), k.store("T"), k.cast("T")
        ld32, ld64 = k.load("int32"), k.load("int64")

        @inline
        def axis_of(call):
            narrow = k.input_dtype(call, 1) == 6
            if k.input_size(call, 1) != 1:
                return int64(-1)
            p = k.input(call, 1)
            rank = k.input_rank(call, 0)
            a = int64(ld32(p, 0)) if narrow else ld64(p, 0)
            a = a + rank if a < 0 else a
            return a if a < rank else int64(-1)  # -1: no axis of the input

        @inline
        def inner_of(call):
            n = int64(1)
            for a in range(axis_of(call) + 1, k.input_rank(call, 0)):
                n *= k.input_dim(call, 0, a)
            return n

        def run(call, phase, begin, end, scratch):
            if axis_of(call) < 0:
                return k.INDEX_OUT_OF_RANGE
            n, inner = k.input_dim(call, 0, axis_of(call)), inner_of(call)
            exclusive, reverse = k.attr_int(call, 0) != 0, k.attr_int(call, 1) != 0
            for unit in range(begin, end):
                at = unit // inner * n * inner + unit % inner
                total = cast(1) if product else cast(0)
                for step in range(n):
                    i = at + (n - 1 - step if reverse else step) * inner
                    x = get(k.input(call, 0), i)
                    after = total * x if product else total + x
                    put(k.output(call, 0), i, total if exclusive else after)
                    total = after
            return k.OK

        def units(call, phase):
            if axis_of(call) < 0:
                return 1
            n = k.input_dim(call, 0, axis_of(call))
            return k.input_size(call, 0) // n if n > 0 else 0

        return parts(run=run, units=units)

    return build


RUNNING = ("exclusive", "reverse")
RUNNING_TYPES = {"T": WIDE}
kernel("CumSum", types=RUNNING_TYPES, attributes=RUNNING)(running_builder(False))
kernel("CumProd", types=RUNNING_TYPES, attributes=RUNNING)(running_builder(True))
