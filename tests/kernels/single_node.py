"""One-node models: run by tiercel and by a reference, and compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

import tiercel


def model_of(
    op: str, inputs: list[np.ndarray | None], outputs: int, opset: int, attributes: dict[str, Any]
) -> onnx.ModelProto:
    """A model of one node whose inputs are graph inputs of fixed shape; None: absent."""
    names = ["" if x is None else f"x{i}" for i, x in enumerate(inputs)]
    results = [f"y{i}" for i in range(outputs)]
    node = onnx.helper.make_node(op, names, results, name="node", **attributes)
    infos = [
        onnx.helper.make_tensor_value_info(
            n, onnx.helper.np_dtype_to_tensor_dtype(x.dtype), x.shape
        )
        for n, x in zip(names, inputs, strict=True)
        if x is not None
    ]
    empty = [onnx.helper.make_empty_tensor_value_info(r) for r in results]
    graph = onnx.helper.make_graph([node], "graph", infos, empty)
    imports = [onnx.helper.make_opsetid("", opset)]
    if attributes.get("domain"):
        imports.append(onnx.helper.make_opsetid(attributes["domain"], 1))
    return onnx.helper.make_model(graph, opset_imports=imports, ir_version=10)


def run(
    op: str,
    inputs: list[np.ndarray | None],
    *,
    outputs: int = 1,
    opset: int = 21,
    **attributes: Any,
) -> list[np.ndarray]:
    """What tiercel computes."""
    model = model_of(op, inputs, outputs, opset, attributes)
    session = tiercel.InferenceSession(model.SerializeToString())
    return session.run(None, {f"x{i}": x for i, x in enumerate(inputs) if x is not None})


def reference(
    op: str,
    inputs: list[np.ndarray | None],
    *,
    outputs: int = 1,
    opset: int = 21,
    **attributes: Any,
) -> list[np.ndarray]:
    """What onnx's reference computes."""
    model = model_of(op, inputs, outputs, opset, attributes)
    feeds = {f"x{i}": x for i, x in enumerate(inputs) if x is not None}
    return ReferenceEvaluator(model).run(None, feeds)


def agree(got: list[np.ndarray], want: list[Any], tolerance: float = 0.0) -> None:
    """Equal shapes and dtypes, and values within `tolerance` (0: the same)."""
    assert len(got) == len(want)
    for g, w in zip(got, want, strict=True):
        w = np.asarray(w)
        assert g.shape == w.shape
        assert g.dtype == w.dtype
        if tolerance:
            np.testing.assert_allclose(
                g.astype(np.float64), w.astype(np.float64), rtol=tolerance, atol=tolerance
            )
        else:
            np.testing.assert_array_equal(g, w)


def check(op: str, inputs: list[np.ndarray | None], tolerance: float = 0.0, **options: Any) -> None:
    """tiercel and onnx's reference agree on one node."""
    agree(run(op, inputs, **options), reference(op, inputs, **options), tolerance)
