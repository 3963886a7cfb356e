"""The onnx package's backend interface, as onnxruntime.backend has it: prepare and run."""

from __future__ import annotations

import os
from typing import Any

from .environment import get_device
from .options import RunOptions, SessionOptions
from .session import InferenceSession


def supports_device(device: str) -> bool:
    """True for "CPU", and for "CUDA" when a GPU provider is available."""
    kind = device.split(":")[0].upper()
    return kind == "CPU" or (kind in ("CUDA", "GPU") and get_device() == "GPU")


class PreparedModel:
    """A loaded model that takes its inputs by position."""

    def __init__(self, session: InferenceSession) -> None:
        self.session = session

    def run(self, inputs: Any, **kwargs: Any) -> list[Any]:
        """Outputs for a list of inputs in graph order, one array, or a dict by name."""
        options = RunOptions()
        for name, value in kwargs.items():
            setattr(options, name, value)
        names = [arg.name for arg in self.session.get_inputs()]
        if isinstance(inputs, dict):
            feeds = inputs
        elif isinstance(inputs, list | tuple):
            if len(inputs) > len(names):
                raise ValueError(f"{len(inputs)} inputs given, the model has {len(names)}")
            feeds = dict(zip(names, inputs, strict=False))
        else:
            feeds = {names[0]: inputs}
        return self.session.run(None, feeds, options)


def prepare(model: Any, device: str | None = None, **kwargs: Any) -> PreparedModel:
    """Loads a model (path, bytes, ModelProto or InferenceSession); keywords set SessionOptions."""
    if isinstance(model, PreparedModel):
        return model
    if device is not None and not supports_device(device):
        raise RuntimeError(f"device {device!r} is not available, expected 'CPU'")
    if not isinstance(model, InferenceSession):
        options = SessionOptions()
        for name, value in kwargs.items():
            setattr(options, name, value)
        model = InferenceSession(model, options)
    return PreparedModel(model)


def run_model(model: Any, inputs: Any, device: str | None = None, **kwargs: Any) -> list[Any]:
    """prepare and run in one call."""
    return prepare(model, device, **kwargs).run(inputs)


def run_node(node: Any, inputs: Any, device: str | None = None, **kwargs: Any) -> list[Any]:
    """Not available: raises ValueError, as a node alone says nothing of its opset and types."""
    raise ValueError("run_node: make a model of the node (onnx.helper.make_model) and run that")


def is_compatible(model: Any, device: str | None = None, **kwargs: Any) -> bool:
    """True when the model loads."""
    if isinstance(model, str | os.PathLike) and not os.path.exists(model):
        return False
    try:
        prepare(model, device, **kwargs)
    except Exception:
        return False
    return True


def is_opset_supported(model: Any) -> tuple[bool, str]:
    """Whether the model loads, and the reason when it does not."""
    try:
        prepare(model)
    except Exception as error:
        return False, str(error)
    return True, ""
