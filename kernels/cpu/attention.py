"""Attention and RotaryEmbedding: scores, softmax and the weighted sum of values, head by head."""

from __future__ import annotations

from numba import int64
from panels import panels

from _lang import FLOATS, inline, kernel, namespace, parts

ROWS = 96  # queries whose scores are held at once
ATTRIBUTES = (
    "scale",
    "is_causal",
    "q_num_heads",
    "kv_num_heads",
    "softcap",
    "qk_matmul_output_mode",
    "left_window_size",
    "right_window_size",
)
BOOL = 9


def heads(k):
    """Inline functions over the call: extents, and where a row of a head begins."""

    @inline
    def three(call):
        return k.input_rank(call, 0) == 3

    @inline
    def batches(call):
        return k.input_dim(call, 0, 0)

    @inline
    def count(call, i):
        """Heads of operand i: 0 queries, 1 keys, 2 values."""
        if k.input_rank(call, i) == 3:
            n = k.attr_int(call, 2) if i == 0 else k.attr_int(call, 3)
        else:
            n = k.input_dim(call, i, 1)
        return n

    @inline
    def length(call, i):
        return k.input_dim(call, i, 1 if k.input_rank(call, i) == 3 else 2)

    @inline
    def size(call, i):
        if k.input_rank(call, i) == 3:
            n = k.input_dim(call, i, 2) // max(count(call, i), 1)
        else:
            n = k.input_dim(call, i, 3)
        return n

    @inline
    def past(call):
        return k.input_dim(call, 4, 2) if k.has_input(call, 4) else int64(0)

    @inline
    def total(call):
        return past(call) + length(call, 1)

    @inline
    def row(call, i, width, b, h, t):
        """Element where row t of head h begins, in operand i or in an output of its layout."""
        n, rows = count(call, i), length(call, i)
        if k.input_rank(call, i) == 3:
            at = ((b * rows + t) * n + h) * width
        else:
            at = ((b * n + h) * rows + t) * width
        return at

    return namespace(
        "heads",
        three=three,
        batches=batches,
        count=count,
        length=length,
        size=size,
        past=past,
        total=total,
        row=row,
    )


