"""Functions of libm on the GPU, on the software device, against the CPU."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper

import softcuda
import tiercel

Array = npt.NDArray[Any]
# Operator: where its argument lies.
UNARY: dict[str, tuple[float, float]] = {
    "Sin": (-1e6, 1e6),
    "Cos": (-1e6, 1e6),
    "Tan": (-100, 100),
    "Asin": (-1, 1),
    "Acos": (-1, 1),
    "Atan": (-20, 20),
    "Sinh": (-9, 9),
    "Cosh": (-9, 9),
    "Tanh": (-9, 9),
    "Asinh": (-1e4, 1e4),
    "Acosh": (1, 1e4),
    "Atanh": (-0.999, 0.999),
    "Exp": (-80, 80),
    "Log": (1e-30, 1e30),
    "Erf": (-5, 5),
    "Softplus": (-30, 30),
}
ULPS = {"float32": 16, "float64": 16, "float16": 2}
SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan]


def session_of(nodes: list[onnx.NodeProto], feeds: dict[str, Array], gpu: bool) -> Any:
    def info(name: str, values: Array, shape: Any) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(values.dtype), shape
        )

    first = next(iter(feeds.values()))
    inputs = [info(name, values, values.shape) for name, values in feeds.items()]
    graph = helper.make_graph(nodes, "g", inputs, [info("y", first, None)])
    opsets = [helper.make_opsetid("", 22)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    if not gpu:
        return tiercel.InferenceSession(model)
    options = tiercel.SessionOptions()
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    return tiercel.InferenceSession(model, options, ["CUDAExecutionProvider"])


def compare(nodes: list[onnx.NodeProto], feeds: dict[str, Array], ulps: int) -> None:
    """The GPU runs all nodes and is near the CPU, in units of the last place."""
    with np.errstate(all="ignore"):
        got, want = (session_of(nodes, feeds, gpu).run(None, feeds)[0] for gpu in (True, False))
        assert got.dtype == want.dtype
        if want.dtype.kind in "iu":
            np.testing.assert_array_equal(got, want)
            return
        eps = float(ml_dtypes.finfo(want.dtype).eps)
        wide = [values.astype(np.float64) for values in (got, want)]
        np.testing.assert_allclose(*wide, rtol=ulps * eps, atol=ulps * eps * 1e-3)


def spread(low: float, high: float, dtype: str) -> Array:
    """Numbers between two others, many near to 0, and those that are treated apart."""
    rng = np.random.default_rng(3)
    values = np.concatenate(
        [rng.uniform(low, high, 300), rng.uniform(max(low, -3), min(high, 3), 200)]
    )
    return np.concatenate([values, SPECIAL]).astype(np.dtype(dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("op", UNARY)
def test_unary(cuda_driver: softcuda.Device, op: str, dtype: str) -> None:
    low, high = UNARY[op]
    if dtype == "float16":
        low, high = max(low, -100), min(high, 100)
    x = spread(low, high, dtype)
    compare([helper.make_node(op, ["x"], ["y"])], {"x": x}, ULPS[dtype])


@pytest.mark.parametrize(
    "base,exponent",
    [
        ("float32", "float32"),
        ("float32", "int64"),
        ("float64", "float64"),
        ("float16", "float32"),
        ("int32", "int32"),
        ("int64", "float32"),
    ],
)
def test_pow(cuda_driver: softcuda.Device, base: str, exponent: str) -> None:
    rng = np.random.default_rng(1)
    whole = "int" in base
    x = rng.integers(1, 7, 400) if whole else np.concatenate([rng.uniform(0.1, 4, 393), SPECIAL])
    y = rng.integers(0 if whole else -4, 6, 400) + (0.0 if "int" in exponent or whole else 0.25)
    feeds = {"x": x.astype(base), "e": y.astype(exponent)}
    compare([helper.make_node("Pow", ["x", "e"], ["y"])], feeds, 16)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_remainder(cuda_driver: softcuda.Device, dtype: str) -> None:
    rng = np.random.default_rng(1)
    feeds = {"x": rng.uniform(-900, 900, 400).astype(dtype)}
    feeds["m"] = (rng.uniform(0.5, 30, 400) * rng.choice([-1, 1], 400)).astype(dtype)
    compare([helper.make_node("Mod", ["x", "m"], ["y"], fmod=1)], feeds, 1)


def test_several_functions_in_one_program(cuda_driver: softcuda.Device) -> None:
    """Functions stand in front of the program once, with the tables that several of them use."""
    nodes = [
        helper.make_node("Sin", ["x"], ["a"]),
        helper.make_node("Cos", ["x"], ["b"]),
        helper.make_node("Mul", ["a", "b"], ["c"]),
        helper.make_node("Sin", ["c"], ["d"]),
        helper.make_node("Pow", ["d", "e"], ["y"]),
    ]
    rng = np.random.default_rng(1)
    feeds = {"x": rng.uniform(-9, 9, (3, 50)), "e": np.array([2.0])}
    compare(nodes, feeds, 64)


def test_function_behind_a_product(cuda_driver: softcuda.Device) -> None:
    rng = np.random.default_rng(1)
    feeds = {"a": rng.uniform(-1, 1, (9, 20)), "b": rng.uniform(-1, 1, (20, 30))}
    feeds = {name: values.astype(np.float32) for name, values in feeds.items()}
    nodes = [helper.make_node("MatMul", ["a", "b"], ["z"]), helper.make_node("Sinh", ["z"], ["y"])]
    compare(nodes, feeds, 400)
