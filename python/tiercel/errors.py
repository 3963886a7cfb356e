"""The exceptions that the core raises, by ONNX Runtime's names and with its text form."""

from __future__ import annotations


class Error(Exception):
    """Base of everything that the core raises: ``[ONNXRuntimeError] : code : NAME : message``."""

    code = 1


class Fail(Error):
    """Something failed that has no class of its own."""


class InvalidArgument(Error):
    """A wrong input name, type, rank or extent, or a wrong option."""

    code = 2


class NoSuchFile(Error):
    """The model file, or a file of external data, is not there."""

    code = 3


class NoModel(Error):
    """A session without a model."""

    code = 4


class EngineError(Error):
    """An execution provider's own library failed."""

    code = 5


class RuntimeException(Error):
    """A kernel failed on the data that it was given."""

    code = 6


class InvalidProtobuf(Error):
    """The bytes are not an ONNX model."""

    code = 7


class ModelLoaded(Error):
    """The session holds a model already."""

    code = 8


class NotImplemented(Error):  # noqa: A001 - ONNX Runtime's name
    """The model is valid, and nothing here can run it."""

    code = 9


class InvalidGraph(Error):
    """The model breaks the rules of ONNX."""

    code = 10


class EPFail(Error):
    """An execution provider is not available or cannot start."""

    code = 11


class ModelLoadCanceled(Error):
    """Loading was cancelled."""

    code = 12


class ModelRequiresCompilation(Error):
    """The model must be compiled before it is loaded."""

    code = 13


class NotFound(Error):
    """A named thing does not exist."""

    code = 14


class DeviceReset(Error):
    """The device was reset while it was used."""

    code = 16


class Timeout(Fail, TimeoutError):
    """``run(timeout=...)`` took longer than it was allowed to."""

    code = 15


_CLASSES: dict[int, type[Error]] = {
    cls.code: cls
    for cls in (
        Fail,
        InvalidArgument,
        NoSuchFile,
        NoModel,
        EngineError,
        RuntimeException,
        InvalidProtobuf,
        ModelLoaded,
        NotImplemented,
        InvalidGraph,
        EPFail,
        ModelLoadCanceled,
        ModelRequiresCompilation,
        NotFound,
        DeviceReset,
        Timeout,
    )
}

_NAMES = {
    1: "FAIL",
    2: "INVALID_ARGUMENT",
    9: "NOT_IMPLEMENTED",
    11: "EP_FAIL",
    12: "MODEL_LOAD_CANCELED",
}


def make(code: int, name: str, message: str) -> Error:
    """The exception for a status code of the core."""
    return _CLASSES.get(code, Fail)(f"[ONNXRuntimeError] : {code} : {name} : {message}")


def invalid_argument(message: str) -> Error:
    """An InvalidArgument found on the Python side."""
    return make(2, _NAMES[2], message)


def not_implemented(message: str) -> Error:
    """A NotImplemented found on the Python side."""
    return make(9, _NAMES[9], message)


def provider_failure(message: str) -> Error:
    """An EPFail found on the Python side."""
    return make(11, _NAMES[11], message)


def failure(message: str) -> Error:
    """A Fail found on the Python side."""
    return make(1, _NAMES[1], message)


def load_canceled(message: str) -> Error:
    """A ModelLoadCanceled found on the Python side."""
    return make(12, _NAMES[12], message)
