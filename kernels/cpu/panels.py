"""Matrix products over packed panels: register-blocked micro-kernels and the packing they need."""

from __future__ import annotations

from typing import Any

from _lang import inline, namespace

DEPTH = 256  # of a block along K: a panel of B then stays in the L1 cache


def tile_shape(k: Any, t: str) -> tuple[int, int]:
    """Rows and vectors of the largest register tile: accumulators, one row of B, one broadcast."""
    return (12, 2) if k.isa in ("v4", "vnni", "bf16") else (4, 3) if k.isa == "v3" else (8, 2)


def heights(rows: int) -> list[int]:
    """Row counts with a micro-kernel of their own; any number of rows is a sum of them."""
    return [h for h in (12, 8, 4, 2, 1) if h <= rows]


def micro_kernel(k: Any, t: str, height: int, vectors: int) -> Any:
    """C[height, width] (+)= A B, sums in registers. A is packed [depth][height], B [depth][width].

    `fresh`: C is overwritten, else added to. `n` < width: the columns that exist.
    """
    v = k.vector(t)
    p = k.vector("double" if k.dtype(t).name == "double" else "float")
    load = k.load("double" if k.dtype(t).name == "double" else "float")
    lanes, step = k.lanes(t), k.dtype(t).bits // 8
    width = vectors * lanes
    tiles = [(i, j) for i in range(height) for j in range(vectors)]
    lines = [f"c{i}_{j} = p.zero()" for i, j in tiles]
    lines += ["for d in range(depth):"]
    lines += [f"  b{j} = p.load(b, d * {width} + {j * lanes})" for j in range(vectors)]
    for i in range(height):
        lines += [f"  x = p.set(load(a, d * {height} + {i}))"]
        lines += [f"  c{i}_{j} = p.fma(x, b{j}, c{i}_{j})" for j in range(vectors)]
    for i in range(height):
        lines += [f"row = offset(c, {i} * stride * {step})", f"if n >= {width}:"]
        for j in range(vectors):
            at = f"row, {j * lanes}"
            lines += [f"  if fresh == 0: c{i}_{j} = c{i}_{j} + v.load({at})"]
            lines += [f"  v.store({at}, c{i}_{j})"]
        lines += ["else:"]
        for j in range(vectors):
            at, left = f"row, {j * lanes}", f"n - {j * lanes}"
            lines += [f"  if n > {j * lanes}:"]
            lines += [f"    if fresh == 0: c{i}_{j} = c{i}_{j} + v.load_n({at}, {left})"]
            lines += [f"    v.store_n({at}, c{i}_{j}, {left})"]
    scope = {"v": v, "p": p, "load": load, "offset": k.offset}
    name = f"micro{height}"
    source = f"def {name}(depth, a, b, c, stride, n, fresh):\n  " + "\n  ".join(lines)
    exec(compile(source + "\n  return 0", f"<{name}>", "exec"), scope)
    signature = "int64(int64, pointer, pointer, pointer, int64, int64, int64)"
    return k.outline(signature)(scope[name])


def panels(k: Any, t: str = "T") -> Any:
    """Functions over panels: `pack_a`, `pack_b`, `multiply`; and the facts `height`, `width`."""
    rows, vectors = tile_shape(k, t)
    wide = "double" if k.dtype(t).name == "double" else "float"
    get, put, lanes = k.load(t), k.store(wide), k.lanes(t)
    size, wide_size = k.dtype(t).bits // 8, k.dtype(wide).bits // 8
    width, offset = vectors * lanes, k.offset
    v, p = k.vector(t), k.vector(wide)

    @inline
    def pack_rows(to, a, at, count, step_row, step_depth, depth):
        """`count` rows of A from element `at` as [depth][count]."""
        for d in range(depth):
            for i in range(count):
                put(to, d * count + i, get(a, at + i * step_row + d * step_depth))

    @k.outline("int64(pointer, pointer, int64, int64, int64, int64, int64)")
    def pack_b(to, b, at, n, step_depth, step_column, depth):
        """A panel: `n` columns of B from element `at` as [depth][width], the rest zeros."""
        for d in range(depth):
            row = at + d * step_depth
            if n == width and step_column == 1:
                for j in range(0, width, lanes):
                    p.store(to, d * width + j, v.load(b, row + j))
            else:
                for j in range(width):
                    if j < n:
                        put(to, d * width + j, get(b, row + j * step_column))
                    else:
                        put(to, d * width + j, 0)
        return 0

    scope = {"pack_rows": pack_rows, "offset": offset}
    packing, product = ["i = 0"], ["i = 0"]
    for h in heights(rows):
        scope[f"micro{h}"] = micro_kernel(k, t, h, vectors)
        packing += [
            f"while rows - i >= {h}:",
            f"  pack_rows(offset(to, i * depth * {wide_size}), a, at + i * step_row, {h},",
            "            step_row, step_depth, depth)",
            f"  i += {h}",
        ]
        product += [
            f"while rows - i >= {h}:",
            f"  micro{h}(depth, offset(a, i * depth * {wide_size}), b,",
            f"           offset(c, i * stride * {size}), stride, n, fresh)",
            f"  i += {h}",
        ]
    head = "def pack_a(to, a, at, rows, step_row, step_depth, depth):"
    exec("\n  ".join([head, *packing, "return 0"]), scope)
    head = "def multiply(depth, a, b, c, rows, stride, n, fresh):"
    exec("\n  ".join([head, *product, "return 0"]), scope)
    arguments = "pointer, pointer, pointer, int64, int64, int64, int64"
    return namespace(
        "panels",
        pack_a=k.outline("int64(pointer, pointer, int64, int64, int64, int64, int64)")(
            scope["pack_a"]
        ),
        pack_b=pack_b,
        multiply=k.outline(f"int64(int64, {arguments})")(scope["multiply"]),
        height=rows,
        width=width,
        bytes=wide_size,
    )
