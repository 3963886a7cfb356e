"""compare.py: a regression is an exit status, and only what both results hold is compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import compare
import pytest


def result(path: Path, **times: tuple[float | str, float]) -> str:
    """A result with tiercel's and ONNX Runtime's ms by model."""
    rows = []
    for model, pair in times.items():
        engines: dict[str, Any] = {}
        for name, ms in zip(("tiercel", "onnxruntime"), pair, strict=True):
            engines[name] = {"error": ms} if isinstance(ms, str) else {"run_ms": ms, "load_ms": 1.0}
        rows.append({"model": model, "batch": 0, "threads": 1, "engines": engines})
    path.write_text(json.dumps({"format": 1, "results": rows}))
    return str(path)


@pytest.fixture
def old(tmp_path: Path) -> str:
    return result(tmp_path / "old.json", a=(1.0, 2.0), b=(3.0, 3.0))


@pytest.mark.parametrize(
    ("a", "arguments", "status"),
    [
        ((1.04, 2.0), [], 0),
        ((1.06, 2.0), [], 1),
        ((2.0, 4.0), [], 0),  # the whole machine is slower
        ((2.0, 4.0), ["--absolute"], 1),
        ((1.06, 2.0), ["--limit", "10"], 0),
        ((1.06, 2.0), ["--what", "load_ms"], 0),
        (("cannot run", 2.0), [], 1),
    ],
)
def test_status(
    tmp_path: Path, old: str, a: tuple[float | str, float], arguments: list[str], status: int
) -> None:
    new = result(tmp_path / "new.json", a=a, b=(3.0, 3.0))
    assert compare.main([old, new, *arguments]) == status


def test_rounds_are_compared_in_pairs(tmp_path: Path) -> None:
    engines = {
        "tiercel": {"run_ms": 1.5, "rounds_ms": [1.0, 2.0, 4.0]},
        "onnxruntime": {"run_ms": 3.0, "rounds_ms": [2.0, 4.0, 8.0]},
    }
    assert compare.taken(engines, "tiercel", "onnxruntime", "run_ms") == 0.5
    assert compare.taken(engines, "tiercel", "", "run_ms") == 1.5


def test_cases_of_one_result_only(
    tmp_path: Path, old: str, capsys: pytest.CaptureFixture[str]
) -> None:
    new = result(tmp_path / "new.json", b=(3.0, 3.0), c=(9.0, 1.0))
    assert compare.main([old, new]) == 0
    text = capsys.readouterr().out
    assert "a, 1 threads: only in the old result" in text
    assert "c, 1 threads: only in the new result" in text


def test_nothing_in_both(tmp_path: Path, old: str) -> None:
    assert compare.main([old, result(tmp_path / "new.json", c=(9.0, 1.0))]) == 2


def test_other_files(tmp_path: Path, old: str, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.json"
    other.write_text("[]")
    assert compare.main([old, str(other)]) == 2
    assert "no result of models.py" in capsys.readouterr().err
    assert compare.main([old, str(tmp_path / "none.json")]) == 2
