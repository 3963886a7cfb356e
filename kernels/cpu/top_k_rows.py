"""TopK along rows of neighbours: whole blocks that hold nothing better are passed by in vectors."""

from __future__ import annotations

from numba import int64

from _lang import inline, kernel, parts

VECTORS = 4  # of a block
HALF = 1 << 31  # bounds places, and numbers that stand for values


def word_heap(k):
    """`rise` and `sink`: a heap of words, the least at its root."""
    ld, st = k.load("int64"), k.store("int64")

    @inline
    def rise(heap, at, word):
        """Put `word` into the free last entry `at`."""
        while at > 0 and word < ld(heap, (at - 1) // 2):
            st(heap, at, ld(heap, (at - 1) // 2))
            at = (at - 1) // 2
        st(heap, at, word)

    @k.outline("int64(pointer, int64, int64)")
    def sink(heap, size, word):
        """Put `word` at the root of a heap of `size` entries whose root is free."""
        at, child = int64(0), int64(1)
        while child < size:
            least = ld(heap, child)
            if child + 1 < size and ld(heap, child + 1) < least:
                child += 1
                least = ld(heap, child)
            if word <= least:
                break
            st(heap, at, least)
            at, child = child, 2 * child + 1
        st(heap, at, word)
        return 0

    return rise, sink


@kernel(
    "TopK",
    types={"T": "float"},
    attributes=("axis", "largest"),
    variant="rows",
    order=-1,
    reasons=("its axis is not the last one", "the axis has 2^31 elements or more"),
)
def top_k_rows(k):
    """A unit is one row. An element is a word whose high part orders values, NaN above all numbers,
    and whose low part has the lower place above the higher one; scratch memory holds a heap of the
    largest words.
    """
    rise, sink = word_heap(k)
    get, put, v, lanes = k.load("T"), k.store("T"), k.vector("T"), k.lanes("T")
    bits, ld, st = k.load("int32"), k.load("int64"), k.store("int64")
    block, most = VECTORS * lanes, HALF - 1

    @inline
    def word(x, at, i, largest):
        """Element `at`, which has place i of its row."""
        value, order = get(x, at), int64(bits(x, at))
        if value != value:
            order = int64(most)
        elif value == 0:
            order = int64(0)
        elif order < 0:
            order = order ^ int64(most)
        order = order if largest else -order
        return order * int64(HALF) + (int64(most) - i)

    @inline
    def place(word):
        return int64(most) - (word & int64(most))

    @inline
    def is_behind(value, worst, largest):
        """Whether a later element is certainly not better."""
        return value <= worst if largest else value >= worst

    @inline
    def passes(x, at, worst, largest):
        """Whether a block has nothing that is better than `worst`."""
        a, b = v.load(x, at), v.load(x, at + lanes)
        for i in range(2 * lanes, block, 2 * lanes):
            c, d = v.load(x, at + i), v.load(x, at + i + lanes)
            if largest:
                a, b = v.max(a, c), v.max(b, d)
            else:
                a, b = v.min(a, c), v.min(b, d)
        best = v.hmax(v.max(a, b)) if largest else v.hmin(v.min(a, b))
        return is_behind(best, worst, largest)

    @inline
    def offer(x, base, begin, end, worst, largest, heap, count):
        """Elements of a row to the heap, the worst of which has the value `worst`."""
        for i in range(begin, end):
            if not is_behind(get(x, base + i), worst, largest):
                one = word(x, base + i, i, largest)
                if one > ld(heap, 0):
                    sink(heap, count, one)
                    worst = get(x, base + place(ld(heap, 0)))
        return worst

    def run(call, phase, begin, end, scratch):
        x, last = k.input(call, 0), k.input_rank(call, 0) - 1
        extent, count = k.input_dim(call, 0, last), k.output_dim(call, 0, last)
        largest, values = k.attr_int(call, 1) != 0, k.output_rank(call, 0) >= 0
        places = k.n_outputs(call) > 1 and k.output_rank(call, 1) >= 0
        for unit in range(begin, end if count > 0 else begin):
            base, i = unit * extent, int64(count)
            for j in range(count):
                rise(scratch, int64(j), word(x, base + j, j, largest))
            worst = get(x, base + place(ld(scratch, 0)))
            while i + block <= extent:
                if not passes(x, base + i, worst, largest):
                    worst = offer(x, base, i, i + block, worst, largest, scratch, count)
                i += block
            offer(x, base, i, extent, worst, largest, scratch, count)
            for left in range(count - 1, -1, -1):
                at = place(ld(scratch, 0))
                if left > 0:
                    sink(scratch, left, ld(scratch, left))
                if values:
                    put(k.output(call, 0), unit * count + left, get(x, base + at))
                if places:
                    st(k.output(call, 1), unit * count + left, at)
        return k.OK

    def units(call, phase):
        size, extent = k.input_size(call, 0), k.input_dim(call, 0, k.input_rank(call, 0) - 1)
        return size // extent if size > 0 else 0

    def scratch(call):
        return 8 * max(k.output_dim(call, 0, k.input_rank(call, 0) - 1), 1)

    def supports(call):
        axis, rank = k.attr_int(call, 0), k.input_rank(call, 0)
        why = 0 if axis == -1 or axis == rank - 1 else 1
        if why == 0 and k.input_dim(call, 0, rank - 1) >= HALF:
            why = 2
        return why

    def work(call):
        return k.input_size(call, 0)

    return parts(run=run, units=units, scratch=scratch, supports=supports, work=work)
