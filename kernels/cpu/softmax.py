"""Softmax, LogSoftmax and Hardmax."""

from __future__ import annotations

from attached import epilogue_rows, has_prologue, input_rows
from numba import int64

from _lang import FLOATS, inline, kernel, namespace, parts


def axes(k):
    """Functions: the call as [outer, extent, inner] around attribute 0, the axis."""

    @inline
    def axis(call):
        a = k.attr_int(call, 0)
        return a + k.input_rank(call, 0) if a < 0 else a

    @k.outline("int64(call)")
    def extent(call):
        return k.input_dim(call, 0, axis(call)) if k.input_rank(call, 0) > 0 else int64(1)

    @k.outline("int64(call)")
    def inner(call):
        n = int64(1)
        for a in range(axis(call) + 1, k.input_rank(call, 0)):
            n *= k.input_dim(call, 0, a)
        return n

    return namespace("axes", extent=extent, inner=inner)


CHUNK = 4096  # elements of input 0 that a prologue computes at once
COLUMNS = 256  # neighbouring columns that are done together


def row_function(k, logarithm):
    """`row(x, y, wait, n)`: softmax of contiguous elements.

    Half types would round the exponentials before they are summed: those wait in `wait`, as
    float; other types keep them in y.
    """
    wide, lanes = wide_of(k), k.lanes("T")
    v, p = k.vector("T"), k.vector(wide, k.lanes("T"))
    get, put, cast = k.load("T"), k.store("T"), k.cast("T")
    get_wide, put_wide = k.load(wide), k.store(wide)
    lowest = cast(float("-inf"))

    @k.outline("int64(pointer, pointer, pointer, int64)")
    def row(x, y, wait, n):
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
                p.store(wait, i, e)
        total = v.sum(sums)
        for i in range(whole, n):
            e = k.math.exp(get(x, i) - top)
            total += e
            if not logarithm:
                put_wide(wait, i, e)
        if logarithm:
            down = top + k.math.log(total)
            less = v.set(down)
            for i in range(0, whole, lanes):
                v.store(y, i, v.load(x, i) - less)
            for i in range(whole, n):
                put(y, i, get(x, i) - down)
        else:
            factor = cast(1) / total
            scale = v.set(factor)
            for i in range(0, whole, lanes):
                v.store(y, i, p.load(wait, i) * scale)
            for i in range(whole, n):
                put(y, i, get_wide(wait, i) * factor)
        return 0

    return row


def columns_function(k, logarithm, whole):
    """`columns(x, x_step, y, y_step, wait, n, count)`: softmax of `count` neighbouring columns,
    as many as a vector has lanes if `whole`.
    """
    wide, lanes = wide_of(k), k.lanes("T")
    v, p = k.vector("T"), k.vector(wide, k.lanes("T"))
    cast, half = k.cast("T"), k.dtype("T").bits < 32
    lowest = cast(float("-inf"))

    def columns(x, x_step, y, y_step, wait, n, count):
        step = lanes if half else y_step
        top = v.set(lowest)
        for i in range(n):
            z = v.load(x, i * x_step) if whole else v.load_n(x, i * x_step, count)
            top = v.max(top, z)
        top = v.select(v.eq(top, v.set(lowest)), v.zero(), top)
        total = v.zero()
        for i in range(n):
            z = v.load(x, i * x_step) if whole else v.load_n(x, i * x_step, count)
            e = v.exp(z - top)
            total = total + e
            if not logarithm and (whole or half):
                p.store(wait, i * step, e)
            elif not logarithm:
                p.store_n(wait, i * step, e, count)
        down = top + v.log(total) if logarithm else total
        for i in range(n):
            if logarithm:
                z = v.load(x, i * x_step) if whole else v.load_n(x, i * x_step, count)
                z = z - down
            elif whole or half:
                z = p.load(wait, i * step) / down
            else:
                z = p.load_n(wait, i * step, count) / down
            if whole:
                v.store(y, i * y_step, z)
            else:
                v.store_n(y, i * y_step, z, count)
        return 0

    columns.__name__ = "columns" if whole else "columns_left"
    signature = "int64(pointer, int64, pointer, int64, pointer, int64, int64)"
    return k.outline(signature)(columns)


def wide_of(k):
    return "double" if k.dtype("T").name == "double" else "float"


