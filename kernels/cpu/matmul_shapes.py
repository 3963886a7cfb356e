"""The geometry of matrix products: extents, broadcast batches, permuted operands, units of work."""

from __future__ import annotations

from numba import int64

from _lang import inline, namespace


def shapes(k, right=1, permuted=None):
    """Functions over a product of inputs 0 and `right`: extents of the matrices, and where
    they begin and step, in elements.

    `permuted`: the attribute that lists the axes of input 0 in the order in which the product sees
    them; that of input `right` comes next. Empty lists leave the axes as they are.
    """

    @inline
    def axis(call, i, a):
        """The axis of input i that the product takes as its axis a."""
        if permuted is not None:
            attribute = permuted if i == 0 else permuted + 1
            if k.attr_n(call, attribute) > 0:
                a = k.attr_ints(call, attribute, a)
        return a

    @k.outline("int64(call, int64, int64)")
    def extent(call, i, a):
        return k.input_dim(call, i, axis(call, i, a))

    @k.outline("int64(call, int64, int64)")
    def stride(call, i, a):
        n = int64(1)
        for behind in range(axis(call, i, a) + 1, k.input_rank(call, i)):
            n *= k.input_dim(call, i, behind)
        return n

    @k.outline("int64(call)")
    def folded(call):
        """Axes of input 0 in front of its rows that count as rows: all of them when there is one
        matrix on the right for all of its own, which lie behind one another."""
        rank, one = k.input_rank(call, 0), 1
        for a in range(k.input_rank(call, right) - 2):
            one *= extent(call, right, a)
        if permuted is not None:
            one = 0 if k.attr_n(call, permuted) > 0 else one
        same = rank >= k.input_rank(call, right)
        return rank - 2 if one == 1 and same and rank > 2 else 0

    @k.outline("int64(call)")
    def rows(call):
        rank, n = k.input_rank(call, 0), 1
        for a in range(max(rank - 2 - folded(call), 0), rank - 1):
            n *= extent(call, 0, a)
        return n

    @k.outline("int64(call)")
    def depth(call):
        """From B, which is all that packing sees."""
        rank = k.input_rank(call, right)
        return extent(call, right, rank - 2 if rank > 1 else 0)

    @k.outline("int64(call)")
    def columns(call):
        rank = k.input_rank(call, right)
        return extent(call, right, rank - 1) if rank > 1 else 1

    @k.outline("int64(call, int64)")
    def row_step(call, i):
        """From one row of a matrix to the next; a vector on the right is a column."""
        rank = k.input_rank(call, i)
        return stride(call, i, rank - 2) if rank > 1 else 1

    @k.outline("int64(call, int64)")
    def column_step(call, i):
        return stride(call, i, k.input_rank(call, i) - 1)

    @k.outline("int64(call, int64)")
    def matrices(call, i):
        """Matrices of operand i, before broadcasting."""
        n = int64(1)
        for a in range(k.input_rank(call, i) - 2 - (folded(call) if i == 0 else 0)):
            n *= extent(call, i, a)
        return n

    @k.outline("int64(call, int64, int64)")
    def matrix_at(call, i, matrix):
        """The element where a matrix of operand i begins."""
        at, rest = int64(0), matrix
        for back in range(k.input_rank(call, i) - 2):
            a = k.input_rank(call, i) - 3 - back
            n = max(extent(call, i, a), 1)
            at += rest % n * stride(call, i, a)
            rest = rest // n
        return at

    @k.outline("int64(call)")
    def batches(call):
        per = rows(call) * columns(call)
        return k.output_size(call, 0) // per if per > 0 else 0

    @k.outline("int64(call, int64, int64)")
    def source(call, i, batch):
        """The matrix of operand i that batch `batch` of the output reads."""
        other = right - i
        rank = max(k.input_rank(call, 0), k.input_rank(call, right)) - 2
        at, step, rest = int64(0), int64(1), batch
        for back in range(rank):
            own = k.input_rank(call, i) - 3 - back
            theirs = k.input_rank(call, other) - 3 - back
            mine = extent(call, i, own) if own >= 0 else 1
            both = max(mine, extent(call, other, theirs) if theirs >= 0 else 1)
            if mine > 1:
                at += rest % both * step
                step *= mine
            rest = rest // max(both, 1)
        return at

    return namespace(
        *("shapes",),
        rows=rows,
        depth=depth,
        columns=columns,
        row_step=row_step,
        column_step=column_step,
        matrices=matrices,
        matrix_at=matrix_at,
        batches=batches,
        source=source,
    )


def blocks(rows, columns, most_rows, work=1_000_000, narrowest=128, units=1):
    """Inline functions that cut C into units by shape: `height` and `width` of a block, multiples
    of `rows` and `columns`. `units`: at least, where each is a seventh of `work`.
    """

    @inline
    def height(m):
        count = (m + most_rows - 1) // most_rows
        return ((m + count - 1) // max(count, 1) + rows - 1) // rows * rows

    @inline
    def width(m, n, depth):
        """About `work` multiplications; few rows cost as much as some more."""
        wanted = int64(work) // max(max(min(m, most_rows), 6) * depth, 1)
        wanted = min(max(wanted, narrowest), int64(16384))
        count = (n + wanted - 1) // wanted
        down = max((m + most_rows - 1) // most_rows, 1)
        shared = min((units + down - 1) // down, 7 * m * n * depth // (work * down))
        count = max(count, min(shared, n // columns))
        return ((n + count - 1) // max(count, 1) + columns - 1) // columns * columns

    return namespace("blocks", height=height, width=width)
