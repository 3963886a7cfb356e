"""Register-blocked matrix products over panels of B, two vectors wide, and their packing."""

from __future__ import annotations

from typing import Any

from micro import micro
from transpose_block import transpose_block

from _lang import namespace

DEPTH = 384  # of a block along K: a panel of B then stays in the L1 cache
AHEAD = 16  # rows of B that a single block of rows asks for before it needs them
WORDS = {16: "int16", 32: "float", 64: "double"}


def tallest(isa: str) -> int:
    """Rows of the largest register block: 12 × 2 vectors of 32 registers, 6 × 2 of 16."""
    return {"v3": 6, "neon": 8}.get(isa, 12)


def panels(k: Any, t: str = "T") -> Any:
    """`block`, `pack_b` and the facts about panels of elements of `t`.

    `wide`: the type of A and C; `width`: columns of a panel; `bytes`: of one element of B.
    """
    dtype = k.dtype(t)
    wide = "double" if dtype.name == "double" else "float"
    lanes = k.lanes(wide)
    return namespace(
        *("panels",),
        block=block_product(k, t),
        pack_b=packing(k, t),
        width=2 * lanes,
        bytes=dtype.bits // 8,
        wide=wide,
        wide_bytes=8 if wide == "double" else 4,
    )


def packing(k: Any, t: str) -> Any:
    """`pack_b(to, b, at, n, step_depth, step_column, depth)`: a panel, `n` columns of B from
    element `at` as [depth][width], the rest zeros. The elements keep their type.
    """
    bits = k.dtype(t).bits
    word = WORDS[bits]
    wide = "double" if bits == 64 else "float"
    lanes, v = k.lanes(wide), k.vector(word, k.lanes(wide))
    get, put, width = k.load(word), k.store(word), 2 * lanes
    turn = transpose_block(word, word, lanes)

    @k.outline("int64(pointer, pointer, int64, int64, int64, int64, int64)")
    def pack_b(to, b, at, n, step_depth, step_column, depth):
        d = 0
        if n == width and step_column == 1:
            while d < depth:
                row = at + d * step_depth
                v.store(to, d * width, v.load(b, row))
                v.store(to, d * width + lanes, v.load(b, row + lanes))
                d += 1
        elif n == width and step_depth == 1:
            while d + lanes <= depth:
                turn(to, d * width, width, b, at + d, step_column)
                turn(to, d * width + lanes, width, b, at + lanes * step_column + d, step_column)
                d += lanes
        while d < depth:
            row = at + d * step_depth
            for j in range(width):
                if j < n:
                    put(to, d * width + j, get(b, row + j * step_column))
                else:
                    put(to, d * width + j, 0)
            d += 1
        return 0

    return pack_b


def block_product(k: Any, t: str, name: str = "block") -> Any:
    """`block(m, n, depth, a, a_row, a_step, b, b_row, b_panel, c, c_row, first)`: C[m, n] = A B,
    or += when `first` is 0.

    B is `depth` rows of `b_row` elements; panel p of its columns starts p · b_panel elements on and
    is read to its whole width. The rows are cut evenly into blocks of at most the largest register
    block; few rows take more panels at once instead, since sums that wait for one another leave
    the units idle. A single block of rows asks for the rows of B to come, each of several for its
    share of the next panel.
    """
    dtype = k.dtype(t)
    wide = "double" if dtype.name == "double" else "float"
    lanes, most = k.lanes(wide), tallest(k.isa)
    width, b_bytes, c_bytes = 2 * lanes, dtype.bits // 8, 8 if wide == "double" else 4
    scope = {"offset": k.offset}

    def call(rows: int, vectors: int, masked: bool) -> str:
        name = f"micro_{rows}_{vectors}_{int(masked)}"
        scope[name] = micro(rows, vectors, lanes, masked, wide, dtype.name)
        given = "depth, ap, a_row, a_step, bp, b_row, b_panel, cp, c_row, left, first, coming, line"
        return f"{name}({given})"

    lines = [f"j, row_bytes = 0, b_row * {b_bytes}", "while j < n:"]
    lines += [f"  bp = offset(b, j // {width} * b_panel * {b_bytes})", "  left = n - j"]
    lines += [f"  coming, line = offset(bp, {AHEAD} * row_bytes), row_bytes"]
    for rows, count in ((1, 4), (2, 2)):
        lines += [f"  if m == {rows} and left >= {count * width}:"]
        lines += [f"    ap, cp = a, offset(c, j * {c_bytes})"]
        lines += [f"    {call(rows, 2 * count, False)}", f"    j += {count * width}"]
        lines += ["    continue"]
    lines += [f"  i, blocks = 0, (m + {most - 1}) // {most}"]
    lines += [f"  if blocks > 1 and b_row == {width}:"]
    lines += ["    line = row_bytes // blocks"]
    lines += [f"    beyond = b_panel * {b_bytes} if left > {width} else depth * row_bytes"]
    lines += ["    coming = offset(bp, beyond)"]
    lines += ["  while i < m:"]
    lines += ["    rows = (m - i + blocks - 1) // blocks", "    blocks -= 1"]
    lines += [f"    ap = offset(a, i * a_row * {c_bytes})"]
    lines += [f"    cp = offset(c, (i * c_row + j) * {c_bytes})"]
    for rows in range(most, 0, -1):
        lines += [f"    {'if' if rows == most else 'elif'} rows == {rows}:"]
        lines += [f"      if left >= {width}:", f"        {call(rows, 2, False)}"]
        lines += [f"      elif left > {lanes}:", f"        {call(rows, 2, True)}"]
        lines += ["      else:", f"        {call(rows, 1, True)}"]
    lines += ["    i += rows", f"    if b_row == {width}:"]
    lines += ["      coming = offset(coming, depth * line)"]
    lines += ["    else:", "      coming, line = bp, 0", f"  j += {width}", "return 0"]
    head = f"def {name}(m, n, depth, a, a_row, a_step, b, b_row, b_panel, c, c_row, first):"
    exec(compile("\n  ".join([head, *lines]), f"<{name}>", "exec"), scope)
    signature = (
        "int64(int64, int64, int64, pointer, int64, int64, pointer, int64, int64, pointer, int64,"
        "int64)"
    )
    return k.outline(signature)(scope[name])
