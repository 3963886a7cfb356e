"""The benchmarks of GPUs as commands, on the software device, which says nothing of their speed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from test_commands import command

sys.path.append(str(Path(__file__).parents[1] / "softcuda"))
import softcuda  # noqa: E402


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> str:
    """The software device, for the commands."""
    monkeypatch.setenv("TIERCEL_CUDA_DRIVER", str(softcuda.build_driver()))
    monkeypatch.setenv("TIERCEL_CUDA_CACHE", "")
    monkeypatch.setenv("TIERCEL_SOFTCUDA_CHECKED", "0")
    return os.environ["TIERCEL_CUDA_DRIVER"]


@pytest.mark.usefixtures("driver")
def test_operators(tmp_path: Path) -> None:
    out, document = tmp_path / "out.json", tmp_path / "page.md"
    document.write_text("<!-- gpu_operators -->\n<!-- end of gpu_operators -->\n")
    given = ("--small", "--seconds", 0.01, "--json", out, "--write", document)
    done = command("gpu_operators.py", "--only", "Relu f", *given)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert [row["name"] for row in found] == ["Relu f32", "Relu f16"]
    assert all(row["ms"] > 0 and row["bytes"] > 0 for row in found)
    assert document.read_text().count("| Relu f") == 2


def test_models(tmp_path: Path, small_model: Callable[..., Path], driver: str) -> None:
    catalogue, out = tmp_path / "models.json", tmp_path / "out.json"
    inputs = [{"name": "x", "shape": [2, 8], "dtype": "float32"}]
    path = small_model()
    catalogue.write_text(json.dumps([{"id": "small", "path": str(path), "inputs": inputs}]))
    given = ("--driver", driver, "--catalogue", catalogue, "--json", out)
    done = command("gpu_models.py", *given, "--times")
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = json.loads(out.read_text()).values()
    assert found["error"] < 1e-5 and found["gpu"] > 0
    assert all(found[name] > 0 for name in ("gpu_ms", "graph_ms", "cpu_ms"))
    assert "| small |" in done.stdout.split("CUDA graph ms")[1]
