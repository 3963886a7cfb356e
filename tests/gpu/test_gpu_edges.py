"""Odd values, bad indices and empty inputs give on the GPU what they give on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

import tiercel
from gpu_nodes import element_type, gpu_session, node_model

pytestmark = pytest.mark.usefixtures("cuda_driver")
NAN, INF = float("nan"), float("inf")
PROVIDERS = ("CPUExecutionProvider", "CUDAExecutionProvider")


def session_of(provider: str, model: bytes) -> tiercel.InferenceSession:
    if provider == "CUDAExecutionProvider":
        return gpu_session(model)
    return tiercel.InferenceSession(model, providers=[provider])


def run(
    provider: str, op: str, feeds: dict[str, Any], outputs: list[int], **rest: Any
) -> list[Any]:
    session = session_of(provider, node_model(op, feeds, outputs, **rest))
    given = {n: x for n, x in feeds.items() if n not in rest.get("constants", {})}
    return list(session.run(None, given))


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_nan_is_the_largest_of_a_max_pool(provider: str, dtype: str) -> None:
    x = np.array([[[INF, NAN, 1, 2, -INF, 3]]], dtype)
    feeds, kind = {"x": x}, element_type(x)
    y, places = run(provider, "MaxPool", feeds, [kind, TensorProto.INT64], kernel_shape=[3])
    np.testing.assert_array_equal(y, np.array([[[NAN, NAN, 2, 3]]], dtype))
    assert places.tolist() == [[[1, 1, 3, 5]]]


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("reduction", ["max", "min"])
def test_a_scatter_keeps_nan(provider: str, reduction: str) -> None:
    feeds = {
        "x": np.array([NAN, 1, 2], np.float32),
        "indices": np.array([0, 1, 2, 2]),
        "updates": np.array([5, NAN, NAN, 3], np.float32),
    }
    (y,) = run(provider, "ScatterElements", feeds, [TensorProto.FLOAT], reduction=reduction)
    assert np.isnan(y).all()


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(("largest", "want"), [(1, [2, 5, 1, 3, 0, 4]), (0, [4, 0, 3, 1, 2, 5])])
def test_nan_is_the_largest_of_top_k(provider: str, largest: int, want: list[int]) -> None:
    x = np.array([1, INF, NAN, 2, -INF, NAN], np.float32)
    feeds = {"x": x, "k": np.array([6])}
    kinds = [TensorProto.FLOAT, TensorProto.INT64]
    y, places = run(provider, "TopK", feeds, kinds, largest=largest, constants={"k": feeds["k"]})
    assert places.tolist() == want
    np.testing.assert_array_equal(y, x[want])


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("last", [0, 1])
def test_nan_is_the_extreme_of_positions(provider: str, op: str, last: int) -> None:
    feeds = {"x": np.array([1, NAN, INF, NAN, -INF], np.float32)}
    (y,) = run(provider, op, feeds, [TensorProto.INT64], axis=0, keepdims=0, select_last_index=last)
    assert y == (3 if last else 1)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("at", [0, 40, 66])  # in a vector, behind the last one
def test_one_nan_leaves_no_range(provider: str, at: int) -> None:
    x = np.arange(67, dtype=np.float32)
    x[at] = NAN
    kinds = [TensorProto.UINT8, TensorProto.FLOAT, TensorProto.UINT8]
    y, scale, zero = run(provider, "DynamicQuantizeLinear", {"x": x}, kinds)
    assert np.isnan(scale)
    assert zero == 0
    assert y.shape == x.shape


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("shape", [(2, 3), (2, 0)])
def test_a_running_sum_names_its_node_when_there_is_no_such_axis(
    provider: str, shape: tuple[int, ...]
) -> None:
    feeds = {"x": np.ones(shape, np.float32), "axis": np.array(0)}
    session = session_of(provider, node_model("CumSum", feeds, [TensorProto.FLOAT], name="total"))
    for axis in (2, -3):
        with pytest.raises(tiercel.InvalidArgument, match=r'node "total" \(CumSum\): an index'):
            session.run(None, {**feeds, "axis": np.array(axis)})
    (y,) = session.run(None, feeds)
    np.testing.assert_array_equal(y, np.cumsum(feeds["x"], 0))


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_shape_with_negative_extents_is_an_invalid_argument(provider: str) -> None:
    feeds = {"shape": np.array([2, 3])}
    model = node_model("ConstantOfShape", feeds, [TensorProto.FLOAT], name="made")
    session = session_of(provider, model)
    with pytest.raises(tiercel.InvalidArgument, match=r'node "made".*extent -1'):
        session.run(None, {"shape": np.array([2, -1])})
    (y,) = session.run(None, feeds)
    assert y.shape == (2, 3)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("dtype", ["int32", "int64", "uint32", "uint64"])
def test_a_product_of_whole_numbers_may_be_transposed(provider: str, dtype: str) -> None:
    a, b = (np.arange(6).astype(dtype).reshape(shape) for shape in ((3, 2), (3, 2)))
    feeds, kind = {"a": a, "b": b}, element_type(a)
    (y,) = run(provider, "Gemm", feeds, [kind], transA=1)
    np.testing.assert_array_equal(y, a.T @ b)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_lengths_are_checked_where_there_are_no_steps(provider: str, op: str, gates: int) -> None:
    feeds = {
        "x": np.zeros((0, 2, 3), np.float32),
        "w": np.ones((1, gates * 4, 3), np.float32),
        "r": np.ones((1, gates * 4, 4), np.float32),
        "b": None,
        "lengths": np.zeros(2, np.int32),
    }
    kinds = [TensorProto.FLOAT] * 2
    model = node_model(op, feeds, kinds, name="cells", hidden_size=4)
    session = session_of(provider, model)
    given = {n: x for n, x in feeds.items() if x is not None}
    with pytest.raises(tiercel.InvalidArgument, match='node "cells"'):
        session.run(None, {**given, "lengths": np.array([0, 1], np.int32)})
    y, last = session.run(None, given)
    assert y.shape == (0, 1, 2, 4)
    assert not last.any()


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("reduction", [None, "none", "add"])  # None: GatherElements
def test_indices_reach_no_further_than_the_data(provider: str, reduction: str | None) -> None:
    feeds = {"x": np.zeros((3, 2), np.float32), "indices": np.zeros((3, 2), np.int64)}
    op, rest = "GatherElements", {}
    if reduction is not None:
        op, rest = "ScatterElements", {"reduction": reduction}
        feeds["updates"] = np.zeros((3, 2), np.float32)
    model = onnx.ModelProto.FromString(
        node_model(op, feeds, [TensorProto.FLOAT], name="moved", **rest)
    )
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[1].dim_param = f"{value.name}_columns"
    session = session_of(provider, model.SerializeToString())
    longer = {n: x if n == "x" else np.zeros((3, 4), x.dtype) for n, x in feeds.items()}
    with pytest.raises((tiercel.InvalidArgument, tiercel.InvalidGraph), match='node "moved"'):
        session.run(None, longer)
    (y,) = session.run(None, feeds)
    assert not y.any()


@pytest.mark.parametrize("provider", PROVIDERS)
def test_statistics_of_no_elements_are_nan(provider: str) -> None:
    feeds = {"x": np.zeros((3, 0), np.float32), "scale": np.zeros(0, np.float32)}
    kinds = [TensorProto.FLOAT] * 3
    y, mean, spread = run(provider, "LayerNormalization", feeds, kinds)
    assert y.shape == (3, 0)
    assert mean.shape == spread.shape == (3, 1)
    assert np.isnan(mean).all()
    assert np.isnan(spread).all()
