"""Devices, memory kinds and the device side of execution providers, by ONNX Runtime's names."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from . import _core
from .environment import __version__, get_available_providers
from .errors import invalid_argument, not_implemented

_CUDA = "CUDAExecutionProvider"


class OrtAllocatorType(IntEnum):
    """Kinds of allocator, as ONNX Runtime numbers them."""

    INVALID = -1
    ORT_DEVICE_ALLOCATOR = 0
    ORT_ARENA_ALLOCATOR = 1


class OrtMemType(IntEnum):
    """Kinds of memory, as ONNX Runtime numbers them."""

    CPU_INPUT = -2
    CPU_OUTPUT = -1
    CPU = -1
    DEFAULT = 0


class OrtDeviceMemoryType(IntEnum):
    """Whether memory of a device can be read by the host."""

    DEFAULT = 0
    HOST_ACCESSIBLE = 5


class OrtMemoryInfoDeviceType(IntEnum):
    """Kinds of device that memory is on."""

    CPU = 0
    GPU = 1
    FPGA = 2
    NPU = 3


class OrtHardwareDeviceType(IntEnum):
    """Kinds of device that an execution provider runs on."""

    CPU = 0
    GPU = 1
    NPU = 2


class OrtDeviceVendorId(IntEnum):
    """PCI numbers of vendors."""

    NONE = 0x0000
    AMD = 0x1002
    NVIDIA = 0x10DE
    ARM = 0x13B5
    MICROSOFT = 0x1414
    HUAWEI = 0x19E5
    QUALCOMM = 0x5143
    INTEL = 0x8086


class OrtExecutionProviderDevicePolicy(IntEnum):
    """What to look for when providers are chosen for a session."""

    DEFAULT = 0
    PREFER_CPU = 1
    PREFER_NPU = 2
    PREFER_GPU = 3
    MAX_PERFORMANCE = 4
    MAX_EFFICIENCY = 5
    MIN_OVERALL_POWER = 6


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

    def device_mem_type(self) -> int:
        """The number of the memory kind, always 0 (default)."""
        return 0

    def device_vendor_id(self) -> int:
        """The vendor's PCI number, 0 when not given."""
        return max(self._vendor, 0)


class OrtMemoryInfo:
    """Where inputs and outputs of a session live."""

    def __init__(
        self, name: str, alloc_type: OrtAllocatorType, device_id: int, mem_type: OrtMemType
    ) -> None:
        self.name, self.allocator_type = name, alloc_type
        self.device_id, self.mem_type = device_id, mem_type
        self.device_mem_type = OrtDeviceMemoryType.DEFAULT
        self.device_vendor_id = 0

    @staticmethod
    def create_v2(
        name: str,
        device_type: OrtMemoryInfoDeviceType,
        vendor_id: int,
        device_id: int,
        device_mem_type: OrtDeviceMemoryType,
        alignment: int,
        alloc_type: OrtAllocatorType,
    ) -> OrtMemoryInfo:
        """The newer form, with vendor and kind of device memory."""
        info = OrtMemoryInfo(name, alloc_type, device_id, OrtMemType.DEFAULT)
        info.device_mem_type, info.device_vendor_id = device_mem_type, vendor_id
        return info


class OrtHardwareDevice:
    """The processor that an execution provider runs on."""

    def __init__(self) -> None:
        self.type = OrtHardwareDeviceType.CPU
        self.vendor, self.vendor_id, self.device_id = "", 0, 0
        self.metadata: dict[str, str] = {}


