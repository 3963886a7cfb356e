"""The pipeline as a whole: passes are verified, timed, and can be left out by name."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import tiercel as ort
from tiercel import _core

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


def gelu() -> bytes:
    """Constants to fold, a double to remove, dead code, and a chain that becomes one node."""
    two = helper.make_node("Constant", [], ["two"], value_floats=[2.0])
    nodes = [
        two,
        helper.make_node("Sqrt", ["two"], ["root"]),
        helper.make_node("Identity", ["x"], ["same"]),
        helper.make_node("Div", ["same", "root"], ["scaled"]),
        helper.make_node("Div", ["x", "root"], ["again"]),
        helper.make_node("Erf", ["scaled"], ["erf"]),
        helper.make_node("Constant", [], ["one"], value_floats=[1.0]),
        helper.make_node("Add", ["erf", "one"], ["sum"]),
        helper.make_node("Mul", ["x", "sum"], ["half"]),
        helper.make_node("Div", ["half", "two"], ["y"]),
        helper.make_node("Exp", ["again"], ["dead"]),
    ]
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 8]) for n in ("x", "y")]
    graph = helper.make_graph(nodes, "graph", ports[:1], ports[1:])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return made.SerializeToString()


def session(disabled: list[str], data: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.verify_passes = True
    options.disabled_passes = disabled
    return ort.InferenceSession(data, options)


def test_every_pass_can_be_left_out() -> None:
    x = np.linspace(-3, 3, 16, dtype=np.float32).reshape(2, 8)
    expected = session([], gelu()).run(None, {"x": x})[0]
    names = _core.pass_names()
    assert len(names) == len(set(names)) >= 20
    for name in names:
        made = session([name], gelu())
        np.testing.assert_allclose(made.run(None, {"x": x})[0], expected, rtol=1e-6, atol=1e-6)
        assert not re.search(rf"^  {name} ", made.explain(), re.MULTILINE), name


def test_an_unknown_pass_is_an_error() -> None:
    with pytest.raises(
        ort.InvalidArgument, match="no pass 'fuse-everything', expected one of.*dce"
    ):
        session(["fuse-everything"], gelu())


def test_names_by_onnxruntimes_ways() -> None:
    data = gelu()
    by_keyword = ort.InferenceSession(data, disabled_optimizers=["fold", "ConstantFolding"])
    options = ort.SessionOptions()
    options.add_session_config_entry("optimization.disable_specified_optimizers", "fold;cse")
    by_entry = ort.InferenceSession(data, options)
    assert not re.search(r"^  fold ", by_keyword.explain(), re.MULTILINE)
    assert not re.search(r"^  (fold|cse) ", by_entry.explain(), re.MULTILINE)


def test_passes_are_timed() -> None:
    lines = session([], gelu()).explain().split("passes\n")[1].split("\n\n")[0].splitlines()
    timed = [re.fullmatch(r"  ([\w-]+) +(changed)? +(\d+) us, \d+ to \d+ nodes", s) for s in lines]
    assert all(timed) and len(timed) >= 15


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(LIGHT.glob("*.onnx")), ids=lambda path: path.stem)
def test_graphs_of_real_models_are_right_after_every_pass(path: Path) -> None:
    options = ort.SessionOptions()
    options.verify_passes = True
    ort.InferenceSession(path, options)
