"""Reductions of floats over neighbouring axes, in vectors, with programs on either side."""

from __future__ import annotations

from attached import has_prologue, input_rows
from numba import int64
from reduce import REDUCE, reduction, units_of_output

from _lang import inline, kernel, parts

CHUNK = 4096  # elements of input 0 that are done together
COLUMNS = 1024  # neighbouring groups that are done together


def limits(dtype):
    """The least and the largest number of a type."""
    if dtype.is_float:
        return float("-inf"), float("inf")
    half = 1 << (dtype.bits - 1)
    return (-half, half - 1) if dtype.is_signed else (0, 2 * half - 1)


def row_builder(square, extreme, mean):
    """Groups of neighbouring floats in vectors, or neighbouring groups in vectors."""

    def build(k):
        v, lanes = k.vector("T"), k.lanes("T")
        get, put, cast = k.load("T"), k.store("T"), k.cast("T")
        r, size = reduction(k), k.dtype("T").bits // 8
        take, has = input_rows(k), has_prologue()
        low, high = limits(k.dtype("T"))
        start = cast(low if extreme > 0 else high if extreme < 0 else 0)

        @inline
        def join(total, x):
            if extreme > 0:
                total = v.max(total, x)
            elif extreme < 0:
                total = v.min(total, x)
            else:
                total = v.fma(x, x, total) if square else total + x
            return total

        @inline
        def both(a, b):
            """Two totals, or a total and an element that is not squared."""
            if extreme > 0:
                a = b if b > a or b != b else a
            elif extreme < 0:
                a = b if b < a or b != b else a
            else:
                a = a + b
            return a

        @inline
        def join_one(total, x):
            return k.math.fma(x, x, total) if square else both(total, x)

        @inline
        def row(x, n):
            whole = n // (2 * lanes) * (2 * lanes)
            a, b = v.set(start), v.set(start)
            for i in range(0, whole, 2 * lanes):
                a = join(a, v.load(x, i))
                b = join(b, v.load(x, i + lanes))
            if extreme > 0:
                total = v.hmax(v.max(a, b))
            elif extreme < 0:
                total = v.hmin(v.min(a, b))
            else:
                total = v.sum(a + b)
            for i in range(whole, n):
                total = join_one(total, get(x, i))
            return total

        @inline
        def rows(call, begin, end, n, scratch):
            """Groups of neighbouring elements: long ones in parts, short ones several at once."""
            y, unit, most = k.output(call, 0), begin, max(CHUNK // n, 1)
            while unit < end:
                count = min(end - unit, most)
                for part in range(0, n, CHUNK):
                    m = min(n - part, int64(CHUNK))
                    x = take(call, unit * n + part, m * count, scratch)
                    for g in range(count):
                        total = row(k.offset(x, g * n * size), m)
                        total = both(get(y, unit + g), total) if part > 0 else total
                        put(y, unit + g, total)
                unit += count

        @k.outline("int64(pointer, pointer, int64, int64, int64, int64)")
        def add_rows(y, x, step, count, deep, fresh):
            """`deep` rows of `count` elements, `step` apart, into the totals y."""
            whole = count // lanes * lanes
            for j in range(0, whole, lanes):
                total = v.set(start) if fresh != 0 else v.load(y, j)
                for i in range(deep):
                    total = join(total, v.load(x, j + i * step))
                v.store(y, j, total)
            for j in range(whole, count):
                one = start if fresh != 0 else get(y, j)
                for i in range(deep):
                    one = join_one(one, get(x, j + i * step))
                put(y, j, one)
            return 0

        @inline
        def columns(call, begin, end, n, inner, scratch):
            """Neighbouring groups; a program in front computes runs without gaps alone."""
            unit = begin
            while unit < end:
                count = min(min(end - unit, inner - unit % inner), int64(COLUMNS))
                at = unit // inner * inner * n + unit % inner
                most = max(CHUNK // count, 1) if count == inner or has(call) == 0 else 1
                y = k.offset(k.output(call, 0), unit * size)
                for i in range(0, n, most):
                    deep = min(n - i, most)
                    x = take(call, at + i * inner, deep * count, scratch)
                    add_rows(y, x, inner, count, deep, 1 if i == 0 else 0)
                unit += count

        def run(call, phase, begin, end, scratch):
            n, inner, y = r.count(call), r.inner(call), k.output(call, 0)
            if inner == 1:
                rows(call, begin, end, n, scratch)
            else:
                columns(call, begin, end, n, inner, scratch)
            if mean:
                for unit in range(begin, end):
                    put(y, unit, get(y, unit) / cast(n))
            k.epilogue(call, k.offset(y, begin * size), begin, end - begin)
            return k.OK

        def scratch(call):
            return CHUNK * size if has(call) != 0 else 0

        def supports(call):
            return 0 if r.inner(call) > 0 and r.count(call) > 0 else 1

        def work(call):
            return k.input_size(call, 0) // 4

        return parts(
            run=run, units=units_of_output(k), scratch=scratch, supports=supports, work=work
        )

    return build


for _op, _square, _extreme, _mean in (
    ("ReduceSum", False, 0, False),
    ("ReduceMean", False, 0, True),
    ("ReduceMax", False, 1, False),
    ("ReduceMin", False, -1, False),
    ("ReduceSumSquare", True, 0, False),
):
    kernel(
        _op,
        types={"T": "float double uint8 int8" if _extreme else "float double"},
        attributes=REDUCE,
        variant="rows",
        order=-1,
        epilogue=True,
        reasons=("the reduced axes are not neighbours",),
    )(row_builder(_square, _extreme, _mean))
