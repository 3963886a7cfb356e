"""Takes each barrier out of a CUDA source in turn: a test must fail without it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .device import Device, DeviceError, Module
from .nvrtc import compile_cuda

# Calls that only order what threads do: statements of their own, so that `;` can replace them.
BARRIERS = r"__syncthreads\(\);|__syncwarp\([^;]*\);|cp_async_wait(?:_\w+)?(?:<\w+>)?\(\);"
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)


@dataclass(frozen=True)
class Mutant:
    """A source without one of its barriers, and which."""

    source: str
    what: str


def mutants(source: str, name: str = "kernels.cu", pattern: str = BARRIERS) -> list[Mutant]:
    """One source for each barrier, without it.

    Args:
        source: CUDA C++; what stands in comments is left alone.
        name: What the source is called in ``Mutant.what``.
        pattern: What counts as a barrier.
    """
    bare = COMMENT.sub(lambda m: re.sub(r"[^\n]", " ", m.group(0)), source)
    found = []
    for match in re.finditer(pattern, bare):
        start, end = match.span()
        line = source.count("\n", 0, start) + 1
        changed = source[:start] + ";" + source[end:]
        found.append(Mutant(changed, f"{name}:{line} {match.group(0)}"))
    return found


def survivors(
    device: Device,
    source: str,
    check: Callable[[Module], None],
    name: str = "kernels.cu",
    includes: Sequence[Path | str] = (),
    pattern: str = BARRIERS,
    seeds: Sequence[int] = (0, 1),
) -> list[str]:
    """The barriers that nobody misses: those whose removal ``check`` does not notice.

    ``check`` launches the module's kernels and asserts their results. It must pass on the source as
    it is, under every seed, and fail (AssertionError or DeviceError) on each mutant under one.

    Raises:
        AssertionError, DeviceError: The unchanged source fails.
        ValueError: The source has no barrier.
    """

    def run(text: str) -> None:
        module = device.load(compile_cuda(text, name, includes=includes))
        for seed in seeds:
            device.set("seed", seed)
            check(module)
        module.unload()

    all_mutants = mutants(source, name, pattern)
    if not all_mutants:
        raise ValueError(f"{name} has no barrier that matches {pattern}")
    run(source)
    alive = []
    for mutant in all_mutants:
        try:
            run(mutant.source)
            alive.append(mutant.what)
        except (AssertionError, DeviceError):
            pass
        finally:
            device.reset()
    return alive
