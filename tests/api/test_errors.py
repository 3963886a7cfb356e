"""Errors: classes and texts that programs match on, and what a user is told."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

import onnx_models as models
import tiercel as ort

X = np.zeros((2, 3), np.float32)


@pytest.fixture(scope="module")
def session() -> ort.InferenceSession:
    return ort.InferenceSession(models.add().SerializeToString())


def test_missing_input(session: ort.InferenceSession) -> None:
    with pytest.raises(ValueError, match=r"Required inputs \(\['y'\]\) are missing"):
        session.run(None, {"x": X})


def test_unknown_input(session: ort.InferenceSession) -> None:
    with pytest.raises(ort.InvalidArgument, match="Invalid input name: w"):
        session.run(None, {"x": X, "y": X, "w": X})


def test_unknown_output(session: ort.InferenceSession) -> None:
    with pytest.raises(ort.InvalidArgument, match="Invalid output name:q"):
        session.run(["q"], {"x": X, "y": X})


@pytest.mark.parametrize(
    "bad", [X.astype(np.float64), np.zeros((2, 4), np.float32), np.zeros(3, np.float32)]
)
def test_wrong_tensor(session: ort.InferenceSession, bad: np.ndarray) -> None:
    with pytest.raises(ort.InvalidArgument, match="x"):
        session.run(None, {"x": bad, "y": X})


def test_text_form(session: ort.InferenceSession) -> None:
    with pytest.raises(ort.InvalidArgument) as caught:
        session.run(["q"], {"x": X, "y": X})
    assert str(caught.value).startswith("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : ")


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(ort.NoSuchFile, match="missing.onnx"):
        ort.InferenceSession(tmp_path / "missing.onnx")


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", b"not a model at all"])
def test_not_a_model(data: bytes) -> None:
    with pytest.raises(ort.Error):
        ort.InferenceSession(data)


def test_unknown_operator() -> None:
    node = helper.make_node("Frobnicate", ["x"], ["y"], name="odd")
    proto = models.model([node], [models.tensor("x", [2])], [models.tensor("y", [2])])
    with pytest.raises(ort.Error, match="Frobnicate"):
        ort.InferenceSession(proto.SerializeToString())


def test_unknown_operators_are_listed_together() -> None:
    nodes = [
        helper.make_node("Foo", ["x"], ["a"], name="first", domain="my.domain"),
        helper.make_node("Relu", ["x"], ["b"]),
        helper.make_node("Bar", ["b", "b"], ["c"], name="second"),
    ]
    made = models.model(nodes, [models.tensor("x", [2])], [models.tensor(n, None) for n in "abc"])
    made.opset_import.append(helper.make_opsetid("my.domain", 3))
    with pytest.raises(ort.NotImplemented) as raised:
        ort.InferenceSession(made.SerializeToString())
    first, second = str(raised.value).splitlines()
    for part in ('"first"', "Foo", '"my.domain"', "version 3", "tensor(float)"):
        assert part in first
    for part in ('"second"', "Bar", '"ai.onnx"', "version 21", "tensor(float), tensor(float)"):
        assert part in second


def test_unavailable_provider_alone() -> None:
    with pytest.raises(ort.EPFail, match="CUDAExecutionProvider"):
        ort.InferenceSession(models.relu(), providers=["CUDAExecutionProvider"])


def test_unavailable_provider_among_others() -> None:
    with pytest.raises(ort.EPFail, match="'NoSuchProvider'.*CPUExecutionProvider"):
        ort.InferenceSession(models.relu(), providers=["NoSuchProvider", "CPUExecutionProvider"])


def test_provider_options() -> None:
    session = ort.InferenceSession(models.relu(), providers=[("CPUExecutionProvider", {"a": 1})])
    assert session.get_providers() == ["CPUExecutionProvider"]
    assert session.get_provider_options() == {"CPUExecutionProvider": {"a": "1"}}
    session = ort.InferenceSession(
        models.relu(), providers=["CPUExecutionProvider"], provider_options=[{"b": 2}]
    )
    assert session.get_provider_options() == {"CPUExecutionProvider": {"b": "2"}}


@pytest.mark.parametrize(
    ("providers", "options"),
    [("CPUExecutionProvider", None), ([1], None), (["CPUExecutionProvider"], [{}, {}])],
)
def test_malformed_providers(providers: object, options: object) -> None:
    with pytest.raises(ValueError, match="provider"):
        ort.InferenceSession(models.relu(), None, providers, options)  # type: ignore[arg-type]


def test_cpu_fallback_can_be_forbidden() -> None:
    options = ort.SessionOptions()
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    with pytest.raises(ort.Fail, match="fallback to CPU EP has been explicitly disabled"):
        ort.InferenceSession(models.relu(), options)
    with pytest.raises(ort.InvalidArgument, match="Conflicting session configuration"):
        ort.InferenceSession(models.relu(), options, providers=["CPUExecutionProvider"])


def test_ort_format() -> None:
    with pytest.raises(ort.NotImplemented, match=r"\.ort"):
        ort.InferenceSession("model.ort")
    options = ort.SessionOptions()
    options.add_session_config_entry("session.load_model_format", "ORT")
    with pytest.raises(ort.NotImplemented, match="ONNX"):
        ort.InferenceSession(models.relu(), options)


def test_cancelled_load() -> None:
    options = ort.SessionOptions()
    options.set_load_cancellation_flag(True)
    with pytest.raises(ort.ModelLoadCanceled):
        ort.InferenceSession(models.relu(), options)


@pytest.mark.parametrize(
    "name",
    "AdapterFormat LoraAdapter ModelPackage ModelPackageContext ModelPackageOptions "
    "ModelPackageComponentContext OrtEpContextData OrtEpContextDataBuffer OrtSyncStream".split(),
)
def test_what_is_not_available_says_why(name: str) -> None:
    with pytest.raises(ort.NotImplemented, match=f"{name}: .{{20,}}"):
        getattr(ort, name)()


def test_duplicate_provider() -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        ort.InferenceSession(models.relu(), providers=["CPUExecutionProvider"] * 2)


def test_class_names() -> None:
    state = importlib.import_module("tiercel.capi.onnxruntime_pybind11_state")
    for name in (
        "Fail InvalidArgument NoSuchFile NoModel EngineError RuntimeException InvalidProtobuf "
        "ModelLoaded NotImplemented InvalidGraph EPFail ModelLoadCanceled "
        "ModelRequiresCompilation NotFound DeviceReset"
    ).split():
        assert getattr(state, name) is getattr(ort, name)
        assert issubclass(getattr(ort, name), Exception)


def test_bad_arguments(session: ort.InferenceSession) -> None:
    with pytest.raises(TypeError, match="run_options"):
        session.run(None, {"x": X, "y": X}, object())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="timeout"):
        session.run(None, {"x": X, "y": X}, timeout=-1)
    with pytest.raises(TypeError, match="unexpected keyword"):
        ort.InferenceSession(models.relu(), frobnicate=1)
    with pytest.raises(ort.InvalidArgument, match="dtype"):
        session.run(None, {"x": np.array(["2020-01-01"], "M8[D]"), "y": X})
