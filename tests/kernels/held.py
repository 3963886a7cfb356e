"""Runs files of cases in a process that is held to one instruction set."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def run_cases(file: str, isa: str) -> None:
    """All tests of a file of this folder pass on the kernels of an instruction set."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"),
            str(Path(__file__).with_name(file)),
        ],
        env={**os.environ, "TIERCEL_ISA": isa},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-4000:]
