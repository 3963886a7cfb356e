"""The cases of gpu_model.py: typical shapes of kernels, few enough rows to be counted soon."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from ptx_counts import ROOT, softcuda

import tiercel

sys.path.append(str(ROOT / "tests" / "gpu" / "kernels"))
from test_conv import ConvArgs, three  # noqa: E402
from test_conv_patch import arranged, patch_args  # noqa: E402
from test_cuda_attention import AttentionArgs, strides  # noqa: E402
from test_gemm import arguments as gemm_arguments  # noqa: E402

REGISTER = re.compile(r"%[a-z]+\d+|%[tuqinaeo]\b")
TYPES = {"f32": np.float32, "f16": np.float16}
# A driver that keeps the text of each module; everything else is the driver behind it.
KEEPER = r"""
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
extern "C" int cuLinkAddData_v2(void* state, int type, void* text, size_t size, const char* name,
                                unsigned n, int* options, void** values) {
  static int count = 0;
  char path[4096];
  snprintf(path, sizeof path, "%s/%d.ptx", getenv("TIERCEL_KEPT_PTX"), count++);
  if (FILE* file = fopen(path, "w")) {
    fputs(static_cast<const char*>(text), file);
    fclose(file);
  }
  using Add = int (*)(void*, int, void*, size_t, const char*, unsigned, int*, void**);
  static const Add add = reinterpret_cast<Add>(dlsym(RTLD_NEXT, "cuLinkAddData_v2"));
  return add(state, type, text, size, name, n, options, values);
}
"""


@dataclass(frozen=True)
class Case:
    """A launch, and what it is for.

    Attributes:
        source: A file of kernels/cuda; "" where ``ptx`` is given.
        items: What "an item" is in the table: elements, or results of products.
        bytes: What must move between memory and the GPU, each byte once.
        flight: Bytes of loads that a thread has under way at once; 0: all of its loads.
        operations: Of the products; 0 where memory is the roof.
        rate: Of the peak of f16, for other types of products.
    """

    family: str
    name: str
    source: str
    kernel: str
    grid: int
    block: tuple[int, ...]
    arguments: tuple[Any, ...]
    items: int
    bytes: int = 0
    flight: int = 0
    shared: int = 0
    operations: int = 0
    rate: float = 1.0
    ptx: str = ""

    @property
    def threads(self) -> int:
        """Of a block."""
        return int(np.prod(self.block))


def _random(shape: tuple[int, ...], name: str) -> Any:
    return np.random.default_rng(0).standard_normal(shape).astype(TYPES[name])


# ---- pointwise programs, whose texts the library writes


@cache
def _keeper() -> Path:
    """The driver that keeps texts."""
    driver = softcuda.build_driver()
    folder = driver.parent / "kept"
    folder.mkdir(exist_ok=True)
    source, target = folder / "keeper.cpp", folder / "libcuda_keeper.so"
    source.write_text(KEEPER)
    compiler = shutil.which("g++") or shutil.which("c++") or "c++"
    command = [compiler, "-shared", "-fPIC", "-O1", str(source), "-o", str(target)]
    subprocess.run(
        [*command, "-Wl,--no-as-needed", str(driver), f"-Wl,-rpath,{driver.parent}", "-ldl"],
        check=True,
    )
    return target


TEXTS = """import sys, numpy, onnx.parser, tiercel
model = onnx.parser.parse_model('<ir_version: 10, opset_import: ["" : 23]>\\n' + sys.argv[1])
session = tiercel.InferenceSession(model.SerializeToString(), providers=["CUDAExecutionProvider"])
types = {"tensor(float)": "f4", "tensor(float16)": "f2"}
session.run(None, {p.name: numpy.ones(p.shape, types[p.type]) for p in session.get_inputs()})
"""


def program(graph: str) -> str:
    """The PTX that the library writes for a graph of one pointwise program."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "TIERCEL_CUDA_DRIVER": str(_keeper()),
            "TIERCEL_CUDA_CACHE": "",
            "TIERCEL_KEPT_PTX": folder,
            "PYTHONPATH": str(Path(tiercel.__file__).parents[1]),
        }
        subprocess.run([sys.executable, "-c", TEXTS, graph], env=environment, check=True)
        texts = [path.read_text() for path in sorted(Path(folder).glob("*.ptx"))]
    (found,) = [text for text in texts if ".entry pointwise(" in text]
    return found


