"""Cases of convolutions and poolings along one to three axes, for one instruction set:
test_conv_axes.py runs this file.
"""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import tiercel

# Size, window, input and output channels, group, attributes.
CASES: dict[str, tuple[Any, ...]] = {
    "patches": ((4, 32, 48), (2, 16, 16), 3, 70, 1, {"strides": [2, 16, 16]}),
    "patches of a line": ((4, 160), (1, 32), 5, 40, 1, {"strides": [1, 32]}),
    "patches that overlap": ((3, 50, 60), (1, 16, 18), 2, 33, 1, {"strides": [1, 5, 7]}),
    "patches in padding": ((30, 30), (16, 16), 3, 9, 1, {"strides": [15] * 2, "pads": [3, 2] * 2}),
    "volume": ((5, 9, 11), (3, 3, 3), 32, 40, 1, {"pads": [1] * 6}),
    "deep": ((3, 6, 7), (3, 3, 3), 200, 60, 1, {"pads": [1] * 6}),
    "steps": ((7, 20, 19), (3, 3, 3), 20, 30, 1, {"pads": [1] * 6, "strides": [2] * 3}),
    "spread": ((9, 13, 12), (3, 3, 3), 9, 31, 1, {"pads": [2] * 6, "dilations": [2] * 3}),
    "pointwise": ((3, 10, 13), (1, 1, 1), 70, 100, 1, {}),
    "pointwise in steps": ((5, 10, 13), (1, 1, 1), 66, 40, 1, {"strides": [2, 1, 3]}),
    "images apart": ((4, 12, 40), (1, 3, 3), 33, 64, 1, {"pads": [0, 1, 1] * 2}),
    "time apart": ((6, 7, 9), (3, 1, 1), 40, 28, 1, {"pads": [1, 0, 0] * 2}),
    "groups": ((4, 9, 9), (3, 3, 3), 24, 36, 3, {"pads": [1] * 6}),
    "one channel": ((4, 9, 40), (3, 3, 3), 7, 1, 1, {"pads": [1] * 6}),
    "two channels": ((4, 9, 9), (2, 3, 3), 12, 2, 1, {}),
    "depthwise": ((5, 9, 11), (3, 3, 3), 12, 12, 12, {"pads": [1] * 6}),
    "steps apart": ((7, 9, 21), (3, 5, 4), 6, 12, 6, {"pads": [2, 1] * 3, "strides": [2, 1, 2]}),
    "spread apart": ((9, 12, 13), (3, 3, 2), 5, 5, 5, {"dilations": [3, 1, 2], "pads": [3, 1] * 3}),
    "depthwise with cut images": ((7, 6, 6), (3, 3, 3), 4, 4, 4, {"pads": [-1, 1, 1, -2, 1, 1]}),
    "windows in padding alone": ((2, 3, 4), (1, 1, 1), 5, 6, 1, {"pads": [3, 2, 1] * 2}),
    "images of padding alone": ((1, 3, 4), (1, 2, 2), 5, 5, 5, {"pads": [2, 0, 0] * 2}),
    "cut edges": ((6, 8, 9), (3, 3, 3), 8, 8, 1, {"pads": [-1, 1, -2, 0, -1, 1]}),
    "line in steps": ((399,), (3,), 96, 130, 1, {"strides": [2]}),
    "long line in steps": ((1501,), (2,), 64, 300, 1, {"strides": [2]}),
    "line in groups": ((75,), (24,), 96, 96, 2, {"pads": [12, 11]}),
    "four axes": ((3, 4, 5, 6), (2, 1, 3, 2), 6, 8, 1, {"pads": [1, 0, 1, 0] * 2}),
}  # fmt: skip


def options_of(n: int, given: dict[str, list[int]]) -> tuple[list[int], list[int], list[int]]:
    return (
        given.get("strides", [1] * n),
        given.get("dilations", [1] * n),
        given.get("pads", [0] * 2 * n),
    )


