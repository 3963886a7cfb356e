"""Decision trees over rows of features: tiercel.TreeEnsembleScores."""

from _lang import inline, kernel, parts

# Rows that one unit walks through every tree before the next unit begins.
BLOCK = 64


@kernel(
    "TreeEnsembleScores",
    domain="tiercel",
    types={"T": "float double"},
    attributes=("aggregate_function:SUM|AVERAGE|MIN|MAX", "n_targets", "max_feature", "mode"),
)
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
            if target >= 0 and target < targets:
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
    def find_leaves(call, first, last, root, leaves):
        r = first * 1
        columns = k.input_dim(call, 0, 1)
        while r < last:
            if r + 4 <= last:
                four_leaves(call, r * columns, root, k.offset(leaves, (r - first) * 8))
                r += 4
            else:
                st64i(leaves, r - first, leaf_of(call, r * columns, root))
                r += 1

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
            for t in range(trees):
                root = link(k.input(call, 3), t) * 1
                if root < 0 or root >= k.input_size(call, 1):
                    return k.INVALID_VALUE
                find_leaves(call, first, last, root, leaves)
                for r in range(last - first):
                    place = r * targets * 8
                    leaf = ld64i(leaves, r)
                    to, mark = k.offset(scratch, place), k.offset(seen, place)
                    if add_leaf(call, leaf, to, mark) != k.OK:
                        return k.INVALID_VALUE
            for r in range(first, last):
                finish(call, r, k.offset(scratch, (r - first) * targets * 8))
        return k.OK

    return parts(run=run, units=units, scratch=scratch, work=work)
