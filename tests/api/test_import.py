"""Importing the package is quick and brings in nothing but numpy."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest


def imported_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sorted(sys.modules))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    return {name.split(".")[0] for name in output.stdout.decode().split()}


def test_imports_only_numpy() -> None:
    extra = imported_by("import tiercel") - imported_by("import numpy")
    foreign = {name for name in extra if importlib.util.find_spec(name) is not None}
    outside = {
        name
        for name in foreign
        if name != "tiercel" and name not in sys.stdlib_module_names and not name.startswith("_")
    }
    assert not outside
    assert "numba" not in extra and "onnx" not in extra


def seconds(module: str) -> float:
    """Processor time of a fresh process that imports the module: a busy machine changes it less
    than time on the clock.
    """
    before = os.times()
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
    after = os.times()
    used = after.children_user + after.children_system
    return used - before.children_user - before.children_system


def test_import_is_no_slower_than_onnxruntime() -> None:
    pytest.importorskip("onnxruntime")
    ours, theirs = [], []
    for _ in range(7):
        ours.append(seconds("tiercel"))
        theirs.append(seconds("onnxruntime"))
    assert min(ours) <= min(theirs) * 1.05
