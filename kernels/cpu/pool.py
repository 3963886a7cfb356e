"""MaxPool, AveragePool, LpPool, their global forms and MaxUnpool for any number of spatial axes."""

from numba import int64
from windows import WINDOW, window

from _lang import WIDE_FLOATS, inline, kernel, parts

N = len(WINDOW)


def rows(k):
    """`units`: output rows along the last axis."""

    def units(call, phase):
        size = k.output_size(call, 0)
        return size // k.output_dim(call, 0, k.output_rank(call, 0) - 1) if size > 0 else 0

    return units


def row_counts(k):
    """Inline functions: output rows of one channel, input rows of one channel."""

    @inline
    def rows_out(call):
        n = int64(1)
        for a in range(2, k.output_rank(call, 0) - 1):
            n *= k.output_dim(call, 0, a)
        return n

    @inline
    def rows_in(call):
        n = int64(1)
        for a in range(2, k.input_rank(call, 0) - 1):
            n *= k.input_dim(call, 0, a)
        return n

    return rows_out, rows_in


@kernel("MaxPool", types={"T": WIDE_FLOATS + " uint8 int8"}, attributes=(*WINDOW, "storage_order"))
def max_pool(k):
    """A unit is one output row; scratch memory holds which input element is the maximum so
    far, or -1. A window without items gives the least number of the type; it has no index.
    """
    w = window(k)
    dtype = k.dtype("T")
    least = dtype.compute(
        float("-inf") if dtype.is_float else -(1 << dtype.bits - 1) if dtype.is_signed else 0
    )
    get, put = k.load("T"), k.store("T")
    ld, st = k.load("int64"), k.store("int64")
    rows_out, rows_in = row_counts(k)

    @inline
    def column_major(call, at, plane):
        """The flat index of element `at` when the spatial axes of its channel are counted
        from the first.
        """
        rest = at % plane
        out = int64(0)
        stride = plane
        for j in range(k.input_rank(call, 0) - 2):
            extent = k.input_dim(call, 0, k.input_rank(call, 0) - 1 - j)
            stride = stride // extent
            out += rest % extent * stride
            rest = rest // extent
        return at - at % plane + out

    @inline
    def find(call, unit, best):
        x = k.input(call, 0)
        last = k.input_rank(call, 0) - 1
        columns, width = k.output_dim(call, 0, last), k.input_dim(call, 0, last)
        step, spread, pad = (
            w.stride(call, last - 2),
            w.dilation(call, last - 2),
            w.before(call, last - 2),
        )
        for i in range(columns):
            st(best, i, -1)
        for tap in range(w.outer_taps(call)):
            source = w.source_row(call, tap, unit % rows_out(call))
            if source >= 0:
                base = (unit // rows_out(call) * rows_in(call) + source) * width
                for t in range(w.extent(call, last - 2)):
                    shift = t * spread - pad
                    for i in range(
                        w.first_column(shift, step), w.end_column(shift, step, columns, width)
                    ):
                        at = base + i * step + shift
                        old = ld(best, i)
                        if old < 0:
                            st(best, i, at)
                        elif get(x, old) == get(x, old) and not get(x, at) <= get(x, old):
                            st(best, i, at)  # larger, or the first NaN

    def run(call, phase, begin, end, scratch):
        x, y = k.input(call, 0), k.output(call, 0)
        last = k.output_rank(call, 0) - 1
        columns = k.output_dim(call, 0, last)
        plane = rows_in(call) * k.input_dim(call, 0, last)
        indices = False
        if k.n_outputs(call) > 1:
            indices = k.output_rank(call, 1) >= 0
        for unit in range(begin, end):
            find(call, unit, scratch)
            for i in range(columns):
                at = ld(scratch, i)
                put(y, unit * columns + i, get(x, at) if at >= 0 else least)
                if indices:
                    if at < 0:
                        return k.INVALID_VALUE
                    flat = at
                    if k.attr_int(call, N) != 0:
                        flat = column_major(call, at, plane)
                    st(k.output(call, 1), unit * columns + i, flat)
        return k.OK

    def scratch(call):
        return 8 * k.output_dim(call, 0, k.output_rank(call, 0) - 1)

    return parts(run=run, units=rows(k), scratch=scratch)


def summing(k):
    """What averages and norms share: dtype of the sums, and how a row of them is zeroed and
    walked.
    """
    sums = "double" if k.dtype("T").name == "double" else "float"
    return sums, 8 if sums == "double" else 4


def row_sums(k, sums, term):
    """The inline function `accumulate(call, unit, row)`: sums of `term(call, i)` over each
    window of an output row.
    """
    w = window(k)
    ld, st = k.load(sums), k.store(sums)
    rows_out, rows_in = row_counts(k)

    @inline
    def accumulate(call, unit, row):
        last = k.input_rank(call, 0) - 1
        columns, width = k.output_dim(call, 0, last), k.input_dim(call, 0, last)
        step, spread, pad = (
            w.stride(call, last - 2),
            w.dilation(call, last - 2),
            w.before(call, last - 2),
        )
        for tap in range(w.outer_taps(call)):
            source = w.source_row(call, tap, unit % rows_out(call))
            if source >= 0:
                base = (unit // rows_out(call) * rows_in(call) + source) * width
                for t in range(w.extent(call, last - 2)):
                    shift = t * spread - pad
                    for i in range(
                        w.first_column(shift, step), w.end_column(shift, step, columns, width)
                    ):
                        st(row, i, ld(row, i) + term(call, base + i * step + shift))

    return accumulate


def members(k):
    """The inline function (call, spatial axis, position): elements of the window there that
    count; `count_include_pad` follows the attributes of WINDOW.
    """
    w = window(k)

    @inline
    def counted(call, i, position):
        include = k.attr_int(call, N) != 0
        width = k.input_dim(call, 0, i + 2)
        low, high = int64(0), width
        if include:
            low, high = -w.before(call, i), width + w.after(call, i)
        first = position * w.stride(call, i) - w.before(call, i)
        n = int64(0)
        for t in range(w.extent(call, i)):
            at = first + t * w.dilation(call, i)
            if at >= low and at < high:
                n += 1
        return n

    return counted


@kernel(
    "AveragePool",
    types={"T": WIDE_FLOATS},
    attributes=(*WINDOW, "count_include_pad"),
    epilogue=True,
)
def average_pool(k):
    sums, bytes_each = summing(k)
    get, put, ld, cast = k.load("T"), k.store("T"), k.load(sums), k.cast(sums)
    element = k.dtype("T").bits // 8
    rows_out, _ = row_counts(k)

    @inline
    def term(call, i):
        return cast(get(k.input(call, 0), i))

    accumulate = row_sums(k, sums, term)
    counted = members(k)

    def run(call, phase, begin, end, scratch):
        y = k.output(call, 0)
        last = k.output_rank(call, 0) - 1
        columns = k.output_dim(call, 0, last)
        for unit in range(begin, end):
            k.fill(scratch, 0, columns * bytes_each)
            accumulate(call, unit, scratch)
            outer = int64(1)
            rest = unit % rows_out(call)
            for j in range(last - 2):
                i = last - 3 - j
                outer *= counted(call, i, rest % k.output_dim(call, 0, i + 2))
                rest = rest // k.output_dim(call, 0, i + 2)
            for i in range(columns):
                n = max(outer * counted(call, last - 2, i), 1)
                put(y, unit * columns + i, ld(scratch, i) / cast(n))
            k.epilogue(call, k.offset(y, unit * columns * element), unit * columns, columns)
        return k.OK

    def scratch(call):
        return bytes_each * k.output_dim(call, 0, k.output_rank(call, 0) - 1)

    return parts(run=run, units=rows(k), scratch=scratch)


def powers(k, sums, attribute):
    """Inline functions: |x|^p, and the p-th root of a sum."""
    cast = k.cast(sums)

    @inline
    def power(call, x):
        p = k.attr_int(call, attribute)
        a = -x if x < 0 else x
        out = a
        if p == 2:
            out = a * a
        elif p != 1:
            out = cast(k.math.pow(a, cast(p)))
        return out

    @inline
    def root(call, s):
        p = k.attr_int(call, attribute)
        out = s
        if p == 2:
            out = cast(k.math.sqrt(s))
        elif p != 1:
            out = cast(k.math.pow(s, cast(1) / cast(p)))
        return out

    return power, root


@kernel("LpPool", types={"T": WIDE_FLOATS}, attributes=(*WINDOW, "p"))
def lp_pool(k):
    sums, bytes_each = summing(k)
    get, put, ld, cast = k.load("T"), k.store("T"), k.load(sums), k.cast(sums)
    power, root = powers(k, sums, N)

    @inline
    def term(call, i):
        return power(call, cast(get(k.input(call, 0), i)))

    accumulate = row_sums(k, sums, term)

    def run(call, phase, begin, end, scratch):
        columns = k.output_dim(call, 0, k.output_rank(call, 0) - 1)
        for unit in range(begin, end):
            k.fill(scratch, 0, columns * bytes_each)
            accumulate(call, unit, scratch)
            for i in range(columns):
                put(k.output(call, 0), unit * columns + i, root(call, ld(scratch, i)))
        return k.OK

    def scratch(call):
        return bytes_each * k.output_dim(call, 0, k.output_rank(call, 0) - 1)

    return parts(run=run, units=rows(k), scratch=scratch)


def channels(k):
    """`units` of a global pooling: channels of every batch."""

    def units(call, phase):
        return k.output_size(call, 0)

    return units


@kernel("GlobalAveragePool", types={"T": "float"}, variant="vector", epilogue=True)
def global_average_pool_float(k):
    v, lanes = k.vector("T"), k.lanes("T")
    get, put, cast = k.load("T"), k.store("T"), k.cast("T")

    def run(call, phase, begin, end, scratch):
        x, y = k.input(call, 0), k.output(call, 0)
        n = k.input_size(call, 0) // k.output_size(call, 0)
        whole = n // lanes * lanes
        for unit in range(begin, end):
            total = v.zero()
            for i in range(0, whole, lanes):
                total = total + v.load(x, unit * n + i)
            s = v.sum(total)
            for i in range(whole, n):
                s += get(x, unit * n + i)
            put(y, unit, s / cast(n))
        k.epilogue(call, k.offset(y, begin * 4), begin, end - begin)
        return k.OK

    return parts(run=run, units=channels(k))


@kernel("GlobalAveragePool", types={"T": WIDE_FLOATS}, epilogue=True)
def global_average_pool(k):
    sums, _ = summing(k)
    get, put, cast = k.load("T"), k.store("T"), k.cast(sums)
    element = k.dtype("T").bits // 8

    def run(call, phase, begin, end, scratch):
        x, y = k.input(call, 0), k.output(call, 0)
        n = k.input_size(call, 0) // k.output_size(call, 0)
        for unit in range(begin, end):
            s = cast(0)
            for i in range(n):
                s += cast(get(x, unit * n + i))
            put(y, unit, s / cast(n))
        k.epilogue(call, k.offset(y, begin * element), begin, end - begin)
        return k.OK

    return parts(run=run, units=channels(k))


@kernel("GlobalMaxPool", types={"T": WIDE_FLOATS})
def global_max_pool_vector(k):
    v, lanes = k.vector("T"), k.lanes("T")
    get, put, size = k.load("T"), k.store("T"), k.dtype("T").bits // 8

    def run(call, phase, begin, end, scratch):
        x, y = k.input(call, 0), k.output(call, 0)
        n = k.input_size(call, 0) // k.output_size(call, 0)
        if n == 0:
            return k.INVALID_VALUE
        whole = n // lanes * lanes
        for unit in range(begin, end):
            row = k.offset(x, unit * n * size)
            low = v.set(get(row, 0))
            a, b, c, d = low, low, low, low
            i = 0
            while i + 4 * lanes <= n:
                a, b = v.max(a, v.load(row, i)), v.max(b, v.load(row, i + lanes))
                c, d = (
                    v.max(c, v.load(row, i + 2 * lanes)),
                    v.max(d, v.load(row, i + 3 * lanes)),
                )
                i += 4 * lanes
            while i < whole:
                a = v.max(a, v.load(row, i))
                i += lanes
            best = v.hmax(v.max(v.max(a, b), v.max(c, d)))
            while i < n:
                one = get(row, i)
                best = one if one > best or one != one else best
                i += 1
            put(y, unit, best)
        return k.OK

    return parts(run=run, units=channels(k))


@kernel("GlobalLpPool", types={"T": WIDE_FLOATS}, attributes=("p",))
def global_lp_pool(k):
    sums, _ = summing(k)
    get, put, cast = k.load("T"), k.store("T"), k.cast(sums)
    power, root = powers(k, sums, 0)

    def run(call, phase, begin, end, scratch):
        x, y = k.input(call, 0), k.output(call, 0)
        n = k.input_size(call, 0) // k.output_size(call, 0)
        for unit in range(begin, end):
            s = cast(0)
            for i in range(n):
                s += power(call, cast(get(x, unit * n + i)))
            put(y, unit, root(call, s))
        return k.OK

    return parts(run=run, units=channels(k))


@kernel(
    "MaxUnpool",
    types={"T1": "b32 b64 b16"},
    attributes=("kernel_shape", "strides", "dilations", "pads"),
)
def max_unpool(k):
    """Indices count in the output that the window gives; output_shape may be larger behind it."""
    get, put, index_at = k.load("T1"), k.store("T1"), k.load("int64")
    width = k.dtype("T1").bits // 8

    @inline
    def window_extent(call, i):
        """Extent of axis i of the output that the window gives."""
        step = k.attr_ints(call, 1, i) if k.attr_n(call, 1) > 0 else 1
        n = (k.input_dim(call, 0, i + 2) - 1) * step + k.attr_ints(call, 0, i)
        if k.attr_n(call, 3) > 0:
            n -= k.attr_ints(call, 3, i) + k.attr_ints(call, 3, i + k.input_rank(call, 0) - 2)
        return n

    @inline
    def target(call, index):
        """The output element that flat `index` means, or -1 outside."""
        rank = k.input_rank(call, 0)
        at, stride, rest = int64(0), int64(1), index
        for j in range(rank):
            a = rank - 1 - j
            extent = k.input_dim(call, 0, a)
            if a >= 2:
                extent = window_extent(call, a - 2)
            coordinate = rest % max(extent, 1)
            rest = rest // max(extent, 1)
            if coordinate >= k.output_dim(call, 0, a):
                at = int64(-1)
            if at >= 0:
                at += coordinate * stride
            stride *= k.output_dim(call, 0, a)
        return at if rest == 0 and index >= 0 else int64(-1)

    @inline
    def is_whole(call):
        """Whether the output is what the window gives: indices then are places."""
        whole = True
        for a in range(2, k.input_rank(call, 0)):
            whole = whole and window_extent(call, a - 2) == k.output_dim(call, 0, a)
        return whole

    def run(call, phase, begin, end, scratch):
        y, size, whole = k.output(call, 0), k.output_size(call, 0), is_whole(call)
        k.fill(y, 0, size * width)
        for i in range(k.input_size(call, 0)):
            at = index_at(k.input(call, 1), i)
            if not whole:
                at = target(call, at)
            elif at >= size:
                at = int64(-1)
            if at < 0:
                k.set_error_index(call, i)
                return k.INDEX_OUT_OF_RANGE
            put(y, at, get(k.input(call, 0), i))
        return k.OK

    return parts(run=run)
