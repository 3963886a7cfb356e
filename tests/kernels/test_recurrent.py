"""LSTM, GRU and RNN agree with a walk over the steps, with weights that are constant or not."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

import tiercel
from single_node import agree, model_of

RNG = np.random.default_rng(11)
Array = NDArray[np.float64]


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def lstm_step(
    wx: Array, h: Array, c: Array, r: Array, rb: Array, after: int
) -> tuple[Array, Array]:
    i, o, f, g = np.split(wx + r @ h + rb, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru_step(wx: Array, h: Array, c: Array, r: Array, rb: Array, after: int) -> tuple[Array, Array]:
    (xz, xr, xh), (rz, rr, rh), (bz, br, bh) = (np.split(v, 3) for v in (wx, r, rb))
    z, reset = sigmoid(xz + rz @ h + bz), sigmoid(xr + rr @ h + br)
    new = np.tanh(xh + (reset * (rh @ h + bh) if after else rh @ (reset * h) + bh))
    return (1 - z) * new + z * h, c


def rnn_step(wx: Array, h: Array, c: Array, r: Array, rb: Array, after: int) -> tuple[Array, Array]:
    return np.tanh(wx + r @ h + rb), c


STEPS = {"LSTM": (4, lstm_step), "GRU": (3, gru_step), "RNN": (1, rnn_step)}


def walk(op, x, w, r, bias, lengths, h0, c0, direction, after):
    """Y, the last states and the last cells in float64."""
    gates, step = STEPS[op]
    x, w, r, bias, h0, c0 = (a.astype(np.float64) for a in (x, w, r, bias, h0, c0))
    directions, hidden = w.shape[0], r.shape[2]
    y = np.zeros((x.shape[0], directions, x.shape[1], hidden))
    last, cells = np.zeros(h0.shape), np.zeros(h0.shape)
    for d, b in np.ndindex(directions, x.shape[1]):
        h, c = h0[d, b], c0[d, b]
        wb, rb = np.split(bias[d], 2)
        steps = range(lengths[b])
        for t in reversed(steps) if direction == "reverse" or d == 1 else steps:
            h, c = step(w[d] @ x[t, b] + wb, h, c, r[d], rb, after)
            y[t, d, b] = h
        last[d, b], cells[d, b] = h, c
    return [v.astype(np.float32) for v in (y, last, cells)][: 3 if op == "LSTM" else 2]


def uniform(*shape: int) -> NDArray[np.float32]:
    return RNG.uniform(-0.7, 0.7, shape).astype(np.float32)


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize("constant", ["", "1", "2", "12"])
@pytest.mark.parametrize(
    "steps, batch, depth, hidden", [(5, 9, 7, 33), (1, 1, 16, 16), (3, 4, 40, 5)]
)
def test_recurrent(op, direction, after, constant, steps, batch, depth, hidden):
    gates, directions = STEPS[op][0], 2 if direction == "bidirectional" else 1
    x, lengths = uniform(steps, batch, depth), RNG.integers(0, steps + 1, batch).astype(np.int32)
    w, r = uniform(directions, gates * hidden, depth), uniform(directions, gates * hidden, hidden)
    bias, h0 = uniform(directions, 2 * gates * hidden), uniform(directions, batch, hidden)
    c0 = uniform(*h0.shape)
    inputs = [x, w, r, bias, lengths, h0, *([c0] if op == "LSTM" else [])]
    attributes = {"hidden_size": hidden, "direction": direction}
    if op == "GRU":
        attributes["linear_before_reset"] = after
    model = model_of(op, inputs, 3 if op == "LSTM" else 2, 21, attributes)
    for i in constant:
        model.graph.initializer.append(onnx.numpy_helper.from_array(inputs[int(i)], f"x{i}"))
        model.graph.input.remove(next(v for v in model.graph.input if v.name == f"x{i}"))
    session = tiercel.InferenceSession(model.SerializeToString())
    feeds = {f"x{i}": v for i, v in enumerate(inputs) if str(i) not in constant}
    want = walk(op, x, w, r, bias, lengths, h0, c0, direction, after)
    agree(session.run(None, feeds), want, 1e-5)


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("direction, hidden", [("reverse", 370), ("bidirectional", 630)])
@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize("batch", [1, 2, 6])
def test_many_weights(op, direction, hidden, after, batch):
    """Steps that are shared out among threads: right, and the same bits for every number."""
    steps, depth, gates, directions = 5, 9, STEPS[op][0], 2 if direction == "bidirectional" else 1
    x, lengths = uniform(steps, batch, depth), np.full(batch, steps, np.int32)
    lengths[batch // 2] = 2
    w, r = uniform(directions, gates * hidden, depth), uniform(directions, gates * hidden, hidden)
    r *= np.float32(0.2)
    bias, h0 = uniform(directions, 2 * gates * hidden), uniform(directions, batch, hidden)
    c0 = uniform(*h0.shape)
    inputs = [x, w, r, bias, lengths, h0, *([c0] if op == "LSTM" else [])]
    attributes = {"hidden_size": hidden, "direction": direction}
    if op == "GRU":
        attributes["linear_before_reset"] = after
    model = model_of(op, inputs, 3 if op == "LSTM" else 2, 21, attributes).SerializeToString()
    results = []
    for threads in (1, 2, 3):
        options = tiercel.SessionOptions()
        options.intra_op_num_threads = threads
        session = tiercel.InferenceSession(model, options)
        results.append(session.run(None, {f"x{i}": v for i, v in enumerate(inputs)}))
    want = walk(op, x, w, r, bias, lengths, h0, c0, direction, after)
    agree(results[0], want, 1e-5)
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))
