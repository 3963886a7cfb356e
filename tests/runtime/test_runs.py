"""Runs: the same bits on any number of threads, many callers at once, many shapes, bad input."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import tiercel as ort

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
RNG = np.random.default_rng(5)


def port(name: str, shape: list[int | str | None] | None, dtype: int = FLOAT) -> object:
    return helper.make_tensor_value_info(name, dtype, shape)


def model(
    nodes: list[object],
    inputs: list[object],
    outputs: list[object],
    weights: dict[str, np.ndarray] | None = None,
) -> ModelProto:
    tensors = [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def session(proto: ModelProto, threads: int = 1) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    return ort.InferenceSession(proto.SerializeToString(), options)


def mixed() -> ModelProto:
    """Convolution, product, softmax, normalisation, reduction and elementwise work."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("MatMul", ["r", "m"], ["p"]),
        helper.make_node("Softmax", ["p"], ["s"]),
        helper.make_node("LayerNormalization", ["p", "g"], ["n"]),
        helper.make_node("Mul", ["s", "n"], ["t"]),
        helper.make_node("ReduceSum", ["t"], ["y"], keepdims=0),
        helper.make_node("Erf", ["t"], ["z"]),
    ]
    weights = {
        "w": RNG.standard_normal((24, 16, 3, 3), np.float32),
        "m": RNG.standard_normal((48, 96), np.float32),
        "g": np.ones(96, np.float32),
    }
    outputs = [port("y", []), port("z", ["n", 24, 48, 96])]
    return model(nodes, [port("x", ["n", 16, 48, 48])], outputs, weights)


def test_threads_do_not_change_a_bit() -> None:
    x = RNG.standard_normal((2, 16, 48, 48), np.float32)
    proto = mixed()
    expected = session(proto, 1).run(None, {"x": x})
    for threads in (2, 3, 8):
        for got, want in zip(session(proto, threads).run(None, {"x": x}), expected, strict=True):
            assert got.tobytes() == want.tobytes(), f"{threads} threads"


def test_many_callers_share_a_session() -> None:
    shared = session(mixed(), 2)
    xs = [RNG.standard_normal((n, 16, 48, 48), np.float32) for n in (1, 2, 3, 1)]
    expected = [shared.run(None, {"x": x})[1] for x in xs]
    wrong: list[str] = []

    def call(start: int) -> None:
        for turn in range(6):
            i = (start + turn) % len(xs)
            if not np.array_equal(shared.run(None, {"x": xs[i]})[1], expected[i]):
                wrong.append(f"caller {start}, turn {turn}")

    callers = [threading.Thread(target=call, args=(i,)) for i in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert wrong == []


def test_more_shapes_than_plans() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Shape", ["p"], ["s"]),
        helper.make_node("Reshape", ["p", "flat"], ["f"]),
        helper.make_node("Tanh", ["f"], ["t"]),
        helper.make_node("Reshape", ["t", "s"], ["y"]),
    ]
    weights = {"w": RNG.standard_normal((8, 5), np.float32), "flat": np.array([-1], np.int64)}
    many = session(model(nodes, [port("x", ["n", 8])], [port("y", ["n", 5])], weights))
    for n in [*range(90), 3, 89, 0]:
        x = RNG.standard_normal((n, 8), np.float32)
        (y,) = many.run(None, {"x": x})
        np.testing.assert_allclose(y, np.tanh(x @ weights["w"]), rtol=1e-5, atol=1e-6)
    assert many._sess.memory()["plans"] <= 17


def test_shapes_that_depend_on_data() -> None:
    nodes = [
        helper.make_node("NonZero", ["x"], ["at"]),
        helper.make_node("Transpose", ["at"], ["rows"]),
        helper.make_node("GatherND", ["x", "rows"], ["kept"]),
        helper.make_node("Exp", ["kept"], ["y"]),
    ]
    found = session(model(nodes, [port("x", [4, 6])], [port("y", ["k"])]))
    for share in (0.0, 0.3, 1.0, 0.6):
        x = np.where(RNG.random((4, 6)) < share, RNG.random((4, 6)) + 1, 0).astype(np.float32)
        np.testing.assert_allclose(found.run(None, {"x": x})[0], np.exp(x[x != 0]), rtol=1e-6)


