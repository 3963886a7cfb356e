"""Convolutions by Winograd's algorithm on every instruction set, and the entry for them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import conv_winograd_cases as cases
import tiercel
from tiercel import _core

ROWS = [r for r in _core.kernel_table() if (r["op"], r["variant"]) == ("ConvBlocked", "winograd")]
ISAS = [r["isa"] for r in ROWS if r["isa"] in _core.supported_isas()]


@pytest.mark.parametrize("isa", ISAS)
def test_cases(isa: str) -> None:
    """In a process that is held to `isa`."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"),
            str(Path(__file__).with_name("conv_winograd_cases.py")),
        ],
        env={**os.environ, "TIERCEL_ISA": isa},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-4000:]


def test_the_entry_forbids_it() -> None:
    x, weight, bias, pads = cases.draw("square")
    model = cases.make(x.shape, weight, bias, pads=pads)
    assert cases.kernel(cases.session(model, "0")) != "winograd"
    assert cases.kernel(cases.session(model, "4")) == "winograd"


@pytest.mark.parametrize("value", ["3", "", "yes", "-1", "22"])
def test_other_values_of_the_entry_are_errors(value: str) -> None:
    x, weight, _, _ = cases.draw("square")
    expected = f'session.winograd" is "{value}"; expected "0", "1", "2" or "4"'
    with pytest.raises(tiercel.InvalidArgument, match=expected):
        cases.session(cases.make(np.shape(x), weight), value)
