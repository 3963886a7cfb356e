"""Products of 8-bit matrices over packed panels, summed in int32 with zero points taken out."""

from __future__ import annotations

from typing import Any

from numba import int64

from _lang import dot, inline, namespace

UNSIGNED = 2  # onnx.TensorProto.UINT8


def tile_shape(k: Any) -> tuple[int, int]:
    """Rows and vectors of the largest register tile."""
    return (6, 2) if k.isa == "v3" else (8, 2) if k.isa == "neon" else (12, 2)


def heights(rows: int) -> list[int]:
    """Row counts with a micro-kernel of their own; any number of rows is a sum of them."""
    return [h for h in (12, 8, 6, 4, 2, 1) if h <= rows]


def micro_kernel(k: Any, height: int, vectors: int) -> Any:
    """C[height, width] = (A - left zero point) (B - right zero point), sums in registers.

    A is packed [depth][height] and B [depth][width], in words of several numbers. `left` has per
    row its zero point and its sum; `right` has the sums of the columns, less depth times zero
    point, and then the zero points. `n` < width: the columns that exist.
    """
    v, d = k.vector("int32"), dot(k.isa)
    load, lanes = k.load("int32"), k.lanes("int32")
    width = vectors * lanes
    tiles = [(i, j) for i in range(height) for j in range(vectors)]
    lines = [f"c{i}_{j} = v.zero()" for i, j in tiles]
    lines += ["for d in range(depth):"]
    lines += [f"  b{j} = v.load(b, d * {width} + {j * lanes})" for j in range(vectors)]
    for i in range(height):
        lines += [f"  x = v.set(load(a, d * {height} + {i}))"]
        lines += [f"  c{i}_{j} = add(c{i}_{j}, x, b{j})" for j in range(vectors)]
    for i in range(height):
        lines += [f"row = offset(c, {i} * stride * 4)"]
        lines += [f"zero, total = v.set(load(left, {2 * i})), v.set(load(left, {2 * i + 1}))"]
        for j in range(vectors):
            at, tail = j * lanes, width + j * lanes
            lines += [f"c{i}_{j} = c{i}_{j} - zero * v.load(right, {at})"]
            lines += [f"c{i}_{j} = c{i}_{j} - total * v.load(right, {tail})"]
            lines += [f"if n >= {at + lanes}: v.store(row, {at}, c{i}_{j})"]
            lines += [f"elif n > {at}: v.store_n(row, {at}, c{i}_{j}, n - {at})"]
    scope = {"v": v, "add": d.add, "load": load, "offset": k.offset}
    name = f"micro{height}"
    source = f"def {name}(depth, a, b, c, stride, n, left, right):\n  " + "\n  ".join(lines)
    exec(compile(source + "\n  return 0", f"<{name}>", "exec"), scope)
    signature = "int64(int64, pointer, pointer, pointer, int64, int64, pointer, pointer)"
    return k.outline(signature)(scope[name])


def packing(k: Any, group: int, width: int) -> tuple[Any, Any]:
    """`pack_rows` and `pack_b`: bytes become words of `group` numbers.

    Four share a word as unsigned bytes of A and signed bytes of B: the other kinds are shifted by
    128, and their zero points with them. Two share a word as 16-bit numbers, which are exact.
    """
    get, put = k.load("uint8"), k.store("uint8")
    put_half, put_word = k.store("int16"), k.store("int32")
    get_word = k.load("int32")
    cast_word, cast_byte = k.cast("int32"), k.cast("uint8")
    four = group == 4

    @inline
    def number(x, i, is_signed):
        """Byte i as a number."""
        value = int64(get(x, i))
        return value - 256 if is_signed and value > 127 else value

    @inline
    def pack_rows(to, left, a, at, count, depth, is_signed):
        """`count` rows of A as [depth words][count], and their sums into `left`."""
        words = (depth + group - 1) // group
        for i in range(count):
            total, row = 0, at + i * depth
            for e in range(depth):
                value = number(a, row + e, is_signed) + (128 if four and is_signed else 0)
                total += value
                slot = ((e // group) * count + i) * group + e % group
                if four:
                    put(to, slot, cast_byte(value))
                else:
                    put_half(to, slot, value)
            for e in range(depth, words * group):
                slot = ((e // group) * count + i) * group + e % group
                if four:
                    put(to, slot, cast_byte(0))
                else:
                    put_half(to, slot, 0)
            put_word(left, 2 * i + 1, cast_word(total))

    @k.outline("int64(pointer, pointer, int64, int64, int64, int64, int64)")
    def pack_b(to, b, at, n, stride, depth, is_unsigned):
        """A panel: `n` columns of B as [depth words][width], then the sums of the columns."""
        words = (depth + group - 1) // group
        sums = k.offset(to, words * width * 4)
        k.fill(to, 0, (words + 1) * width * 4)
        for e in range(depth):
            row = at + e * stride
            for j in range(n):
                value = number(b, row + j, is_unsigned == 0)
                if four and is_unsigned != 0:
                    value -= 128
                put_word(sums, j, cast_word(get_word(sums, j) + value))
                slot = ((e // group) * width + j) * group + e % group
                if four:
                    put(to, slot, cast_byte(value))
                else:
                    put_half(to, slot, value)
        return 0

    return pack_rows, pack_b


def panels_int8(k: Any) -> Any:
    """`pack_a`, `pack_b`, `multiply`; the facts `height`, `width`, `group`, and by how much packing
    shifts the numbers: `shift_a(is_signed)`, `shift_b(is_unsigned)`.
    """
    rows, vectors = tile_shape(k)
    width, group = vectors * k.lanes("int32"), dot(k.isa).group
    pack_rows, pack_b = packing(k, group, width)
    scope = {"pack_rows": pack_rows, "offset": k.offset}
    pack, product = ["i = 0"], ["i = 0"]
    for h in heights(rows):
        scope[f"micro{h}"] = micro_kernel(k, h, vectors)
        pack += [
            f"while rows - i >= {h}:",
            f"  pack_rows(offset(to, i * {4} * ((depth + {group - 1}) // {group})),",
            f"            offset(left, i * 8), a, at + i * depth, {h}, depth, is_signed != 0)",
            f"  i += {h}",
        ]
        product += [
            f"while rows - i >= {h}:",
            f"  micro{h}(words, offset(a, i * words * 4), b, offset(c, i * stride * 4),",
            "            stride, n, offset(left, i * 8), right)",
            f"  i += {h}",
        ]
    head = "def pack_a(to, left, a, at, rows, depth, is_signed):"
    exec("\n  ".join([head, *pack, "return 0"]), scope)
    head = "def multiply(words, a, b, c, rows, stride, n, left, right):"
    exec("\n  ".join([head, *product]), scope)
    made = "int64(pointer, pointer, pointer, int64, int64, int64, int64)"
    return namespace(
        "panels",
        pack_a=k.outline(made)(scope["pack_a"]),
        pack_b=pack_b,
        multiply=inline(scope["multiply"]),
        height=rows,
        width=width,
        group=group,
        shift=128 if group == 4 else 0,
    )
