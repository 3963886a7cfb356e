"""Options of sessions and runs, with ONNX Runtime's field names and defaults."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from . import _core
from .devices import OrtEpDevice, OrtExecutionProviderDevicePolicy, get_ep_devices
from .environment import default_threads
from .errors import invalid_argument, not_implemented

if TYPE_CHECKING:
    from .values import OrtValue


class GraphOptimizationLevel(IntEnum):
    """How much of the pass pipeline runs when a model is loaded."""

    ORT_DISABLE_ALL = 0
    ORT_ENABLE_BASIC = 1
    ORT_ENABLE_EXTENDED = 2
    ORT_ENABLE_LAYOUT = 3
    ORT_ENABLE_ALL = 99


class ExecutionMode(IntEnum):
    """Accepted for compatibility: steps run in order, each on all threads of the run."""

    ORT_SEQUENTIAL = 0
    ORT_PARALLEL = 1


class ExecutionOrder(IntEnum):
    """Accepted for compatibility: the plan's order is topological."""

    DEFAULT = 0
    PRIORITY_BASED = 1
    MEMORY_EFFICIENT = 2


_MAX_KEY, _MAX_VALUE = 1024, 8192


class _Checked:
    """Fields with types: a wrong name is an AttributeError, a wrong type a TypeError."""

    _FIELDS: dict[str, type]

    def __setattr__(self, name: str, value: Any) -> None:
        kind = self._FIELDS.get(name)
        if kind is None:
            if name[0] != "_" and not hasattr(type(self), name):
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            object.__setattr__(self, name, value)
            return
        object.__setattr__(self, name, _converted(name, kind, value))


def _converted(name: str, kind: type, value: Any) -> Any:
    if kind is bool or issubclass(kind, int):
        if isinstance(value, int) or hasattr(value, "__index__"):
            return kind(value)
    elif kind is str and isinstance(value, str | os.PathLike):
        return os.fspath(value)
    elif isinstance(value, kind):
        return value
    raise TypeError(f"{name}: expected {kind.__name__}, got {type(value).__name__} {value!r}")


