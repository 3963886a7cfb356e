"""Copies, transposes, padding, gathers and scatters on the software device."""

import ctypes

import numpy as np
import pytest
from launch import run
from values import TYPES, ceil_div, near, random

AXES = 8
WORDS = {
    "b8": np.uint8,
    "b16": np.uint16,
    "b32": np.uint32,
    "b64": np.uint64,
    "b128": np.complex128,
}
INDICES = {"i32": np.int32, "i64": np.int64}


def axes(values, fill=0):
    """Eight numbers."""
    return (ctypes.c_longlong * AXES)(*values, *[fill] * (AXES - len(values)))


def structure(arrays, scalars):
    """A class of the arrays of eight and the numbers behind them."""
    fields = [(name, ctypes.c_longlong * AXES) for name in arrays]
    fields += [(name, ctypes.c_longlong) for name in scalars]
    return type("Args", (ctypes.Structure,), {"_fields_": fields})


CopyArgs = structure(("shape", "from", "to"), ("rank",))
PadArgs = structure(("shape", "size", "before"), ("rank", "mode"))
ElementsArgs = structure(("shape", "strides"), ("rank", "axis", "n"))
TupleArgs = structure(("size",), ("depth", "inner", "per_batch", "batch_items"))


def words(rng, shape, word):
    """Random bits of a word."""
    n = int(np.prod(shape)) * np.dtype(WORDS[word]).itemsize
    bits = rng.integers(0, 255, n, np.uint8)  # 255 would make NaN of complex numbers
    return bits.view(WORDS[word]).reshape(shape)


def same(a, b):
    """Equal bit by bit."""
    assert np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes()


