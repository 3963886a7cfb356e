"""OrtValue, IOBinding, DLPack and sparse tensors."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import onnx_models as models
import tiercel as ort

X = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture(scope="module")
def session() -> ort.InferenceSession:
    return ort.InferenceSession(models.add().SerializeToString())


def test_ortvalue_shares_memory() -> None:
    array = X.copy()
    value = ort.OrtValue.ortvalue_from_numpy(array)
    assert value.data_ptr() == array.ctypes.data
    array[0, 0] = 9
    assert value.numpy()[0, 0] == 9
    assert value.shape() == [2, 3] and value.data_type() == "tensor(float)"
    assert value.element_type() == 1 and value.tensor_size_in_bytes() == 24
    assert value.is_tensor() and value.has_value() and value.device_name() == "cpu"
    assert not value.is_sparse_tensor() and not value.is_tensor_sequence()


def test_numpy_shares_memory_and_keeps_it() -> None:
    value = ort.OrtValue.ortvalue_from_numpy(X.copy())
    value.numpy()[:] = 7
    assert value.numpy()[1, 2] == 7
    assert np.asarray(value).ctypes.data == value.data_ptr()
    assert np.array(value, copy=True).ctypes.data != value.data_ptr()
    view = ort.OrtValue.ortvalue_from_shape_and_type([4096], np.float32).numpy()
    np.testing.assert_array_equal(view, 0)


def test_from_shape_and_update() -> None:
    value = ort.OrtValue.ortvalue_from_shape_and_type([2, 3], np.float32)
    assert (value.numpy() == 0).all()
    value.update_inplace(X)
    np.testing.assert_array_equal(value.numpy(), X)
    with pytest.raises(ort.InvalidArgument, match="update_inplace"):
        value.update_inplace(X.astype(np.float64))
    assert ort.OrtValue.ortvalue_from_shape_and_type([2], 16).data_type() == "tensor(bfloat16)"


def test_update_from_a_value_or_an_array_only() -> None:
    value = ort.OrtValue.ortvalue_from_shape_and_type([2, 3], np.float32)
    value.update_inplace(ort.OrtValue.ortvalue_from_numpy(X))
    np.testing.assert_array_equal(value.numpy(), X)
    with pytest.raises(TypeError, match="numpy.ndarray or an OrtValue"):
        value.update_inplace([[1, 2, 3]] * 2)  # type: ignore[arg-type]
    other = ort.OrtValue.ortvalue_from_shape_and_type([2, 3], np.float32)
    ort.copy_tensors([value], [other])
    np.testing.assert_array_equal(other.numpy(), X)


def test_csr() -> None:
    device = ort.OrtDevice.make("cpu", 0)
    sparse = ort.SparseTensor.sparse_csr_from_numpy(
        [2, 3], np.array([1, 2, 3], np.float32), np.array([0, 2, 1]), np.array([0, 2, 3]), device
    )
    np.testing.assert_array_equal(sparse.to_dense(), [[1, 0, 2], [0, 3, 0]])
    assert sparse.format() == ort.OrtSparseFormat.ORT_SPARSE_CSRC
    np.testing.assert_array_equal(sparse.as_csrc_view().outer(), [0, 2, 3])
    np.testing.assert_array_equal(sparse.as_csrc_view().inner(), [0, 2, 1])
    with pytest.raises(RuntimeError, match="COO"):
        sparse.as_coo_view()
    with pytest.raises(ort.InvalidArgument, match="CSR"):
        ort.SparseTensor.sparse_csr_from_numpy([2, 3], X[0], X[0], np.zeros(9), device)


def test_onnx_type_view() -> None:
    words = np.array([0x3F80, 0x4000], np.uint16)
    value = ort.OrtValue.ortvalue_from_numpy_with_onnx_type(words, 16)
    assert value.numpy().dtype == ml_dtypes.bfloat16
    assert value.numpy().astype(np.float32).tolist() == [1, 2]


def test_run_with_ort_values(session: ort.InferenceSession) -> None:
    feeds = {name: ort.OrtValue.ortvalue_from_numpy(X) for name in "xy"}
    (z,) = session.run_with_ort_values(["z"], feeds)
    np.testing.assert_array_equal(z.numpy(), X + X)
    np.testing.assert_array_equal(session.run(None, feeds)[0], X + X)


def test_run_with_vector(session: ort.InferenceSession) -> None:
    value = ort.OrtValue.ortvalue_from_numpy(X)
    fetches = ort.OrtValueVector()
    session.run_with_ortvaluevector(None, ["x", "y"], [value, value], ["z"], fetches, [])
    np.testing.assert_array_equal(fetches[0].numpy(), X + X)


def test_dlpack_both_ways() -> None:
    value = ort.OrtValue.ortvalue_from_numpy(X.copy())
    array = np.from_dlpack(value)
    assert array.ctypes.data == value.data_ptr()
    del value
    np.testing.assert_array_equal(array, X)
    source = X.copy()
    back = ort.OrtValue.from_dlpack(source)
    assert back.data_ptr() == source.ctypes.data
    with pytest.raises(ort.InvalidArgument, match="dense"):
        ort.OrtValue.from_dlpack(X.T)
    with pytest.raises(ort.InvalidArgument, match="__dlpack__"):
        ort.OrtValue.from_dlpack("text")


def test_dlpack_copies_where_the_consumer_says_so() -> None:
    value = ort.OrtValue.ortvalue_from_numpy(X.copy())
    shared, copied = np.from_dlpack(value), np.from_dlpack(value, copy=True, device="cpu")
    value.update_inplace(X + 1)
    np.testing.assert_array_equal(shared, X + 1)
    np.testing.assert_array_equal(copied, X)
    with pytest.raises(BufferError, match=r"on DLPack device \(1, 0\), not on \(8, 0\)"):
        value.__dlpack__(dl_device=(8, 0))


def test_iobinding(session: ort.InferenceSession) -> None:
    binding = session.io_binding()
    out = np.zeros((2, 3), np.float32)
    binding.bind_cpu_input("x", X)
    binding.bind_input("y", "cpu", 0, np.float32, X.shape, X.ctypes.data)
    binding.bind_output("z", "cpu", 0, np.float32, out.shape, out.ctypes.data)
    session.run_with_iobinding(binding)
    np.testing.assert_array_equal(out, X + X)
    binding.clear_binding_outputs()
    binding.bind_output("z")
    session.run_with_iobinding(binding)
    np.testing.assert_array_equal(binding.copy_outputs_to_cpu()[0], X + X)
    assert binding.get_outputs()[0].data_type() == "tensor(float)"
    target = ort.OrtValue.ortvalue_from_shape_and_type([2, 3], np.float32)
    binding.bind_ortvalue_output("z", target)
    session.run_with_iobinding(binding)
    np.testing.assert_array_equal(target.numpy(), X + X)


def test_iobinding_errors(session: ort.InferenceSession) -> None:
    binding = session.io_binding()
    with pytest.raises(ort.InvalidArgument, match="Invalid input name"):
        binding.bind_cpu_input("q", X)
    with pytest.raises(ort.InvalidArgument, match="no output is bound"):
        session.run_with_iobinding(binding)
    with pytest.raises(ort.EPFail, match="the NVIDIA driver is missing"):
        binding.bind_output("z", "cuda")
    with pytest.raises(ort.InvalidArgument, match="no device tpu:0"):
        binding.bind_output("z", "tpu")
    wrong = ort.OrtValue.ortvalue_from_shape_and_type([5], np.float32)
    binding.bind_cpu_input("x", X)
    binding.bind_cpu_input("y", X)
    binding.bind_ortvalue_output("z", wrong)
    with pytest.raises(ort.InvalidArgument, match="bound output"):
        session.run_with_iobinding(binding)


def test_sparse_tensor() -> None:
    device = ort.OrtDevice.make("cpu", 0)
    sparse = ort.SparseTensor.sparse_coo_from_numpy(
        [2, 3], np.array([1, 2], np.float32), np.array([0, 4]), device
    )
    np.testing.assert_array_equal(sparse.to_dense(), [[1, 0, 0], [0, 2, 0]])
    value = ort.OrtValue.ort_value_from_sparse_tensor(sparse)
    assert value.is_sparse_tensor()
    assert value.as_sparse_tensor().dense_shape() == [2, 3]
    assert sparse.data_type() == "sparse_tensor(float)"
