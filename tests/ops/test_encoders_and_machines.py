"""Encoders of categories and support vector machines agree with numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper

import tiercel

RNG = np.random.default_rng(15)


def run(op: str, x: NDArray[Any], outputs: int = 1, **attributes: Any) -> list[NDArray[Any]]:
    names = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, ["x"], names, domain="ai.onnx.ml", **attributes)
    element = helper.np_dtype_to_tensor_dtype(x.dtype)
    given = helper.make_tensor_value_info("x", element, x.shape)
    empty = [helper.make_empty_tensor_value_info(n) for n in names]
    graph = helper.make_graph([node], "graph", [given], empty)
    imports = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 4)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=10)
    return tiercel.InferenceSession(model.SerializeToString()).run(None, {"x": x})


@pytest.mark.parametrize("dtype", ["int64", "int32", "float32", "float64"])
@pytest.mark.parametrize("count", [0, 1, 5, 100])
def test_one_hot_of_numbers(dtype, count):
    categories = RNG.permutation(np.arange(-count, count) * 7919)[:count]
    x = RNG.choice([*categories, 3, 12345], (9, 4)).astype(dtype)
    (got,) = run("OneHotEncoder", x, cats_int64s=[int(c) for c in categories] or [1], zeros=1)
    want = x[..., None].astype(np.int64) == (categories if count else [1])
    np.testing.assert_array_equal(got, want.astype(np.float32))


def test_one_hot_of_what_is_unknown():
    x = np.array([1.9, -0.5, np.nan, np.inf, 1e30], np.float32)
    (got,) = run("OneHotEncoder", x, cats_int64s=[1, 0, 1], zeros=1)
    np.testing.assert_array_equal(got, [[1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]])
    with pytest.raises(Exception, match="element 1 is of no known category"):
        run("OneHotEncoder", np.array([1, 2]), cats_int64s=[1], zeros=0)


def test_one_hot_of_strings():
    x = np.array([["b", "a"], ["", "c"]], object)
    (got,) = run("OneHotEncoder", x, cats_strings=["a", "b", ""], zeros=1)
    np.testing.assert_array_equal(got, [[[0, 1, 0], [1, 0, 0]], [[0, 0, 1], [0, 0, 0]]])


LABELS = {"int64": "int64", "float32": "float", "str": "string"}


@pytest.mark.parametrize("key", LABELS)
@pytest.mark.parametrize("value", LABELS)
@pytest.mark.parametrize("count", [1, 17, 200])
def test_labels(key, value, count):
    def of(name: str, n: NDArray[Any]) -> Any:
        return [f"w{i}" for i in n] if name == "str" else n.astype(name).tolist()

    keys, values = RNG.permutation(1000)[:count] - 500, RNG.integers(0, 9, count)
    asked = RNG.choice([*keys, 777], 300)
    table = dict(zip(keys, values, strict=True))
    known = np.array([table.get(k, -1) for k in asked])
    want = ["none" if v == -1 and value == "str" else of(value, np.array([v]))[0] for v in known]
    attributes = {
        f"keys_{LABELS[key]}s": of(key, keys),
        f"values_{LABELS[value]}s": of(value, values),
    }
    attributes[f"default_{LABELS[value]}"] = {"str": "none", "int64": -1, "float32": -1.0}[value]
    x = np.array(of(key, asked), object if key == "str" else key)
    (got,) = run("LabelEncoder", x, **attributes)
    np.testing.assert_array_equal(got, np.array(want, got.dtype))


def test_labels_of_tensors_and_nan():
    keys = np.array([np.nan, 0.0, -1.5])
    for dtype in ("int16", "float64"):
        attributes = {
            "keys_tensor": onnx.numpy_helper.from_array(keys),
            "values_tensor": onnx.numpy_helper.from_array(np.array([5, 6, 7], dtype)),
            "default_tensor": onnx.numpy_helper.from_array(np.array([9], dtype)),
        }
        (got,) = run("LabelEncoder", np.array([-0.0, np.nan, -1.5, 2]), **attributes)
        np.testing.assert_array_equal(got, np.array([6, 5, 7, 9], dtype))


@pytest.mark.parametrize("kernel", ["LINEAR", "POLY", "RBF", "SIGMOID"])
@pytest.mark.parametrize("features", [1, 15, 16, 50])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_regressor(kernel, features, dtype):
    x = RNG.uniform(-1, 1, (6, features)).astype(dtype)
    vectors, weights = RNG.uniform(-1, 1, (5, features)), RNG.uniform(-1, 1, 5)
    products, gamma, coef0 = x @ vectors.T, 0.2, 0.25
    distances = ((x[:, None] - vectors) ** 2).sum(2)
    kernels = {
        "LINEAR": products,
        "POLY": (gamma * products + coef0) ** 3,
        "RBF": np.exp(-gamma * distances),
        "SIGMOID": np.tanh(gamma * products + coef0),
    }
    (got,) = run(
        "SVMRegressor",
        x,
        kernel_type=kernel,
        kernel_params=[gamma, coef0, 3.0],
        support_vectors=vectors.ravel().tolist(),
        coefficients=weights.tolist(),
        n_supports=5,
        rho=[0.5],
    )
    want = (kernels[kernel] @ weights + 0.5)[:, None]
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)
