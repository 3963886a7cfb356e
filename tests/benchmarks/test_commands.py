"""The benchmarks as commands, on models that take no time."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import tiercel

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def command(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs a script of benchmarks/ with the package that the tests use."""
    package = str(Path(tiercel.__file__).parents[1])
    paths = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / name), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": paths},
    )


def test_models(tmp_path: Path, small_model: Callable[..., Path]) -> None:
    out = tmp_path / "out.json"
    quick = ("--seconds", 0.05, "--rounds", 2, "--json", out)
    engines = "tiercel,onnxruntime,nothing"
    done = command("models.py", small_model(), "--batch", "1,3", "--engines", engines, *quick)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert [r["batch"] for r in found["results"]] == [1, 3]
    assert found["machine"]["engines"]["tiercel"] == tiercel.__version__
    rows = found["results"][1]["engines"]
    assert "unknown engine" in rows["nothing"]["error"]
    own = rows["tiercel"]
    assert 0 < own["min_ms"] <= own["run_ms"] <= own["quartiles_ms"][1]
    assert len(own["rounds_ms"]) == 2 and own["load_ms"] > 0
    assert own["peak_mib"] >= own["before_mib"] > 0
    if importlib.util.find_spec("onnxruntime"):
        assert own["relative_error"] < 1e-5 and own["ratio"] > 0
    assert command("compare.py", out, out, "--absolute").returncode == 0


def test_a_model_that_does_not_run_is_a_row(tmp_path: Path) -> None:
    broken, out = tmp_path / "broken.json", tmp_path / "out.json"
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    entry = {"id": "broken", "path": "broken.onnx", "inputs": []}
    broken.write_text(json.dumps([entry]))
    done = command("models.py", "--catalogue", broken, "--engines", "tiercel", "--json", out)
    assert done.returncode == 1
    (row,) = json.loads(out.read_text())["results"]
    assert row["engines"]["tiercel"]["error"]
    assert "tiercel does not run broken" in done.stdout


def test_models_without_a_model() -> None:
    done = command("models.py")
    assert done.returncode == 2 and "give model files" in done.stderr


def test_roofline(tmp_path: Path, small_model: Callable[..., Path]) -> None:
    pytest.importorskip("llvmlite")
    arguments: list[object] = [small_model(), "--seconds", 0.05, "--json", tmp_path / "out.json"]
    plots = importlib.util.find_spec("plotly") is not None
    if plots:
        arguments += ["--html", tmp_path / "page.html"]
    done = command("roofline.py", *arguments, "--dim", "batch=16")
    assert done.returncode == 0, done.stderr
    assert "the roofs allow" in done.stdout
    found = json.loads((tmp_path / "out.json").read_text())
    steps = {step["op"]: step for step in found["models"][0]["steps"]}
    assert steps["MatMul"]["operations"] == 2 * 16 * 8 * 4
    assert steps["MatMul"]["least_seconds"] > 0 and steps["MatMul"]["calls"] == 1
    assert found["peaks"]["operations"]["float"] > 1e8
    if plots:
        page = (tmp_path / "page.html").read_text()
        assert "Steps below the machine" in page and "product" in page
        assert 'src="http' not in page


def test_kernels(tmp_path: Path) -> None:
    pytest.importorskip("llvmlite")
    out = tmp_path / "out.json"
    done = command("kernels.py", "--only", "MatMul 4×", "--rounds", 1, "--json", out)
    assert done.returncode == 0, done.stderr
    (case,) = json.loads(out.read_text())["results"]
    own = case["engines"]["tiercel"]
    assert own["gflops"] > 0 and 0 < own["of_peak"] < 2 and "MatMul" in own["kernel"]


def test_twenty_shapes() -> None:
    from kernel_cases import CASES

    assert len(CASES) == 20 and len({case.name for case in CASES}) == 20
    assert [case.op for case in CASES] == ["MatMul"] * 10 + ["Conv"] * 10
    strided = next(case for case in CASES if "stride 2" in case.name)
    assert strided.output() == (1, 64, 112, 112)
