"""Small ONNX models for the tests of the Python API."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT
INT64 = TensorProto.INT64


def tensor(
    name: str, shape: Sequence[int | str | None] | None, dtype: int = FLOAT
) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def model(
    nodes: Sequence[object],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    initializers: dict[str, np.ndarray] | None = None,
    opset: int = 21,
) -> ModelProto:
    tensors = [numpy_helper.from_array(value, name) for name, value in (initializers or {}).items()]
    graph = helper.make_graph(list(nodes), "graph", list(inputs), list(outputs), tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    made.ir_version = 10
    made.producer_name = "tests"
    entry = made.metadata_props.add()
    entry.key, entry.value = "answer", "42"
    return made


def add(shape: Sequence[int | str | None] = ("n", 3), dtype: int = FLOAT) -> ModelProto:
    """z = x + y."""
    node = helper.make_node("Add", ["x", "y"], ["z"], name="sum")
    ports = [tensor(name, shape, dtype) for name in "xyz"]
    return model([node], ports[:2], ports[2:])


def relu(shape: Sequence[int | str | None] = (4,), dtype: int = FLOAT) -> ModelProto:
    """y = max(x, 0)."""
    node = helper.make_node("Relu", ["x"], ["y"], name="relu")
    return model([node], [tensor("x", shape, dtype)], [tensor("y", shape, dtype)])


def identity(dtype: int, shape: Sequence[int | str | None] = ("n",)) -> ModelProto:
    """y = x."""
    node = helper.make_node("Identity", ["x"], ["y"])
    return model([node], [tensor("x", shape, dtype)], [tensor("y", shape, dtype)], opset=24)


def scale_shift() -> ModelProto:
    """y = x * a + b, with b an initializer that a feed may replace."""
    nodes = [
        helper.make_node("Mul", ["x", "a"], ["m"], name="mul"),
        helper.make_node("Add", ["m", "b"], ["y"], name="add"),
    ]
    weights = {"a": np.full(3, 2, np.float32), "b": np.ones(3, np.float32)}
    return model(nodes, [tensor("x", [3]), tensor("b", [3])], [tensor("y", [3])], weights)


def endless_loop() -> ModelProto:
    """A Loop that goes on for 2^62 iterations."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Tanh", ["v"], ["next"]),
        ],
        "body",
        [tensor("i", [], INT64), tensor("go", [], TensorProto.BOOL), tensor("v", [1024])],
        [tensor("go_on", [], TensorProto.BOOL), tensor("next", [1024])],
    )
    node = helper.make_node("Loop", ["count", "", "x"], ["y"], body=body)
    count = {"count": np.array(2**62, np.int64)}
    return model([node], [tensor("x", [1024])], [tensor("y", [1024])], count)
