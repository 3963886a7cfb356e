"""MatMul, plain and of permuted operands: blocks of rows and columns; B in panels, packed once
when it is constant.
"""

from __future__ import annotations

from matmul_shapes import shapes
from product import NOT_ROUNDED, ROUNDED, ROWS, allowed, product

from _lang import inline, kernel, parts

WHOLE = "int32 int64 uint32 uint64"


def matmul_builder(permuted, rounded=-1):
    """Phase 0 packs B where it is not constant and rows share it, phase 1 makes the pieces of A for
    AMX tiles; a unit of phase 2 is a block of one matrix. `rounded`: the attribute that allows a
    single piece.
    """

    def build(k):
        s = shapes(k, 1, permuted)
        x = product(k, pieces=1 if rounded >= 0 else 0)
        g, cut = x.panels, x.cut
        size, step = g.bytes, g.width
        pack_b, offset = g.pack_b, k.offset

        @inline
        def panel_count(call):
            return (s.columns(call) + step - 1) // step

        @inline
        def packed_bytes(call):
            return s.matrices(call, 1) * panel_count(call) * step * s.depth(call) * size

        @inline
        def is_plain(call):
            """B is read as it lies: too few rows share it to make up for packing."""
            few = s.rows(call) <= 2 * x.few and s.column_step(call, 1) == 1
            return few and not k.has_packed(call, 1)

        @inline
        def pack_panel(call, unit, to):
            count, depth = panel_count(call), s.depth(call)
            matrix, j = unit // count, unit % count * step
            across = s.column_step(call, 1)
            at = s.matrix_at(call, 1, matrix) + j * across
            pack_b(
                offset(to, unit * step * depth * size),
                k.input(call, 1),
                at,
                min(step, s.columns(call) - j),
                s.row_step(call, 1),
                across,
                depth,
            )

        @inline
        def pieces(call):
            """Where the pieces of A lie in the workspace: behind a packed B."""
            packed = k.has_packed(call, 1) or is_plain(call)
            return offset(k.workspace(call), 0 if packed else (packed_bytes(call) + 63) // 64 * 64)

        @inline
        def split(call, unit, scratch):
            m, n, depth = s.rows(call), s.columns(call), s.depth(call)
            matrix, rest = unit // x.shared.piece_units(m), unit % x.shared.piece_units(m)
            to = offset(pieces(call), matrix * x.shared.pieces_bytes(m, n, depth))
            row, step = s.row_step(call, 0), s.column_step(call, 0)
            at = s.matrix_at(call, 0, matrix)
            x.shared.make_pieces(to, k.input(call, 0), at, row, step, rest, m, depth, scratch)

        @inline
        def compute(call, unit, scratch):
            m, n, depth = s.rows(call), s.columns(call), s.depth(call)
            high, wide = cut.height(m), cut.width(m, n, depth)
            down, across = (m + high - 1) // high, (n + wide - 1) // wide
            batch, rest = unit // (down * across), unit % (down * across)
            i, j = rest // across * high, rest % across * wide
            rows, columns = min(high, m - i), min(wide, n - j)
            first = (batch * m + i) * n + j
            c = offset(k.output(call, 0), first * size)
            matrix = s.source(call, 1, batch)
            if is_plain(call):
                b = offset(k.input(call, 1), (s.matrix_at(call, 1, matrix) + j) * size)
                b_row, b_panel = s.row_step(call, 1), step
            else:
                b = k.packed(call, 1) if k.has_packed(call, 1) else k.workspace(call)
                b = offset(b, (matrix * panel_count(call) * step + j) * depth * size)
                b_row, b_panel = step, depth * step
            a_row, a_step = s.row_step(call, 0), s.column_step(call, 0)
            at = s.matrix_at(call, 0, s.source(call, 0, batch)) + i * a_row
            to = x.sums_at(c, rows, depth, scratch)
            row = columns if x.half else n
            plane, part = x.shared.plane_of(m, n, depth), s.source(call, 0, batch)
            ready = offset(
                pieces(call),
                part * x.shared.pieces_bytes(m, n, depth) + x.shared.pieces_at(m, depth, i),
            )
            a = k.input(call, 0)
            x.sums(
                plane,
                ready,
                a,
                at,
                a_row,
                a_step,
                b,
                b_row,
                b_panel,
                to,
                row,
                rows,
                columns,
                depth,
                scratch,
            )
            x.finish(call, first, to, rows, columns, n)

        def run(call, phase, begin, end, scratch):
            for unit in range(begin, end):
                if phase == 0:
                    pack_panel(call, unit, k.workspace(call))
                elif phase == 1:
                    split(call, unit, scratch)
                else:
                    compute(call, unit, scratch)
            return k.OK

        def units(call, phase):
            m, n, depth = s.rows(call), s.columns(call), s.depth(call)
            out = 0
            if phase == 0:
                if not k.has_packed(call, 1) and not is_plain(call):
                    out = s.matrices(call, 1) * panel_count(call)
            elif phase == 1:
                if x.shared.pieces_bytes(m, n, depth) > 0:
                    out = s.matrices(call, 0) * x.shared.piece_units(m)
            elif m > 0 and n > 0:
                high, wide = cut.height(m), cut.width(m, n, depth)
                out = s.batches(call) * ((m + high - 1) // high) * ((n + wide - 1) // wide)
            return out

        def workspace(call):
            m, n, depth = s.rows(call), s.columns(call), s.depth(call)
            out = s.matrices(call, 0) * x.shared.pieces_bytes(m, n, depth)
            if not k.has_packed(call, 1) and not is_plain(call):
                out += (packed_bytes(call) + 63) // 64 * 64
            return out

        def scratch(call):
            m, n, depth = s.rows(call), s.columns(call), s.depth(call)
            return x.scratch(cut.height(m), cut.width(m, n, depth), depth)

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
            phases=3,
            units=units,
            workspace=workspace,
            scratch=scratch,
            work=work,
            pack_size=pack_size,
            pack=pack,
            supports=allowed(k, rounded) if rounded >= 0 else None,
        )

    return build


for floating, isa in ROWS:
    kernel("MatMul", types={"T": floating}, isa=isa, epilogue=True)(matmul_builder(None))
    kernel(
        "PermutedMatMul",
        domain="tiercel",
        types={"T": floating},
        attributes=("perm_a", "perm_b"),
        isa=isa,
        epilogue=True,
    )(matmul_builder(0))


kernel(
    "MatMul",
    types={"T": "float"},
    attributes=("bfloat16",),
    epilogue=True,
    reasons=NOT_ROUNDED,
    **ROUNDED,
)(matmul_builder(None, 0))
kernel(
    "PermutedMatMul",
    domain="tiercel",
    types={"T": "float"},
    attributes=("perm_a", "perm_b", "bfloat16"),
    epilogue=True,
    reasons=NOT_ROUNDED,
    **ROUNDED,
)(matmul_builder(0, 2))


@kernel("MatMul", types={"T": WHOLE})
def matmul_whole(k):
    """A unit is up to four rows of the output, in blocks of two vectors of columns."""
    s = shapes(k)
    v, lanes, get, offset = k.vector("T"), k.lanes("T"), k.load("T"), k.offset
    size = k.dtype("T").bits // 8

    @inline
    def four_rows(a, b, c, n, depth, count):
        """Four rows by `count` columns, at most two vectors; rows are `n` and `depth` apart."""
        p0, p1, q0, q1 = v.zero(), v.zero(), v.zero(), v.zero()
        r0, r1, t0, t1 = v.zero(), v.zero(), v.zero(), v.zero()
        for d in range(depth):
            b0, b1 = v.load_n(b, d * n, count), v.load_n(b, d * n + lanes, count - lanes)
            p, q = v.set(get(a, d)), v.set(get(a, depth + d))
            r, t = v.set(get(a, 2 * depth + d)), v.set(get(a, 3 * depth + d))
            p0, p1, q0, q1 = p0 + p * b0, p1 + p * b1, q0 + q * b0, q1 + q * b1
            r0, r1, t0, t1 = r0 + r * b0, r1 + r * b1, t0 + t * b0, t1 + t * b1
        put_row(c, p0, p1, count)
        put_row(offset(c, n * size), q0, q1, count)
        put_row(offset(c, 2 * n * size), r0, r1, count)
        put_row(offset(c, 3 * n * size), t0, t1, count)

    @inline
    def put_row(c, low, high, count):
        v.store_n(c, 0, low, count)
        if count > lanes:
            v.store_n(c, lanes, high, count - lanes)

    @inline
    def one_row(a, b, c, n, depth, count):
        low, high = v.zero(), v.zero()
        for d in range(depth):
            x = v.set(get(a, d))
            low = low + x * v.load_n(b, d * n, count)
            high = high + x * v.load_n(b, d * n + lanes, count - lanes)
        put_row(c, low, high, count)

    def run(call, phase, begin, end, scratch):
        m, n, depth = s.rows(call), s.columns(call), s.depth(call)
        groups = (m + 3) // 4
        for unit in range(begin, end):
            batch, row = unit // groups, unit % groups * 4
            a = offset(k.input(call, 0), (s.source(call, 0, batch) * m + row) * depth * size)
            b = offset(k.input(call, 1), s.source(call, 1, batch) * depth * n * size)
            c = offset(k.output(call, 0), (batch * m + row) * n * size)
            for j in range(0, n, 2 * lanes):
                count, right, to = n - j, offset(b, j * size), offset(c, j * size)
                if row + 4 <= m:
                    four_rows(a, right, to, n, depth, count)
                else:
                    for r in range(m - row):
                        x, y = offset(a, r * depth * size), offset(to, r * n * size)
                        one_row(x, right, y, n, depth, count)
        return k.OK

    def units(call, phase):
        return s.batches(call) * ((s.rows(call) + 3) // 4)

    def work(call):
        return k.output_size(call, 0) * s.depth(call) // 8

    return parts(run=run, units=units, work=work)
