"""The command line: every command on a small model, and its errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import onnx_models as models
from tiercel.cli import main


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "model.onnx"
    path.write_bytes(models.add().SerializeToString())
    return str(path)


def test_inspect(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", model]) == 0
    text = capsys.readouterr().out
    assert "tensor(float)" in text and "[n, 3]" in text and "opset ai.onnx 21" in text


def test_run(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.save(tmp_path / "x.npy", x)
    arguments = ["run", model, "--input", f"x={tmp_path / 'x.npy'}", "--dim", "n=2"]
    assert main([*arguments, "--output-dir", str(tmp_path / "out")]) == 0
    assert np.load(tmp_path / "out" / "z.npy").shape == (2, 3)
    assert "float32[2, 3]" in capsys.readouterr().out


def test_explain(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", model]) == 0
    assert "CPUExecutionProvider" in capsys.readouterr().out


def test_bench(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", model, "--threads", "1,2", "--seconds", "0.05"]) == 0
    text = capsys.readouterr().out
    assert text.count("tiercel") >= 2 and "median ms" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inspect", "missing.onnx"], "missing.onnx"),
        (["run", "MODEL", "--input", "q=a.npy"], "no input 'q'"),
        (["run", "MODEL", "--input", "junk"], "expected NAME=VALUE"),
        (["bench", "MODEL", "--against", "other"], "unknown engine"),
    ],
)
def test_errors(
    model: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([model if a == "MODEL" else a for a in arguments]) == 1
    assert message in capsys.readouterr().err
