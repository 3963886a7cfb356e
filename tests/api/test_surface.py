"""The public surface is the one on record: a change of it is a decision, not an accident."""

from __future__ import annotations

import importlib.util
import inspect

import pytest

import onnx_models as models
import surface
import tiercel


def test_surface_is_as_recorded() -> None:
    assert surface.surface() == surface.GOLDEN.read_text(), "python tests/api/surface.py"


def test_everything_has_a_docstring() -> None:
    missing = []
    for name in tiercel.__all__:
        value = getattr(tiercel, name)
        if not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        if not value.__doc__:
            missing.append(name)
        if inspect.isclass(value):
            missing += [
                f"{name}.{attribute}"
                for attribute, member in vars(value).items()
                if inspect.isfunction(member) and attribute[0] != "_" and not member.__doc__
            ]
    assert not missing


@pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime") is None, reason="ONNX Runtime is not installed"
)
@pytest.mark.parametrize(
    "name",
    "InferenceSession IOBinding ModelCompiler ModelMetadata NodeArg OrtArenaCfg OrtDevice "
    "OrtMemoryInfo OrtValue RunOptions SessionIOBinding SessionOptions SparseTensor".split(),
)
def test_methods_of_onnxruntime_are_there(name: str) -> None:
    import onnxruntime

    theirs = {m for m in dir(getattr(onnxruntime, name)) if m[0] != "_"}
    ours = set(dir(getattr(tiercel, name)))
    session = tiercel.InferenceSession(models.relu())
    with_fields = {
        "ModelMetadata": session.get_modelmeta(),
        "OrtArenaCfg": tiercel.OrtArenaCfg(),
        "OrtMemoryInfo": session.get_input_memory_infos()[0],
        "RunOptions": tiercel.RunOptions(),
        "SessionOptions": tiercel.SessionOptions(),
    }
    if name in with_fields:
        ours |= set(vars(with_fields[name]))
    assert not theirs - ours


@pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime") is None, reason="ONNX Runtime is not installed"
)
def test_names_of_onnxruntime_are_there() -> None:
    import onnxruntime

    modules = {"capi", "contextlib", "onnxruntime_validation"}
    facts = {"cuda_version", "import_capi_exception", "package_name", "version"}
    theirs = {name for name in dir(onnxruntime) if name[0] != "_"} - modules - facts
    assert not theirs - set(dir(tiercel))
