"""Convolutions of lines by the row that gathers windows of several lines, against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import tiercel

RNG = np.random.default_rng(5)


def model(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, relu: bool, **attributes: list[int]
) -> ModelProto:
    given = [numpy_helper.from_array(w, "w")]
    inputs = ["x", "w"]
    if b is not None:
        given.append(numpy_helper.from_array(b, "b"))
        inputs.append("b")
    nodes = [helper.make_node("Conv", inputs, ["c" if relu else "y"], **attributes)]
    if relu:
        nodes.append(helper.make_node("Relu", ["c"], ["y"]))
    ports = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape),
        helper.make_empty_tensor_value_info("y"),
    ]
    graph = helper.make_graph(nodes, "graph", ports[:1], ports[1:], given)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def run(m: ModelProto, x: np.ndarray, threads: int) -> tuple[np.ndarray, str]:
    options = tiercel.SessionOptions()
    options.intra_op_num_threads = threads
    session = tiercel.InferenceSession(m.SerializeToString(), options)
    return session.run(None, {"x": x})[0], session.explain()


def expected(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, step: int, spread: int, pads: list[int]
) -> np.ndarray:
    cut = x[:, :, max(-pads[0], 0) : x.shape[2] + min(pads[1], 0)].astype(np.float64)
    padded = np.pad(cut, ((0, 0), (0, 0), (max(pads[0], 0), max(pads[1], 0))))
    taps = w.shape[2]
    outputs = (padded.shape[2] - (taps - 1) * spread - 1) // step + 1
    at = np.arange(outputs)[:, None] * step + np.arange(taps)[None] * spread
    y = np.einsum("nclk,ock->nol", padded[:, :, at], w.astype(np.float64))
    return y if b is None else y + b[None, :, None]


# Lines, channels, extent, output channels, taps, step, spread, pads.
CASES = [
    (64, 129, 4, 128, 3, 1, 1, [1, 1]),
    (33, 64, 2, 64, 3, 2, 1, [1, 1]),
    (17, 64, 1, 100, 3, 1, 1, [1, 1]),
    (7, 1, 832, 258, 256, 128, 1, [0, 0]),
    (1, 1, 3000, 33, 40, 5, 1, [20, 20]),
    (2, 1, 700, 16, 9, 1, 3, [4, 0]),
    (3, 17, 31, 40, 5, 1, 2, [4, 4]),
    (5, 16, 16, 16, 1, 1, 1, [0, 0]),
    (2, 33, 400, 48, 4, 4, 1, [0, 3]),
    (4, 8, 40, 5, 3, 1, 1, [-1, -2]),
    (1, 3, 15, 1, 33, 1, 1, [16, 16]),
    (6, 19, 7, 31, 2, 3, 2, [9, 9]),
]


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_lines(case: tuple, relu: bool) -> None:
    n, channels, extent, outputs, taps, step, spread, pads = case
    x = RNG.standard_normal((n, channels, extent)).astype(np.float32)
    w = RNG.standard_normal((outputs, channels, taps)) / np.sqrt(channels * taps)
    w = w.astype(np.float32)
    b = RNG.standard_normal(outputs).astype(np.float32) if relu else None
    m = model(x, w, b, relu, strides=[step], dilations=[spread], pads=pads)
    got, text = run(m, x, 1)
    assert "lines" in text
    assert got.tobytes() == run(m, x, 2)[0].tobytes()
    want = expected(x, w, b, step, spread, pads)
    np.testing.assert_allclose(got, np.maximum(want, 0) if relu else want, rtol=1e-4, atol=2e-5)


def test_what_is_no_number_stays_in_its_windows() -> None:
    x = RNG.standard_normal((9, 19, 5)).astype(np.float32)
    w = RNG.standard_normal((21, 19, 3)).astype(np.float32)
    x[4, 7, 0], x[8, 18, 4] = np.nan, np.inf
    got = run(model(x, w, None, False, pads=[1, 1]), x, 1)[0]
    bad = np.zeros((9, 21, 5), bool)
    bad[4, :, :2] = bad[8, :, 3:] = True
    np.testing.assert_array_equal(~np.isfinite(got), bad)
    clean = np.where(np.isfinite(x), x, 0)
    want = expected(clean, w, None, 1, 1, [1, 1])
    np.testing.assert_allclose(got[~bad], want[~bad], rtol=1e-4, atol=1e-4)
