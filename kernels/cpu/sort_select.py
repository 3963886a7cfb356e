"""TopK, Unique and NonZero: elements ordered or picked by value."""

from numba import int64, uint64

from _lang import WIDE, inline, kernel, parts


@kernel("TopK", types={"T": WIDE}, attributes=("axis", "largest"))
def top_k(k):
    """A unit is one line along the axis. A heap in scratch memory holds the best so far, the
    worst of them at its root.
    """
    get, put = k.load("T"), k.store("T")
    ld, st = k.load("int64"), k.store("int64")

    @inline
    def axis_of(call):
        a = k.attr_int(call, 0)
        return a + k.input_rank(call, 0) if a < 0 else a

    @inline
    def better(x, base, inner, largest, a, b):
        """Whether element a of the line comes before element b; of equals the lower index does.
        NaN is larger than all numbers.
        """
        va, vb = get(x, base + a * inner), get(x, base + b * inner)
        nan_a, nan_b = va != va, vb != vb
        first = va > vb if largest else va < vb
        if nan_a != nan_b:
            first = nan_a if largest else nan_b
        same = va == vb or (nan_a and nan_b)
        return first or (same and a < b)

    @inline
    def sink(x, base, inner, largest, heap, size, item):
        """Put `item` at the root of a heap of `size` entries whose root is free."""
        at = int64(0)
        child = int64(1)
        while child < size:
            if child + 1 < size:
                if better(x, base, inner, largest, ld(heap, child), ld(heap, child + 1)):
                    child += 1
            if better(x, base, inner, largest, item, ld(heap, child)):
                st(heap, at, ld(heap, child))
                at = child
                child = 2 * at + 1
            else:
                child = size
        st(heap, at, item)

    @inline
    def rise(x, base, inner, largest, heap, at, item):
        """Put `item` into the free last entry `at`."""
        while at > 0:
            parent = (at - 1) // 2
            if better(x, base, inner, largest, ld(heap, parent), item):
                st(heap, at, ld(heap, parent))
                at = parent
            else:
                break
        st(heap, at, item)

    def run(call, phase, begin, end, scratch):
        x = k.input(call, 0)
        axis = axis_of(call)
        extent = k.input_dim(call, 0, axis)
        count = k.output_dim(call, 0, axis)
        largest = k.attr_int(call, 1) != 0
        inner = int64(1)
        for a in range(axis + 1, k.input_rank(call, 0)):
            inner *= k.input_dim(call, 0, a)
        for unit in range(begin, end):
            base = unit // inner * extent * inner + unit % inner
            for i in range(extent):
                if i < count:
                    rise(x, base, inner, largest, scratch, i, i)
                elif count > 0 and better(x, base, inner, largest, i, ld(scratch, 0)):
                    sink(x, base, inner, largest, scratch, count, i)
            out = unit // inner * count * inner + unit % inner
            for i in range(count):
                left = count - 1 - i
                worst = ld(scratch, 0)
                if left > 0:
                    sink(x, base, inner, largest, scratch, left, ld(scratch, left))
                if k.output_rank(call, 0) >= 0:
                    put(k.output(call, 0), out + left * inner, get(x, base + worst * inner))
                if k.n_outputs(call) > 1:
                    if k.output_rank(call, 1) >= 0:
                        st(k.output(call, 1), out + left * inner, worst)
        return k.OK

    def units(call, phase):
        extent = k.input_dim(call, 0, axis_of(call))
        size = k.input_size(call, 0)
        return size // extent if size > 0 else 0

    def scratch(call):
        return 8 * max(k.output_dim(call, 0, axis_of(call)), 1)

    return parts(run=run, units=units, scratch=scratch)


DIGITS = 256  # of a pass of a radix sort


