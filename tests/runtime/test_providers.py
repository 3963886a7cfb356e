"""Two providers in one graph: who runs what, and the copies between their memories."""

from __future__ import annotations

import subprocess
from pathlib import Path

MIRROR = "MirrorExecutionProvider"
CPU = "CPUExecutionProvider"
REFUSED = f"{MIRROR}: it runs Relu alone"


def test_copies_join_two_memories(driver: Path) -> None:
    answer = subprocess.run([driver, "providers"], capture_output=True, text=True, check=True)
    *steps, first, second = answer.stdout.splitlines()
    assert [tuple(step.split("|")) for step in steps] == [
        ("Neg", CPU, REFUSED),
        ("Copy", MIRROR, "from cpu to mirror"),
        ("Relu", MIRROR, ""),
        ("Copy", MIRROR, "from mirror to cpu"),  # an output: beside what comes after it
        ("Relu", MIRROR, ""),
        ("Copy", MIRROR, "from mirror to cpu"),
        ("Abs", CPU, REFUSED),
    ]
    assert first == second == "2 1 0 0"
