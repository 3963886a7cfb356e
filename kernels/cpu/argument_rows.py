"""ArgMax and ArgMin in vectors: along rows of neighbours, and of neighbouring columns at once."""

from __future__ import annotations

from numba import int64
from reduce import ARGUMENT, lines, units_of_output

from _lang import WIDE, inline, kernel, parts

CHUNK = 256  # neighbours of which the extreme is found before its place is
WIDE_BY = 4  # vectors of columns that are done together


def rows_builder(largest):
    """The value is the extreme as ReduceMax has it, so that NaN is the extreme, as in numpy."""

    def build(k):
        v, lanes = k.vector("T"), k.lanes("T")
        index = k.vector("int32", lanes)
        get, put = k.load("T"), k.store("int64")
        number, put_number = k.load("int32"), k.store("int32")
        a, width = lines(k), WIDE_BY * lanes
        join = v.max if largest else v.min
        before, up_to = (v.lt, v.le) if largest else (v.gt, v.ge)

        @inline
        def better(x, value, last):
            """Whether a later element or chunk takes the place of an earlier one."""
            out = x > value if largest else x < value
            if x != x:
                out = value == value or last
            elif last and x == value:
                out = True
            return out

        @k.outline("int64(pointer, int64, int64, int64, int64)")
        def search(x, at, n, step, last):
            """The place of the extreme of n elements, one by one."""
            best, value = int64(0), get(x, at)
            for i in range(1, n):
                one = get(x, at + i * step)
                if better(one, value, last != 0):
                    best, value = int64(i), one
            return best

        @inline
        def find(x, at, value, last):
            """The place of `value` in a chunk that holds it."""
            i, step = int64(0), int64(1)
            if last != 0:
                i, step = int64(CHUNK - 1), int64(-1)
            one = get(x, at + i)
            while one != value and (one == one or value == value):
                i += step
                one = get(x, at + i)
            return i

        @inline
        def extreme(x, at):
            """Of a chunk."""
            p, q = v.load(x, at), v.load(x, at + lanes)
            for i in range(2 * lanes, CHUNK, 2 * lanes):
                p, q = join(p, v.load(x, at + i)), join(q, v.load(x, at + i + lanes))
            return v.hmax(join(p, q)) if largest else v.hmin(join(p, q))

        @inline
        def row(x, at, n, last):
            best, whole = int64(0), n // CHUNK * CHUNK
            if whole == 0:
                return search(x, at, n, 1, last)
            value = extreme(x, at)
            for i in range(CHUNK, whole, CHUNK):
                one = extreme(x, at + i)
                if better(one, value, last != 0):
                    best, value = int64(i), one
            best += find(x, at + best, value, last)
            if whole < n:
                rest = whole + search(x, at + whole, n - whole, 1, last)
                if better(get(x, at + rest), get(x, at + best), last != 0):
                    best = rest
            return best

        @inline
        def keep(old, x, i, held, last):
            """The places held so far, of which `i` takes some."""
            taken = up_to(old, x) if last != 0 else before(old, x)
            return index.select(taken, i, held)

        @k.outline("int64(pointer, int64, int64, int64, int64, pointer)")
        def columns(x, at, n, step, last, places):
            """The places in `width` columns, as int32; -1 where there is a NaN."""
            p, q = v.load(x, at), v.load(x, at + lanes)
            r, t = v.load(x, at + 2 * lanes), v.load(x, at + 3 * lanes)
            ip, iq, ir, it = index.zero(), index.zero(), index.zero(), index.zero()
            for i in range(1, n):
                line, place = at + i * step, index.set(i)
                x0, x1 = v.load(x, line), v.load(x, line + lanes)
                x2, x3 = v.load(x, line + 2 * lanes), v.load(x, line + 3 * lanes)
                ip, iq = keep(p, x0, place, ip, last), keep(q, x1, place, iq, last)
                ir, it = keep(r, x2, place, ir, last), keep(t, x3, place, it, last)
                p, q, r, t = join(p, x0), join(q, x1), join(r, x2), join(t, x3)
            index.store(places, 0, ip)
            index.store(places, lanes, iq)
            index.store(places, 2 * lanes, ir)
            index.store(places, 3 * lanes, it)
            all_of = join(join(p, q), join(r, t))
            value = v.hmax(all_of) if largest else v.hmin(all_of)
            return 0 if value == value else -1

        @k.outline("int64(pointer, int64, int64, int64, int64, pointer, int64)")
        def few_columns(x, at, n, step, last, places, count):
            """The same of `count` columns, at most a vector."""
            p, held = v.load_n(x, at, count), index.zero()
            for i in range(1, n):
                one = v.load_n(x, at + i * step, count)
                held = keep(p, one, index.set(i), held, last)
                p = join(p, one)
            index.store(places, 0, held)
            value = v.hmax(p) if largest else v.hmin(p)
            return 0 if value == value else -1

        @inline
        def places_of(x, at, n, inner, last, count, scratch):
            """How many columns have their places in scratch memory now."""
            done = width if count >= width else min(count, lanes)
            if done == width:
                found = columns(x, at, n, inner, last, scratch)
            else:
                found = few_columns(x, at, n, inner, last, scratch, done)
            if found < 0:
                for j in range(done):
                    put_number(scratch, j, search(x, at + j, n, inner, last))
            return done

        def run(call, phase, begin, end, scratch):
            n, inner, x = a.extent(call), a.inner(call), k.input(call, 0)
            last, y, unit = k.attr_int(call, 2), k.output(call, 0), begin
            while unit < end:
                at = unit // inner * n * inner + unit % inner
                if inner == 1:
                    put(y, unit, row(x, at, n, last))
                    unit += 1
                else:
                    count = min(end - unit, inner - unit % inner)
                    done = places_of(x, at, n, inner, last, count, scratch)
                    for j in range(done):
                        put(y, unit + j, int64(number(scratch, j)))
                    unit += done
            return k.OK

        def scratch(call):
            return width * 4

        def supports(call):
            return 0 if 0 < a.extent(call) < 1 << 31 else 1

        def work(call):
            return k.input_size(call, 0) // 4

        return parts(
            run=run, units=units_of_output(k), scratch=scratch, supports=supports, work=work
        )

    return build


for _op, _largest in (("ArgMax", True), ("ArgMin", False)):
    kernel(
        _op,
        types={"T": WIDE},
        attributes=ARGUMENT,
        variant="rows",
        order=-1,
        reasons=("the axis has 2^31 elements or more",),
    )(rows_builder(_largest))
