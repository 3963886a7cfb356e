"""Steps of LSTM, GRU and RNN cells on the software device."""

import ctypes

import numpy as np
import pytest
from launch import run
from values import near, random

TYPES = ("f32", "f64")
FAILURE = (9 << 32) + 1  # what a kernel reports
SIGMOID, TANH = 6, 4


class CellArgs(ctypes.Structure):
    """struct CellArgs of kernels/cuda/recurrent.cu."""

    _fields_ = (
        [
            (name, ctypes.c_longlong)
            for name in (
                "batch", "hidden", "steps", "step", "row_time", "row_batch", "y_time", "y_batch",
                "y_direction",
            )
        ]
        + [(name, ctypes.c_int) for name in ("directions", "backwards", "flag")]
        + [("clip", ctypes.c_float), ("functions", ctypes.c_int * 6)]
        + [(name, ctypes.c_float * 6) for name in ("alpha", "beta")]
    )  # fmt: skip


def cell_args(batch, hidden, steps, step, functions, flag=0, clip=-1.0, directions=2):
    """Batches behind steps; outputs [steps, directions, batch, hidden]."""
    line = batch * hidden
    return CellArgs(batch, hidden, steps, step, batch, 1, directions * line, hidden, line,
                    directions, 0, flag, clip, (ctypes.c_int * 6)(*functions * 2))  # fmt: skip


def sigmoid(x):
    """1 / (1 + e^-x)."""
    return 1 / (1 + np.exp(-x))


def gates_of(x, recurrent, bias, lengths, step):
    """Sums of input and of state, as [gates, directions, batch, hidden].

    Returns:
        Both parts, and the time of this step; sequences without it have that of the step.
    """
    directions, _, batch, gates, hidden = x.shape
    times = np.full((directions, batch), step)
    alive = lengths > step
    times[1] = np.where(alive, lengths - 1 - step, step)
    rows = np.arange(directions)[:, None], times, np.arange(batch)
    made = x[rows] + bias[:, :1].reshape(directions, 1, gates, hidden)
    state = recurrent + bias[:, 1:].reshape(directions, 1, gates, hidden)
    return np.moveaxis(made, 2, 0), np.moveaxis(state, 2, 0), times


def placed(values, times, alive, steps):
    """An output that is 1 but where the step wrote it."""
    directions, batch, hidden = values.shape
    y = np.ones((steps, directions, batch, hidden))
    for d, b in np.ndindex(directions, batch):
        y[times[d, b], d, b] = values[d, b] if alive[b] else 0
    return y


class Case:
    """Random inputs of a cell with three sequences in two directions."""

    def __init__(self, name, gates, hidden=37, steps=5, step=2):
        rng = np.random.default_rng(gates)
        shape = (2, 3, hidden)
        self.name, self.hidden, self.steps, self.step = name, hidden, steps, step
        self.x = random(rng, (2, steps, 3, gates, hidden), name)
        self.recurrent = random(rng, (2, 3, gates, hidden), name)
        self.bias = random(rng, (2, 2, gates * hidden), name)
        self.peepholes = random(rng, (2, 3, hidden), name)
        self.lengths = np.array([5, 2, 3], np.int32)
        self.alive = self.lengths > step
        self.h, self.c = random(rng, shape, name), random(rng, shape, name)
        self.y = np.ones((steps, *shape), self.x.dtype)
        self.status = np.zeros(1, np.uint64)
        wide = [a.astype(np.float64) for a in (self.x, self.recurrent, self.bias)]
        self.made, self.state, self.times = gates_of(*wide, self.lengths, step)
        self.old_h, self.old_c = self.h.astype(np.float64), self.c.astype(np.float64)

    def args(self, functions, flag=0, clip=-1.0):
        """Of a launch."""
        return cell_args(3, self.hidden, self.steps, self.step, functions, flag, clip)

    def run(self, kernel, *arrays, seed=3):
        """One launch."""
        run("recurrent", f"{kernel}_{self.name}", 1, 256, *arrays, seed=seed)

    def check(self, made):
        """The state and the output after the step."""
        alive = self.alive[None, :, None]
        near(self.h, np.where(alive, made, self.old_h), self.name)
        near(self.y, placed(made, self.times, self.alive, self.steps), self.name)
        assert self.status[0] == 0


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("coupled", [0, 1])
def test_lstm(name, coupled):
    t = Case(name, 4)
    i, o, f, g = t.made + t.state
    pi, po, pf = t.peepholes.astype(np.float64).swapaxes(0, 1)[:, :, None]
    i = sigmoid(i + pi * t.old_c)
    f = 1 - i if coupled else sigmoid(f + pf * t.old_c)
    now = f * t.old_c + i * np.tanh(g)
    out = sigmoid(o + po * now) * np.tanh(now)
    t.run("lstm", t.x, t.recurrent, t.bias, t.peepholes, t.lengths, t.c, t.h, t.y, t.status,
          FAILURE, t.args((SIGMOID, TANH, TANH), coupled))  # fmt: skip
    t.check(out)
    near(t.c, np.where(t.alive[None, :, None], now, t.old_c), name)


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("linear", [0, 1])
def test_gru(name, linear):
    t = Case(name, 3)
    z, r = (sigmoid(np.clip(t.made[g] + t.state[g], -1, 1)) for g in (0, 1))
    from_state = r * t.state[2] if linear else t.state[2]
    made = np.tanh(np.clip(t.made[2] + from_state, -1, 1))
    args = t.args((SIGMOID, TANH, TANH), linear, 1.0)
    scaled = np.ones_like(t.h)
    t.run("gru_reset", t.x, t.recurrent, t.bias, t.lengths, t.h, scaled, t.status, FAILURE, args)
    near(scaled, np.where(t.alive[None, :, None], r * t.old_h, 0), name)
    t.run("gru", t.x, t.recurrent, t.bias, t.lengths, t.h, t.y, t.status, FAILURE, args)
    t.check((1 - z) * made + z * t.old_h)


FUNCTIONS = {
    0: lambda x: 0.5 * x + 0.25,
    1: lambda x: np.maximum(x, 0),
    2: lambda x: np.where(x < 0, 0.5 * x, x),
    3: lambda x: np.where(x > 0.5, x, 0),
    4: np.tanh,
    5: lambda x: 0.5 * np.tanh(0.25 * x),
    6: sigmoid,
    7: lambda x: np.clip(0.5 * x + 0.25, 0, 1),
    8: lambda x: np.where(x < 0, 0.5 * (np.exp(np.minimum(x, 0)) - 1), x),
    9: lambda x: x / (1 + np.abs(x)),
    10: lambda x: np.log(1 + np.exp(x)),
}


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_rnn(name, function):
    t = Case(name, 1)
    args = t.args((function, 0, 0))
    args.alpha[:], args.beta[:] = [0.5] * 6, [0.25] * 6
    t.run("rnn", t.x, t.recurrent, t.bias, t.lengths, t.h, t.y, t.status, FAILURE, args)
    t.check(FUNCTIONS[function](t.made[0] + t.state[0]))


def test_lengths_outside_of_the_steps():
    for length in (6, -1):
        t = Case("f32", 1)
        t.lengths[1] = length
        t.run("rnn", t.x, t.recurrent, None, t.lengths, t.h, None, t.status, FAILURE,
              t.args((TANH, 0, 0)))  # fmt: skip
        assert t.status[0] == FAILURE
