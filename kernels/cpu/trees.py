"""Decision trees over rows of features: tiercel.TreeEnsembleScores."""

from _lang import inline, kernel, parts

# Rows that one unit walks through every tree before the next unit begins.
BLOCK = 64
AT_ONCE = 8  # rows that walk together through checked nodes
ATTRIBUTES = ("aggregate_function:SUM|AVERAGE|MIN|MAX", "n_targets", "max_feature", "mode")
LINKS = 2  # the input


def checked_walk(k):
    """Trees whose branches all go to the true side where x <= value, checked when they are packed:
    `leaves_of(call, row, rows, tree, trees, leaves)` of AT_ONCE pairs of a row of x (its first
    element) and a tree, `rows` elements and `trees` trees apart; `pack_size`; `pack`. A packed node
    is its feature and the two children; a leaf's children are itself.
    """
    ld, link, put = k.load("T"), k.load("int32"), k.store("int32")
    st64i, word, size = k.store("int64"), k.cast("int32"), k.dtype("T").bits // 8

    @inline
    def step(x, values, nodes, at):
        taken = ld(x, link(nodes, at * 4)) <= ld(values, at)
        return link(nodes, at * 4 + 2 - taken) * 1

    @inline
    def leaves_of(call, row, rows, tree, trees, leaves):
        roots = k.offset(k.input(call, 3), tree * 4)
        nodes, values = k.packed(call, LINKS), k.input(call, 1)
        x0, far = k.offset(k.input(call, 0), row * size), rows * size
        x1, x2, x3 = k.offset(x0, far), k.offset(x0, 2 * far), k.offset(x0, 3 * far)
        x4, x5 = k.offset(x0, 4 * far), k.offset(x0, 5 * far)
        x6, x7 = k.offset(x0, 6 * far), k.offset(x0, 7 * far)
        a0, a1 = link(roots, 0) * 1, link(roots, trees) * 1
        a2, a3 = link(roots, 2 * trees) * 1, link(roots, 3 * trees) * 1
        a4, a5 = link(roots, 4 * trees) * 1, link(roots, 5 * trees) * 1
        a6, a7 = link(roots, 6 * trees) * 1, link(roots, 7 * trees) * 1
        going = True
        while going:
            c0, c1 = step(x0, values, nodes, a0), step(x1, values, nodes, a1)
            c2, c3 = step(x2, values, nodes, a2), step(x3, values, nodes, a3)
            c4, c5 = step(x4, values, nodes, a4), step(x5, values, nodes, a5)
            c6, c7 = step(x6, values, nodes, a6), step(x7, values, nodes, a7)
            moved = (c0 ^ a0) | (c1 ^ a1) | (c2 ^ a2) | (c3 ^ a3)
            going = (moved | (c4 ^ a4) | (c5 ^ a5) | (c6 ^ a6) | (c7 ^ a7)) != 0
            a0, a1, a2, a3, a4, a5, a6, a7 = c0, c1, c2, c3, c4, c5, c6, c7
        st64i(leaves, 0, a0)
        st64i(leaves, 1, a1)
        st64i(leaves, 2, a2)
        st64i(leaves, 3, a3)
        st64i(leaves, 4, a4)
        st64i(leaves, 5, a5)
        st64i(leaves, 6, a6)
        st64i(leaves, 7, a7)

    def pack_size(call, i):
        is_fast = i == LINKS and k.attr_int(call, 3) == 1
        return k.input_dim(call, LINKS, 0) * 16 if is_fast else 0

    def pack(call, i, packed):
        links, nodes = k.input(call, LINKS), k.input_dim(call, LINKS, 0)
        for at in range(nodes):
            feature, left = link(links, at * 4) * 1, link(links, at * 4 + 1) * 1
            right = link(links, at * 4 + 2) * 1
            if link(links, at * 4 + 3) == 0:
                feature, left, right = 0, at * 1, at * 1
            elif feature < 0 or feature > k.attr_int(call, 2):
                return k.INVALID_VALUE
            elif min(left, right) <= at or max(left, right) >= nodes:
                return k.INVALID_VALUE
            put(packed, at * 4, word(feature))
            put(packed, at * 4 + 1, word(left))
            put(packed, at * 4 + 2, word(right))
            put(packed, at * 4 + 3, word(0))
        return k.OK

    return leaves_of, pack_size, pack


