"""Compiles CUDA C++ to PTX or machine code with NVRTC from pip wheels; needs no driver or GPU."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_SYSTEM = ("libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12")


class CompileError(ValueError):
    """A CUDA source that NVRTC refuses; the message is NVRTC's log."""


@functools.cache
def toolkit() -> Path | None:
    """The folder of the CUDA wheels (``nvidia/cu13``) with ``lib`` and ``include``, or None."""
    spec = importlib.util.find_spec("nvidia")
    for place in (spec.submodule_search_locations or []) if spec else []:
        for folder in sorted(Path(place).glob("cu[0-9]*"), reverse=True):
            has_header = (folder / "include" / "cuda.h").is_file()
            if has_header and list((folder / "lib").glob("libnvrtc.so.*")):
                return folder
    return None


@functools.cache
def library() -> ctypes.CDLL:
    """NVRTC itself: of the wheels, or where the system looks for libraries.

    Raises:
        FileNotFoundError: It is not installed; says how to.
    """
    folder = toolkit()
    if folder is not None:
        return ctypes.CDLL(str(next((folder / "lib").glob("libnvrtc.so.*"))))
    for name in _SYSTEM:
        with contextlib.suppress(OSError):
            return ctypes.CDLL(name)
    raise FileNotFoundError(
        "NVRTC is not installed: pip install nvidia-cuda-nvrtc nvidia-cuda-runtime nvidia-cuda-crt"
    )


def include_options(includes: Sequence[Path | str]) -> list[str]:
    """Where headers are looked for: the given folders, then the toolkit's."""
    folder = toolkit()
    own = [folder / "include", folder / "include" / "cccl"] if folder else []
    return [f"-I{path}" for path in (*includes, *own)]


def _text(program: ctypes.c_void_p, what: str) -> bytes:
    """What NVRTC holds of a program: its PTX, CUBIN or ProgramLog."""
    nvrtc = library()
    size = ctypes.c_size_t()
    getattr(nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    getattr(nvrtc, f"nvrtcGet{what}")(program, buffer)
    return buffer.raw


@dataclass(frozen=True)
class Resources:
    """What a kernel takes of a multiprocessor: registers of a thread, bytes of a block."""

    kernel: str
    registers: int
    shared: int
    spilled: int


_RESOURCES = re.compile(
    r"entry function '(\w+)'.*?(\d+) bytes spill stores, (\d+) bytes spill loads.*?"
    r"Used (\d+) registers(.*?)\n",
    re.DOTALL,
)


def _compile(
    source: str,
    name: str,
    arch: str,
    includes: Sequence[Path | str],
    options: Sequence[str],
    what: str = "",
) -> bytes:
    nvrtc = library()
    program = ctypes.c_void_p()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), name.encode(), 0, None, None)
    given = [
        f"--gpu-architecture={arch}",
        "-std=c++17",
        "-default-device",
        *include_options(includes),
        *options,
    ]
    array = (ctypes.c_char_p * len(given))(*[option.encode() for option in given])
    try:
        if nvrtc.nvrtcCompileProgram(program, len(given), array):
            log = _text(program, "ProgramLog").rstrip(b"\0").decode(errors="replace")
            raise CompileError(f"{name} for {arch}:\n{log}")
        return _text(program, what or ("PTX" if arch.startswith("compute_") else "CUBIN"))
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def compile_cuda(
    source: str,
    name: str = "kernels.cu",
    arch: str = "compute_80",
    includes: Sequence[Path | str] = (),
    options: Sequence[str] = (),
) -> str:
    """CUDA C++ to PTX; that of compute_80 says version 7.5, so that old drivers read it too.

    NVRTC writes its own version, which only drivers as new as itself take; no instruction that it
    uses for compute_80 is newer than 7.5.

    Args:
        source: The text.
        name: What messages and line numbers call it.
        arch: A virtual architecture, such as ``compute_80``.
        includes: Folders of headers, before those of the toolkit.
        options: More options of NVRTC.

    Raises:
        CompileError: NVRTC's log.
        FileNotFoundError: NVRTC is not installed.
    """
    ptx = _compile(source, name, arch, includes, options).rstrip(b"\0").decode()
    if arch == "compute_80":
        ptx = re.sub(r"^\.version [\d.]+", ".version 7.5", ptx, count=1, flags=re.MULTILINE)
    return ptx


def compile_machine_code(
    source: str,
    name: str = "kernels.cu",
    arch: str = "sm_80",
    includes: Sequence[Path | str] = (),
    options: Sequence[str] = (),
) -> bytes:
    """CUDA C++ to machine code (a cubin) of a real architecture, such as ``sm_80``.

    Raises:
        CompileError: NVRTC's log.
        FileNotFoundError: NVRTC is not installed.
    """
    return _compile(source, name, arch, includes, options)


def resources(
    source: str, name: str, arch: str, includes: Sequence[Path | str] = ()
) -> list[Resources]:
    """What the machine code of each kernel takes, as ptxas reports it.

    Raises:
        CompileError: NVRTC's log.
        FileNotFoundError: NVRTC is not installed.
    """
    given = ["--ptxas-options=-v"]
    log = _compile(source, name, arch, includes, given, "ProgramLog").rstrip(b"\0").decode()
    found = []
    for kernel, stores, loads, registers, rest in _RESOURCES.findall(log):
        shared = re.search(r"(\d+) bytes smem", rest)
        size = int(shared[1]) if shared else 0
        found.append(Resources(kernel, int(registers), size, int(stores) + int(loads)))
    return found
