"""Products by constant weights of bytes: on integers where both operands come from bytes, by whole
numbers and a scale behind the product where there are tiles.
"""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import tiercel
from models import operators, session
from tiercel import _core

RNG = np.random.default_rng(17)
BYTES, TILES = ("vnni" in _core.supported_isas()), ("amx" in _core.supported_isas())


class Net:
    """Weights of bytes, in one of the forms that exporters write, times x."""

    def __init__(self, form: str, kind: type, shape: tuple[int, int], per_column: bool) -> None:
        self.nodes, self.constants = [], []
        low, high = (-127, 128) if kind is np.int8 else (0, 256)
        bytes_ = RNG.integers(low, high, shape).astype(kind)
        scale = RNG.random(shape[1] if per_column else None) * 0.01 + 0.001
        scale = np.asarray(scale, np.float32)
        zero = np.asarray(RNG.integers(low // 2, high // 2, scale.shape), kind)
        w = self.constant(bytes_)
        if form == "cast":
            row = scale[None] if per_column else scale
            self.weight = self.op("Mul", self.whole(w), self.constant(row))
        elif form == "difference":
            zeros = self.whole(self.constant(zero))
            self.weight = self.op("Mul", self.constant(scale), self.op("Sub", self.whole(w), zeros))
        else:
            points = [self.constant(zero)] if form == "zeros" else []
            s = self.constant(scale)
            self.weight = self.op("DequantizeLinear", w, s, *points, axis=1)

    def constant(self, array: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(array, f"c{len(self.constants)}"))
        return self.constants[-1].name

    def op(self, op: str, *inputs: str, **attributes: object) -> str:
        out = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [out], **attributes))
        return out

    def whole(self, x: str) -> str:
        return self.op("Cast", x, to=TensorProto.FLOAT)

    def quantised(self, x: str, kind: type, zero: int | None) -> str:
        scale = self.constant(np.float32(0.03))
        points = [] if zero is None else [self.constant(kind(zero))]
        q = self.op("QuantizeLinear", x, scale, *points)
        return self.op("DequantizeLinear", q, scale, *points)

    def model(self, y: str, dims: tuple[int, ...]) -> ModelProto:
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, dims)
        out = helper.make_empty_tensor_value_info(y)
        graph = helper.make_graph(self.nodes, "graph", [x], [out], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def check(m: ModelProto, dims: tuple[int, ...]) -> dict[str, int]:
    x = RNG.standard_normal(dims).astype(np.float32)
    plain, fast = session(m, disabled=["fuse-quantize-matmul"]), session(m)
    want, got = plain.run(None, {"x": x})[0], fast.run(None, {"x": x})[0]
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5 * np.abs(want).max())
    options = tiercel.SessionOptions()
    options.intra_op_num_threads = 2
    two = tiercel.InferenceSession(m.SerializeToString(), options)
    assert two.run(None, {"x": x})[0].tobytes() == got.tobytes()
    return {"text": fast.explain(), **operators(fast)}


SHAPES = [((128, 384), (384, 96)), ((2, 7, 64), (64, 33)), ((64,), (64, 32)), ((1, 100), (100, 47))]


@pytest.mark.parametrize("per_column", [False, True])
@pytest.mark.parametrize("kind", [np.int8, np.uint8])
@pytest.mark.parametrize("form", ["cast", "difference", "plain", "zeros"])
@pytest.mark.parametrize(("dims", "shape"), SHAPES)
def test_weights_alone(
    dims: tuple[int, ...], shape: tuple[int, int], form: str, kind: type, per_column: bool
) -> None:
    net = Net(form, kind, shape, per_column)
    bias = net.constant(RNG.standard_normal(shape[1]).astype(np.float32))
    y = net.op("Relu", net.op("Add", net.op("MatMul", "x", net.weight), bias))
    left = check(net.model(y, dims), dims)
    if form in ("plain", "zeros") and len(dims) > 1:
        assert left["WeightMatMul"] == 1
    elif TILES and len(dims) > 1:
        assert "exact" in left["text"]


@pytest.mark.parametrize("zero", [None, 3])
@pytest.mark.parametrize("activation", [np.uint8, np.int8])
@pytest.mark.parametrize("per_column", [False, True])
@pytest.mark.parametrize("form", ["plain", "zeros"])
def test_both_operands(form: str, per_column: bool, activation: type, zero: int | None) -> None:
    if zero is None and activation is np.int8:
        zero = 0  # without a zero point bytes are unsigned
    net = Net(form, np.int8, (64, 48), per_column)
    x = net.quantised("x", activation, zero)
    y = net.op("Relu", net.op("MatMul", x, net.weight))
    left = check(net.model(y, (3, 5, 64)), (3, 5, 64))
    if BYTES:
        assert left["MatMulInteger"] == 1


@pytest.mark.parametrize("alpha", [1.0, 0.5])
@pytest.mark.parametrize("per_column", [False, True])
@pytest.mark.parametrize("across", [0, 1])
def test_gemm(across: int, per_column: bool, alpha: float) -> None:
    net = Net("plain", np.int8, (64, 48), False)
    shape = (48, 64) if across else (64, 48)
    w = net.constant(RNG.integers(-127, 128, shape).astype(np.int8))
    scale = np.asarray(RNG.random(48 if per_column else None) * 0.01 + 0.001, np.float32)
    zero = np.asarray(RNG.integers(-60, 60, scale.shape), np.int8)
    points = [net.constant(scale), net.constant(zero)]
    weight = net.op("DequantizeLinear", w, *points, axis=1 - across)
    bias = net.constant(RNG.standard_normal(48).astype(np.float32))
    x = net.quantised("x", np.uint8, 3)
    y = net.op("Relu", net.op("Gemm", x, weight, bias, transB=across, alpha=alpha))
    left = check(net.model(y, (5, 64)), (5, 64))
    if BYTES:
        assert left.get("MatMulInteger", 0) == (alpha == 1)


def test_weights_with_a_scale_for_each_row_stay() -> None:
    net = Net("cast", np.int8, (64, 64), False)
    rows = net.constant((RNG.random((64, 1)) * 0.01).astype(np.float32))
    weight = net.op("Mul", net.whole(net.constants[0].name), rows)
    left = check(net.model(net.op("MatMul", "x", weight), (5, 64)), (5, 64))
    assert "exact" not in left["text"]


@pytest.mark.parametrize("rows", [1, 16, 17, 33, 130, 1500])
def test_exact_weights(rows: int) -> None:
    """Whatever is not finite stays in its row."""
    w = RNG.integers(-255, 256, (70, 50)).astype(np.float32)
    net = Net("cast", np.int8, (32, 32), False)
    y = net.op("MatMul", "x", net.constant(w))
    fast = session(net.model(y, (rows, 70)))
    if TILES:
        assert "exact" in fast.explain()
    x = (RNG.standard_normal((rows, 70)) * 10.0 ** RNG.integers(-8, 9, (rows, 70))).astype(
        np.float32
    )
    want = x.astype(np.float64) @ w
    bound = 1e-6 * (np.abs(x).astype(np.float64) @ np.abs(w))
    assert (np.abs(fast.run(None, {"x": x})[0] - want) <= bound).all()
    x[0, 3], x[rows // 2, 69], x[rows - 1, 0] = np.inf, -np.inf, np.nan
    with np.errstate(invalid="ignore"):
        want = x.astype(np.float64) @ w
    got = fast.run(None, {"x": x})[0]
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    finite = np.isfinite(want)
    np.testing.assert_array_equal(got[~finite], want[~finite].astype(np.float32))
