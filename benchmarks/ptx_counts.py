"""What the threads of a kernel execute, counted on the software device: instructions and bytes.

`counted` adds counters to a PTX text; `Launcher` runs it. The numbers are of PTX, which ptxas
turns into machine code of about as many instructions.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests" / "softcuda"))
import softcuda  # noqa: E402

KERNELS = ROOT / "kernels" / "cuda"
COUNTERS = ("instructions", "loads", "load_bytes", "stores", "store_bytes", "shared", "mma", "fma")
ENTRY = re.compile(r"^\s*(?:\.visible\s+)?\.entry\s")
STATEMENT = re.compile(r"^\s*(?:\{\s+)?(@!?%\w+\s+)?([a-z][\w.]*(?:::\w+)*)\s*[^:]*;")
MEMORY = re.compile(r"^(ld|st)\.(?:volatile\.)?global\.(?:nc\.)?(?:v(\d)\.)?[a-z]+(\d+)$")
SHARED = re.compile(r"^(?:ld|st)\.(?:volatile\.)?shared\.(?:v(\d)\.)?[a-z]+(\d+)$")
BRACES = re.compile(r"\{[^{}]*\}")  # closed on their line: vectors, assembly
COPY = re.compile(r"^cp\.async\.c[ag]\.shared\.global$")
# The place of a program in a kernel (kernels/cuda/README.md): ptxas leaves nothing of its moves.
PLACE = re.compile(
    r"\{\s*\.reg \.b64 %program_at;.*?mov\.(b\d+) %program_in, (\S+);"
    r".*?mov\.b\d+ (\S+), %program_out;\s*\}",
    re.DOTALL,
)
MMA = re.compile(r"^mma\.sync\.aligned\.m(\d+)n(\d+)k(\d+)\.")


def effects(opcode: str, text: str) -> dict[str, int]:
    """What one instruction adds to the counters besides itself."""
    if match := MEMORY.match(opcode):
        size = int(match[2] or 1) * int(match[3]) // 8
        kind = "load" if match[1] == "ld" else "store"
        return {f"{kind}s": 1, f"{kind}_bytes": size}
    if COPY.match(opcode):
        size = int(re.findall(r", (\d+)", text)[0])
        return {"loads": 1, "load_bytes": size, "shared": size}
    if match := SHARED.match(opcode):
        return {"shared": int(match[1] or 1) * int(match[2]) // 8}
    if opcode.startswith("ldmatrix"):
        return {"shared": 16 if ".x4." in opcode else 8 if ".x2." in opcode else 4}
    if match := MMA.match(opcode):  # a thread's share of a warp's product
        return {"mma": int(match[1]) * int(match[2]) * int(match[3]) * 2 // 32}
    if re.match(r"^fma\.|^mad\.", opcode):
        return {"fma": 2}
    return {}


def only(ptx: str, kernel: str) -> str:
    """The text without the other kernels."""
    parts = re.split(r"(?m)^(?=(?:\.visible )?\.entry )", ptx)
    kept = [part for part in parts[1:] if re.match(rf"(?:\.visible )?\.entry {kernel}\(", part)]
    if len(kept) != 1:
        raise ValueError(f"the text has {len(kept)} kernels of the name {kernel}")
    return parts[0] + kept[0]


def counted(ptx: str) -> str:
    """The text with a counter of each kind in each kernel; totals are in ``counts``."""
    out: list[str] = []
    depth = 0  # of braces inside a kernel; 0: outside
    ahead = False  # its parameters come first
    for line in ptx.splitlines():
        ahead = ahead or ENTRY.match(line) is not None
        if depth and (match := STATEMENT.match(line)):
            out += additions(match[1] or "", match[2], line)
        out.append(line)
        if ahead and line.strip() == "{":
            ahead, depth = False, 1
            out.append(f".reg .u64 %count<{len(COUNTERS)}>, %count_at;")
            out.append("mov.u64 %count_at, counts;")
            out += [f"mov.u64 %count{n}, 0;" for n in range(len(COUNTERS))]
        elif depth:
            depth += BRACES.sub("", line).count("{") - BRACES.sub("", line).count("}")
        elif line.startswith(".address_size"):
            out.append(f".visible .global .align 8 .u64 counts[{len(COUNTERS)}];")
    return "\n".join(out) + "\n"


def additions(guard: str, opcode: str, text: str) -> list[str]:
    """What stands in front of an instruction."""
    lines = ["add.u64 %count0, %count0, 1;"]
    for name, amount in effects(opcode, text).items():
        n = COUNTERS.index(name)
        lines.append(f"{guard}add.u64 %count{n}, %count{n}, {amount};")
    if opcode in ("ret", "ret.uni"):
        for n in range(len(COUNTERS)):
            lines.append(f"{guard}red.global.add.u64 [%count_at+{n * 8}], %count{n};")
    return lines


@dataclass(frozen=True)
class Counts:
    """Sums over all threads of a launch."""

    threads: int
    of: dict[str, int]

    def each(self, name: str) -> float:
        """The average of a thread."""
        return self.of[name] / self.threads


class Launcher:
    """Kernels of texts, launched with counters."""

    def __init__(self) -> None:
        self._device = softcuda.Device()
        self._modules: dict[tuple[str, str], softcuda.Module] = {}

    def run(
        self, ptx: str, kernel: str, grid: int, block: Sequence[int], arguments: Sequence[Any],
        shared: int = 0,
    ) -> Counts:  # fmt: skip
        """Launches a kernel on copies of the arrays and counts.

        Args:
            ptx: The text.
            kernel: One of its entries.
            grid: Blocks.
            block: Threads along each axis.
            arguments: numpy arrays and None (addresses), numbers, ctypes structures.
            shared: Bytes of dynamic shared memory.
        """
        if (ptx, kernel) not in self._modules:
            with self._device.switched(checked=0):
                self._modules[ptx, kernel] = self._device.load(counted(only(ptx, kernel)))
        module = self._modules[ptx, kernel]
        totals = module.global_array("counts", (len(COUNTERS),), np.uint64)
        totals.fill_from(np.zeros(len(COUNTERS), np.uint64))
        held = [self._device.upload(a) if isinstance(a, np.ndarray) else a for a in arguments]
        given = [np.uint64(0) if a is None else a for a in held]
        module.launch(kernel, (grid,), block, given, shared)
        read = totals.numpy()
        for one in held:
            if isinstance(one, softcuda.Array):
                one.free()
        threads = grid * int(np.prod(block))
        return Counts(threads, {name: int(read[i]) for i, name in enumerate(COUNTERS)})


@cache
def cuda_ptx(source: str) -> str:
    """The PTX of a file of kernels/cuda, without places of programs."""
    path = KERNELS / f"{source}.cu"
    ptx = softcuda.compile_cuda(path.read_text(), path.name, "compute_80", [KERNELS])
    return PLACE.sub(r"mov.\1 \3, \2;", ptx)
