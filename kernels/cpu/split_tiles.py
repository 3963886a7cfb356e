"""Products of floats by AMX tiles: a float is the sum of bfloat16 pieces, whose products add up."""

from __future__ import annotations

from functools import cache
from typing import Any

from micro import prefetch
from numba import types

from _lang import amx, inline, namespace
from _lang.abi import PTR
from _lang.emit import intrinsic_of
from _lang.lanes import Lanes, llvm_type
from _lang.simd import Vec

# Pieces of eight bits that make up the significant bits of a number.
PIECES = {"float": 3, "float16": 2, "bfloat16": 1}
# Which piece of A meets which of B, by the numbers of both, so that tiles are loaded seldom. For
# three pieces on both sides, products below 2^-22 of the whole are left out.
ORDER = {
    (3, 3): ((0, 2), (0, 1), (1, 1), (1, 0), (2, 0), (0, 0)),
    (3, 1): ((2, 0), (1, 0), (0, 0)),
    (2, 2): ((0, 1), (1, 1), (1, 0), (0, 0)),
    (1, 1): ((0, 0),),
}
TILE = 32  # rows and columns of four tiles of sums, and numbers along the depth of a step
ROW = 64  # bytes of a row of a tile: 32 numbers
HALF = amx.ROWS * ROW  # bytes of a tile
LANES = 16


@cache
def put_pieces(pieces: int) -> Any:
    """`put(to, piece, x, y)`: number i of x and of y become neighbours, of 16 bits each, in a row
    for each piece; rows are `piece` bytes apart. Several pieces are cut off, not rounded: they have
    the sign of the number and add up to it, and none is infinite unless the number is. A single one
    is rounded to the nearest.
    """
    vec = Vec("float", LANES)

    def lower(ctx: Any, b: Any, _: Any, args: Any) -> Any:
        to, piece, *left = args
        left = [Lanes(b, x, "float", LANES) for x in left]
        for i in range(pieces):
            words = [x.bits("uint32") if pieces > 1 else _nearest(x) for x in left]
            high = [w & -65536 for w in words]
            row = (words[0] >> 16) | high[1]
            place = b.bitcast(to, llvm_type("uint32", LANES).as_pointer())
            b.store(row.value, place).align = 4
            if i + 1 < pieces:
                left = [x - h.bits("float") for x, h in zip(left, high, strict=True)]
                to = b.gep(to, [piece])
        return ctx.get_dummy_value()

    return intrinsic_of(types.void(PTR, types.int64, vec, vec), lower)


def _nearest(x: Lanes) -> Lanes:
    """The bits of floats, rounded so that the upper half of each is the nearest bfloat16."""
    words = x.bits("uint32")
    rounded = words + ((words >> 16) & 1) + 0x7FFF
    return x.compare("!=", x).select(words | 0x400000, rounded)