def masks(k, g, put_wide, get_wide):
    """The outlined function that turns a row of scores into unnormalised probabilities."""
    get, ld_bool, ld64 = k.load("T1"), k.load("bool"), k.load("int64")
    wide = "double" if k.dtype("T1").name == "double" else "float"
    cast, p, lanes = k.cast("T1"), k.vector(wide), k.lanes(wide)
    put = k.store("T1")
    h = heads(k)
    lowest = cast(float("-inf"))

    @inline
    def mask_row(call, b, head, i):
        """Element of the mask where row (b, head, i) begins."""
        rank = k.input_rank(call, 3)
        at, stride = int64(0), k.input_dim(call, 3, rank - 1)
        if rank > 1 and k.input_dim(call, 3, rank - 2) > 1:
            at += i * stride
        stride *= k.input_dim(call, 3, rank - 2) if rank > 1 else 1
        if rank > 2 and k.input_dim(call, 3, rank - 3) > 1:
            at += head * stride
        stride *= k.input_dim(call, 3, rank - 3) if rank > 2 else 1
        if rank > 3 and k.input_dim(call, 3, rank - 4) > 1:
            at += b * stride
        return at

    @inline
    def first_key(call, b, i):
        """Keys before this one are out of the window."""
        left = k.attr_int(call, 6)
        return max(i + offset_of(call, b) - left, int64(0)) if left >= 0 else int64(0)

    @inline
    def offset_of(call, b):
        if k.has_input(call, 4):
            n = h.past(call)
        elif k.has_input(call, 6):
            n = ld64(k.input(call, 6), b) - h.length(call, 0)
        else:
            n = int64(0)
        return n

    @inline
    def end_key(call, b, i, n):
        """Keys from this one on are in the future, padding, or out of the window."""
        end = n
        if k.attr_int(call, 1) != 0:
            end = min(end, i + offset_of(call, b) + 1)
        if k.attr_int(call, 7) >= 0:
            end = min(end, i + offset_of(call, b) + k.attr_int(call, 7) + 1)
        if k.has_input(call, 6):
            end = min(end, ld64(k.input(call, 6), b))
        if k.has_input(call, 3):
            rank = k.input_rank(call, 3)
            across = k.input_dim(call, 3, rank - 1)
            end = min(end, across) if across != 1 or n == 1 else end
        return max(end, int64(0))

    @k.outline("int64(call, int64, int64, int64, pointer)")
    def bias(call, b, head, i, x):
        """Adds the mask to n scores; what a query must not see becomes -inf."""
        n = h.total(call)
        end = end_key(call, b, i, n)
        first = min(first_key(call, b, i), end)
        cap = cast(k.attr_float(call, 4))
        if cap > cast(0):
            for j in range(n):
                put_wide(x, j, k.math.tanh(get_wide(x, j) / cap) * cap)
        if k.n_outputs(call) > 3 and k.attr_int(call, 5) <= 1:
            expose(call, b, head, i, x)
        if k.has_input(call, 3):
            at = mask_row(call, b, head, i)
            single = k.input_dim(call, 3, k.input_rank(call, 3) - 1) == 1
            if k.input_dtype(call, 3) == BOOL:
                for j in range(first, end):
                    if ld_bool(k.input(call, 3), at if single else at + j) == 0:
                        put_wide(x, j, lowest)
            else:
                for j in range(first, end):
                    m = get(k.input(call, 3), at if single else at + j)
                    put_wide(x, j, get_wide(x, j) + m)
        for j in range(first):
            put_wide(x, j, lowest)
        for j in range(end, n):
            put_wide(x, j, lowest)
        if k.n_outputs(call) > 3 and k.attr_int(call, 5) == 2:
            expose(call, b, head, i, x)
        return 0

    @k.outline("int64(call, int64, int64, int64, pointer)")
    def expose(call, b, head, i, x):
        """A row of the fourth output."""
        if k.output_rank(call, 3) >= 0:
            n = h.total(call)
            at = ((b * h.count(call, 0) + head) * h.length(call, 0) + i) * n
            for j in range(n):
                put(k.output(call, 3), at + j, get_wide(x, j))
        return 0

    @k.outline(f"{wide}(pointer, int64)")
    def exponentials(x, n):
        """e^(x - max) in place; 1 over their sum, 0 when nothing may be seen."""
        whole = n // lanes * lanes
        most = p.set(lowest)
        for j in range(0, whole, lanes):
            most = p.max(most, p.load(x, j))
        top = p.hmax(most)
        for j in range(whole, n):
            top = max(top, get_wide(x, j))
        if top == lowest:
            for j in range(n):
                put_wide(x, j, 0)
            return cast(0)
        sums, shift = p.zero(), p.set(top)
        for j in range(0, whole, lanes):
            e = p.exp(p.load(x, j) - shift)
            sums = sums + e
            p.store(x, j, e)
        total = p.sum(sums)
        for j in range(whole, n):
            e = k.math.exp(get_wide(x, j) - top)
            total += e
            put_wide(x, j, e)
        return cast(1) / total

    return bias, expose, exponentials


