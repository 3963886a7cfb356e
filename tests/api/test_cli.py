"""The command line: every command on a small model, and its errors."""

from __future__ import annotations

import sys
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


def test_inspect_with_a_memory_plan(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", model]) == 0
    assert "--dim NAME=SIZE" in capsys.readouterr().out
    assert main(["inspect", model, "--dim", "n=4"]) == 0
    text = capsys.readouterr().out
    assert "[4, 3]" in text and "--dim" not in text


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


def test_compile(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.onnx"
    assert main(["compile", model, "-o", str(out), "--dim", "n=4"]) == 0
    assert "loads in" in capsys.readouterr().out
    assert main(["inspect", str(out)]) == 0
    assert "[4, 3]" in capsys.readouterr().out
    assert main(["compile", model, "-o", model]) == 1
    assert "is the model itself" in capsys.readouterr().err


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
        (["run", "MODEL", "--input", "x=missing.npy"], "--input x: there is no file 'missing.npy'"),
        (["run", "MODEL", "--input", f"x={__file__}"], "is no array that numpy.save wrote"),
        (["run", "MODEL", "--dim", "n=many"], "--dim n: expected a number >= 1, got 'many'"),
        (["run", __file__], "test_cli.py"),
        (["inspect", "MODEL", "--dim", "n"], "expected NAME=VALUE"),
        (["explain", "missing.onnx"], "missing.onnx"),
        (["bench", "MODEL", "--against", "other"], "unknown engine"),
        (["bench", "MODEL", "--threads", "one"], "--threads: expected a number >= 1"),
        (["bench", "MODEL", "--seconds", "0"], "--seconds"),
        (["bench", "missing.onnx"], "missing.onnx"),
    ],
)
def test_errors(
    model: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([model if a == "MODEL" else a for a in arguments]) == 1
    assert message in capsys.readouterr().err


def test_an_input_of_the_wrong_shape_is_an_error(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "x.npy", np.zeros((2, 5), np.float32))
    assert main(["run", model, "--input", f"x={tmp_path / 'x.npy'}", "--dim", "n=2"]) == 1
    assert "index: 1 Got: 5 Expected: 3" in capsys.readouterr().err


def test_tables_without_rich(
    model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "rich"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert main(["bench", model, "--seconds", "0.02"]) == 0
    printed = capsys.readouterr()
    assert "median ms" in printed.out and "timing 1/1" in printed.err


def test_bench_against_onnxruntime(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    arguments = ["bench", model, "--against", "onnxruntime", "--threads", "1", "--seconds", "0.05"]
    assert main([*arguments, "--dim", "n=3"]) == 0
    text = capsys.readouterr().out
    assert "onnxruntime" in text and "not installed" not in text
