"""Operands whose extents do not belong together are refused before a kernel reads beyond one."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

import tiercel
from seed_models import FLOAT, INT64, made, port

Q, K, PAST = [1, 4, 3, 8], [1, 2, 5, 8], [1, 2, 7, 8]


def attempt(op: str, operands: list[tuple[list[int], int]], fixed: bool, **attributes) -> None:
    """Loads and runs one node; `fixed`: the shapes are known when the model is loaded."""
    names = [f"i{n}" if shape is not None else "" for n, (shape, _) in enumerate(operands)]
    node = helper.make_node(op, names, ["y"], **attributes)
    inputs, feeds = [], {}
    for name, (shape, dtype) in zip(names, operands, strict=True):
        if not name:
            continue
        declared = shape if fixed else [f"{name}_{axis}" for axis in range(len(shape))]
        inputs.append(port(name, declared, dtype))
        feeds[name] = np.zeros(shape, helper.tensor_dtype_to_np_dtype(dtype))
    out = helper.make_empty_tensor_value_info("y")
    data = made(helper.make_graph([node], "g", inputs, [out]), opset=24)
    tiercel.InferenceSession(data).run(None, feeds)


def floats(*shapes: list[int] | None) -> list[tuple[list[int] | None, int]]:
    return [(shape, FLOAT) for shape in shapes]


CASES = [
    ("Attention", floats(Q, K, [1, 2, 6, 8]), {}, "do not belong together"),
    ("Attention", floats(Q, K, [1, 3, 5, 8]), {}, "do not belong together"),
    ("Attention", floats([2, *Q[1:]], K, K), {}, "do not belong together"),
    ("Attention", floats([1, 4, 3, 6], K, K), {}, "do not belong together"),
    ("Attention", floats([1, 3, 3, 8], K, K), {}, "3 heads of queries for 2"),
    ("Attention", floats(Q, K, K, None, PAST), {}, "past_value go together"),
    ("Attention", floats(Q, K, K, None, PAST, [1, 2, 6, 8]), {}, "input 5 has shape"),
    ("Attention", floats(Q, K, K, [2, 5]), {}, "input 3 has shape"),
    ("RotaryEmbedding", floats(Q, [9, 3], [9, 3]) + [([1, 3], INT64)], {}, "input 1 has shape"),
    ("RotaryEmbedding", floats(Q, [9, 4], [8, 4]) + [([1, 3], INT64)], {}, "input 2 has shape"),
    ("RotaryEmbedding", floats(Q, [9, 4], [9, 4]) + [([1, 2], INT64)], {}, "input 3 has shape"),
    ("RotaryEmbedding", floats(Q, [1, 2, 4], [1, 2, 4]), {}, "input 1 has shape"),
    ("BatchNormalization", floats([1, 4, 2, 2], [4], [4], [3], [4]), {}, "input 3 has shape"),
    ("InstanceNormalization", floats([1, 4, 2, 2], [4], [2]), {}, "input 2 has shape"),
    ("GroupNormalization", floats([1, 4, 2], [4], [4]), {"num_groups": 0}, "num_groups is 0"),
    ("GroupNormalization", floats([1, 4, 2], [4], [4]), {"num_groups": 3}, "num_groups is 3"),
    ("LRN", floats([1, 4, 2, 2]), {"size": 0}, "size must be 1"),
    ("LayerNormalization", floats([2, 6], [6], [4]), {}, "input 2 has shape"),
    ("LpNormalization", floats([2, 6]), {"axis": -(2**31)}, "axis"),
    ("PRelu", floats([], [3]), {}, "does not broadcast|input 1"),
    ("PRelu", floats([2, 1], [2, 3]), {}, "does not broadcast|input 1"),
    ("Det", floats([2, 3, 4]), {}, "square matrices"),
    ("NegativeLogLikelihoodLoss", [([2, 5], FLOAT), ([9], INT64)], {}, "input 1 has shape"),
    (
        "SoftmaxCrossEntropyLoss",
        [([2, 5], FLOAT), ([2], INT64), ([4], FLOAT)],
        {},
        "input 2 has shape",
    ),
    (
        "DequantizeLinear",
        [([2, 6], TensorProto.UINT8), ([3], FLOAT)],
        {"axis": 1},
        "input 1 has shape",
    ),
    (
        "DequantizeLinear",
        [([2, 6], TensorProto.UINT8), ([2, 3], FLOAT), ([2, 2], TensorProto.UINT8)],
        {"axis": 1, "block_size": 2},
        "zero point",
    ),
    (
        "DequantizeLinear",
        [([2, 6], TensorProto.UINT8), ([2, 3], FLOAT)],
        {"axis": 1, "block_size": -1},
        "block_size is -1",
    ),
    ("ReduceSum", [([2, 3], FLOAT), ([40], INT64)], {}, "axes has 40 entries"),
    ("ReduceMin", [([2, 3], FLOAT), ([1, 40], INT64)], {}, "axes has 40 entries"),
    ("CumSum", [([2, 3], FLOAT), ([0], INT64)], {}, "axis must be one number"),
]


@pytest.mark.parametrize("fixed", [True, False], ids=["fixed", "open"])
@pytest.mark.parametrize(
    ("op", "operands", "attributes", "message"),
    CASES,
    ids=[f"{case[0]}-{number}" for number, case in enumerate(CASES)],
)
def test_refused(op: str, operands, attributes, message: str, fixed: bool) -> None:
    with pytest.raises(Exception, match=message):
        attempt(op, operands, fixed, **attributes)


def test_positions_of_rotary_embeddings_are_checked_at_run() -> None:
    names = ["x", "cosine", "sine", "at"]
    node = helper.make_node("RotaryEmbedding", names, ["y"])
    inputs = [port("x", Q), port("cosine", [9, 4]), port("sine", [9, 4]), port("at", [1, 3], INT64)]
    session = tiercel.InferenceSession(
        made(helper.make_graph([node], "g", inputs, [port("y", Q)]), opset=24)
    )
    feeds = {p.name: np.zeros(p.shape, np.float32) for p in session.get_inputs()[:3]}
    session.run(None, {**feeds, "at": np.array([[0, 8, 1]])})
    for position in (9, -1, 2**40):
        with pytest.raises(Exception, match="out of range"):
            session.run(None, {**feeds, "at": np.array([[0, position, 1]])})


@pytest.mark.parametrize("k", [0, 1, 3])
def test_top_k_without_its_second_output(k: int) -> None:
    node = helper.make_node("TopK", ["x", "k"], ["y"])
    inputs = [port("x", [2, 3]), port("k", [1], INT64)]
    data = made(helper.make_graph([node], "g", inputs, [port("y", [2, None])]))
    x = np.array([[1, 3, 2], [6, 5, 4]], np.float32)
    (y,) = tiercel.InferenceSession(data).run(None, {"x": x, "k": np.array([k])})
    np.testing.assert_array_equal(y, -np.sort(-x)[:, :k])


def test_statistics_of_a_double_layer_norm_are_floats() -> None:
    node = helper.make_node("LayerNormalization", ["x", "w"], ["y", "mean", "spread"])
    inputs = [port("x", [8, 4], TensorProto.DOUBLE), port("w", [4], TensorProto.DOUBLE)]
    outputs = [port("y", [8, 4], TensorProto.DOUBLE), port("mean", [8, 1]), port("spread", [8, 1])]
    data = made(helper.make_graph([node], "g", inputs, outputs))
    x = np.random.default_rng(0).standard_normal((8, 4))
    _, mean, spread = tiercel.InferenceSession(data).run(None, {"x": x, "w": np.ones(4)})
    assert mean.dtype == spread.dtype == np.float32
    np.testing.assert_allclose(mean, x.mean(1, keepdims=True), rtol=1e-5, atol=1e-6)
    expected = 1 / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(spread, expected, rtol=1e-5)


@pytest.mark.parametrize("op", ["Softmax", "PRelu", "Add", "Upsample"])
def test_old_forms_without_their_inputs(op: str) -> None:
    for inputs in ([], [""]):
        node = helper.make_node(op, inputs, ["y"])
        data = made(helper.make_graph([node], "g", [], [port("y", None)]), opset=6)
        with pytest.raises(Exception, match="input"):
            tiercel.InferenceSession(data)


@pytest.mark.parametrize("axis", [9, -9, -(2**63)])
def test_axis_of_an_old_broadcast(axis: int) -> None:
    node = helper.make_node("Add", ["x", "b"], ["y"], broadcast=1, axis=axis)
    inputs = [port("x", [2, 3, 4]), port("b", [3])]
    data = made(helper.make_graph([node], "g", inputs, [port("y", [2, 3, 4])]), opset=6)
    with pytest.raises(Exception, match="is outside"):
        tiercel.InferenceSession(data)


def test_a_state_that_a_scan_leaves_out() -> None:
    body = helper.make_graph(
        [helper.make_node("Add", ["s", "r"], ["s2"]), helper.make_node("Identity", ["s2"], ["o"])],
        "body",
        [port("s", []), port("r", [])],
        [port("s2", []), port("o", [])],
    )
    node = helper.make_node("Scan", ["", "x"], ["y", "z"], body=body, num_scan_inputs=1)
    outputs = [port("y", []), port("z", [5])]
    data = made(helper.make_graph([node], "g", [port("x", [5])], outputs))
    with pytest.raises(Exception, match="input|tensor"):
        tiercel.InferenceSession(data).run(None, {"x": np.zeros(5, np.float32)})
