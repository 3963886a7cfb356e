"""Values outside numpy: OrtValue, SparseTensor, and where they live."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import _core
from .errors import invalid_argument, not_implemented

Array = NDArray[Any]

# ONNX element types (TensorProto.DataType) by numpy or ml_dtypes name.
ELEMENT_TYPES = {
    "float32": 1,
    "uint8": 2,
    "int8": 3,
    "uint16": 4,
    "int16": 5,
    "int32": 6,
    "int64": 7,
    "object": 8,
    "str": 8,
    "bool": 9,
    "float16": 10,
    "float64": 11,
    "uint32": 12,
    "uint64": 13,
    "complex64": 14,
    "complex128": 15,
    "bfloat16": 16,
    "float8_e4m3fn": 17,
    "float8_e4m3fnuz": 18,
    "float8_e5m2": 19,
    "float8_e5m2fnuz": 20,
    "uint4": 21,
    "int4": 22,
    "float4_e2m1fn": 23,
    "float8_e8m0fnu": 24,
    "uint2": 25,
    "int2": 26,
    "float6_e2m3fn": 27,
    "float6_e3m2fn": 28,
}


def element_type_of(dtype: DTypeLike | int) -> int:
    """The ONNX element type of a numpy dtype, a scalar class, or a number that is one already."""
    if isinstance(dtype, int) and not isinstance(dtype, bool):
        return dtype
    kind = np.dtype(dtype)  # type: ignore[arg-type]
    name = "str" if kind.kind in "US" else kind.name
    if name not in ELEMENT_TYPES:
        raise invalid_argument(f"numpy dtype {kind} has no ONNX element type")
    return ELEMENT_TYPES[name]


class OrtAllocatorType(IntEnum):
    """Kinds of allocator, as ONNX Runtime numbers them."""

    INVALID = -1
    ORT_DEVICE_ALLOCATOR = 0
    ORT_ARENA_ALLOCATOR = 1


class OrtMemType(IntEnum):
    """Kinds of memory, as ONNX Runtime numbers them."""

    CPU_INPUT = -2
    CPU_OUTPUT = -1
    DEFAULT = 0


class OrtDevice:
    """A device by type and number."""

    _TYPES = {"cpu": 0, "cuda": 1, "gpu": 1}

    def __init__(self, device_type: str = "cpu", device_id: int = 0, vendor_id: int = -1) -> None:
        if device_type not in self._TYPES:
            raise invalid_argument(f"unknown device {device_type!r}: expected 'cpu' or 'cuda'")
        self._name, self._id, self._vendor = device_type, device_id, vendor_id

    @staticmethod
    def make(ort_device_name: str, device_id: int, vendor_id: int = -1) -> OrtDevice:
        """The device `ort_device_name` ("cpu") number `device_id`."""
        return OrtDevice(ort_device_name, device_id, vendor_id)

    @staticmethod
    def cpu() -> int:
        """The number of the device type CPU."""
        return 0

    def device_name(self) -> str:
        """ "cpu" or "cuda"."""
        return self._name

    def device_type(self) -> int:
        """The device type's number."""
        return self._TYPES[self._name]

    def device_id(self) -> int:
        """The device's number among those of its type."""
        return self._id

    def device_vendor_id(self) -> int:
        """The vendor's PCI number, -1 when not given."""
        return self._vendor


class OrtMemoryInfo:
    """Where inputs and outputs of a session live."""

    def __init__(
        self, name: str, alloc_type: OrtAllocatorType, device_id: int, mem_type: OrtMemType
    ) -> None:
        self.name, self.allocator_type = name, alloc_type
        self.device_id, self.mem_type = device_id, mem_type


def _require_cpu(device_type: str, device_id: int) -> None:
    if device_type.lower() not in ("cpu", "cpu_pinned") or device_id != 0:
        raise not_implemented(
            f"device {device_type}:{device_id} is not available, expected cpu:0 (get_device())"
        )


class SparseTensor:
    """A sparse tensor: values, their indices, and the dense shape (ONNX's COO form)."""

    def __init__(self, values: Array, indices: Array, shape: Sequence[int]) -> None:
        self._values, self._indices = values, np.asarray(indices, np.int64)
        self._shape = [int(extent) for extent in shape]

    @staticmethod
    def sparse_coo_from_numpy(
        dense_shape: Sequence[int], values: Array, coo_indices: Array, ort_device: OrtDevice
    ) -> SparseTensor:
        """From `values` [nnz] and linear indices [nnz] or coordinates [nnz, rank]."""
        _require_cpu(ort_device.device_name(), ort_device.device_id())
        return SparseTensor(values, coo_indices, dense_shape)

    @staticmethod
    def _from_parts(values: Array, indices: Array, shape: tuple[int, ...]) -> SparseTensor:
        return SparseTensor(values, indices, shape)

    def values(self) -> Array:
        """The stored values [nnz]."""
        return self._values

    def indices(self) -> Array:
        """Linear indices [nnz] or coordinates [nnz, rank], int64."""
        return self._indices

    def dense_shape(self) -> list[int]:
        """The extents of the dense tensor."""
        return list(self._shape)

    def data_type(self) -> str:
        """For example "sparse_tensor(float)"."""
        return self._ortvalue.type

    def device_name(self) -> str:
        """Always "cpu"."""
        return "cpu"

    def to_dense(self) -> Array:
        """The dense array, zeros where nothing is stored."""
        dense = np.zeros(self._shape, self._values.dtype)
        if self._indices.ndim == 1:
            dense.reshape(-1)[self._indices] = self._values
        else:
            dense[tuple(self._indices.T)] = self._values
        return dense

    @property
    def _ortvalue(self) -> _core.OrtValue:
        values = _core.OrtValue.from_object(self._values)
        return _core.OrtValue.from_sparse(
            values, _core.OrtValue.from_object(self._indices), self._shape
        )