def taps_of(
    x: np.ndarray, window: tuple[int, ...], given: dict[str, list[int]], fill: float = 0
) -> np.ndarray:
    """What lies under each element of the window: [taps, N, C, ...]."""
    n = len(window)
    steps, spreads, pads = options_of(n, given)
    cut = [slice(max(-pads[i], 0), x.shape[i + 2] + min(pads[n + i], 0)) for i in range(n)]
    x = x[(slice(None), slice(None), *cut)].astype(np.float64)
    wide = [(max(pads[i], 0), max(pads[n + i], 0)) for i in range(n)]
    x = np.pad(x, [(0, 0), (0, 0), *wide], constant_values=fill)
    size = [(x.shape[i + 2] - (window[i] - 1) * spreads[i] - 1) // steps[i] + 1 for i in range(n)]
    parts = []
    for tap in itertools.product(*map(range, window)):
        at = [
            slice(t * d, t * d + (m - 1) * s + 1, s)
            for t, d, m, s in zip(tap, spreads, size, steps, strict=True)
        ]
        parts.append(x[(slice(None), slice(None), *at)])
    return np.stack(parts)


def expected(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, group: int, given: dict[str, list[int]]
) -> np.ndarray:
    seen = taps_of(x, w.shape[2:], given)
    taps, images, channels, *size = seen.shape
    seen = seen.reshape(taps, images, group, channels // group, -1)
    weight = w.astype(np.float64).reshape(group, w.shape[0] // group, channels // group, taps)
    y = np.einsum("tngcp,gmct->ngmp", seen, weight).reshape(images, w.shape[0], *size)
    return y if b is None else y + b.reshape(-1, *[1] * len(size))


def model_of(op: str, arrays: dict[str, np.ndarray], held: bool, relu: bool, **given: Any) -> bytes:
    """`held`: the model has all inputs but x."""
    nodes = [helper.make_node(op, list(arrays), ["c" if relu else "y"], name="node", **given)]
    if relu:
        nodes.append(helper.make_node("Relu", ["c"], ["y"]))
    kept = list(arrays)[1:] if held else []
    ports = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, a.shape)
        for n, a in arrays.items()
        if n not in kept
    ]
    values = [numpy_helper.from_array(arrays[n], n) for n in kept]
    graph = helper.make_graph(nodes, "g", ports, [helper.make_empty_tensor_value_info("y")], values)
    imports = [helper.make_opsetid("", 21)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10).SerializeToString()


def run(model: bytes, arrays: dict[str, np.ndarray], threads: int) -> tuple[np.ndarray, str]:
    options = tiercel.SessionOptions()
    options.intra_op_num_threads = threads
    session = tiercel.InferenceSession(model, options)
    fed = {port.name: arrays[port.name] for port in session.get_inputs()}
    return session.run(None, fed)[0], session.explain()


def drawn(case: tuple[Any, ...], seed: int, images: int, bias: bool) -> dict[str, np.ndarray]:
    size, window, inputs, outputs, group, _ = case
    rng = np.random.default_rng(seed)
    shapes = {"x": (images, inputs, *size), "w": (outputs, inputs // group, *window)}
    if bias:
        shapes["b"] = (outputs,)
    arrays = {n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    arrays["w"] /= np.sqrt(np.prod(arrays["w"].shape[1:])).astype(np.float32)
    return arrays


def check(case: tuple[Any, ...], seed: int, *, held: bool, bias: bool, relu: bool) -> str:
    """Whether one and two threads give what numpy does; the text of the session."""
    arrays = drawn(case, seed, 2 if seed % 3 == 0 else 1, bias)
    model = model_of("Conv", arrays, held, relu, group=case[4], **case[5])
    got, text = run(model, arrays, 1)
    assert got.tobytes() == run(model, arrays, 2)[0].tobytes()
    want = expected(arrays["x"], arrays["w"], arrays.get("b"), case[4], case[5])
    want = np.maximum(want, 0) if relu else want
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=2e-5)
    return text


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_convolutions(name: str, held: bool) -> None:
    seed = list(CASES).index(name)
    text = check(CASES[name], seed, held=held, bias=seed % 2 == 0, relu=held)
    if len(CASES[name][0]) == 3:
        assert "depthwise" in text or "gemm" in text or name == "one channel"


def random_case(seed: int) -> tuple[Any, ...]:
    rng = random.Random(seed)
    n = rng.choice([1, 2, 3, 3, 3])
    window = [rng.randint(1, 4) for _ in range(n)]
    given = {
        "strides": [rng.choice([1, 1, 2, 3]) for _ in range(n)],
        "dilations": [rng.choice([1, 1, 2]) for _ in range(n)],
        "pads": [rng.randint(-1, 3) for _ in range(2 * n)],
    }
    most = {1: 150, 2: 30, 3: 14}[n]
    size = []
    for i in range(n):
        reach = (window[i] - 1) * given["dilations"][i] + 1
        size.append(max(reach - given["pads"][i] - given["pads"][n + i], 3) + rng.randint(0, most))
    group = rng.choice([1, 1, 1, 2, 4])
    inputs, outputs = rng.choice([1, 2, 5, 16, 33]), rng.choice([1, 2, 3, 10, 26, 49])
    if rng.random() < 0.2:
        group, inputs = inputs, 1
    return size, window, inputs * group, outputs * group, group, given


@pytest.mark.parametrize("seed", range(60))
def test_random_convolutions(seed: int) -> None:
    rng = random.Random(-seed)
    held, bias, relu = (rng.random() < 0.5 for _ in range(3))
    check(random_case(seed), seed, held=held, bias=bias, relu=relu)


@pytest.mark.parametrize("name", ["volume", "deep", "depthwise", "patches", "line in steps"])
def test_what_is_no_number_stays_in_its_windows(name: str) -> None:
    case = CASES[name]
    arrays = drawn(case, 7, 1, False)
    x = arrays["x"]
    rng = np.random.default_rng(8)
    for value in (np.nan, np.inf, -np.inf):
        x[tuple(rng.integers(0, n) for n in x.shape)] = value
    got = run(model_of("Conv", arrays, True, False, group=case[4], **case[5]), arrays, 2)[0]
    with np.errstate(invalid="ignore"):
        want = expected(x, arrays["w"], None, case[4], case[5])
    np.testing.assert_array_equal(np.isfinite(got), np.isfinite(want))
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=2e-5)


WINDOWS = [
    ((9, 12, 21), (3, 3, 3), {"strides": [2, 2, 2], "pads": [1] * 6}),
    ((5, 8, 10), (2, 2, 2), {"strides": [2, 2, 2]}),
    ((4, 17, 15), (1, 3, 3), {"strides": [1, 2, 2], "pads": [0, 1, 1] * 2}),
    ((9, 7, 6), (3, 1, 2), {"dilations": [2, 1, 3], "pads": [2, 0, 1, 0, 0, 0]}),
    ((3, 40, 7), (2, 5, 4), {"strides": [1, 3, 1], "pads": [1, 2, 3, 0, 4, 0]}),
]


@pytest.mark.parametrize(("size", "window", "given"), WINDOWS)
def test_pools(size: tuple[int, ...], window: tuple[int, ...], given: dict[str, Any]) -> None:
    x = np.random.default_rng(3).standard_normal((2, 5, *size)).astype(np.float32)
    seen = taps_of(x, window, given, np.nan)
    for op, want, more in (
        ("MaxPool", np.nanmax(seen, 0), {}),
        ("AveragePool", np.nanmean(seen, 0), {}),
        ("AveragePool", np.nan_to_num(seen).mean(0), {"count_include_pad": 1}),
    ):
        model = model_of(
            op, {"x": x}, False, op == "AveragePool", kernel_shape=window, **given, **more
        )
        got = run(model, {"x": x}, 1)[0]
        assert got.tobytes() == run(model, {"x": x}, 2)[0].tobytes()
        np.testing.assert_allclose(
            got, np.maximum(want, 0) if op == "AveragePool" else want, 1e-5, 1e-5
        )
    x[0, 1, 1, 2, 3] = np.nan
    got = run(
        model_of("MaxPool", {"x": x}, False, False, kernel_shape=window, **given), {"x": x}, 1
    )[0]
    want = np.isnan(taps_of(x, window, given)).any(0)
    np.testing.assert_array_equal(np.isnan(got), want)
