"""Tensors in a GPU's memory through the C API."""

from __future__ import annotations

import ctypes as c
import sys
from pathlib import Path

import numpy as np
import pytest

import softcuda
import tiercel
from gpu_models import CUDA, model, normal

ROOT = Path(__file__).parents[2]
sys.path += [str(ROOT / "tests" / "capi"), str(ROOT / "tests" / "api")]

from capi import Api, Failure, array, handles, load  # noqa: E402

W, X = normal(6, 4, seed=1), normal(3, 6, seed=2)
Y = np.maximum(X @ W, 0)
MADE = model("g (float[n,6] x) => (float[n,4] y) { p = MatMul(x, w)  y = Relu(p) }", w=W)
FLOAT = 1


@pytest.fixture(scope="module")
def api() -> Api:
    return Api(Path(tiercel.__file__).parent / "libtiercel.so")


def host_value(api: Api, values: np.ndarray) -> c.c_void_p:
    dims = array(c.c_int64, values.shape)
    api.kept.append(values)
    address = values.ctypes.data
    return api.handle("value_wrap", FLOAT, dims, 2, address, values.nbytes, None, None)


def device_value(api: Api, shape: tuple[int, ...]) -> c.c_void_p:
    return api.handle("value_tensor_on", b"cuda", 0, FLOAT, array(c.c_int64, shape), len(shape))


def session_on_the_gpu(api: Api) -> c.c_void_p:
    options = api.handle("session_options_create")
    api.session_options_add_provider(options, CUDA.encode(), None, None, 0)
    return load(api, MADE, options)


def test_runs_read_and_write_where_values_are(api: Api, cuda_driver: softcuda.Device) -> None:
    session = session_on_the_gpu(api)
    x, y = device_value(api, (3, 6)), device_value(api, (3, 4))
    name, number = c.c_char_p(), c.c_int32(7)
    api.value_device(x, c.byref(name), c.byref(number))
    assert (name.value, number.value) == (b"cuda", 0)
    api.value_copy(host_value(api, X), x)
    given, outputs = handles([x]), handles([y])
    for _ in range(2):
        before = cuda_driver.statistic("copies_in")
        api.session_run(session, None, None, given, 1, None, outputs, 1)
    assert cuda_driver.statistic("copies_in") == before
    got = np.zeros((3, 4), np.float32)
    api.value_copy(y, host_value(api, got))
    np.testing.assert_allclose(got, Y, rtol=1e-5, atol=1e-6)
    api.session_release_memory(session)
    for value in (x, y):
        api.value_release(value)
    api.session_release(session)


def test_memory_of_the_program(api: Api, cuda_driver: softcuda.Device) -> None:
    session = session_on_the_gpu(api)
    x, y = cuda_driver.upload(X), cuda_driver.upload(np.zeros((3, 4), np.float32))
    wrapped = [
        api.handle(
            "value_wrap_on",
            b"cuda",
            0,
            FLOAT,
            array(c.c_int64, shape),
            2,
            memory.pointer,
            size,
            None,
            None,
        )
        for memory, shape, size in ((x, (3, 6), X.nbytes), (y, (3, 4), Y.nbytes))
    ]
    api.session_run(session, None, None, handles(wrapped[:1]), 1, None, handles(wrapped[1:]), 1)
    np.testing.assert_allclose(y.numpy(), Y, rtol=1e-5, atol=1e-6)
    for value in wrapped:
        api.value_release(value)
    api.session_release(session)


def test_what_cannot_be_is_an_error(api: Api, cuda_driver: softcuda.Device) -> None:
    shape = array(c.c_int64, (2, 3))
    for device, number, error in (
        (b"tpu", 0, 'there is no device "tpu"'),
        (b"cpu", 1, "device cpu:1 does not exist"),
        (b"cuda", 9, "the driver has GPUs 0 to 0"),
    ):
        with pytest.raises(Failure, match=error):
            api.handle("value_tensor_on", device, number, FLOAT, shape, 2)
    with pytest.raises(Failure, match=r"of shape \[2, 3\] cannot be copied"):
        api.value_copy(device_value(api, (2, 3)), device_value(api, (3, 2)))