class _Config:
    """Configuration entries by key."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self.entries: dict[str, str] = {}

    def add(self, key: str, value: str) -> None:
        key, value = str(key), str(value)
        if not 0 < len(key) <= _MAX_KEY:
            raise RuntimeError(f"Config key is empty or longer than maximum length {_MAX_KEY}")
        if len(value) > _MAX_VALUE:
            raise RuntimeError(f"Config value is longer than maximum length: {_MAX_VALUE}")
        self.entries[key] = value

    def get(self, key: str) -> str:
        if key not in self.entries:
            raise RuntimeError(f"{self._owner} does not have configuration with key: {key}")
        return self.entries[key]


class SessionOptions(_Checked):
    """How a model is loaded and run.

    Fields that have no counterpart here (memory arena and pattern switches, execution mode and
    order, inter-op threads) are kept and change nothing: the memory plan and the process-wide
    thread pool make them needless.
    """

    _FIELDS = {
        "enable_cpu_mem_arena": bool,
        "enable_mem_pattern": bool,
        "enable_mem_reuse": bool,
        "enable_profiling": bool,
        "execution_mode": ExecutionMode,
        "execution_order": ExecutionOrder,
        "graph_optimization_level": GraphOptimizationLevel,
        "inter_op_num_threads": int,
        "intra_op_num_threads": int,
        "log_severity_level": int,
        "log_verbosity_level": int,
        "logid": str,
        "optimized_model_filepath": str,
        "profile_file_prefix": str,
        "use_deterministic_compute": bool,
        "use_per_session_threads": bool,
        "disabled_passes": list,
        "verify_passes": bool,
    }

    def __init__(self) -> None:
        self.enable_cpu_mem_arena = True
        self.enable_mem_pattern = True
        self.enable_mem_reuse = True
        self.enable_profiling = False
        self.execution_mode = ExecutionMode.ORT_SEQUENTIAL
        self.execution_order = ExecutionOrder.DEFAULT
        self.graph_optimization_level = GraphOptimizationLevel.ORT_ENABLE_ALL
        self.inter_op_num_threads = 0
        self.intra_op_num_threads = 0
        self.log_severity_level = -1
        self.log_verbosity_level = 0
        self.logid = ""
        self.optimized_model_filepath = ""
        self.profile_file_prefix = "onnxruntime_profile_"
        self.use_deterministic_compute = False
        self.use_per_session_threads = True
        self.disabled_passes: list[str] = []
        self.verify_passes = False
        self._config = _Config("SessionOptions")
        self._dims: dict[str, int] = {}
        self._denotations: dict[str, int] = {}
        self._initializers: dict[str, OrtValue] = {}
        self._files: dict[str, Any] = {}
        self._providers: list[tuple[str, dict[str, str]]] = []
        self._policy: Any = None
        self._cancelled = False

    def add_session_config_entry(self, key: str, value: str) -> None:
        """Sets a configuration entry; unknown keys are kept and change nothing.

        "session.winograd": "0" forbids Winograd's algorithm for convolutions, "1" (the default)
        takes it where it pays, "2" and "4" wherever it is possible, with tiles of 2 x 2 or 4 x 4
        outputs. Its errors are relative to the largest inputs of a tile: norms of results in
        float32 differ by up to 1e-6 with tiles of 2 x 2, 5e-6 of 4 x 4.

        "session.precision": "bfloat16" lets matrix products and convolutions of float32 round their
        factors to bfloat16 (eight bits) on processors with AMX, which have products of these; sums
        stay float32. `tiercel bench --against bfloat16` shows how far the outputs move.
        "float32", the default, keeps all bits.
        """
        self._config.add(key, value)

    def get_session_config_entry(self, key: str) -> str:
        """The entry's value; RuntimeError when it was never set."""
        return self._config.get(key)

    def add_free_dimension_override_by_name(self, name: str, size: int) -> None:
        """Gives the symbolic extent `name` of the model's inputs the value `size`."""
        self._dims[str(name)] = int(size)

    def add_free_dimension_override_by_denotation(self, denotation: str, size: int) -> None:
        """Gives every extent of the model's inputs that has this denotation the value `size`."""
        self._denotations[str(denotation)] = int(size)

    def add_initializer(self, name: str, value: OrtValue) -> None:
        """Replaces the initializer `name` of the model by a value that sessions may share."""
        self._initializers[str(name)] = value

    def add_external_initializers(self, names: Sequence[str], values: Sequence[OrtValue]) -> None:
        """Gives initializers whose data lies outside the model their values."""
        for name, value in zip(names, values, strict=True):
            self.add_initializer(name, value)

    def add_external_initializers_from_files_in_memory(
        self, file_names: Sequence[str], buffers: Sequence[Any], lengths: Sequence[int]
    ) -> None:
        """Files of external data, by the names that the model has for them, as buffers."""
        for name, buffer, length in zip(file_names, buffers, lengths, strict=True):
            self._files[str(name)] = memoryview(buffer).cast("B")[: int(length)]

    def add_provider(self, name: str, options: Mapping[str, Any] | None = None) -> None:
        """Appends an execution provider; used when a session names none itself."""
        entries = {str(k): str(v) for k, v in (options or {}).items()}
        self._providers.append((str(name), entries))

    def add_provider_for_devices(
        self, ep_devices: Sequence[OrtEpDevice], options: Mapping[str, Any] | None = None
    ) -> None:
        """Appends the execution provider of these devices."""
        names = {device.ep_name for device in ep_devices}
        if len(names) != 1:
            raise invalid_argument(f"expected devices of one provider, got {sorted(names)}")
        self.add_provider(names.pop(), options)

    def has_providers(self) -> bool:
        """True after add_provider."""
        return bool(self._providers)

    def set_provider_selection_policy(self, policy: OrtExecutionProviderDevicePolicy) -> None:
        """Leaves the choice to the available providers, which are in order of preference."""
        self._policy = policy

    def set_provider_selection_policy_delegate(self, delegate: Callable[..., Any]) -> None:
        """A function that picks from get_ep_devices() when a session names no provider.

        It is called with the devices, the model's metadata, the runtime's, and the largest number
        that it may pick.
        """
        self._policy = delegate

    def set_load_cancellation_flag(self, value: bool) -> None:
        """True makes loads with these options end with ModelLoadCanceled."""
        self._cancelled = bool(value)

    def set_ep_context_data_read_func(self, read_func: Callable[..., Any]) -> None:
        """Nothing to do: no provider here reads compiled models."""

    def clear_ep_context_data_read_func(self) -> None:
        """Nothing to do: no provider here reads compiled models."""

    def register_custom_ops_library(self, path: str) -> None:
        """Not available: raises NotImplemented (such libraries are built for ONNX Runtime)."""
        raise not_implemented(f"custom operator library {path!r}: built for another runtime")

    def _chosen_providers(self) -> list[tuple[str, dict[str, str]]]:
        if self._providers or not callable(self._policy):
            return self._providers
        devices = get_ep_devices()
        return [(device.ep_name, {}) for device in self._policy(devices, {}, {}, len(devices))]

    def _for_core(
        self, providers: Iterable[tuple[str, Mapping[str, str]]], disabled: Iterable[str]
    ) -> dict[str, Any]:
        if unknown := sorted(set(self.disabled_passes) - set(_core.pass_names())):
            raise invalid_argument(
                f"disabled_passes: there is no pass {unknown[0]!r}, expected one of "
                f"{', '.join(_core.pass_names())}"
            )
        return {
            "level": int(self.graph_optimization_level),
            "intra_op_threads": self.intra_op_num_threads or default_threads(),
            "profiling": bool(self.enable_profiling),
            "profile_prefix": str(self.profile_file_prefix),
            "optimized_model_path": str(self.optimized_model_filepath),
            "config": list(self._config.entries.items()),
            "dim_overrides": list(self._dims.items()),
            "denotation_overrides": list(self._denotations.items()),
            "files": list(self._files.items()),
            "initializers": [(k, v._ortvalue) for k, v in self._initializers.items()],
            "disabled_passes": [*self.disabled_passes, *disabled],
            "verify": bool(self.verify_passes),
            "providers": [(name, list(options.items())) for name, options in providers],
        }


class RunOptions(_Checked, _core.RunOptions):
    """Options of one run; `terminate`, set from another thread, ends it between two steps.

    `timeout`: seconds after which the run ends with Timeout; 0 means never.
    """

    _FIELDS = {
        "log_severity_level": int,
        "log_verbosity_level": int,
        "logid": str,
        "only_execute_path_to_fetches": bool,
    }

    def __init__(self) -> None:
        _core.RunOptions.__init__(self)
        self.log_severity_level = -1
        self.log_verbosity_level = 0
        self.logid = ""
        self.only_execute_path_to_fetches = False
        self._config = _Config("RunOptions")

    def add_run_config_entry(self, key: str, value: str) -> None:
        """Sets a configuration entry; unknown keys are kept and change nothing."""
        self._config.add(key, value)

    def get_run_config_entry(self, key: str) -> str:
        """The entry's value; RuntimeError when it was never set."""
        return self._config.get(key)

    def add_active_adapter(self, adapter: Any) -> None:
        """Not available for an adapter: raises NotImplemented. None is no adapter."""
        if adapter is not None:
            raise not_implemented("add_active_adapter: LoRA adapters cannot be applied at run time")
