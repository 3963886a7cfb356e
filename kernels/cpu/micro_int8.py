"""Register tiles of products of 8-bit matrices, with the dot product of each instruction set."""

from __future__ import annotations

from typing import Any

from _lang import amx, dot, inline

TILE = 32  # rows and columns of four AMX tiles
FEW = 4  # so many rows are sooner done without AMX


def tile_shape(k: Any) -> tuple[int, int]:
    """Rows and vectors of the largest register tile."""
    return (6, 2) if k.isa == "v3" else (8, 2) if k.isa == "neon" else (12, 2)


def heights(rows: int) -> list[int]:
    """Row counts with a micro-kernel of their own; any number of rows is a sum of them."""
    return [h for h in (12, 8, 6, 4, 2, 1) if h <= rows]


def _finish_row(v: Any, lanes: int, vectors: int, sums: list[str]) -> list[str]:
    """Lines that take the zero points out of the sums of a row and store them."""
    width = vectors * lanes
    lines = []
    for j, total in enumerate(sums):
        at, tail = j * lanes, width + j * lanes
        lines += [f"y = {total} - zero * v.load(right, {at}) - total * v.load(right, {tail})"]
        lines += [f"if n >= {at + lanes}: v.store(row, {at}, y)"]
        lines += [f"elif n > {at}: v.store_n(row, {at}, y, n - {at})"]
    return lines


def micro_kernel(k: Any, height: int, vectors: int) -> Any:
    """C[height, width] = (A - left zero point) (B - right zero point), sums in registers.

    A has rows of `pitch` words, B is packed [depth][width], in words of several numbers; `depth`
    words count. `left` has per row its zero point and its sum; `right` has the sums of the columns,
    less depth times zero point, and then the zero points. `n` < width: the columns that exist.
    """
    v, d = k.vector("int32"), dot(k.isa)
    load, lanes = k.load("int32"), k.lanes("int32")
    width = vectors * lanes
    tiles = [(i, j) for i in range(height) for j in range(vectors)]
    lines = [f"c{i}_{j} = v.zero()" for i, j in tiles]
    lines += [f"a{i} = offset(a, {i} * pitch * 4)" for i in range(height)]
    lines += ["for d in range(depth):"]
    lines += [f"  b{j} = v.load(b, d * {width} + {j * lanes})" for j in range(vectors)]
    for i in range(height):
        lines += [f"  x = v.set(load(a{i}, d))"]
        lines += [f"  c{i}_{j} = add(c{i}_{j}, x, b{j})" for j in range(vectors)]
    for i in range(height):
        lines += [f"row = offset(c, {i} * stride * 4)"]
        lines += [f"zero, total = v.set(load(left, {2 * i})), v.set(load(left, {2 * i + 1}))"]
        lines += _finish_row(v, lanes, vectors, [f"c{i}_{j}" for j in range(vectors)])
    scope = {"v": v, "add": d.add, "load": load, "offset": k.offset}
    name = f"micro{height}"
    head = f"def {name}(depth, pitch, a, b, c, stride, n, left, right):\n  "
    exec(compile(head + "\n  ".join(lines) + "\n  return 0", f"<{name}>", "exec"), scope)
    signature = "int64(int64, int64, pointer, pointer, pointer, int64, int64, pointer, pointer)"
    return k.outline(signature)(scope[name])


def multiply_words(k: Any) -> Any:
    """`multiply(depth, pitch, a, b, c, rows, stride, n, left, right)`: any number of rows."""
    rows, vectors = tile_shape(k)
    scope = {"offset": k.offset}
    lines = ["i = 0"]
    for h in heights(rows):
        scope[f"micro{h}"] = micro_kernel(k, h, vectors)
        lines += [
            f"while rows - i >= {h}:",
            f"  micro{h}(depth, pitch, offset(a, i * pitch * 4), b, offset(c, i * stride * 4),",
            "            stride, n, offset(left, i * 8), right)",
            f"  i += {h}",
        ]
    head = "def multiply(depth, pitch, a, b, c, rows, stride, n, left, right):"
    exec("\n  ".join([head, *lines]), scope)
    return inline(scope["multiply"])


def multiply_tiles(k: Any) -> Any:
    """As `multiply_words` by AMX: `sums` has room for TILE × TILE numbers; rows of A behind the
    last may hold anything, words behind `depth` are 0.
    """
    v, load, lanes = k.vector("int32"), k.load("int32"), k.lanes("int32")
    width = 2 * lanes
    scope = {"v": v, "load": load, "offset": k.offset}
    for t in range(amx.TILES):
        scope |= {f"zero{t}": amx.zero(t), f"load{t}": amx.load(t), f"store{t}": amx.store(t)}
    for t in range(4):
        scope[f"dot{t}"] = amx.dot_bytes(t, 4 + t // 2, 6 + t % 2)
    half = amx.ROWS
    steps = {  # of 16 rows of A, of 32
        half: "load4 load6 load7 dot0 dot1",
        TILE: "load4 load5 load6 load7 dot0 dot1 dot2 dot3",
    }
    for rows, calls in steps.items():
        body = [f"zero{t}()" for t in range(rows // 8)]
        body += ["for d in range(0, depth, 16):"]
        for name in calls.split():
            t = int(name[-1])
            if name.startswith("dot"):
                body += [f"  {name}()"]
            elif t < 6:
                body += [f"  {name}(offset(a, ({(t - 4) * half} * pitch + d) * 4), pitch * 4)"]
            else:
                body += [f"  {name}(offset(b, (d * {width} + {(t - 6) * lanes}) * 4), {width * 4})"]
        for t in range(rows // 8):
            at = (t // 2 * half * width + t % 2 * lanes) * 4
            body += [f"store{t}(offset(sums, {at}), {width * 4})"]
        body += [f"for r in range(min(rows, {rows})):", "  row = offset(c, r * stride * 4)"]
        body += ["  zero, total = v.set(load(left, 2 * r)), v.set(load(left, 2 * r + 1))"]
        sums = [f"v.load(sums, r * {width} + {j * lanes})" for j in range(2)]
        body += [f"  {line}" for line in _finish_row(v, lanes, 2, sums)]
        head = f"def tiles{rows}(depth, pitch, a, b, c, rows, stride, n, left, right, sums):\n  "
        exec(compile(head + "\n  ".join(body) + "\n  return 0", f"<tiles{rows}>", "exec"), scope)
        signature = f"int64({', '.join(KINDS)})"
        scope[f"tiles{rows}"] = k.outline(signature)(scope[f"tiles{rows}"])
    tiles16, tiles32, offset = scope["tiles16"], scope["tiles32"], k.offset
    words = multiply_words(k)

    @inline
    def multiply(depth, pitch, a, b, c, rows, stride, n, left, right, sums):
        i = 0
        while rows - i > FEW:
            x, y = offset(a, i * pitch * 4), offset(c, i * stride * 4)
            if rows - i > half:
                tiles32(
                    depth, pitch, x, b, y, rows - i, stride, n, offset(left, i * 8), right, sums
                )
                i += TILE
            else:
                tiles16(
                    depth, pitch, x, b, y, rows - i, stride, n, offset(left, i * 8), right, sums
                )
                i += half
        if i < rows:
            x, y = offset(a, i * pitch * 4), offset(c, i * stride * 4)
            words(depth, pitch, x, b, y, rows - i, stride, n, offset(left, i * 8), right)

    return multiply


KINDS = (
    *("int64", "int64", "pointer", "pointer", "pointer", "int64", "int64", "int64"),
    *("pointer", "pointer", "pointer"),
)
