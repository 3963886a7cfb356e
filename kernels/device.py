"""What GPUs run of the declared kernels and tiles, as PTX, and the table that libtiercel links."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import nvrtc
from _lang import emit, ptx
from _lang.decorators import SIGNATURES, TABLE, Parts

HERE = Path(__file__).resolve().parent


def compile_device(parts: Parts) -> str:
    """PTX of one instantiation; empty where it needs what a GPU has not: packed weights, libm."""
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
    return nvrtc.compile_cuda(source.read_text(), source.name, "compute_80", [source.parent])


def write_device_table(kernels: list, tiles: list, modules: list, out: Path) -> None:
    """device_table.c, and device_text.bin that it includes. `kernels`: (declaration, what
    compile_kernel made of it); `tiles`: (indices, file of compile_device_tiles); `modules`: (file
    of kernels/cuda, file of its PTX).
    """
    blob = bytearray()
    places: dict[bytes, int] = {}

    def place(text: bytes) -> str:
        if text not in places:
            places[text] = len(blob)
            blob.extend(text)
        return f"{places[text]}, {len(text)}"

    rows, tile_rows = [], []
    for index, made in kernels:
        row = TABLE.kernels[index]
        for one in made:
            text = Path(one["device"]).read_bytes() if one["device"] else b""
            if not text:
                continue
            types = ";".join(f"{p}={t}" for p, t in one["bound"].items())
            names = f'"{row.domain}", "{row.op}", "{row.variant}", "{types}"'
            rows.append(f"  {{{names}, {place(text)}}},")
    for indices, file in tiles:
        texts = Path(file).read_bytes().split(b"\0")
        for index, text in zip(indices, texts, strict=False):
            tile: Any = TABLE.tiles[index]
            types = f"{','.join(tile.operands)}->{tile.result}"
            if text:
                tile_rows.append(f'  {{"{tile.domain}", "{tile.op}", "{types}", {place(text)}}},')
    module_rows = [
        f'  {{"{source.stem}", {place(Path(ptx).read_bytes())}}},' for source, ptx in modules
    ]
    (out / "device_text.bin").write_bytes(blob)
    (out / "device_table.c").write_text(
        "\n".join(
            [
                '#include "tiercel/kernel.h"',
                "extern const char tcl_device_text[];",
                "__asm__(",
                '  ".section .rodata\\n.globl tcl_device_text\\n.hidden tcl_device_text\\n"',
                f'  "tcl_device_text:\\n.incbin \\"{out / "device_text.bin"}\\"\\n"',
                '  ".byte 0\\n.previous\\n");',
                "static const TclDeviceKernel kernels[] = {",
                *rows,
                "  {0}};",
                "static const TclDeviceTile tiles[] = {",
                *tile_rows,
                "  {0}};",
                "static const TclDeviceModule modules[] = {",
                *module_rows,
                "  {0}};",
                "static const TclDeviceLibrary library = "
                f"{{tcl_device_text, kernels, {len(rows)}, tiles, {len(tile_rows)}, "
                f"modules, {len(module_rows)}}};",
                '__attribute__((visibility("hidden")))',
                "const TclDeviceLibrary* tcl_builtin_device(void) { return &library; }",
                "",
            ]
        )
    )
