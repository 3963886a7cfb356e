"""Operators of users with a kernel of their own for the GPU."""

from __future__ import annotations

import typing
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper

import softcuda
import tiercel
from gpu_models import CPU, CUDA, gpu_session, normal, steps

SCALE = """
extern "C" __global__ void scale(const float* x, const float* bias, float* y, float by, int rounds,
                                 long long n) {
  long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
  if (i >= n) return;
  float v = x[i];
  for (int r = 0; r < rounds; ++r) v *= by;
  y[i] = bias ? v + bias[i] : v;
}"""
TURN = """
extern "C" __global__ void turn(const float* x, float* y, int n, const long long* dims) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = x[i % dims[0] * dims[1] + i / dims[0]];
}"""


def model_of(op: str, rows: object = "n", inputs: int = 1, **attributes: object) -> onnx.ModelProto:
    names = ["x", "b"][:inputs]
    node = helper.make_node(op, names, ["m"], "node", domain="gpu.test", **attributes)
    after = helper.make_node("Neg", ["m"], ["y"])
    ports = [helper.make_tensor_value_info(name, 1, [rows, 4]) for name in names]
    out = helper.make_tensor_value_info("y", 1, None)
    graph = helper.make_graph([node, after], "g", ports, [out])
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("gpu.test", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


@tiercel.custom_op("gpu.test", "Scale", compile=False, cuda=SCALE)
def scale(
    x: NDArray[np.float32],
    bias: NDArray[np.float32] | None = None,
    by: float = 2.0,
    rounds: int = 1,
) -> NDArray[np.float32]:
    scaled: NDArray[np.float32] = x * np.float32(by**rounds)
    return scaled if bias is None else scaled + bias


@scale.shape
def scale_shape(x: object, bias: object, by: float, rounds: int) -> object:
    return x


@tiercel.custom_op("gpu.test", "Turn", compile=False, cuda=SimpleNamespace(code=TURN, name="turn"))
def turn(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(x.T)


@turn.shape
def turn_shape(x: tuple[object, ...]) -> object:
    return (x[1], x[0])


@tiercel.custom_op("gpu.test", "Shapeless", compile=False, cuda=TURN)
def shapeless(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(x.T)


@pytest.mark.parametrize("rows", ["n", 3])
def test_it_runs_on_the_gpu(cuda_driver: softcuda.Device, rows: object) -> None:
    session = gpu_session(model_of("Scale", rows, by=3.0, rounds=2), strict=True)
    x = normal(3, 4)
    for _ in range(2):
        np.testing.assert_allclose(session.run(None, {"x": x})[0], -9 * x, rtol=1e-6)
    assert ("Scale", CUDA) in steps(session)


def test_defaults_and_optional_inputs(cuda_driver: softcuda.Device) -> None:
    x, b = normal(3, 4), normal(3, 4, seed=1)
    one = gpu_session(model_of("Scale"), strict=True).run(None, {"x": x})[0]
    np.testing.assert_allclose(one, -2 * x, rtol=1e-6)
    two = gpu_session(model_of("Scale", inputs=2), strict=True).run(None, {"x": x, "b": b})[0]
    np.testing.assert_allclose(two, -(2 * x + b), rtol=1e-6)


def test_a_raw_kernel_that_asks_for_extents(cuda_driver: softcuda.Device) -> None:
    session = gpu_session(model_of("Turn"), strict=True)
    for rows in (3, 5):
        x = normal(rows, 4)
        np.testing.assert_array_equal(session.run(None, {"x": x})[0], -x.T)


def test_it_is_recorded_like_others(cuda_driver: softcuda.Device) -> None:
    session = gpu_session(model_of("Turn", 3), enable_cuda_graph=1)
    before = cuda_driver.statistic("graphs")
    for seed in range(3):
        x = normal(3, 4, seed=seed)
        np.testing.assert_array_equal(session.run(None, {"x": x})[0], -x.T)
    assert cuda_driver.statistic("graphs") - before == 2


def test_without_a_rank_the_function_runs(cuda_driver: softcuda.Device) -> None:
    session = gpu_session(model_of("Shapeless"))
    x = normal(3, 4)
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], -x.T)
    assert ("Shapeless", CPU) in steps(session)
    assert "its shape function does not give the rank" in session.explain()


@pytest.mark.parametrize(
    ("kernel", "error"),
    [
        ('extern "C" __global__ void k(float* y) { oops }', 'identifier "oops" is undefined'),
        ("__device__ int f() { return 1; }", "expected one kernel"),
        ('extern "C" __global__ void k(float* y) {}', "has 1 parameters; expected 3"),
        (
            'extern "C" __global__ void k(float* x, int y, long long n) {}',
            "expected 3: pointers to 1 inputs and 1 outputs",
        ),
        (3, "cuda is int, expected CUDA C"),
    ],
)
def test_kernels_that_cannot_be(kernel: object, error: str) -> None:
    def wrong(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return x

    with pytest.raises(tiercel.InvalidArgument, match=error):
        tiercel.custom_op("gpu.test", "Wrong", compile=False, cuda=kernel)(wrong)


BOTH = """
extern "C" __global__ void both(const float* x, float* y, float* z, int by, long long n) {
  long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
  if (i >= n) return;
  y[i] = x[i] * by;
  z[i] = x[i] - by;
}"""


@tiercel.custom_op("gpu.test", "Both", compile=False, cuda=BOTH)
def both(x: NDArray[np.float32], by: int = 2) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return x * np.float32(by), x - np.float32(by)


@both.shape
def both_shape(x: object, by: int) -> object:
    return [x, x]


def model_of_both(outputs: list[str], by: int = 2) -> bytes:
    node = helper.make_node("Both", ["x"], outputs, "node", domain="gpu.test", by=by)
    ports = [helper.make_tensor_value_info(name, 1, [3, 4]) for name in ["x", *outputs] if name]
    graph = helper.make_graph([node], "g", ports[:1], ports[1:])
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("gpu.test", 1)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString())


def test_several_outputs(cuda_driver: softcuda.Device) -> None:
    session = tiercel.InferenceSession(model_of_both(["y", "z"]), providers=[CUDA])
    x = normal(3, 4)
    y, z = session.run(None, {"x": x})
    np.testing.assert_array_equal(y, x * 2)
    np.testing.assert_array_equal(z, x - 2)
    assert ("Both", CUDA) in steps(session)


@pytest.mark.parametrize("outputs", [["y"], ["", "z"]])
def test_outputs_that_nobody_wants_are_written_all_the_same(
    cuda_driver: softcuda.Device, outputs: list[str]
) -> None:
    session = tiercel.InferenceSession(model_of_both(outputs), providers=[CUDA])
    x = normal(3, 4)
    [made] = session.run(None, {"x": x})
    np.testing.assert_array_equal(made, x - 2 if outputs[0] == "" else x * 2)
    assert ("Both", CUDA) in steps(session)


def test_attributes_that_an_int_cannot_hold_run_by_the_function(
    cuda_driver: softcuda.Device,
) -> None:
    session = tiercel.InferenceSession(model_of_both(["y", "z"], by=1 << 40), providers=[CUDA])
    x = normal(3, 4)
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], x * np.float32(1 << 40))
    assert "attribute by is 1099511627776, more than the kernel's int holds" in session.explain()


