"""The instruction sets that kernels are compiled for."""

from __future__ import annotations

import platform
from typing import Any

import llvmlite.binding as llvm

# For create_target_machine.
TARGETS: dict[str, dict[str, Any]] = {
    "amx": {
        "cpu": "x86-64-v4",
        "features": "+avx512vnni,+avx512bf16,+amx-tile,+amx-int8,+amx-bf16",
    },
    "bf16": {"cpu": "x86-64-v4", "features": "+avx512vnni,+avx512bf16"},
    "vnni": {"cpu": "x86-64-v4", "features": "+avx512vnni"},
    "v4": {"cpu": "x86-64-v4"},
    "v3": {"cpu": "x86-64-v3"},
    "neon": {"cpu": "generic"},
}
VECTOR_BITS = {"amx": 512, "bf16": 512, "vnni": 512, "v4": 512, "v3": 256, "neon": 128}
# What a kernel is compiled for unless it says otherwise.
DEFAULT = ("v4", "v3", "neon")

_X86 = platform.machine() in ("x86_64", "AMD64")
# Of this machine's processor family, best first.
FAMILY = ("amx", "bf16", "vnni", "v4", "v3") if _X86 else ("neon",)
# Every machine of the family has it: kernels that do not ask for vectors are compiled for it alone.
BASELINE = FAMILY[-1]


def native() -> list[str]:
    """What this processor runs best: not the sets below one that it has."""
    has = llvm.get_host_cpu_features()
    wide = all(has.get(f"avx512{part}") for part in ("f", "bw", "cd", "dq", "vl"))
    if not (_X86 and wide):
        return [BASELINE]
    extensions = {
        "amx": has.get("amx-int8") and has.get("amx-bf16") and has.get("avx512bf16"),
        "bf16": has.get("avx512bf16"),
        "vnni": has.get("avx512vnni"),
    }
    return [*(isa for isa, there in extensions.items() if there), "v4"]
