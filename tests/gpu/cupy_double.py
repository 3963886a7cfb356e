"""A stand-in for CuPy on the software device: the few calls that tiercel.cuda makes of it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

import softcuda
from tiercel import _core


class Array:
    """A ``cupy.ndarray``: memory of the GPU, and what keeps it."""

    def __init__(self, cupy: Double, shape: Any, dtype: Any, pointer: int, keeper: Any) -> None:
        self.cupy, self.shape, self.dtype = cupy, tuple(shape), np.dtype(dtype)
        self.pointer, self.keeper = pointer, keeper

    def get(self) -> np.ndarray:
        """The elements, when the work of the current stream is done."""
        out = np.empty(self.shape, self.dtype)
        call, stream = self.cupy.device.call, ctypes.c_void_p(self.cupy.current.ptr)
        to, size = ctypes.c_void_p(out.ctypes.data), ctypes.c_size_t(out.nbytes)
        call("cuMemcpyDtoHAsync_v2", to, ctypes.c_uint64(self.pointer), size, stream)
        call("cuStreamSynchronize", stream)
        return out

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.pointer, False),
            "version": 3,
            "stream": self.cupy.current.ptr,
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 0)

    def __dlpack__(self, *, stream: int | None = None) -> Any:
        return _core.OrtValue.from_object(self).dlpack(stream)


class ExternalStream:
    """A stream of somebody else, current inside of ``with``."""

    def __init__(self, cupy: Double, ptr: int, device_id: int = -1) -> None:
        self.cupy, self.ptr, self.device_id = cupy, ptr, device_id

    def __enter__(self) -> ExternalStream:
        self.before, self.cupy.current = self.cupy.current, self
        return self

    def __exit__(self, *_: object) -> None:
        self.cupy.current = self.before


class Double:
    """The module ``cupy``."""

    def __init__(self, device: softcuda.Device) -> None:
        self.device = device
        self.current: Any = SimpleNamespace(ptr=softcuda.device.Stream(device).handle.value)
        self.allocator: Callable[[int], Any] | None = None
        self.cuda = SimpleNamespace(
            ExternalStream=lambda ptr, device_id=-1: ExternalStream(self, ptr, device_id),
            get_current_stream=lambda device_id=-1: self.current,
            PythonFunctionAllocator=lambda take, give: SimpleNamespace(
                malloc=lambda size: _Block(take, give, size)
            ),
            set_allocator=lambda malloc: setattr(self, "allocator", malloc),
        )

    def asarray(self, values: np.ndarray) -> Array:
        """A copy of an array of the host."""
        if self.allocator is None:
            block = self.device.empty(values.shape, values.dtype)
        else:
            block = self.allocator(values.nbytes)
        stream, size = ctypes.c_void_p(self.current.ptr), ctypes.c_size_t(values.nbytes)
        to, from_ = ctypes.c_uint64(block.pointer), ctypes.c_void_p(values.ctypes.data)
        self.device.call("cuMemcpyHtoDAsync_v2", to, from_, size, stream)
        self.device.call("cuStreamSynchronize", stream)
        return Array(self, values.shape, values.dtype, block.pointer, block)

    def from_dlpack(self, value: Any) -> Array:
        """An array over the memory of another library's."""
        capsule = value.__dlpack__(stream=self.current.ptr)
        held = _core.OrtValue.from_dlpack(capsule)
        dtype = np.dtype({1: "f4", 7: "i8", 10: "f2"}[held.element_type])
        return Array(self, held.shape, dtype, held.pointer, held)


class _Block:
    def __init__(self, take: Callable[..., int], give: Callable[..., None], size: int) -> None:
        self.give, self.pointer = give, take(size, 0)

    def __del__(self) -> None:
        self.give(self.pointer, 0)
