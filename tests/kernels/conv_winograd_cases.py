"""Cases of Winograd convolutions, for one instruction set: test_conv_winograd.py runs this file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tiercel

# N, C, M, H, W, pads
SHAPES = {
    "square": (1, 32, 32, 16, 16, (1, 1, 1, 1)),
    "one tile": (1, 16, 16, 4, 4, (1, 1, 1, 1)),
    "one pixel": (1, 16, 16, 1, 1, (1, 1, 1, 1)),
    "channel remainders": (1, 21, 37, 19, 23, (1, 1, 1, 1)),
    "odd number of blocks": (1, 40, 70, 11, 10, (1, 1, 1, 1)),
    "no padding": (1, 24, 40, 18, 17, (0, 0, 0, 0)),
    "asymmetric padding": (2, 24, 16, 15, 13, (0, 2, 1, 0)),
    "more padding than window": (1, 16, 24, 6, 7, (4, 5, 3, 4)),
    "cut edges": (1, 16, 24, 12, 13, (-1, 0, 0, -2)),
    "images": (5, 32, 48, 7, 7, (1, 1, 1, 1)),
    "many channels": (1, 256, 272, 7, 7, (1, 1, 1, 1)),
    "bands of rows": (1, 32, 32, 80, 80, (1, 1, 1, 1)),
    "parts of rows": (1, 256, 16, 12, 130, (1, 1, 1, 1)),
    "one long row": (1, 64, 16, 1, 600, (1, 1, 1, 1)),
}
SIZES = ("2", "4")


def make(
    shape: tuple[int | str, ...],
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    pads: Sequence[int] = (1, 1, 1, 1),
    before: Sequence[tuple[str, ...]] = (),
    after: Sequence[tuple[str, ...]] = (),
) -> bytes:
    """A model of one convolution of `x` named "conv"; `before` and `after` list nodes as (operator,
    output, input ...), which make the convolution's input "a" and the result "y".
    """
    constants = {"w": weight} | ({} if bias is None else {"b": bias})
    source, result = ("a" if before else "x"), ("c" if after else "y")
    inputs = [source, *constants]
    nodes = [helper.make_node(op, ins, [out]) for op, out, *ins in before]
    nodes.append(helper.make_node("Conv", inputs, [result], name="conv", pads=pads))
    nodes += [helper.make_node(op, ins, [out]) for op, out, *ins in after]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_empty_tensor_value_info("y")
    kept = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "graph", [x], [y], kept)
    imports = [helper.make_opsetid("", 20)]
    return onnx.helper.make_model(graph, opset_imports=imports, ir_version=9).SerializeToString()


def session(model: bytes, winograd: str | None, threads: int = 2) -> tiercel.InferenceSession:
    options = tiercel.SessionOptions()
    options.intra_op_num_threads = threads
    options.verify_passes = True
    if winograd is not None:
        options.add_session_config_entry("session.winograd", winograd)
    return tiercel.InferenceSession(model, options)


def kernel(s: tiercel.InferenceSession) -> str:
    """The variant that runs the node "conv"."""
    line = next(line for line in s.explain().splitlines() if 'ConvBlocked "conv"' in line)
    return line.split("CPUExecutionProvider, ")[1].split()[0]


def run(model: bytes, winograd: str, x: np.ndarray, threads: int = 2) -> np.ndarray:
    s = session(model, winograd, threads)
    assert (kernel(s) == "winograd") == (winograd != "0")
    return s.run(None, {"x": x})[0]


def draw(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[int, ...]]:
    """Input, weights, bias and padding of a case."""
    n, c, m, h, w, pads = SHAPES[name]
    rng = np.random.default_rng(len(name))
    weight = rng.standard_normal((m, c, 3, 3)) / np.sqrt(9 * c)
    values = (rng.standard_normal((n, c, h, w)), weight, rng.standard_normal(m))
    return *(v.astype(np.float32) for v in values), pads


def exact(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, pads: tuple[int, ...]) -> np.ndarray:
    """In double precision."""
    top, left, bottom, right = pads
    wide = np.pad(x.astype(np.float64), [(0, 0)] * 2 + [(max(p, 0),) * 2 for p in (9, 9)])
    rows = slice(9 - top, wide.shape[2] - 9 + bottom)
    windows = np.lib.stride_tricks.sliding_window_view(
        wide[:, :, rows, 9 - left : wide.shape[3] - 9 + right], (3, 3), (2, 3)
    )
    out = np.tensordot(windows, weight.astype(np.float64), ((1, 4, 5), (1, 2, 3)))
    return out.transpose(0, 3, 1, 2) + bias[:, None, None]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", SHAPES)
def test_accuracy(name: str, size: str) -> None:
    x, weight, bias, pads = draw(name)
    model = make(x.shape, weight, bias, pads=pads)
    want, got, direct = exact(x, weight, bias, pads), run(model, size, x), run(model, "0", x)
    assert np.linalg.norm(got - want) <= (5e-6 if size == "4" else 1e-6) * np.linalg.norm(want)
    np.testing.assert_allclose(got, direct, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("channels", [64, 512])
def test_error_grows_slowly(channels: int, relu: bool) -> None:
    """Many channels, of weights and inputs that do not cancel, too."""
    rng = np.random.default_rng(channels)
    x = rng.standard_normal((1, channels, 24, 24)).astype(np.float32)
    weight = rng.standard_normal((32, channels, 3, 3)).astype(np.float32)
    x, weight = (np.abs(x), np.abs(weight)) if relu else (x, weight)
    zero = np.zeros(32, np.float32)
    want = exact(x, weight, zero, (1, 1, 1, 1))
    for size, most in (("2", 2e-6), ("4", 1e-5)):
        got = run(make(x.shape, weight), size, x)
        assert np.linalg.norm(got - want) <= most * np.linalg.norm(want)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "name", ["channel remainders", "no padding", "images", "bands of rows", "one pixel"]
)
def test_values_that_are_not_finite_stay_in_their_windows(
    name: str, value: float, size: str
) -> None:
    x, weight, bias, pads = draw(name)
    rng = np.random.default_rng(3)
    for _ in range(4):
        x[tuple(rng.integers(x.shape))] = value
    x[0, 0, 0, 0] = x[-1, -1, -1, -1] = value
    model = make(x.shape, weight, bias, pads=pads)
    check_spoilt(run(model, size, x), run(model, "0", x))


def check_spoilt(got: np.ndarray, want: np.ndarray) -> None:
    """The same NaN and infinities; the other values agree."""
    assert not np.isfinite(want).all()
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    np.testing.assert_array_equal(np.isposinf(got), np.isposinf(want))
    np.testing.assert_array_equal(np.isneginf(got), np.isneginf(want))
    finite = np.isfinite(want)
    np.testing.assert_allclose(got[finite], want[finite], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite(value: float, size: str) -> None:
    x, weight, bias, pads = draw("channel remainders")
    weight[4, 7, 1, 2] = value
    model = make(x.shape, weight, bias, pads=pads)
    got, want = run(model, size, x), run(model, "0", x)
    check_spoilt(got, want)
    assert np.isfinite(np.delete(got, 4, axis=1)).all()


@pytest.mark.parametrize("size", SIZES)
def test_unused_lanes_do_not_count(size: str) -> None:
    """The lanes behind the last channel are 1 / 0 here."""
    rng = np.random.default_rng(5)
    x, first = rng.standard_normal((1, 16, 12, 12)), rng.standard_normal((13, 16, 1, 1))
    weight = rng.standard_normal((16, 13, 3, 3)).astype(np.float32)
    x, first = np.abs(x).astype(np.float32), np.abs(first).astype(np.float32)
    node = helper.make_node("Conv", ["x", "first"], ["p"])
    model = onnx.load_from_string(
        make(x.shape, weight, before=[("Reciprocal", "a", "p")], after=[("Relu", "y", "c")])
    )
    model.graph.node.insert(0, node)
    model.graph.initializer.append(numpy_helper.from_array(first, "first"))
    text = model.SerializeToString()
    got, want = run(text, size, x), run(text, "0", x)
    assert np.isfinite(want).all()
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["channel remainders", "images", "bands of rows", "parts of rows"])
@pytest.mark.parametrize(
    "after",
    [
        [("Relu", "y", "c")],
        [("Sigmoid", "s", "c"), ("Mul", "y", "c", "s")],
        [("Add", "s", "c", "c2"), ("Relu", "y", "s")],
    ],
)
def test_epilogues(after: list[tuple[str, ...]], name: str, size: str) -> None:
    x, weight, bias, pads = draw(name)
    if after[0][0] == "Add":
        after = [("Tanh", "c2", "c"), *after]
    model = make(x.shape, weight, bias, pads=pads, after=after)
    np.testing.assert_allclose(run(model, size, x), run(model, "0", x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", SHAPES)
def test_every_number_of_threads_gives_the_same_bits(name: str, size: str) -> None:
    x, weight, bias, pads = draw(name)
    x[0, 0, 0, 0] = np.nan
    model = make(x.shape, weight, bias, pads=pads, after=[("Relu", "y", "c")])
    want = run(model, size, x, 1).tobytes()
    assert all(run(model, size, x, threads).tobytes() == want for threads in (2, 3, 4))


def test_shapes_that_change() -> None:
    x, weight, bias, _ = draw("square")
    model = make(("n", x.shape[1], "h", "w"), weight, bias)
    s, plain = session(model, "4"), session(model, "0")
    for extent in (16, 9, 30):
        part = np.resize(x, (2, x.shape[1], extent, extent + 3))
        want = plain.run(None, {"x": part})[0]
        np.testing.assert_allclose(s.run(None, {"x": part})[0], want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [16, 64])
def test_no_images(channels: int, size: str) -> None:
    weight = np.ones((channels, 16, 3, 3), np.float32)
    s = session(make(("n", 16, 9, 9), weight), size)
    for n in (0, 1, 0):
        assert s.run(None, {"x": np.ones((n, 16, 9, 9), np.float32)})[0].shape[0] == n


def test_it_is_chosen_where_it_pays() -> None:
    rng = np.random.default_rng(0)

    def chosen(channels: int, extent: int) -> str:
        weight = rng.standard_normal((channels, channels, 3, 3)).astype(np.float32)
        return kernel(session(make((1, channels, extent, extent), weight), None))

    assert chosen(64, 56) == "winograd"
    assert chosen(256, 3) != "winograd"
