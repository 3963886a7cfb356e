"""Module-level functions: providers, build facts, logging, seeds."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import _core
from .errors import provider_failure

__version__ = "0.1.0"

# Names that ONNX Runtime programs may pass; only those of get_available_providers() can be used.
_ALL_PROVIDERS = [
    "TensorrtExecutionProvider",
    "CUDAExecutionProvider",
    "MIGraphXExecutionProvider",
    "ROCMExecutionProvider",
    "OpenVINOExecutionProvider",
    "DnnlExecutionProvider",
    "VitisAIExecutionProvider",
    "QNNExecutionProvider",
    "NnapiExecutionProvider",
    "VSINPUExecutionProvider",
    "JsExecutionProvider",
    "CoreMLExecutionProvider",
    "DmlExecutionProvider",
    "RknpuExecutionProvider",
    "WebNNExecutionProvider",
    "WebGpuExecutionProvider",
    "XnnpackExecutionProvider",
    "CANNExecutionProvider",
    "AzureExecutionProvider",
    "CPUExecutionProvider",
]

_logging: dict[str, Any] = {"severity": 2, "verbosity": 0, "callback": None}

_threads = {"default": 0}

# What as_onnxruntime.install() switches on for packages that were written for ONNX Runtime.
compatibility = {"missing provider warns": False}

Provider = str | tuple[str, Mapping[str, Any]]


def get_version_string() -> str:
    """The version of this package."""
    return __version__


def get_available_providers() -> list[str]:
    """Execution providers that sessions can use, most preferred first."""
    return _core.available_providers()


def get_all_providers() -> list[str]:
    """Every provider name that is understood, available or not."""
    return list(_ALL_PROVIDERS)


def get_device() -> str:
    """ "GPU" when a GPU provider is available, else "CPU"."""
    return "GPU" if "CUDAExecutionProvider" in get_available_providers() else "CPU"


def get_build_info() -> str:
    """One line on how the library was built."""
    isas = sorted({row["isa"] for row in _core.kernel_table() if row["isa"]})
    return f"tiercel {__version__}, kernels: {', '.join(isas) or 'none'}"


def has_collective_ops() -> bool:
    """Always False: there are no collective operators."""
    return False


def set_default_logger_severity(severity: int) -> None:
    """Messages below this level (0 verbose … 4 fatal) are not printed."""
    if not 0 <= int(severity) <= 4:
        raise ValueError(f"severity: expected 0 to 4, got {severity}")
    _logging["severity"] = int(severity)


def set_default_logger_verbosity(verbosity: int) -> None:
    """Detail of verbose messages."""
    _logging["verbosity"] = int(verbosity)


def set_default_logger_callback(callback: Callable[..., None] | None) -> None:
    """A function for messages."""
    _logging["callback"] = callback


def disable_telemetry_events() -> None:
    """Nothing to do: there is no telemetry."""


def enable_telemetry_events() -> None:
    """Nothing to do: there is no telemetry."""


def preload_dlls(*_: Any, **__: Any) -> None:
    """Nothing to do: the library depends on libc, libm and libstdc++ alone."""


def print_debug_info() -> None:
    """Prints version, build and providers."""
    print(get_build_info())
    print("available providers:", ", ".join(get_available_providers()))


def set_seed(seed: int) -> None:
    """The seed of random operators that have none of their own, in sessions made from now on."""
    _core.set_seed(int(seed))


def set_global_thread_pool_sizes(intra_op_num_threads: int, inter_op_num_threads: int = 0) -> None:
    """Threads of sessions made from now on whose options name no number; 0: all usable ones."""
    if intra_op_num_threads < 0 or inter_op_num_threads < 0:
        raise ValueError("set_global_thread_pool_sizes: expected numbers >= 0")
    _threads["default"] = int(intra_op_num_threads)


def default_threads() -> int:
    """Threads of a session whose options name no number; 0: all usable ones."""
    return _threads["default"]


def normalize_providers(
    providers: Sequence[Provider] | None,
    provider_options: Sequence[Mapping[str, Any]] | None,
) -> list[tuple[str, dict[str, str]]]:
    """Pairs of name and options, as a session wants them.

    A provider that is not available is an error. Under tiercel.as_onnxruntime it is a UserWarning
    when the list names an available one too, since packages rely on that.
    """
    if not providers:
        if provider_options:
            raise ValueError("provider_options need providers of the same length")
        return []
    if isinstance(providers, str):
        raise ValueError(f"'providers' should be a sequence, got the text {providers!r}")
    if provider_options and len(provider_options) != len(providers):
        raise ValueError("'providers' and 'provider_options' should be the same length")
    pairs: dict[str, dict[str, str]] = {}
    for index, entry in enumerate(providers):
        options = provider_options[index] if provider_options else {}
        name, own = _name_and_options(entry, options)
        if name in pairs:
            warnings.warn(f"Duplicate provider '{name}' encountered, ignoring.", stacklevel=4)
            continue
        pairs[name] = own
    return _keep_available(pairs)


def _name_and_options(entry: Any, options: Any) -> tuple[str, dict[str, str]]:
    if isinstance(entry, tuple | list) and len(entry) == 2:
        entry, options = entry
    if not isinstance(entry, str) or not isinstance(options, Mapping):
        raise ValueError("'providers' values must be either strings or (string, dict) tuples.")
    return entry, {str(key): str(value) for key, value in options.items()}


def _keep_available(pairs: Mapping[str, dict[str, str]]) -> list[tuple[str, dict[str, str]]]:
    available = get_available_providers()
    kept = [(name, options) for name, options in pairs.items() if name in available]
    for name in pairs:
        if name in available:
            continue
        missing = _core.provider_missing(name)
        text = (
            f"Specified provider '{name}' is not in available provider names: {missing}. "
            f"Available providers: '{', '.join(available)}'"
        )
        if not kept or not compatibility["missing provider warns"]:
            raise provider_failure(text)
        warnings.warn(text, UserWarning, stacklevel=5)
    return kept