def radix_sort(k):
    """`radix(x, n, order, spare, memory)`: the stable order of n elements by value, NaN last;
    `memory` holds 16 bytes an element and counts of DIGITS.
    """
    dtype = k.dtype("T")
    ld, st = k.load("int64"), k.store("int64")
    bits, is_float = k.load("int32" if dtype.bits == 32 else "int64"), dtype.is_float
    get, zero, is_signed = k.load("T"), k.cast("T")(0), dtype.name != "uint64"
    lowest, positive, most = -(1 << 63), (1 << 63) - 1, (1 << dtype.bits - 1) - 1

    @inline
    def key(x, i):
        """A number that is as large as element i."""
        out = int64(bits(x, i))
        if is_float:
            z = get(x, i)
            if z != z:
                out = int64(most)
            elif z == zero:
                out = int64(0)
            elif out < 0:
                out = out ^ int64(most)
        return out if is_signed else out ^ int64(lowest)

    @inline
    def shifted(word, shift):
        return int64(uint64(word) >> uint64(shift))

    @inline
    def fill_keys(x, keys, n):
        """The keys less the least of them; the bits in which any differ."""
        least, differ = int64(positive), int64(0)
        for i in range(n):
            word = key(x, i)
            st(keys, i, word)
            least = min(least, word)
        for i in range(n):
            word = ld(keys, i) - least
            st(keys, i, word)
            differ = differ | word
        return differ

    @inline
    def one_pass(keys, order, to, places, counts, n, shift):
        for d in range(DIGITS):
            st(counts, d, 0)
        for i in range(n):
            d = shifted(ld(keys, i), shift) & (DIGITS - 1)
            st(counts, d, ld(counts, d) + 1)
        total = int64(0)
        for d in range(DIGITS):
            count = ld(counts, d)
            st(counts, d, total)
            total += count
        for i in range(n):
            word = ld(keys, i)
            d = shifted(word, shift) & (DIGITS - 1)
            at = ld(counts, d)
            st(counts, d, at + 1)
            st(to, at, word)
            st(places, at, ld(order, i))

    @inline
    def radix(x, n, order, spare, memory):
        keys, others = memory, k.offset(memory, 8 * n)
        counts = k.offset(memory, 16 * n)
        differ = fill_keys(x, keys, n)
        for i in range(n):
            st(order, i, i)
        for shift in range(0, 64, 8):
            if shifted(differ, shift) & (DIGITS - 1) != 0:
                one_pass(keys, order, others, spare, counts, n, shift)
                k.copy(order, 0, spare, 0, 8 * n)
                keys, others = others, keys

    return radix


