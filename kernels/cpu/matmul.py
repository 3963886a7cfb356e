"""MatMul and Gemm: blocks of rows and columns; B in panels, packed once when it is constant."""

from __future__ import annotations

from numba import int64
from panels import DEPTH, panels

from _lang import inline, kernel, namespace, parts

FLOATING = "float double float16 bfloat16"
WHOLE = "int32 int64 uint32 uint64"


def shapes(k, right=1):
    """Inline functions over a product of inputs 0 and `right`: extents of the matrices and where
    batches begin.
    """

    @inline
    def rows(call):
        rank = k.input_rank(call, 0)
        return k.input_dim(call, 0, rank - 2) if rank > 1 else 1

    @inline
    def depth(call):
        """From B, which is all that packing sees."""
        rank = k.input_rank(call, right)
        return k.input_dim(call, right, rank - 2 if rank > 1 else 0)

    @inline
    def columns(call):
        rank = k.input_rank(call, right)
        return k.input_dim(call, right, rank - 1) if rank > 1 else 1

    @inline
    def matrices(call, i):
        """Matrices of operand i, before broadcasting."""
        n = int64(1)
        for axis in range(k.input_rank(call, i) - 2):
            n *= k.input_dim(call, i, axis)
        return n

    @inline
    def batches(call):
        per = rows(call) * columns(call)
        return k.output_size(call, 0) // per if per > 0 else 0

    @inline
    def source(call, i, batch):
        """The matrix of operand i that batch `batch` of the output reads."""
        other = right - i
        rank = max(k.input_rank(call, 0), k.input_rank(call, right)) - 2
        at, stride, rest = int64(0), int64(1), batch
        for back in range(rank):
            own = k.input_rank(call, i) - 3 - back
            theirs = k.input_rank(call, other) - 3 - back
            mine = k.input_dim(call, i, own) if own >= 0 else 1
            extent = max(mine, k.input_dim(call, other, theirs) if theirs >= 0 else 1)
            if mine > 1:
                at += rest % extent * stride
                stride *= mine
            rest = rest // max(extent, 1)
        return at

    return namespace(
        *("shapes",),
        rows=rows,
        depth=depth,
        columns=columns,
        matrices=matrices,
        batches=batches,
        source=source,
    )


