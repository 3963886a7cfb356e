"""Control flow: branches, loops with growing state and no trips, scans in both directions."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import tiercel as ort

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def port(name: str, shape: list[int | str | None] | None, dtype: int = FLOAT) -> object:
    return helper.make_tensor_value_info(name, dtype, shape)


def session(proto: ModelProto) -> ort.InferenceSession:
    return ort.InferenceSession(proto.SerializeToString())


def model(nodes: list[object], inputs: list[object], outputs: list[object]) -> ModelProto:
    graph = helper.make_graph(nodes, "graph", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def branch(op: str, captured: str) -> object:
    node = helper.make_node(op, [captured], ["out"])
    return helper.make_graph([node], op, [], [port("out", None)])


def test_if_in_if_captures_values() -> None:
    inner = helper.make_node(
        "If", ["b"], ["got"], then_branch=branch("Exp", "v"), else_branch=branch("Neg", "v")
    )
    outer = helper.make_graph([inner], "outer", [], [port("got", None)])
    nodes = [
        helper.make_node("Abs", ["x"], ["v"]),
        helper.make_node("If", ["a"], ["y"], then_branch=outer, else_branch=branch("Sqrt", "v")),
    ]
    inputs = [port("x", ["n"]), port("a", [], BOOL), port("b", [], BOOL)]
    nested = session(model(nodes, inputs, [port("y", ["n"])]))
    x = np.array([-1, 2, -3], np.float32)
    want = {(True, True): np.exp, (True, False): np.negative, (False, True): np.sqrt}
    for (a, b), function in want.items():
        (y,) = nested.run(None, {"x": x, "a": np.array(a), "b": np.array(b)})
        np.testing.assert_allclose(y, function(np.abs(x)), rtol=1e-6)


def growing() -> ort.InferenceSession:
    """Appends the trip's number to a vector; the sum so far is a scan output."""
    body = helper.make_graph(
        [
            helper.make_node("Cast", ["i"], ["number"], to=FLOAT),
            helper.make_node("Constant", [], ["axis"], value_ints=[0]),
            helper.make_node("Unsqueeze", ["number", "axis"], ["one"]),
            helper.make_node("Concat", ["v", "one"], ["longer"], axis=0),
            helper.make_node("ReduceSum", ["longer"], ["sum"], keepdims=0),
            helper.make_node("Less", ["sum", "limit"], ["on"]),
        ],
        "body",
        [port("i", [], INT64), port("go", [], BOOL), port("v", [None])],
        [port("on", [], BOOL), port("longer", [None]), port("sum", [])],
    )
    node = helper.make_node("Loop", ["m", "go0", "v0"], ["v", "sums"], body=body)
    inputs = [port("m", [], INT64), port("go0", [], BOOL), port("v0", [None]), port("limit", [])]
    return session(model([node], inputs, [port("v", [None]), port("sums", [None])]))


@pytest.mark.parametrize(("trips", "limit"), [(0, 9.0), (3, 1e9), (100, 1e9), (100, 11.0)])
def test_loop_state_may_grow(trips: int, limit: float) -> None:
    feeds = {
        "m": np.array(trips, np.int64),
        "go0": np.array(True),
        "v0": np.array([0.5], np.float32),
        "limit": np.array(limit, np.float32),
    }
    values, sums = [0.5], []
    for trip in range(trips):
        values.append(trip)
        sums.append(sum(values))
        if sums[-1] >= limit:
            break
    v, got = growing().run(None, feeds)
    np.testing.assert_array_equal(v, np.array(values, np.float32))
    np.testing.assert_array_equal(got, np.array(sums, np.float32))


@pytest.mark.parametrize("backward", [0, 1])
def test_scan(backward: int) -> None:
    body = helper.make_graph(
        [
            helper.make_node("Add", ["sum", "x"], ["next"]),
            helper.make_node("Identity", ["next"], ["slice"]),
        ],
        "body",
        [port("sum", [2]), port("x", [2])],
        [port("next", [2]), port("slice", [2])],
    )
    node = helper.make_node(
        "Scan",
        ["start", "xs"],
        ["end", "sums"],
        body=body,
        num_scan_inputs=1,
        scan_input_directions=[backward],
        scan_output_directions=[backward],
    )
    inputs = [port("start", [2]), port("xs", ["t", 2])]
    scan = session(model([node], inputs, [port("end", [2]), port("sums", ["t", 2])]))
    xs = np.arange(10, dtype=np.float32).reshape(5, 2)
    end, sums = scan.run(None, {"start": np.zeros(2, np.float32), "xs": xs})
    turn = slice(None, None, -1 if backward else 1)
    np.testing.assert_array_equal(sums, np.cumsum(xs[turn], axis=0)[turn])
    np.testing.assert_array_equal(end, xs.sum(axis=0))


def test_a_captured_value_that_leaves_a_branch_is_a_copy() -> None:
    node = helper.make_node(
        "If", ["c"], ["y"], then_branch=branch("Identity", "x"), else_branch=branch("Neg", "x")
    )
    inputs = [port("x", [3]), port("c", [], BOOL)]
    identity = session(model([node], inputs, [port("y", [3])]))
    x = np.ones(3, np.float32)
    (y,) = identity.run(None, {"x": x, "c": np.array(True)})
    y[:] = 7
    np.testing.assert_array_equal(x, 1)


def test_weights_of_a_body_are_read() -> None:
    weight = numpy_helper.from_array(np.full((3, 3), 2, np.float32), "w")
    product = helper.make_node("MatMul", ["x", "w"], ["out"])
    body = helper.make_graph([product], "body", [], [port("out", None)], [weight])
    node = helper.make_node(
        "If", ["c"], ["y"], then_branch=body, else_branch=branch("Identity", "x")
    )
    weighted = session(model([node], [port("x", [2, 3]), port("c", [], BOOL)], [port("y", [2, 3])]))
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(weighted.run(None, {"x": x, "c": np.array(True)})[0], 6)
    np.testing.assert_array_equal(weighted.run(None, {"x": x, "c": np.array(False)})[0], 1)
