"""The session classes under the module path that ONNX Runtime gives them."""

from ..binding import IOBinding
from ..session import InferenceSession
from ..values import OrtDevice, OrtValue, SparseTensor

__all__ = ["IOBinding", "InferenceSession", "OrtDevice", "OrtValue", "SparseTensor"]
