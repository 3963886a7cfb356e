"""Pointwise programs of packed elements on the CUDA provider, against the CPU provider."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import softcuda
import tiercel
from gpu_nodes import gpu_session

PACKED = {
    "UINT4": 15, "INT4": 7, "UINT2": 3, "INT2": 1, "FLOAT4E2M1": 6,
}  # fmt: skip
WIDE = ["FLOAT", "FLOAT16", "BFLOAT16", "INT8", "UINT8", "INT32", "INT64", "DOUBLE"]


def there_and_back(shape: tuple[int, ...], kind: str, packed: str) -> bytes:
    """x to the packed type as p, and back as y; an input of the graph is cast, too."""
    number, back = getattr(TensorProto, packed), getattr(TensorProto, kind)
    nodes = [
        helper.make_node("Cast", ["x"], ["p"], to=number),
        helper.make_node("Cast", ["p"], ["y"], to=back),
    ]
    graph = helper.make_graph(
        nodes,
        "packed",
        [helper.make_tensor_value_info("x", back, shape)],
        [helper.make_tensor_value_info(n, t, shape) for n, t in (("p", number), ("y", back))],
    )
    opsets = [helper.make_opsetid("", 26)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=13)
    return bytes(made.SerializeToString())


@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize("kind", WIDE)
def test_casts(cuda_driver: softcuda.Device, kind: str, packed: str) -> None:
    rng = np.random.default_rng(1)
    dtype = helper.tensor_dtype_to_np_dtype(getattr(TensorProto, kind))
    for shape in ((1,), (3,), (8,), (5, 7), (33, 130), (0,), ()):
        low = -PACKED[packed] if packed not in ("UINT4", "UINT2") else 0
        if kind == "UINT8":
            low = 0
        x = np.asarray(rng.integers(low, PACKED[packed] + 1, shape)).astype(dtype)
        model = there_and_back(shape, kind, packed)
        cpu = tiercel.InferenceSession(model, providers=["CPUExecutionProvider"])
        want: list[Any] = cpu.run(None, {"x": x})
        got: list[Any] = gpu_session(model).run(None, {"x": x})
        for mine, reference in zip(got, want, strict=True):
            assert mine.dtype == reference.dtype
            np.testing.assert_array_equal(mine.astype(np.float32), reference.astype(np.float32))
