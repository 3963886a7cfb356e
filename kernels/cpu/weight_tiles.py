"""Many rows of floats times weights of 4 or 8 bits by AMX tiles: pieces of the floats meet the
whole numbers, which are bfloat16 as they stand, and sums of a block get its scales.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from micro import prefetch
from numba import types
from split_tiles import HALF, LANES, PIECES, ROW, TILE, split_parts, tiles_of
from weight_packing import BITS, BLOCK
from weight_words import GROUP, part, words_of

from _lang import amx, inline, namespace
from _lang.abi import PTR
from _lang.emit import intrinsic_of
from _lang.lanes import Lanes, llvm_type
from _lang.simd import Vec

STEP_BYTES = 2 * HALF  # of a panel of weights
DEEPEST = 512  # of the depth that tiles sum without scales, where blocks are larger
SUMS = TILE * TILE * 4


@cache
def put_pairs() -> Any:
    """`put(to, byte, x, y)`: numbers of x and of y that are bfloat16 as they stand, in turn."""
    vec = Vec("float", LANES)

    def lower(ctx: Any, b: Any, _: Any, args: Any) -> Any:
        to, byte, x, y = args
        low, high = (Lanes(b, v, "float", LANES).bits("uint32") for v in (x, y))
        place = b.bitcast(b.gep(to, [byte]), llvm_type("uint32", LANES).as_pointer())
        b.store(((low >> 16) | (high & -65536)).value, place).align = 4
        return ctx.get_dummy_value()

    return intrinsic_of(types.void(PTR, types.int64, vec, vec), lower)


def whole_steps(k: Any, bits: int) -> Any:
    """`fill(to, words, zeros, zero, block, steps, groups)`: a panel of weights less their zero
    points as steps of tiles.
    """
    v, vi, w = k.vector("float"), k.vector("int32"), words_of(LANES)
    scope = {"v": v, "vi": vi, "as_floats": w.as_floats, "bytes_at": w.bytes_at, "min": min}
    scope["put"] = put_pairs()
    width, per = 2 * LANES, bits // 4
    lines = ["last = groups - 1", "for s in range(steps):"]
    lines += [f"  at = s * {TILE} // block * {width}"]
    for j in range(2):
        lines += [f"  z{j} = v.set(zero)"]
    lines += ["  if zero < 0:"]
    for j in range(2):
        lines += [f"    z{j} = as_floats(bytes_at(zeros, at + {j * LANES}))"]
    lines += ["  for part in range(2):", f"    g = s * {TILE // GROUP} + part"]
    lines += [f"    near, far = min(g, last), min(g + {LANES // GROUP}, last)"]
    for j in range(2):
        for word in range(per):
            place = (word * 2 + j) * LANES
            lines += [f"    x = vi.load(words, near * {per * width} + {place})"]
            lines += [f"    y = vi.load(words, far * {per * width} + {place})"]
            for i in range(GROUP // per):
                shift = i * 8 if bits == 8 else i % 4 * 8 + i // 4 * 4
                take = f"take{shift}"
                scope[take] = part(LANES, shift, (1 << bits) - 1)
                row = (word * (GROUP // per) + i) * ROW + j * HALF
                lines += [
                    f"    low, high = as_floats({take}(x)) - z{j}, as_floats({take}(y)) - z{j}"
                ]
                byte = f"s * {STEP_BYTES} + part * {GROUP * ROW} + {row}"
                lines += [f"    put(to, {byte}, low, high)"]
    lines += ["return 0"]
    head = "def fill(to, words, zeros, zero, block, steps, groups):"
    exec(compile("\n  ".join([head, *lines]), f"<steps{bits}>", "exec"), scope)
    signature = "int64(pointer, pointer, pointer, float, int64, int64, int64)"
    return k.outline(signature)(scope["fill"])


def weight_tiles(k: Any, o: Any, panel: Any) -> Any:
    """Functions over rows of floats and panels: `fits(call)`; `pieces_bytes(call, high)` of a block
    of `high` rows, `split(call, to, high, row, x)` for each, and `multiply(call, ...)`.

    `o`: extents of the call; `panel(call, i, number)`: where a panel of input i lies. Where the
    call allows A to be rounded, it has a single piece.
    """
    many, one = split_parts(k, "float"), split_parts(k, "float", 1)
    offset, v, put_place = k.offset, k.vector("float"), k.store("int64")
    fill4, fill8, single = whole_steps(k, 4), whole_steps(k, 8), k.cast("float")
    begin, end_tiles, ahead = amx.begin(), amx.end(), prefetch(2)
    split3, split1, plane_bytes, steps_of = (
        many.split_rows,
        one.split_rows,
        many.plane_bytes,
        many.steps,
    )

    @inline
    def ask(to, source, b_row, q, depth, beyond):
        ahead(source, q * ROW)

    tiles3 = tiles_of(k, (PIECES["float"], 1), ask)
    tiles1 = tiles_of(k, (1, 1), ask)

    @inline
    def run(call):
        """Of the depth, with common scales."""
        return min(k.attr_int(call, BLOCK), DEEPEST)

    @inline
    def fits(call):
        block = k.attr_int(call, BLOCK)
        return o.blocks(call) == 1 or (block % TILE == 0 and block % run(call) == 0)

    @inline
    def count(call):
        return 1 if o.is_rounded(call) else many.count

    @inline
    def pieces_bytes(call, high):
        return steps_of(o.depth(call)) * count(call) * plane_bytes(high)

    @inline
    def split(call, to, high, row, x):
        """A row of floats, `row` of a block of `high`."""
        depth, place = o.depth(call), offset(to, row * ROW)
        if o.is_rounded(call):
            split1(place, plane_bytes(high), x, depth, 1, depth)
        else:
            split3(place, plane_bytes(high), x, depth, 1, depth)

    @inline
    def memory_bytes(call):
        steps = steps_of(o.depth(call))
        return ROW + 2 * SUMS + (steps * 8 + 63) // 64 * 64 + steps * STEP_BYTES

    @inline
    def add_scaled(sums, part, rows, scales, at, fresh):
        """sums + part · scales, or the products alone."""
        s0, s1 = v.load(scales, at), v.load(scales, at + LANES)
        for i in range(0, rows * TILE, TILE):
            x, y = v.load(part, i) * s0, v.load(part, i + LANES) * s1
            if fresh == 0:
                x, y = x + v.load(sums, i), y + v.load(sums, i + LANES)
            v.store(sums, i, x)
            v.store(sums, i + LANES, y)

    @k.outline("int64(call, pointer, int64, pointer, pointer, int64, int64, pointer, pointer)")
    def blocks(call, a, plane, b, scales, rows, steps, places, memory):
        """Up to 32 rows times a panel: their sums at `memory`."""
        height = TILE if rows > TILE // 2 else TILE // 2
        part, block = offset(memory, SUMS), k.attr_int(call, BLOCK)
        each, first = (run(call) + TILE - 1) // TILE, 0
        if o.blocks(call) == 1:
            each = DEEPEST // TILE
        while first < steps:
            some = min(each, steps - first)
            x, y = offset(a, first * count(call) * plane), offset(b, first * STEP_BYTES)
            if o.is_rounded(call):
                tiles1(
                    *(some, x, places, plane, y, part, TILE, 1, height, TILE, part, part),
                    *(part, 0, 0, 0, 0, 0, 0),
                )
            else:
                tiles3(
                    *(some, x, places, plane, y, part, TILE, 1, height, TILE, part, part),
                    *(part, 0, 0, 0, 0, 0, 0),
                )
            at = first * TILE // block * TILE
            add_scaled(memory, part, rows, scales, at, 1 if first == 0 else 0)
            first += some
        return 0

    @k.outline("int64(call, pointer, int64, int64, int64, int64, pointer, pointer)")
    def multiply(call, a, high, rows, column, columns, sums, memory):
        """Rows, as pieces at `a`, times columns: [rows][columns] floats at `sums`."""
        begin(memory)
        steps, plane = steps_of(o.depth(call)), plane_bytes(high)
        work = offset(memory, ROW)
        places = offset(work, 2 * SUMS)
        b = offset(places, (steps * 8 + 63) // 64 * 64)
        for s in range(steps):
            put_place(places, s, s * count(call) * plane)
        zero, block = single(o.zero(call)), k.attr_int(call, BLOCK)
        for j in range(0, columns, TILE):
            number = (column + j) // TILE
            words, zeros = panel(call, 1, number), panel(call, 3, number)
            if k.attr_int(call, BITS) == 4:
                fill4(b, words, zeros, zero, block, steps, o.groups(call))
            else:
                fill8(b, words, zeros, zero, block, steps, o.groups(call))
            left, scales = columns - j, panel(call, 2, number)
            for i in range(0, rows, TILE):
                x, high = offset(a, i * ROW), min(rows - i, TILE)
                blocks(call, x, plane, b, scales, high, steps, places, work)
                for r in range(high):
                    to = (i + r) * columns + j
                    v.store_n(sums, to, v.load(work, r * TILE), left)
                    v.store_n(sums, to + LANES, v.load(work, r * TILE + LANES), left - LANES)
        end_tiles()
        return 0

    return namespace(
        *("weight_tiles",),
        fits=fits,
        pieces_bytes=pieces_bytes,
        split=split,
        multiply=multiply,
        memory_bytes=memory_bytes,
    )
