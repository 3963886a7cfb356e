"""Facts of the machine and of the software that numbers were measured with."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import engines


def _cpu() -> tuple[str, list[str]]:
    """The processor's name, and what of its instruction sets matters here."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or "unknown", []
    facts: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    flags = facts.get("flags", facts.get("Features", "")).split()
    telling = ("avx", "amx", "fma", "f16c", "asimd", "sve", "bf16", "i8mm")
    return facts.get("model name", "") or platform.processor() or "unknown", [
        flag for flag in flags if flag.startswith(telling)
    ]


def _caches() -> dict[str, str]:
    """Sizes by level, of the first processor."""
    found = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, kind, size = (
                (folder / name).read_text().strip() for name in ("level", "type", "size")
            )
        except OSError:
            continue
        if kind != "Instruction":
            found[f"L{level}"] = size
    return found


def _commit() -> str:
    """The commit of this checkout; empty where there is none."""
    root = Path(__file__).resolve().parents[1]
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def describe(names: Sequence[str] = ()) -> dict[str, Any]:
    """Processor, caches, memory, system, versions of the named engines, and the load at start."""
    name, flags = _cpu()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": name,
        "isa": flags,
        "isa_limit": os.environ.get("TIERCEL_ISA", ""),
        "cores": len(os.sched_getaffinity(0)),
        "caches": _caches(),
        "memory_gib": round(memory / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "engines": {engine: engines.version(engine) for engine in names},
        "commit": _commit(),
        "load_average": round(os.getloadavg()[0], 2),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
