"""Attention: scores, softmax and the weighted sum of values, head by head."""

from __future__ import annotations

from attention_scores import BOOL, heads, scores
from panels import DEPTH
from product import ROWS as TYPES
from product import product

from _lang import inline, kernel, namespace, parts

ROWS = 96  # queries whose scores are held at once, at most
HELD = 32 << 10  # scores that are held at once, unless they are of few rows
TILED_HELD = 96 << 10  # the same by AMX tiles, which take 32 rows
EACH = 64  # multiplications that take as long as the softmax of a score
FEW = 4  # queries that read the keys as they lie: packing would cost more
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


def operands(k, x, h):
    """Outlined functions that bring keys, values and queries into the shape the products want."""
    g, nb = x.panels, k.dtype("T1").bits // 8
    lanes, p = k.lanes(g.wide), k.vector(g.wide)
    v, offset, put = k.vector("T1", k.lanes(g.wide)), k.offset, k.store(g.wide)
    pack_b, step = g.pack_b, g.width

    @k.outline("int64(call, int64)")
    def is_copied(call, i):
        """Rows of a past that no output continues are brought together first."""
        out = 1 if k.has_input(call, 4) else 0
        if out != 0 and k.n_outputs(call) > i:
            out = 1 if k.output_rank(call, i) < 0 else 0
        return out

    @k.outline("int64(call, int64)")
    def row_step(call, i):
        """Of keys (1) or values (2), as `rows_of` gives them."""
        size = h.size(call, i)
        return size if k.has_input(call, 4) else h.step(call, i, size)

    @k.outline("int64(call, int64, int64, int64, pointer)")
    def gather(call, i, b, head, to):
        """Past and new rows of one head, one behind the other."""
        old, size = h.past(call), h.size(call, i) * nb
        new = h.length(call, i)
        first = (b * h.count(call, i) + head) * old
        if old > 0:
            k.copy(to, 0, k.input(call, i + 3), first * size, old * size)
        for t in range(new):
            at = h.row(call, i, h.size(call, i), b, head, t)
            k.copy(to, (old + t) * size, k.input(call, i), at * nb, size)
        return 0

    @inline
    def rows_of(call, i, b, head, memory):
        """Where the rows of one head of keys (1) or values (2) begin; `memory` takes copies."""
        size = h.size(call, i)
        if is_copied(call, i) != 0:
            gather(call, i, b, head, memory)
            at = memory
        elif k.has_input(call, 4):
            first = (b * h.count(call, i) + head) * h.total(call) * size
            at = offset(k.output(call, i), first * nb)
        else:
            at = offset(k.input(call, i), h.row(call, i, size, b, head, 0) * nb)
        return at

    @k.outline("int64(pointer, pointer, int64, int64, int64)")
    def pack_keys(to, x, row, n, size):
        """Keys as columns: panels of [size][width]."""
        for t in range(0, n, step):
            pack_b(offset(to, t * size * nb), x, t * row, min(step, n - t), 1, row, size)
        return 0

    @k.outline("int64(pointer, pointer, int64, int64, int64)")
    def pack_values(to, x, row, n, size):
        """Values as rows: panels of [keys][width]."""
        for d in range(0, size, step):
            pack_b(offset(to, d * n * nb), x, d, min(step, size - d), row, 1, n)
        return 0

    @k.outline("int64(pointer, pointer, pointer, int64, int64, int64)")
    def dots(to, q, x, row, n, size):
        """Scores of one query against keys that lie as rows."""
        whole = size // lanes * lanes
        left = size - whole
        for t in range(n):
            at, a, b = t * row, p.zero(), p.zero()
            d = 0
            while d + 2 * lanes <= whole:
                a = p.fma(p.load(q, d), v.load(x, at + d), a)
                b = p.fma(p.load(q, d + lanes), v.load(x, at + d + lanes), b)
                d += 2 * lanes
            if d < whole:
                a = p.fma(p.load(q, d), v.load(x, at + d), a)
            if left > 0:
                b = p.fma(p.load_n(q, whole, left), v.load_n(x, at + whole, left), b)
            put(to, t, p.sum(a + b))
        return 0

    return namespace(
        *("operands",),
        is_copied=is_copied,
        row_step=row_step,
        gather=gather,
        rows_of=rows_of,
        pack_keys=pack_keys,
        pack_values=pack_values,
        dots=dots,
    )


