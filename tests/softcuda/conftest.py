"""A software device for each test: fresh switches, no failure left over, no memory lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

import softcuda
from softcuda import Device, Module

KERNELS = Path(__file__).parent / "kernels"


@cache
def missing() -> str:
    """What the software device needs and this machine lacks; empty when it has all."""
    if softcuda.toolkit() is None:
        return "NVRTC's wheels are not installed (extra 'test')"
    return "" if shutil.which("g++") or shutil.which("c++") else "no C++ compiler"


@cache
def the_device() -> Device:
    """One device for the process."""
    return Device()


@pytest.fixture
def device() -> Iterator[Device]:
    """The software device as a new process would find it."""
    if missing():
        pytest.fail(missing())
    found = the_device()
    found.reset()
    yield found
    found.reset()


@cache
def ptx_of(name: str) -> str:
    """PTX of a file below ``kernels``."""
    text = (KERNELS / name).read_text()
    return softcuda.compile_cuda(text, name, includes=[KERNELS])


@cache
def loaded(name: str, checked: bool) -> Module:
    """A file below ``kernels`` as a module, with or without checks."""
    found = the_device()
    found.set("checked", int(checked))
    module = found.load(ptx_of(name))
    found.set("checked", 1)
    return module


@pytest.fixture
def kernels(device: Device) -> Callable[..., Module]:
    """``kernels("rows.cu")`` or ``kernels("rows.cu", checked=False)``."""

    def load(name: str, checked: bool = True) -> Module:
        return loaded(name, checked)

    return load
