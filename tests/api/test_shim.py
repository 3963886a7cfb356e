"""`import onnxruntime` gives tiercel: after install(), and under as_onnxruntime."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import onnx_models as models

SCRIPT = """
import importlib.metadata
import sys
import numpy as np
import onnxruntime as ort
import onnxruntime.capi._pybind_state as C
from onnxruntime import InferenceSession, SessionOptions
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument
import tiercel
assert InferenceSession is tiercel.InferenceSession
assert C.InvalidArgument is InvalidArgument is tiercel.InvalidArgument
assert int(ort.__version__.split(".")[0]) == 1
assert importlib.metadata.version("onnxruntime") == ort.__version__
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    assert ort.InferenceSession(sys.argv[1], providers=both).get_providers() == both[1:]
assert "'CUDAExecutionProvider' is not in available" in str(caught[0].message)
try:
    ort.InferenceSession(sys.argv[1], providers=both[:1])
except ort.EPFail:
    pass
else:
    raise AssertionError("nothing that was asked for is there")
session = ort.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
print(session.run(None, {"x": np.array([-1, 2, -3, 4], np.float32)})[0].tolist())
"""


@pytest.fixture
def paths(tmp_path: Path) -> tuple[str, str]:
    script, model = tmp_path / "script.py", tmp_path / "model.onnx"
    script.write_text(SCRIPT)
    model.write_bytes(models.relu().SerializeToString())
    return str(script), str(model)


def test_script(paths: tuple[str, str]) -> None:
    command = [sys.executable, "-m", "tiercel.as_onnxruntime", *paths]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[0.0, 2.0, 0.0, 4.0]\n"


def test_install(paths: tuple[str, str]) -> None:
    code = "import tiercel.as_onnxruntime as shim; shim.install();" + SCRIPT
    done = subprocess.run([sys.executable, "-c", code, paths[1]], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_usage() -> None:
    command = [sys.executable, "-m", "tiercel.as_onnxruntime"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "usage" in done.stdout
