"""Islands and choices by name: which nodes run on the GPU when several providers could run them."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest

import softcuda
import tiercel
from gpu_models import CPU, CUDA, Array, cpu_session, model, normal, steps

# NonZero needs the host: what stands around it are islands.
SMALL = """g (float[4,6] x) => (float[k] y) {
  [first] a = Sigmoid(x)
  [place] i = NonZero(a)
  [float] j = Cast<to=1>(i)
  [sum] s = ReduceSum<keepdims=0>(j, zero)
  [last] y = Sin(s)
}"""
LARGE = """g (float[512,512] x) => (float[512,512] y, int64[2,k] i) {
  [product] p = MatMul(x, w)
  [soft] q = Softmax(p)
  [again] y = MatMul(q, w)
  [place] i = NonZero(q)
}"""


def session_of(made: onnx.ModelProto, **entries: str) -> tiercel.InferenceSession:
    options = tiercel.SessionOptions()
    for name, value in entries.items():
        options.add_session_config_entry(f"session.{name}", value)
    return tiercel.InferenceSession(made.SerializeToString(), options, [CUDA])


def check(made: onnx.ModelProto, session: tiercel.InferenceSession, x: Array) -> None:
    for got, want in zip(
        session.run(None, {"x": x}), cpu_session(made).run(None, {"x": x}), strict=True
    ):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_small_islands_run_on_the_host(cuda_driver: softcuda.Device) -> None:
    made = model(SMALL, zero=np.array([0]))
    session = session_of(made)
    check(made, session, normal(4, 6))
    assert ("Sigmoid", CPU) in steps(session)
    assert "cheaper on the host: 1 nodes with copies" in session.explain()


def test_islands_can_be_left_where_they_are(cuda_driver: softcuda.Device) -> None:
    made = model(SMALL, zero=np.array([0]))
    session = session_of(made, islands_on_host="0")
    check(made, session, normal(4, 6))
    assert ("Sigmoid", CUDA) in steps(session)


def test_islands_that_pay_stay_on_the_gpu(cuda_driver: softcuda.Device) -> None:
    made = model(LARGE, w=normal(512, 512, seed=1))
    session = session_of(made)
    assert ("MatMul", CUDA) in steps(session)
    assert "cheaper there: 3 nodes with copies" in session.explain()


def test_a_model_without_nodes_of_the_host_is_no_island(cuda_driver: softcuda.Device) -> None:
    made = model("g (float[2] x) => (float[2] y) { y = Sigmoid(x) }")
    assert ("Sigmoid", CUDA) in steps(session_of(made))


def test_providers_are_chosen_by_the_names_of_nodes(cuda_driver: softcuda.Device) -> None:
    made = model(SMALL, zero=np.array([0]))
    session = session_of(made, node_providers=f"first={CUDA};last={CPU}")
    check(made, session, normal(4, 6))
    assert ("Sigmoid", CUDA) in steps(session)
    assert "chosen by name" in session.explain()


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        ("first", '"first" is no node=provider with a provider of this session'),
        ("first=TensorrtExecutionProvider", "is no node=provider"),
        (f"nobody={CPU}", 'has no node "nobody"'),
    ],
)
def test_choices_that_cannot_be_are_errors(
    cuda_driver: softcuda.Device, entry: str, error: str
) -> None:
    with pytest.raises(tiercel.InvalidArgument, match=error):
        session_of(model(SMALL, zero=np.array([0])), node_providers=entry)


def test_a_choice_that_its_provider_refuses_says_why(cuda_driver: softcuda.Device) -> None:
    made = model(SMALL, zero=np.array([0]))
    with pytest.raises(tiercel.NotImplemented, match="its output's shape depends on data"):
        session_of(made, node_providers=f"place={CUDA}")


def test_choices_outlast_fusions(cuda_driver: softcuda.Device) -> None:
    text = """g (float[4,6] x) => (int64[2,k] y) {
      [first] a = Sigmoid(x)
      [second] b = Sin(a)
      [place] y = NonZero(b)
    }"""
    made = model(text)
    for chosen, other in ((CUDA, CPU), (CPU, CUDA)):
        entry = f"first={chosen};second={other}"
        assert {("Sigmoid", chosen), ("Sin", other)} <= set(
            steps(session_of(made, node_providers=entry))
        )
    session = session_of(made, node_providers=f"first={CUDA}")
    check(made, session, normal(4, 6))
    assert ("Sigmoid", CUDA) in steps(session)


def test_small_factors_are_scales(cuda_driver: softcuda.Device) -> None:
    text = """g (uint8[1,32,28,28] x) => (uint8[1,32,28,28] y, int64[4,k] i) {
      y = QLinearConv<pads=[1,1,1,1]>(x, s, z, w, s, z, s, z)
      i = NonZero(y)
    }"""
    weights = np.random.default_rng(0).integers(0, 255, (32, 32, 3, 3), np.uint8)
    made = model(text, s=np.float32(0.1), z=np.uint8(128), w=weights)
    shown = session_of(made).explain()
    [flops] = [int(word) for word in re.findall(r"and (\d+) us on the host", shown)][:1]
    assert flops > 50  # 2 · 25,088 · √(25,088 · 9,216 / 25,088 …): the scale would give 1


def test_nodes_of_bodies_are_chosen_too(cuda_driver: softcuda.Device) -> None:
    text = """g (bool c, float[4,6] x) => (float[4,6] y) {
      y = If(c) <
        then_branch = t () => (float[4,6] a) { [inner] a = Sin(x) },
        else_branch = e () => (float[4,6] b) { b = Cos(x) }
      >
    }"""
    made = model(text)
    x = normal(4, 6)
    session = session_of(made, node_providers=f"inner={CPU}")
    before = cuda_driver.statistic("launches")
    [y] = session.run(None, {"c": np.array(True), "x": x})
    np.testing.assert_allclose(y, np.sin(x), rtol=1e-5)
    assert cuda_driver.statistic("launches") == before
    session.run(None, {"c": np.array(False), "x": x})
    assert cuda_driver.statistic("launches") > before
