"""Values in the memory of a GPU: OrtValue, IOBinding, DLPack, __cuda_array_interface__."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

import softcuda
import tiercel
from gpu_models import CPU, CUDA, cpu_session, gpu_session, model, normal
from tiercel import OrtValue, _core

PRODUCT = "g (float[n,6] x) => (float[n,4] y, float[n,4] p) { p = MatMul(x, w)  y = Relu(p) }"
W, X = normal(6, 4, seed=1), normal(3, 6, seed=2)
P = X @ W


def product_session(**options: object) -> tiercel.InferenceSession:
    return gpu_session(model(PRODUCT, w=W), **options)


class CudaArray:
    """Another library's array on the GPU, as the interface describes it."""

    def __init__(self, device: softcuda.Device, values: np.ndarray, stream: int | None) -> None:
        self._memory = device.upload(values)
        self.__cuda_array_interface__ = {
            "shape": values.shape,
            "typestr": values.dtype.str,
            "data": (self._memory.pointer, False),
            "version": 3,
            "stream": stream,
        }


def test_values_go_to_the_gpu_and_back(cuda_driver: softcuda.Device) -> None:
    value = OrtValue.ortvalue_from_numpy(X, "cuda", 0)
    assert (value.device_name(), value.device_id()) == ("cuda", 0)
    assert value.shape() == [3, 6]
    assert value.data_type() == "tensor(float)"
    np.testing.assert_array_equal(value.numpy(), X)
    np.testing.assert_array_equal(np.asarray(value), X)
    value.update_inplace(X + 1)
    np.testing.assert_array_equal(value.to("cpu").numpy(), X + 1)
    assert value.to("cuda") is not value
    assert value.to("cuda").data_ptr() == value.data_ptr()
    zeros = OrtValue.ortvalue_from_shape_and_type([2, 2], np.int64, "cuda")
    np.testing.assert_array_equal(zeros.numpy(), np.zeros((2, 2), np.int64))
    zeros.update_inplace(OrtValue.ortvalue_from_numpy(np.ones((2, 2), np.int64), "cuda"))
    np.testing.assert_array_equal(zeros.numpy(), np.ones((2, 2), np.int64))


def test_strings_and_other_devices_are_refused(cuda_driver: softcuda.Device) -> None:
    with pytest.raises(tiercel.InvalidArgument, match="strings stay in host memory"):
        OrtValue.ortvalue_from_numpy(np.array(["a"]), "cuda")
    with pytest.raises(tiercel.EPFail, match="device_id is 7; the driver has GPUs 0 to 0"):
        OrtValue.ortvalue_from_numpy(X, "cuda", 7)
    with pytest.raises(tiercel.InvalidArgument, match="no device tpu:0"):
        OrtValue.ortvalue_from_numpy(X, "tpu")


