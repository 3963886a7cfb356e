"""Products of 8-bit matrices over packed panels, summed in int32 with zero points taken out."""

from __future__ import annotations

from typing import Any

from micro_int8 import TILE, multiply_tiles, multiply_words, tile_shape
from numba import int64

from _lang import amx, dot, inline, namespace

UNSIGNED = 2  # onnx.TensorProto.UINT8
LINE = 16  # words that a packed row is a multiple of: what an AMX tile takes


def packing(k: Any, group: int, width: int) -> tuple[Any, Any]:
    """`pack_a` and `pack_b`: bytes become words of `group` numbers.

    Four share a word as unsigned bytes of A and signed bytes of B: the other kinds are shifted by
    128, and their zero points with them. Two share a word as 16-bit numbers, which are exact.
    """
    get, put = k.load("uint8"), k.store("uint8")
    put_half, put_word, get_word = k.store("int16"), k.store("int32"), k.load("int32")
    cast_word, cast_byte, cast_half = k.cast("int32"), k.cast("uint8"), k.cast("int16")
    four = group == 4

    @inline
    def pitch(depth):
        """Words of a packed row of A, and of a packed column of B."""
        return (depth + group * LINE - 1) // (group * LINE) * LINE

    @inline
    def as_it_lies(depth, is_signed):
        """Whether rows of A are what packing would make of them."""
        return four and is_signed == 0 and depth % (group * LINE) == 0

    @k.outline("int64(pointer, pointer, int64, int64, int64)")
    def sum_rows(left, a, at, rows, depth):
        """The sums of `rows` rows of unsigned bytes into `left`."""
        for i in range(rows):
            row, total = k.offset(a, at + i * depth), cast_word(0)
            for e in range(depth):
                total += cast_word(get(row, e))
            put_word(left, 2 * i + 1, total)
        return 0

    @k.outline("int64(pointer, pointer, pointer, int64, int64, int64, int64)")
    def pack_a(to, left, a, at, rows, depth, is_signed):
        """`rows` of A, each as `pitch` words, and their sums into `left`."""
        length = pitch(depth)
        flip = cast_byte(128 if is_signed != 0 else 0)
        for i in range(rows):
            row, out = k.offset(a, at + i * depth), k.offset(to, i * length * 4)
            total = cast_word(0)
            if four:
                for e in range(depth):
                    value = get(row, e) ^ flip
                    put(out, e, value)
                    total += cast_word(value)
            else:
                low = cast_word(128 if is_signed != 0 else 0)
                for e in range(depth):
                    value = cast_word(get(row, e) ^ flip) - low
                    put_half(out, e, cast_half(value))
                    total += value
            size = 1 if four else 2
            k.fill(k.offset(out, depth * size), 0, length * 4 - depth * size)
            put_word(left, 2 * i + 1, total)
        return 0

    @inline
    def number(x, i, is_unsigned):
        """Byte i of B as the product takes it."""
        value = cast_word(get(x, i) ^ cast_byte(0 if is_unsigned != 0 else 128))
        return value - cast_word(128 if four or is_unsigned == 0 else 0)

    @k.outline("int64(pointer, pointer, int64, int64, int64, int64, int64)")
    def pack_b(to, b, at, n, stride, depth, is_unsigned):
        """A panel: `n` columns of B as [pitch][width] words, then the sums of the columns."""
        words, mask = pitch(depth), cast_word(0xFF if four else 0xFFFF)
        sums = k.offset(to, words * width * 4)
        k.fill(to, 0, (words + 1) * width * 4)
        for e in range(depth):
            row, place = k.offset(b, at + e * stride), k.offset(to, e // group * width * 4)
            shift = cast_word(e % group * (32 // group))
            for j in range(n):
                value = number(row, j, is_unsigned)
                put_word(sums, j, get_word(sums, j) + value)
                put_word(place, j, get_word(place, j) | ((value & mask) << shift))
        return 0

    return namespace(
        *("packing",),
        pitch=pitch,
        pack_a=pack_a,
        pack_b=pack_b,
        as_it_lies=as_it_lies,
        sum_rows=sum_rows,
    )


def panels_int8(k: Any) -> Any:
    """What `packing` makes, `multiply`, `begin` and `end` around the products of a thread;
    the facts `height`, `width`, `group`, `spare` (bytes that a thread needs), and `shift`, by which
    packing moves numbers of the other kind.
    """
    rows, vectors = tile_shape(k)
    width, group = vectors * k.lanes("int32"), dot(k.isa).group
    by_tiles = k.isa == "amx"
    if by_tiles:
        multiply, configure, release = multiply_tiles(k), amx.begin(), amx.end()

        @inline
        def begin(spare):
            configure(spare)

        @inline
        def end():
            release()
    else:
        by_words = multiply_words(k)

        @inline
        def multiply(depth, pitch, a, b, c, rows, stride, n, left, right, sums):
            by_words(depth, pitch, a, b, c, rows, stride, n, left, right)

        @inline
        def begin(spare):
            pass

        @inline
        def end():
            pass

    p = packing(k, group, width)
    return namespace(
        "panels",
        pitch=p.pitch,
        pack_a=p.pack_a,
        as_it_lies=p.as_it_lies,
        sum_rows=p.sum_rows,
        pack_b=p.pack_b,
        multiply=multiply,
        begin=begin,
        end=end,
        height=TILE if by_tiles else rows,
        width=width,
        group=group,
        spare=int64(TILE * TILE * 4 if by_tiles else 0),
        shift=128 if group == 4 else 0,
    )