def softmax_builder(logarithm):
    """Rows of contiguous elements, or columns (inner > 1), in vectors."""

    def build(k):
        a, take, finish = axes(k), input_rows(k), epilogue_rows()
        size, lanes, half = k.dtype("T").bits // 8, k.lanes("T"), k.dtype("T").bits < 32
        row = row_function(k, logarithm)
        columns = columns_function(k, logarithm, True)
        columns_left = columns_function(k, logarithm, False)
        offset, has = k.offset, has_prologue()

        @inline
        def chunk(n):
            """Rows that are done together."""
            return max(CHUNK // max(n, 1), 1)

        @inline
        def across(n, inner):
            """Columns that are done together."""
            return min(inner, max(min(4 * CHUNK // max(n, 1), COLUMNS), lanes))

        @inline
        def held(call, most, n):
            """Bytes of what a prologue computes."""
            return most * n * size if has(call) != 0 else 0

        @inline
        def rows(call, begin, end, n, scratch):
            unit, most = begin, chunk(n)
            wait = offset(scratch, held(call, most, n))
            while unit < end:
                count, at = min(end - unit, most), unit * n
                x, y = take(call, at, count * n, scratch), offset(k.output(call, 0), at * size)
                for r in range(count):
                    to = offset(y, r * n * size)
                    row(offset(x, r * n * size), to, wait if half else to, n)
                k.epilogue(call, y, at, count * n)
                unit += count

        @inline
        def blocks_of_columns(call, begin, end, n, inner, scratch):
            unit, most = begin, across(n, inner)
            wait = offset(scratch, held(call, most, n))
            while unit < end:
                count = min(min(end - unit, inner - unit % inner), most)
                at = unit // inner * n * inner + unit % inner
                x, step = offset(k.input(call, 0), at * size), inner * 1
                if has(call) != 0:
                    for i in range(n):
                        take(call, at + i * inner, count, offset(scratch, i * count * size))
                    x, step = scratch, count
                y = offset(k.output(call, 0), at * size)
                for j in range(0, count, lanes):
                    source, to = offset(x, j * size), offset(y, j * size)
                    w = wait if half else to
                    if j + lanes <= count:
                        columns(source, step, to, inner, w, n, lanes)
                    else:
                        columns_left(source, step, to, inner, w, n, count - j)
                finish(call, y, at, count, n, inner)
                unit += count

        def run(call, phase, begin, end, scratch):
            n, inner = a.extent(call), a.inner(call)
            if inner == 1:
                rows(call, begin, end, n, scratch)
            else:
                blocks_of_columns(call, begin, end, n, inner, scratch)
            return k.OK

        def units(call, phase):
            n = a.extent(call)
            return k.output_size(call, 0) // n if n > 0 else 0

        def scratch(call):
            n, inner = a.extent(call), a.inner(call)
            most = chunk(n) if inner == 1 else across(n, inner)
            return held(call, most, n) + (n * (1 if inner == 1 else lanes) * 4 if half else 0) + 64

        def work(call):
            return k.output_size(call, 0)

        return parts(run=run, units=units, scratch=scratch, work=work)

    return build


kernel("Softmax", types={"T": FLOATS}, attributes=("axis",), epilogue=True)(softmax_builder(False))
kernel("LogSoftmax", types={"T": FLOATS}, attributes=("axis",), epilogue=True)(
    softmax_builder(True)
)


@kernel("Hardmax", types={"T": FLOATS}, attributes=("axis",))
def hardmax(k):
    """1 at the first largest element, 0 elsewhere; a NaN is never larger."""
    get, put, a = k.load("T"), k.store("T"), axes(k)
    v, lanes, size = k.vector("T"), k.lanes("T"), k.dtype("T").bits // 8
    cast = k.cast("T")

    @inline
    def first_largest(x, at, n, inner):
        best = int64(0)
        for i in range(n):
            if get(x, at + i * inner) > get(x, at + best * inner):
                best = int64(i)
        return best

    @inline
    def first_of_row(x, at, n):
        """Of neighbouring elements: which vector holds the largest, then where."""
        whole, one = n // lanes * lanes, v.set(cast(1))
        most = v.set(cast(float("-inf")))
        for i in range(0, whole, lanes):
            most = v.max(most, v.load(x, at + i))
        top = v.hmax(most)
        for i in range(whole, n):
            top = max(top, get(x, at + i))
        value, i, found = v.set(top), int64(0), False
        while i < whole and not found:
            found = v.hmax(v.select(v.eq(v.load(x, at + i), value), one, v.zero())) > cast(0)
            i += 0 if found else lanes
        while i < n and get(x, at + i) != top:
            i += 1
        return i if i < n else first_largest(x, at, n, int64(1))

    def run(call, phase, begin, end, scratch):
        n, inner = a.extent(call), a.inner(call)
        x, y = k.input(call, 0), k.output(call, 0)
        for unit in range(begin, end):
            at = unit // inner * n * inner + unit % inner
            if inner == 1:
                best = first_of_row(x, at, n)
                k.fill(y, at * size, n * size)
            else:
                best = first_largest(x, at, n, inner)
                for i in range(n):
                    put(y, at + i * inner, 0)
            put(y, at + best * inner, 1)
        return k.OK

    def units(call, phase):
        n = a.extent(call)
        return k.output_size(call, 0) // n if n > 0 else 0

    def work(call):
        return k.output_size(call, 0)

    return parts(run=run, units=units, work=work)