def test_bound_values_are_read_and_written_where_they_are(cuda_driver: softcuda.Device) -> None:
    session = product_session()
    session.run(None, {"x": X})  # constants are there
    binding = session.io_binding()
    given = OrtValue.ortvalue_from_numpy(X, "cuda")
    target = OrtValue.ortvalue_from_shape_and_type([3, 4], np.float32, "cuda")
    binding.bind_ortvalue_input("x", given)
    binding.bind_ortvalue_output("y", target)
    binding.bind_output("p", "cuda")
    copied = [cuda_driver.statistic(name) for name in ("copies_in", "copies_out")]
    session.run_with_iobinding(binding)
    session.run_with_iobinding(binding)
    made = binding.get_outputs()[1]
    after = [cuda_driver.statistic(name) for name in ("copies_in", "copies_out")]
    assert after[0] == copied[0]
    assert after[1] - copied[1] <= 2  # the word that kernels report errors in, once a run
    assert made.device_name() == "cuda"
    np.testing.assert_allclose(target.numpy(), np.maximum(P, 0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(made.numpy(), P, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(binding.copy_outputs_to_cpu()[0], np.maximum(P, 0), atol=1e-6)


def test_memory_is_bound_by_its_address(cuda_driver: softcuda.Device) -> None:
    session = product_session()
    given, target = cuda_driver.upload(X), cuda_driver.upload(np.zeros((3, 4), np.float32))
    binding = session.io_binding()
    binding.bind_input("x", "cuda", 0, np.float32, X.shape, given.pointer)
    binding.bind_output("y", "cuda", 0, np.float32, (3, 4), target.pointer)
    binding.synchronize_inputs()
    session.run_with_iobinding(binding)
    np.testing.assert_allclose(target.numpy(), np.maximum(P, 0), rtol=1e-5, atol=1e-6)


def test_inputs_are_read_where_they_are_by_any_run(cuda_driver: softcuda.Device) -> None:
    session = product_session()
    value = OrtValue.ortvalue_from_numpy(X, "cuda")
    want = cpu_session(model(PRODUCT, w=W)).run(None, {"x": X})
    for got in (
        session.run(None, {"x": value}),
        [held.numpy() for held in session.run_with_ort_values(None, {"x": value})],
    ):
        for one, other in zip(got, want, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_outputs_that_are_inputs_or_constants_can_stay_on_the_gpu(
    cuda_driver: softcuda.Device,
) -> None:
    text = "g (float[3,6] x) => (float[6,3] a, float[6,4] c) { a = Reshape(x, s)  c = Identity(w) }"
    session = gpu_session(model(text, w=W, s=np.array([6, 3])))
    for value in (OrtValue.ortvalue_from_numpy(X, "cuda"), OrtValue.ortvalue_from_numpy(X)):
        binding = session.io_binding()
        binding.bind_ortvalue_input("x", value)
        binding.bind_output("a", "cuda")
        binding.bind_output("c", "cuda")
        session.run_with_iobinding(binding)
        first, second = binding.get_outputs()
        assert first.device_name() == second.device_name() == "cuda"
        np.testing.assert_array_equal(first.numpy(), X.reshape(6, 3))
        np.testing.assert_array_equal(second.numpy(), W)


def test_a_session_of_the_cpu_names_the_input_that_it_cannot_read(
    cuda_driver: softcuda.Device,
) -> None:
    session = cpu_session(model(PRODUCT, w=W))
    with pytest.raises(tiercel.InvalidArgument, match="x is in the memory of cuda:0; .*: cpu"):
        session.run(None, {"x": OrtValue.ortvalue_from_numpy(X, "cuda")})
    binding = session.io_binding()
    binding.bind_cpu_input("x", X)
    binding.bind_output("y", "cuda")
    with pytest.raises(tiercel.InvalidArgument, match="y is in the memory of cuda:0"):
        session.run_with_iobinding(binding)


def test_dlpack_shares_memory_both_ways(cuda_driver: softcuda.Device) -> None:
    value = OrtValue.ortvalue_from_numpy(X, "cuda")
    assert value.__dlpack_device__() == (2, 0)
    shared = OrtValue.from_dlpack(value)
    assert shared.data_ptr() == value.data_ptr()
    assert shared.device_name() == "cuda"
    value.update_inplace(X + 1)
    np.testing.assert_array_equal(shared.numpy(), X + 1)
    pointer = value.data_ptr()
    del value
    gc.collect()
    np.testing.assert_array_equal(shared.numpy(), X + 1)
    assert shared.data_ptr() == pointer
    unused = shared.__dlpack__(stream=-1)
    del shared, unused
    gc.collect()


def test_dlpack_brings_values_to_the_host(cuda_driver: softcuda.Device) -> None:
    array = normal(3, 4)
    value = OrtValue.ortvalue_from_numpy(array, "cuda")
    np.testing.assert_array_equal(np.from_dlpack(value, device="cpu"), array)
    with pytest.raises(BufferError, match=r"device \(2, 0\), not on \(1, 0\)"):
        np.from_dlpack(value, device="cpu", copy=False)
    copied = OrtValue.from_dlpack(value.__dlpack__(copy=True))
    assert copied.device_name() == "cuda"
    assert copied.data_ptr() != value.data_ptr()
    np.testing.assert_array_equal(copied.numpy(), array)
    there = OrtValue.from_dlpack(OrtValue.ortvalue_from_numpy(array).__dlpack__(dl_device=(2, 0)))
    assert there.device_name() == "cuda"
    np.testing.assert_array_equal(there.numpy(), array)


def test_the_cuda_array_interface_shares_memory_both_ways(cuda_driver: softcuda.Device) -> None:
    value = OrtValue.ortvalue_from_numpy(X, "cuda")
    facts = value.__cuda_array_interface__
    assert facts["shape"] == (3, 6)
    assert facts["typestr"] == "<f4"
    assert facts["data"] == (value.data_ptr(), False)
    assert facts["stream"] == _core.device_stream("cuda", 0)
    assert not hasattr(OrtValue.ortvalue_from_numpy(X), "__cuda_array_interface__")
    session = product_session()
    for stream in (None, 1):
        [y] = session.run(["y"], {"x": CudaArray(cuda_driver, X, stream)})
        np.testing.assert_allclose(y, np.maximum(P, 0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"typestr": "<M8[s]"}, "has no ONNX element type"),
        ({"strides": (4, 12)}, "expected a dense row-major array"),
        ({"data": (4096, False)}, "address 4096 is in no GPU's memory"),
    ],
)
def test_arrays_that_cannot_be_read_are_named(
    cuda_driver: softcuda.Device, change: dict[str, Any], error: str
) -> None:
    array = CudaArray(cuda_driver, X, None)
    array.__cuda_array_interface__.update(change)
    with pytest.raises(tiercel.InvalidArgument, match=error):
        product_session().run(None, {"x": array})


def test_memory_that_no_run_uses_is_given_back(cuda_driver: softcuda.Device) -> None:
    session = product_session()
    first = session.run(None, {"x": X})
    taken, held = _core.device_use("cuda", 0)
    assert taken >= held > 0
    session.release_memory()
    after_taken, after_held = _core.device_use("cuda", 0)
    assert after_taken == after_held < held
    for got, want in zip(session.run(None, {"x": X}), first, strict=True):
        assert got.tobytes() == want.tobytes()
    cpu_session(model(PRODUCT, w=W)).release_memory()


def test_outputs_that_nobody_wants_are_not_copied(cuda_driver: softcuda.Device) -> None:
    session = product_session()
    session.run(["y"], {"x": X})
    before = cuda_driver.statistic("copies_out")
    session.run(["y"], {"x": X})
    assert cuda_driver.statistic("copies_out") - before == 2  # it, and the error word
    session.run(None, {"x": X})
    assert cuda_driver.statistic("copies_out") - before == 5


def test_many_outputs_are_copied_beside_later_work(cuda_driver: softcuda.Device) -> None:
    lines = "\n".join(f"y{i} = Mul(y{i - 1}, y0)" for i in range(1, 20))
    names = ", ".join(f"float[n,6] y{i}" for i in range(20))
    made = model(f"g (float[n,6] x) => ({names}) {{ y0 = Sigmoid(x)\n{lines} }}")
    options = tiercel.SessionOptions()
    options.graph_optimization_level = tiercel.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = tiercel.InferenceSession(made.SerializeToString(), options, [CUDA])
    want = tiercel.InferenceSession(made.SerializeToString(), options, [CPU]).run(None, {"x": X})
    for got in (session.run(None, {"x": X}), session.run(None, {"x": X})):
        for one, other in zip(got, want, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5)


def test_the_gpu_s_device_has_a_stream(cuda_driver: softcuda.Device) -> None:
    [gpu] = [device for device in tiercel.get_ep_devices() if device.ep_name == CUDA]
    assert gpu.device.type == tiercel.OrtHardwareDeviceType.GPU
    assert gpu.memory_info(tiercel.OrtDeviceMemoryType.DEFAULT).name == "Cuda"
    assert gpu.create_sync_stream().get_handle() == _core.device_stream("cuda", 0)
    [cpu] = [device for device in tiercel.get_ep_devices() if device.ep_name == CPU]
    with pytest.raises(tiercel.NotImplemented, match="has no streams"):
        cpu.create_sync_stream()


def test_explain_shows_the_copies_of_the_last_run(cuda_driver: softcuda.Device) -> None:
    session = product_session()
    session.run(None, {"x": X})
    assert "copy to the host" in session.explain()
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", OrtValue.ortvalue_from_numpy(X, "cuda"))
    binding.bind_output("y", "cuda")
    session.run_with_iobinding(binding)
    shown = session.explain()
    assert "y in cpu" not in shown
    assert "x in cuda" not in shown
