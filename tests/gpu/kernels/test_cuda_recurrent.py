"""Steps of LSTM and GRU cells on the software device."""

import ctypes

import numpy as np
import pytest
from launch import run
from values import FLOATS, near, random, wide


class CellArgs(ctypes.Structure):
    """struct CellArgs of kernels/cuda/recurrent.cu."""

    _fields_ = (
        [(name, ctypes.c_longlong) for name in ("batch", "hidden", "step")]
        + [(name, ctypes.c_int) for name in ("f", "g", "h", "flag")]
        + [("clip", ctypes.c_float)]
    )


def sigmoid(x):
    """1 / (1 + e^-x)."""
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("coupled", [0, 1])
def test_lstm(name, coupled):
    rng = np.random.default_rng(1)
    batch, hidden = 3, 70
    gates, p = random(rng, (batch, 4, hidden), name), random(rng, (3, hidden), name)
    c, h = random(rng, (batch, hidden), name), random(rng, (batch, hidden), name)
    lengths, y = np.array([5, 2, 9], np.int32), np.ones((batch, hidden), c.dtype)
    c_next, h_next = np.zeros_like(c), np.zeros_like(h)
    i, o, f, g = wide(gates).swapaxes(0, 1)
    pi, po, pf = wide(p)
    old_c, old_h = wide(c), wide(h)
    i = sigmoid(i + pi * old_c)
    f = 1 - i if coupled else sigmoid(f + pf * old_c)
    now = f * old_c + i * np.tanh(g)
    out = sigmoid(o + po * now) * np.tanh(now)
    run("recurrent", f"lstm_{name}", 1, 256, gates, p, lengths, c, h, c_next, h_next, y,
        CellArgs(batch, hidden, 3, 0, 1, 1, coupled, 0))  # fmt: skip
    alive = (lengths > 3)[:, None]
    near(c_next, np.where(alive, now, old_c), name)
    near(h_next, np.where(alive, out, old_h), name)
    near(y, np.where(alive, out, 0), name)


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("linear", [0, 1])
def test_gru(name, linear):
    rng = np.random.default_rng(2)
    batch, hidden = 2, 40
    x, r = random(rng, (batch, 3, hidden), name), random(rng, (batch, 3, hidden), name)
    h, y = random(rng, (batch, hidden), name), np.zeros((batch, hidden), x.dtype)
    old = wide(h)
    (xz, xr, xh), (rz, rr, rh) = wide(x).swapaxes(0, 1), wide(r).swapaxes(0, 1)
    z, reset = sigmoid(np.clip(xz + rz, -1, 1)), sigmoid(np.clip(xr + rr, -1, 1))
    made = np.tanh(np.clip(xh + (reset * rh if linear else rh), -1, 1))
    args = CellArgs(batch, hidden, 0, 0, 1, 0, linear, 1)
    state, h_next = np.zeros_like(h), np.zeros_like(h)
    run("recurrent", f"gru_reset_{name}", 1, 256, x, r, h, state, args)
    near(state, reset * old, name)
    run("recurrent", f"gru_{name}", 1, 256, x, r, None, h, h_next, y, args)
    near(h_next, (1 - z) * made + z * old, name)
    near(y, h_next, name)
