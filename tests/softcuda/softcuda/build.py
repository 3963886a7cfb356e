"""Builds the software driver and the modules it loads, with the system's C++ compiler."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .nvrtc import library, toolkit
from .ptx import translate

PACKAGE = Path(__file__).resolve().parent
NATIVE = PACKAGE / "native"
# The bits of results must not depend on what the compiler contracts.
FLAGS = ["-std=c++20", "-fPIC", "-march=x86-64-v3", "-ffp-contract=off", "-fno-strict-aliasing"]
MODULE_FLAGS = [*FLAGS, "-O1", "-w"]


class BuildError(RuntimeError):
    """The C++ compiler failed; the message is its output."""


def compiler() -> str:
    """The C++ compiler: ``$CXX``, or the system's.

    Raises:
        FileNotFoundError: There is none.
    """
    found = shutil.which(os.environ.get("CXX", "")) or shutil.which("g++") or shutil.which("c++")
    if found is None:
        raise FileNotFoundError("no C++ compiler: install g++ or set CXX")
    return found


def cache_folder() -> Path:
    """Where libraries are built: ``$TIERCEL_SOFTCUDA_CACHE``, ``build/softcuda``, or temporary."""
    named = os.environ.get("TIERCEL_SOFTCUDA_CACHE")
    root = PACKAGE.parents[2]
    if named:
        return Path(named)
    if os.access(root, os.W_OK):
        return root / "build" / "softcuda"
    return Path(tempfile.gettempdir()) / "tiercel-softcuda"


@functools.cache
def stamp() -> str:
    """A hash of all that built libraries depend on."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*")):
        if path.suffix in (".py", ".h", ".cpp"):
            digest.update(path.name.encode() + path.read_bytes())
    version = subprocess.run([compiler(), "--version"], capture_output=True, check=True).stdout
    digest.update(version + str(toolkit()).encode() + sys.executable.encode())
    return digest.hexdigest()[:16]


def run(command: list[str]) -> None:
    """Runs the compiler.

    Raises:
        BuildError: With what it printed.
    """
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise BuildError(f"{' '.join(command)}\n{result.stderr[-8000:]}")


@contextmanager
def only_builder(target: Path) -> Iterator[None]:
    """Waits until no other process builds the same file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build_beside(target: Path, command: list[str]) -> Path:
    """Builds into a file of its own and moves it to its name: what has the name is complete."""
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        run([*command, "-o", str(partial)])
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def driver() -> Path:
    """The library that tests run on: ``$TIERCEL_GPU_DRIVER`` (a card's), or the software driver."""
    named = os.environ.get("TIERCEL_GPU_DRIVER")
    return Path(named) if named else build_driver()


def build_driver() -> Path:
    """Builds ``libcuda_soft.so`` unless it is there already, and returns its path.

    Raises:
        FileNotFoundError: No compiler, or the CUDA wheels (for ``cuda.h``) are missing.
        BuildError: The compiler's output.
    """
    folder = cache_folder() / stamp()
    target = folder / "libcuda_soft.so"
    library()  # says what is missing
    with only_builder(target):
        return target if target.is_file() else compile_driver(target)


def compile_driver(target: Path) -> Path:
    """Compiles the driver, and the header that its modules begin with."""
    folder = target.parent
    header = folder / "matrix.h.gch"
    build_beside(header, [compiler(), *MODULE_FLAGS, "-x", "c++-header", str(NATIVE / "matrix.h")])
    names = {
        "SOFTCUDA_CACHE": folder,
        "SOFTCUDA_PACKAGE": PACKAGE.parent,
        "SOFTCUDA_PYTHON": sys.executable,
    }
    defines = [f'-D{name}="{value}"' for name, value in names.items()]
    includes = [f"-I{toolkit()}/include", f"-I{NATIVE}"]
    sources = [str(path) for path in sorted(NATIVE.glob("*.cpp"))]
    link = ["-shared", "-fvisibility=hidden", "-Wl,-soname,libcuda_soft.so", "-ldl", "-pthread"]
    command = [compiler(), *FLAGS, "-O2", *defines, *includes, *sources, *link]
    return build_beside(target, command)


def build_module(ptx: str, target: Path, checked: bool) -> Path:
    """Translates a PTX module and compiles it; what the driver calls when it loads one.

    Raises:
        PtxError: See :func:`softcuda.ptx.translate`.
        BuildError: The compiler's output.
    """
    with only_builder(target):
        if target.is_file():
            return target
        source = target.with_suffix(".cpp")
        source.write_text(translate(ptx, checked))
        # the folder of the precompiled header comes first
        includes = [f"-I{target.parent}", f"-I{NATIVE}"]
        command = [compiler(), *MODULE_FLAGS, "-shared", *includes, str(source)]
        return build_beside(target, command)
