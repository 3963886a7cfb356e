"""Options of sessions and runs, with ONNX Runtime's field names and defaults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from . import _core
from .errors import not_implemented

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


class SessionOptions:
    """How a model is loaded and run.

    Fields that have no counterpart here (memory arena and pattern switches, execution mode and
    order, inter-op threads) are kept and change nothing: the memory plan and the process-wide
    thread pool make them needless.
    """

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
        self._config: dict[str, str] = {}
        self._dims: dict[str, int] = {}
        self._initializers: dict[str, OrtValue] = {}
        self._providers: list[tuple[str, dict[str, str]]] = []

    def add_session_config_entry(self, key: str, value: str) -> None:
        """Sets a configuration entry; unknown keys are kept and change nothing."""
        self._config[str(key)] = str(value)

    def get_session_config_entry(self, key: str) -> str:
        """The entry's value; RuntimeError when it was never set."""
        if key not in self._config:
            raise RuntimeError(f"SessionOptions does not have configuration with key: {key}")
        return self._config[key]

    def add_free_dimension_override_by_name(self, name: str, size: int) -> None:
        """Gives the symbolic extent `name` of the model's inputs the value `size`."""
        self._dims[str(name)] = int(size)

    def add_free_dimension_override_by_denotation(self, denotation: str, size: int) -> None:
        """Not available: raises NotImplemented. Use add_free_dimension_override_by_name."""
        raise not_implemented(
            f"free dimension override by denotation ({denotation!r}): name the dimension instead"
        )

    def add_initializer(self, name: str, value: OrtValue) -> None:
        """Replaces the initializer `name` of the model by a value that sessions may share."""
        self._initializers[str(name)] = value

    def add_external_initializers(self, names: Sequence[str], values: Sequence[OrtValue]) -> None:
        """Replaces several initializers."""
        for name, value in zip(names, values, strict=True):
            self.add_initializer(name, value)

    def add_provider(self, name: str, options: Mapping[str, Any] | None = None) -> None:
        """Appends an execution provider; used when a session names none itself."""
        entries = {str(k): str(v) for k, v in (options or {}).items()}
        self._providers.append((str(name), entries))

    def has_providers(self) -> bool:
        """True after add_provider."""
        return bool(self._providers)

    def register_custom_ops_library(self, path: str) -> None:
        """Not available: raises NotImplemented (such libraries are built for ONNX Runtime)."""
        raise not_implemented(f"custom operator library {path!r}: built for another runtime")

    def _for_core(
        self, providers: Iterable[tuple[str, Mapping[str, str]]], disabled: Iterable[str]
    ) -> dict[str, Any]:
        return {
            "level": int(self.graph_optimization_level),
            "intra_op_threads": int(self.intra_op_num_threads),
            "profiling": bool(self.enable_profiling),
            "profile_prefix": str(self.profile_file_prefix),
            "optimized_model_path": str(self.optimized_model_filepath),
            "config": list(self._config.items()),
            "dim_overrides": list(self._dims.items()),
            "initializers": [(k, v._ortvalue) for k, v in self._initializers.items()],
            "disabled_passes": [*self.disabled_passes, *disabled],
            "verify": bool(self.verify_passes),
            "providers": [(name, list(options.items())) for name, options in providers],
        }


class RunOptions(_core.RunOptions):
    """Options of one run; `terminate`, set from another thread, ends it between two steps."""

    def __init__(self) -> None:
        super().__init__()
        self.log_severity_level = 2
        self.log_verbosity_level = 0
        self.logid = ""
        self.only_execute_path_to_fetches = False
        self._config: dict[str, str] = {}

    def add_run_config_entry(self, key: str, value: str) -> None:
        """Sets a configuration entry; unknown keys are kept and change nothing."""
        self._config[str(key)] = str(value)

    def get_run_config_entry(self, key: str) -> str:
        """The entry's value; RuntimeError when it was never set."""
        if key not in self._config:
            raise RuntimeError(f"RunOptions does not have configuration with key: {key}")
        return self._config[key]
