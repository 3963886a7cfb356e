"""Sums of 16-bit floats that stay float32 between nodes, on every instruction set."""

from __future__ import annotations

import pytest

from held import run_cases
from tiercel import _core

ROWS = [r for r in _core.kernel_table() if r["op"] == "MatMul" and "16" in str(r["types"])]
ISAS = sorted({str(r["isa"]) for r in ROWS} & set(_core.supported_isas()))


@pytest.mark.parametrize("isa", ISAS)
def test_cases(isa: str) -> None:
    run_cases("wide_sums_cases.py", isa)
