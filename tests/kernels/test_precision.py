"""`session.precision`: products and convolutions of rounded factors, where the processor has them,
are near those of all bits, and NaN and infinity stay where they belong.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import tiercel
from tiercel import _core

HAS_TILES = "amx" in _core.supported_isas()
RNG = np.random.default_rng(3)


def model_of(nodes: list[onnx.NodeProto], shape: list[int], **constants: np.ndarray) -> bytes:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(a.astype(np.float32), n) for n, a in constants.items()],
    )
    opsets = [helper.make_opsetid("", 21)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


def products() -> tuple[bytes, np.ndarray]:
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"]),
        helper.make_node("Gemm", ["h", "b", "c"], ["y"], transB=1, alpha=0.5),
    ]
    a, b, c = (RNG.standard_normal(s) for s in ((96, 130), (70, 130), (70,)))
    return model_of(nodes, [45, 96], a=a, b=b, c=c), RNG.standard_normal((45, 96))


def convolutions() -> tuple[bytes, np.ndarray]:
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["h"], pads=[1] * 4),
        helper.make_node("Conv", ["h", "b", "c"], ["y"], strides=[2, 2]),
    ]
    a, b, c = (RNG.standard_normal(s) for s in ((64, 40, 3, 3), (48, 64, 1, 1), (48,)))
    return model_of(nodes, [1, 40, 19, 21], a=a, b=b, c=c), RNG.standard_normal((1, 40, 19, 21))


def run(model: bytes, x: np.ndarray, precision: str, threads: int = 2) -> np.ndarray:
    options = tiercel.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.precision", precision)
    session = tiercel.InferenceSession(model, options)
    assert ("bfloat16 amx" in session.explain()) == (HAS_TILES and precision == "bfloat16")
    return session.run(None, {"x": x.astype(np.float32)})[0]


@pytest.mark.parametrize("made", [products, convolutions])
def test_rounded_factors_are_near(made) -> None:
    model, x = made()
    want, got = run(model, x, "float32"), run(model, x, "bfloat16")
    error = np.linalg.norm(got - want) / np.linalg.norm(want)
    assert error < 8e-3
    assert (error > 1e-4) == HAS_TILES
    np.testing.assert_array_equal(got, run(model, x, "bfloat16", threads=1))


@pytest.mark.parametrize("made", [products, convolutions])
def test_numbers_of_eight_bits_are_exact(made) -> None:
    """Where factors are bfloat16 already nothing is rounded but sums."""
    model, x = made()
    proto = onnx.load_from_string(model)
    for tensor in proto.graph.initializer:
        whole = np.rint(numpy_helper.to_array(tensor)).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(whole, tensor.name))
    del proto.graph.node[1]
    proto.graph.node[0].output[0] = "y"
    model, x = proto.SerializeToString(), np.rint(x)
    want = np.rint(run(model, x, "float32"))
    np.testing.assert_allclose(
        run(model, x, "bfloat16"), want, rtol=0, atol=0 if HAS_TILES else 1e-3
    )


@pytest.mark.parametrize("made", [products, convolutions])
def test_not_a_number_and_infinity(made) -> None:
    model, x = made()
    x.flat[[5, 700]] = [np.nan, np.inf]
    want, got = run(model, x, "float32"), run(model, x, "bfloat16")
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    np.testing.assert_array_equal(np.isposinf(got), np.isposinf(want))


def test_other_words_are_refused() -> None:
    model, x = products()
    options = tiercel.SessionOptions()
    options.add_session_config_entry("session.precision", "half")
    with pytest.raises(Exception, match='session.precision" is "half"; expected "float32" or'):
        tiercel.InferenceSession(model, options)
