"""The self-test for machines with a GPU, on the software device: cases, verdicts, report, times."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import softcuda
import tiercel
from gpu_cases import read_cases
from tiercel.cuda import device_info, selftest, selftest_times
from tiercel.cuda.selftest_cases import cases

CHOSEN = "MatMul f32 5x70"
# Operators of the backend cases on the GPU that the self-test leaves out, and why.
LEFT_OUT = {
    "they have no kernel of their own": "Constant Dropout Flatten Identity If Loop "
    "OptionalHasElement Reshape Scan Shape Size Squeeze Unsqueeze",
    "they came after the self-test's opset": "BitCast CausalConvWithState CumProd "
    "FlexAttention LinearAttention Swish SwiGLU TensorScatter",
    "they are deprecated": "Scatter Upsample",
    "they train, or are of other domains": "Adagrad Adam ArrayFeatureExtractor Binarizer Momentum "
    "NegativeLogLikelihoodLoss SoftmaxCrossEntropyLoss",
    "they make constants": "BlackmanWindow ConstantOfShape EyeLike HammingWindow HannWindow "
    "MelWeightMatrix Range",
    "random inputs do not suit them": "Acosh MaxUnpool RoiAlign",
}


def test_it_compares_and_reports(
    software_device: softcuda.Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TIERCEL_CUDA_DRIVER")
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "tiercel.cuda.selftest", "--no-times", "--only", CHOSEN]
    command += ["--driver", str(software_device.path), "--report", str(report)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert answer.stdout.startswith("tiercel software device, compute capability 8.0, CUDA ")
    read = json.loads(report.read_text())
    assert read["device"]["name"] == "tiercel software device"
    assert [case["outcome"] for case in read["cases"]] == ["same"]
    assert read["times"] == []


def test_a_difference_is_exit_status_1(
    cuda_driver: softcuda.Device,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wrong = selftest.Verdict("MatMul", "products", "differs", "largest difference 0.5")
    monkeypatch.setattr(selftest.Worker, "run", lambda *_: wrong)
    given = ["--no-times", "--only", CHOSEN, "--report", str(tmp_path / "report.json")]
    assert selftest.main(given) == 1
    assert "differs  MatMul: largest difference 0.5" in capsys.readouterr().out


def test_without_a_driver_it_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TIERCEL_CUDA_DRIVER", "/nonexistent")
    assert selftest.main([]) == 2
    assert "the NVIDIA driver is missing: /nonexistent" in capsys.readouterr().err
    with pytest.raises(tiercel.EPFail, match="/nonexistent"):
        device_info()


def test_outcomes(cuda_driver: softcuda.Device) -> None:
    case = next(case for case in cases() if case.op == "Relu")
    assert selftest.run_case(case, 0).outcome == "same"
    refused = selftest.run_case(selftest.Case("shapes", "Unique", "f32", ((9,),)), 0)
    assert refused.outcome == "refused"
    assert "its output's shape depends on data" in refused.detail
    with pytest.raises(tiercel.EPFail, match="device_id is 4"):
        selftest.run_case(case, 4)


def test_a_process_that_dies_is_a_failure() -> None:
    worker = selftest.Worker()
    with pytest.raises(Exception, match="terminated abruptly"):
        worker.call(os._exit, 3)
    worker.close()


def test_differences() -> None:
    one = np.array([1.0, 100.0], np.float32)
    assert selftest.difference(one, one) == ""
    assert selftest.difference(one + np.float32(1e-4), one) == ""
    assert "largest difference" in selftest.difference(one + np.float32(0.1), one)
    assert "expected" in selftest.difference(one.astype(np.float64), one)
    assert selftest.difference(np.array([3, 4]), np.array([3, 5])) == "1 of 2 values differ"
    lost = np.array([1.0, np.nan], np.float32)
    assert selftest.difference(lost, lost) == ""
    assert "infinities" in selftest.difference(one, np.array([1, np.inf], np.float32))
    assert "largest difference nan" in selftest.difference(lost, one)


@pytest.mark.parametrize("name", ["MatMul float32 1024", "Add float32"])
def test_times(cuda_driver: softcuda.Device, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    op, dtype, shape, constants, attributes = selftest_times._OPERATORS[name]
    small = (op, dtype, (16, 16), ((16, 16),), attributes)
    monkeypatch.setitem(selftest_times._OPERATORS, name, small)
    row = selftest_times.time_one(name, 0)
    assert row["run ms"] > 0
    assert "node ms" in row


def test_times_of_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Fake:
        """Everything of PyTorch's: it remembers what is asked of it."""

        def __getattr__(self, name: str) -> Fake:
            asked.append(name)
            return Fake()

        def __call__(self, *_: object, **__: object) -> Fake:
            return Fake()

        def __enter__(self) -> None: ...
        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setitem(sys.modules, "torch", Fake())
    functions = {
        "MatMul float32 1024": "matmul",
        "Conv float16 3x3": "conv2d",
        "Softmax float32": "softmax",
        "Transpose float32": "contiguous",
        "Add float32": "add",
    }
    for name, function in functions.items():
        asked.clear()
        assert selftest_times._torch(name, "cuda:0")["torch ms"] > 0
        assert {function, "synchronize", "inference_mode"} <= set(asked)


def test_models_and_names() -> None:
    names = [case.name for case in cases()]
    assert len(set(names)) == len(names)
    assert {case.family for case in cases()} >= {"pointwise", "products", "rows", "convolutions"}
    for case in cases()[::25]:
        assert tiercel.InferenceSession(case.model()).run(None, case.feeds())


def test_it_covers_what_runs_on_the_gpu() -> None:
    from onnx.backend.test.loader import load_model_tests

    listed = {case.removeprefix("node/") for case in read_cases()}
    models = [t.model for t in load_model_tests(kind="node") if t.name in listed]
    single = {m.graph.node[0].op_type for m in models if m and len(m.graph.node) == 1}
    assert len(single) > 100
    left_out = {op for ops in LEFT_OUT.values() for op in ops.split()}
    assert single - {case.op for case in cases()} - left_out == set()
    assert left_out <= single, "no longer among the cases"


def test_cupy_is_not_imported() -> None:
    code = "import sys; sys.modules['cupy'] = None; import tiercel.cuda, tiercel.cuda.selftest"
    subprocess.run([sys.executable, "-c", code], check=True)
