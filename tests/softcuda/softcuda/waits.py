"""Where the kernels of a PTX text wait, and launches that leave one of these places out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .device import Device

ENTRY = re.compile(r"^\s*(?:\.\w+\s+)*\.(?:entry|func)\s+(?:\([^)]*\)\s*)?([\w$]+)")
FILE = re.compile(r'^\s*\.file\s+(\d+)\s+"([^"]+)"', re.MULTILINE)
PLACE = re.compile(r"^\s*\.loc\s+(\d+)\s+(\d+)\s+\d+(?:.*inlined_at\s+(\d+)\s+(\d+))?")
WAIT = re.compile(
    r"^\s*(?:@!?%\w+\s+)?((?:bar|barrier)\.(?:warp\.|cta\.)?sync|cp\.async\.wait_(?:group|all))\b"
)


@dataclass(frozen=True)
class Wait:
    """An instruction of a kernel that waits, and the place of the CUDA source that it is made of.

    Attributes:
        copy: Which of the instructions of this place: the compiler repeats loops and functions.
        line: Of the PTX text.
    """

    kernel: str
    what: str
    place: str
    copy: int
    line: int

    def __str__(self) -> str:
        return f"{self.kernel}: {self.what} at {self.place} #{self.copy}"


def waits(ptx: str) -> list[Wait]:
    """All instructions that wait for threads of the block, of the warp, or for ``cp.async``.

    The text needs lines of the source: ``compile_cuda`` of this package has them.
    """
    files = {number: name.rsplit("/", 1)[-1] for number, name in FILE.findall(ptx)}
    found: list[Wait] = []
    copies: Counter[tuple[str, str, str]] = Counter()
    kernel = place = ""
    for number, line in enumerate(ptx.splitlines(), 1):
        if match := ENTRY.match(line):
            kernel, place = match[1], ""
        elif match := PLACE.match(line):
            place = f"{files.get(match[1], '')}:{match[2]}"
            if match[3]:
                place += f" (from {files.get(match[3], '')}:{match[4]})"
        elif match := WAIT.match(line):
            key = (kernel, match[1], place)
            copies[key] += 1
            found.append(Wait(*key, copies[key], number))
    return found


@contextmanager
def left_out(device: Device, wait: Wait) -> Iterator[None]:
    """Launches of the module inside go on at this instruction without waiting."""
    device.set("leave_out", wait.line)
    try:
        yield
    finally:
        device.set("leave_out", 0)
