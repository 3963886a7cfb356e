"""Every CUDA source compiles for every architecture, within the limits of registers and memory."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from launch import KERNELS

from softcuda import nvrtc
from softcuda.build import cache_folder

ARCHITECTURES = ("sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")
SOURCES = sorted(path.stem for path in KERNELS.glob("*.cu") if path.stem != "libm")  # no kernels


def kept(source: str, arch: str, find: Callable[[str, str], Any]) -> Any:
    """``find(source, arch)``, kept beside the software device as long as no text changes."""
    digest = hashlib.sha256(f"{source} {arch} {nvrtc.toolkit()}".encode())
    for path in (Path(__file__), *sorted(KERNELS.glob("*.cuh")), KERNELS / f"{source}.cu"):
        digest.update(path.read_bytes())
    file = cache_folder() / "limits" / f"{digest.hexdigest()[:24]}.json"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(find(source, arch)))
    return json.loads(file.read_text())


def compile_for(source: str, arch: str) -> list[tuple[str, int, int, int]]:
    """Kernel, registers, bytes of static shared memory and of spills, for each kernel of a file."""
    text = (KERNELS / f"{source}.cu").read_text()
    found = nvrtc.nvrtc.resources(text, f"{source}.cu", arch, [KERNELS])
    return [(one.kernel, one.registers, one.shared, one.spilled) for one in found]


def threads(source: str, arch: str) -> dict[str, int]:
    """The launch bound of each kernel, from the PTX."""
    text = (KERNELS / f"{source}.cu").read_text()
    ptx = nvrtc.compile_cuda(text, f"{source}.cu", arch, [KERNELS])
    assert re.search(r"^\.version 7\.5$", ptx, re.M)  # what a driver for CUDA 11.5 reads
    bounds = re.findall(r"\.entry (\w+)\((?:[^{]*?)\.maxntid (\d+)", ptx)
    assert len(bounds) == ptx.count(".entry")
    return {name: int(count) for name, count in bounds}


@pytest.mark.parametrize("source", SOURCES)
def test_limits(source: str) -> None:
    bounds = kept(source, "compute_80", threads)
    with ThreadPoolExecutor(2) as pool:
        results = pool.map(lambda arch: kept(source, arch, compile_for), ARCHITECTURES)
        for arch, found in zip(ARCHITECTURES, results, strict=True):
            assert {kernel for kernel, *_ in found} == set(bounds), arch
            for kernel, registers, shared, spilled in found:
                assert -(-registers // 8) * 8 * bounds[kernel] <= 65536, (arch, kernel, registers)
                assert shared <= 48 * 1024, (arch, kernel, shared)
                assert spilled == 0, (arch, kernel, spilled)
