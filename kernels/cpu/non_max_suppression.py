"""NonMaxSuppression: of overlapping boxes the one with the highest score stays."""

from numba import float32, int64

from _lang import inline, kernel, parts


@kernel("NonMaxSuppression", types={}, attributes=("center_point_box",))
def non_max_suppression(k):
    """Phase 0: a unit is one class of one batch; it pops candidates from a heap by score into
    its part of the workspace. Phase 1 joins the parts. The workspace holds a count, then
    `limit` box numbers, per unit.
    """
    get = k.load("float")
    ld, st = k.load("int64"), k.store("int64")

    @inline
    def limit_of(call):
        limit = int64(0)
        if k.has_input(call, 2):
            limit = ld(k.input(call, 2), 0)
        return max(min(limit, k.input_dim(call, 0, 1)), 0)

    @inline
    def sides(boxes, at, axis, center):
        """Lower and upper end of box `at` along axis 0 or 1."""
        if center:
            middle, half = get(boxes, at + axis), get(boxes, at + 2 + axis) / float32(2)
            low, high = middle - half, middle + half
        else:
            a, b = get(boxes, at + axis), get(boxes, at + 2 + axis)
            low, high = min(a, b), max(a, b)
        return low, high

    @inline
    def overlaps(boxes, a, b, center, threshold):
        """Whether intersection over union of boxes a and b is above the threshold."""
        low_a, high_a = sides(boxes, 4 * a, 0, center)
        low_b, high_b = sides(boxes, 4 * b, 0, center)
        left_a, right_a = sides(boxes, 4 * a, 1, center)
        left_b, right_b = sides(boxes, 4 * b, 1, center)
        height = min(high_a, high_b) - max(low_a, low_b)
        width = min(right_a, right_b) - max(left_a, left_b)
        out = False
        if height > 0 and width > 0:
            common = height * width
            area_a = (high_a - low_a) * (right_a - left_a)
            area_b = (high_b - low_b) * (right_b - left_b)
            total = area_a + area_b - common
            if total > 0:
                out = common / total > threshold
        return out

    @inline
    def before(scores, base, a, b):
        va, vb = get(scores, base + a), get(scores, base + b)
        return va > vb or (va == vb and a < b)

    @inline
    def sink(scores, base, heap, size, start, item):
        """Put `item` where entry `start` of the heap is free; the best score is at the root."""
        at = int64(start)
        child = 2 * at + 1
        while child < size:
            if child + 1 < size:
                if before(scores, base, ld(heap, child + 1), ld(heap, child)):
                    child += 1
            if before(scores, base, ld(heap, child), item):
                st(heap, at, ld(heap, child))
                at = child
                child = 2 * at + 1
            else:
                child = size
        st(heap, at, item)

    @inline
    def candidates(call, base, n, heap):
        """Fill the heap with the boxes above the score threshold; how many there are."""
        scores = k.input(call, 1)
        count = int64(0)
        for i in range(n):
            taken = True
            if k.has_input(call, 4):
                taken = get(scores, base + i) > get(k.input(call, 4), 0)
            if taken:
                st(heap, count, i)
                count += 1
        for i in range(count // 2):
            at = count // 2 - 1 - i
            sink(scores, base, heap, count, at, ld(heap, at))
        return count

    @inline
    def select(call, unit, heap):
        n = k.input_dim(call, 0, 1)
        limit = limit_of(call)
        boxes = k.offset(k.input(call, 0), unit // k.input_dim(call, 1, 1) * n * 16)
        scores = k.input(call, 1)
        center = k.attr_int(call, 0) != 0
        threshold = float32(0)
        if k.has_input(call, 3):
            threshold = get(k.input(call, 3), 0)
        chosen = k.offset(k.workspace(call), unit * (limit + 1) * 8)
        count = candidates(call, unit * n, n, heap)
        found = int64(0)
        while count > 0 and found < limit:
            best = ld(heap, 0)
            count -= 1
            if count > 0:
                sink(scores, unit * n, heap, count, 0, ld(heap, count))
            free = True
            for i in range(found):
                if overlaps(boxes, best, ld(chosen, 1 + i), center, threshold):
                    free = False
                    break
            if free:
                st(chosen, 1 + found, best)
                found += 1
        st(chosen, 0, found)

    def run(call, phase, begin, end, scratch):
        if phase == 0:
            for unit in range(begin, end):
                select(call, unit, scratch)
            return k.OK
        limit = limit_of(call)
        classes = k.input_dim(call, 1, 1)
        y = k.output(call, 0)
        total = int64(0)
        for unit in range(k.input_dim(call, 0, 0) * classes):
            part = k.offset(k.workspace(call), unit * (limit + 1) * 8)
            for i in range(ld(part, 0)):
                st(y, 3 * total, unit // classes)
                st(y, 3 * total + 1, unit % classes)
                st(y, 3 * total + 2, ld(part, 1 + i))
                total += 1
        k.set_output_dim(call, 0, 0, total)
        return k.OK

    def units(call, phase):
        return k.input_dim(call, 0, 0) * k.input_dim(call, 1, 1) if phase == 0 else 1

    def workspace(call):
        return k.input_dim(call, 0, 0) * k.input_dim(call, 1, 1) * (limit_of(call) + 1) * 8 + 8

    def scratch(call):
        return 8 * (k.input_dim(call, 0, 1) + 1)

    return parts(run=run, units=units, workspace=workspace, scratch=scratch, phases=2)