@pytest.mark.parametrize("word", WORDS)
def test_strided(word):
    rng = np.random.default_rng(1)
    x = words(rng, (4, 5, 6, 7), word)
    for view, whole in [
        (x.transpose(3, 1, 0, 2), None),
        (x[::-1, 1:4, ::2, 3], None),
        (np.broadcast_to(x[:, :, :1], x.shape), None),
        (x, np.zeros((4, 9, 6, 7), x.dtype)),
        (x[1, 2, 3, :1], None),
    ]:
        y = np.zeros(view.shape, x.dtype) if whole is None else whole
        to = y if whole is None else whole[:, 3:8]
        item = x.itemsize
        args = CopyArgs(
            axes(view.shape), axes([s // item for s in view.strides]),
            axes([s // item for s in to.strides]), view.ndim,
        )  # fmt: skip
        run("copy", f"copy_{word}", 2, 256, view, to, view.size, args)
        same(to, view)


@pytest.mark.parametrize("word", WORDS)
def test_transpose(word):
    rng = np.random.default_rng(2)
    for batch, rows, columns in [(1, 1, 1), (2, 33, 40), (1, 64, 32), (3, 5, 100)]:
        x = words(rng, (batch, rows, columns), word)
        y = np.zeros((batch, columns, rows), x.dtype)
        grid = batch * ceil_div(rows, 32) * ceil_div(columns, 32)
        run("copy", f"transpose_{word}", grid, (32, 8), x, y, rows, columns, seed=5)
        same(y, x.swapaxes(1, 2))


@pytest.mark.parametrize("word", WORDS)
def test_pad(word):
    rng = np.random.default_rng(3)
    x, value = words(rng, (3, 4, 5), word), words(rng, (1,), word)
    pads = [(1, 2), (0, 3), (4, 0)]
    for mode, name in enumerate(["constant", "edge", "reflect", "wrap"]):
        if name == "reflect":
            pads = [(2, 1), (0, 3), (4, 0)]
        more = {"constant_values": value[0]} if mode == 0 else {}
        want = np.pad(x, pads, mode=name, **more)
        y = np.zeros(want.shape, x.dtype)
        args = PadArgs(axes(want.shape), axes(x.shape), axes([p[0] for p in pads]), 3, mode)
        run("copy", f"pad_{word}", 2, 256, x, value, y, y.size, args)
        same(y, want)
    cut = np.zeros((1, 4, 6), x.dtype)
    args = PadArgs(axes(cut.shape), axes(x.shape), axes([-1, 0, 1]), 3, 0)
    run("copy", f"pad_{word}", 1, 256, x, value, cut, cut.size, args)
    same(cut[..., 1:], x[1:2])


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("kind", INDICES)
def test_gather_and_elements(word, kind):
    rng = np.random.default_rng(4)
    x = words(rng, (3, 7, 5), word)
    indices = rng.integers(-7, 7, 9).astype(INDICES[kind])
    y, error = np.zeros((3, 9, 5), x.dtype), np.zeros(1, np.int64)
    run("gather", f"gather_{word}_{kind}", 1, 256, x, indices, y, error, 3, 7, 9, 5)
    same(y, x[:, indices])
    for axis in range(3):
        shape = [2, 4, 5]
        shape[axis] = 6
        n = x.shape[axis]
        at = rng.integers(-n, n, shape).astype(INDICES[kind])
        at = np.argsort(rng.random((*shape[:axis], n, *shape[axis + 1 :])), axis).astype(
            INDICES[kind]
        )
        y = np.zeros(at.shape, x.dtype)
        args = ElementsArgs(axes(at.shape), axes([35, 5, 1]), 3, axis, n)
        run("gather", f"gather_elements_{word}_{kind}", 1, 256, x, at, y, error, at.size, args)
        part = x[tuple(slice(None) if i == axis else slice(s) for i, s in enumerate(at.shape))]
        same(y, np.take_along_axis(part, at.astype(np.int64), axis))
        z = x.copy()
        updates = words(rng, at.shape, word)
        run(
            "gather",
            f"scatter_elements_{word}_{kind}",
            1,
            256,
            updates,
            at,
            z,
            error,
            at.size,
            args,
        )
        want = x.copy()
        part = want[tuple(slice(None) if i == axis else slice(s) for i, s in enumerate(at.shape))]
        np.put_along_axis(part, at.astype(np.int64), updates, axis)
        same(z, want)
    assert error[0] == 0
    indices[3] = 7
    run("gather", f"gather_{word}_{kind}", 1, 256, x, indices, y[:0], error, 1, 7, 9, 0)
    run(
        "gather",
        f"gather_{word}_{kind}",
        1,
        256,
        x,
        indices,
        np.zeros((9, 5), x.dtype),
        error,
        1,
        7,
        9,
        5,
    )
    assert error[0] == 4


@pytest.mark.parametrize("word", ["b8", "b16", "b32", "b64"])
def test_tuples(word):
    rng = np.random.default_rng(5)
    x, error = words(rng, (2, 4, 5, 6), word), np.zeros(1, np.int64)
    places = rng.permutation(20)[:7]
    indices = np.stack([places // 5 - 4, places % 5], -1)[None].repeat(2, 0)
    indices[1] = indices[1, ::-1]
    args = TupleArgs(axes([4, 5]), 2, 6, 7, 120)
    y = np.zeros((2, 7, 6), x.dtype)
    run("gather", f"gather_nd_{word}", 1, 256, x, indices, y, error, y.size, args)
    batch = np.arange(2)[:, None]
    same(y, x[batch, indices[..., 0], indices[..., 1]])
    updates = words(rng, y.shape, word)
    z = x.copy()
    run("gather", f"scatter_nd_{word}", 1, 256, updates, indices, z, error, y.size, args)
    want = x.copy()
    want[batch, indices[..., 0], indices[..., 1]] = updates
    same(z, want)
    assert error[0] == 0


@pytest.mark.parametrize("name", ["f32", "f16", "bf16", "i32", "i64"])
def test_scatter_with_reduction(name):
    rng = np.random.default_rng(6)
    error = np.zeros(1, np.int64)
    functions = {1: np.add, 2: np.multiply, 3: np.maximum, 4: np.minimum}
    for how, function in functions.items():
        x = random(rng, (4, 5, 3), name)
        at = rng.integers(-5, 5, (3, 8, 2))
        updates = random(rng, at.shape, name)
        want, y = x.copy(), x.copy()
        for o, j, i in np.ndindex(at.shape):
            k = at[o, j, i]
            want[o, k, i] = function(want[o, k, i], updates[o, j, i])
        args = ElementsArgs(axes(at.shape), axes([15, 3, 1]), 3, 1, 5)
        run("gather", f"scatter_elements_reduce_{name}", 1, 256, updates, at, y, error, at.size,
            np.int32(how), args, seed=how)  # fmt: skip
        near(y, want, name, scale=4)
        tuples = rng.integers(-4, 4, (6, 1))
        updates = random(rng, (6, 5, 3), name)
        want, y = x.copy(), x.copy()
        for t in range(6):
            want[tuples[t, 0]] = function(want[tuples[t, 0]], updates[t])
        args = TupleArgs(axes([4]), 1, 15, 6, 0)
        run("gather", f"scatter_nd_reduce_{name}", 1, 256, updates, tuples, y, error, updates.size,
            np.int32(how), args, seed=how)  # fmt: skip
        near(y, want, name, scale=4)
    assert error[0] == 0
    assert TYPES[name] == x.dtype.type
