"""The same names as onnxruntime_pybind11_state: ONNX Runtime has both module paths."""

from .onnxruntime_pybind11_state import *  # noqa: F403
