"""QuantizeLinear and DequantizeLinear by runs of elements: a scale for all, for an axis, for
blocks; elements that are constants, and that are not.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

import tiercel
from single_node import agree

RNG = np.random.default_rng(5)
SHAPES = [((3, 5, 7), 1), ((2, 37), -1), ((70, 130), 0), ((4, 1300), 1), ((2, 3, 4100), 0)]


def model_of(
    op: str, inputs: list[np.ndarray], constant: bool, **attributes: int
) -> onnx.ModelProto:
    """`constant`: the first input too, not the others only."""
    names = [f"x{i}" for i in range(len(inputs))]
    node = onnx.helper.make_node(op, names, ["y"], name="node", **attributes)
    kind = onnx.helper.np_dtype_to_tensor_dtype(inputs[0].dtype)
    first = 0 if constant else 1
    infos = [onnx.helper.make_tensor_value_info("x0", kind, inputs[0].shape)][:first]
    constants = [numpy_helper.from_array(x, n) for x, n in zip(inputs, names, strict=True)][first:]
    result = onnx.helper.make_empty_tensor_value_info("y")
    graph = onnx.helper.make_graph([node], "graph", infos, [result], constants)
    imports = [onnx.helper.make_opsetid("", 21)]
    return onnx.helper.make_model(graph, opset_imports=imports, ir_version=10)


def scales(shape: tuple[int, ...], axis: int, block: int) -> tuple[int, ...]:
    """The shape of the scales; `block` -1: one for all, 0: one for a step along the axis."""
    if block < 0:
        return ()
    if block == 0:
        return (shape[axis],)
    out = list(shape)
    out[axis] = -(-shape[axis] // block)
    return tuple(out)


@pytest.mark.parametrize("shape, axis", SHAPES)
@pytest.mark.parametrize("block", [-1, 0, 1, 3, 32])
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "int32"])
@pytest.mark.parametrize("constant", [False, True])
def test_dequantize(shape, axis, block, zeros, kind, constant):
    low, high = np.iinfo(kind).min, min(np.iinfo(kind).max, 1 << 20)
    x = RNG.integers(max(low, -(1 << 20)), high + 1, shape).astype(kind)
    size = scales(shape, axis, block)
    inputs = [x, RNG.uniform(0.01, 2, size).astype(np.float32)]
    if zeros:
        inputs.append(RNG.integers(0, 1 if kind == "int32" else 100, size).astype(kind))
    given = {"axis": axis} | ({"block_size": block} if block > 0 else {})
    model = model_of("DequantizeLinear", inputs, constant, **given)
    check(model, {} if constant else {"x0": x})


@pytest.mark.parametrize("shape, axis", SHAPES)
@pytest.mark.parametrize("block", [-1, 0, 1, 3, 32])
@pytest.mark.parametrize("kind", ["int8", "uint8", "int16"])
@pytest.mark.parametrize("constant", [False, True])
def test_quantize(shape, axis, block, kind, constant):
    x = RNG.normal(0, 100, shape).astype(np.float32)
    x.flat[::37] = np.inf
    x.flat[::41] = -1e30
    size = scales(shape, axis, block)
    scale = 2.0 ** RNG.integers(-3, 3, size)
    zero = RNG.integers(0, 100, size).astype(kind)
    inputs = [x, np.asarray(scale, np.float32), np.asarray(zero)]
    given = {"axis": axis} | ({"block_size": block} if block > 0 else {})
    model = model_of("QuantizeLinear", inputs, constant, **given)
    got = session(model).run(None, {} if constant else {"x0": x})
    wide, shift = (spread(v.astype(np.float32), shape, axis, block) for v in inputs[1:])
    limits = np.iinfo(kind)
    want = np.clip(np.rint(x / wide) + shift, limits.min, limits.max)
    agree(got, [want.astype(kind)])


def spread(x: np.ndarray, shape: tuple[int, ...], axis: int, block: int) -> np.ndarray:
    """A scale or zero for every element."""
    if block < 0:
        return np.broadcast_to(x, shape)
    if block == 0:
        first = x.reshape(x.shape + (1,) * (len(shape) - 1))
        return np.broadcast_to(np.moveaxis(first, 0, axis), shape)
    return np.repeat(x, block, axis).take(range(shape[axis]), axis)


def session(model: onnx.ModelProto) -> tiercel.InferenceSession:
    return tiercel.InferenceSession(model.SerializeToString())


def check(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> None:
    got = session(model).run(None, feeds)
    agree(got, ReferenceEvaluator(model).run(None, feeds), tolerance=1e-6)