HALF = 'extern "C" __global__ void k(const float* x, float* y, int n) { y[n - n] = x[0]; }'


@tiercel.custom_op("gpu.test", "First", compile=False, cuda=HALF)
def first(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return x[:1]


@first.shape
def first_shape(x: object) -> object:
    return (None, 4)


def test_shapes_without_extents_run_by_the_function(cuda_driver: softcuda.Device) -> None:
    for rows in (3, "n"):
        session = gpu_session(model_of("First", rows))
        x = normal(3, 4)
        np.testing.assert_array_equal(session.run(None, {"x": x})[0], -x[:1])
        assert "its shape function does not give the extents" in session.explain()


def test_a_kernel_has_one_element_type() -> None:
    Real = typing.TypeVar("Real", np.float32, np.float64)

    def wrong(x: NDArray[Real]) -> NDArray[Real]:
        return x

    wrong.__annotations__ = {"x": NDArray[Real], "return": NDArray[Real]}
    with pytest.raises(tiercel.InvalidArgument, match=r"x is one of float32, float64: a kernel"):
        tiercel.custom_op("gpu.test", "Real", compile=False, cuda=HALF)(wrong)


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ("const float* x, float* y, int by, int n", "parameter 2 is an int, attribute by is a flo"),
        ("const float* x, float* y, float by, float n", "has 4 parameters; expected 4"),
        ("const float* x, float* y, float by, int n, int m", "has 5 parameters; expected 4"),
    ],
)
def test_parameters_of_other_kinds(parameters: str, error: str) -> None:
    def wrong(x: NDArray[np.float32], by: float = 1.5) -> NDArray[np.float32]:
        return x

    kernel = f'extern "C" __global__ void k({parameters}) {{ y[0] = by * n; }}'
    with pytest.raises(tiercel.InvalidArgument, match=error):
        tiercel.custom_op("gpu.test", "Wrong", compile=False, cuda=kernel)(wrong)


def test_ptx_in_the_hand_of_its_writer(cuda_driver: softcuda.Device) -> None:
    ptx = softcuda.compile_cuda(TURN, "turn.cu").replace(".entry turn(", ".entry  turn\n (")

    def turned(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.ascontiguousarray(x.T)

    made = tiercel.custom_op("gpu.test", "Turned", compile=False, cuda=ptx)(turned)
    made.shape(turn_shape)
    x = normal(3, 4)
    session = gpu_session(model_of("Turned"), strict=True)
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], -x.T)


def test_a_second_definition_has_its_own_kernel_or_none(cuda_driver: softcuda.Device) -> None:
    def doubled(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return x + x

    def tripled(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return x * np.float32(3)

    kernel = """extern "C" __global__ void k(const float* x, float* y, int n) {
      int i = blockIdx.x * blockDim.x + threadIdx.x;
      if (i < n) y[i] = x[i] + x[i];
    }"""
    first = tiercel.custom_op("gpu.test", "Again", compile=False, cuda=kernel)(doubled)
    first.shape(lambda x: x)
    old = gpu_session(model_of("Again"), strict=True)
    second = tiercel.custom_op("gpu.test", "Again", compile=False)(tripled)
    second.shape(lambda x: x)
    new = gpu_session(model_of("Again"))
    for rows in (2, 3):
        x = normal(rows, 4)
        np.testing.assert_array_equal(old.run(None, {"x": x})[0], -2 * x)
        np.testing.assert_array_equal(new.run(None, {"x": x})[0], -(x * np.float32(3)))
    assert ("Again", CPU) in steps(new)
