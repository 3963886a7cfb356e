"""Chains of convolutions in the blocked layout agree with ONNX Runtime over random windows,
channels and planes, with NaN and infinity among the inputs, on any number of threads.
"""

from __future__ import annotations

import random

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

import tiercel


def chain(seed: int) -> tuple[onnx.ModelProto, np.ndarray]:
    """Conv, Conv, Relu of random shapes: a window of several elements first, so that blocks pay."""
    rng, numbers = random.Random(seed), np.random.default_rng(seed)
    channels = [rng.choice([16, 24, 33, 48, 64, 80]) for _ in range(3)]
    size = [rng.choice([5, 7, 8, 14, 19, 31, 40]) for _ in range(2)]
    one = seed % 2 == 0
    windows = [
        {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]},
        {
            "kernel_shape": [1, 1] if one else [rng.randint(1, 4), rng.randint(1, 4)],
            "strides": [1, 1] if one and seed % 4 == 0 else [rng.randint(1, 2), rng.randint(1, 3)],
            "dilations": [1, 1] if one else [rng.randint(1, 2), rng.randint(1, 2)],
            "pads": [0] * 4 if one else [rng.randint(0, 1) for _ in range(4)],
        },
    ]
    nodes, constants, name = [], [], "x"
    for i, window in enumerate(windows):
        shape = (channels[i + 1], channels[i], *window["kernel_shape"])
        arrays = {
            f"w{i}": numbers.standard_normal(shape),
            f"b{i}": numbers.standard_normal(shape[0]),
        }
        constants += [numpy_helper.from_array(a.astype(np.float32), n) for n, a in arrays.items()]
        given = [name, f"w{i}"] if rng.random() < 0.2 else [name, *arrays]
        nodes.append(helper.make_node("Conv", given, [f"c{i}"], name=f"conv{i}", **window))
        name = f"c{i}"
    nodes.append(helper.make_node("Relu", [name], ["y"]))
    x = numbers.standard_normal((rng.choice([1, 1, 3]), channels[0], *size)).astype(np.float32)
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), x


def run(model: onnx.ModelProto, x: np.ndarray, threads: int) -> np.ndarray:
    options = tiercel.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.winograd", "0")
    return tiercel.InferenceSession(model.SerializeToString(), options).run(None, {"x": x})[0]


def expected(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize("seed", range(60))
def test_chains_of_convolutions(seed: int) -> None:
    model, x = chain(seed)
    want = expected(model, x)
    got = run(model, x, 1)
    assert got.shape == want.shape
    assert np.linalg.norm(got - want) <= 3e-6 * np.linalg.norm(want)
    np.testing.assert_array_equal(got, run(model, x, 2))


@pytest.mark.parametrize("seed", range(24))
def test_not_a_number_and_infinity_spread_as_far_as_windows_reach(seed: int) -> None:
    model, x = chain(seed)
    places = np.random.default_rng(seed).integers(0, x.size, 3)
    x.flat[places] = [np.nan, np.inf, -np.inf]
    want, got = expected(model, x), run(model, x, 2)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    np.testing.assert_array_equal(np.isposinf(got), np.isposinf(want))
    finite = np.isfinite(want)
    np.testing.assert_allclose(got[finite], want[finite], rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("channels", [8, 24, 40, 72, 248, 264, 280, 17])
@pytest.mark.parametrize("size", [(5, 5), (7, 21)])
def test_single_taps_of_half_blocks(channels: int, size: tuple[int, int]) -> None:
    """Channels between two blocks of 16, more and fewer than those that are multiplied at once."""
    numbers, nodes, constants, name = np.random.default_rng(channels), [], [], "x"
    for i, (m, c, taps) in enumerate([(channels, 16, 3), (48, channels, 1), (channels, 48, 1)]):
        weight = numbers.standard_normal((m, c, taps, taps)).astype(np.float32)
        constants.append(numpy_helper.from_array(weight, f"w{i}"))
        window = {"kernel_shape": [taps, taps], "pads": [taps // 2] * 4}
        nodes.append(helper.make_node("Conv", [name, f"w{i}"], [f"c{i}"], **window))
        name = f"c{i}"
    x = numbers.standard_normal((2, 16, *size)).astype(np.float32)
    ports = [
        [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, shape)]
        for n, shape in (("x", x.shape), (name, None))
    ]
    graph = helper.make_graph(nodes, "g", *ports, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    want, got = expected(model, x), run(model, x, 1)
    assert np.linalg.norm(got - want) <= 3e-6 * np.linalg.norm(want)
    np.testing.assert_array_equal(got, run(model, x, 2))


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_numbers_near_the_ends_of_the_range(scale: float) -> None:
    """Sums in float32 that neither overflow nor vanish are as exact as at any other scale."""
    model, x = chain(1)
    want = expected(model, x * np.float32(scale))
    got = run(model, x * np.float32(scale), 1)
    assert np.linalg.norm(got.astype(float) - want) <= 3e-6 * np.linalg.norm(want.astype(float))
