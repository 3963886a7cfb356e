"""Nodes of floats between conversions run in 16 bits on the GPU where nothing is lost by that."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

import softcuda
import tiercel
from gpu_nodes import gpu_session

HEADER = '<ir_version: 10, opset_import: ["" : 22]>\n'
X = np.random.default_rng(0).standard_normal((2, 4, 9, 9)).astype(np.float16)
W = np.random.default_rng(1).standard_normal((6, 4, 3, 3)).astype(np.float16)
ROUNDED = (W.astype(np.float32) * np.float32(1 / 3)).astype(np.float32)  # not exact in 16 bits

KINDS = "Sum Mean Prod Max Min L1 L2 SumSquare LogSum"
REDUCTIONS = [f"Reduce{kind}" for kind in KINDS.split()]


def made(text: str, **constants: np.ndarray) -> bytes:
    model = onnx.parser.parse_model(HEADER + text)
    for name, array in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    return model.SerializeToString()


def conversions(session: tiercel.InferenceSession) -> int:
    """Programs that are left in the plan: nothing but conversions, in these models."""
    return session.explain().split("plan:")[1].count("pointwise program")


def same(model: bytes, x: np.ndarray) -> tiercel.InferenceSession:
    session = gpu_session(model)
    want = tiercel.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"x": x})
    for mine, other in zip(session.run(None, {"x": x}), want, strict=True):
        assert mine.dtype == other.dtype
        np.testing.assert_allclose(mine.astype("f8"), other.astype("f8"), rtol=1e-2, atol=1e-2)
    return session


def test_a_network_of_halves_has_no_conversions(cuda_driver: softcuda.Device) -> None:
    text = """g (float16[2, 4, 9, 9] x) => (float16[n, c, h, w] y) {
        a = Conv<pads = [1, 1, 1, 1]>(x, w)
        b = MaxPool<kernel_shape = [2, 2]>(a)
        c = AveragePool<kernel_shape = [2, 2]>(b)
        y = GlobalAveragePool(c)
    }"""
    session = same(made(text, w=W), X)
    assert conversions(session) == 0
    assert "T=float16" in session.explain()
    assert "narrow                   changed" in session.explain()


@pytest.mark.parametrize("op", REDUCTIONS)
@pytest.mark.parametrize("axes", [[1], [2, 3]])
def test_reductions_of_halves_have_no_conversions(
    cuda_driver: softcuda.Device, op: str, axes: list[int]
) -> None:
    text = f"g (float16[2, 4, 9, 9] x) => (float16[a, b, c, d] y) {{ y = {op}(x, axes) }}"
    session = same(made(text, axes=np.array(axes)), np.abs(X))
    assert conversions(session) == 0
    assert "reduce cuda T=float16" in session.explain()


@pytest.mark.parametrize(
    "body",
    [
        "c = Conv(f, w)  y = Cast<to = 10>(c)",  # weights would be rounded
        "c = Conv(f, f)  y = Identity(c)",  # the result is wanted in float
        "c = Conv(f, f)  a = Cast<to = 10>(c)  b = Cast<to = 1>(a)  y = Sub(c, b)",
        "c = Conv(f, f)  y = Cast<to = 16>(c)",  # the other type of 16 bits
        "c = LRN<size = 3>(f)  y = Cast<to = 10>(c)",  # no kernel of its own
    ],
)
def test_what_would_lose_bits_stays(cuda_driver: softcuda.Device, body: str) -> None:
    last = {"to = 10>(c)": "float16", "to = 16>(c)": "bfloat16"}.get(body[-11:], "float")
    lines = body.replace("  ", "\n")
    text = f"g (float16[2, 4, 9, 9] x) => ({last}[n, c, h, w] y) {{ f = Cast<to = 1>(x)\n{lines} }}"
    session = gpu_session(made(text, w=ROUNDED))
    assert "narrow                   changed" not in session.explain()
    assert session.run(None, {"x": X})[0].size > 0


def test_casts_of_the_model_go_where_nothing_is_rounded(cuda_driver: softcuda.Device) -> None:
    text = """g (float16[2, 4, 9, 9] x) => (float16[n, c, h, w] y) {
        f = Cast<to = 1>(x)
        c = Conv(f, w)
        y = Cast<to = 10>(c)
    }"""
    assert conversions(same(made(text, w=W.astype(np.float32)), X)) == 0


def test_the_host_keeps_floats() -> None:
    text = "g (float16[2, 4, 9, 9] x) => (float16[n, c, h, w] y) { y = Conv(x, w) }"
    session = tiercel.InferenceSession(made(text, w=W), providers=["CPUExecutionProvider"])
    assert "narrow                   changed" not in session.explain()
