"""MatMul, plain and of permuted operands: blocks of rows and columns; B in panels, packed once
when it is constant.
"""

from __future__ import annotations

from attached import epilogue_rows
from matmul_shapes import shapes
from product import product

from _lang import inline, kernel, parts

FLOATING = "float double float16 bfloat16"
WHOLE = "int32 int64 uint32 uint64"


def matmul_builder(permuted):
    """Phase 0 packs B where it is not constant and rows share it; a unit of phase 1 is a block of
    one matrix.
    """

    def build(k):
        s = shapes(k, 1, permuted)
        x = product(k)
        g, cut = x.panels, x.cut
        size, step = g.bytes, g.width
        pack_b, offset, finish = g.pack_b, k.offset, epilogue_rows()

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
            x.sums(
                k.input(call, 0),
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
            x.deliver(c, n, to, rows, columns)
            if columns == n:
                k.epilogue(call, c, first, rows * n)
            else:
                finish(call, c, first, columns, rows, n)

        def run(call, phase, begin, end, scratch):
            for unit in range(begin, end):
                if phase == 0:
                    pack_panel(call, unit, k.workspace(call))
                else:
                    compute(call, unit, scratch)
            return k.OK

        def units(call, phase):
            m, n, depth = s.rows(call), s.columns(call), s.depth(call)
            out = 0
            if phase == 0:
                if not k.has_packed(call, 1) and not is_plain(call):
                    out = s.matrices(call, 1) * panel_count(call)
            elif m > 0 and n > 0:
                high, wide = cut.height(m), cut.width(m, n, depth)
                out = s.batches(call) * ((m + high - 1) // high) * ((n + wide - 1) // wide)
            return out

        def workspace(call):
            return 0 if k.has_packed(call, 1) or is_plain(call) else packed_bytes(call)

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
            phases=2,
            units=units,
            workspace=workspace,
            scratch=scratch,
            work=work,
            pack_size=pack_size,
            pack=pack,
        )

    return build


kernel("MatMul", types={"T": FLOATING}, epilogue=True)(matmul_builder(None))
kernel(
    "PermutedMatMul",
    domain="tiercel",
    types={"T": FLOATING},
    attributes=("perm_a", "perm_b"),
    epilogue=True,
)(matmul_builder(0))


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
