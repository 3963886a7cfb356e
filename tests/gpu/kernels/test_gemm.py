"""Matrix products on the software device: layouts, batches, tails, epilogues, special values."""

import ctypes

import numpy as np
import pytest
from launch import run
from values import ceil_div, near, random, wide


class GemmArgs(ctypes.Structure):
    """struct GemmArgs of kernels/cuda/gemm.cuh."""

    _fields_ = [
        ("m", ctypes.c_longlong),
        ("n", ctypes.c_longlong),
        ("k", ctypes.c_longlong),
        ("batch", ctypes.c_longlong * 2),
        ("a", ctypes.c_longlong * 5),
        ("b", ctypes.c_longlong * 5),
        ("c", ctypes.c_longlong * 5),
        ("d", ctypes.c_longlong * 5),
        ("alpha", ctypes.c_float),
        ("beta", ctypes.c_float),
        ("sums", ctypes.c_void_p),
    ]


def strides(x, shape=None):
    """Strides along the last two axes and three batch axes, in items; 0 along axes to broadcast."""
    items = [0 if n == 1 else s // x.itemsize for s, n in zip(x.strides, x.shape, strict=True)]
    items = [0] * (5 - len(items)) + items
    return (ctypes.c_longlong * 5)(items[3], items[4], *items[:3])


def arguments(a, b, c, d, alpha=1.0, beta=1.0):
    """GemmArgs for arrays of up to five axes."""
    shape = (1,) * (5 - d.ndim) + d.shape
    zero = (ctypes.c_longlong * 5)()
    return GemmArgs(
        d.shape[-2], d.shape[-1], a.shape[-1], (ctypes.c_longlong * 2)(*shape[1:3]),
        strides(a), strides(b), zero if c is None else strides(c), strides(d), alpha, beta,
    )  # fmt: skip


TILES = {
    "gemm_f32": ("gemm", 128, 128, 128),
    "gemm_tf32": ("gemm", 128, 128, 256),
    "gemm_small_f32": ("gemm", 64, 64, 256),
    "gemm_small_f64": ("gemm", 64, 64, 256),
    "gemm_small_i32": ("gemm", 64, 64, 256),
    "gemm_small_i64": ("gemm", 64, 64, 256),
    "gemm_f16": ("gemm_mma", 128, 128, 128),
    "gemm_bf16": ("gemm_mma", 128, 128, 128),
    "gemm_small_f16": ("gemm_mma", 64, 64, 128),
    "gemm_small_bf16": ("gemm_mma", 64, 64, 128),
}


def product(kernel, a, b, c=None, bias=None, alpha=1.0, beta=1.0, seed=0, d=None):
    """Run a kernel of TILES; d may be given to have other strides."""
    source, bm, bn, block = TILES[kernel]
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    if d is None:
        d = np.zeros((*batch, a.shape[-2], b.shape[-1]), a.dtype)
    grid = int(np.prod(batch)) * ceil_div(d.shape[-2], bm) * ceil_div(d.shape[-1], bn)
    run(
        source, kernel, grid, block, a, b, c, bias, d, arguments(a, b, c, d, alpha, beta), seed=seed
    )
    return d


def matrix(rng, shape, name, layout):
    """A random matrix of a layout: rows, columns, padded rows, or any strides."""
    *batch, m, n = shape
    if layout == "rows":
        return random(rng, shape, name)
    if layout == "columns":
        return random(rng, (*batch, n, m), name).swapaxes(-1, -2)
    if layout == "padded":
        return random(rng, (*batch, m, n + 3), name)[..., 1 : n + 1]
    return random(rng, (*batch, 2 * m, 3 * n), name)[..., ::2, ::3]


SIZES = [(1, 1, 1), (128, 128, 64), (37, 65, 19), (130, 72, 40), (64, 136, 33)]
LAYOUTS = ["rows", "columns", "padded", "any"]


@pytest.mark.parametrize("kernel", TILES)
def test_product_of_every_layout(kernel):
    rng = np.random.default_rng(len(kernel))
    name = kernel.split("_")[-1]
    kind = "f32" if name == "tf32" else name
    for i, (m, n, k) in enumerate(SIZES):
        for j in range(4):
            a = matrix(rng, (m, k), kind, LAYOUTS[j])
            b = matrix(rng, (k, n), kind, LAYOUTS[(i + j) % 4])
            got = product(kernel, a, b, seed=1 + i * 4 + j)
            near(got, wide(a) @ wide(b), name, scale=np.sqrt(k))


@pytest.mark.parametrize("kernel", TILES)
def test_batches_and_epilogue(kernel):
    rng = np.random.default_rng(5)
    name = kernel.split("_")[-1]
    kind = "f32" if name == "tf32" else name
    a, b = random(rng, (2, 1, 3, 33, 24), kind), random(rng, (3, 1, 24, 40), kind)
    b = np.ascontiguousarray(np.broadcast_to(b[:, :1], (3, 1, 24, 40)))[:, 0][None, None]
    c = random(rng, (33, 1), kind)
    bias = random(rng, (40,), kind)
    d = np.zeros((2, 1, 33, 3, 40), a.dtype).swapaxes(-2, -3)
    alpha, beta = (0.5, -1.5) if kind in ("f32", "f64", "f16", "bf16") else (2.0, -3.0)
    got = product(kernel, a, b, c, bias, alpha, beta, seed=3, d=d)
    want = alpha * (wide(a) @ wide(b)) + beta * wide(c) + wide(bias)
    near(got, want, name, scale=8)


@pytest.mark.parametrize("kernel", ["gemm_f32", "gemm_f16", "gemm_tf32"])
def test_infinity_and_nan(kernel):
    kind = "f16" if kernel == "gemm_f16" else "f32"
    rng = np.random.default_rng(0)
    a, b = random(rng, (20, 40), kind), random(rng, (40, 24), kind)
    a[3, 7], a[5, 1], b[2, 9] = np.inf, np.nan, -np.inf
    with np.errstate(invalid="ignore"):
        want = wide(a) @ wide(b)
    near(product(kernel, a, b), want, "bf16")


def test_no_columns_to_sum_over():
    a, b = np.zeros((5, 0), np.float32), np.zeros((0, 7), np.float32)
    bias = np.arange(7, dtype=np.float32)
    for kernel in ("gemm_f32", "gemm_small_f32", "gemm_tf32"):
        near(product(kernel, a, b, bias=bias), np.broadcast_to(bias, (5, 7)))


@pytest.mark.parametrize("name", ["f32", "f16", "bf16"])
def test_few_rows(name):
    rng = np.random.default_rng(11)
    for i, (m, n, k) in enumerate(
        [(1, 130, 300), (2, 5, 17), (3, 256, 64), (8, 40, 260), (5, 1, 1), (4, 33, 40)]
    ):
        for j, layout in enumerate(LAYOUTS):
            a, b = random(rng, (2, m, k), name), matrix(rng, (2, k, n), name, layout)
            bias = random(rng, (n,), name)
            want = wide(a) @ wide(b) + wide(bias)
            for kernel in ("gemv_k", "gemv_n"):
                d = np.zeros((2, m, n), a.dtype)
                args = [a, b, None, bias, d, arguments(a, b, None, d)]
                if kernel == "gemv_k":
                    run("gemv", f"gemv_k_{name}", ceil_div(2 * n, 8), 256, *args, 2 * n, seed=i + j)
                else:
                    run(
                        "gemv",
                        f"gemv_n_{name}",
                        2 * ceil_div(n, 512 // a.itemsize),
                        256,
                        *args,
                        seed=i + j,
                    )
                near(d, want, name, scale=np.sqrt(k))


@pytest.mark.parametrize("name", ["f32", "f16", "bf16"])
def test_parts_of_k(name):
    """Parts leave their sums in floats, as further batches; sum_parts_* adds and finishes them."""
    rng = np.random.default_rng(3)
    parts, m, n, k = 3, 70, 72, 96
    a, b = random(rng, (m, k), name), random(rng, (k, n), name)
    c, bias = random(rng, (m, 1), name), random(rng, (n,), name)
    for kernel, source, columns, block in (
        (f"gemm_{name}", "gemm" if name == "f32" else "gemm_mma", 128, 128),
        (f"gemv_n_{name}", "gemv", 512 // a.itemsize, 256),
    ):
        rows = 5 if kernel.startswith("gemv") else m
        d = np.zeros((rows, n), a.dtype)
        sums = np.full((parts, rows, n), np.nan, np.float32)
        whole = arguments(a[:rows], b, c[:rows], d, 0.5, -1.5)
        part = arguments(a[:rows], b, None, d)
        part.k = k // parts
        part.a[2], part.b[2], part.d[2] = k // parts, k // parts * n, rows * n
        grid = parts * ceil_div(n, columns)
        part.arrays = {"sums": sums}
        run(source, kernel, grid, block, a[:rows], b, None, None, d, part)
        want = np.stack([wide(a[:rows, i : i + 32]) @ wide(b[i : i + 32]) for i in (0, 32, 64)])
        near(sums, want, "f32" if name == "f32" else "f16", scale=8)
        run("sums", f"sum_parts_{name}", 2, 256, sums, c[:rows], bias, d, whole, d.size, parts)
        near(d, 0.5 * want.sum(0) - 1.5 * wide(c[:rows]) + wide(bias), name, scale=8)
