"""The optimised model as a file: it loads again, gives the same, and is valid ONNX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import tiercel as ort

FLOAT, BOOL, INT64 = TensorProto.FLOAT, TensorProto.BOOL, TensorProto.INT64
X = np.arange(6, dtype=np.float32).reshape(2, 3)


def port(name: str, shape: list[int | str | None] | None, dtype: int = FLOAT) -> object:
    return helper.make_tensor_value_info(name, dtype, shape)


def model(
    nodes: list[object], inputs: list[object], outputs: list[object], *given: object
) -> bytes:
    graph = helper.make_graph(nodes, "graph", inputs, outputs, list(given))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(made, {"key": "value"})
    return made.SerializeToString()


def written(data: bytes, path: Path, level: int, **entries: str) -> ModelProto:
    options = ort.SessionOptions()
    options.optimized_model_filepath = path
    options.graph_optimization_level = ort.GraphOptimizationLevel(level)
    for key, value in entries.items():
        options.add_session_config_entry(f"session.{key}", value)
    ort.InferenceSession(data, options)
    return onnx.load(path)


def branches() -> bytes:
    """Bodies that capture, an inner name that is an outer one too, outputs that are no results."""

    def body(op: str, *inputs: str) -> object:
        nodes = [helper.make_node(op, list(inputs), ["result"])]
        return helper.make_graph(nodes, op, [], [port("result", None)])

    captured = helper.make_graph([], "captured", [], [port("sum", None)])
    nodes = [
        helper.make_node("Add", ["x", "w"], ["sum"], name="twice"),
        helper.make_node("If", ["c"], ["result"], name="twice",
                         then_branch=body("Mul", "sum", "w"), else_branch=captured),
        helper.make_node("Identity", ["x"], ["same"]),
        helper.make_node("Identity", ["w"], ["weight"]),
    ]  # fmt: skip
    outputs = [port(n, None) for n in ("result", "same", "weight", "sum")]
    weight = numpy_helper.from_array(np.array([1, 2, 3], np.float32), "w")
    return model(nodes, [port("x", ["n", 3]), port("c", [], BOOL)], outputs, weight)


def loop() -> bytes:
    body = helper.make_graph(
        [
            helper.make_node("Add", ["v", "step"], ["next"]),
            helper.make_node("Identity", ["go"], ["on"]),
            helper.make_node("Identity", ["next"], ["trace"]),
        ],
        "body",
        [port("i", [], INT64), port("go", [], BOOL), port("v", ["n", 3])],
        [port("on", [], BOOL), port("next", ["n", 3]), port("trace", ["n", 3])],
    )
    nodes = [
        helper.make_node("Relu", ["x"], ["step"]),
        helper.make_node("Loop", ["trips", "", "x"], ["y", "traces"], body=body),
    ]
    trips = numpy_helper.from_array(np.array(3), "trips")
    return model(nodes, [port("x", ["n", 3])], [port("y", None), port("traces", None)], trips)


@pytest.mark.parametrize("level", [0, 1, 2, 99])
@pytest.mark.parametrize(
    ("make", "feeds"),
    [(branches, {"c": np.array(True)}), (branches, {"c": np.array(False)}), (loop, {})],
    ids=["then", "else", "loop"],
)
def test_it_gives_the_same(make: object, feeds: dict, level: int, tmp_path: Path) -> None:
    data, path = make(), tmp_path / "model.onnx"  # type: ignore[operator]
    before = ort.InferenceSession(data)
    proto = written(data, path, level)
    onnx.checker.check_model(proto)
    after = ort.InferenceSession(path)
    assert [a.name for a in after.get_outputs()] == [a.name for a in before.get_outputs()]
    assert after.get_modelmeta().custom_metadata_map == {"key": "value"}
    feeds = {"x": X, **feeds}
    for got, want in zip(after.run(None, feeds), before.run(None, feeds), strict=True):
        np.testing.assert_array_equal(got, want)


def test_large_weights_go_into_a_file(tmp_path: Path) -> None:
    big = numpy_helper.from_array(np.ones((64, 64), np.float32), "big")
    small = numpy_helper.from_array(np.full(64, 2, np.float32), "small")
    nodes = [
        helper.make_node("MatMul", ["x", "big"], ["p"]),
        helper.make_node("Add", ["p", "small"], ["y"]),
    ]
    data = model(nodes, [port("x", [2, 64])], [port("y", [2, 64])], big, small)
    prefix = "optimized_model_external_initializers_"
    entries = {prefix + "file_name": "weights.bin", prefix + "min_size_in_bytes": "1000"}
    proto = written(data, tmp_path / "model.onnx", 1, **entries)
    x = np.ones((2, 64), np.float32)
    (y,) = ort.InferenceSession(tmp_path / "model.onnx").run(None, {"x": x})
    np.testing.assert_array_equal(y, 66)
    assert (tmp_path / "weights.bin").stat().st_size == 64 * 64 * 4
    assert (tmp_path / "model.onnx").stat().st_size < 2000
    assert [n.op_type for n in proto.graph.node]
    with pytest.raises(ort.InvalidArgument, match="min_size_in_bytes"):
        written(data, tmp_path / "b.onnx", 1, **{prefix + "min_size_in_bytes": "some"})


def test_strings_and_all_attribute_kinds_survive(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("LabelEncoder", ["x"], ["y"], domain="ai.onnx.ml",
                         keys_strings=["a", "b"], values_floats=[1.5, -2.5], default_float=0.25),
    ]  # fmt: skip
    graph = helper.make_graph(nodes, "g", [port("x", [3], TensorProto.STRING)], [port("y", [3])])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 2)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    written(proto.SerializeToString(), tmp_path / "model.onnx", 1)
    made = ort.InferenceSession(tmp_path / "model.onnx")
    assert made.run(None, {"x": np.array(["b", "c", "a"])})[0].tolist() == [-2.5, 0.25, 1.5]


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ort.Fail, match="cannot write"):
        written(loop(), tmp_path / "no folder" / "model.onnx", 1)
    with pytest.raises(ort.NotImplemented, match="ONNX"):
        written(loop(), tmp_path / "model.ort", 1, save_model_format="ORT")


def test_a_known_condition_leaves_no_branch(tmp_path: Path) -> None:
    yes = helper.make_graph([helper.make_node("Exp", ["x"], ["e"])], "yes", [], [port("e", None)])
    no = helper.make_graph(
        [helper.make_node("MatMul", ["x", "x"], ["m"])], "no", [], [port("m", None)]
    )
    nodes = [helper.make_node("If", ["c"], ["y"], then_branch=yes, else_branch=no)]
    condition = numpy_helper.from_array(np.array(True), "c")
    data = model(nodes, [port("x", [2, 3])], [port("y", None)], condition)
    for level in (0, 1, 99):
        proto = written(data, tmp_path / "model.onnx", level)
        assert ("If" in {n.op_type for n in proto.graph.node}) == (level == 0)
        (y,) = ort.InferenceSession(data).run(None, {"x": X})
        np.testing.assert_allclose(y, np.exp(X), rtol=1e-6)


@pytest.mark.parametrize("rows", [1, 2, 100, 4000])
def test_large_weights_are_aligned(rows: int, tmp_path: Path) -> None:
    """A reader maps them as they lie; the lengths around them grow with `rows`."""
    rng = np.random.default_rng(0)
    names, sizes = [f"w{i}" for i in range(7)], [rows * 8 + i for i in range(7)]
    values = [rng.integers(1, 127, (8, size)).astype(np.int8) for size in sizes]
    values[3] = rng.standard_normal((8, sizes[3]), np.float32)
    outputs = [helper.make_empty_tensor_value_info(f"y{i}") for i in range(7)]
    nodes = [helper.make_node("Identity", [n], [f"y{i}"]) for i, n in enumerate(names)]
    weights = [numpy_helper.from_array(v, n) for v, n in zip(values, names, strict=True)]
    proto = helper.make_model(
        helper.make_graph(nodes, "graph", [], outputs, weights),
        opset_imports=[helper.make_opsetid("", 21)],
        ir_version=10,
    )
    options, path = ort.SessionOptions(), tmp_path / "out.onnx"
    options.optimized_model_filepath = str(path)
    ort.InferenceSession(proto.SerializeToString(), options)
    data = path.read_bytes()
    onnx.checker.check_model(onnx.load(path))
    for value, result in zip(values, ort.InferenceSession(path).run(None, {}), strict=True):
        np.testing.assert_array_equal(value, result)
        if value.nbytes >= 4096:
            assert data.find(value.tobytes()) % 64 == 0
