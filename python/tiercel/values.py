"""OrtValue: a value that the core holds, outside numpy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core
from .devices import OrtMemoryInfo, device_of
from .errors import invalid_argument
from .sparse import Array, SparseTensor

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

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


_DLPACK_DEVICES = {1: "cpu", 2: "cuda"}


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
        """Shares the memory of a contiguous array; others, and those for a GPU, are copied.

        `device_type` is "cpu" or "cuda", `device_id` the GPU's number. Raises EPFail where there
        is no such GPU.
        """
        name, number = device_of(device_type, device_id)
        value = _core.OrtValue.from_object(numpy_obj)
        return OrtValue(value if name == "cpu" else value.to_device(name, number))

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
        memory_info: OrtMemoryInfo | None = None,
    ) -> OrtValue:
        """Zeros of a shape; `element_type` is a numpy dtype or an ONNX element type."""
        device = device_of(device_type, device_id)
        kind = element_type_of(element_type)
        return OrtValue(_core.OrtValue.from_shape(list(shape), kind, *device))

    @staticmethod
    def ort_value_from_sparse_tensor(sparse_tensor: SparseTensor) -> OrtValue:
        """The sparse tensor as a value."""
        return OrtValue(sparse_tensor._ortvalue)

    @staticmethod
    def from_dlpack(data: Any, is_bool_tensor: bool = False) -> OrtValue:
        """Shares the memory of any object with __dlpack__, or of a DLPack capsule.

        A GPU's tensor stays there.
        """
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
        """ "cpu" or "cuda"."""
        return self._ortvalue.device[0]

    def device_id(self) -> int:
        """The device's number among those of its kind."""
        return self._ortvalue.device[1]

    def to(self, device_type: str, device_id: int = 0) -> OrtValue:
        """The value on a device: itself where it is there already, else a copy."""
        return OrtValue(self._ortvalue.to_device(*device_of(device_type, device_id)))

    def shape(self) -> list[int]:
        """The extents."""
        return list(self._ortvalue.shape)

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
        """The tensor as an array over the same memory, where numpy knows the element type.

        Strings, types below 8 bits and tensors of a GPU are copied; a sequence gives a list, a map
        a dict.
        """
        return self._ortvalue.numpy(copy=False)

    def update_inplace(self, data: Array | OrtValue) -> None:
        """Overwrites the elements; type and shape must agree."""
        if isinstance(data, OrtValue):
            self._ortvalue.update(data._ortvalue)
            return
        if not isinstance(data, np.ndarray):
            raise TypeError("data must be a numpy.ndarray or an OrtValue.")
        self._ortvalue.update(data)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        array: Array = self._ortvalue.numpy(copy=bool(copy))
        return array if dtype is None else array.astype(dtype, copy=False)

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """The tensor as a DLPack capsule, by the Python array API's protocol.

        Args:
            stream: The consumer's CUDA stream, which the GPU's tensor is ready for.
            max_version: Not read: capsules are of version 0.
            dl_device: Where the consumer wants it, as `__dlpack_device__` says it; None: where it
                is.
            copy: True: always a copy; False: never; None: where it has to move.

        Raises:
            BufferError: It would have to move and must not, or there is no such device.
        """
        here = self.__dlpack_device__()
        there = here if dl_device is None else (int(dl_device[0]), int(dl_device[1]))
        value = self
        if there != here:
            if copy is False or there[0] not in _DLPACK_DEVICES:
                raise BufferError(f"this OrtValue is on DLPack device {here}, not on {there}")
            value = self.to(_DLPACK_DEVICES[there[0]], there[1])
        elif copy:
            place = (self.device_name(), self.device_id())
            value = OrtValue.ortvalue_from_shape_and_type(self.shape(), self.element_type(), *place)
            value.update_inplace(self)
        return value._ortvalue.dlpack(stream)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._ortvalue.dlpack_device()

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        if self.device_name() != "cuda":
            raise AttributeError("__cuda_array_interface__: this OrtValue is in the host's memory")
        return self._ortvalue.cuda_array_interface()


class OrtValueVector(list[OrtValue]):
    """A list of OrtValues, by ONNX Runtime's name."""

    def push_back(self, value: OrtValue) -> None:
        """Appends a value."""
        self.append(value)

    def push_back_batch(
        self,
        tensors: Iterable[Any],
        data_ptrs: Sequence[int],
        element_types: Sequence[DTypeLike | int],
        shapes: Sequence[Sequence[int]],
        devices: Sequence[Any],
    ) -> None:
        """Appends values over memory that the caller keeps alive, by addresses."""
        rows = zip(data_ptrs, element_types, shapes, devices, strict=True)
        for pointer, kind, shape, device in rows:
            place = (device.device_name(), device.device_id())
            value = _core.OrtValue.from_pointer(
                pointer, list(shape), element_type_of(kind), *device_of(*place)
            )
            self.append(OrtValue(value))

    def reserve(self, count: int) -> None:
        """Nothing to do: a list grows by itself."""

    def shrink_to_fit(self) -> None:
        """Nothing to do: a list shrinks by itself."""

    def element_type_at(self, index: int) -> int:
        """The ONNX element type of one entry."""
        return self[index].element_type()

    def dlpack_at(self, index: int) -> Any:
        """One entry as a DLPack capsule."""
        return self[index].__dlpack__()

    def to_dlpacks(self, to_tensor: Any = None) -> list[Any]:
        """All entries as DLPack capsules, or what `to_tensor` makes of each."""
        capsules = [value.__dlpack__() for value in self]
        return capsules if to_tensor is None else [to_tensor(capsule) for capsule in capsules]

    def shapes(self) -> list[list[int]]:
        """The shapes of all entries."""
        return [value.shape() for value in self]


def copy_tensors(
    source: Sequence[OrtValue], destination: Sequence[OrtValue], stream: Any = None
) -> None:
    """Copies tensors pairwise into existing memory."""
    for from_, to in zip(source, destination, strict=True):
        to.update_inplace(from_)
