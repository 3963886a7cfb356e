"""A model of the CUDA kernels, from their machine code and counted instructions: no measurement.

python benchmarks/gpu_model.py [--only TEXT] [--json FILE]
Needs NVRTC's wheels and a C++ compiler (extra `test`), no GPU. For every case of
gpu_model_cases.py: registers and shared memory of the machine code for two GPUs, hence threads at
once; instructions and bytes of a thread, counted on the software device; hence how much of the
GPU's rate of memory, or of arithmetic, these threads could use.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import gpu_model_cases
from document import write_between
from gpu_model_cases import Case
from ptx_counts import KERNELS, Counts, Launcher, cuda_ptx

from tiercel.cuda import nvrtc

ISSUE = 0.8  # instructions that schedulers issue, of one each a cycle
FETCH = 1024  # bytes of shared memory that the system takes of each block


@dataclass(frozen=True)
class Gpu:
    """Limits from NVIDIA's documents; the latency of memory under load is an assumption.

    Attributes:
        rates: Operations per second: ``fma`` of f32, ``mma`` of f16 by mma.sync. On Hopper
            mma.sync reaches about 0.63 of what wgmma does.
        l2: Bytes per second of the second-level cache.
        l1_bytes: Of a multiprocessor's own cache, which shared memory is a part of.
    """

    name: str
    arch: str
    multiprocessors: int
    threads: int
    blocks: int
    shared: int
    clock: float
    bandwidth: float
    latency: float
    l2: float
    l1_bytes: int
    rates: dict[str, float]

    def resident(self, registers: int, shared: int, block: int) -> int:
        """Threads of a kernel on a multiprocessor at once."""
        warps = -(-block // 32)
        by_registers = 65536 // (-(-registers * 32 // 256) * 256) // warps
        by_shared = self.shared // (shared + FETCH)
        return block * min(self.threads // (warps * 32), self.blocks, by_registers, by_shared)


H100 = Gpu(
    "H100 SXM", "sm_90", 132, 2048, 32, 228 * 1024, 1.98e9, 3.35e12, 650e-9, 5.5e12, 256 * 1024,
    {"fma": 66.9e12, "mma": 989e12 * 0.63},
)  # fmt: skip
RTX_4090 = Gpu(
    "RTX 4090", "sm_89", 128, 1536, 24, 100 * 1024, 2.52e9, 1.008e12, 550e-9, 4.0e12, 128 * 1024,
    {"fma": 82.6e12, "mma": 165e12},
)  # fmt: skip
GPUS = (H100, RTX_4090)


@dataclass(frozen=True)
class Estimate:
    """What the model says of a case on a GPU; shares are of the roof: memory or arithmetic.

    Attributes:
        latency: Loads in flight, of those that hide memory's latency (Little's law).
        issue: What the schedulers can issue.
        traffic: Bytes that must move, of those that do; passes over data in the cache count less.
    """

    gpu: str
    registers: int
    shared: int
    resident: int
    latency: float
    issue: float
    traffic: float

    @property
    def share(self) -> float:
        """The least of them."""
        return min(1.0, self.latency, self.issue, self.traffic)

    @property
    def limit(self) -> str:
        """Which one that is; empty where the roof is."""
        least = {"latency": self.latency, "issue": self.issue, "caches": self.traffic}
        return "" if self.share == 1 else min(least, key=lambda name: least[name])


@cache
def resources(source: str, arch: str) -> dict[str, nvrtc.Resources]:
    """What each kernel of a file of kernels/cuda takes."""
    text = (KERNELS / f"{source}.cu").read_text()
    found = nvrtc.resources(text, f"{source}.cu", arch, [KERNELS])
    return {one.kernel: one for one in found}


def live_registers(ptx: str) -> int:
    """Registers that hold a value at once, and eight for addresses; of texts without loops."""
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    size: dict[str, int] = {}
    for number, line in enumerate(ptx.split("$rest:")[0].splitlines()):
        words = gpu_model_cases.REGISTER.findall(line)
        if line.startswith(".reg") or "{" == line.strip():
            continue
        for name in words:
            first.setdefault(name, number)
            last[name] = number
            size[name] = 2 if name[1] in "wdi" else 1
    return 8 + max(
        sum(size[name] for name in first if first[name] <= n < last[name])
        for n in range(len(ptx.splitlines()))
    )


def of_memory(case: Case, counts: Counts, gpu: Gpu, resident: int) -> tuple[float, float, float]:
    """Shares of the memory's rate: by latency, issue, traffic."""
    loaded, stored = counts.each("load_bytes"), counts.each("store_bytes")
    a_multiprocessor = gpu.bandwidth / gpu.multiprocessors
    ideal = case.bytes / counts.threads  # what must move, a thread
    # what is read again comes from the multiprocessor's cache if half of it holds all blocks' part
    working = resident / case.threads * case.bytes / case.grid / 2
    missed = 1 - min(1.0, gpu.l1_bytes / 2 / working)
    again = max(0.0, loaded + stored - ideal) * missed
    far = min(loaded, max(0.0, ideal - stored) + again)
    rounds = max(1.0, far / case.flight) if case.flight else 1.0
    latency = resident * ideal / (gpu.latency * rounds) / a_multiprocessor
    seconds = counts.each("instructions") / (128 * gpu.clock * ISSUE)
    issue = ideal / seconds / a_multiprocessor
    traffic = (ideal / gpu.bandwidth) / max(ideal / gpu.bandwidth, (ideal + again) / gpu.l2)
    return latency, issue, traffic


