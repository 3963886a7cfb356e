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


class TransposeArgs(ctypes.Structure):
    """Tiles of rows and columns, and the other axes."""

    _fields_ = [(name, ctypes.c_longlong) for name in ("rows", "columns", "from", "to")]
    _fields_ += [("batch", CopyArgs)]


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
        n = rows * columns
        args = TransposeArgs(rows, columns, columns, rows, CopyArgs(axes([batch]), axes([n]),
                             axes([n]), 1))  # fmt: skip
        run("copy", f"transpose_{word}", grid, (32, 8), x, y, args, seed=5)
        same(y, x.swapaxes(1, 2))
    # [rows, outer, inner, columns] to [outer, columns, inner, rows]
    x = words(rng, (34, 2, 3, 35), word)
    y = np.zeros((2, 35, 3, 34), x.dtype)
    batch = CopyArgs(axes([2, 3]), axes([105, 35]), axes([35 * 102, 34]), 2)
    args = TransposeArgs(34, 35, 210, 102, batch)
    run("copy", f"transpose_{word}", 24, (32, 8), x, y, args, seed=6)
    same(y, x.transpose(1, 3, 2, 0))


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.int32, np.float64])
def test_fill(dtype):
    value = np.full(8, 77, dtype).view(np.uint64)[0]
    for n in (1000, 3, 1):
        y = np.zeros(1004, dtype)
        run("copy", "fill", 2, 256, y, value, n * y.itemsize)
        assert (y[:n] == 77).all()
        assert not y[n:].any()


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
    for given in (value, None):
        cut = np.ones((1, 4, 6), x.dtype)
        args = PadArgs(axes(cut.shape), axes(x.shape), axes([-1, 0, 1]), 3, 0)
        run("copy", f"pad_{word}", 1, 256, x, given, cut, cut.size, args)
        same(cut[..., 1:], x[1:2])
        same(cut[..., 0], np.full((1, 4), value[0] if given is not None else 0, x.dtype))


FAILURE = (3 << 32) + 1  # what a kernel reports


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("kind", INDICES)
def test_gather_and_elements(word, kind):
    rng = np.random.default_rng(4)
    x = words(rng, (3, 7, 5), word)
    indices = rng.integers(-7, 7, 9).astype(INDICES[kind])
    y, status = np.zeros((3, 9, 5), x.dtype), np.zeros(1, np.uint64)
    gather = f"gather_{word}_{kind}"
    run("gather", gather, 1, 256, x, indices, y, status, FAILURE, 3, 7, 9, 5)
    same(y, x[:, indices])
    for axis in range(3):
        n = x.shape[axis]
        shape = [2, 4, 5]
        shape[axis] = 6
        at = rng.integers(-n, n, shape).astype(INDICES[kind])  # some are equal
        y = np.zeros(at.shape, x.dtype)
        args = ElementsArgs(axes(at.shape), axes([35, 5, 1]), 3, axis, n)
        run("gather", f"gather_elements_{word}_{kind}", 1, 256, x, at, y, status, FAILURE,
            at.size, args)  # fmt: skip
        part = x[tuple(slice(None) if i == axis else slice(s) for i, s in enumerate(at.shape))]
        same(y, np.take_along_axis(part, at.astype(np.int64), axis))
        z, want, last = x.copy(), x.copy(), np.zeros(x.size, np.uint32)
        updates = words(rng, at.shape, word)
        for place in np.ndindex(at.shape):
            to = list(place)
            to[axis] = at[place]
            want[tuple(to)] = updates[place]
        run("gather", f"mark_elements_{kind}", 1, 256, at, last, status, FAILURE, at.size, args,
            seed=axis)  # fmt: skip
        run("gather", f"scatter_elements_{word}_{kind}", 1, 256, updates, at, last, z, at.size,
            args, seed=axis)  # fmt: skip
        same(z, want)
    assert status[0] == 0
    indices[3] = 7
    y = np.zeros((9, 5), x.dtype)
    run("gather", gather, 1, 256, x, indices, y, status, FAILURE, 1, 7, 9, 5)
    assert status[0] == FAILURE


@pytest.mark.parametrize("word", WORDS)
def test_tuples(word):
    rng = np.random.default_rng(5)
    x, status = words(rng, (2, 4, 5, 6), word), np.zeros(1, np.uint64)
    places = rng.permutation(20)[:7]
    indices = np.stack([places // 5 - 4, places % 5], -1)[None].repeat(2, 0)
    indices[1] = indices[1, ::-1]
    args = TupleArgs(axes([4, 5]), 2, 6, 7, 120)
    y = np.zeros((2, 7, 6), x.dtype)
    run("gather", f"gather_nd_{word}", 1, 256, x, indices, y, status, FAILURE, y.size, args)
    batch = np.arange(2)[:, None]
    same(y, x[batch, indices[..., 0], indices[..., 1]])
    at = np.array([[0, 1], [1, -1], [0, 1], [1, 3], [0, 3], [-2, 1]])  # some are equal
    args = TupleArgs(axes([2, 4]), 2, 30, 6, 240)
    for count in (6, 1):
        updates = words(rng, (count, 5, 6), word)
        z, want, last = x.copy(), x.copy(), np.zeros(8, np.uint32) if count > 1 else None
        for update, place in zip(updates, at, strict=False):
            want[tuple(place)] = update
        if count > 1:
            run("gather", "mark_nd", 1, 256, at, last, count, args, seed=3)
        run("gather", f"scatter_nd_{word}", 1, 256, updates, at, last, z, status, FAILURE,
            updates.size, args, seed=4)  # fmt: skip
        same(z, want)
    assert status[0] == 0
    at[0, 1] = 4
    run("gather", f"scatter_nd_{word}", 1, 256, updates, at, None, z, status, FAILURE,
        updates.size, args)  # fmt: skip
    assert status[0] == FAILURE


@pytest.mark.parametrize("name", ["f32", "f64", "f16", "bf16", "i32", "i64"])
def test_scatter_with_reduction(name):
    rng = np.random.default_rng(6)
    status = np.zeros(1, np.uint64)
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
        run("gather", f"scatter_elements_reduce_{name}", 1, 256, updates, at, y, status,
            FAILURE, at.size, np.int32(how), args, seed=how)  # fmt: skip
        near(y, want, name, scale=4)
        tuples = rng.integers(-4, 4, (6, 1))
        updates = random(rng, (6, 5, 3), name)
        want, y = x.copy(), x.copy()
        for t in range(6):
            want[tuples[t, 0]] = function(want[tuples[t, 0]], updates[t])
        args = TupleArgs(axes([4]), 1, 15, 6, 0)
        run("gather", f"scatter_nd_reduce_{name}", 1, 256, updates, tuples, y, status,
            FAILURE, updates.size, np.int32(how), args, seed=how)  # fmt: skip
        near(y, want, name, scale=4)
    assert status[0] == 0
    assert TYPES[name] == x.dtype.type
