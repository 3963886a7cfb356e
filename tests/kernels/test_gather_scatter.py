"""Operators that read or write at indices agree with onnx's reference and check every index."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import tiercel
from single_node import agree, check, model_of, run

RNG = np.random.default_rng(8)


def values(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("index", ["int32", "int64"])
def test_gather(axis, index):
    x = values(4, 5, 3)
    check("Gather", [x, np.array([[0, -1], [2, 1]], index)], axis=axis)
    check("Gather", [x, np.array(-2, index)], axis=axis)


@pytest.mark.parametrize("dtype", ["float16", "int8", "bool", "int64", "complex128"])
def test_gather_takes_every_width(dtype):
    x = RNG.integers(0, 2, (4, 5)).astype(dtype)
    agree(run("Gather", [x, np.array([3, 0])]), [x[[3, 0]]])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_gather_elements(axis):
    shape = [2 if a == axis else n for a, n in enumerate((4, 5, 3))]
    check("GatherElements", [values(4, 5, 3), RNG.integers(-3, 3, shape)], axis=axis)


def test_gather_nd():
    x = values(2, 3, 4, 5)
    check("GatherND", [x, RNG.integers(-2, 2, (3, 2))])
    check("GatherND", [x, RNG.integers(-3, 3, (2, 6, 1))], batch_dims=1)


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "min", "max"])
@pytest.mark.parametrize("dtype", ["float32", "int32", "float16", "uint8"])
def test_scatter(reduction, dtype):
    x = RNG.integers(0, 9, (4, 5)).astype(dtype)
    updates = RNG.integers(0, 9, (2, 3)).astype(dtype)
    indices = np.array([[0, 1, 2], [3, -2, 1]])
    for axis in (0, 1):
        check("ScatterElements", [x, indices, updates], axis=axis, reduction=reduction)
    rows = RNG.integers(0, 9, (3, 5)).astype(dtype)
    check("ScatterND", [x, np.array([[1], [3], [-4]]), rows], reduction=reduction)


def test_duplicates_add_up():
    got = run(
        "ScatterND",
        [np.zeros(3, np.float32), np.array([[1], [1], [1]]), np.ones(3, np.float32)],
        reduction="add",
    )
    agree(got, [np.array([0, 3, 0], np.float32)])


def scattered(op: str, inputs: list[np.ndarray], **attributes: object) -> list[np.ndarray]:
    """The results on one, two and three threads, which agree bit by bit."""
    data = model_of(op, inputs, 1, 21, attributes).SerializeToString()
    feeds = {f"x{i}": x for i, x in enumerate(inputs)}
    results = []
    for threads in (1, 2, 3):
        options = tiercel.SessionOptions()
        options.intra_op_num_threads = threads
        results.append(tiercel.InferenceSession(data, options).run(None, feeds))
        np.testing.assert_array_equal(results[-1][0].view("i4"), results[0][0].view("i4"))
    return results[0]


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "min", "max"])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("shape", [(5, 40, 3), (7, 1, 300), (3, 130, 1)])
def test_scatter_of_runs(reduction, axis, constant, shape):
    count = [9 if a == axis else n for a, n in enumerate(shape)]
    drawn = [n if a <= axis or not constant else 1 for a, n in enumerate(count)]
    n = shape[axis]
    indices = np.broadcast_to(RNG.integers(-n, n, drawn), count).copy()
    updates = values(*count)
    updates.flat[::50] = np.inf
    inputs = [values(*shape), indices, updates]
    got = scattered("ScatterElements", inputs, axis=axis, reduction=reduction)
    agree(got, [in_order(*inputs, axis, reduction)])


MERGE = {
    "none": lambda old, new: new,
    "add": lambda old, new: old + new,
    "mul": lambda old, new: old * new,
    "min": min,
    "max": max,
}


def in_order(
    x: np.ndarray, indices: np.ndarray, updates: np.ndarray, axis: int, reduction: str
) -> np.ndarray:
    """ScatterElements, one update after another."""
    y = x.copy()
    for place in np.ndindex(indices.shape):
        at = list(place)
        at[axis] = indices[place]
        y[tuple(at)] = MERGE[reduction](y[tuple(at)], updates[place])
    return y


@pytest.mark.parametrize("reduction", ["none", "add", "max"])
@pytest.mark.parametrize("inner", [1, 63, 64, 400])
def test_scatter_nd_of_runs(reduction, inner):
    x, updates = values(6, 4, inner), values(90, inner)
    updates.flat[::70] = np.nan if reduction != "max" else -np.inf
    tuples = np.stack([RNG.integers(-6, 6, 90), RNG.integers(-4, 4, 90)], axis=1)
    got = scattered("ScatterND", [x, tuples, updates], reduction=reduction)
    want = x.copy()
    for (i, j), row in zip(tuples, updates, strict=True):
        merged = {"none": row, "add": want[i, j] + row, "max": np.maximum(want[i, j], row)}
        want[i, j] = merged[reduction]
    agree(got, [want])


def test_scatter_into_what_a_node_computes():
    """The output takes the memory of the data."""
    nodes = [
        onnx.helper.make_node("Relu", ["x"], ["a"]),
        onnx.helper.make_node("ScatterND", ["a", "i", "u"], ["b"], reduction="add"),
        onnx.helper.make_node("ScatterElements", ["b", "j", "v"], ["c"]),
        onnx.helper.make_node("Softmax", ["c"], ["y"]),
    ]
    feeds = {
        "x": values(8, 30),
        "i": np.array([[1], [1], [-2]]),
        "u": values(3, 30),
        "j": np.array([[2, 5]]),
        "v": values(1, 2),
    }
    infos = [
        onnx.helper.make_tensor_value_info(
            n, onnx.helper.np_dtype_to_tensor_dtype(x.dtype), x.shape
        )
        for n, x in feeds.items()
    ]
    out = [onnx.helper.make_empty_tensor_value_info("y")]
    graph = onnx.helper.make_graph(nodes, "graph", infos, out)
    imports = [onnx.helper.make_opsetid("", 18)]
    model = onnx.helper.make_model(graph, opset_imports=imports, ir_version=9)
    got = tiercel.InferenceSession(model.SerializeToString()).run(None, feeds)
    agree(got, ReferenceEvaluator(model).run(None, feeds), tolerance=1e-6)


@pytest.mark.parametrize("op", ["Gather", "GatherElements", "GatherND"])
@pytest.mark.parametrize("index", [-5, 4, 2**40])
def test_an_index_outside_is_an_error(op, index):
    with pytest.raises(Exception, match="node"):
        run(op, [values(4), np.array([index])])


def test_compress():
    x = values(4, 5, 3)
    check("Compress", [x, np.array([True, False, True])], axis=1)
    check("Compress", [x, np.array([True, False, True, True])])
    check("Compress", [x, np.array([False])], axis=0)


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_one_hot(axis):
    inputs = [np.array([[1, -2, 7]]), np.array(4), np.array([2.0, 3.0], np.float32)]
    check("OneHot", inputs, axis=axis)


@pytest.mark.parametrize("mode", ["linear", "circular"])
def test_tensor_scatter(mode):
    cache, update = values(2, 3, 8, 4), values(2, 3, 2, 4)
    starts = np.array([1, 6 if mode == "linear" else 7])
    check("TensorScatter", [cache, update, starts], mode=mode, opset=24)
