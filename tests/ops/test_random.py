"""Random operators: their distributions, seeds and element types, since values have no standard."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import tiercel

COUNT = 40_000
MARGIN = 5  # standard errors


def session(op: str, feeds: dict[str, np.ndarray], outputs: int = 1, **attributes: Any) -> Any:
    helper = onnx.helper
    infos = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
        for n, x in feeds.items()
    ]
    results = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, list(feeds), results, **attributes)
    empty = [helper.make_empty_tensor_value_info(r) for r in results]
    graph = helper.make_graph([node], "graph", infos, empty)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    return tiercel.InferenceSession(model.SerializeToString())


def draw(op: str, feeds: dict[str, np.ndarray], **attributes: Any) -> np.ndarray:
    return session(op, feeds, **attributes).run(None, feeds)[0]


def assert_mean(values: np.ndarray, mean: float, deviation: float) -> None:
    error = deviation / np.sqrt(values.size)
    assert abs(values.astype(np.float64).mean() - mean) < MARGIN * error


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("seed", [{}, {"seed": 3.0}])
def test_bernoulli(dtype, seed):
    p = np.repeat(np.array([0.0, 0.2, 0.7, 1.0], dtype), COUNT)
    got = draw("Bernoulli", {"x": p}, **seed)
    assert got.dtype == p.dtype
    assert set(np.unique(got)) <= {0, 1}
    for column, chance in zip(got.reshape(4, COUNT), (0.0, 0.2, 0.7, 1.0), strict=True):
        assert_mean(column, chance, np.sqrt(chance * (1 - chance)) + 1e-12)


def test_bernoulli_casts():
    got = draw("Bernoulli", {"x": np.full(COUNT, 0.5)}, dtype=onnx.TensorProto.INT32)
    assert got.dtype == np.int32
    assert_mean(got, 0.5, 0.5)


def test_random_normal():
    got = draw("RandomNormal", {}, mean=3.0, scale=2.0, shape=[COUNT])
    assert_mean(got, 3, 2)
    assert_mean((got - 3.0) ** 2, 4, 4 * np.sqrt(2))


def test_random_uniform():
    got = draw("RandomUniformLike", {"x": np.zeros(COUNT, np.float32)}, low=-1.0, high=3.0)
    assert -1 <= got.min() and got.max() <= 3
    assert_mean(got, 1, 4 / np.sqrt(12))
    assert_mean(got < 0, 0.25, 0.5)


def test_multinomial():
    weights = np.log(np.array([[0.1, 0.6, 0.3]], np.float32))
    got = draw("Multinomial", {"x": weights}, sample_size=COUNT)
    for value, chance in enumerate((0.1, 0.6, 0.3)):
        assert_mean(got == value, chance, np.sqrt(chance * (1 - chance)))


@pytest.mark.parametrize("ratio", [0.5, 0.75])
def test_training_dropout(ratio):
    feeds = {
        "x": np.ones(COUNT, np.float32),
        "ratio": np.array(ratio, np.float32),
        "training": np.array(True),
    }
    y, mask = session("Dropout", feeds, outputs=2, seed=7).run(None, feeds)
    assert_mean(mask, 1 - ratio, 0.5)
    np.testing.assert_array_equal(y, np.where(mask, np.float32(1 / (1 - ratio)), 0))


def test_a_seed_fixes_the_numbers():
    def first(**seed: float) -> np.ndarray:
        return draw("RandomUniform", {}, shape=[16], **seed)

    np.testing.assert_array_equal(first(seed=1.0), first(seed=1.0))
    assert (first(seed=1.0) != first(seed=2.0)).any()
    assert (first() != first()).any()
    again = session("RandomUniform", {}, shape=[16], seed=1.0)
    assert (again.run(None, {})[0] != again.run(None, {})[0]).any()