class OrtEpDevice:
    """An execution provider with the device that it runs on."""

    def __init__(self, ep_name: str) -> None:
        self.ep_name, self.ep_vendor = ep_name, "tiercel"
        self.ep_metadata = {"version": __version__}
        self.ep_options: dict[str, str] = {}
        self.device = OrtHardwareDevice()
        if ep_name == _CUDA:
            self.device.type = OrtHardwareDeviceType.GPU
            self.device.vendor = "NVIDIA"
            self.device.vendor_id = int(OrtDeviceVendorId.NVIDIA)

    def memory_info(self, memory_type: OrtDeviceMemoryType) -> OrtMemoryInfo:
        """The memory that the provider's nodes work in."""
        if self.ep_name != _CUDA:
            return cpu_memory()
        kind = OrtAllocatorType.ORT_ARENA_ALLOCATOR
        return OrtMemoryInfo("Cuda", kind, self.device.device_id, OrtMemType.DEFAULT)

    def create_sync_stream(self, options: Mapping[str, str] | None = None) -> OrtSyncStream:
        """The stream of GPU 0 that sessions use; raises NotImplemented for a CPU."""
        if self.ep_name != _CUDA:
            raise not_implemented(f"{self.ep_name} has no streams: work is done when a run returns")
        return OrtSyncStream._of(_core.device_stream("cuda", self.device.device_id))


class OrtSyncStream:
    """A device's queue of work, from OrtEpDevice.create_sync_stream."""

    _handle: int

    def __init__(self) -> None:
        raise not_implemented("OrtSyncStream: made by OrtEpDevice.create_sync_stream alone")

    @classmethod
    def _of(cls, handle: int) -> OrtSyncStream:
        made = cls.__new__(cls)
        made._handle = handle
        return made

    def get_handle(self) -> int:
        """The address of the stream, a ``CUstream``."""
        return self._handle


class OrtArenaCfg:
    """Settings of ONNX Runtime's memory arena; kept, as memory is planned here instead."""

    _FIELDS = (
        "max_mem",
        "arena_extend_strategy",
        "initial_chunk_size_bytes",
        "max_dead_bytes_per_chunk",
        "initial_growth_chunk_size_bytes",
        "max_power_of_two_extend_bytes",
    )

    def __init__(self, *values: Any) -> None:
        given: dict[str, Any]
        if len(values) == 1 and isinstance(values[0], Mapping):
            given = dict(values[0])
        elif len(values) in (0, 4):
            given = dict(zip(self._FIELDS, values, strict=False))
        else:
            raise TypeError("OrtArenaCfg: expected a dict, or four numbers")
        for name in given:
            if name not in self._FIELDS:
                raise ValueError(f"OrtArenaCfg: unknown setting {name!r}, expected {self._FIELDS}")
        for name in self._FIELDS:
            setattr(self, name, int(given.get(name, 0 if name == "max_mem" else -1)))


def cpu_memory() -> OrtMemoryInfo:
    """Host memory, as ONNX Runtime describes it."""
    return OrtMemoryInfo("Cpu", OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, OrtMemType.DEFAULT)


def get_ep_devices() -> list[OrtEpDevice]:
    """One entry per available execution provider."""
    return [OrtEpDevice(name) for name in get_available_providers()]


def create_and_register_allocator(mem_info: OrtMemoryInfo, arena_cfg: OrtArenaCfg | None) -> None:
    """Nothing to do: memory of runs is planned, and there is no shared allocator."""


def create_and_register_allocator_v2(
    provider_type: str,
    mem_info: OrtMemoryInfo,
    provider_options: Mapping[str, str],
    arena_cfg: OrtArenaCfg | None,
) -> None:
    """Nothing to do: memory of runs is planned, and there is no shared allocator."""


def register_execution_provider_library(registration_name: str, library_path: Any) -> None:
    """Not available: raises NotImplemented (such libraries are built for ONNX Runtime)."""
    raise not_implemented(
        f"execution provider library {str(library_path)!r}: built for another runtime"
    )


def unregister_execution_provider_library(registration_name: str) -> None:
    """Raises InvalidArgument: no library can have been registered."""
    raise invalid_argument(f"no execution provider library {registration_name!r} is registered")


def device_of(device_type: str, device_id: int) -> tuple[str, int]:
    """The name and number of a device as the core has them.

    Raises InvalidArgument for kinds of device that are not known, and for CPUs other than 0.
    """
    name = {"cpu": "cpu", "cpu_pinned": "cpu", "cuda": "cuda", "gpu": "cuda"}.get(
        device_type.lower()
    )
    if name is None or (name == "cpu" and device_id != 0):
        raise invalid_argument(
            f"there is no device {device_type}:{device_id}, expected cpu:0 or cuda and a number"
        )
    return name, device_id
