"""Decision trees over rows of features: tiercel.TreeEnsembleScores."""

from tree_walk import at_once, walker

from _lang import inline, kernel, namespace, parts

BLOCK = 512  # rows of one unit
NEAR = 64  # rows that walk through a few trees before the next: they stay in the nearest cache
GROUP = 32  # those trees
ATTRIBUTES = (
    "aggregate_function:SUM|AVERAGE|MIN|MAX",
    "n_targets",
    "max_feature",
    "mode",
    "reach",
    "direct",
    "missing",
)
LINKS = 2  # the input


def checked_nodes(k):
    """How nodes are packed whose comparisons are all ≤ (mode 1) or all < (mode 2).

    A node is its value and a word: bit 0 is set in branches, bit 1 where NaN goes to the true side;
    then the place of the feature in a row, in bytes; then how far behind it the first child lies.
    The other child follows the first. A leaf lies 0 in front of itself.
    """
    size = k.dtype("T").bits // 8
    low = 2 if size == 4 else 3  # bits in front of the feature
    ld, link, put, st = k.load("T"), k.load("int32"), k.store("int32"), k.store("T")
    word, every = k.cast("int32"), 2 * size // 4  # words of a node

    @inline
    def bits(n):
        count = 0
        while n > 0:
            n = n >> 1
            count += 1
        return count

    @inline
    def shift(call):
        return low + bits(k.attr_int(call, 2))

    def pack_size(call, i):
        fits = shift(call) + bits(k.attr_int(call, 4)) <= 31
        known = k.attr_int(call, 3) == 1 or k.attr_int(call, 3) == 2
        return k.input_dim(call, LINKS, 0) * 2 * size if i == LINKS and fits and known else 0

    @inline
    def packed_word(call, at, nodes):
        """The word of a branch, or -1."""
        links, mode = k.input(call, LINKS), k.attr_int(call, 3)
        ahead, what = link(links, at * 2) * 1 - at, link(links, at * 2 + 1) * 1
        feature, missing = what >> 4, (what >> 3) & 1
        sound = what & 7 == mode and feature >= 0 and feature <= k.attr_int(call, 2)
        sound = sound and ahead > 0 and ahead <= k.attr_int(call, 4) and at + ahead + 1 < nodes
        return ahead << shift(call) | feature << low | missing << 1 | 1 if sound else -1

    def pack(call, i, packed):
        links, nodes = k.input(call, LINKS), k.input_dim(call, LINKS, 0)
        if k.input_size(call, 1) != nodes or k.input_size(call, LINKS) != 2 * nodes:
            return k.SHAPE_MISMATCH
        for at in range(nodes):
            is_leaf = link(links, at * 2 + 1) & 7 == 0
            found = 0 if is_leaf else packed_word(call, at, nodes)
            if found < 0:
                return k.INVALID_VALUE
            st(packed, at * 2, ld(k.input(call, 1), at))
            put(packed, at * every + every // 2, word(found))
        return k.OK

    @inline
    def first_bits(call):
        """Bits of the place of the feature."""
        return (1 << shift(call)) - (1 << low)

    return namespace(
        "checked_nodes",
        pack_size=pack_size,
        pack=pack,
        shift=shift,
        feature_bits=first_bits,
    )


def leaf_finder(k):
    """`leaf_of(call, row, root)` through the links as they are; -1: they are no tree's."""
    ld, link = k.load("T"), k.load("int32")

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
        what = link(k.input(call, LINKS), at * 2 + 1) * 1
        feature, mode, child = what >> 4, what & 7, at
        if mode != 0:
            inside = feature >= 0 and feature < k.input_dim(call, 0, 1)
            f = ld(k.input(call, 0), row + (feature if inside else 0))
            taken = goes_true(mode, f, ld(k.input(call, 1), at)) or (what & 8 != 0 and f != f)
            child = link(k.input(call, LINKS), at * 2) * 1 + (0 if taken else 1)
        return child

    @inline
    def leaf_of(call, row, root):
        at = root * 1
        going = True
        while going:
            child = next_node(call, row, at)
            going = child > at and child < k.input_size(call, 1)
            at = child if going or child == at else -1
        return at

    return leaf_of


def leaf_adder(k):
    """`add(call, scores, seen, target, weight)` and `add_leaf(call, leaf, scores, seen)`."""
    ld, link, wide = k.load("T"), k.load("int32"), k.cast("double")
    ld64, st64 = k.load("double"), k.store("double")

    @inline
    def add(call, scores, seen, target, weight):
        """Joins a weight to a target's; `seen` tells whether it has one."""
        old, kind = ld64(scores, target), k.attr_int(call, 0)
        new = old + weight
        if kind >= 2:
            first = ld64(seen, target) == 0.0
            better = weight < old if kind == 2 else weight > old
            new = weight if first or better else old
            st64(seen, target, wide(1.0))
        st64(scores, target, new)

    @inline
    def add_leaf(call, leaf, scores, seen):
        """Adds the weights of a leaf; the code to return."""
        count, links, weights = k.input_size(call, 5), k.input(call, LINKS), k.input(call, 5)
        first, last = 0, -1
        if leaf >= 0:
            first = link(links, leaf * 2) * 1
            last = first + (link(links, leaf * 2 + 1) >> 4)
        code = k.OK
        if first < 0 or last < first or last > min(count, k.input_size(call, 4)):
            code, last = k.INVALID_VALUE, first
        for w in range(first, last):
            target = link(k.input(call, 4), w) * 1
            if target >= 0 and target < k.attr_int(call, 1):
                add(call, scores, seen, target, wide(ld(weights, w)))
        return code

    return add, add_leaf


def cuts(k):
    """How the work is cut. Sums are made for shares of the trees, which are joined in order,
    whether or not shares are computed by units of their own: those of few rows are.
    """

    @inline
    def block(call):
        """Rows of a unit."""
        return BLOCK if k.attr_int(call, 1) <= 16 else NEAR

    @inline
    def blocks(call):
        return (k.input_dim(call, 0, 0) + block(call) - 1) // block(call)

    @inline
    def trees(call):
        """Trees of a share."""
        return max((k.input_size(call, 3) + 15) // 16, 2 * GROUP)

    @inline
    def shares(call):
        return max((k.input_size(call, 3) + trees(call) - 1) // trees(call), 1)

    @inline
    def apart(call):
        """Whether each share is a unit."""
        return shares(call) > 1 and blocks(call) < 8

    return namespace("cuts", block=block, blocks=blocks, trees=trees, shares=shares, apart=apart)


@kernel("TreeEnsembleScores", domain="tiercel", types={"T": "float double"}, attributes=ATTRIBUTES)
def tree_ensemble_scores(k):
    """Inputs: X, values, links, roots, targets, weights, base.

    A node has two links: of a branch the child on true, behind which lies the child on false, and
    16·feature + its mode (plus 8 when NaN goes to the true side); of a leaf (mode 0) its first
    weight and 16·their number. Children lie behind their parent, so that a walk ends. `direct`: all
    leaves of a tree have one weight, which is their value, for the target that `targets` names for
    the tree. Sums are in double precision.
    """
    ld, st, link = k.load("T"), k.store("T"), k.load("int32")
    ld64 = k.load("double")
    ld64i, st64i = k.load("int64"), k.store("int64")
    wide, narrow, size = k.cast("double"), k.cast("T"), k.dtype("T").bits // 8
    nodes, cut, many = checked_nodes(k), cuts(k), at_once(k)
    leaf_of = leaf_finder(k)
    add, add_leaf = leaf_adder(k)
    up_to, below = walker(k, False, False), walker(k, True, False)
    up_to_nan, below_nan = walker(k, False, True), walker(k, True, True)

    @inline
    def walk(call, has_nan, places, leaves):
        x, packed = k.input(call, 0), k.packed(call, LINKS)
        mask, shift = nodes.feature_bits(call), nodes.shift(call)
        if k.attr_int(call, 3) == 1:
            if has_nan:
                up_to_nan(x, packed, mask, shift, places, leaves)
            else:
                up_to(x, packed, mask, shift, places, leaves)
        elif has_nan:
            below_nan(x, packed, mask, shift, places, leaves)
        else:
            below(x, packed, mask, shift, places, leaves)

    @inline
    def join(call, tree, leaf, scores, seen):
        """Adds what a leaf of a tree says; the code to return."""
        code = k.OK
        if k.attr_int(call, 5) == 0:
            code = add_leaf(call, leaf, scores, seen)
        elif leaf < 0:
            code = k.INVALID_VALUE
        else:
            target, packed = link(k.input(call, 4), tree) * 1, k.has_packed(call, LINKS)
            from_, every = (k.packed(call, LINKS), 2) if packed else (k.input(call, 1), 1)
            add(call, scores, seen, target, wide(ld(from_, leaf * every)))
        return code

    @inline
    def some_pairs(call, first, last, tree, end, has_nan, memory, scores, seen):
        """All pairs of rows and trees, many at once: rows of one tree, or trees of one row."""
        leaves, places = memory, k.offset(memory, 8 * many)
        columns, targets, rows = k.input_dim(call, 0, 1), k.attr_int(call, 1), last - first
        by_rows = rows >= many
        inner = rows if by_rows else end - tree
        code = k.OK
        for o in range(end - tree if by_rows else rows):
            for i in range(0, inner, many):
                count = min(inner - i, many)
                for p in range(many):
                    j = i + min(p, count - 1)
                    r, t = (first + j, tree + o) if by_rows else (first + o, tree + j)
                    st64i(places, p, r * columns * size)
                    st64i(places, many + p, link(k.input(call, 3), t) * 1)
                walk(call, has_nan, places, leaves)
                for p in range(count):
                    r, t = (i + p, tree + o) if by_rows else (o, tree + i + p)
                    at = (first + r) * targets * 8
                    to, mark = k.offset(scores, at), k.offset(seen, at)
                    code = max(code, join(call, t, ld64i(leaves, p), to, mark))
        return code

    @inline
    def slow_pairs(call, first, last, tree, end, scores, seen):
        code, targets = k.OK, k.attr_int(call, 1)
        for t in range(tree, end):
            for r in range(first, last):
                leaf = leaf_of(call, r * k.input_dim(call, 0, 1), link(k.input(call, 3), t))
                to, mark = k.offset(scores, r * targets * 8), k.offset(seen, r * targets * 8)
                code = max(code, join(call, t, leaf, to, mark))
        return code

    @inline
    def find_nan(call, first, last):
        """Whether a NaN among these rows may go to a true side."""
        found = False
        if k.attr_int(call, 6) != 0:
            for i in range(first * k.input_dim(call, 0, 1), last * k.input_dim(call, 0, 1)):
                x = ld(k.input(call, 0), i)
                found = found or x != x
        return found

    @inline
    def sound(call, tree, end):
        """Whether roots are nodes, and targets of trees are targets."""
        direct, targets = k.attr_int(call, 5) != 0, k.attr_int(call, 1)
        out = not direct or k.input_size(call, 4) >= k.input_size(call, 3)
        for t in range(tree, end if out else tree):
            root = link(k.input(call, 3), t) * 1
            out = out and root >= 0 and root < k.input_size(call, 1)
            if direct:
                target = link(k.input(call, 4), t) * 1
                out = out and target >= 0 and target < targets
        return out

    @inline
    def finish(call, r, scores):
        targets, trees = k.attr_int(call, 1), k.input_size(call, 3)
        for t in range(targets):
            score = ld64(scores, t)
            if k.attr_int(call, 0) == 1:
                score = score / wide(trees)
            st(k.output(call, 0), r * targets + t, narrow(score + wide(ld(k.input(call, 6), t))))

    @inline
    def row_bytes(call):
        """Of the scores of a row, and of the marks of those that have one."""
        return k.attr_int(call, 1) * 8

    def workspace(call):
        rows = k.input_dim(call, 0, 0) * cut.shares(call) if cut.apart(call) else 0
        return 2 * row_bytes(call) * rows

    def scratch(call):
        return 4 * row_bytes(call) * cut.block(call) + 8 * 3 * many

    def units(call, phase):
        apart = cut.apart(call)
        if phase == 1 and not apart:
            return 0
        return cut.blocks(call) * (cut.shares(call) if phase == 0 and apart else 1)

    def work(call):
        """About 8 ns for a tree."""
        return k.input_dim(call, 0, 0) * k.input_size(call, 3) * 8

    @inline
    def add_share(call, first, last, share, memory, scores, seen):
        """The scores of rows from a share of the trees; `scores` and `seen` begin with row 0."""
        every = row_bytes(call)
        k.fill(scores, first * every, every * (last - first))
        k.fill(seen, first * every, every * (last - first))
        tree = share * cut.trees(call)
        end = min(tree + cut.trees(call), k.input_size(call, 3))
        packed, has_nan, code = k.has_packed(call, LINKS), find_nan(call, first, last), k.OK
        if not sound(call, tree, end):
            code, end = k.INVALID_VALUE, tree
        for t in range(tree, end, GROUP):
            for r in range(first, last, NEAR):
                r_end, t_end = min(r + NEAR, last), min(t + GROUP, end)
                if packed:
                    found = some_pairs(call, r, r_end, t, t_end, has_nan, memory, scores, seen)
                else:
                    found = slow_pairs(call, r, r_end, t, t_end, scores, seen)
                code = max(code, found)
        return code

    @inline
    def join_share(call, first, last, scores, seen, part, marks):
        targets = k.attr_int(call, 1)
        for i in range(first * targets, last * targets):
            if k.attr_int(call, 0) < 2 or ld64(marks, i) != 0.0:
                add(call, scores, seen, i, ld64(part, i))

    @inline
    def run_apart(call, unit, scratch):
        rows, shares, every = k.input_dim(call, 0, 0), cut.shares(call), row_bytes(call)
        first, share = unit // shares * cut.block(call), unit % shares
        last = min(first + cut.block(call), rows)
        part = k.offset(k.workspace(call), 2 * share * rows * every)
        return add_share(call, first, last, share, scratch, part, k.offset(part, rows * every))

    @inline
    def join_all(call, first, last):
        """Phase 1: the first share becomes all of them."""
        every = row_bytes(call) * k.input_dim(call, 0, 0)
        scores = k.workspace(call)
        for s in range(1, cut.shares(call)):
            part = k.offset(scores, 2 * s * every)
            seen, marks = k.offset(scores, every), k.offset(part, every)
            join_share(call, first, last, scores, seen, part, marks)
        for r in range(first, last):
            finish(call, r, k.offset(scores, r * row_bytes(call)))

    @inline
    def run_block(call, first, last, scratch):
        """All shares of some rows."""
        area = row_bytes(call) * cut.block(call)
        scores = k.offset(scratch, 8 * 3 * many - first * row_bytes(call))
        seen, code = k.offset(scores, area), k.OK
        for s in range(cut.shares(call)):
            part = k.offset(scores, 2 * area) if s > 0 else scores
            marks = k.offset(part, area)
            code = max(code, add_share(call, first, last, s, scratch, part, marks))
            if s > 0:
                join_share(call, first, last, scores, seen, part, marks)
        for r in range(first, last):
            finish(call, r, k.offset(scores, r * row_bytes(call)))
        return code

    def run(call, phase, begin, end, scratch):
        rows, targets, code = k.input_dim(call, 0, 0), k.attr_int(call, 1), k.OK
        if k.attr_int(call, 2) >= k.input_dim(call, 0, 1) or k.input_size(call, 6) < targets:
            return k.SHAPE_MISMATCH
        if k.input_size(call, LINKS) != 2 * k.input_size(call, 1):
            return k.SHAPE_MISMATCH
        for unit in range(begin, end):
            first, apart = unit * cut.block(call), cut.apart(call)
            last = min(first + cut.block(call), rows)
            if phase == 1:
                join_all(call, first, last)
            elif apart:
                code = max(code, run_apart(call, unit, scratch))
            else:
                code = max(code, run_block(call, first, last, scratch))
        return code

    return parts(
        run=run,
        units=units,
        scratch=scratch,
        workspace=workspace,
        work=work,
        pack_size=nodes.pack_size,
        pack=nodes.pack,
        phases=2,
    )
