"""CUDA graphs of static shapes, and streams of the program."""

from __future__ import annotations

import numpy as np
import pytest

import softcuda
import tiercel
from gpu_models import cpu_session, gpu_session, model, normal
from tiercel import OrtValue

CHAIN = """g (float[n,6] x) => (float[n,4] y) {
  p = MatMul(x, w)
  q = Softmax(p)
  r = MatMul(q, v)
  y = Relu(r)
}"""
WEIGHTS = {"w": normal(6, 8, seed=1), "v": normal(8, 4, seed=2)}
MADE = model(CHAIN, **WEIGHTS)


def expected(x: np.ndarray) -> np.ndarray:
    [y] = cpu_session(MADE).run(None, {"x": x})
    return y


def test_later_runs_replay_one_graph(cuda_driver: softcuda.Device) -> None:
    session = gpu_session(MADE, enable_cuda_graph=1)
    before = cuda_driver.statistic("graphs")
    for seed in range(4):
        x = normal(5, 6, seed=seed)
        np.testing.assert_allclose(session.run(None, {"x": x})[0], expected(x), atol=1e-6)
    assert cuda_driver.statistic("graphs") - before == 3  # the first run was a plain one
    assert "steps 1 to 3 go to CUDAExecutionProvider as one graph" in session.explain()


def test_other_shapes_have_graphs_of_their_own(cuda_driver: softcuda.Device) -> None:
    session = gpu_session(MADE, enable_cuda_graph=1)
    for seed, rows in enumerate((5, 2, 5, 2, 2, 5)):
        x = normal(rows, 6, seed=seed)
        np.testing.assert_allclose(session.run(None, {"x": x})[0], expected(x), atol=1e-6)


def test_bound_memory_that_moves_is_recorded_again(cuda_driver: softcuda.Device) -> None:
    session = gpu_session(MADE, enable_cuda_graph=1)
    binding = session.io_binding()
    places = [OrtValue.ortvalue_from_shape_and_type([5, 6], np.float32, "cuda") for _ in range(2)]
    targets = [OrtValue.ortvalue_from_shape_and_type([5, 4], np.float32, "cuda") for _ in range(2)]
    before = cuda_driver.statistic("graphs")
    for seed, at in enumerate((0, 0, 0, 1, 1, 0)):
        x = normal(5, 6, seed=seed)
        places[at].update_inplace(x)
        binding.bind_ortvalue_input("x", places[at])
        binding.bind_ortvalue_output("y", targets[at])
        session.run_with_iobinding(binding)
        np.testing.assert_allclose(targets[at].numpy(), expected(x), atol=1e-6)
    assert cuda_driver.statistic("graphs") - before == 3


def test_nodes_on_the_cpu_stand_between_graphs(cuda_driver: softcuda.Device) -> None:
    text = """g (float[n,6] x) => (float[k] y) {
      p = MatMul(x, w)
      q = Softmax(p)
      i = NonZero(q)
      j = Cast<to=1>(i)
      s = ReduceSum<keepdims=0>(j, a)
      y = Mul(s, s)
    }"""
    made = model(text, w=WEIGHTS["w"], a=np.array([0]))
    session = gpu_session(made, enable_cuda_graph=1)
    for seed, rows in enumerate((3, 3, 3, 4)):
        x = normal(rows, 6, seed=seed)
        [want] = cpu_session(made).run(None, {"x": x})
        np.testing.assert_allclose(session.run(None, {"x": x})[0], want)


def test_errors_inside_of_a_graph_name_their_node(cuda_driver: softcuda.Device) -> None:
    made = model(
        "g (int64[2] i) => (float[2,8] y) { a = Gather(w, i)  y = Relu(a) }", **{"w": WEIGHTS["w"]}
    )
    session = gpu_session(made, enable_cuda_graph=1)
    good = {"i": np.array([0, 5])}
    for _ in range(3):
        [y] = session.run(None, good)
    with pytest.raises(tiercel.InvalidArgument, match="Gather"):
        session.run(None, {"i": np.array([0, 6])})
    assert session.run(None, good)[0].tobytes() == y.tobytes()


def test_the_option_says_what_it_takes(cuda_driver: softcuda.Device) -> None:
    with pytest.raises(tiercel.InvalidArgument, match='enable_cuda_graph is "2"; expected 0 or 1'):
        gpu_session(MADE, enable_cuda_graph=2)


@pytest.mark.parametrize("graphs", [0, 1])
def test_work_goes_to_the_program_s_stream(cuda_driver: softcuda.Device, graphs: int) -> None:
    stream = softcuda.device.Stream(cuda_driver)
    session = gpu_session(MADE, user_compute_stream=stream.handle.value, enable_cuda_graph=graphs)
    x = normal(5, 6, seed=1)
    shared = OrtValue.ortvalue_from_numpy(x, "cuda")  # in the order of tiercel's own stream
    for _ in range(3):
        np.testing.assert_allclose(session.run(None, {"x": x})[0], expected(x), atol=1e-6)
        np.testing.assert_allclose(session.run(None, {"x": shared})[0], expected(x), atol=1e-6)


def test_extents_that_change_are_not_recorded(cuda_driver: softcuda.Device) -> None:
    text = """g (float[64,64] x) => (float y) {
      i = NonZero(x)
      j = Cast<to=1>(i)
      s = ReduceSum<keepdims=0>(j, a)
      y = Mul(s, s)
    }"""
    made = model(text, a=np.array([0, 1]))
    session = gpu_session(made, enable_cuda_graph=1)
    for filled in (4090, 4090, 4090, 4081, 4081, 4088):  # in blocks of one size
        x = (np.arange(4096) < filled).astype(np.float32).reshape(64, 64)
        [want] = cpu_session(made).run(None, {"x": x})
        np.testing.assert_allclose(session.run(None, {"x": x})[0], want)
