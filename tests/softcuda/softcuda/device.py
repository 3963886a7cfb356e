"""A small view of a CUDA driver for tests: modules, arrays, launches, streams, through ctypes."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .build import driver

Pointer = ctypes.c_uint64
STREAM_MODES = {"lazy": 0, "eager": 1, "random": 2}


class DeviceError(RuntimeError):
    """A driver call failed; holds CUDA's name of the error and what the software device says."""

    def __init__(self, call: str, code: int, name: str, message: str) -> None:
        super().__init__(f"{call}: {name}" + (f": {message}" if message else ""))
        self.code = code
        self.name = name
        self.message = message


class Array:
    """Memory of the device with a shape and an element type."""

    def __init__(self, device: Device, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
        self.device = device
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.nbytes = int(np.prod(shape, dtype=np.int64)) * self.dtype.itemsize
        pointer = Pointer()
        device.call("cuMemAlloc_v2", ctypes.byref(pointer), ctypes.c_size_t(max(self.nbytes, 1)))
        self.pointer = pointer.value

    def numpy(self) -> npt.NDArray[Any]:
        """Its values, after the work of all streams."""
        self.device.synchronize()
        values = np.empty(self.shape, self.dtype)
        self.device.call(
            "cuMemcpyDtoH_v2",
            values.ctypes.data_as(ctypes.c_void_p),
            Pointer(self.pointer),
            ctypes.c_size_t(self.nbytes),
        )
        return values

    def fill_from(self, values: npt.NDArray[Any]) -> None:
        """Copies host values of the same size into it."""
        source = np.ascontiguousarray(values)
        if source.nbytes != self.nbytes:
            raise ValueError(f"{self.nbytes} bytes expected, got {source.nbytes}")
        self.device.call(
            "cuMemcpyHtoD_v2",
            Pointer(self.pointer),
            source.ctypes.data_as(ctypes.c_void_p),
            ctypes.c_size_t(self.nbytes),
        )

    def free(self) -> None:
        """Gives the memory back; an error if somebody wrote behind it."""
        self.device.call("cuMemFree_v2", Pointer(self.pointer))


class Stream:
    """A stream that the null stream does not wait for."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.handle = ctypes.c_void_p()
        device.call("cuStreamCreate", ctypes.byref(self.handle), ctypes.c_uint(1))

    def synchronize(self) -> None:
        """Waits for its work."""
        self.device.call("cuStreamSynchronize", self.handle)

    def destroy(self) -> None:
        """Ends it, after its work."""
        self.device.call("cuStreamDestroy_v2", self.handle)


Argument = Array | np.generic | ctypes.Structure | int | float


class Module:
    """A loaded PTX module."""

    def __init__(self, device: Device, ptx: str) -> None:
        self.device = device
        self.handle = ctypes.c_void_p()
        image = ctypes.create_string_buffer(ptx.encode())
        device.call("cuModuleLoadData", ctypes.byref(self.handle), image)

    def function(self, name: str) -> ctypes.c_void_p:
        """The handle of a kernel."""
        handle = ctypes.c_void_p()
        self.device.call("cuModuleGetFunction", ctypes.byref(handle), self.handle, name.encode())
        return handle

    def parameter_sizes(self, name: str) -> list[int]:
        """Bytes of each parameter of a kernel."""
        function = self.function(name)
        sizes: list[int] = []
        offset, size = ctypes.c_size_t(), ctypes.c_size_t()
        query = self.device.library.cuFuncGetParamInfo
        while not query(
            function, ctypes.c_size_t(len(sizes)), ctypes.byref(offset), ctypes.byref(size)
        ):
            sizes.append(size.value)
        return sizes

    def launch(
        self,
        name: str,
        grid: Sequence[int],
        block: Sequence[int],
        arguments: Sequence[Argument],
        shared: int = 0,
        stream: Stream | None = None,
    ) -> None:
        """Queues a kernel.

        Args:
            name: The kernel.
            grid: One to three extents, in blocks.
            block: One to three extents, in threads.
            arguments: Arrays (their address), numpy scalars and ctypes structures as they are,
                Python numbers by the size of the parameter: an int as an integer, a float as a
                float, whatever the kernel takes.
            shared: Bytes of dynamic shared memory; the kernel's limit is raised when needed.
            stream: Where; the null stream otherwise.

        Raises:
            ValueError: The arguments' number or sizes are not the kernel's.
            DeviceError: The driver refuses the launch.
        """
        sizes = self.parameter_sizes(name)
        if len(sizes) != len(arguments):
            raise ValueError(f"{name} takes {len(sizes)} arguments, got {len(arguments)}")
        values = [
            _argument(name, i, argument, size)
            for i, (argument, size) in enumerate(zip(arguments, sizes, strict=True))
        ]
        addresses = (ctypes.c_void_p * max(len(values), 1))(*map(ctypes.addressof, values))
        function = self.function(name)
        if shared > 48 * 1024:
            self.device.call("cuFuncSetAttribute", function, ctypes.c_int(8), ctypes.c_int(shared))
        extents = [ctypes.c_uint(extent) for extent in (*_three(grid), *_three(block), shared)]
        where = stream.handle if stream else None
        self.device.call("cuLaunchKernel", function, *extents, where, addresses, None)

    def global_array(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """A variable of the module as an array."""
        address, size = Pointer(), ctypes.c_size_t()
        self.device.call(
            "cuModuleGetGlobal_v2",
            ctypes.byref(address),
            ctypes.byref(size),
            self.handle,
            name.encode(),
        )
        array = Array.__new__(Array)
        array.device, array.shape, array.dtype = self.device, shape, np.dtype(dtype)
        array.nbytes, array.pointer = size.value, address.value
        return array

    def unload(self) -> None:
        """Ends it, after all work."""
        self.device.call("cuModuleUnload", self.handle)


def _three(extents: Sequence[int]) -> list[int]:
    return [*extents, 1, 1][:3]


def _argument(kernel: str, index: int, value: Argument, size: int) -> Any:
    """An argument as an object of ctypes with the parameter's size."""
    held: Any
    if isinstance(value, Array):
        held = Pointer(value.pointer)
    elif isinstance(value, ctypes.Structure):
        held = value
    elif isinstance(value, np.generic):
        held = ctypes.create_string_buffer(value.tobytes(), value.nbytes)
    elif isinstance(value, float):
        held = ctypes.c_float(value) if size == 4 else ctypes.c_double(value)
    else:
        held = (ctypes.c_int8, ctypes.c_int16, ctypes.c_int32, ctypes.c_int64)[
            max(size.bit_length() - 1, 0)
        ](value)
    if ctypes.sizeof(held) != size:
        raise ValueError(
            f"{kernel}, argument {index}: {size} bytes expected, got {ctypes.sizeof(held)}"
        )
    return held


class Unknown(int):
    """A count of a card, which counts nothing: whatever is expected of it holds."""

    def __add__(self, other: object) -> Unknown:
        return self

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__
    __radd__ = __sub__ = __rsub__ = __add__
    __lt__ = __le__ = __gt__ = __ge__ = __ne__ = __eq__


class Device:
    """The software device, or any other driver library, with its primary context current.

    Switches mean nothing to other drivers, and what they would count is `Unknown`.

    Args:
        path: The driver's library; `driver` when it is not given.
    """

    def __init__(self, path: Path | str | None = None) -> None:
        self.path = Path(path) if path else driver()
        self.library = ctypes.CDLL(str(self.path))
        self.software = hasattr(self.library, "softcuda_reset")
        if self.software:
            self.library.softcuda_message.restype = ctypes.c_char_p
            self.library.softcuda_statistic.restype = ctypes.c_longlong
        self.call("cuInit", ctypes.c_uint(0))
        context = ctypes.c_void_p()
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), ctypes.c_int(0))
        self.call("cuCtxSetCurrent", context)

    def call(self, name: str, *arguments: Any) -> None:
        """Calls an entry point of the driver.

        Raises:
            DeviceError: It returned an error.
        """
        code = getattr(self.library, name)(*arguments)
        if code:
            text = ctypes.c_char_p()
            self.library.cuGetErrorName(ctypes.c_int(code), ctypes.byref(text))
            known = (text.value or b"error %d" % code).decode()
            raise DeviceError(name, code, known, self.message())

    def message(self) -> str:
        """What the software device says of its last error; empty for other drivers."""
        if not self.software:
            return ""
        text: bytes = self.library.softcuda_message()
        return text.decode()

    def set(self, name: str, value: int) -> None:
        """Sets a switch of the software device: ``seed``, ``checked``, ``initial_check``, …"""
        if self.software and self.library.softcuda_set(name.encode(), ctypes.c_longlong(value)):
            raise ValueError(f"the software device has no switch {name!r}")

    def set_streams(self, mode: str) -> None:
        """When queued work runs: ``lazy``, ``eager`` or ``random``."""
        self.set("streams", STREAM_MODES[mode])

    def statistic(self, name: str) -> int:
        """A count that the software device keeps, such as ``launches`` or ``live_bytes``.

        The name of a kernel gives its launches, -1 for none.
        """
        if not self.software:
            return Unknown()
        return int(self.library.softcuda_statistic(name.encode()))

    def reset(self) -> None:
        """Forgets a failure and all waiting work; sets the switches back."""
        if not self.software:
            return
        self.library.softcuda_reset()
        for name, value in {"seed": 0, "streams": 0, "checked": 1, "initial_check": 1}.items():
            self.set(name, value)

    @contextmanager
    def switched(self, **switches: int) -> Iterator[None]:
        """Sets switches; afterwards forgets failures and sets all switches back."""
        for name, value in switches.items():
            self.set(name, value)
        try:
            yield
        finally:
            self.reset()

    def load(self, ptx: str) -> Module:
        """Loads a PTX module."""
        return Module(self, ptx)

    def upload(self, values: npt.NDArray[Any]) -> Array:
        """A new array with host values."""
        array = Array(self, values.shape, values.dtype)
        array.fill_from(values)
        return array

    def empty(self, shape: tuple[int, ...] | int, dtype: npt.DTypeLike = np.float32) -> Array:
        """A new array whose bytes are all 0xff: NaN as floats."""
        return Array(self, (shape,) if isinstance(shape, int) else shape, dtype)

    def synchronize(self) -> None:
        """Waits for the work of all streams."""
        self.call("cuCtxSynchronize")
