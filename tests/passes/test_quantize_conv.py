"""Convolutions in QDQ groups become QLinearConv where bytes are fast, within one step."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import tiercel
from tiercel import _core

RNG = np.random.default_rng(3)
STEP = 0.05
FAST = "vnni" in _core.supported_isas()


class Qdq:
    """Grows a chain of quantised convolutions."""

    def __init__(self, activation: type, weight: type, channelwise: bool, zeros: bool) -> None:
        self.activation, self.weight, self.channelwise = activation, weight, channelwise
        self.zeros = zeros or activation is not np.uint8  # an absent zero point is uint8's
        self.nodes, self.tensors, self.count = [], [], 0

    def constant(self, value: np.ndarray) -> str:
        name = f"c{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(value, name))
        return name

    def node(self, op: str, *inputs: str, **attributes: object) -> str:
        self.count += 1
        self.nodes.append(helper.make_node(op, list(inputs), [f"t{self.count}"], **attributes))
        return f"t{self.count}"

    def grid(self, op: str, x: str, zero: int) -> str:
        scale = self.constant(np.float32(STEP))
        points = [self.constant(self.activation(zero))] if self.zeros else []
        return self.node(op, x, scale, *points)

    def quantized(self, x: str, zero: int) -> str:
        return self.grid("DequantizeLinear", self.grid("QuantizeLinear", x, zero), zero)

    def conv(self, x: str, shape: tuple[int, ...], bias: str, **attributes: object) -> str:
        low, high = (-127, 128) if self.weight is np.int8 else (1, 255)
        weights = RNG.integers(low, high, shape).astype(self.weight)
        count = shape[0] if self.channelwise else None
        scale = np.asarray(RNG.random(count) * 0.004 + 0.001, np.float32)
        point = 0 if self.weight is np.int8 else 128
        zero = np.full(scale.shape, point, self.weight)
        along = {"axis": 0} if self.channelwise else {}
        inputs = [self.constant(c) for c in (weights, scale, zero)]
        operands = [x, self.node("DequantizeLinear", *inputs, **along)]
        if bias:
            whole = RNG.integers(-2000, 2000, shape[0]).astype(np.int32)
            unit = np.broadcast_to(scale * np.float32(STEP), whole.shape).copy()
            if bias == "float":
                operands.append(self.constant((whole * unit).astype(np.float32)))
            else:
                names = [self.constant(whole), self.constant(unit)]
                operands.append(self.node("DequantizeLinear", *names, axis=0))
        return self.node("Conv", *operands, **attributes)

    def model(self, y: str, channels: int) -> bytes:
        graph = helper.make_graph(
            self.nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, 9, 8])],
            [helper.make_tensor_value_info(y, TensorProto.FLOAT, None)],
            self.tensors,
        )
        opsets = [helper.make_opsetid("", 19)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()


def run(module, model: bytes, x: np.ndarray, optimised: bool = False) -> np.ndarray:
    options = module.SessionOptions()
    if not optimised:
        options.graph_optimization_level = module.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = module.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    if optimised and module is tiercel:
        assert session.explain().count("QLinearConv") >= (2 if FAST else 0)
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize("activation", [np.uint8, np.int8])
@pytest.mark.parametrize("weight", [np.uint8, np.int8])
@pytest.mark.parametrize("channelwise", [False, True])
@pytest.mark.parametrize("bias", ["", "float", "int32"])
@pytest.mark.parametrize("zeros", [False, True])
def test_qdq_convolutions(activation, weight, channelwise, bias, zeros) -> None:
    q = Qdq(activation, weight, channelwise, zeros)
    least = np.iinfo(activation).min
    middle = least + 128 if q.zeros else 0
    x = q.quantized("x", middle)
    x = q.quantized(q.node("Relu", q.conv(x, (16, 6, 3, 3), bias, pads=[1, 1, 1, 1])), least)
    x = q.quantized(q.conv(x, (8, 8, 1, 3), bias, group=2, strides=[2, 1]), middle)
    model = q.model(x, 6)
    feed = (RNG.standard_normal((1, 6, 9, 8)) * 2).astype(np.float32)
    mine = run(tiercel, model, feed, optimised=True)
    for want in (run(tiercel, model, feed), run(onnxruntime, model, feed)):
        # A step of the first result moves the second by little; rounding moves each by one step.
        assert np.abs(mine - want).max() <= 2.01 * STEP
        assert (np.abs(mine - want) > 0.01 * STEP).mean() < 0.05


def test_what_is_no_byte_convolution_stays() -> None:
    q = Qdq(np.uint8, np.int8, True, True)
    x = q.conv(q.quantized("x", 128), (6, 1, 3, 3), "", group=6)  # depthwise
    y = q.quantized(q.node("Relu", x), 7)  # a range that does not imply the Relu
    model = q.model(y, 6)
    session = tiercel.InferenceSession(model)
    assert "QLinearConv" not in session.explain()
    feed = RNG.standard_normal((1, 6, 9, 8)).astype(np.float32)
    want = run(onnxruntime, model, feed)
    assert np.abs(session.run(None, {"x": feed})[0] - want).max() <= 1.01 * STEP
