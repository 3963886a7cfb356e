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


@pytest.mark.parametrize("trips", [0, 1, 5, 40, 300])
def test_scan_outputs_grow_with_the_trips(trips: int) -> None:
    """A loop that ends by its condition: how many slices there will be is not known."""
    body = helper.make_graph(
        [
            helper.make_node("Add", ["v", "step"], ["next"]),
            helper.make_node("Neg", ["next"], ["slice"]),
            helper.make_node("Identity", ["slice"], ["again"]),
            helper.make_node("Less", ["i", "last"], ["on"]),
        ],
        "body",
        [port("i", [], INT64), port("go", [], BOOL), port("v", [3])],
        [port("on", [], BOOL), port("next", [3]), port("slice", [3]), port("again", [3])],
    )
    loop = helper.make_node("Loop", ["", "any", "v0"], ["v1", "all", "same"], body=body)
    nodes = [helper.make_node("Less", ["first", "last"], ["any"]), loop]
    inputs = [port("v0", [3]), port("step", [3]), port("last", [], INT64)]
    inputs.append(port("first", [], INT64))
    outputs = [port("v1", [3]), port("all", ["n", 3]), port("same", ["n", 3])]
    v, want = np.array([1, 2, 3], np.float32), []
    step, given = v, v.copy()
    feeds = {"v0": given, "step": step, "last": np.array(trips - 1), "first": np.array(-1)}
    for _ in range(trips):
        v = v + step
        want.append(-v)
    for _ in range(2):
        result, slices, same = session(model(nodes, inputs, outputs)).run(None, feeds)
        np.testing.assert_array_equal(result, v)
        np.testing.assert_array_equal(slices, np.reshape(want, (-1, 3)))
        np.testing.assert_array_equal(same, slices)
        np.testing.assert_array_equal(given, [1, 2, 3])


def test_shapes_that_keep_changing_share_a_plan() -> None:
    """Few plans are made for a body whose state grows; one run's results are not another's."""
    grows = growing()
    for _ in range(3):
        for trips in (3, 30, 100):
            feeds = {"m": np.array(trips), "go0": np.array(True), "v0": np.zeros(1, np.float32)}
            v, sums = grows.run(None, feeds | {"limit": np.array(1e9, np.float32)})
            np.testing.assert_array_equal(v, [0, *range(trips)])
            np.testing.assert_array_equal(sums, np.cumsum(np.arange(trips)))


def test_states_may_change_places() -> None:
    """Memory of a state is used again two trips later, and never while somebody reads it."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["on"]),
            helper.make_node("Identity", ["b"], ["a_next"]),
            helper.make_node("Add", ["a", "b"], ["b_next"]),
        ],
        "body",
        [port("i", [], INT64), port("go", [], BOOL), port("a", [4]), port("b", [4])],
        [port("on", [], BOOL), port("a_next", [4]), port("b_next", [4])],
    )
    nodes = [helper.make_node("Loop", ["n", "", "a0", "b0"], ["a1", "b1"], body=body)]
    inputs = [port("n", [], INT64), port("a0", [4]), port("b0", [4])]
    swapped = session(model(nodes, inputs, [port("a1", [4]), port("b1", [4])]))
    for trips in (0, 1, 2, 9, 20):
        a, b = np.zeros(4, np.float32), np.ones(4, np.float32)
        got = swapped.run(None, {"n": np.array(trips), "a0": a, "b0": b})
        for _ in range(trips):
            a, b = b, a + b
        np.testing.assert_array_equal(got, [a, b])
