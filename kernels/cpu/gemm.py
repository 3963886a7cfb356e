"""Gemm: blocks of rows and columns of alpha A B + beta C; B in panels, packed once when it is
constant.
"""

from __future__ import annotations

from product import NOT_ROUNDED, ROUNDED, ROWS, allowed, product

from _lang import inline, kernel, parts

ATTRIBUTES = ("alpha", "beta", "transA", "transB")


def gemm(k, rounded=-1):
    """A and B transposed or not; scaling and C come to the sums of a block while it is in cache."""
    x = product(k, pieces=1 if rounded >= 0 else 0)
    g, cut, wide = x.panels, x.cut, x.panels.wide
    size, step, wide_size = g.bytes, g.width, g.wide_bytes
    get, get_wide, put_wide, cast = k.load("T"), k.load(wide), k.store(wide), k.cast("T")
    lanes, p, v = k.lanes(wide), k.vector(wide), k.vector("T", k.lanes(wide))
    pack_b, offset = g.pack_b, k.offset

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
    def packed_bytes(call):
        return panel_count(call) * step * depth_of(call) * size

    @inline
    def is_plain(call):
        """B is read as it lies: too few rows share it to make up for packing."""
        few = rows_of(call) <= 2 * x.few and k.attr_int(call, 3) == 0
        return few and not k.has_packed(call, 1)

    @inline
    def pack_panel(call, unit, to):
        depth, n, j = depth_of(call), columns_of(call), unit * step
        transposed = k.attr_int(call, 3) != 0
        pack_b(
            offset(to, unit * step * depth * size),
            k.input(call, 1),
            j * depth if transposed else j,
            min(step, n - j),
            1 if transposed else n,
            depth if transposed else 1,
            depth,
        )

    @inline
    def pieces(call):
        """Where the pieces of A lie in the workspace: behind a packed B."""
        packed = k.has_packed(call, 1) or is_plain(call)
        return offset(k.workspace(call), 0 if packed else (packed_bytes(call) + 63) // 64 * 64)

    @inline
    def split(call, unit, scratch):
        m, depth, transposed = rows_of(call), depth_of(call), k.attr_int(call, 2) != 0
        row, step = 1 if transposed else depth, m if transposed else 1
        x.shared.make_pieces(pieces(call), k.input(call, 0), 0, row, step, unit, m, depth, scratch)

    @k.outline("int64(call, pointer, int64, int64, int64)")
    def finish(call, sums, i, j, columns):
        """One row of sums: alpha times the product plus beta C, which is broadcast."""
        alpha, beta = cast(k.attr_float(call, 0)), cast(k.attr_float(call, 1))
        if k.has_input(call, 2):
            c, rank = k.input(call, 2), k.input_rank(call, 2)
            across = k.input_dim(call, 2, rank - 1) if rank > 0 else 1
            down = k.input_dim(call, 2, 0) if rank > 1 else 1
            row, at = i * across if down > 1 else 0, 0
            if across > 1:
                scale, share = p.set(alpha), p.set(beta)
                while at + lanes <= columns:
                    z = share * v.load(c, row + j + at)
                    p.store(sums, at, p.fma(p.load(sums, at), scale, z))
                    at += lanes
            while at < columns:
                z = beta * get(c, row + (j + at if across > 1 else 0))
                put_wide(sums, at, k.math.fma(get_wide(sums, at), alpha, z))
                at += 1
        elif alpha != cast(1):
            for at in range(columns):
                put_wide(sums, at, get_wide(sums, at) * alpha)
        return 0

    @inline
    def compute(call, unit, scratch):
        m, n, depth = rows_of(call), columns_of(call), depth_of(call)
        high, wide_block = cut.height(m), cut.width(m, n, depth)
        across = (n + wide_block - 1) // wide_block
        i, j = unit // across * high, unit % across * wide_block
        rows, columns = min(high, m - i), min(wide_block, n - j)
        first = i * n + j
        c = offset(k.output(call, 0), first * size)
        transposed = k.attr_int(call, 2) != 0
        if is_plain(call):
            b, b_row, b_panel = offset(k.input(call, 1), j * size), n, step
        else:
            b = k.packed(call, 1) if k.has_packed(call, 1) else k.workspace(call)
            b, b_row, b_panel = offset(b, j * depth * size), step, depth * step
        to, row = x.sums_at(c, rows, depth, scratch), columns if x.half else n
        a_row, a_step = 1 if transposed else depth, m if transposed else 1
        a, at, plane = k.input(call, 0), i * a_row, x.shared.plane_of(m, n, depth)
        ready = offset(pieces(call), x.shared.pieces_at(m, depth, i))
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
        for r in range(rows):
            finish(call, offset(to, r * row * wide_size), i + r, j, columns)
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
        m, n, depth = rows_of(call), columns_of(call), depth_of(call)
        out = 0
        if phase == 0:
            if not k.has_packed(call, 1) and not is_plain(call):
                out = panel_count(call)
        elif phase == 1:
            if x.shared.pieces_bytes(m, n, depth) > 0:
                out = x.shared.piece_units(m)
        elif m > 0 and n > 0:
            high, across = cut.height(m), cut.width(m, n, depth)
            out = ((m + high - 1) // high) * ((n + across - 1) // across)
        return out

    def workspace(call):
        out = x.shared.pieces_bytes(rows_of(call), columns_of(call), depth_of(call))
        if not k.has_packed(call, 1) and not is_plain(call):
            out += (packed_bytes(call) + 63) // 64 * 64
        return out

    def scratch(call):
        m, n, depth = rows_of(call), columns_of(call), depth_of(call)
        return x.scratch(cut.height(m), cut.width(m, n, depth), depth)

    def work(call):
        return k.output_size(call, 0) * depth_of(call) // 50

    def pack_size(call, i):
        return packed_bytes(call) if i == 1 else 0

    def pack(call, i, packed):
        for unit in range(panel_count(call)):
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


for floating, isa in ROWS:
    kernel("Gemm", types={"T": floating}, attributes=ATTRIBUTES, isa=isa, epilogue=True)(gemm)


@kernel(
    "Gemm",
    types={"T": "float"},
    attributes=(*ATTRIBUTES, "bfloat16"),
    epilogue=True,
    reasons=NOT_ROUNDED,
    **ROUNDED,
)
def rounded_gemm(k):
    """As gemm, of rounded factors."""
    return gemm(k, len(ATTRIBUTES))
