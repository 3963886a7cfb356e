"""Names of ONNX Runtime that have no counterpart: using one says why."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NoReturn

from .errors import not_implemented


class _Unavailable:
    """Base of the classes: making one, or calling its static methods, raises NotImplemented."""

    reason = ""

    def __init__(self, *_: Any, **__: Any) -> None:
        self._refuse()

    @classmethod
    def _refuse(cls) -> NoReturn:
        raise not_implemented(f"{cls.__name__}: {cls.reason}")


class AdapterFormat(_Unavailable):
    """ONNX Runtime's files of LoRA weights."""

    reason = (
        "ONNX Runtime's adapter files are not read or written here: merge the adapter's weights"
    )

    @staticmethod
    def read_adapter(file_path: Any) -> AdapterFormat:
        """Raises NotImplemented."""
        AdapterFormat._refuse()


class LoraAdapter(_Unavailable):
    """LoRA weights applied at run time."""

    reason = "LoRA adapters cannot be applied at run time: merge the adapter's weights"

    def Load(self, *_: Any) -> None:  # noqa: N802 - ONNX Runtime's name
        """Raises NotImplemented."""
        self._refuse()


class ModelPackage(_Unavailable):
    """ONNX Runtime's folders of model variants."""

    reason = "model packages are not read here: load the model file of one variant"

    @staticmethod
    def open(*_: Any) -> ModelPackage:
        """Raises NotImplemented."""
        ModelPackage._refuse()


class ModelPackageWriteMode(IntEnum):
    """How a model package is written."""

    PRESERVE = 0
    DENSE = 1


class ModelPackageContext(_Unavailable):
    """What a model package holds."""

    reason = ModelPackage.reason


class ModelPackageComponentContext(_Unavailable):
    """One component of a model package."""

    reason = ModelPackage.reason


class ModelPackageOptions(_Unavailable):
    """How a component of a model package is chosen."""

    reason = ModelPackage.reason


class OrtEpContextData(_Unavailable):
    """Compiled code of a provider, read from outside the model."""

    reason = "no provider here puts compiled code into models"


class OrtEpContextDataBuffer(_Unavailable):
    """Compiled code of a provider, given from outside the model."""

    reason = OrtEpContextData.reason
