"""Constant matrices of 4 or 8 bits, their scales and zero points, as panels of columns."""

from __future__ import annotations

from typing import Any

from transpose_block import transpose_block
from weight_words import GROUP, bytes_at, halves_at, moved, spread

from _lang import inline, namespace

BITS, BLOCK, AXIS, SIGNED, ZERO, ACCURACY, N = range(7)
NAMES = ("bits", "block_size", "axis", "is_signed", "zero_point", "accuracy_level", "N")


def extents(k: Any) -> Any:
    """Functions of a call: the extents of B and of its panels."""
    width = 2 * k.lanes("float")

    @inline
    def columns(call):
        return k.attr_int(call, N)

    @inline
    def depth(call):
        """Of B, which A may fall short of."""
        rows = k.input_dim(call, 1, 0)
        if k.attr_int(call, AXIS) != 0:
            rows = k.input_dim(call, 1, 1) * 8 // k.attr_int(call, BITS)
        return rows

    @inline
    def panels(call):
        return (columns(call) + width - 1) // width

    @inline
    def groups(call):
        return (depth(call) + GROUP - 1) // GROUP

    @inline
    def blocks(call):
        size = k.attr_int(call, BLOCK)
        return (depth(call) + size - 1) // size

    @inline
    def panel_bytes(call):
        return groups(call) * width * k.attr_int(call, BITS)

    return namespace(
        *("extents",),
        columns=columns,
        depth=depth,
        panels=panels,
        groups=groups,
        blocks=blocks,
        panel_bytes=panel_bytes,
    )