@kernel(
    "Attention",
    types={"T1": FLOATS, "T2": FLOATS},
    where=lambda k: k.dtype("T1") == k.dtype("T2"),
    attributes=ATTRIBUTES,
    reasons=(
        "the mask has another element type than the queries",
        "query heads are no multiple of key heads",
    ),
)
def attention(k):
    """A unit is one head. Keys and values are packed once, queries go through in blocks of rows."""
    wide = "double" if k.dtype("T1").name == "double" else "float"
    g = panels(k, wide)
    get, put, cast = k.load("T1"), k.store("T1"), k.cast("T1")
    get_wide, put_wide = k.load(wide), k.store(wide)
    lanes, v, p = k.lanes("T1"), k.vector("T1"), k.vector(wide)
    h = heads(k)
    bias, expose, exponentials = masks(k, g, put_wide, get_wide)
    step, wb, nb = g.width, g.bytes, k.dtype("T1").bits // 8
    offset, multiply, pack_a = k.offset, g.multiply, g.pack_a

    @inline
    def up(n):
        return (n + step - 1) // step * step

    @inline
    def source(call, i, b, head, t, width):
        """Row t of keys (1) or values (2): of the past, or of the new ones."""
        old = h.past(call)
        if t < old:
            at = offset(
                k.input(call, i + 3), ((b * h.count(call, i) + head) * old + t) * width * nb
            )
        else:
            at = offset(k.input(call, i), h.row(call, i, width, b, head, t - old) * nb)
        return at

    @k.outline("int64(call, int64, int64, pointer)")
    def pack_keys(call, b, head, to):
        """Keys as columns: panels of [size][width], zeros behind the last key."""
        n, size = h.total(call), h.size(call, 1)
        for t in range(n, up(n)):
            for d in range(size):
                put_wide(to, (t // step * size + d) * step + t % step, 0)
        for t in range(n):
            row, at = source(call, 1, b, head, t, size), t // step * size * step + t % step
            for d in range(size):
                put_wide(to, at + d * step, get(row, d))
        return 0

    @k.outline("int64(call, int64, int64, pointer)")
    def pack_values(call, b, head, to):
        """Values as rows: panels of [keys][width]."""
        n, size = h.total(call), h.size(call, 2)
        for t in range(n):
            row = source(call, 2, b, head, t, size)
            for d in range(up(size)):
                x = get(row, d) if d < size else cast(0)
                put_wide(to, (d // step * n + t) * step + d % step, x)
        return 0

    @k.outline("int64(call, int64, int64, int64, int64, pointer)")
    def take_queries(call, b, head, i, rows, to):
        """Scaled query rows as [rows][size]."""
        size = h.size(call, 0)
        factor = cast(k.attr_float(call, 0))
        if k.attr_n(call, 0) < 0 or factor == cast(0):
            factor = cast(1) / k.math.sqrt(cast(size))
        for r in range(rows):
            at = h.row(call, 0, size, b, head, i + r)
            whole = size // lanes * lanes
            for d in range(0, whole, lanes):
                x = v.load(k.input(call, 0), at + d) * v.set(factor)
                p.store(to, r * size + d, x)
            for d in range(whole, size):
                put_wide(to, r * size + d, get(k.input(call, 0), at + d) * factor)
        return 0

    @k.outline("int64(call, int64, int64, int64, int64, pointer, pointer)")
    def write_rows(call, b, head, i, rows, x, factors):
        """Output rows, each divided by the sum of its exponentials."""
        size = h.size(call, 2)
        for r in range(rows):
            at = h.row(call, 0, size, b, head, i + r)
            f = get_wide(factors, r)
            for d in range(size):
                put(k.output(call, 0), at + d, get_wide(x, r * size + d) * f)
        return 0

    @k.outline("int64(call, int64, pointer)")
    def attend(call, unit, scratch):
        b, head = unit // h.count(call, 0), unit % h.count(call, 0)
        n, size, value_size = h.total(call), h.size(call, 0), h.size(call, 2)
        shared = head // max(h.count(call, 0) // max(h.count(call, 1), 1), 1)
        keys = scratch
        values = offset(keys, up(n) * size * wb)
        scores = offset(values, up(value_size) * n * wb)
        packed = offset(scores, ROWS * up(n) * wb)
        block = offset(packed, ROWS * max(n, size) * wb)
        factors = offset(block, ROWS * max(size, value_size) * wb)
        pack_keys(call, b, shared, keys)
        pack_values(call, b, shared, values)
        across = up(n)
        for i in range(0, h.length(call, 0), ROWS):
            rows = min(h.length(call, 0) - i, int64(ROWS))
            take_queries(call, b, head, i, rows, block)
            pack_a(packed, block, 0, rows, size, 1, size)
            for j in range(0, n, step):
                c = offset(scores, j * wb)
                multiply(size, packed, offset(keys, j * size * wb), c, rows, across, step, 1)
            for r in range(rows):
                x = offset(scores, r * across * wb)
                bias(call, b, head, i + r, x)
                f = exponentials(x, n)
                if k.n_outputs(call) > 3 and k.attr_int(call, 5) == 3:
                    for j in range(n):
                        put_wide(x, j, get_wide(x, j) * f)
                    expose(call, b, head, i + r, x)
                    f = cast(1)
                put_wide(factors, r, f)
            pack_a(packed, scores, 0, rows, across, 1, n)
            for j in range(0, value_size, step):
                c = offset(block, j * wb)
                part = offset(values, j * n * wb)
                multiply(n, packed, part, c, rows, value_size, value_size - j, 1)
            write_rows(call, b, head, i, rows, block, factors)
        return 0

    @inline
    def concatenate(call, i, unit):
        """One head of present keys (1) or values (2)."""
        if k.n_outputs(call) > i and k.output_rank(call, i) >= 0:
            n, size = h.total(call), h.size(call, i)
            b, head = unit // h.count(call, i), unit % h.count(call, i)
            for t in range(n):
                to = (unit * n + t) * size * nb
                k.copy(k.output(call, i), to, source(call, i, b, head, t, size), 0, size * nb)

    def run(call, phase, begin, end, scratch):
        for unit in range(begin, end):
            if phase == 0:
                concatenate(call, 1, unit)
                concatenate(call, 2, unit)
            else:
                attend(call, unit, scratch)
        return k.OK

    def units(call, phase):
        if phase == 0:
            return h.batches(call) * h.count(call, 1) if k.n_outputs(call) > 1 else 0
        return h.batches(call) * h.count(call, 0)

    def scratch(call):
        n, size, value_size = h.total(call), h.size(call, 0), h.size(call, 2)
        elements = up(n) * size + up(value_size) * n + ROWS * up(n) + ROWS * max(n, size)
        return (elements + ROWS * max(size, value_size) + ROWS) * wb + 64

    def supports(call):
        reason = 0
        if k.has_input(call, 3):
            kind = k.input_dtype(call, 3)
            if kind != BOOL and kind != k.input_dtype(call, 0):
                reason = 1
        if h.count(call, 1) < 1 or h.count(call, 0) % max(h.count(call, 1), 1) != 0:
            reason = 2
        return reason

    def work(call):
        per = h.total(call) * (h.size(call, 0) + h.size(call, 2))
        return h.batches(call) * h.count(call, 0) * h.length(call, 0) * per // 40

    return parts(run=run, phases=2, units=units, scratch=scratch, supports=supports, work=work)


@kernel(
    "RotaryEmbedding",
    types={"T": FLOATS},
    attributes=("interleaved", "num_heads", "rotary_embedding_dim"),
)
def rotary(k):
    """A unit is one position of one batch entry, all heads."""
    get, put = k.load("T"), k.store("T")
    ld64 = k.load("int64")

    def run(call, phase, begin, end, scratch):
        three = k.input_rank(call, 0) == 3
        count = k.attr_int(call, 1) if three else k.input_dim(call, 0, 1)
        length = k.input_dim(call, 0, 1 if three else 2)
        size = k.input_dim(call, 0, 2) // max(count, 1) if three else k.input_dim(call, 0, 3)
        turned = k.attr_int(call, 2)
        turned = size if turned <= 0 else turned
        half = turned // 2
        interleaved = k.attr_int(call, 0) != 0
        x, y = k.input(call, 0), k.output(call, 0)
        for unit in range(begin, end):
            b, t = unit // length, unit % length
            angle = unit * half
            if k.has_input(call, 3):
                angle = ld64(k.input(call, 3), unit) * half
            for head in range(count):
                at = ((b * length + t) * count + head) * size
                if not three:
                    at = ((b * count + head) * length + t) * size
                for d in range(half):
                    first = at + (2 * d if interleaved else d)
                    second = first + (1 if interleaved else half)
                    cosine = get(k.input(call, 1), angle + d)
                    sine = get(k.input(call, 2), angle + d)
                    p, q = get(x, first), get(x, second)
                    put(y, first, cosine * p - sine * q)
                    put(y, second, sine * p + cosine * q)
                for d in range(turned, size):
                    put(y, at + d, get(x, at + d))
        return k.OK

    def units(call, phase):
        return k.input_dim(call, 0, 0) * k.input_dim(
            call, 0, 1 if k.input_rank(call, 0) == 3 else 2
        )

    return parts(run=run, units=units)
