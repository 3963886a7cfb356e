"""Every storage form of tensors is read; external data stays in its folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tiercel
from seed_models import rich_model


def constant_model(tensor: onnx.TensorProto) -> onnx.ModelProto:
    """A model that gives back its initialiser."""
    tensor.name = "w"
    graph = helper.make_graph(
        [helper.make_node("Identity", ["w"], ["y"])],
        "constant",
        [],
        [helper.make_empty_tensor_value_info("y")],
        [tensor],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


DTYPES = ["float32", "float64", "float16", "int8", "int16", "int32", "int64"]
DTYPES += ["uint8", "uint16", "uint32", "uint64", "bool"]


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_storage_forms(dtype: str, raw: bool) -> None:
    values = np.array([[0, 1, 2], [3, 4, 100]]).astype(dtype)
    if raw:
        tensor = numpy_helper.from_array(values)
    else:
        kind = helper.np_dtype_to_tensor_dtype(values.dtype)
        tensor = helper.make_tensor("w", kind, values.shape, values.flatten().tolist())
    s = tiercel.InferenceSession(constant_model(tensor).SerializeToString())
    (y,) = s.run(None, {})
    assert y.dtype == values.dtype
    np.testing.assert_array_equal(y, values)


def test_functions_subgraphs_and_strings() -> None:
    s = tiercel.InferenceSession(rich_model())
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    for flag in (True, False):
        y, z = s.run(None, {"x": x, "flag": np.array(flag)})
        assert y.shape == (1, 2 * 4 * 8 * 8)
        assert list(z) == ["a", "bc"]
        assert (y >= 0).all() == flag


def external_model(folder: Path, location: str) -> str:
    """A model whose initialiser lies in another file."""
    tensor = TensorProto(dims=[4], data_type=TensorProto.FLOAT)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "8"), ("length", "16")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    path = folder / "model.onnx"
    path.write_bytes(constant_model(tensor).SerializeToString())
    return str(path)


def test_external_data(tmp_path: Path) -> None:
    values = np.arange(8, dtype=np.float32)
    (tmp_path / "weights.bin").write_bytes(values.tobytes())
    s = tiercel.InferenceSession(external_model(tmp_path, "weights.bin"))
    np.testing.assert_array_equal(s.run(None, {})[0], values[2:6])


@pytest.mark.parametrize("how", ["parent", "absolute", "link", "missing", "short"])
def test_external_data_stays_in_its_folder(how: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    outside = tmp_path / "secret.bin"
    outside.write_bytes(bytes(64))
    (folder / "link.bin").symlink_to(outside)
    (folder / "short.bin").write_bytes(bytes(12))
    places = {"parent": "../secret.bin", "absolute": str(outside), "link": "link.bin"}
    location = places.get(how, f"{how}.bin")
    with pytest.raises(Exception, match="external data"):
        tiercel.InferenceSession(external_model(folder, location))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="nowhere.onnx"):
        tiercel.InferenceSession(str(tmp_path / "nowhere.onnx"))


def test_an_unknown_operator_is_named() -> None:
    graph = helper.make_graph(
        [helper.make_node("Frobnicate", [], ["y"], domain="ai.example")],
        "g",
        [],
        [helper.make_empty_tensor_value_info("y")],
    )
    imports = [helper.make_opsetid("", 20), helper.make_opsetid("ai.example", 1)]
    m = helper.make_model(graph, opset_imports=imports, ir_version=9)
    with pytest.raises(Exception, match="Frobnicate"):
        tiercel.InferenceSession(m.SerializeToString())


@pytest.mark.parametrize("shift", range(4))
def test_large_weights_wherever_they_begin(tmp_path: Path, shift: int) -> None:
    """Pages of the file are given back when weights were copied or packed, and read again."""
    w = np.random.default_rng(shift).standard_normal((512, 512), np.float32)
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 512]) for n in "xy")
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    weights = [numpy_helper.from_array(w, "w")]
    graph = helper.make_graph([node], "g" * (shift + 1), [x], [y], weights)
    path = tmp_path / "model.onnx"
    opsets = [helper.make_opsetid("", 21)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    first, second = tiercel.InferenceSession(path), tiercel.InferenceSession(path)
    for rows in (1, 70):
        feed = np.ones((rows, 512), np.float32)
        for session in (first, second):
            np.testing.assert_allclose(session.run(None, {"x": feed})[0], feed @ w, atol=1e-3)


def varint(value: int) -> bytes:
    """Protobuf's base-128 form; negative numbers as 64 bits."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


@pytest.mark.parametrize("packed", [False, True])
def test_long_lists_of_integers(packed: bool) -> None:
    """Longer than what is read at once, as protobuf's two forms of repeated numbers."""
    values = np.random.default_rng(0).integers(-300, 1 << 40, 40000)
    numbers = [varint(int(value)) for value in values]
    inside = b"".join(numbers)
    entries = b"\x42" + varint(len(inside)) + inside if packed else b"\x40" + b"\x40".join(numbers)
    attribute = b"\x0a\x0avalue_ints" + entries + b"\xa0\x01\x07"
    node = b"\x12\x01y\x22\x08Constant\x2a" + varint(len(attribute)) + attribute
    outputs = [helper.make_empty_tensor_value_info("y")]
    model = helper.make_model(helper.make_graph([], "long", [], outputs), ir_version=10)
    graph = b"\x0a" + varint(len(node)) + node + model.graph.SerializeToString()
    model.ClearField("graph")
    data = model.SerializeToString() + b"\x3a" + varint(len(graph)) + graph
    np.testing.assert_array_equal(tiercel.InferenceSession(data).run(None, {})[0], values)
    with pytest.raises(tiercel.errors.InvalidProtobuf):
        tiercel.InferenceSession(data[: len(data) // 2])


def test_long_lists_of_floats_and_strings() -> None:
    floats = np.random.default_rng(1).standard_normal(40000).astype(np.float32)
    texts = [str(number) for number in range(20000)]
    nodes = [
        helper.make_node("Constant", [], ["x"], value_floats=floats.tolist()),
        helper.make_node("Constant", [], ["t"], value_strings=texts),
    ]
    outputs = [helper.make_empty_tensor_value_info(name) for name in ("x", "t")]
    graph = helper.make_graph(nodes, "long", [], outputs)
    model = helper.make_model(graph, ir_version=10)
    x, t = tiercel.InferenceSession(model.SerializeToString()).run(None, {})
    np.testing.assert_array_equal(x, floats)
    assert t.tolist() == texts
