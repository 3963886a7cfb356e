"""MatMul by constant weights that are bfloat16 numbers as they stand, as small integers are, on AMX
tiles: three pieces of each float of A meet one of B.
"""

from __future__ import annotations

from attached import epilogue_rows
from matmul_shapes import shapes
from micro import prefetch
from product import nan_finder
from split_tiles import HALF, LANES, PIECES, ROW, TILE, put_pieces, split_parts, tiles_of

from _lang import amx, inline, kernel, parts

NUMBERS = (PIECES["float"], 1)  # of pieces of A and of B
BLOCK_BYTES = 1 << 20  # of pieces of A that one unit reads: half of the L2 cache
MOST_ROWS, SHARED_ROWS = 256, 1024  # of a block; of A, where blocks share their pieces
UNITS = 16
STEP_BYTES = 2 * HALF  # of a panel of B


def packed_weights(k, steps, panels):
    """`pack_size(call, i)`, `pack(call, i, packed)` and `weight(packed, steps, d, j)`: B as panels
    of 32 columns in steps of 32 rows, in the order of tiles.
    """
    word, real, put = k.load("uint32"), k.load("bfloat16"), put_pieces(1)
    v = k.vector("float", LANES)

    @inline
    def is_exact(call):
        b, n = k.input(call, 1), k.input_size(call, 1)
        at, exact = 0, n > 0
        while exact and at < n:
            bits = word(b, at) * 1
            for i in range(at, min(at + 4096, n)):
                bits = bits | word(b, i)
            exact = (bits & 0xFFFF) == 0
            at += 4096
        return exact

    def pack_size(call, i):
        fits = i == 1 and k.input_rank(call, 1) == 2
        fits = fits and k.input_dim(call, 1, 0) >= TILE and k.input_dim(call, 1, 1) >= TILE
        size = 0
        if fits:
            if is_exact(call):
                size = steps(call) * panels(call) * STEP_BYTES
        return size

    @inline
    def row_of(call, d, j):
        n = k.input_dim(call, 1, 1)
        inside = d < k.input_dim(call, 1, 0)
        return v.load_n(k.input(call, 1), d * n + j if inside else 0, n - j if inside else 0)

    def pack(call, i, packed):
        count = steps(call)
        for panel in range(panels(call)):
            for s in range(count):
                to = k.offset(packed, (panel * count + s) * STEP_BYTES)
                for half in range(2):
                    j = panel * TILE + half * LANES
                    for r in range(LANES):
                        d = s * TILE + r
                        place = k.offset(to, half * HALF + r * ROW)
                        put(place, 0, row_of(call, d, j), row_of(call, d + LANES, j))
        return k.OK

    @inline
    def weight(packed, count, d, j):
        row, c = d % TILE, j % TILE
        at = (j // TILE * count + d // TILE) * (STEP_BYTES // 2) + c // LANES * (HALF // 2)
        return real(packed, at + (row % LANES * LANES + c % LANES) * 2 + row // LANES)

    return pack_size, pack, weight


@kernel(
    "MatMul",
    types={"T": "float"},
    variant="exact",
    isa="amx",
    order=-1,
    epilogue=True,
    reasons=("B is not made of bfloat16 numbers that are known",),
)
def matmul(k):
    """Phase 0 splits rows of A where blocks share them; a unit of phase 1 is a block of C. What is
    not finite is summed again by floats.
    """
    s, e, offset, finish = shapes(k), split_parts(k, "T"), k.offset, epilogue_rows()
    ahead, put_place, has_nan = prefetch(2), k.store("int64"), nan_finder(k, "float")
    get, put, single = k.load("float"), k.store("float"), k.cast("float")
    split_rows, begin, end_tiles = e.split_rows, amx.begin(), amx.end()

    @inline
    def ask(to, source, b_row, q, depth, beyond):
        """For pair q of lines of the next panel of B, which needs no more than to be there."""
        ahead(source, 2 * q * ROW)
        ahead(source, (2 * q + 1) * ROW)

    tiles = tiles_of(k, NUMBERS, ask)

    @inline
    def steps(call):
        return e.steps(s.depth(call))

    @inline
    def panels(call):
        return (s.columns(call) + TILE - 1) // TILE

    @inline
    def rows_of(call):
        return k.output_size(call, 0) // max(s.columns(call), 1)

    @inline
    def high_of(call):
        """Rows of a block."""
        fit = min(max(BLOCK_BYTES // (2 * e.count * s.depth(call)), TILE), MOST_ROWS)
        blocks = max((rows_of(call) * TILE + fit * TILE - 1) // (fit * TILE), 1)
        return ((rows_of(call) + blocks - 1) // blocks + TILE - 1) // TILE * TILE

    @inline
    def blocks_of(call):
        high = max(high_of(call), 1)
        return (rows_of(call) + high - 1) // high

    @inline
    def is_shared(call):
        return rows_of(call) <= SHARED_ROWS

    @inline
    def panels_at_once(call):
        cuts = 1
        if is_shared(call):
            cuts = min(
                max((UNITS + blocks_of(call) - 1) // max(blocks_of(call), 1), 1), panels(call)
            )
        return (panels(call) + cuts - 1) // cuts

    @inline
    def plane_of(call):
        return e.plane_bytes(high_of(call))

    @inline
    def pieces_bytes(call):
        return steps(call) * e.count * plane_of(call)

    @inline
    def places_bytes(call):
        return (steps(call) * 8 + 63) // 64 * 64

    pack_size, pack, weight = packed_weights(k, steps, panels)

    @inline
    def split(call, first, count, to):
        """Pieces of rows from `first` on, which lie in one block."""
        depth = s.depth(call)
        x = offset(k.input(call, 0), first * depth * 4)
        split_rows(offset(to, first % high_of(call) * ROW), plane_of(call), x, depth, count, depth)

    @k.outline("int64(call, int64, int64, int64, int64)")
    def sum_again(call, row, rows, column, columns):
        n, depth = s.columns(call), s.depth(call)
        for r in range(row, row + rows):
            for j in range(column, column + columns):
                total = single(0)
                for d in range(depth):
                    w = weight(k.packed(call, 1), steps(call), d, j)
                    total += get(k.input(call, 0), r * depth + d) * w
                put(k.output(call, 0), r * n + j, total)
        return 0

    @inline
    def compute(call, unit, scratch):
        n, high, wide = s.columns(call), high_of(call), panels_at_once(call)
        across = (panels(call) + wide - 1) // wide
        row, panel = unit // across * high, unit % across * wide
        rows, column = min(high, rows_of(call) - row), panel * TILE
        columns = min(wide * TILE, n - column)
        sums, places = offset(scratch, ROW), offset(scratch, ROW + TILE * TILE * 4)
        a = offset(places, places_bytes(call))
        if is_shared(call):
            a = offset(k.workspace(call), unit // across * pieces_bytes(call))
        else:
            split(call, row, rows, a)
        plane, count = plane_of(call), steps(call)
        for step in range(count):
            put_place(places, step, step * e.count * plane)
        c = offset(k.output(call, 0), (row * n + column) * 4)
        begin(scratch)
        blocks = (rows + TILE - 1) // TILE
        per = (LANES + blocks - 1) // blocks
        for j in range(0, columns, TILE):
            b = offset(k.packed(call, 1), (panel + j // TILE) * count * STEP_BYTES)
            next_b, pairs = (
                offset(b, count * STEP_BYTES),
                count * LANES if j + TILE < columns else 0,
            )
            for i in range(0, rows, TILE):
                q = i // TILE * count * per
                end = min(q + count * per, pairs)
                x, to = offset(a, i * ROW), offset(c, (i * n + j) * 4)
                tiles(
                    *(count, x, places, plane, b, to, n, 1, rows - i, columns - j, sums, sums),
                    *(next_b, 0, 0, q, end, per, 0),
                )
        end_tiles()
        if has_nan(c, n, rows, columns) == 1:
            sum_again(call, row, rows, column, columns)
        if columns == n:
            k.epilogue(call, c, row * n, rows * n)
        else:
            finish(call, c, row * n + column, columns, rows, n)

    def run(call, phase, begin, end, scratch):
        for unit in range(begin, end):
            if phase == 1:
                compute(call, unit, scratch)
            else:
                first, block = unit * TILE, unit * TILE // high_of(call)
                to = offset(k.workspace(call), block * pieces_bytes(call))
                split(call, first, min(TILE, rows_of(call) - first), to)
        return k.OK

    def units(call, phase):
        n = 0
        if k.output_size(call, 0) > 0:
            wide = panels_at_once(call)
            n = blocks_of(call) * ((panels(call) + wide - 1) // wide)
            if phase == 0:
                n = (rows_of(call) + TILE - 1) // TILE if is_shared(call) else 0
        return n

    def workspace(call):
        return blocks_of(call) * pieces_bytes(call) if is_shared(call) else 0

    def scratch(call):
        own = 0 if is_shared(call) else pieces_bytes(call)
        return ROW + TILE * TILE * 4 + places_bytes(call) + own + 64

    def work(call):
        return k.output_size(call, 0) * s.depth(call) // 300

    def supports(call):
        return 0 if k.has_packed(call, 1) else 1

    return parts(
        run=run,
        phases=2,
        units=units,
        workspace=workspace,
        scratch=scratch,
        work=work,
        pack_size=pack_size,
        pack=pack,
        supports=supports,
    )
