"""Small models that together use every part of the format: what the damage tests start from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def port(name: str, shape: list[int | str | None] | None, dtype: int = FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def made(graph: onnx.GraphProto, functions=(), opset: int = 20, **domains: int) -> bytes:
    imports = [helper.make_opsetid("", opset)]
    imports += [helper.make_opsetid(name.replace("_", "."), v) for name, v in domains.items()]
    model = helper.make_model(graph, functions=functions, opset_imports=imports, ir_version=10)
    return model.SerializeToString()


def rich_model() -> bytes:
    """Initialisers in several forms, a subgraph, a local function, attributes of most kinds."""
    rng = np.random.default_rng(0)
    raw = numpy_helper.from_array(rng.standard_normal((4, 3, 3, 3)).astype(np.float32), "w")
    fields = helper.make_tensor("b", FLOAT, [4], [0.5, 1, 2, 3])
    words = helper.make_tensor("words", TensorProto.STRING, [2], [b"a", b"bc"])
    branches = []
    for name, op in (("then", "Relu"), ("else", "Neg")):
        out = helper.make_empty_tensor_value_info(name[0])
        branches.append(
            helper.make_graph([helper.make_node(op, ["c"], [name[0]])], name, [], [out])
        )
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1], name="conv"),
        helper.make_node("If", ["flag"], ["i"], then_branch=branches[0], else_branch=branches[1]),
        helper.make_node("Twice", ["i"], ["d"], domain="local", by=2.0),
        helper.make_node("Constant", [], ["s"], value_ints=[1, -1]),
        helper.make_node("Reshape", ["d", "s"], ["y"]),
        helper.make_node("Identity", ["words"], ["z"]),
    ]
    constant = helper.make_node("Constant", [], ["k"])
    reference = constant.attribute.add()
    reference.name, reference.ref_attr_name = "value_float", "by"
    reference.type = onnx.AttributeProto.FLOAT
    body = [constant, helper.make_node("Mul", ["a", "k"], ["r"])]
    imports = [helper.make_opsetid("", 20)]
    function = helper.make_function("local", "Twice", ["a"], ["r"], body, imports, ["by"])
    inputs = [port("x", ["n", 3, 8, 8]), port("flag", [], TensorProto.BOOL)]
    outputs = [port("y", [1, None]), port("z", [2], TensorProto.STRING)]
    graph = helper.make_graph(nodes, "rich", inputs, outputs, [raw, fields, words])
    return made(graph, [function], local=1)


def storage_model() -> bytes:
    """One initialiser in every element type, raw and in fields, one sparse, all given back."""
    rows = []
    types = ["FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16", "INT8", "INT16", "INT32", "INT64", "UINT8"]
    types += ["UINT16", "UINT32", "UINT64", "BOOL", "INT4", "UINT4", "FLOAT8E4M3FN"]
    for name in types:
        dtype = getattr(TensorProto, name)
        rows.append(helper.make_tensor(f"{name}_fields", dtype, [2, 2], [0, 1, 1, 0]))
        raw = TensorProto(name=f"{name}_raw", data_type=dtype, dims=[2, 2])
        bits = helper.tensor_dtype_to_np_dtype(dtype).itemsize * 8
        raw.raw_data = bytes(2 if name in ("INT4", "UINT4") else 4 * bits // 8)
        rows.append(raw)
    complex_row = helper.make_tensor("complex", TensorProto.COMPLEX64, [2], [1 + 2j, 3j])
    values = helper.make_tensor("sparse", FLOAT, [2], [1, 2])
    indices = helper.make_tensor("", INT64, [2], [0, 3])
    sparse = helper.make_sparse_tensor(values, indices, [2, 2])
    nodes = [helper.make_node("Identity", [row.name], [f"same_{row.name}"]) for row in rows]
    wide = [row.name for row in rows if "INT4" not in row.name and "FLOAT8" not in row.name]
    nodes += [helper.make_node("Cast", [name], [f"to_{name}"], to=FLOAT) for name in wide]
    nodes.append(helper.make_node("Sum", [f"to_{name}" for name in wide], ["y"]))
    nodes.append(helper.make_node("Identity", ["complex"], ["z"]))
    nodes.append(helper.make_node("MatMul", ["sparse", "x"], ["v"]))
    outputs = [port(f"same_{row.name}", [2, 2], row.data_type) for row in rows]
    outputs += [port("y", [2, 2]), port("z", [2], TensorProto.COMPLEX64), port("v", [2, None])]
    graph = helper.make_graph(
        nodes, "storage", [port("x", [2, "n"])], outputs, [*rows, complex_row]
    )
    graph.sparse_initializer.append(sparse)
    return made(graph, opset=21)


def control_model() -> bytes:
    """Loop, Scan and a sequence, with values of the outer graph in their bodies."""
    scalar = [port("i", [], INT64), port("go", [], TensorProto.BOOL), port("v", ["n", 3])]
    body = helper.make_graph(
        [
            helper.make_node("Add", ["v", "x"], ["v2"]),
            helper.make_node("ReduceMax", ["v2"], ["top"], keepdims=0),
            helper.make_node("Less", ["top", "limit"], ["on"]),
            helper.make_node("Identity", ["v2"], ["seen"]),
        ],
        "body",
        scalar,
        [port("on", [], TensorProto.BOOL), port("v2", ["n", 3]), port("seen", ["n", 3])],
    )
    step = helper.make_graph(
        [helper.make_node("Add", ["s", "row"], ["s2"]), helper.make_node("Relu", ["s2"], ["out"])],
        "step",
        [port("s", [3]), port("row", [3])],
        [port("s2", [3]), port("out", [3])],
    )
    nodes = [
        helper.make_node("Loop", ["trips", "", "x"], ["last", "all"], body=body),
        helper.make_node("Scan", ["start", "last"], ["sum", "rows"], body=step, num_scan_inputs=1),
        helper.make_node("SplitToSequence", ["rows"], ["parts"], axis=0, keepdims=1),
        helper.make_node("ConcatFromSequence", ["parts"], ["joined"], axis=1),
    ]
    weights = {"trips": np.array(3), "limit": np.float32(50), "start": np.zeros(3, np.float32)}
    tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in weights.items()]
    outputs = [port("all", None), port("sum", [3]), port("joined", None)]
    return made(helper.make_graph(nodes, "control", [port("x", ["n", 3])], outputs, tensors))


def convolution_model() -> bytes:
    """A small quantised image network: conv, batch norm, pooling, QDQ, resize, softmax."""
    rng = np.random.default_rng(1)
    weights = {
        "w": rng.standard_normal((8, 3, 3, 3)).astype(np.float32),
        "d": rng.standard_normal((8, 1, 3, 3)).astype(np.float32),
        "one": np.ones(8, np.float32),
        "zero": np.zeros(8, np.float32),
        "scale": np.float32(0.05),
        "point": np.uint8(128),
        "scales": np.array([1, 1, 2, 2], np.float32),
        "f": rng.standard_normal((8, 5)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "one", "zero", "zero", "one"], ["n"]),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("Conv", ["r", "d"], ["e"], group=8, auto_pad="SAME_UPPER"),
        helper.make_node("QuantizeLinear", ["e", "scale", "point"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "point"], ["u"]),
        helper.make_node("MaxPool", ["u"], ["m"], kernel_shape=[2, 2], ceil_mode=1),
        helper.make_node("Resize", ["m", "", "scales"], ["z"], mode="linear"),
        helper.make_node("GlobalAveragePool", ["z"], ["g"]),
        helper.make_node("Flatten", ["g"], ["h"]),
        helper.make_node("Gemm", ["h", "f"], ["l"], alpha=0.5),
        helper.make_node("Softmax", ["l"], ["y"]),
        helper.make_node("TopK", ["y", "k"], ["best", "where"]),
    ]
    tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in weights.items()]
    tensors.append(helper.make_tensor("k", INT64, [1], [3]))
    outputs = [port("best", [None, 3]), port("where", [None, 3], INT64)]
    graph = helper.make_graph(nodes, "conv", [port("x", ["n", 3, 16, 16])], outputs, tensors)
    return made(graph, opset=19)


def attention_model() -> bytes:
    """Token ids to attention over shapes computed in the graph, with GELU and layer norm."""
    rng = np.random.default_rng(2)
    weights = {
        "table": rng.standard_normal((10, 8)).astype(np.float32),
        "p": rng.standard_normal((8, 24)).astype(np.float32),
        "split": np.array([8, 8, 8]),
        "heads": np.array([2, 4]),
        "width": np.array([8]),
        "zero": np.array(0),
        "two": np.array([2]),
        "one": np.ones(8, np.float32),
        "half": np.float32(0.5),
    }
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["e"]),
        helper.make_node("LayerNormalization", ["e", "one"], ["n"], epsilon=1e-5),
        helper.make_node("MatMul", ["n", "p"], ["qkv"]),
        helper.make_node("Split", ["qkv", "split"], ["q", "k", "v"], axis=-1),
        helper.make_node("Shape", ["ids"], ["outer"]),
        helper.make_node("Concat", ["outer", "heads"], ["cut"], axis=0),
    ]
    for name in "qkv":
        nodes.append(helper.make_node("Reshape", [name, "cut"], [f"{name}4"]))
        perm = [0, 2, 3, 1] if name == "k" else [0, 2, 1, 3]
        nodes.append(helper.make_node("Transpose", [f"{name}4"], [f"{name}t"], perm=perm))
    nodes += [
        helper.make_node("MatMul", ["qt", "kt"], ["s"]),
        helper.make_node("Mul", ["s", "half"], ["scaled"]),
        helper.make_node("Softmax", ["scaled"], ["a"], axis=-1),
        helper.make_node("MatMul", ["a", "vt"], ["o"]),
        helper.make_node("Transpose", ["o"], ["ot"], perm=[0, 2, 1, 3]),
        helper.make_node("Concat", ["outer", "width"], ["flat"], axis=0),
        helper.make_node("Reshape", ["ot", "flat"], ["r"]),
        helper.make_node("Gelu", ["r"], ["y"]),
        helper.make_node("Slice", ["y", "two", "width", "two"], ["last"]),
        helper.make_node("Expand", ["half", "outer"], ["wide"]),
    ]
    tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in weights.items()]
    inputs = [port("ids", ["b", "t"], INT64)]
    outputs = [port("y", ["b", "t", 8]), port("last", None), port("wide", ["b", "t"])]
    return made(helper.make_graph(nodes, "attention", inputs, outputs, tensors))


def external_model(folder: Path) -> bytes:
    """y = x W + b with both in a file of their own, written to the folder."""
    rng = np.random.default_rng(3)
    weights = rng.standard_normal((4, 64)).astype(np.float32)
    (folder / "weights.bin").write_bytes(weights.tobytes() + bytes(256))
    tensors = []
    for name, dims, offset, length in (("w", [4, 64], 0, 1024), ("b", [64], 1024, 256)):
        tensor = TensorProto(name=name, dims=dims, data_type=FLOAT)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", "weights.bin"), ("offset", offset), ("length", length)):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, str(value)
        tensors.append(tensor)
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["y"])]
    graph = helper.make_graph(nodes, "external", [port("x", ["n", 4])], [port("y", None)], tensors)
    return made(graph)


def seed_models(folder: Path) -> dict[str, bytes]:
    """Every model by name; external data goes to the folder."""
    return {
        "rich": rich_model(),
        "storage": storage_model(),
        "control": control_model(),
        "convolution": convolution_model(),
        "attention": attention_model(),
        "external": external_model(folder),
    }
