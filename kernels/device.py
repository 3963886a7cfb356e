"""What GPUs run of the declared kernels and tiles, as PTX, and the table that libtiercel links."""

from __future__ import annotations

import hashlib
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import libm
from _lang import emit, ptx
from _lang.decorators import SIGNATURES, TABLE, Parts

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "python" / "tiercel" / "cuda"))  # the package is not built yet
import nvrtc  # noqa: E402

# Operators whose kernels ask for a processor's vectors, and are for GPUs what they are for the
# lowest instruction set: where kernels/cuda has nothing for them, or not for such a node.
VECTORS = frozenset(
    "Attention CausalConvWithState ConvTranspose DeformConv GlobalMaxPool GroupNormalization "
    "Hardmax InstanceNormalization LRN LayerNormalization LogSoftmax MeanVarianceNormalization "
    "NegativeLogLikelihoodLoss RMSNormalization RoiAlign Softmax SoftmaxCrossEntropyLoss".split()
)


def compile_device(parts: Parts) -> str:
    """PTX of one instantiation; empty where it needs what a GPU has not."""
    if "pack" in parts.functions:
        return ""
    try:
        return ptx.lower_kernel(emit.lower("run", parts.functions["run"], SIGNATURES["run"]))
    except ptx.Unsupported:
        return ""


def compile_device_tiles(indices: list[int]) -> str:
    """Templates of the tiles, one behind the other, each ended by a zero byte; empty ones where
    there is none.
    """

    def text(i: int) -> str:
        try:
            return ptx.lower_tile(TABLE.tiles[i])
        except ptx.Unsupported:
            return ""

    return "".join(text(i) + "\0" for i in indices)


def cuda_sources() -> list[Path]:
    """The files of kernels/cuda; none where NVRTC, which compiles them, is not installed."""
    return sorted((HERE / "cuda").glob("*.cu")) if nvrtc.toolkit() else []


def cuda_key(source: Path) -> str:
    """What the PTX of a file depends on."""
    headers = sorted(source.parent.glob("*.cuh"))
    texts = [path.read_text() for path in (source, *headers, Path(nvrtc.__file__))]
    return hashlib.sha256("".join([*texts, str(nvrtc.toolkit())]).encode()).hexdigest()[:32]


def compile_source(source: Path) -> str:
    """PTX of a file of kernels/cuda."""
    options = ["-rdc=true"] if source == libm.SOURCE else []
    return nvrtc.compile_cuda(
        source.read_text(), source.name, "compute_80", [source.parent], options
    )


class Texts:
    """What libtiercel holds of texts: each compressed by deflate, equal ones once."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.places: dict[bytes, str] = {}

    def place(self, text: bytes) -> str:
        """A TclDeviceText."""
        if text not in self.places:
            packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9)
            packed = packer.compress(text) + packer.flush()
            self.places[text] = f"{{{len(self.data)}, {len(packed)}, {len(text)}}}"
            self.data += packed
        return self.places[text]


class Joined:
    """Texts in one, equal ones once."""

    def __init__(self) -> None:
        self.text = bytearray()
        self.places: dict[str, str] = {}

    def place(self, text: str) -> str:
        """Offset and length."""
        if text not in self.places:
            data = text.encode()
            self.places[text] = f"{len(self.text)}, {len(data)}"
            self.text += data
        return self.places[text]


def kernel_rows(kernels: list, functions: Sequence[libm.Piece], texts: Texts) -> list[str]:
    """TclDeviceKernel of every instantiation that GPUs run."""
    rows = []
    for index, made in kernels:
        row = TABLE.kernels[index]
        for one in made:
            text = Path(one["device"]).read_text() if one["device"] else ""
            text = libm.linked(text, functions) if text else ""
            if text:
                types = ";".join(f"{p}={t}" for p, t in one["bound"].items())
                names = f'"{row.domain}", "{row.op}", "{row.variant}", "{types}"'
                rows.append(f"{{{names}, {texts.place(text.encode())}}}")
    return rows


def tile_rows(tiles: list, functions: Sequence[libm.Piece], joined: Joined) -> list[str]:
    """TclDeviceTile of every tile that GPUs run."""
    rows = []
    for indices, file in tiles:
        texts = Path(file).read_text().split("\0")
        for index, text in zip(indices, texts, strict=False):
            tile: Any = TABLE.tiles[index]
            numbers = libm.needed(text, functions)
            if text and numbers is not None:
                types = f"{','.join(tile.operands)}->{tile.result}"
                listed = "".join(f"{number}, " for number in numbers)
                needs = f"(const int16_t[]){{{listed}-1}}" if numbers else "0"
                names = f'"{tile.domain}", "{tile.op}", "{types}"'
                rows.append(f"{{{names}, {joined.place(text)}, {needs}}}")
    return rows


def array(kind: str, name: str, rows: list[str]) -> list[str]:
    """A C array; never empty."""
    return [f"static const {kind} {name}[] = {{", *(f"  {row}," for row in rows), "  {0}};"]


def write_device_table(kernels: list, tiles: list, modules: list, out: Path) -> None:
    """device_table.c, and device_text.bin that it includes. `kernels`: (declaration, what
    compile_kernel made of it); `tiles`: (indices, file of compile_device_tiles); `modules`: (file
    of kernels/cuda, file of its PTX).
    """
    texts, joined = Texts(), Joined()
    ptx_of = {source: ptx.shortened(Path(file).read_text()) for source, file in modules}
    functions = libm.pieces(ptx_of.pop(libm.SOURCE, ""))
    function_rows = [f'{{"{one.name}", {joined.place(one.text)}}}' for one in functions]
    rows = tile_rows(tiles, functions, joined)
    module_rows = [f'{{"{s.stem}", {texts.place(text.encode())}}}' for s, text in ptx_of.items()]
    rows_of_kernels = kernel_rows(kernels, functions, texts)
    text_of_tiles = texts.place(bytes(joined.text))
    (out / "device_text.bin").write_bytes(texts.data)
    lines = [
        '#include "tiercel/kernel.h"',
        "extern const char tcl_device_text[];",
        "__asm__(",
        '  ".section .rodata\\n.globl tcl_device_text\\n.hidden tcl_device_text\\n"',
        f'  "tcl_device_text:\\n.incbin \\"{out / "device_text.bin"}\\"\\n.previous\\n");',
        *array("TclDeviceKernel", "kernels", rows_of_kernels),
        *array("TclDeviceTile", "tiles", rows),
        *array("TclDeviceFunction", "functions", function_rows),
        *array("TclDeviceModule", "modules", module_rows),
        f"static const TclDeviceLibrary library = {{tcl_device_text, kernels, "
        f"{len(rows_of_kernels)}, {text_of_tiles}, tiles, {len(rows)}, functions, "
        f"{len(functions)}, modules, {len(module_rows)}}};",
        '__attribute__((visibility("hidden")))',
        "const TclDeviceLibrary* tcl_builtin_device(void) { return &library; }",
        "",
    ]
    (out / "device_table.c").write_text("\n".join(lines))
