"""Chains over one operand of bytes run as tables and give what the program gives."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import tiercel


def chain(kind: type, dims: tuple[int, ...], quantised: bool) -> ModelProto:
    given = {"s": np.float32(0.05), "z": kind(7), "t": np.float32(0.01), "u": kind(3)}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["a"]),
        helper.make_node("Log", ["a"], ["b"]),
        helper.make_node("Sigmoid", ["a"], ["c"]),
        helper.make_node("Mul", ["a", "c"], ["d"]),
        helper.make_node("Max", ["b", "d"], ["e"]) if not quantised else None,
        helper.make_node("Tanh", ["d"], ["f"]),
        helper.make_node("Add", ["d", "f"], ["g"]),
        helper.make_node("QuantizeLinear", ["g", "t", "u"], ["q"]),
        helper.make_node("Flatten", ["q"], ["y"], axis=0),
    ]
    if not quantised:
        nodes[-2:] = [helper.make_node("Sub", ["e", "g"], ["y"])]
    tensor = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    graph = helper.make_graph(
        [node for node in nodes if node is not None],
        "graph",
        [helper.make_tensor_value_info("x", tensor, dims)],
        [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in given.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


@pytest.mark.parametrize("quantised", [False, True])
@pytest.mark.parametrize("kind", [np.uint8, np.int8])
@pytest.mark.parametrize("dims", [(1,), (3, 5), (2, 8, 16), (1, 63), (65, 1000)])
def test_chains(dims: tuple[int, ...], kind: type, quantised: bool) -> None:
    m = chain(kind, dims, quantised)
    info = np.iinfo(kind)
    x = np.random.default_rng(1).integers(info.min, info.max + 1, dims).astype(kind)
    results = []
    for threads, plain in ((1, True), (1, False), (2, False)):
        options = tiercel.SessionOptions()
        options.intra_op_num_threads = threads
        if plain:
            options.graph_optimization_level = tiercel.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = tiercel.InferenceSession(m.SerializeToString(), options)
        assert plain or "as a table" in session.explain()
        results.append(session.run(None, {"x": x})[0])
    np.testing.assert_array_equal(results[2], results[1])
    if quantised:
        np.testing.assert_array_equal(results[1], results[0])
    else:
        np.testing.assert_allclose(results[1], results[0], rtol=1e-6)


def test_operands_that_are_not_constant_take_no_table() -> None:
    m = chain(np.uint8, (4, 4), True)
    m.graph.input.append(helper.make_tensor_value_info("s", TensorProto.FLOAT, []))
    session = tiercel.InferenceSession(m.SerializeToString())
    x = np.arange(16, dtype=np.uint8).reshape(4, 4)
    session.run(None, {"x": x})
    session.run(None, {"x": x, "s": np.float32(0.5)})
    assert "as a table" not in session.explain()
