"""GPUs: what the CUDA provider finds on this machine, and CuPy's arrays, stream and memory."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass

from ..errors import provider_failure
from .arrays import from_cupy, run, stream, to_cupy, use_memory_pool

__all__ = [
    "DeviceInfo",
    "device_info",
    "from_cupy",
    "run",
    "stream",
    "to_cupy",
    "use_memory_pool",
]

_DEFAULT_DRIVER = "libcuda.so.1"
_COMPUTE_MAJOR, _COMPUTE_MINOR, _MULTIPROCESSORS = 75, 76, 16  # attributes of cuda.h


@dataclass(frozen=True)
class DeviceInfo:
    """A GPU and the driver that answers for it."""

    driver: str
    driver_version: str
    name: str
    compute_capability: str
    multiprocessors: int
    memory_bytes: int


def device_info(device_id: int = 0) -> DeviceInfo:
    """The GPU of a number, from the driver that CUDAExecutionProvider would use.

    Raises:
        EPFail: The driver's library cannot be loaded, or one of its functions fails; says which.
    """
    path = os.environ.get("TIERCEL_CUDA_DRIVER") or _DEFAULT_DRIVER
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        raise provider_failure(f"the NVIDIA driver is missing: {error}") from error

    def number(function: str, *arguments: object, kind: type = ctypes.c_int) -> int:
        value = kind()
        result = getattr(library, function)(ctypes.byref(value), *arguments)
        if result:
            raise provider_failure(f"{path}: {function} gives error {result}")
        return int(value.value)

    if result := library.cuInit(0):
        raise provider_failure(f"{path}: cuInit gives error {result}")
    version = number("cuDriverGetVersion")
    device = number("cuDeviceGet", device_id)
    attributes = {
        which: number("cuDeviceGetAttribute", which, device)
        for which in (_COMPUTE_MAJOR, _COMPUTE_MINOR, _MULTIPROCESSORS)
    }
    name = ctypes.create_string_buffer(256)
    if result := library.cuDeviceGetName(name, 256, device):
        raise provider_failure(f"{path}: cuDeviceGetName gives error {result}")
    return DeviceInfo(
        driver=path,
        driver_version=f"{version // 1000}.{version % 1000 // 10}",
        name=name.value.decode(),
        compute_capability=f"{attributes[_COMPUTE_MAJOR]}.{attributes[_COMPUTE_MINOR]}",
        multiprocessors=attributes[_MULTIPROCESSORS],
        memory_bytes=number("cuDeviceTotalMem_v2", device, kind=ctypes.c_size_t),
    )
