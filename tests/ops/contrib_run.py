"""One-node models of com.microsoft, run by tiercel and by onnxruntime, and compared."""

from __future__ import annotations

import ctypes
from collections.abc import Collection, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import tiercel

onnxruntime = pytest.importorskip("onnxruntime")
Array = np.ndarray[Any, Any]
NUMBERS = {
    np.dtype(ml_dtypes.bfloat16): TensorProto.BFLOAT16,
    np.dtype(ml_dtypes.float8_e4m3fn): TensorProto.FLOAT8E4M3FN,
    np.dtype(ml_dtypes.int4): TensorProto.INT4,
    np.dtype(ml_dtypes.uint4): TensorProto.UINT4,
}
SMALL = {"float16": 4e-3, "bfloat16": 3e-2}


def random(*shape: int, seed: int = 0, dtype: Any = np.float32) -> Array:
    """Normal numbers that `seed` and `shape` decide."""
    rng = np.random.default_rng([seed, *shape])
    return rng.standard_normal(shape).astype(dtype)


def whole(low: int, high: int, *shape: int, seed: int = 0, dtype: Any = np.int32) -> Array:
    """Whole numbers in [low, high)."""
    return np.random.default_rng([seed, *shape]).integers(low, high, shape).astype(dtype)


def number_of(dtype: Any) -> int:
    """The ONNX number of an element type."""
    known = NUMBERS.get(np.dtype(dtype))
    return known if known else int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def tensor_of(name: str, x: Array) -> onnx.TensorProto:
    """A constant."""
    if x.dtype in NUMBERS:
        return helper.make_tensor(name, number_of(x.dtype), x.shape, x.astype(np.float32).ravel())
    return onnx.numpy_helper.from_array(x, name)


def model_of(
    op: str,
    inputs: Sequence[Array | None],
    outputs: Sequence[bool],
    attributes: dict[str, Any],
    constants: Collection[int] = (),
    symbolic: bool = False,
    types: Any = None,
) -> onnx.ModelProto:
    """A model of one node. `outputs`: which are wanted; `constants`: inputs that are initialisers;
    `symbolic`: graph inputs have no known extents but the last one; `types`: of all outputs, where
    they must be declared."""
    names = ["" if x is None else f"x{i}" for i, x in enumerate(inputs)]
    results = [f"y{i}" if wanted else "" for i, wanted in enumerate(outputs)]
    node = helper.make_node(op, names, results, "node", domain="com.microsoft", **attributes)
    infos, initializers = [], []
    for i, x in enumerate(inputs):
        if x is None:
            continue
        if i in constants:
            initializers.append(tensor_of(names[i], x))
            continue
        dims: list[Any] = list(x.shape)
        if symbolic:
            dims = [f"d{i}_{axis}" for axis in range(x.ndim - 1)] + dims[x.ndim - 1 :]
        infos.append(helper.make_tensor_value_info(names[i], number_of(x.dtype), dims))
    empty = [helper.make_empty_tensor_value_info(r) for r in results if r]
    if types:
        empty = [helper.make_tensor_value_info(e.name, number_of(types), None) for e in empty]
    graph = helper.make_graph([node], "graph", infos, empty, initializers)
    imports = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def feeds_of(inputs: Sequence[Array | None], constants: Collection[int]) -> dict[str, Array]:
    """What a run of the model is given."""
    return {f"x{i}": x for i, x in enumerate(inputs) if x is not None and i not in constants}


def run(
    op: str,
    inputs: Sequence[Array | None],
    *,
    outputs: Sequence[bool] = (True,),
    constants: Collection[int] = (),
    symbolic: bool = False,
    types: Any = None,
    **attributes: Any,
) -> list[Array]:
    """What tiercel computes."""
    model = model_of(op, inputs, outputs, attributes, constants, symbolic, types)
    session = tiercel.InferenceSession(model.SerializeToString())
    return session.run(None, feeds_of(inputs, constants))


def array_of(value: Any) -> Array:
    """An OrtValue as an array, also of the types that numpy lacks."""
    number = value.element_type()
    dtype = next((d for d, known in NUMBERS.items() if known == number), None)
    if dtype is None:
        return value.numpy()
    size = int(np.prod(value.shape()))
    if "int4" in dtype.name:
        data = np.frombuffer(ctypes.string_at(value.data_ptr(), (size + 1) // 2), np.uint8)
        halves = np.stack([data & 15, data >> 4], 1).ravel()[:size].astype(np.int16)
        signed = halves if dtype.name == "uint4" else (halves ^ 8) - 8
        return signed.astype(dtype).reshape(value.shape())
    data = ctypes.string_at(value.data_ptr(), size * dtype.itemsize)
    return np.frombuffer(data, dtype).reshape(value.shape())


def reference(
    op: str,
    inputs: Sequence[Array | None],
    *,
    outputs: Sequence[bool] = (True,),
    constants: Collection[int] = (),
    types: Any = None,
    **attributes: Any,
) -> list[Array]:
    """What onnxruntime computes, without optimising the node away."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    model = model_of(op, inputs, outputs, attributes, constants, types=types)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feeds = {
        name: onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(x, number_of(x.dtype))
        if x.dtype in NUMBERS
        else onnxruntime.OrtValue.ortvalue_from_numpy(x)
        if x.dtype != object
        else x
        for name, x in feeds_of(inputs, constants).items()
    }
    if any(x.dtype == object for x in feeds_of(inputs, constants).values()):
        return session.run(None, feeds_of(inputs, constants))
    return [array_of(v) for v in session.run_with_ort_values(None, feeds)]


def agree(got: Sequence[Array], want: Sequence[Array], tolerance: float) -> None:
    """Equal shapes and element types, and values within `tolerance`; whole numbers may be one off
    where it is not 0."""
    assert len(got) == len(want)
    for g, w in zip(got, want, strict=True):
        assert g.shape == w.shape
        assert g.dtype == w.dtype
        if not tolerance or g.dtype.kind in "OUSb":
            np.testing.assert_array_equal(g, w)
        elif g.dtype.kind in "iu":
            off = np.abs(g.astype(np.int64) - w.astype(np.int64))
            assert off.max(initial=0) <= 1
        else:
            own = max(tolerance, SMALL.get(g.dtype.name, 0))
            a, b = g.astype(np.float64), w.astype(np.float64)
            np.testing.assert_allclose(a, b, rtol=own, atol=own)


def check(
    op: str,
    inputs: Sequence[Array | None],
    tolerance: float = 2e-5,
    want: Sequence[Array] | None = None,
    symbolic: bool = True,
    **options: Any,
) -> None:
    """tiercel agrees with onnxruntime (or `want`), with extents known at load and without."""
    expected = reference(op, inputs, **options) if want is None else want
    agree(run(op, inputs, **options), expected, tolerance)
    if symbolic:
        agree(run(op, inputs, symbolic=True, **options), expected, tolerance)
