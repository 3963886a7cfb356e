"""A software CUDA device for tests: NVRTC's PTX runs on the CPU behind the driver's own ABI."""

from .build import BuildError, build_driver, driver
from .device import Array, Device, DeviceError, Module, Stream
from .nvrtc import CompileError, compile_cuda, compile_machine_code, toolkit
from .ptx import PtxError, UnsupportedInstruction, translate

__all__ = [
    "Array",
    "BuildError",
    "CompileError",
    "Device",
    "DeviceError",
    "Module",
    "PtxError",
    "Stream",
    "UnsupportedInstruction",
    "build_driver",
    "compile_cuda",
    "compile_machine_code",
    "driver",
    "toolkit",
    "translate",
]