def weight_packing(k: Any) -> Any:
    """`size(call, i)` and `pack(call, i, to)` of input i: 1, words as weight_words.py has them,
    behind one another for each panel; 2, scales, and 3, zero points, [panels][blocks][width] of
    floats and of bytes.
    """
    e, lanes = extents(k), k.lanes("float")
    width, vi = 2 * lanes, k.vector("int32")
    get, put_byte, put_word = k.load("uint8"), k.store("uint8"), k.store("int32")
    scale, put, offset, word = k.load("T"), k.store("float"), k.offset, k.cast("int32")
    turn, spread_words = transpose_block("float", "float", lanes), spread(lanes)
    byte = k.cast("uint8")

    @inline
    def size(call, i):
        each = e.blocks(call) * width
        out = 0
        if i == 1:
            out = e.panel_bytes(call)
        elif i == 2:
            out = each * 4
        elif i == 3 and k.n_inputs(call) > 3 and k.has_input(call, 3):
            out = each
        return out * e.panels(call)

    @inline
    def number(call, i, row, column, step):
        """Element [row, column] of a matrix of packed numbers, whose rows are `step` bytes."""
        bits = k.attr_int(call, BITS)
        at = column * bits // 8
        x = word(get(k.input(call, i), row * step + at))
        if bits == 4:
            x = (x >> word(column % 2 * 4)) & word(15)
        if k.attr_int(call, SIGNED) != 0:
            x = x ^ word(8 if bits == 4 else 128)
        return x

    @inline
    def weight(call, d, j):
        x = word(0)
        step = k.input_dim(call, 1, 1)
        if d < e.depth(call) and j < e.columns(call):
            if k.attr_int(call, AXIS) == 0:
                x = number(call, 1, d, j, step)
            else:
                x = number(call, 1, j, d, step)
        return x

    @k.outline("int64(call, pointer, int64, int64, int64)")
    def single_words(call, to, column, begin, end):
        """Groups of a panel number by number."""
        bits = k.attr_int(call, BITS)
        for g in range(begin, end):
            for j in range(width):
                for h in range(bits // 4):
                    total = word(0)
                    for i in range(32 // bits):
                        at = g * GROUP + h * 4 + i
                        shift = i * 8 if bits == 8 else i % 4 * 8 + i // 4 * 4
                        total = total | (weight(call, at, column + j) << word(shift))
                    put_word(to, (g * (bits // 4) + h) * width + j, total)
        return 0

    @k.outline("int64(call, pointer, int64, int64, int64)")
    def row_words(call, to, column, begin, end):
        """Groups of a panel of whole columns of a matrix whose rows they are."""
        bits, step = k.attr_int(call, BITS), k.input_dim(call, 1, 1) // 4
        per, b = bits // 4, k.input(call, 1)
        for g in range(begin * per, end * per, lanes):
            for j in range(0, width, lanes):
                turn(to, g * width + j, width, b, (column + j) * step + g, step)
        flip = word(0)
        if k.attr_int(call, SIGNED) != 0:
            flip = word(-2004318072 if bits == 4 else -2139062144)
        turned = vi.set(flip)
        for i in range(begin * per * width, end * per * width, lanes):
            x = vi.load(to, i) ^ turned
            if bits == 4:
                x = spread_words(x)
            vi.store(to, i, x)
        return 0

    column_words = {bits: packed_columns(k, bits) for bits in (4, 8)}
    of_halves, of_bytes = column_words[4], column_words[8]

    @inline
    def pack_words(call, to):
        bits, groups = k.attr_int(call, BITS), e.groups(call)
        step, depth = k.input_dim(call, 1, 1), e.depth(call)
        for panel in range(e.panels(call)):
            column, out = panel * width, offset(to, panel * e.panel_bytes(call))
            done = 0
            if column + width <= e.columns(call):
                if k.attr_int(call, AXIS) == 0:
                    done = depth // GROUP
                    b = offset(k.input(call, 1), column * bits // 8)
                    flip = word(0)
                    if k.attr_int(call, SIGNED) != 0:
                        flip = word(-2004318072 if bits == 4 else -2139062144)
                    if bits == 4:
                        of_halves(out, b, step, done, flip)
                    else:
                        of_bytes(out, b, step, done, flip)
                elif step % 4 == 0:
                    done = depth // GROUP * (bits // 4) // lanes * lanes // (bits // 4)
                    row_words(call, out, column, 0, done)
            single_words(call, out, column, done, groups)

    @inline
    def at_block(call, i, block, column):
        """The element of scales [N, blocks], or [blocks, N]."""
        row, at = (block, column) if k.attr_int(call, AXIS) == 0 else (column, block)
        return row * k.input_dim(call, i, 1) + at

    @inline
    def pack_scales(call, to):
        n = e.blocks(call)
        for panel in range(e.panels(call)):
            for block in range(n):
                row = (panel * n + block) * width
                for j in range(width):
                    inside = panel * width + j < e.columns(call)
                    at = at_block(call, 2, block, panel * width + j) if inside else 0
                    x = scale(k.input(call, 2), at)
                    put(to, row + j, x if inside else x - x)

    @inline
    def pack_zeros(call, to):
        n, step = e.blocks(call), k.input_dim(call, 3, 1)
        for panel in range(e.panels(call)):
            for block in range(n):
                for j in range(width):
                    column, x = panel * width + j, word(0)
                    if column < e.columns(call):
                        if k.attr_int(call, AXIS) == 0:
                            x = number(call, 3, block, column, step)
                        else:
                            x = number(call, 3, column, block, step)
                    put_byte(to, (panel * n + block) * width + j, byte(x))

    @k.outline("int64(call, int64, pointer)")
    def pack(call, i, to):
        if i == 1:
            pack_words(call, to)
        elif i == 2:
            pack_scales(call, to)
        else:
            pack_zeros(call, to)
        return 0

    return namespace("weight_packing", size=size, pack=pack)


def packed_columns(k: Any, bits: int) -> Any:
    """`pack(to, b, step, groups, flip)`: the first groups of a panel of whole columns of a matrix
    with rows of `step` bytes.
    """
    lanes, vi = k.lanes("float"), k.vector("int32")
    width = 2 * lanes
    scope: dict[str, Any] = {"vi": vi}
    scope["take"] = halves_at(lanes) if bits == 4 else bytes_at(lanes)
    lines = ["turned = vi.set(flip)", "for g in range(groups):"]
    per = bits // 4
    for j in range(2):
        for h in range(per):
            terms = []
            for i in range(GROUP // per):
                shift = i * 8 if bits == 8 else i % 4 * 8 + i // 4 * 4
                scope[f"moved{shift}"] = moved(lanes, shift)
                row, at = h * 4 + i, j * lanes * bits // 8
                terms += [f"moved{shift}(take(b, (g * {GROUP} + {row}) * step + {at}))"]
            place = f"(g * {per} + {h}) * {width} + {j * lanes}"
            lines += [f"  x = {terms[0]}", *[f"  x = x | {t}" for t in terms[1:]]]
            lines += [f"  vi.store(to, {place}, x ^ turned)"]
    lines += ["return 0"]
    head = "def pack(to, b, step, groups, flip):"
    exec(compile("\n  ".join([head, *lines]), f"<columns{bits}>", "exec"), scope)
    return k.outline("int64(pointer, pointer, int64, int64, int32)")(scope["pack"])
