"""Compile every declared kernel and write the archive and the kernel table that libtiercel links.

Objects are cached by content: the texts of the declaring file and of everything that it imports.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import importlib
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "cpu")]

# libm, memory functions, and what the C start-up objects bring.
ALLOWED = re.compile(
    r"^(mem(cpy|move|set|cmp)|_GLOBAL_OFFSET_TABLE_|"
    r"(sin|cos|tan|asin|acos|atan|sinh|cosh|tanh|asinh|acosh|atanh|exp|exp2|expm1|log|log2|log10|"
    r"log1p|pow|cbrt|erf|erfc|lgamma|tgamma|fmod|atan2|sqrt|floor|ceil|rint|nearbyint|round|trunc|"
    r"fma|ldexp|frexp|hypot|copysign|sincos)f?)$"
)

CLAIMS = pathlib.Path()  # a folder of this build: blocks that one of its processes is at


def declare() -> None:
    """Import every kernel file, in alphabetical order."""
    for path in sorted((HERE / "cpu").glob("*.py")):
        importlib.import_module(path.stem)
    if (HERE / "elementwise.py").exists():
        importlib.import_module("elementwise")


def prepare(claims: pathlib.Path) -> None:
    """A process that compiles. What is there by now stays: looking for garbage among it takes a
    tenth of the time.
    """
    global CLAIMS
    CLAIMS = claims
    declare()
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)


def sources(path: pathlib.Path, seen: dict[str, str]) -> None:
    """The texts of a kernel file and of the kernel files that it imports."""
    if str(path) in seen:
        return
    text = seen[str(path)] = path.read_text()
    for name in re.findall(r"^(?:from|import) (\w+)", text, re.M):
        other = HERE / "cpu" / f"{name}.py"
        if other.exists():
            sources(other, seen)


def language() -> str:
    """What every object depends on; tiles depend on tiles.py too, and PTX on ptx.py."""
    import llvmlite
    import numba

    others = ("tiles.py", "ptx.py")
    files = [p for p in sorted((HERE / "_lang").glob("*.py")) if p.name not in others]
    return "".join([numba.__version__, llvmlite.__version__, *(p.read_text() for p in files)])


def key_of(file: str, shared: str, *facts: object) -> str:
    seen: dict[str, str] = {}
    sources(pathlib.Path(file), seen)
    text = shared + "".join(seen[p] for p in sorted(seen)) + repr(facts)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def isas_of(row: Any, bound: dict[str, str], isas: list[str]) -> list[str]:
    """The instruction sets of one instantiation: the lowest alone where it does not ask."""
    from _lang.decorators import Kernel
    from _lang.isas import BASELINE

    here = row.isas_here(isas)
    if row.isas is None and here:
        k = Kernel(bound, here[0])
        row.build(k)
        if not k.__dict__["_uses_isa"]:
            here = [BASELINE]
    return here


def compile_kernel(index: int, isas: list[str], cache: pathlib.Path, shared: str) -> list[dict]:
    """Every instantiation of one declaration: its table rows, with their objects in the cache."""
    from _lang import emit, objects
    from _lang.decorators import SIGNATURES, TABLE, Kernel

    row = TABLE.kernels[index]
    # Earlier rows of the same name: their symbols must differ.
    names = [(r.op, r.variant) for r in TABLE.kernels[: index + 1]]
    twins = names.count(names[-1]) - 1
    made = []
    for bound in row.instantiations(isas[0]):
        for isa in isas_of(row, bound, isas):
            name = f"tcl_{row.op}_{row.variant}_{'_'.join(bound.values())}_{isa}".lower()
            prefix = re.sub(r"\W", "_", name) + (f"_{twins}" if twins else "")
            k = Kernel(bound, isa)
            parts = row.build(k)
            functions = {n: f"{prefix}_{n}" for n in parts.functions}
            key = key_of(
                row.file,
                shared,
                row.op,
                row.domain,
                row.variant,
                bound,
                isa,
                *[twins] * (twins > 0),
            )
            target = cache / f"{key}.o"
            if not target.exists():
                try:
                    given = parts.functions.items()
                    texts = [emit.lower(functions[n], f, SIGNATURES[n]) for n, f in given]
                    compile_unit(objects.unit(texts, isa), target, isa)
                except Exception as error:
                    raise RuntimeError(f"{row.file}: {row.op} {bound} {isa}: {error}") from None
            made.append(
                {"bound": bound, "isa": isa, "object": str(target), "functions": functions}
                | {"phases": parts.phases, "prologue": k.__dict__.get("_takes_prologue", False)}
                | {"device": device_text(row, k, parts, cache, key)}
            )
    return made


def device_text(row: Any, k: Any, parts: Any, cache: pathlib.Path, key: str) -> str:
    """The file of the kernel as GPUs run it: of those that ask for a processor's vectors only a
    few, for the lowest instruction set.
    """
    from _lang import ptx
    from _lang.isas import BASELINE
    from device import VECTORS, compile_device

    if k.__dict__["_uses_isa"] and (row.op not in VECTORS or k.__dict__["_isa"] != BASELINE):
        return ""
    made_by = pathlib.Path(ptx.__file__).read_text()
    target = cache / f"{hashlib.sha256((key + made_by).encode()).hexdigest()[:32]}.ptx"
    if not target.exists():
        write(target, compile_device(parts).encode())
    return str(target)


def compile_device_tiles(indices: list[int], cache: pathlib.Path, shared: str) -> tuple:
    """The tiles as GPUs run them: their numbers and the file."""
    from _lang import ptx
    from _lang.decorators import TABLE
    from device import compile_device_tiles as compiled

    made_by = pathlib.Path(ptx.__file__).read_text()
    file = TABLE.tiles[indices[0]].file
    target = cache / f"{key_of(file, shared + made_by, indices, 'device')}.ptx"
    if not target.exists():
        write(target, compiled(indices).encode())
    return indices, str(target)


def compile_unit(unit: Any, target: pathlib.Path, isa: str) -> None:
    """An object and those of the blocks that it shares with others, unless another process is
    at them.
    """
    for block in {block.symbol: block for block in unit.blocks()}.values():
        path = target.parent / f"{block.symbol}.o"
        if not path.exists() and claim(block.symbol):
            write(path, block.emit(isa))
    write(target, unit.emit(isa))


def claim(symbol: str) -> bool:
    """Whether this process is the first of the build to compile a block."""
    try:
        (CLAIMS / symbol).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def compile_tiles(indices: list[int], isas: list[str], cache: pathlib.Path, shared: str) -> list:
    """Tiles by (index, isa): symbol and object. One object for all of them and one
    instruction set.
    """
    from _lang import objects, tiles
    from _lang.decorators import TABLE

    made = []
    made_by = pathlib.Path(tiles.__file__).read_text()
    for isa in [i for i in isas if i in ("v4", "v3", "neon")]:
        symbols = {i: f"tcl_tile_{i}_{isa}" for i in indices}
        file = TABLE.tiles[indices[0]].file
        target = cache / f"{key_of(file, shared + made_by, indices, isa)}.o"
        if not target.exists():
            texts = [tiles.lower_tile(symbols[i], TABLE.tiles[i], isa) for i in indices]
            write(target, objects.emitted(texts, isa))
        made += [(i, isa, symbols[i], str(target)) for i in indices]
    return made


def write(target: pathlib.Path, data: bytes) -> None:
    """Whole or not at all: other builds may read the cache."""
    draft = target.with_suffix(f".{os.getpid()}")
    draft.write_bytes(data)
    draft.replace(target)


def c_list(items: object) -> str:
    """A NULL-terminated array of C strings."""
    texts = [f'"{item}", ' for item in items]  # type: ignore[attr-defined]
    return f"(const char* const[]){{{''.join(texts)}NULL}}"


def table_text(kernels: list, tiles: list) -> str:
    """kernel_table.c"""
    from _lang.decorators import TABLE

    lines = ["#include <stddef.h>", '#include "tiercel/kernel.h"']
    rows = []
    order = ("run", "units", "workspace", "scratch", "work", "supports", "pack_size", "pack")
    kinds = ("Run", "Units", "Size", "Size", "Size", "Supports", "PackSize", "Pack")
    results = {"Run": "int32_t", "Supports": "int32_t", "Pack": "int32_t"}
    arguments = {
        "Run": "TclCall*, int64_t, int64_t, int64_t, void*",
        "Units": "TclCall*, int64_t",
        "PackSize": "TclCall*, int64_t",
        "Pack": "TclCall*, int64_t, void*",
    }
    for index, made in kernels:
        row = TABLE.kernels[index]
        for one in made:
            cells = []
            for name, kind in zip(order, kinds, strict=True):
                symbol = one["functions"].get(name)
                cells.append(symbol or "NULL")
                if symbol:
                    result, given = results.get(kind, "int64_t"), arguments.get(kind, "TclCall*")
                    lines.append(f"{result} {symbol}({given});")
            types = ";".join(f"{p}={t}" for p, t in one["bound"].items())
            flags = int(row.inplace) + 2 * int(row.epilogue) + 4 * int(one["prologue"])
            reasons = c_list(("", *row.reasons))
            rows.append(
                f'  {{"{row.domain}", "{row.op}", "{row.variant}", "{one["isa"]}", "{types}", '
                f"{c_list(row.attributes)}, {reasons}, {one['phases']}, "
                f"{', '.join(cells)}, {flags}}},"
            )
    tile_rows = []
    for index, isa, symbol, _ in tiles:
        row = TABLE.tiles[index]
        lines.append(
            f"void {symbol}(void*, const void*, const void*, const void*, int64_t, const double*);"
        )
        types = f"{','.join(row.operands)}->{row.result}"
        attributes = c_list(row.attributes)
        tile_rows.append(
            f'  {{"{row.domain}", "{row.op}", "{isa}", "{types}", {attributes}, {symbol}}},'
        )
    lines += ["static const TclKernel kernels[] = {", *rows, "  {0}};"]
    lines += ["static const TclTile tiles[] = {", *tile_rows, "  {0}};"]
    lines.append(
        "static const TclKernelLibrary library = "
        f"{{TCL_KERNEL_ABI, kernels, {len(rows)}, tiles, {len(tile_rows)}}};"
    )
    lines.append("const TclKernelLibrary* tcl_builtin_kernels(void) { return &library; }")
    return "\n".join(lines) + "\n"


def undefined(objects: list[str], listing: pathlib.Path) -> dict[str, set[str]]:
    """The symbols that each object leaves to others."""
    listing.write_text("\n".join(objects))
    command = ["nm", "-u", "-A", f"@{listing}"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, set[str]] = {one: set() for one in objects}
    for line in text.splitlines():
        file, _, symbol = line.partition(":")
        found[file].add(symbol.split()[-1])
    return found


def with_blocks(objects: list[str], cache: pathlib.Path, listing: pathlib.Path) -> list[str]:
    """The objects and the blocks that they share. Where the cache lacks a block, it drops what
    calls it; then the answer is empty.
    """
    needs: dict[str, set[str]] = {}
    waiting = objects
    while waiting:
        needs |= {
            one: {str(cache / f"{s}.o") for s in symbols if s.startswith("tcl_block_")}
            for one, symbols in undefined(waiting, listing).items()
        }
        called = set().union(*needs.values()) - set(needs)
        waiting = sorted(one for one in called if pathlib.Path(one).exists())
        for one in called - set(waiting):
            needs[one] = {one}
    lost = {one for one, called in needs.items() if one in called}
    while dropped := {one for one, called in needs.items() if called & lost} - lost:
        lost |= dropped
    for one in lost:
        pathlib.Path(one).unlink(missing_ok=True)
    return [] if lost else sorted(needs)


def archive(objects: list[str], target: pathlib.Path) -> None:
    """The static library; fails on a symbol that neither it nor libm has."""
    target.unlink(missing_ok=True)
    listing = target.with_suffix(".txt")
    missing = set().union(*undefined(objects, listing).values())
    missing -= {pathlib.Path(one).stem for one in objects}
    missing = {name for name in missing if not ALLOWED.match(name)}
    if missing:
        raise SystemExit(f"kernels call what is not libm: {', '.join(sorted(missing))}")
    subprocess.run(["ar", "rcsD", target, f"@{listing}"], check=True)


def compile_modules(cache: pathlib.Path) -> list[tuple[pathlib.Path, str]]:
    """The files of kernels/cuda and those of their PTX."""
    from device import compile_source, cuda_key, cuda_sources

    made = []
    for source in cuda_sources():
        target = cache / f"{cuda_key(source)}.ptx"
        if not target.exists():
            write(target, compile_source(source).encode())
        made.append((source, str(target)))
    return made


def compile_all(isas: list[str], cache: pathlib.Path, jobs: int) -> tuple[list, list, list]:
    """Every kernel and tile, and the tiles of GPUs, in several processes."""
    from _lang.decorators import TABLE

    shared = language()
    order = sorted(range(len(TABLE.kernels)), key=lambda i: TABLE.kernels[i].order)
    groups: dict[str, list[int]] = {}
    for i in range(len(TABLE.tiles)):
        groups.setdefault(f"{TABLE.tiles[i].file}/{i // 64}", []).append(i)
    with (
        tempfile.TemporaryDirectory() as claims,
        ProcessPoolExecutor(jobs, initializer=prepare, initargs=(pathlib.Path(claims),)) as pool,
    ):
        futures = [pool.submit(compile_kernel, i, isas, cache, shared) for i in order]
        others = [pool.submit(compile_tiles, g, isas, cache, shared) for g in groups.values()]
        devices = [pool.submit(compile_device_tiles, g, cache, shared) for g in groups.values()]
        kernels = [(i, f.result()) for i, f in zip(order, futures, strict=True)]
        tiles = [t for f in others for t in f.result()]
        return kernels, tiles, [f.result() for f in devices]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument(
        "--isas", default="", help="comma-separated; empty: this family's; native: this machine's"
    )
    parser.add_argument("--cache", default="", help="folder of compiled objects")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    started = time.time()
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    cache = pathlib.Path(args.cache or pathlib.Path(home) / "tiercel" / "kernels")
    cache.mkdir(parents=True, exist_ok=True)
    args.out.mkdir(parents=True, exist_ok=True)
    declare()
    from _lang.isas import FAMILY, native
    from device import write_device_table

    wanted = [isa for isa in re.split(r"[,; ]+", args.isas) if isa]
    wanted = native() if wanted == ["native"] else wanted
    isas = [isa for isa in FAMILY if not wanted or isa in wanted]
    objects: list[str] = []
    while not objects:  # a second time where the cache lost a block
        kernels, tiles, device_tiles = compile_all(isas, cache, args.jobs)
        own = {one["object"] for _, made in kernels for one in made} | {t[3] for t in tiles}
        objects = with_blocks(sorted(own), cache, args.out / "objects.txt")
    archive(objects, args.out / "libtiercel_kernels.a")
    (args.out / "kernel_table.c").write_text(table_text(kernels, tiles))
    write_device_table(kernels, device_tiles, compile_modules(cache), args.out)
    rows = sum(len(made) for _, made in kernels)
    seconds = time.time() - started
    print(f"{rows} kernels and {len(tiles)} tiles for {', '.join(isas)} in {seconds:.0f} s")


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # numba walks sets of names: their order shows
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        os.execve(sys.executable, [sys.executable, *sys.argv], environment)
    main()