@kernel("TreeEnsembleScores", domain="tiercel", types={"T": "float double"}, attributes=ATTRIBUTES)
def tree_ensemble_scores(k):
    """Inputs: X, values, links, roots, targets, weights, base.

    A node has four links: of a branch the feature, the child on true, the child on false and its
    mode (plus 16 when NaN goes to the true side); of a leaf (mode 0) its first weight and their
    number. Children lie behind their parent, so that a walk ends. Sums are in double precision.
    """
    ld, st, link = k.load("T"), k.store("T"), k.load("int32")
    ld64, st64 = k.load("double"), k.store("double")
    ld64i, st64i = k.load("int64"), k.store("int64")
    wide, narrow = k.cast("double"), k.cast("T")
    eight_leaves, pack_size, pack = checked_walk(k)

    @inline
    def goes_true(mode, x, value):
        taken = x <= value
        if mode == 2:
            taken = x < value
        elif mode == 3:
            taken = x >= value
        elif mode == 4:
            taken = x > value
        elif mode == 5:
            taken = x == value
        elif mode == 6:
            taken = x != value
        return taken

    @inline
    def next_node(call, row, at):
        """The child that a row goes on to; a leaf is its own."""
        x, links, common = k.input(call, 0), k.input(call, 2), k.attr_int(call, 3)
        feature, mode = link(links, at * 4) * 1, link(links, at * 4 + 3) * 1
        inside = feature >= 0 and feature < k.input_dim(call, 0, 1)
        f = ld(x, row + (feature if inside else 0))
        value = ld(k.input(call, 1), at)
        taken = f <= value
        if common != 1:
            taken = goes_true(mode & 15, f, value)
            if mode >= 16 and f != f:
                taken = True
        child = link(links, at * 4 + 2 - taken) * 1  # by its place: a branch would be guessed
        return at if mode == 0 else child

    @inline
    def leaf_of(call, row, root):
        """The leaf that a row reaches; -1 when the links are not those of a tree."""
        at = root * 1
        going = True
        while going:
            child = next_node(call, row, at)
            going = child > at and child < k.input_size(call, 1)
            at = child if going or child == at else -1
        return at

    @inline
    def four_leaves(call, row, root, leaves):
        """The leaves of four rows that walk together, so that their loads overlap."""
        nodes, step = k.input_size(call, 1), k.input_dim(call, 0, 1)
        a0, a1, a2, a3 = root * 1, root * 1, root * 1, root * 1
        going = True
        while going:
            c0, c1 = next_node(call, row, a0), next_node(call, row + step, a1)
            c2, c3 = next_node(call, row + 2 * step, a2), next_node(call, row + 3 * step, a3)
            sound = c0 >= a0 and c1 >= a1 and c2 >= a2 and c3 >= a3
            sound = sound and max(max(c0, c1), max(c2, c3)) < nodes
            going = sound and (c0 != a0 or c1 != a1 or c2 != a2 or c3 != a3)
            a0, a1 = c0 if sound else -1, c1 if sound else -1
            a2, a3 = c2 if sound else -1, c3 if sound else -1
        st64i(leaves, 0, a0)
        st64i(leaves, 1, a1)
        st64i(leaves, 2, a2)
        st64i(leaves, 3, a3)

    @inline
    def add(call, scores, seen, target, weight, kind):
        """Joins a leaf's weight to a target; `seen` tells whether it has one."""
        old = ld64(scores, target)
        new = old + weight
        if kind >= 2:
            first = ld64(seen, target) == 0.0
            better = weight < old if kind == 2 else weight > old
            new = weight if first or better else old
        st64(scores, target, new)
        st64(seen, target, wide(1.0))

    @inline
    def add_leaf(call, leaf, scores, seen):
        """Adds the weights of a leaf; the code to return."""
        kind, targets, count = k.attr_int(call, 0), k.attr_int(call, 1), k.input_size(call, 5)
        links, weights = k.input(call, 2), k.input(call, 5)
        first, last = 0, -1
        if leaf >= 0:
            first = link(links, leaf * 4) * 1
            last = first + link(links, leaf * 4 + 1)
        code = k.OK
        if first < 0 or last < first or last > count:
            code, last = k.INVALID_VALUE, first
        for w in range(first, last):
            target = link(k.input(call, 4), w) * 1
            if target < 0 or target >= targets:
                continue
            if kind < 2:
                st64(scores, target, ld64(scores, target) + wide(ld(weights, w)))
            else:
                add(call, scores, seen, target, wide(ld(weights, w)), kind)
        return code

    @inline
    def finish(call, r, scores):
        targets, trees = k.attr_int(call, 1), k.input_size(call, 3)
        for t in range(targets):
            score = ld64(scores, t)
            if k.attr_int(call, 0) == 1:
                score = score / wide(trees)
            st(k.output(call, 0), r * targets + t, narrow(score + wide(ld(k.input(call, 6), t))))

    def scratch(call):
        return 16 * k.attr_int(call, 1) * BLOCK + 8 * BLOCK

    def units(call, phase):
        return (k.input_dim(call, 0, 0) + BLOCK - 1) // BLOCK

    def work(call):
        """About 8 ns for a tree."""
        return k.input_dim(call, 0, 0) * k.input_size(call, 3) * 8

    @inline
    def find_leaves(call, first, last, tree, leaves):
        r = first * 1
        columns, root = k.input_dim(call, 0, 1), link(k.input(call, 3), tree) * 1
        packed = k.has_packed(call, LINKS)
        while r < last:
            if packed and last - first >= AT_ONCE:
                r = min(r, last - AT_ONCE)  # some rows once more
                eight_leaves(call, r * columns, columns, tree, 0, k.offset(leaves, (r - first) * 8))
                r += AT_ONCE
            elif r + 4 <= last:
                four_leaves(call, r * columns, root, k.offset(leaves, (r - first) * 8))
                r += 4
            else:
                st64i(leaves, r - first, leaf_of(call, r * columns, root))
                r += 1

    @inline
    def has_roots(call, tree, count):
        out = True
        for t in range(tree, tree + count):
            root = link(k.input(call, 3), t) * 1
            out = out and root >= 0 and root < k.input_size(call, 1)
        return out

    def run(call, phase, begin, end, scratch):
        targets, trees = k.attr_int(call, 1), k.input_size(call, 3)
        if k.attr_int(call, 2) >= k.input_dim(call, 0, 1) or k.input_size(call, 6) < targets:
            return k.SHAPE_MISMATCH
        rows = k.input_dim(call, 0, 0)
        seen = k.offset(scratch, targets * 8 * BLOCK)
        leaves = k.offset(scratch, targets * 16 * BLOCK)
        for block in range(begin, end):
            first, last = block * BLOCK, min((block + 1) * BLOCK, rows)
            k.fill(scratch, 0, targets * 8 * (last - first))
            k.fill(seen, 0, targets * 8 * (last - first))
            few = k.has_packed(call, LINKS) and last - first < AT_ONCE
            t = 0
            while t < trees:
                n = AT_ONCE if few and t + AT_ONCE <= trees else 1
                if not has_roots(call, t, n):
                    return k.INVALID_VALUE
                if n > 1:
                    for r in range(first, last):
                        to = k.offset(leaves, (r - first) * AT_ONCE * 8)
                        eight_leaves(call, r * k.input_dim(call, 0, 1), 0, t, 1, to)
                else:
                    find_leaves(call, first, last, t, leaves)
                for i in range(n * (last - first)):
                    r = i // n
                    to, mark = k.offset(scratch, r * targets * 8), k.offset(seen, r * targets * 8)
                    if add_leaf(call, ld64i(leaves, i), to, mark) != k.OK:
                        return k.INVALID_VALUE
                t += n
            for r in range(first, last):
                finish(call, r, k.offset(scratch, (r - first) * targets * 8))
        return k.OK

    return parts(run=run, units=units, scratch=scratch, work=work, pack_size=pack_size, pack=pack)
