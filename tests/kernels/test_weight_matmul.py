"""Products with weights of 4 and 8 bits that stay packed agree with their float64 meaning, on every
instruction set.
"""

from __future__ import annotations

import pytest

from held import run_cases
from tiercel import _core

ROWS = [r for r in _core.kernel_table() if r["op"] == "WeightMatMul"]
ISAS = sorted({str(r["isa"]) for r in ROWS} & set(_core.supported_isas()))


@pytest.mark.parametrize("isa", ISAS)
def test_cases(isa: str) -> None:
    run_cases("weight_matmul_cases.py", isa)