def of_arithmetic(
    case: Case, counts: Counts, gpu: Gpu, resident: int
) -> tuple[float, float, float]:
    """Shares of the rate of products: by latency of the tiles' loads, issue, caches."""
    kind = "mma" if counts.of["mma"] else "fma"
    rate = gpu.rates[kind] * case.rate / gpu.multiprocessors
    busy = case.operations / counts.threads / rate  # seconds a thread must take, of a share
    issued = counts.each("instructions") / (128 * gpu.clock * ISSUE)
    loads = counts.each("load_bytes") / (gpu.l2 / gpu.multiprocessors)
    shared = counts.each("shared") / (128 * gpu.clock)
    rounds = max(1.0, counts.each("load_bytes") / case.flight) if case.flight else 1.0
    waited = gpu.latency * rounds / resident
    return busy / waited, busy / issued, busy / max(loads, shared)


def estimate(case: Case, counts: Counts, gpu: Gpu) -> Estimate:
    """The model of a case on a GPU."""
    if case.source:
        taken = resources(case.source, gpu.arch)[case.kernel]
        registers, shared = taken.registers, taken.shared + case.shared
    else:
        registers, shared = live_registers(case.ptx), 0
    resident = gpu.resident(registers, shared, case.threads)
    model = of_arithmetic if case.operations else of_memory
    return Estimate(gpu.name, registers, shared, resident, *model(case, counts, gpu, resident))


def run(case: Case, launcher: Launcher) -> tuple[Counts, list[Estimate]]:
    """Counts a case and estimates it."""
    ptx = case.ptx or cuda_ptx(case.source)
    counts = launcher.run(ptx, case.kernel, case.grid, case.block, case.arguments, case.shared)
    return counts, [estimate(case, counts, gpu) for gpu in GPUS]


HEADER = (
    "| case | kernel | an item | bytes an access | instructions an item "
    + "".join(f"| {gpu.name}: registers | threads | share | limit " for gpu in GPUS)
    + "|\n"
    + "|---" * (5 + 4 * len(GPUS))
    + "|"
)


def row(case: Case, counts: Counts, found: Sequence[Estimate]) -> str:
    """A line of the table."""
    accesses = counts.of["loads"] + counts.of["stores"]
    moved = counts.of["load_bytes"] + counts.of["store_bytes"]
    work = f"{(case.operations or moved) / case.items:.3g} {'flop' if case.operations else 'B'}"
    cells = [case.name, f"`{case.kernel}`", work, f"{moved / accesses:.1f}"]
    cells.append(f"{counts.of['instructions'] / case.items:.3g}")
    for one in found:
        share = f"{one.share * 100:.0f} %"
        cells += [str(one.registers), str(one.resident), share, one.limit]
    return "| " + " | ".join(cells) + " |"


def main(given: Sequence[str] | None = None) -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name has it")
    parser.add_argument("--json", default="", metavar="FILE")
    parser.add_argument("--write", default="", metavar="FILE.md", help="a document with its place")
    options = parser.parse_args(given)
    launcher, record, lines = Launcher(), [], [HEADER]
    print(HEADER)
    for case in gpu_model_cases.cases():
        if options.only not in f"{case.family} {case.name}":
            continue
        counts, found = run(case, launcher)
        lines.append(row(case, counts, found))
        print(lines[-1], flush=True)
        entry: dict[str, Any] = {"case": case.name, "family": case.family, "kernel": case.kernel}
        shares = [asdict(one) | {"share": one.share} for one in found]
        record.append(entry | {"threads": counts.threads, "counts": counts.of, "gpus": shares})
    if options.write:
        write_between(options.write, "gpu_model", "\n".join(lines))
    if options.json:
        Path(options.json).write_text(json.dumps(record, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
