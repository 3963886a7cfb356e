"""What attention knows of its call: heads, masks, and the softmax of a row of scores."""

from __future__ import annotations

from numba import float64, int64

from _lang import inline, namespace

BOOL = 9


def heads(k):
    """Functions over the call: extents, and where a row of a head begins."""
    seen = k.load("int64")

    @k.outline("int64(call)")
    def batches(call):
        return k.input_dim(call, 0, 0)

    @k.outline("int64(call, int64)")
    def count(call, i):
        """Heads of operand i: 0 queries, 1 keys, 2 values."""
        if k.input_rank(call, i) == 3:
            n = k.attr_int(call, 2) if i == 0 else k.attr_int(call, 3)
        else:
            n = k.input_dim(call, i, 1)
        return n

    @k.outline("int64(call, int64)")
    def length(call, i):
        return k.input_dim(call, i, 1 if k.input_rank(call, i) == 3 else 2)

    @k.outline("int64(call, int64)")
    def size(call, i):
        if k.input_rank(call, i) == 3:
            n = k.input_dim(call, i, 2) // max(count(call, i), 1)
        else:
            n = k.input_dim(call, i, 3)
        return n

    @k.outline("int64(call)")
    def past(call):
        return k.input_dim(call, 4, 2) if k.has_input(call, 4) else int64(0)

    @k.outline("int64(call)")
    def total(call):
        return past(call) + length(call, 1)

    @k.outline("int64(call, int64)")
    def used(call, b):
        """Keys that any query of batch b may see; all of them where scores are handed out."""
        n = total(call)
        shown = k.n_outputs(call) > 3 and k.output_rank(call, 3) >= 0
        if k.has_input(call, 6) and not shown:
            n = min(n, max(seen(k.input(call, 6), b), int64(1)))
        return n

    @k.outline("int64(call, int64, int64, int64, int64, int64)")
    def row(call, i, width, b, h, t):
        """Element where row t of head h begins, in operand i or in an output of its layout."""
        n, rows = count(call, i), length(call, i)
        if k.input_rank(call, i) == 3:
            at = ((b * rows + t) * n + h) * width
        else:
            at = ((b * n + h) * rows + t) * width
        return at

    @k.outline("int64(call, int64, int64)")
    def step(call, i, width):
        """From one row of a head to the next."""
        return count(call, i) * width if k.input_rank(call, i) == 3 else width * 1

    return namespace(
        "heads",
        batches=batches,
        count=count,
        length=length,
        size=size,
        past=past,
        total=total,
        used=used,
        row=row,
        step=step,
    )


def scores(k):
    """Outlined functions over a row of scores: `bias` scales and masks it, `exponentials` turns it
    into unnormalised probabilities, `expose` writes it to the fourth output.
    """
    get, ld_bool, ld64 = k.load("T1"), k.load("bool"), k.load("int64")
    wide = "double" if k.dtype("T1").name == "double" else "float"
    cast, p, lanes = k.cast("T1"), k.vector(wide), k.lanes(wide)
    v, u = k.vector("T1", lanes), k.vector("uint8", lanes)
    put, get_wide, put_wide = k.store("T1"), k.load(wide), k.store(wide)
    h = heads(k)
    lowest = cast(float("-inf"))

    @k.outline("int64(call, int64, int64, int64)")
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

    @k.outline("int64(call, int64, int64)")
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

    @k.outline("int64(call, int64, int64, int64)")
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
    def expose(call, b, head, i, x):
        """A row of the fourth output."""
        if k.n_outputs(call) > 3 and k.output_rank(call, 3) >= 0:
            n = h.total(call)
            at = ((b * h.count(call, 0) + head) * h.length(call, 0) + i) * n
            for j in range(n):
                put(k.output(call, 3), at + j, get_wide(x, j))
        return 0

    @k.outline("double(call)")
    def scale_of(call):
        factor = k.attr_float(call, 0)
        if k.attr_n(call, 0) < 0 or factor == 0:
            factor = 1 / k.math.sqrt(float64(h.size(call, 0)))
        return factor

    @k.outline("int64(call, pointer, int64)")
    def scale_and_cap(call, x, n):
        factor, cap = p.set(cast(scale_of(call))), cast(k.attr_float(call, 4))
        limit, j = p.set(cap), 0
        while j < n:
            left = min(n - j, lanes)
            s = p.load_n(x, j, left) * factor
            if cap > cast(0):
                s = p.tanh(s / limit) * limit
            p.store_n(x, j, s, left)
            j += lanes
        return 0

    @k.outline("int64(call, pointer, int64, int64, int64)")
    def add_mask(call, x, at, first, end):
        """Adds row `at` of the mask to the scores [first, end), or hides what it forbids."""
        mask, j = k.input(call, 3), first
        if k.input_dim(call, 3, k.input_rank(call, 3) - 1) == 1:
            while j < end:
                if k.input_dtype(call, 3) != BOOL:
                    put_wide(x, j, get_wide(x, j) + get(mask, at))
                elif ld_bool(mask, at) == 0:
                    put_wide(x, j, lowest)
                j += 1
        elif k.input_dtype(call, 3) == BOOL:
            hidden = p.set(lowest)
            while j < end:
                left = min(end - j, lanes)
                seen = u.ne(u.load_n(mask, at + j, left), u.zero())
                p.store_n(x, j, p.select(seen, p.load_n(x, j, left), hidden), left)
                j += lanes
        else:
            while j + lanes <= end:
                p.store(x, j, p.load(x, j) + v.load(mask, at + j))
                j += lanes
            left = end - j
            if left > 0:
                p.store_n(x, j, p.load_n(x, j, left) + v.load_n(mask, at + j, left), left)
        return 0

    @k.outline("int64(call, int64, int64, int64, pointer)")
    def bias(call, b, head, i, x):
        """Scales n scores and adds the mask; what a query must not see becomes -inf."""
        n = h.used(call, b)
        end = end_key(call, b, i, n)
        first = min(first_key(call, b, i), end)
        scale_and_cap(call, x, n)
        if k.attr_int(call, 5) <= 1:
            expose(call, b, head, i, x)
        if k.has_input(call, 3):
            add_mask(call, x, mask_row(call, b, head, i), first, end)
        for j in range(first):
            put_wide(x, j, lowest)
        for j in range(end, n):
            put_wide(x, j, lowest)
        if k.attr_int(call, 5) == 2:
            expose(call, b, head, i, x)
        return 0

    @k.outline(f"{wide}(pointer, int64)")
    def exponentials(x, n):
        """e^(x - max) in place; 1 over their sum, 0 when nothing may be seen."""
        whole = n // lanes * lanes
        left = n - whole
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
        if left > 0:
            p.store_n(x, whole, p.exp(p.load_n(x, whole, left) - shift), left)
            sums = sums + p.load_n(x, whole, left)
        return cast(1) / p.sum(sums)

    return namespace("scores", bias=bias, expose=expose, exponentials=exponentials)
