"""The profiler: a Chrome trace with one event per step and run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

import tiercel as ort


def test_trace(tmp_path: Path) -> None:
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in ("x", "y")
    ]
    nodes = [helper.make_node("Softmax", ["x"], ["y"], name="soft", axis=-1)]
    proto = helper.make_model(
        helper.make_graph(nodes, "graph", ports[:1], ports[1:]),
        opset_imports=[helper.make_opsetid("", 21)],
        ir_version=10,
    )
    options = ort.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "trace")
    session = ort.InferenceSession(proto.SerializeToString(), options)
    for _ in range(3):
        session.run(None, {"x": np.ones((2, 4), np.float32)})
    events = json.loads(Path(session.end_profiling()).read_text())
    names = [event["name"] for event in events]
    assert names.count("model_run") == 3
    assert names.count("session_initialization") == 1
    steps = [event for event in events if event["name"] == "soft_kernel_time"]
    assert len(steps) == 3
    for step in steps:
        assert step["ph"] == "X" and step["dur"] >= 0 and step["cat"] == "Node"
        assert step["args"]["op_name"] == "Softmax"
        assert step["args"]["provider"] == "CPUExecutionProvider"
        assert step["args"]["attributes"] == {"axis": -1}
        assert step["args"]["input_type_shape"] == [{"float": [2, 4]}]
        assert step["args"]["output_type_shape"] == [{"float": [2, 4]}]
