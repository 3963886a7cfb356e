"""Convolutions and poolings along one to three axes on every instruction set."""

from __future__ import annotations

import pytest

from held import run_cases
from tiercel import _core

ROWS = [r for r in _core.kernel_table() if (r["op"], r["variant"]) == ("Conv", "gemm")]
ISAS = [r["isa"] for r in ROWS if r["isa"] in _core.supported_isas()]


@pytest.mark.parametrize("isa", ISAS)
def test_cases(isa: str) -> None:
    run_cases("conv_axes_cases.py", isa)