def test_outputs_are_memory_of_their_own() -> None:
    nodes = [helper.make_node("Reshape", ["x", "s"], ["y"])]
    proto = model(nodes, [port("x", ["n"]), port("s", [2], INT64)], [port("y", None)])
    x = np.arange(6, dtype=np.float32)
    (y,) = session(proto).run(None, {"x": x, "s": np.array([2, 3], np.int64)})
    y[:] = -1
    np.testing.assert_array_equal(x, np.arange(6))


def test_one_error_names_every_node_that_nobody_runs() -> None:
    nodes = [
        helper.make_node("Fold", ["x"], ["a"], name="first", domain="acme"),
        helper.make_node("Bend", ["a"], ["y"], name="second", domain="acme"),
    ]
    proto = model(nodes, [port("x", [2])], [port("y", [2])])
    proto.opset_import.append(helper.make_opsetid("acme", 1))
    with pytest.raises(Exception, match=r'(?s)"first".*Fold.*"second".*Bend'):
        session(proto)


def test_a_kernel_error_names_the_node_and_the_element() -> None:
    nodes = [helper.make_node("Gather", ["x", "i"], ["y"], name="pick")]
    proto = model(nodes, [port("x", [3]), port("i", [2], INT64)], [port("y", [2])])
    picking = session(proto)
    x = np.arange(3, dtype=np.float32)
    with pytest.raises(Exception, match=r'"pick" \(Gather\).*out of range.*element'):
        picking.run(None, {"x": x, "i": np.array([0, 7], np.int64)})
    (y,) = picking.run(None, {"x": x, "i": np.array([2, -3], np.int64)})
    np.testing.assert_array_equal(y, [2, 0])


@pytest.mark.parametrize("also_wanted", [False, True])
def test_dynamic_steps_take_over_what_nobody_reads(also_wanted: bool) -> None:
    nodes = [
        helper.make_node("Pad", ["x", "pads"], ["wide"]),
        helper.make_node("TensorScatter", ["wide", "rows", "at"], ["y"], axis=1),
        helper.make_node("Trilu", ["y"], ["z"]),
    ]
    outputs = ["z", "wide"] if also_wanted else ["z"]
    inputs = [port("x", [2, "n", 3]), port("pads", [6], INT64)]
    inputs += [port("rows", [2, "m", 3]), port("at", [2], INT64)]
    m = model(nodes, inputs, [port(name, [2, None, 3]) for name in outputs])
    m.opset_import[0].version, m.ir_version = 24, 11
    runs = session(m)
    rng = np.random.default_rng(5)
    for n, more in ((4, 2), (4, 2), (1, 5), (7, 0)):
        x = rng.standard_normal((2, n, 3)).astype(np.float32)
        rows = rng.standard_normal((2, 2, 3)).astype(np.float32) if n + more > 1 else x
        at = np.array([0, n + more - 2])
        feeds = {"x": x, "pads": np.array([0, 0, 0, 0, more, 0]), "rows": rows, "at": at}
        before = {name: value.copy() for name, value in feeds.items()}
        got = runs.run(None, feeds)
        wide = np.pad(x, ((0, 0), (0, more), (0, 0)))
        want = wide.copy()
        for b in range(2):
            want[b, at[b] : at[b] + 2] = rows[b]
        np.testing.assert_array_equal(got[0], np.triu(want))
        if also_wanted:
            np.testing.assert_array_equal(got[1], wide)
        for name, value in feeds.items():
            np.testing.assert_array_equal(value, before[name])
