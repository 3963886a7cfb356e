"""Attention on the software device: sizes, shared heads, masks, windows, caps, lengths, strides."""

import ctypes

import numpy as np
import pytest
from launch import run
from values import ceil_div, near, random, wide


class AttentionArgs(ctypes.Structure):
    """struct AttentionArgs of kernels/cuda/attention.cuh."""

    _fields_ = (
        [(name, ctypes.c_longlong * 4) for name in ("q", "k", "v", "y", "mask")]
        + [
            (name, ctypes.c_int)
            for name in (
                "batch", "heads", "kv_heads", "rows", "keys", "size", "value_size", "mask_kind",
                "left", "right", "offset", "from_lengths",
            )
        ]
        + [("scale", ctypes.c_float), ("softcap", ctypes.c_float)]
    )  # fmt: skip


def strides(x):
    """Strides of four axes in items, 0 along axes of one item."""
    return (ctypes.c_longlong * 4)(
        *(0 if n == 1 else s // x.itemsize for n, s in zip(x.shape, x.strides, strict=True))
    )


def reference(q, k, v, scale, cap, mask, left, right, offsets, lengths):
    """In float64; queries that see nothing give 0."""
    group = q.shape[1] // k.shape[1]
    k, v = np.repeat(wide(k), group, 1), np.repeat(wide(v), group, 1)
    s = np.einsum("bhid,bhjd->bhij", wide(q), k) * scale
    if cap:
        s = cap * np.tanh(s / cap)
    if mask is not None:
        s = np.where(mask, s, -np.inf) if mask.dtype == bool else s + wide(mask)
    i = np.arange(q.shape[2])[:, None] + np.reshape(offsets, (-1, 1, 1, 1))
    j = np.arange(k.shape[2])
    seen = j < np.reshape(lengths, (-1, 1, 1, 1))
    if left >= 0:
        seen = seen & (j >= i - left)
    if right >= 0:
        seen = seen & (j <= i + right)
    s = np.where(seen, s, -np.inf)
    top = s.max(-1, keepdims=True)
    e = np.exp(s - np.where(np.isinf(top), 0, top))
    total = e.sum(-1, keepdims=True)
    v = np.where((np.arange(v.shape[2]) < np.reshape(lengths, (-1, 1)))[:, None, :, None], v, 0)
    return np.einsum("bhij,bhjd->bhid", e / np.where(total == 0, 1, total), v)


# Kind, items of a head, queries a block, threads, bytes of dynamic shared memory.
BLOCKS = (
    ("", 64, 128, 128, 0),
    ("", 128, 128, 128, 57344),
    ("", 256, 32, 64, 0),
    ("general_", 64, 128, 256, 0),
    ("general_", 128, 128, 256, 65536),
    ("general_", 256, 32, 64, 0),
)
F32_BLOCKS = ((64, 64), (128, 32), (256, 32))

# batch, heads, kv heads, rows, keys, size, value size, mask, left, right, offset, lengths, cap,
# layout
CASES = [
    (1, 2, 2, 5, 7, 8, 8, None, -1, -1, 0, None, 0, "bhsd"),
    (2, 4, 2, 70, 90, 64, 64, "type", -1, -1, 0, None, 0, "bshd"),
    (1, 2, 1, 65, 65, 40, 24, None, -1, 0, 0, None, 0, "bhsd"),
    (2, 2, 1, 33, 130, 64, 33, "bool", -1, 0, 97, None, 0, "odd"),
    (2, 2, 2, 1, 100, 64, 64, "row", -1, -1, 0, [37, 100], 5.0, "bhsd"),
    (2, 2, 1, 20, 80, 64, 64, None, 12, 0, 0, [40, 80], 0, "bhsd"),
    (1, 2, 2, 40, 70, 128, 100, "float", 5, 9, 3, None, 20.0, "bshd"),
    (1, 1, 1, 35, 40, 200, 256, None, -1, 0, 0, None, 0, "bhsd"),
    (1, 1, 1, 3, 4, 8, 8, "none seen", -1, -1, 0, None, 0, "bhsd"),
    (2, 2, 1, 70, 40, 64, 64, None, -1, -1, 0, [0, 40], 0, "bhsd"),
    (1, 2, 1, 150, 210, 64, 56, None, -1, 0, 60, None, 0, "bshd"),
    (1, 1, 1, 40, 200, 128, 128, None, -1, -1, 0, None, 0, "bhsd"),
]


def array(rng, shape, name, layout):
    """[batch, heads, rows, size] by strides of a layout."""
    b, h, s, d = shape
    if layout == "bshd":
        return random(rng, (b, s, h, d), name).swapaxes(1, 2)
    if layout == "odd":
        return random(rng, (b, h, s, 2 * d + 1), name)[..., 1::2]
    return random(rng, shape, name)


def make_mask(rng, kind, name, b, h, rows, keys):
    """A mask that broadcasts, and its number."""
    if kind is None:
        return None, 0
    if kind == "bool":
        return rng.random((b, 1, rows, keys)) < 0.7, 2
    if kind == "none seen":
        mask = np.ones((1, 1, rows, keys), bool)
        mask[0, 0, 1] = False
        return mask, 2
    if kind == "float":
        return random(rng, (1, h, rows, keys), "f32"), 3
    shape = (b, 1, 1, keys) if kind == "row" else (b, h, rows, keys)
    mask = random(rng, shape, name)
    mask[..., ::5] = -np.inf
    return mask, 1


def kernels(name, general, size):
    """Kernels of tiles for sizes: name, source, queries a block, threads, shared bytes."""
    if name == "f32":
        return [
            (f"attention_{d}_f32", "attention_fma", n, 2 * n, 0) for d, n in F32_BLOCKS if size <= d
        ]
    return [
        (f"attention_{kind}{d}_{name}", "attention", n, threads, shared)
        for kind, d, n, threads, shared in BLOCKS
        if size <= d and (kind or not general)
    ]


def run_few(name, at_once, size, args, operands, y, parts, seed):
    """The kernels of few queries, with several blocks each, of runs of keys."""
    depth = 64 if size <= 64 else 128 if size <= 128 else 256
    keys = max(ceil_div(args.keys, parts), 1)
    lines = args.batch * args.heads * args.rows
    found = np.zeros((lines, parts, args.value_size + 2), np.float32)
    counts = [np.int32(parts), np.int32(keys)]
    runs = ceil_div(args.heads // args.kv_heads * args.rows, at_once)
    kernel = f"attention_{'few' if at_once == 1 else 'shared'}_{depth}_{name}"
    arguments = [*operands, y, args, found if parts > 1 else None, *counts]
    blocks = args.batch * args.kv_heads * runs * parts
    run("attention_few", kernel, blocks, 256, *arguments, seed=seed)
    if parts > 1:
        join = f"attention_join_{name}"
        run("attention_few", join, lines, 256, y, args, found, counts[0], seed=seed)


@pytest.mark.parametrize("case", range(len(CASES)))
@pytest.mark.parametrize("name", ["f32", "f16", "bf16"])
def test_attention(name, case):
    b, h, kv, rows, keys, size, vsize, kind, left, right, offset, lengths, cap, layout = CASES[case]
    rng = np.random.default_rng(case)
    q = array(rng, (b, h, rows, size), name, layout)
    k = array(rng, (b, kv, keys, size), name, layout)
    v = array(rng, (b, kv, keys, vsize), name, layout)
    mask, code = make_mask(rng, kind, name, b, h, rows, keys)
    scale = 1 / np.sqrt(size)
    count = None if lengths is None else np.array(lengths, np.int64)
    offsets = [offset] * b if count is None else count - rows
    ends = [keys] * b if count is None else count
    if count is not None:  # what lies behind is never read into the result
        v[0, :, count[0] :] = np.nan
    want = reference(q, k, v, scale, cap, mask, left, right, offsets, ends)
    nothing = (ctypes.c_longlong * 4)()
    y = np.zeros((b, h, rows, vsize), q.dtype)
    args = AttentionArgs(
        strides(q), strides(k), strides(v), strides(y),
        nothing if mask is None else strides(mask),
        b, h, kv, rows, keys, size, vsize, code, left, right, offset, int(count is not None),
        scale, cap,
    )  # fmt: skip
    operands = (q, k, v, mask, count)
    for at_once, parts in ((1, 3), (4, 1), (4, 3)):
        y[...] = 0
        run_few(name, at_once, max(size, vsize), args, operands, y, parts, case + 1)
        near(y, want, name, scale=2)
    general = mask is not None or cap != 0 or layout == "odd" or size % 8 or vsize % 8
    for kernel, source, block, threads, shared in kernels(name, general, max(size, vsize)):
        y[...] = 0
        grid = b * h * ceil_div(rows, block)
        run(source, kernel, grid, threads, *operands, y, args, shared=shared, seed=case + 1)
        near(y, want, name, scale=2)
