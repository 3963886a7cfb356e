"""The walk of an LSTM over bytes on the software device, against the same in float64."""

import ctypes

import numpy as np
import pytest
from launch import device, run

POINTERS = (
    *("projected", "x_scale", "w_scale", "r_scale", "bias", "r_zero", "numbers", "totals"),
    *("lengths", "h", "c", "y", "y_h", "y_c"),
)


class ByteLstmArgs(ctypes.Structure):
    """struct ByteLstmArgs of kernels/cuda/lstm_bytes.cu."""

    _fields_ = [(name, ctypes.c_longlong) for name in ("steps", "batch", "hidden")] + [
        (name, ctypes.c_int)
        for name in ("directions", "backwards", "is_signed", "w_step", "r_step", "zero_step")
    ]


class LstmCall(ctypes.Structure):
    """struct LstmCall of kernels/cuda/lstm_bytes.cu."""

    _fields_ = [(name, ctypes.c_void_p) for name in POINTERS]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def quantized(h):
    """The state as bytes, less their zero point, and their scale."""
    low, high = min(h.min(), 0), max(h.max(), 0)
    scale = np.float32(high - low) / np.float32(255) or np.float32(1)
    zero = np.rint(np.clip(-low / scale, 0, 255))
    return np.clip(np.rint(h / scale) + zero, 0, 255) - zero, scale


def walk(given, weights, zeros, length, d, b, backwards):
    """States of one sequence after each of its steps, in their order of time."""
    h, c = (given[name][d, b].astype(np.float32) for name in "hc")
    order = range(length)[::-1] if backwards else range(length)
    states = {}
    for t in order:
        q, scale = quantized(h)
        whole = q @ (weights[d].astype(np.float64) - zeros[d])
        x = given["projected"][d, t, b] * (given["x_scale"][0] * given["w_scale"][d])
        added = given["bias"][d].reshape(2, -1).sum(0)
        i, o, f, g = np.split(whole * (scale * given["r_scale"][d]) + x + added, 4)
        c = (sigmoid(f) * c + sigmoid(i) * np.tanh(g)).astype(np.float32)
        h = (sigmoid(o) * np.tanh(c)).astype(np.float32)
        states[t] = h
    return states, h, c


@pytest.mark.parametrize("kind", ["int8", "uint8"])
@pytest.mark.parametrize("hidden", [5, 40, 600])
def test_walk(kind, hidden):
    rng = np.random.default_rng(hidden)
    steps, batch, directions, columns = 3, 2, 2, 4 * hidden
    limits = np.iinfo(kind)
    shape = (directions, hidden, columns)
    weights = rng.integers(limits.min, limits.max + 1, shape, limits.dtype)
    zeros = rng.integers(limits.max // 2, limits.max // 2 + 5, (directions, columns), limits.dtype)
    states = (directions, batch, hidden)
    given = {
        "projected": rng.integers(-999, 999, (directions, steps, batch, columns)).astype("i4"),
        "x_scale": np.float32([0.02]),
        "w_scale": (rng.random(directions) * 0.05).astype("f4"),
        "r_scale": (rng.random((directions, columns)) * 0.001).astype("f4"),
        "bias": rng.standard_normal((directions, 2 * columns)).astype("f4"),
        "r_zero": zeros,
        "lengths": np.int32([3, 2]),
        "h": rng.standard_normal(states).astype("f4"),
        "c": rng.standard_normal(states).astype("f4"),
        "numbers": np.zeros((directions, -(-hidden // 4), hidden, 4), np.uint32),
        "totals": np.zeros((directions, columns), np.int32),
        "y": np.zeros((steps, directions, batch, hidden), np.float32),
        "y_h": np.zeros(states, np.float32),
        "y_c": np.zeros(states, np.float32),
    }
    signed = kind == "int8"
    args = ByteLstmArgs(steps, batch, hidden, directions, 0, signed, 0, 1, 1)
    run("lstm_bytes", "lstm_pack_bytes", 3, 256, weights, given["numbers"], given["totals"], args)
    held = {name: device().upload(array) for name, array in given.items()}
    call = LstmCall(*[held[name].pointer for name in POINTERS])
    run("lstm_bytes", "lstm_bytes", directions * batch, 512, call, args, seed=3)
    got = {name: held[name].numpy() for name in ("y", "y_h", "y_c")}
    for d, b in np.ndindex(directions, batch):
        length = given["lengths"][b]
        found, h, c = walk(given, weights, zeros, length, d, b, d == 1)
        for t in range(steps):
            want = found.get(t, np.zeros(hidden))
            np.testing.assert_allclose(got["y"][t, d, b], want, rtol=5e-3, atol=5e-3)
        np.testing.assert_allclose(got["y_h"][d, b], h, rtol=5e-3, atol=5e-3)
        np.testing.assert_allclose(got["y_c"][d, b], c, rtol=5e-3, atol=5e-3)
    for array in held.values():
        array.free()
