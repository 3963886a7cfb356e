"""Convolutions by Winograd's algorithm on every instruction set, and the entry for them."""

from __future__ import annotations

import numpy as np
import pytest

import conv_winograd_cases as cases
import tiercel
from held import run_cases
from tiercel import _core

ROWS = [r for r in _core.kernel_table() if (r["op"], r["variant"]) == ("ConvBlocked", "winograd")]
ISAS = [r["isa"] for r in ROWS if r["isa"] in _core.supported_isas()]


@pytest.mark.parametrize("isa", ISAS)
def test_cases(isa: str) -> None:
    run_cases("conv_winograd_cases.py", isa)


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
