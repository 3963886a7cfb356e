"""Shape functions agree with onnx.shape_inference, and with the values of onnx's backend tests."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from onnx.backend.test.loader import load_model_tests

from tiercel import _core


@functools.cache
def cases() -> dict[str, Any]:
    """onnx's one-node tests by name, those of expanded functions left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = load_model_tests(kind="node")
    return {
        case.name: case
        for case in found
        if "_expanded" not in case.name
        and all(isinstance(v, TensorProto | np.ndarray) for v in case.data_sets[0][0])
    }


def array_of(value: Any) -> np.ndarray:
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)


def with_constants(case: Any) -> onnx.ModelProto:
    """The case's model with its small integer inputs as initialisers: these are the shapes, axes
    and sizes that shape functions read."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    values = case.data_sets[0][0]
    kept = []
    for info, value in zip(model.graph.input, values, strict=False):
        array = array_of(value)
        if array.dtype.kind in "iu" and array.ndim < 2 and array.size <= 16:
            model.graph.initializer.append(numpy_helper.from_array(array, info.name))
        else:
            kept.append(info)
    del model.graph.input[:]
    model.graph.input.extend(kept)
    for output in model.graph.output:
        if output.type.HasField("tensor_type"):
            output.type.tensor_type.ClearField("shape")
    return model


def with_symbols(model: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, int]]:
    """The model with a symbol for each extent of its inputs, and what the symbols stand for."""
    out = onnx.ModelProto()
    out.CopyFrom(model)
    sizes: dict[str, int] = {}
    for i, info in enumerate(out.graph.input):
        for j, dim in enumerate(info.type.tensor_type.shape.dim):
            sizes[f"n{i}_{j}"] = dim.dim_value
            dim.dim_param = f"n{i}_{j}"
    return out, sizes


def inferred(model: onnx.ModelProto) -> list[tuple[str, list[Any] | None]]:
    return [(kind, dims) for _, kind, dims in _core.infer_outputs(model.SerializeToString())]


def expected(model: onnx.ModelProto) -> list[list[Any] | None]:
    """What onnx says of the outputs' shapes; it may know less than the operator does."""
    try:
        graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except onnx.shape_inference.InferenceError:
        return [None] * len(model.graph.output)
    out = []
    for value in graph.output:
        tensor = value.type.tensor_type
        if not value.type.HasField("tensor_type") or not tensor.HasField("shape"):
            out.append(None)
            continue
        out.append([d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim])
    return out


@pytest.mark.parametrize("name", sorted(cases()))
def test_known_extents_are_those_of_the_result(name):
    case = cases()[name]
    model = with_constants(case)
    oracle = expected(model)
    for (kind, dims), value, known in zip(
        inferred(model), case.data_sets[0][1], oracle, strict=True
    ):
        if not isinstance(value, TensorProto | np.ndarray | np.generic):
            continue
        shape = array_of(value).shape
        assert kind.startswith(("tensor(", "optional("))
        if dims is None:
            assert known is None, f"onnx infers {known}"
            continue
        assert len(dims) == len(shape)
        for axis, (dim, extent) in enumerate(zip(dims, shape, strict=True)):
            if isinstance(dim, int):
                assert dim == extent
            elif known is not None:
                assert known[axis] is None, f"onnx infers {known}, tiercel {dims}"


@pytest.mark.parametrize("name", sorted(cases()))
def test_symbols_stand_for_the_extents_of_the_result(name):
    case = cases()[name]
    model, sizes = with_symbols(with_constants(case))
    for (_, dims), value in zip(inferred(model), case.data_sets[0][1], strict=True):
        if dims is None or not isinstance(value, TensorProto | np.ndarray | np.generic):
            continue
        shape = array_of(value).shape
        assert len(dims) == len(shape)
        for dim, extent in zip(dims, shape, strict=True):
            if isinstance(dim, int):
                assert dim == extent
            elif dim in sizes and sizes[dim] != 1:  # an extent of one may broadcast
                assert sizes[dim] == extent
