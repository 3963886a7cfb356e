"""Programs behind products of 16-bit floats start from float32 sums, on every instruction set."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tiercel import _core

ROWS = [r for r in _core.kernel_table() if r["op"] == "MatMul" and "16" in str(r["types"])]
ISAS = sorted({str(r["isa"]) for r in ROWS} & set(_core.supported_isas()))


@pytest.mark.parametrize("isa", ISAS)
def test_cases(isa: str) -> None:
    """In a process that is held to `isa`."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"),
            str(Path(__file__).with_name("half_sums_cases.py")),
        ],
        env={**os.environ, "TIERCEL_ISA": isa},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-4000:]
