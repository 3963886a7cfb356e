"""Programs behind products of 16-bit floats start from float32 sums, on every instruction set."""

from __future__ import annotations

import pytest

from held import run_cases
from tiercel import _core

ROWS = [r for r in _core.kernel_table() if r["op"] == "MatMul" and "16" in str(r["types"])]
ISAS = sorted({str(r["isa"]) for r in ROWS} & set(_core.supported_isas()))


@pytest.mark.parametrize("isa", ISAS)
def test_cases(isa: str) -> None:
    run_cases("half_sums_cases.py", isa)
