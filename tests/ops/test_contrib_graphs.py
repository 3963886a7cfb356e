"""Operators of com.microsoft one behind the other and in bodies: each knows the shapes it needs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import tiercel
from contrib_run import Array, onnxruntime, random

DOMAIN = "com.microsoft"
IMPORTS = [helper.make_opsetid("", 20), helper.make_opsetid(DOMAIN, 1)]
WEIGHTS = {"w": random(8, 8), "gain": random(8, seed=1), "bias": random(8, seed=2)}


def fused(a: str, b: str, y: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node("FusedMatMul", [a, b], [y], domain=DOMAIN, **attributes)


def normed(x: str, skip: str, y: str) -> onnx.NodeProto:
    inputs = [x, skip, "gain", "bias"]
    return helper.make_node("SkipLayerNormalization", inputs, [y], domain=DOMAIN)


def chain(x: str, y: str) -> list[onnx.NodeProto]:
    """Each node needs the rank of what the one before makes."""
    return [
        fused(x, "w", f"{y}_a", transB=1, alpha=0.5),
        helper.make_node("Relu", [f"{y}_a"], [f"{y}_b"]),
        normed(f"{y}_b", x, f"{y}_c"),
        fused(f"{y}_c", f"{y}_b", f"{y}_d", transB=1),
        fused(f"{y}_d", f"{y}_c", f"{y}_e", transA=1),
        helper.make_node("BiasGelu", [f"{y}_e", "bias"], [y], domain=DOMAIN),
    ]


def agree(nodes: list[onnx.NodeProto], feeds: dict[str, Array]) -> None:
    """Both packages give the same, with extents that the model does not say."""
    infos = [
        helper.make_tensor_value_info(
            name,
            helper.np_dtype_to_tensor_dtype(x.dtype),
            [f"{name}_{i}" for i in range(x.ndim - 1)] + list(x.shape[-1:]),
        )
        for name, x in feeds.items()
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    weights = [numpy_helper.from_array(x, name) for name, x in WEIGHTS.items()]
    graph = helper.make_graph(nodes, "graph", infos, outputs, weights)
    model = helper.make_model(graph, opset_imports=IMPORTS, ir_version=10).SerializeToString()
    theirs = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    ours = tiercel.InferenceSession(model)
    for got, want in zip(ours.run(None, feeds), theirs.run(None, feeds), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_chains() -> None:
    agree(chain("x", "y"), {"x": random(2, 5, 8)})


def branch(nodes: list[onnx.NodeProto], result: str) -> onnx.GraphProto:
    output = helper.make_tensor_value_info(result, TensorProto.FLOAT, None)
    return helper.make_graph(nodes, "branch", [], [output])


def test_bodies() -> None:
    """A body captures what an operator outside makes, and one outside needs what the body makes."""
    then = branch(chain("m", "then"), "then")
    other = branch([helper.make_node("Neg", ["m"], ["other"])], "other")
    nodes = [
        *chain("x", "m"),
        helper.make_node("If", ["c"], ["n"], then_branch=then, else_branch=other),
        *chain("n", "y"),
    ]
    for condition in (True, False):
        agree(nodes, {"x": random(2, 5, 8), "c": np.array(condition)})
