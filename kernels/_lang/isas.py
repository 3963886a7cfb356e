"""The instruction sets that kernels are compiled for."""

from __future__ import annotations

import platform
from typing import Any

# For create_target_machine.
TARGETS: dict[str, dict[str, Any]] = {
    "bf16": {"cpu": "x86-64-v4", "features": "+avx512vnni,+avx512bf16"},
    "vnni": {"cpu": "x86-64-v4", "features": "+avx512vnni"},
    "v4": {"cpu": "x86-64-v4"},
    "v3": {"cpu": "x86-64-v3"},
    "neon": {"cpu": "generic"},
}
VECTOR_BITS = {"bf16": 512, "vnni": 512, "v4": 512, "v3": 256, "neon": 128}
# What a kernel is compiled for unless it says otherwise.
DEFAULT = ("v4", "v3", "neon")

_X86 = platform.machine() in ("x86_64", "AMD64")
# Of this machine's processor family, best first.
FAMILY = ("bf16", "vnni", "v4", "v3") if _X86 else ("neon",)
# Every machine of the family has it: kernels that do not ask for vectors are compiled for it alone.
BASELINE = FAMILY[-1]
