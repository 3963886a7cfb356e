"""By the model of the GPU, kernels that move data use most of its memory's rate."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "softcuda"))

import gpu_model
import gpu_model_cases
import ptx_counts
from gpu_model_cases import Case

LEAST = 0.7  # of the memory's rate

ADD = """.version 7.5
.target sm_80
.address_size 64
.visible .entry add(.param .u64 x, .param .u64 y)
{
.reg .pred %p;
.reg .b32 %t, %f<4>;
.reg .b64 %a, %b, %o;
mov.u32 %t, %tid.x;
setp.ge.u32 %p, %t, 40;
@%p ret;
ld.param.u64 %a, [x];
ld.param.u64 %b, [y];
mul.wide.u32 %o, %t, 16;
add.u64 %a, %a, %o;
add.u64 %b, %b, %o;
ld.global.v4.b32 {%f0, %f1, %f2, %f3}, [%a];
st.global.v2.b32 [%b], {%f2, %f3};
ret;
}
"""


def test_what_threads_execute_is_counted() -> None:
    x, y = np.zeros(256, np.float32), np.zeros(256, np.float32)
    counts = ptx_counts.Launcher().run(ADD, "add", 1, (64,), [x, y])
    assert counts.of["instructions"] == 40 * 11 + 24 * 3
    assert (counts.of["loads"], counts.of["load_bytes"]) == (40, 640)
    assert (counts.of["stores"], counts.of["store_bytes"]) == (40, 320)
    assert counts.each("loads") == 40 / 64


def test_occupancy() -> None:
    assert gpu_model.H100.resident(32, 0, 256) == 2048
    assert gpu_model.H100.resident(33, 0, 256) == 1536  # in steps of 8 registers
    assert gpu_model.H100.resident(255, 0, 256) == 256
    assert gpu_model.RTX_4090.resident(32, 48 * 1024, 256) == 512
    assert gpu_model.RTX_4090.resident(16, 0, 32) == 24 * 32


@pytest.fixture(scope="module")
def launcher() -> ptx_counts.Launcher:
    return ptx_counts.Launcher()


@pytest.mark.parametrize(
    "family", [gpu_model_cases.pointwise, gpu_model_cases.softmax, gpu_model_cases.norms]
)
def test_memory_is_the_limit(
    launcher: ptx_counts.Launcher, family: Callable[[], Iterator[Case]]
) -> None:
    short = {}
    for case in family():
        for one in gpu_model.run(case, launcher)[1]:
            if one.share < LEAST:
                short[f"{case.name}, {one.gpu}"] = one
    assert not short
