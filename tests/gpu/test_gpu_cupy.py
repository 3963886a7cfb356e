"""tiercel.cuda with CuPy's arrays, stream and allocator, on a stand-in for CuPy."""

from __future__ import annotations

import gc
import sys

import numpy as np
import pytest

import softcuda
import tiercel
import tiercel.cuda
from cupy_double import Double
from gpu_models import gpu_session, model, normal
from tiercel import OrtValue, _core

W, X = normal(6, 4, seed=1), normal(3, 6, seed=2)
MADE = model("g (float[n,6] x) => (float[n,4] y) { p = MatMul(x, w)  y = Relu(p) }", w=W)
Y = np.maximum(X @ W, 0)


@pytest.fixture
def cupy(cuda_driver: softcuda.Device, monkeypatch: pytest.MonkeyPatch) -> Double:
    double = Double(cuda_driver)
    monkeypatch.setitem(sys.modules, "cupy", double)  # type: ignore[arg-type]
    return double


def test_arrays_go_in_and_come_out(cupy: Double) -> None:
    session = gpu_session(MADE)
    x = cupy.asarray(X)
    tiercel.cuda.run(session, None, {"x": x})
    copied = [cupy.device.statistic(name) for name in ("copies_in", "copies_out")]
    [y] = tiercel.cuda.run(session, ["y"], {"x": x})
    after = [cupy.device.statistic(name) for name in ("copies_in", "copies_out")]
    assert [new - old for new, old in zip(after, copied, strict=True)] == [0, 1]  # the error word
    np.testing.assert_allclose(y.get(), Y, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(session.run(None, {"x": x})[0], Y, rtol=1e-5, atol=1e-6)
    [y] = tiercel.cuda.run(session, None, {"x": X})
    np.testing.assert_allclose(y.get(), Y, rtol=1e-5, atol=1e-6)


def test_values_and_arrays_share_memory(cupy: Double) -> None:
    value = OrtValue.ortvalue_from_numpy(X, "cuda")
    array = tiercel.cuda.to_cupy(value)
    assert array.pointer == value.data_ptr()
    assert tiercel.cuda.from_cupy(array).data_ptr() == value.data_ptr()
    np.testing.assert_array_equal(tiercel.cuda.to_cupy(OrtValue.ortvalue_from_numpy(X)).get(), X)


def test_one_stream_for_both(cupy: Double) -> None:
    with tiercel.cuda.stream() as stream:
        assert stream.ptr == _core.device_stream("cuda", 0)
        [y] = tiercel.cuda.run(gpu_session(MADE), None, {"x": cupy.asarray(X)})
        np.testing.assert_allclose(y.get(), Y, rtol=1e-5, atol=1e-6)


def test_one_pool_for_both(cupy: Double) -> None:
    tiercel.cuda.use_memory_pool()
    gc.collect()  # what earlier tests left in cycles holds device memory
    held = _core.device_use("cuda", 0)[1]
    x = cupy.asarray(normal(256, 256))
    assert _core.device_use("cuda", 0)[1] - held == 256 * 256 * 4
    del x
    gc.collect()
    assert _core.device_use("cuda", 0)[1] == held
    x = cupy.asarray(X)
    [y] = tiercel.cuda.run(gpu_session(MADE), None, {"x": x})
    np.testing.assert_allclose(y.get(), Y, rtol=1e-5, atol=1e-6)


def test_a_missing_cupy_is_named(
    cuda_driver: softcuda.Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(tiercel.EPFail, match=r"CuPy is missing .*pip install tiercel\[cuda\]"):
        tiercel.cuda.stream()