def _words(*numbers: int) -> Any:
    """Extents and strides as the one parameter that the kernel takes them in."""
    fields = [("words", ctypes.c_uint32 * len(numbers))]
    kind = type("Words", (ctypes.Structure,), {"_fields_": fields})
    return kind((ctypes.c_uint32 * len(numbers))(*numbers))


_FORMULAS = {
    "Add": "y = Add(x, b)",
    "Relu": "y = Relu(x)",
    "Gelu": "y = Gelu(x)",
    "SiLU": "s = Sigmoid(x)  y = Mul(x, s)",
    "Cast to f16": "y = Cast<to = 10>(x)",
}


def pointwise() -> Iterator[Case]:
    """Programs of one and two operands, dense and broadcast."""
    n = 1024
    for name, dtype, second in (
        ("Add", "f32", (8, n)), ("Add", "f16", (8, n)), ("Relu", "f32", None),
        ("Relu", "f16", None), ("Gelu", "f32", None), ("Gelu", "f16", None),
        ("SiLU", "f16", None), ("Cast to f16", "f32", None), ("Add", "f32", (n,)),
        ("Add", "f16", (n,)), ("Add", "f32", (8, 1)), ("Add", "f16", (8, 1)),
        ("Add", "f32", (37,)), ("Add", "f16", (37,)),
    ):  # fmt: skip
        rows, last = (256, 37) if second == (37,) else (8, n)
        element = {"f32": "float", "f16": "float16"}[dtype]
        out = "float16" if "Cast" in name else element
        own = f"{element}[{rows},{last}] x"
        other = f", {element}[{','.join(map(str, second))}] b" if second else ""
        graph = f"g ({own}{other}) => ({out}[{rows},{last}] y) {{ {_FORMULAS[name]} }}"
        x = _random((rows, last), dtype)
        y = np.zeros((rows, last), TYPES["f16" if out == "float16" else "f32"])
        given: list[Any] = [x, *([_random(second, dtype)] if second else []), y, x.size]
        label = f"{name} {dtype}"
        if second and second != x.shape:
            given.append(_words(*x.shape, *((0, 1) if len(second) == 1 else (1, 0))))
            label += f" and {' × '.join(map(str, second))}"
        ptx = program(graph)
        width = max(x.itemsize, y.itemsize)
        grid = -(-x.size * width // 16 // 256)
        moved = x.nbytes + y.nbytes + (x.nbytes if second == x.shape else 0)
        arguments = tuple(given)
        yield Case(
            "pointwise", label, "", "pointwise", grid, (256,), arguments, x.size, moved, ptx=ptx
        )


# ---- rows


def softmax() -> Iterator[Case]:
    """Rows in a warp, in a block, longer; columns."""
    for dtype in TYPES:
        size = np.dtype(TYPES[dtype]).itemsize
        for rows, n in ((64, 128), (64, 1024), (4, 4096), (2, 32768)):
            x = _random((rows, n), dtype)
            short = n <= 1024
            form = "softmax_few" if n <= 256 else "softmax_short" if short else "softmax"
            kernel = f"{form}_{dtype}"
            numbers = (rows, n, 0) if short else (n, 0)
            grid = rows // 16 if n <= 128 else rows // 8 if short else rows
            arguments = (x, np.zeros_like(x), *numbers)
            yield Case(
                "softmax", f"Softmax {dtype}, {n} items", "softmax", kernel, grid, (256,),
                arguments, x.size, 2 * x.nbytes, 32 if n > 8192 else 0,
            )  # fmt: skip
        x = _random((256, 128), dtype)
        yield Case(
            "softmax", f"Softmax {dtype}, 256 items in columns", "softmax",
            f"softmax_inner_{dtype}", 4, (256,), (x, np.zeros_like(x), 256, 128, 0), x.size,
            2 * x.nbytes, 4 * size,
        )  # fmt: skip


def norms() -> Iterator[Case]:
    """Rows in a warp, in a block, longer; groups, batches."""
    for dtype in TYPES:
        for rows, n in ((64, 256), (64, 768), (4, 4096), (2, 16384)):
            x, line = _random((rows, n), dtype), _random((n,), dtype)
            form = "norm_few" if n <= 256 else "norm_short" if n <= 1024 else "norm"
            kernel = f"{'norm_long' if n > 8192 else form}_{dtype}"
            pointers = (x, None, None, line, line, np.zeros_like(x), None, None, None)
            arguments = (*pointers, rows, n, 1, 1e-5, 0)
            yield Case(
                "norm", f"LayerNormalization {dtype}, {n} items", "norm", kernel,
                rows // 8 if n <= 1024 else rows, (512 if n > 8192 else 256,), arguments, x.size,
                2 * x.nbytes, 32 if n > 8192 else 0,
            )  # fmt: skip
        x, line = _random((2, 8, 4096), dtype), _random((8,), dtype)
        yield Case(
            "norm", f"GroupNormalization {dtype}, 4 · 4096 items", "norm", f"group_norm_{dtype}",
            4, (512,), (x, line, line, np.zeros_like(x), 2, 4, 4096, 1e-5), x.size, 2 * x.nbytes,
            16,
        )  # fmt: skip
        arguments = (x, *[np.abs(line)] * 4, np.zeros_like(x), x.size, 8, 4096, 1e-5)
        yield Case(
            "norm", f"BatchNormalization {dtype}", "norm", f"batch_norm_{dtype}", 8, (256,),
            arguments, x.size, 2 * x.nbytes, 16,
        )  # fmt: skip


# ---- products


def products() -> Iterator[Case]:
    """A tile of each kernel: the operands of other tiles come from the cache."""
    for kernel, source, dtype, tile, threads, flight, rate in (
        ("gemm_f32", "gemm", "f32", 128, 128, 64, 1.0),
        ("gemm_tf32", "gemm", "f32", 128, 256, 64, 0.5),
        ("gemm_f16", "gemm_mma", "f16", 128, 128, 256, 1.0),
        ("gemm_small_f16", "gemm_mma", "f16", 64, 128, 128, 1.0),
    ):
        k = 1024
        a, b, d = (_random(shape, dtype) for shape in ((tile, k), (k, tile), (tile, tile)))
        given = (a, b, None, None, d, gemm_arguments(a, b, None, d))
        yield Case(
            "products", f"a tile of {tile} × {tile}, {k} deep", source, kernel, 1, (threads,),
            given, d.size, 0, flight, 0, 2 * d.size * k, rate,
        )  # fmt: skip


def convolutions() -> Iterator[Case]:
    """3 × 3, 64 channels to 128 filters."""
    for kernel, dtype, filters, side, threads, flight, rate in (
        ("conv_f32", "f32", 128, 128, 256, 64, 1.0),
        ("conv_tf32", "f32", 128, 128, 256, 64, 0.5),
        ("conv_f16", "f16", 128, 128, 256, 128, 1.0),
        ("conv_small_f16", "f16", 64, 64, 128, 128, 1.0),
    ):
        channels, points = 64, side
        x = _random((1, channels, 8, points // 8), dtype)
        w = _random((filters, channels, 3, 3), dtype)
        y = _random((1, filters, 8, points // 8), dtype)
        extents = [three(v) for v in ((8, points // 8), (8, points // 8), (3, 3), (1, 1), (1, 1))]
        args = ConvArgs(1, 1, channels, filters, *extents, three((1, 1), 0))
        table = taps(args, channels * 9)
        yield Case(
            "convolutions", f"3 × 3, {channels} channels, {filters} filters", "conv", kernel, 1,
            (threads,), (x, w, None, y, table, args), y.size, 0, flight, 0,
            2 * y.size * channels * 9, rate,
        )  # fmt: skip


def patches() -> Iterator[Case]:
    """The same by patches, of 64 channels, by their tiles; wider steps and one axis."""
    for kind, tile, size, window, stride, bits in (
        ("f16", (128, 128), (8, 16), (3, 3), 1, 4),
        ("f16", (64, 128), (8, 16), (3, 3), 1, 4),
        ("f16", (128, 64), (8, 8), (3, 3), 1, 3),
        ("f16", (64, 64), (8, 8), (3, 3), 1, 3),
        ("f16", (128, 64), (8, 8), (3, 3), 2, 3),
        ("f16", (128, 128), (1, 128), (1, 3), 1, 7),
        ("f16", (128, 128), (8, 16), (5, 5), 1, 4),
        ("f16", (128, 128), (8, 16), (1, 1), 2, 4),
        ("tf32", (128, 128), (8, 16), (3, 3), 1, 4),
    ):
        (filters, points), channels = tile, 64
        reach = [(n - 1) * stride + k for n, k in zip(size, window, strict=True)]
        dtype, rate = ("f32", 0.5) if kind == "tf32" else (kind, 1.0)
        x = _random((1, channels, *reach), dtype)
        w = _random((filters, channels, *window), dtype)
        y = _random((1, filters, *size), dtype)
        extents = [three(v) for v in (reach, size, window, (stride, stride), (1, 1))]
        args = ConvArgs(1, 1, channels, filters, *extents, three((0, 0), 0))
        threads = filters * points // 64
        flight = 2 * filters * 64 // threads + 16  # two stages of weights, a part of the patch
        name = f"{window[0]} × {window[1]}, stride {stride}, 64 channels"
        kernel = f"conv_patch_{filters}_{points}_{kind}"
        yield Case(
            "convolutions", name, "conv_patch", kernel, 1, (threads,),
            (x, arranged(w), None, y, patch_args(args, points, bits)), y.size, 0, flight, 0,
            2 * y.size * w[0].size, rate,
        )  # fmt: skip


def taps(args: Any, entries: int) -> Any:
    """The table of taps, which a kernel makes."""
    from launch import run

    table = np.zeros((-(-entries // 32) * 32, 4), np.int32)
    run("conv", "conv_table", 2, 256, table, args, len(table), np.int32(0))
    return table


def attention() -> Iterator[Case]:
    """128 queries, 512 keys."""
    rows, keys = 128, 512
    for kernel, source, dtype, size, block, threads, flight, shared in (
        ("attention_64_f16", "attention", "f16", 64, 128, 128, 128, 0),
        ("attention_128_f16", "attention", "f16", 128, 128, 128, 128, 56 * 1024),
        ("attention_64_f32", "attention_fma", "f32", 64, 64, 128, 64, 0),
        ("attention_128_f32", "attention_fma", "f32", 128, 32, 64, 128, 0),
        ("attention_256_f32", "attention_fma", "f32", 256, 32, 64, 64, 0),
    ):
        q, k, v = (_random((1, 1, n, size), dtype) for n in (rows, keys, keys))
        y = np.zeros_like(q)
        args = AttentionArgs(
            strides(q), strides(k), strides(v), strides(y), (ctypes.c_longlong * 4)(),
            1, 1, 1, rows, keys, size, size, 0, -1, -1, 0, 0, size**-0.5, 0.0,
        )  # fmt: skip
        yield Case(
            "attention", f"{dtype}, heads of {size}", source, kernel, rows // block, (threads,),
            (q, k, v, None, None, y, args), y.size, 0, flight, shared, 4 * rows * keys * size,
        )  # fmt: skip


def cases() -> list[Case]:
    """All of them, by family; those of one roof together."""
    families = (pointwise, softmax, norms, products, convolutions, patches, attention)
    return [case for family in families for case in family()]
