"""Makes the modules of benchmarks/ importable, and small models for them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))


@pytest.fixture
def small_model(tmp_path: Path) -> Callable[..., Path]:
    """Writes y = softmax(relu(x · w)), with x of [batch, 8]."""

    def write(name: str = "small.onnx", batch: int | str = "batch") -> Path:
        weights = np.random.default_rng(0).standard_normal((8, 4), np.float32)
        nodes = [
            helper.make_node("MatMul", ["x", "w"], ["h"], name="product"),
            helper.make_node("Relu", ["h"], ["r"], name="relu"),
            helper.make_node("Softmax", ["r"], ["y"], name="soft", axis=-1),
        ]
        ports = [
            helper.make_tensor_value_info(port, TensorProto.FLOAT, [batch, size])
            for port, size in (("x", 8), ("y", 4))
        ]
        initializers = [numpy_helper.from_array(weights, "w")]
        graph = helper.make_graph(nodes, "graph", ports[:1], ports[1:], initializers)
        opsets = [helper.make_opsetid("", 17)]
        path = tmp_path / name
        path.write_bytes(
            helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
        )
        return path

    return write