def attention(k):
    """A unit is one head. Keys and values are packed once, queries go through in blocks of rows,
    few of them read keys and values as they lie.
    """
    x = product(k, "T1")
    g, h = x.panels, heads(k)
    s, o = scores(k), operands(k, x, h)
    wb, nb, step, few = g.wide_bytes, g.bytes, g.width, 2 * x.few
    lanes, p = k.lanes(g.wide), k.vector(g.wide)
    cast = k.cast("T1")
    get_wide, put_wide = k.load(g.wide), k.store(g.wide)
    ld64 = k.load("int64")
    offset, block, take_rows, half = k.offset, g.block, x.take_rows, x.half
    # Weights of half types have more bits than their pieces would.
    tiled, weighs_tiled = x.tiled, x.tiled and not half
    tile_rows, has_nan, rows_scratch = x.tile_rows, x.has_nan, x.rows_scratch
    few_rows, most_held = (32, TILED_HELD) if tiled else (x.few, HELD)

    @inline
    def up(n):
        return (n + step - 1) // step * step

    @k.outline("int64(call)")
    def held(call):
        """Queries of one block."""
        most = most_held // max(up(h.total(call)), 1) // few_rows * few_rows
        return min(min(max(most, few_rows), ROWS), max(h.length(call, 0), 1))

    @k.outline("int64(call)")
    def packed_keys(call):
        """Bytes."""
        return up(h.total(call)) * h.size(call, 1) * nb if h.length(call, 0) > FEW else 0

    @k.outline("int64(call)")
    def packed_values(call):
        """Bytes; a plain row of values must end with a panel."""
        size = h.size(call, 2)
        return up(size) * h.total(call) * nb if h.length(call, 0) > few or size != up(size) else 0

    @k.outline("int64(call, int64)")
    def copied(call, i):
        return h.total(call) * h.size(call, i) * nb if o.is_copied(call, i) != 0 else 0

    @k.outline("int64(call, int64, int64, int64, int64, pointer, pointer, pointer, pointer)")
    def score(call, b, head, i, rows, to, keys, memory, room):
        """Scores of `rows` queries; `keys`: panels, or rows as they lie."""
        n, size = h.used(call, b), h.size(call, 0)
        at, row = h.row(call, 0, size, b, head, i), h.step(call, 0, size)
        q = offset(k.input(call, 0), at * nb)
        if half:
            take_rows(memory, q, 0, rows, row, 1, size)
            q, row = memory, size
        if packed_keys(call) > 0:
            bad = 1
            if tiled and rows > few:
                tile_rows(rows, n, size, q, row, keys, step, size * step, to, up(n), 1, room)
                bad = has_nan(to, up(n), rows, n)
            if bad == 1:
                block(rows, n, size, q, row, 1, keys, step, size * step, to, up(n), 1)
        else:
            for r in range(rows):
                line, query = offset(to, r * up(n) * wb), offset(q, r * row * wb)
                o.dots(line, query, keys, o.row_step(call, 1), n, size)
        return 0

    @k.outline("int64(call, int64, int64, int64, int64, pointer, pointer)")
    def soften(call, b, head, i, rows, x, factors):
        """Rows of scores into exponentials; `factors` takes 1 over their sums."""
        n = h.used(call, b)
        for r in range(rows):
            row = offset(x, r * up(n) * wb)
            s.bias(call, b, head, i + r, row)
            f = s.exponentials(row, n)
            if k.attr_int(call, 5) == 3 and k.n_outputs(call) > 3:
                for j in range(n):
                    put_wide(row, j, get_wide(row, j) * f)
                s.expose(call, b, head, i + r, row)
                f = cast(1)
            put_wide(factors, r, f)
        return 0

    @k.outline("int64(call, int64, int64, int64, pointer, pointer, pointer, int64, pointer)")
    def add_values(call, by_tiles, n, rows, x, values, to, row, room):
        """Sums of n values, weighted by rows of `x`."""
        size, packed = h.size(call, 2), packed_values(call) > 0
        b_row = step if packed else o.row_step(call, 2)
        b_panel = n * step if packed else step * 1
        for d in range(0, max(n, 1), DEPTH):
            deep, first = min(n - d, DEPTH), 1 if d == 0 else 0
            part, source = offset(x, d * wb), offset(values, d * b_row * nb)
            if weighs_tiled and by_tiles == 1:
                tile_rows(
                    rows, size, deep, part, up(n), source, b_row, b_panel, to, row, first, room
                )
            else:
                block(rows, size, deep, part, up(n), 1, source, b_row, b_panel, to, row, first)
        return 0

    @k.outline("int64(call, int64, int64, pointer, pointer, pointer, pointer, int64, pointer)")
    def weigh(call, n, rows, x, values, factors, to, row, room):
        """Sums of n values, weighted by the exponentials, times the factors; `row`: of `to`."""
        size, bad = h.size(call, 2), 1
        if weighs_tiled and rows > few:
            add_values(call, 1, n, rows, x, values, to, row, room)
            bad = has_nan(to, row, rows, size)
        if bad == 1:
            add_values(call, 0, n, rows, x, values, to, row, room)
        for r in range(rows):
            f, d = p.set(get_wide(factors, r)), 0
            while d < size:
                left = min(size - d, lanes)
                p.store_n(to, r * row + d, p.load_n(to, r * row + d, left) * f, left)
                d += lanes
        return 0

    @k.outline("int64(call, int64, pointer)")
    def attend(call, unit, scratch):
        b, head = unit // h.count(call, 0), unit % h.count(call, 0)
        n, size, value_size = h.used(call, b), h.size(call, 0), h.size(call, 2)
        shared = head // max(h.count(call, 0) // max(h.count(call, 1), 1), 1)
        most = held(call)
        keys = offset(scratch, packed_keys(call))
        values = offset(keys, packed_values(call))
        lines = offset(values, copied(call, 1) + copied(call, 2))
        queries = offset(lines, most * up(n) * wb)
        sums = offset(queries, most * size * wb)
        factors = offset(sums, most * value_size * wb)
        room = offset(factors, (most * wb + 63) // 64 * 64)
        key_rows = o.rows_of(call, 1, b, shared, values)
        value_rows = o.rows_of(call, 2, b, shared, offset(values, copied(call, 1)))
        if packed_keys(call) > 0:
            o.pack_keys(scratch, key_rows, o.row_step(call, 1), n, size)
            key_rows = scratch
        if packed_values(call) > 0:
            o.pack_values(keys, value_rows, o.row_step(call, 2), n, value_size)
            value_rows = keys
        row = h.step(call, 0, value_size)
        for i in range(0, h.length(call, 0), most):
            rows = min(h.length(call, 0) - i, most)
            score(call, b, head, i, rows, lines, key_rows, queries, room)
            soften(call, b, head, i, rows, lines, factors)
            at = h.row(call, 0, value_size, b, head, i)
            y = offset(k.output(call, 0), at * nb)
            if half:
                weigh(call, n, rows, lines, value_rows, factors, sums, value_size, room)
                x.deliver(y, row, sums, rows, value_size)
            else:
                weigh(call, n, rows, lines, value_rows, factors, y, row, room)
        return 0

    @inline
    def concatenate(call, i, unit):
        """One head of present keys (1) or values (2)."""
        if k.n_outputs(call) > i and k.output_rank(call, i) >= 0:
            b, head = unit // h.count(call, i), unit % h.count(call, i)
            at = unit * h.total(call) * h.size(call, i) * nb
            o.gather(call, i, b, head, offset(k.output(call, i), at))

    def run(call, phase, begin, end, scratch):
        for unit in range(begin, end):
            if phase == 0:
                concatenate(call, 1, unit)
                concatenate(call, 2, unit)
            else:
                b = unit // h.count(call, 0)
                if k.has_input(call, 6):
                    keys = ld64(k.input(call, 6), b)
                    if keys < 0 or keys > h.total(call):
                        k.set_error_index(call, b)
                        return k.INDEX_OUT_OF_RANGE
                attend(call, unit, scratch)
        return k.OK

    def units(call, phase):
        if phase == 0:
            return h.batches(call) * h.count(call, 1) if k.n_outputs(call) > 1 else 0
        return h.batches(call) * h.count(call, 0)

    def scratch(call):
        size, value_size = h.size(call, 0), h.size(call, 2)
        out = packed_keys(call) + packed_values(call) + copied(call, 1) + copied(call, 2)
        out += held(call) * (up(h.total(call)) + size + value_size + 1) * wb + 128
        if tiled:
            deep = max(size, min(h.total(call), DEPTH))
            out += rows_scratch(held(call), deep)
        return out

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
        per = h.total(call) * (h.size(call, 0) + h.size(call, 2) + EACH)
        return h.batches(call) * h.count(call, 0) * h.length(call, 0) * per // 40

    return parts(run=run, phases=2, units=units, scratch=scratch, supports=supports, work=work)


for floating, isa in TYPES:
    kernel(
        "Attention",
        types={"T1": floating, "T2": floating},
        where=lambda k: k.dtype("T1") == k.dtype("T2"),
        attributes=ATTRIBUTES,
        isa=isa,
        reasons=(
            "the mask has another element type than the queries",
            "query heads are no multiple of key heads",
        ),
    )(attention)
