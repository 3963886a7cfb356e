"""The public surface is the one on record: a change of it is a decision, not an accident."""

from __future__ import annotations

import importlib.util
import inspect

import pytest

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
@pytest.mark.parametrize("name", ["InferenceSession", "OrtValue", "IOBinding", "RunOptions"])
def test_methods_of_onnxruntime_are_there(name: str) -> None:
    import onnxruntime

    later = {
        "set_ep_dynamic_options",
        "get_tuning_results",
        "set_tuning_results",
        "create_ortvalue_from_shape_and_type",
        "release_captured_graph",
        "get_input_epdevices",
        "get_provider_graph_assignment_info",
        "add_active_adapter",
        "run_async",
    }
    theirs = {m for m in dir(getattr(onnxruntime, name)) if m[0] != "_"} - later
    ours = set(dir(getattr(tiercel, name)))
    if name == "RunOptions":
        ours |= set(vars(tiercel.RunOptions()))
    assert not {m for m in theirs - ours if "sync_stream" not in m}