class OrtValue:
    """A value that the core holds: tensor, sequence, map, optional or sparse tensor.

    Tensors made from contiguous numpy arrays or DLPack share their memory.
    """

    def __init__(self, ortvalue: _core.OrtValue) -> None:
        self._ortvalue = ortvalue

    @staticmethod
    def ortvalue_from_numpy(
        numpy_obj: Array, device_type: str = "cpu", device_id: int = 0, vendor_id: int = -1
    ) -> OrtValue:
        """Shares the memory of a contiguous array; others are copied."""
        _require_cpu(device_type, device_id)
        return OrtValue(_core.OrtValue.from_object(numpy_obj))

    @staticmethod
    def ortvalue_from_numpy_with_onnx_type(data: Array, onnx_element_type: int) -> OrtValue:
        """The array's bytes as another ONNX type of the same width (bfloat16 kept in uint16)."""
        value = _core.OrtValue.from_object(data)
        return OrtValue(value.view_as(onnx_element_type))

    @staticmethod
    def ortvalue_from_shape_and_type(
        shape: Sequence[int],
        element_type: DTypeLike | int,
        device_type: str = "cpu",
        device_id: int = 0,
        vendor_id: int = -1,
    ) -> OrtValue:
        """Zeros of a shape; `element_type` is a numpy dtype or an ONNX element type."""
        _require_cpu(device_type, device_id)
        number = element_type_of(element_type)
        return OrtValue(_core.OrtValue.from_shape(list(shape), number))

    @staticmethod
    def ort_value_from_sparse_tensor(sparse_tensor: SparseTensor) -> OrtValue:
        """The sparse tensor as a value."""
        return OrtValue(sparse_tensor._ortvalue)

    @staticmethod
    def from_dlpack(data: Any, is_bool_tensor: bool = False) -> OrtValue:
        """Shares the memory of any object with __dlpack__, or of a DLPack capsule."""
        value = _core.OrtValue.from_dlpack(data)
        return OrtValue(value.view_as(9) if is_bool_tensor else value)

    def as_sparse_tensor(self) -> SparseTensor:
        """The sparse tensor that this value holds."""
        if not self.is_sparse_tensor():
            raise invalid_argument(f"this OrtValue holds {self.data_type()}, no sparse tensor")
        return self._ortvalue.numpy()  # type: ignore[no-any-return]

    def data_ptr(self) -> int:
        """The address of the first element."""
        return self._ortvalue.pointer

    def device_name(self) -> str:
        """Always "cpu"."""
        return "cpu"

    def shape(self) -> tuple[int, ...]:
        """The extents."""
        return self._ortvalue.shape

    def data_type(self) -> str:
        """For example "tensor(float)" or "seq(tensor(int64))"."""
        return self._ortvalue.type

    def element_type(self) -> int:
        """The ONNX element type of a tensor."""
        return self._ortvalue.element_type

    def tensor_size_in_bytes(self) -> int:
        """Bytes of a tensor."""
        return self._ortvalue.nbytes

    def has_value(self) -> bool:
        """False for an empty optional."""
        return self._ortvalue.kind != 0

    def is_tensor(self) -> bool:
        """True for a dense tensor."""
        return self._ortvalue.kind == 1

    def is_tensor_sequence(self) -> bool:
        """True for a sequence."""
        return self._ortvalue.kind == 2

    def is_sparse_tensor(self) -> bool:
        """True for a sparse tensor."""
        return self._ortvalue.kind == 4

    def numpy(self) -> Any:
        """A copy as a numpy array (a list for a sequence, a dict for a map)."""
        return self._ortvalue.numpy()

    def update_inplace(self, np_arr: Array) -> None:
        """Overwrites the elements; type and shape must agree."""
        self._ortvalue.update(np_arr)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        array: Array = self._ortvalue.numpy(copy=bool(copy))
        return array if dtype is None else array.astype(dtype, copy=False)

    def __dlpack__(self, *, stream: int | None = None, **_: Any) -> Any:
        return self._ortvalue.dlpack()

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


class OrtValueVector(list[OrtValue]):
    """A list of OrtValues, by ONNX Runtime's name."""

    def element_type_at(self, index: int) -> int:
        """The ONNX element type of one entry."""
        return self[index].element_type()

    def shapes(self) -> Iterator[tuple[int, ...]]:
        """The shapes of all entries."""
        return (value.shape() for value in self)


def copy_tensors(
    source: Sequence[OrtValue], destination: Sequence[OrtValue], stream: Any = None
) -> None:
    """Copies tensors pairwise into existing memory."""
    for from_, to in zip(source, destination, strict=True):
        to.update_inplace(from_._ortvalue.numpy(copy=False))
