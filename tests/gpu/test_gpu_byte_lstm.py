"""DynamicQuantizeLSTM on the GPU, on the software device, against the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper

import softcuda
import tiercel
from gpu_nodes import gpu_session

Array = npt.NDArray[Any]
NAMES = ["X", "W", "R", "B", "L", "H", "C", "", "ws", "wz", "rs", "rz"]


def inputs(
    shape: tuple[int, int, int],
    hidden: int,
    directions: int,
    kind: str,
    each: bool,
    optional: bool,
) -> dict[str, Array]:
    """Inputs by name; `each`: a scale and zero point of each column; `optional`: bias, lengths and
    first states.
    """
    rng = np.random.default_rng(hidden)
    steps, batch, size = shape
    columns = 4 * hidden
    limits = np.iinfo(kind)
    scales = (directions, columns) if each else (directions,)

    def weights(depth: int) -> Array:
        shape = (directions, depth, columns)
        made: Array = rng.integers(limits.min, limits.max + 1, shape, limits.dtype)
        return made

    def scale() -> Array:
        return (rng.random(scales) * 0.005 + 0.002).astype(np.float32)

    def zero() -> Array:
        middle = 128 if kind == "uint8" else 0
        return rng.integers(middle - 9, middle + 9, scales).astype(kind)

    given: dict[str, Array] = {
        "X": rng.standard_normal(shape).astype(np.float32),
        "W": weights(size),
        "R": weights(hidden),
    }
    if optional:
        given["B"] = rng.standard_normal((directions, 2 * columns)).astype(np.float32)
        given["L"] = rng.integers(0, steps + 1, batch).astype(np.int32)
        for name in "HC":
            given[name] = rng.standard_normal((directions, batch, hidden)).astype(np.float32)
    return given | {"ws": scale(), "wz": zero(), "rs": scale(), "rz": zero()}


def model_of(given: dict[str, Array], **attributes: Any) -> bytes:
    """One node, whose weights, scales and zero points are constants."""
    constant = ["W", "R", "B", "ws", "wz", "rs", "rz"]
    info = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in given.items()
        if n not in constant
    ]
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("y", "h", "c")]
    names = [n if n in given else "" for n in NAMES]
    node = helper.make_node(
        "DynamicQuantizeLSTM", names, ["y", "h", "c"], domain="com.microsoft", **attributes
    )
    tensors = [onnx.numpy_helper.from_array(given[n], n) for n in constant if n in given]
    graph = helper.make_graph([node], "g", info, outputs, tensors)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString())


CASES = [((5, 1, 7), 6), ((4, 3, 20), 33), ((3, 2, 16), 256), ((1, 1, 3), 520)]


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("shape,hidden", CASES)
@pytest.mark.parametrize("kind", ["int8", "uint8"])
@pytest.mark.parametrize("each,optional", [(False, False), (True, True)])
def test_lstm(
    cuda_driver: softcuda.Device,
    direction: str,
    shape: tuple[int, int, int],
    hidden: int,
    kind: str,
    each: bool,
    optional: bool,
) -> None:
    given = inputs(shape, hidden, 1 + (direction == "bidirectional"), kind, each, optional)
    model = model_of(given, direction=direction, hidden_size=hidden)
    session = gpu_session(model)
    assert "lstm_bytes cuda" in session.explain()
    feeds = {name: given[name] for name in ("X", "L", "H", "C") if name in given}
    first, second = session.run(None, feeds), session.run(None, feeds)
    wanted = tiercel.InferenceSession(model).run(None, feeds)
    for got, same, want in zip(first, second, wanted, strict=True):
        assert got.tobytes() == same.tobytes()
        # A state on the edge of two bytes may become either.
        np.testing.assert_allclose(got, want, rtol=2e-3, atol=2e-3)


def test_what_a_kernel_does_not_know_is_refused(cuda_driver: softcuda.Device) -> None:
    given = inputs((2, 1, 4), 8, 1, "int8", False, False)
    relu = model_of(given, hidden_size=8, activations=["Relu", "Tanh", "Tanh"])
    with pytest.raises(tiercel.NotImplemented, match="activation Relu"):
        gpu_session(relu)
    with pytest.raises(tiercel.NotImplemented, match='activations is "relu", the kernel knows'):
        tiercel.InferenceSession(relu)
    turned = model_of(given, hidden_size=8, activations=["Tanh", "Sigmoid", "Tanh"])
    with pytest.raises(tiercel.NotImplemented, match="has other activations than Sigmoid, Tanh"):
        tiercel.InferenceSession(turned)


def test_activations_may_be_named_as_they_are(cuda_driver: softcuda.Device) -> None:
    given = inputs((2, 1, 4), 8, 1, "int8", False, False)
    usual = tiercel.InferenceSession(model_of(given, hidden_size=8)).run(None, {"X": given["X"]})
    for names in (["Sigmoid", "Tanh", "Tanh"], ["sigmoid", "tanh", "TANH"]):
        named = tiercel.InferenceSession(model_of(given, hidden_size=8, activations=names))
        for got, want in zip(named.run(None, {"X": given["X"]}), usual, strict=True):
            assert got.tobytes() == want.tobytes()