def tile_product(k: Any, pieces: tuple[int, int], rows: int, take: Any) -> Any:
    """`tiles(...)`: up to `rows` (16 or 32) rows of C by up to 32 columns, of numbers of A and of B
    in `pieces`, and meanwhile what `take` does for the next panel of B.

    Step s of the depth has its pieces of A at `a` + places[s], each `plane` bytes after the one
    before, and those of B one after another at `b`. `height`, `n`: the rows and columns that C has
    here. `sums`: memory for 32 × 32 floats. `take(to, source, b_row, q, depth, beyond)` is called
    for `per` of the q from `q` to `end` in every step.
    """
    v, load, offset = k.vector("float", LANES), k.load("int64"), k.offset
    scope = {"v": v, "load": load, "offset": offset, "take": take, "min": min}
    for t in range(amx.TILES):
        scope |= {f"zero{t}": amx.zero(t), f"load{t}": amx.load(t), f"store{t}": amx.store(t)}
    for t in range(4):
        scope[f"dot{t}"] = amx.dot_bfloat16(t, 4 + t // 2, 6 + t % 2)
    totals, halves, order = rows // 8, rows // 16, ORDER[pieces]
    corner = [(t // 2 * 16, t % 2 * LANES) for t in range(totals)]
    lines = [f"whole = height >= {rows} and n >= {TILE}", "if whole and fresh == 0:"]
    lines += [
        f"  load{t}(offset(c, ({r} * c_row + {j}) * 4), c_row * 4)"
        for t, (r, j) in enumerate(corner)
    ]
    lines += ["else:", *[f"  zero{t}()" for t in range(totals)]]
    pauses = max(len(order) // 2, 1)  # between products, where pieces are made
    lines += [f"some = (per + {pauses - 1}) // {pauses}"]
    lines += ["for s in range(steps):", "  x = offset(a, load(places, s))"]
    lines += [f"  y = offset(b, s * {2 * HALF * pieces[1]})"]
    held_a = held_b = -1
    for number, (i, j) in enumerate(order):
        if i != held_a:
            lines += [
                f"  load{4 + h}(offset(x, {i} * plane + {h * HALF}), {ROW})" for h in range(halves)
            ]
        if j != held_b:
            lines += [f"  load{6 + h}(offset(y, {(2 * j + h) * HALF}), {ROW})" for h in range(2)]
        held_a, held_b = i, j
        lines += [f"  dot{t}()" for t in range(totals)]
        if number % 2 == 1 or len(order) == 1:
            lines += ["  stop = min(q + some, end)", "  while q < stop:"]
            lines += ["    take(to, source, b_row, q, depth, beyond)", "    q += 1"]
    lines += ["if whole:"]
    lines += [
        f"  store{t}(offset(c, ({r} * c_row + {j}) * 4), c_row * 4)"
        for t, (r, j) in enumerate(corner)
    ]
    lines += ["else:"]
    lines += [
        f"  store{t}(offset(sums, ({r * TILE + j}) * 4), {TILE * 4})"
        for t, (r, j) in enumerate(corner)
    ]
    lines += [
        f"  for r in range(min(height, {rows})):",
        f"    for j in range(0, min(n, {TILE}), {LANES}):",
    ]
    lines += [f"      z = v.load(sums, r * {TILE} + j)", "      if fresh == 0:"]
    lines += ["        z = z + v.load_n(c, r * c_row + j, n - j)"]
    lines += ["      v.store_n(c, r * c_row + j, z, n - j)", "return 0"]
    head = f"def tiles{rows}({', '.join(name for name, _ in ARGUMENTS)}):"
    exec(compile("\n  ".join([head, *lines]), f"<tiles{rows}>", "exec"), scope)
    return k.outline(f"int64({', '.join(kind for _, kind in ARGUMENTS)})")(scope[f"tiles{rows}"])


ARGUMENTS = (
    *(("steps", "int64"), ("a", "pointer"), ("places", "pointer"), ("plane", "int64")),
    *(("b", "pointer"), ("c", "pointer"), ("c_row", "int64"), ("fresh", "int64")),
    *(("height", "int64"), ("n", "int64"), ("sums", "pointer"), ("to", "pointer")),
    *(("source", "pointer"), ("b_row", "int64"), ("depth", "int64"), ("q", "int64")),
    *(("end", "int64"), ("per", "int64"), ("beyond", "int64")),
)


def tiles_of(k: Any, pieces: tuple[int, int], take: Any) -> Any:
    """`tiles(...)` of up to 32 rows: see tile_product."""
    scope = {f"tiles{rows}": tile_product(k, pieces, rows, take) for rows in (16, 32)}
    listed = ", ".join(name for name, _ in ARGUMENTS)
    body = f"  if height > 16:\n    tiles32({listed})\n  else:\n    tiles16({listed})"
    exec(f"def tiles({listed}):\n{body}", scope)
    return inline(scope["tiles"])


def split_parts(k: Any, t: str, pieces: int = 0) -> Any:
    """What products by pieces are made of: `split_rows` and `put` make pieces of A, `take` those of
    a pair of halves of rows of B, whose elements are of `t`, and `tiles` multiplies.

    A number that is not finite, or a difference that overflows, makes NaN of its whole row or
    column: the caller looks for NaN and then computes otherwise. Denormal pieces count as zeros.
    """
    dtype = k.dtype(t)
    size, pieces = dtype.bits // 8, pieces or PIECES[dtype.name]
    v, w = k.vector("float", LANES), k.vector(t, LANES)
    offset, put = k.offset, put_pieces(pieces)
    ahead = prefetch(2)
    step_bytes = 2 * HALF * pieces

    @inline
    def take(to, source, b_row, q, depth, beyond):
        """Pair q of a panel of B: the halves of rows d and d + 16 of a step. Those of the panel
        `beyond` bytes further on are asked for."""
        d, half = q // TILE * TILE + q % TILE // 2, q % 2
        at = d * b_row + half * LANES
        ahead(source, at * size + beyond)
        ahead(source, (at + LANES * b_row) * size + beyond)
        place = offset(to, q // TILE * step_bytes + half * HALF + q % TILE // 2 * ROW)
        if d + LANES < depth:
            put(place, 2 * HALF, w.load(source, at), w.load(source, at + LANES * b_row))
        else:
            put(place, 2 * HALF, w.load_n(source, at, LANES if d < depth else 0), v.zero())

    @k.outline("int64(pointer, int64, pointer, int64, int64, int64)")
    def split_rows(to, plane, x, row, rows, depth):
        """Rows of floats, `row` apart, into rows of pieces."""
        for r in range(rows):
            line, place, d = r * row, offset(to, r * ROW), 0
            while d + TILE <= depth:
                put(place, plane, v.load(x, line + d), v.load(x, line + d + LANES))
                place = offset(place, pieces * plane)
                d += TILE
            if d < depth:
                low = v.load_n(x, line + d, depth - d)
                put(place, plane, low, v.load_n(x, line + d + LANES, max(depth - d - LANES, 0)))
        return 0

    @inline
    def plane_bytes(rows):
        """Of one piece of one step of A; a line more than a power of two would have."""
        return ((rows + TILE - 1) // TILE * TILE + 1) * ROW

    @inline
    def steps_of(depth):
        return (depth + TILE - 1) // TILE

    return namespace(
        *("split_parts",),
        plane_bytes=plane_bytes,
        steps=steps_of,
        put=put,
        take=take,
        tiles=tiles_of(k, (pieces, pieces), take),
        split_rows=split_rows,
        count=pieces,
        step_bytes=step_bytes,
    )


def split_product(k: Any, t: str, pieces: int = 0) -> Any:
    """`multiply` as `block` in panels.py, but over pieces of A, which `split_rows` makes of rows of
    floats, and `scratch`, the bytes that it needs. B holds elements of `t`.
    """
    e = split_parts(k, t, pieces)
    pieces = e.count
    size = k.dtype(t).bits // 8
    offset, take, tiles, put_place = k.offset, e.take, e.tiles, k.store("int64")
    step_bytes = e.step_bytes
    plane_bytes, steps_of = e.plane_bytes, e.steps
    begin, end_tiles = amx.begin(), amx.end()

    @inline
    def places_bytes(depth):
        return (steps_of(depth) * 8 + 127) // 64 * 64

    @inline
    def step_bytes_a(rows):
        """From one step of A to the next."""
        return pieces * plane_bytes(rows)

    @inline
    def scratch(depth):
        room = ROW + places_bytes(depth) + TILE * TILE * 4
        return room + 2 * steps_of(depth) * step_bytes

    @k.outline(
        "int64(int64, int64, int64, pointer, int64, pointer, int64, int64, pointer, int64,"
        "int64, pointer)"
    )
    def multiply(m, n, depth, a, plane, b, b_row, b_panel, c, c_row, fresh, memory):
        begin(memory)
        steps, places = steps_of(depth), offset(memory, ROW)
        sums = offset(places, places_bytes(depth))
        now = offset(sums, TILE * TILE * 4)
        for s in range(steps):
            put_place(places, s, s * pieces * plane)
        for q in range(steps * TILE):
            take(now, b, b_row, q, depth, b_panel * size)
        blocks = (m + TILE - 1) // TILE
        per = (TILE + blocks - 1) // blocks
        odd = 0
        for j in range(0, n, TILE):
            source = offset(b, (j // TILE + 1) * b_panel * size)
            ready = offset(now, odd * steps * step_bytes)
            odd = 1 - odd
            to = offset(now, odd * steps * step_bytes)
            pairs = steps * TILE if j + TILE < n else 0
            beyond = b_panel * size if j + 2 * TILE < n else 0
            for i in range(0, m, TILE):
                q = i // TILE * steps * per
                end = min(q + steps * per, pairs)
                x, y = offset(a, i * ROW), offset(c, (i * c_row + j) * 4)
                tiles(
                    steps,
                    x,
                    places,
                    plane,
                    ready,
                    y,
                    c_row,
                    fresh,
                    m - i,
                    n - j,
                    sums,
                    to,
                    source,
                    b_row,
                    depth,
                    q,
                    end,
                    per,
                    beyond,
                )
        end_tiles()
        return 0

    return namespace(
        *("split_product",),
        multiply=multiply,
        scratch=scratch,
        split_rows=e.split_rows,
        plane_bytes=plane_bytes,
        step_bytes=step_bytes_a,
        steps=steps_of,
        count=pieces,
    )


def no_product() -> Any:
    """What `split_product` gives, for types and instruction sets without it: never called."""

    made = {}
    for name, count in (("multiply", 12), ("split_rows", 6), ("plane_bytes", 1), ("steps", 1)):
        scope: dict[str, Any] = {}
        exec(f"def {name}({', '.join(f'a{i}' for i in range(count))}):\n    return 0", scope)
        made[name] = inline(scope[name])
    one = made["steps"]
    return namespace("no_product", count=0, scratch=one, step_bytes=one, **made)
