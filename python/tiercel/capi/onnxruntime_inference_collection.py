"""The session classes under the module path that ONNX Runtime gives them."""

from ..binding import IOBinding
from ..compile import ModelCompiler
from ..devices import OrtDevice, OrtDeviceVendorId
from ..session import InferenceSession
from ..sparse import SparseTensor
from ..values import OrtValue, copy_tensors

Session = InferenceSession

__all__ = [
    "IOBinding",
    "InferenceSession",
    "ModelCompiler",
    "OrtDevice",
    "OrtDeviceVendorId",
    "OrtValue",
    "Session",
    "SparseTensor",
    "copy_tensors",
]