def blocks(k, g, whole_depth):
    """Inline functions that cut C into units by shape: `height` and `width` of a block."""

    @inline
    def height(m):
        count = (m + 95) // 96
        return ((m + count - 1) // max(count, 1) + g.height - 1) // g.height * g.height

    @inline
    def width(m, n, depth):
        """About two million multiplications, at least a few panels."""
        wanted = int64(2000000) // max(min(m, 96) * depth, 1)
        wanted = min(max(wanted, 384), int64(16384))
        count = (n + wanted - 1) // wanted
        return ((n + count - 1) // max(count, 1) + g.width - 1) // g.width * g.width

    @inline
    def deep(depth):
        return depth if whole_depth else min(depth, DEPTH)

    return namespace("blocks", height=height, width=width, deep=deep)


def product(k, t="T"):
    """The inline function `block(...)`: one block of C = A B from packed panels of B."""
    g = panels(k, t)
    size = k.dtype(t).bits // 8
    # Half types are rounded once, so that their sums must stay in registers over the whole depth.
    whole_depth = size < 4
    cut = blocks(k, g, whole_depth)
    wide = g.bytes
    step = g.width
    pack_a, multiply = g.pack_a, g.multiply
    offset = k.offset

    @inline
    def block(a, at, step_row, step_depth, packed, c, rows, columns, stride, depth, scratch):
        """`rows` x `columns` of C from element 0 of `c`; `packed` begins at the first panel."""
        most = depth if whole_depth else DEPTH
        start = 0
        while start < depth:
            deep = min(depth - start, most)
            pack_a(scratch, a, at + start * step_depth, rows, step_row, step_depth, deep)
            for j in range(0, columns, step):
                multiply(
                    deep,
                    scratch,
                    offset(packed, (j * depth + start * step) * wide),
                    offset(c, j * size),
                    rows,
                    stride,
                    columns - j,
                    1 if start == 0 else 0,
                )
            start += deep

    return g, cut, block


@kernel("MatMul", types={"T": FLOATING}, epilogue=True)
def matmul(k):
    """Phase 0 packs B where it is not constant; a unit of phase 1 is a block of one matrix."""
    s = shapes(k)
    g, cut, block = product(k)
    size, wide, step = k.dtype("T").bits // 8, g.bytes, g.width
    pack_b = g.pack_b
    fill = k.fill

    @inline
    def panel_count(call):
        return (s.columns(call) + step - 1) // step

    @inline
    def packed_bytes(call):
        return s.matrices(call, 1) * panel_count(call) * step * s.depth(call) * wide

    @inline
    def pack_panel(call, unit, to):
        count, depth, n = panel_count(call), s.depth(call), s.columns(call)
        matrix, j = unit // count, unit % count * step
        row = n if k.input_rank(call, 1) > 1 else 1
        pack_b(
            k.offset(to, unit * step * depth * wide),
            k.input(call, 1),
            matrix * depth * n + j,
            min(step, n - j),
            row,
            1,
            depth,
        )

    @inline
    def compute(call, unit, scratch):
        packed = k.packed(call, 1) if k.has_packed(call, 1) else k.workspace(call)
        m, n, depth = s.rows(call), s.columns(call), s.depth(call)
        high, wide_block = cut.height(m), cut.width(m, n, depth)
        down, across = (m + high - 1) // high, (n + wide_block - 1) // wide_block
        batch, rest = unit // (down * across), unit % (down * across)
        i, j = rest // across * high, rest % across * wide_block
        rows, columns = min(high, m - i), min(wide_block, n - j)
        first = (batch * m + i) * n + j
        c = k.offset(k.output(call, 0), first * size)
        if depth == 0:
            for r in range(rows):
                fill(k.offset(c, r * n * size), 0, columns * size)
        a = (s.source(call, 0, batch) * m + i) * depth
        panel = (s.source(call, 1, batch) * panel_count(call) * step + j) * depth * wide
        block(
            k.input(call, 0),
            a,
            depth,
            1,
            k.offset(packed, panel),
            c,
            rows,
            columns,
            n,
            depth,
            scratch,
        )
        if columns == n:
            k.epilogue(call, c, first, rows * n)
        else:
            for r in range(rows):
                k.epilogue(call, k.offset(c, r * n * size), first + r * n, columns)

    def run(call, phase, begin, end, scratch):
        for unit in range(begin, end):
            if phase == 0:
                pack_panel(call, unit, k.workspace(call))
            else:
                compute(call, unit, scratch)
        return k.OK

    def units(call, phase):
        if phase == 0:
            return 0 if k.has_packed(call, 1) else s.matrices(call, 1) * panel_count(call)
        m, n, depth = s.rows(call), s.columns(call), s.depth(call)
        if m == 0 or n == 0:
            return 0
        high, across = cut.height(m), cut.width(m, n, depth)
        return s.batches(call) * ((m + high - 1) // high) * ((n + across - 1) // across)

    def workspace(call):
        return 0 if k.has_packed(call, 1) else packed_bytes(call)

    def scratch(call):
        return cut.height(s.rows(call)) * cut.deep(s.depth(call)) * wide + 64

    def work(call):
        return k.output_size(call, 0) * s.depth(call) // 50

    def pack_size(call, i):
        return packed_bytes(call) if i == 1 else 0

    def pack(call, i, packed):
        for unit in range(s.matrices(call, 1) * panel_count(call)):
            pack_panel(call, unit, packed)
        return k.OK

    return parts(
        run=run,
        phases=2,
        units=units,
        workspace=workspace,
        scratch=scratch,
        work=work,
        pack_size=pack_size,
        pack=pack,
    )


@kernel("MatMul", types={"T": WHOLE})
def matmul_whole(k):
    """A unit is one row of the output."""
    s = shapes(k)
    get, put, cast = k.load("T"), k.store("T"), k.cast("T")

    def run(call, phase, begin, end, scratch):
        a, b, c = k.input(call, 0), k.input(call, 1), k.output(call, 0)
        m, n, depth = s.rows(call), s.columns(call), s.depth(call)
        for unit in range(begin, end):
            batch = unit // m
            row = (s.source(call, 0, batch) * m + unit % m) * depth
            other = s.source(call, 1, batch) * depth * n
            for j in range(n):
                total = cast(0)
                for d in range(depth):
                    total += get(a, row + d) * get(b, other + d * n + j)
                put(c, unit * n + j, total)
        return k.OK

    def units(call, phase):
        return s.batches(call) * s.rows(call)

    def work(call):
        return k.output_size(call, 0) * s.depth(call)

    return parts(run=run, units=units, work=work)


GEMM = ("alpha", "beta", "transA", "transB")


@kernel("Gemm", types={"T": FLOATING}, attributes=GEMM, epilogue=True)
def gemm(k):
    """alpha A B + beta C, A and B transposed or not; scaling and C come after the product."""
    g, cut, block = product(k)
    size, wide, step = k.dtype("T").bits // 8, g.bytes, g.width
    get, put, cast = k.load("T"), k.store("T"), k.cast("T")
    pack_b = g.pack_b

    @inline
    def rows_of(call):
        return k.output_dim(call, 0, 0)

    @inline
    def columns_of(call):
        return k.input_dim(call, 1, 0) if k.attr_int(call, 3) != 0 else k.input_dim(call, 1, 1)

    @inline
    def depth_of(call):
        return k.input_dim(call, 1, 1) if k.attr_int(call, 3) != 0 else k.input_dim(call, 1, 0)

    @inline
    def panel_count(call):
        return (columns_of(call) + step - 1) // step

    @inline
    def pack_panel(call, unit, to):
        depth, n, j = depth_of(call), columns_of(call), unit * step
        transposed = k.attr_int(call, 3) != 0
        pack_b(
            k.offset(to, unit * step * depth * wide),
            k.input(call, 1),
            j * depth if transposed else j,
            min(step, n - j),
            1 if transposed else n,
            depth if transposed else 1,
            depth,
        )

    @inline
    def addend(call, i, j):
        """Element of C, broadcast to the output."""
        rank = k.input_rank(call, 2)
        across = k.input_dim(call, 2, rank - 1) if rank > 0 else 1
        down = k.input_dim(call, 2, 0) if rank > 1 else 1
        at = i * across if down > 1 else 0
        return get(k.input(call, 2), at + (j if across > 1 else 0))

    @inline
    def finish(call, c, i, j, columns):
        """One row: alpha times the product plus beta C."""
        alpha, beta = cast(k.attr_float(call, 0)), cast(k.attr_float(call, 1))
        if k.has_input(call, 2):
            for x in range(columns):
                put(c, x, get(c, x) * alpha + beta * addend(call, i, j + x))
        elif alpha != cast(1):
            for x in range(columns):
                put(c, x, get(c, x) * alpha)

    @inline
    def compute(call, unit, scratch):
        packed = k.packed(call, 1) if k.has_packed(call, 1) else k.workspace(call)
        m, n, depth = rows_of(call), columns_of(call), depth_of(call)
        high, wide_block = cut.height(m), cut.width(m, n, depth)
        across = (n + wide_block - 1) // wide_block
        i, j = unit // across * high, unit % across * wide_block
        rows, columns = min(high, m - i), min(wide_block, n - j)
        first = i * n + j
        c = k.offset(k.output(call, 0), first * size)
        transposed = k.attr_int(call, 2) != 0
        if depth == 0:
            for r in range(rows):
                k.fill(k.offset(c, r * n * size), 0, columns * size)
        block(
            k.input(call, 0),
            i if transposed else i * depth,
            1 if transposed else depth,
            m if transposed else 1,
            k.offset(packed, j * depth * wide),
            c,
            rows,
            columns,
            n,
            depth,
            scratch,
        )
        for r in range(rows):
            row = k.offset(c, r * n * size)
            finish(call, row, i + r, j, columns)
            k.epilogue(call, row, first + r * n, columns)

    def run(call, phase, begin, end, scratch):
        for unit in range(begin, end):
            if phase == 0:
                pack_panel(call, unit, k.workspace(call))
            else:
                compute(call, unit, scratch)
        return k.OK

    def units(call, phase):
        if phase == 0:
            return 0 if k.has_packed(call, 1) else panel_count(call)
        m, n, depth = rows_of(call), columns_of(call), depth_of(call)
        if m == 0 or n == 0:
            return 0
        high, across = cut.height(m), cut.width(m, n, depth)
        return ((m + high - 1) // high) * ((n + across - 1) // across)

    def workspace(call):
        return 0 if k.has_packed(call, 1) else panel_count(call) * step * depth_of(call) * wide

    def scratch(call):
        return cut.height(rows_of(call)) * cut.deep(depth_of(call)) * wide + 64

    def work(call):
        return k.output_size(call, 0) * depth_of(call) // 50

    def pack_size(call, i):
        return panel_count(call) * step * depth_of(call) * wide if i == 1 else 0

    def pack(call, i, packed):
        for unit in range(panel_count(call)):
            pack_panel(call, unit, packed)
        return k.OK

    return parts(
        run=run,
        phases=2,
        units=units,
        workspace=workspace,
        scratch=scratch,
        work=work,
        pack_size=pack_size,
        pack=pack,
    )