@kernel("Unique", types={"T": WIDE}, attributes=("axis", "sorted"))
def unique(k):
    """One unit: the items are sorted by value, elements by their bits and slices along the axis by
    merging; equals become one.
    """
    radix = radix_sort(k)
    get, put = k.load("T"), k.store("T")
    ld, st = k.load("int64"), k.store("int64")

    @inline
    def less_or_equal(x, outer, extent, inner, a, b):
        out = True
        for e in range(outer * inner):
            row = e // inner * extent
            va = get(x, (row + a) * inner + e % inner)
            vb = get(x, (row + b) * inner + e % inner)
            if va != vb:
                out = va < vb
                break
        return out

    @inline
    def same(x, outer, extent, inner, a, b):
        out = True
        for e in range(outer * inner):
            row = e // inner * extent
            if get(x, (row + a) * inner + e % inner) != get(x, (row + b) * inner + e % inner):
                out = False
                break
        return out

    @inline
    def sort(x, outer, extent, inner, order, spare):
        """Stable bottom-up merge sort of the items; the result lies in `order`."""
        for i in range(extent):
            st(order, i, i)
        width = int64(1)
        while width < extent:
            for low in range(0, extent, 2 * width):
                middle = min(low + width, extent)
                high = min(low + 2 * width, extent)
                left, right = low, middle
                for at in range(low, high):
                    take_left = right >= high
                    if left < middle and right < high:
                        take_left = less_or_equal(
                            x, outer, extent, inner, ld(order, left), ld(order, right)
                        )
                    if take_left:
                        st(spare, at, ld(order, left))
                        left += 1
                    else:
                        st(spare, at, ld(order, right))
                        right += 1
            k.copy(order, 0, spare, 0, 8 * extent)
            width *= 2

    @inline
    def group(x, outer, extent, inner, order, groups):
        """Number the groups of equal items by value; the number of groups."""
        count = int64(0)
        for i in range(extent):
            if i > 0:
                if not same(x, outer, extent, inner, ld(order, i - 1), ld(order, i)):
                    count += 1
            st(groups, ld(order, i), count)
        return count + 1 if extent > 0 else count

    @inline
    def wanted(call, i):
        out = False
        if i < k.n_outputs(call):
            out = k.output_rank(call, i) >= 0
        return out

    @inline
    def write(call, outer, extent, inner, count, groups, number, seen):
        """The outputs; `number` renames groups, `seen` counts the members met so far."""
        x = k.input(call, 0)
        for g in range(count):
            st(seen, g, 0)
        for i in range(extent):
            g = ld(groups, i)
            if k.attr_int(call, 1) != 0:
                st(number, g, g)
            members = ld(seen, g)
            st(seen, g, members + 1)
            to = ld(number, g)
            if members == 0:
                if wanted(call, 0):
                    for e in range(outer * inner):
                        o, q = e // inner, e % inner
                        put(
                            k.output(call, 0),
                            (o * count + to) * inner + q,
                            get(x, (o * extent + i) * inner + q),
                        )
                if wanted(call, 1):
                    st(k.output(call, 1), to, i)
            if wanted(call, 2):
                st(k.output(call, 2), i, to)
            if wanted(call, 3):
                st(k.output(call, 3), to, members + 1)

    @inline
    def number_by_first(extent, count, groups, number, seen):
        for g in range(count):
            st(seen, g, 0)
        following = int64(0)
        for i in range(extent):
            g = ld(groups, i)
            if ld(seen, g) == 0:
                st(seen, g, 1)
                st(number, g, following)
                following += 1

    def run(call, phase, begin, end, scratch):
        outer, inner, axis = int64(1), int64(1), int64(0)
        extent = k.input_size(call, 0)
        if k.attr_n(call, 0) >= 0:
            axis = k.attr_int(call, 0)
            if axis < 0:
                axis += k.input_rank(call, 0)
            extent = k.input_dim(call, 0, axis)
            for a in range(axis):
                outer *= k.input_dim(call, 0, a)
            for a in range(axis + 1, k.input_rank(call, 0)):
                inner *= k.input_dim(call, 0, a)
        order = k.workspace(call)
        spare = k.offset(order, 8 * extent)
        groups = k.offset(spare, 8 * extent)
        if outer * inner == 1:
            radix(k.input(call, 0), extent, order, spare, groups)
        else:
            sort(k.input(call, 0), outer, extent, inner, order, spare)
        count = group(k.input(call, 0), outer, extent, inner, order, groups)
        if k.attr_int(call, 1) == 0:
            number_by_first(extent, count, groups, order, spare)
        write(call, outer, extent, inner, count, groups, order, spare)
        if wanted(call, 0):
            k.set_output_dim(call, 0, axis, count)
        if wanted(call, 1):
            k.set_output_dim(call, 1, 0, count)
        if wanted(call, 3):
            k.set_output_dim(call, 3, 0, count)
        return k.OK

    def workspace(call):
        return 32 * max(k.input_size(call, 0), 1) + 8 * DIGITS

    return parts(run=run, workspace=workspace)


@kernel("NonZero", types={"T": "float double float16 bfloat16 b8 b16 b32 b64"})
def non_zero(k):
    """One unit: count, then write the coordinates of each non-zero element as a column."""
    get, st = k.load("T"), k.store("int64")

    def run(call, phase, begin, end, scratch):
        x, y = k.input(call, 0), k.output(call, 0)
        size = k.input_size(call, 0)
        count = int64(0)
        for i in range(size):
            if get(x, i) != 0:
                count += 1
        rank = k.input_rank(call, 0)
        at = int64(0)
        for i in range(size):
            if get(x, i) != 0:
                rest = i
                for j in range(rank):
                    a = rank - 1 - j
                    st(y, a * count + at, rest % k.input_dim(call, 0, a))
                    rest = rest // k.input_dim(call, 0, a)
                at += 1
        k.set_output_dim(call, 0, 1, count)
        return k.OK

    return parts(run=run)
