"""Models made to do harm: each is refused with a message, in little time and memory."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tiercel
from seed_models import FLOAT, INT64, made, port


def one_node(node: onnx.NodeProto, inputs, outputs, weights: dict[str, np.ndarray] | None = None):
    tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in (weights or {}).items()]
    return made(helper.make_graph([node], "g", inputs, outputs, tensors), opset=21)


def refuses(data: bytes, message: str, feeds: dict[str, np.ndarray] | None = None) -> None:
    """Loading, or else running, raises the message within seconds."""
    start = time.monotonic()
    with pytest.raises(Exception, match=message):
        tiercel.InferenceSession(data).run(None, feeds or {}, timeout=10)
    assert time.monotonic() - start < 20


def test_functions_that_double() -> None:
    """60 functions that each call the next one twice stand for 2^60 nodes."""
    functions = []
    imports = [helper.make_opsetid("", 20), helper.make_opsetid("f", 1)]
    for level in range(60):
        op, domain = (f"f{level + 1}", "f") if level < 59 else ("Neg", "")
        body = [helper.make_node(op, ["a"], ["b"], domain=domain)]
        body.append(helper.make_node(op, ["b"], ["c"], domain=domain))
        functions.append(helper.make_function("f", f"f{level}", ["a"], ["c"], body, imports))
    graph = helper.make_graph(
        [helper.make_node("f0", ["x"], ["y"], domain="f")], "g", [port("x", [1])], [port("y", [1])]
    )
    refuses(made(graph, functions, f=1), "need more than 1024 MiB")


def test_function_that_calls_itself() -> None:
    imports = [helper.make_opsetid("", 20), helper.make_opsetid("f", 1)]
    body = [helper.make_node("f", ["a"], ["b"], domain="f")]
    function = helper.make_function("f", "f", ["a"], ["b"], body, imports)
    graph = helper.make_graph(
        [helper.make_node("f", ["x"], ["y"], domain="f")], "g", [port("x", [1])], [port("y", [1])]
    )
    refuses(made(graph, [function], f=1), "calls itself")


def nested(depth: int, field: int, inner: bytes = b"") -> bytes:
    """A message in a message in a message."""
    for _ in range(depth):
        length, size = b"", len(inner)
        while size > 127:
            length, size = length + bytes([size & 127 | 128]), size >> 7
        inner = bytes([field << 3 | 2]) + length + bytes([size]) + inner
    return inner


def test_messages_nested_deeply() -> None:
    """A type of sequences of sequences, 5,000 deep."""
    kind = b""
    for _ in range(5_000):
        kind = nested(1, 4, nested(1, 1, kind))
    info = b"\x0a\x01x" + nested(1, 2, kind)
    refuses(nested(1, 7, nested(1, 11, info)), "nested too deeply")


def test_strings_outside_the_file(tmp_path: Path) -> None:
    """Bytes of another file are no string objects."""
    tensor = TensorProto(name="w", dims=[2], data_type=TensorProto.STRING)
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "w.bin"
    (tmp_path / "w.bin").write_bytes(b"A" * 64)
    node = helper.make_node("Identity", ["w"], ["y"])
    graph = helper.make_graph([node], "g", [], [port("y", [2], TensorProto.STRING)], [tensor])
    (tmp_path / "m.onnx").write_bytes(made(graph))
    with pytest.raises(Exception, match="strings cannot be raw or external data"):
        tiercel.InferenceSession(str(tmp_path / "m.onnx"))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"offset": "-8"}, 'offset of its external data is "-8"'),
        ({"offset": "9223372036854775807"}, "has 64 bytes"),
        ({"offset": "99999999999999999999"}, "expected a number of bytes"),
        ({"offset": "60", "length": "9223372036854775807"}, "has 64 bytes"),
        ({"length": "8"}, "holds 8 bytes"),
        ({"length": "1e1"}, "expected a number of bytes"),
        ({"location": "."}, "it is not a file"),
        ({"location": ""}, "has no location"),
        ({"location": "pipe"}, "it is not a file"),
        ({"location": "sub/../../w.bin"}, "leads out of the folder"),
        ({"location": "out/w.bin"}, "leads out of the folder by a link"),
        ({"location": "w.bin\0.png"}, "external data"),
    ],
)
def test_external_data_entries(tmp_path: Path, entries: dict[str, str], message: str) -> None:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "w.bin").write_bytes(bytes(64))
    (tmp_path / "w.bin").write_bytes(bytes(64))
    (folder / "out").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    tensor = TensorProto(name="w", dims=[4], data_type=FLOAT)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "w.bin", **entries}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    node = helper.make_node("Identity", ["w"], ["y"])
    graph = helper.make_graph([node], "g", [], [port("y", [4])], [tensor])
    (folder / "m.onnx").write_bytes(made(graph))
    with pytest.raises(Exception, match=message):
        tiercel.InferenceSession(str(folder / "m.onnx"))


def test_a_link_inside_the_folder_is_fine(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(np.arange(4, dtype=np.float32).tobytes())
    (tmp_path / "w.bin").symlink_to(tmp_path / "blob")
    tensor = TensorProto(name="w", dims=[4], data_type=FLOAT)
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "w.bin"
    node = helper.make_node("Identity", ["w"], ["y"])
    graph = helper.make_graph([node], "g", [], [port("y", [4])], [tensor])
    (tmp_path / "m.onnx").write_bytes(made(graph))
    session = tiercel.InferenceSession(str(tmp_path / "m.onnx"))
    np.testing.assert_array_equal(session.run(None, {})[0], np.arange(4))


@pytest.mark.parametrize("dims", [[2**62, 2**62], [-1], [2**63 - 1]])
def test_huge_initializers(dims: list[int]) -> None:
    tensor = TensorProto(name="w", dims=dims, data_type=FLOAT, raw_data=b"")
    node = helper.make_node("Identity", ["w"], ["y"])
    graph = helper.make_graph([node], "g", [], [port("y", None)], [tensor])
    refuses(made(graph), "too many elements|negative extent|too large")


@pytest.mark.parametrize(
    ("node", "weights"),
    [
        (helper.make_node("ConstantOfShape", ["s"], ["y"]), {"s": np.array([2**40, 2**30])}),
        (helper.make_node("ConstantOfShape", ["s"], ["y"]), {"s": np.array([-5])}),
        (
            helper.make_node("Expand", ["v", "s"], ["y"]),
            {"v": np.zeros(1, np.float32), "s": np.array([2**45])},
        ),
        (
            helper.make_node("Tile", ["v", "s"], ["y"]),
            {"v": np.zeros(4, np.float32), "s": np.array([2**62])},
        ),
        (
            helper.make_node("Range", ["a", "b", "c"], ["y"]),
            {"a": np.array(0), "b": np.array(2**62), "c": np.array(1)},
        ),
        (
            helper.make_node("Pad", ["v", "s"], ["y"]),
            {"v": np.zeros(4, np.float32), "s": np.array([2**62, 2**62])},
        ),
        (
            helper.make_node("OneHot", ["i", "d", "v"], ["y"]),
            {"i": np.array([1]), "d": np.array(2**50), "v": np.zeros(2, np.float32)},
        ),
    ],
    ids=lambda x: x.op_type if hasattr(x, "op_type") else "",
)
def test_small_files_that_ask_for_huge_tensors(node, weights) -> None:
    dtype = INT64 if node.op_type == "Range" else FLOAT
    data = one_node(node, [], [port("y", None, dtype)], weights)
    refuses(data, "cannot allocate|too large|too many|negative|64 bits|memory|extent")


def sparse_model(dims: list[int], indices: list[int]) -> bytes:
    """y = a sparse initialiser of the values 1, 2 … at flat indices."""
    count = len(indices)
    values = helper.make_tensor("w", FLOAT, [count], [float(i + 1) for i in range(count)])
    places = helper.make_tensor("", INT64, [count], indices)
    node = helper.make_node("Identity", ["w"], ["y"])
    graph = helper.make_graph([node], "g", [], [port("y", None)])
    graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, dims))
    return made(graph)


def test_sparse_initializers() -> None:
    session = tiercel.InferenceSession(sparse_model([2, 3], [1, 5]))
    np.testing.assert_array_equal(session.run(None, {})[0], [[0, 1, 0], [0, 0, 2]])
    for dims, indices, message in (
        ([2, 3], [1, 6], "has the index 6; expected less than 6"),
        ([2, 3], [-1, 2], "has the index -1"),
        ([2**20, 2**20], [0], "dense bytes"),
        ([0], [0], "without elements has 1 values"),
    ):
        refuses(sparse_model(dims, indices), message)


def test_inputs_of_the_wrong_type() -> None:
    """Kernels read memory by element types: two that must agree are compared when loading."""
    node = helper.make_node("Concat", ["x", "z"], ["y"], axis=0)
    inputs = [port("x", [4], TensorProto.DOUBLE), port("z", [4], TensorProto.INT8)]
    data = one_node(node, inputs, [port("y", None, TensorProto.DOUBLE)])
    refuses(data, r"input 1 is tensor\(int8\); expected tensor\(double\) like input 0")
    node = helper.make_node("CumSum", ["x", "axis"], ["y"])
    inputs = [port("x", ["n", 3]), port("axis", ["n", 3])]
    data = one_node(node, inputs, [port("y", None)])
    refuses(data, r"input 1 is tensor\(float\); expected one of int32 int64")


def test_attributes_of_the_wrong_kind() -> None:
    node = helper.make_node("Transpose", ["x"], ["y"], perm=1)
    data = one_node(node, [port("x", [2, 2])], [port("y", None)])
    refuses(data, "attribute perm is of another kind")


@pytest.mark.parametrize("axis", [-3, 2, 2**40])
def test_axis_that_arrives_at_run(axis: int) -> None:
    node = helper.make_node("CumSum", ["x", "axis"], ["y"])
    inputs = [port("x", ["n", 3]), port("axis", [], INT64)]
    data = one_node(node, inputs, [port("y", None)])
    feeds = {"x": np.zeros((2, 3), np.float32), "axis": np.array(axis)}
    refuses(data, "out of range", feeds)


def test_declared_shapes_do_not_decide_about_memory() -> None:
    """A file says that 2 elements are not zero; there are 64."""
    nodes = [
        helper.make_node("NonZero", ["x"], ["where"]),
        helper.make_node("Cast", ["where"], ["y"], to=FLOAT),
    ]
    graph = helper.make_graph(nodes, "g", [port("x", [64])], [port("y", [1, 2])])
    graph.value_info.append(port("where", [1, 2], INT64))
    session = tiercel.InferenceSession(made(graph))
    (y,) = session.run(None, {"x": np.ones(64, np.float32)})
    np.testing.assert_array_equal(y, [np.arange(64)])
