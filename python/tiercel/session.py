"""InferenceSession: a loaded model, with ONNX Runtime's methods and a few of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

from . import _core
from .binding import IOBinding
from .devices import OrtEpDevice, OrtMemoryInfo, cpu_memory, get_ep_devices
from .environment import Provider, normalize_providers
from .errors import failure, invalid_argument, load_canceled, not_implemented
from .metadata import ModelMetadata, NodeArg, OrtEpAssignedNode, OrtEpAssignedSubgraph
from .options import RunOptions, SessionOptions
from .values import OrtValue

Feeds = Mapping[str, Any]
Callback = Callable[[list[Any], Any, str], None]

_IGNORED_KEYWORDS = {"enable_fallback", "read_config_from_model"}


class _Workers:
    """The threads of run_async, started by its first call and again after a fork."""

    def __init__(self) -> None:
        self._pid = -1
        self._pool: Any = None

    def submit(self, task: Callable[[], None]) -> None:
        if self._pid != os.getpid():
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(thread_name_prefix="tiercel-async")
            self._pid = os.getpid()
        self._pool.submit(task)


_workers = _Workers()


class InferenceSession:
    """A model, loaded and ready to run from any number of threads.

    `path_or_bytes`: a path, bytes or another contiguous buffer (used in place, not copied), or an
    object with ``SerializeToString``. `providers`: names or (name, options) pairs in order of
    preference; none means all that are available.
    """

    def __init__(
        self,
        path_or_bytes: Any,
        sess_options: SessionOptions | None = None,
        providers: Sequence[Provider] | None = None,
        provider_options: Sequence[Mapping[str, Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        disabled = list(kwargs.pop("disabled_optimizers", None) or ())
        for name in kwargs:
            if name not in _IGNORED_KEYWORDS:
                raise TypeError(f"InferenceSession: unexpected keyword argument {name!r}")
        if sess_options is not None and not isinstance(sess_options, SessionOptions):
            raise TypeError(f"sess_options: expected SessionOptions, got {type(sess_options)}")
        self._source = self._read_source(path_or_bytes)
        self._sess_options = sess_options or SessionOptions()
        self._disabled = disabled
        self._load(providers, provider_options)

    @staticmethod
    def _read_source(source: Any) -> Any:
        if isinstance(source, str | os.PathLike):
            return os.fsdecode(source)
        if isinstance(source, bytes | bytearray | memoryview):
            return source
        if hasattr(source, "SerializeToString"):
            return source.SerializeToString()
        raise TypeError(f"Unable to load from type '{type(source)}'")

    def _load(
        self,
        providers: Sequence[Provider] | None,
        provider_options: Sequence[Mapping[str, Any]] | None,
    ) -> None:
        chosen = self._sess_options
        self._check_format()
        if chosen._cancelled:
            raise load_canceled("the load cancellation flag of the session options is set")
        wanted = normalize_providers(providers, provider_options)
        if not wanted:
            wanted = normalize_providers(chosen._chosen_providers(), None)
        options = chosen._for_core(wanted, self._disabled_passes())
        self._wanted = wanted
        if isinstance(self._source, str):
            self._sess = _core.Session.from_path(self._source, options)
        else:
            self._sess = _core.Session.from_bytes(self._source, "", options)
        self._inputs = [NodeArg(*port) for port in self._sess.inputs()]
        self._outputs = [NodeArg(*port) for port in self._sess.outputs()]

    def _check_format(self) -> None:
        entries = self._sess_options._config.entries
        by_name = isinstance(self._source, str) and self._source.lower().endswith(".ort")
        if entries.get("session.load_model_format", "ORT" if by_name else "ONNX") == "ORT":
            raise not_implemented(
                "models in ONNX Runtime's own format (.ort) cannot be read: convert the model to "
                "ONNX, or load the ONNX model that it was made from"
            )

    def _disabled_passes(self) -> list[str]:
        """Passes named by ONNX Runtime's ways of disabling one; its own names mean nothing here."""
        entries = self._sess_options._config.entries
        listed = entries.get("optimization.disable_specified_optimizers", "").split(";")
        return [name for name in (*self._disabled, *listed) if name in _core.pass_names()]

    def run(
        self,
        output_names: Sequence[str] | None,
        input_feed: Feeds,
        run_options: _core.RunOptions | None = None,
        timeout: float | None = None,
    ) -> list[Any]:
        """Computes the named outputs (None or []: all) of arrays, lists, dicts or OrtValues.

        `timeout`: seconds after which the run ends with Timeout.
        """
        return self._sess.run(output_names, input_feed, run_options, timeout)

    def __call__(self, *, timeout: float | None = None, **inputs: Any) -> dict[str, Any]:
        """All outputs by name, for inputs given as keywords."""
        results = self._sess.run(None, inputs, None, timeout)
        return dict(zip((arg.name for arg in self._outputs), results, strict=True))

    def run_async(
        self,
        output_names: Sequence[str] | None,
        input_feed: Feeds,
        callback: Callback,
        user_data: Any,
        run_options: _core.RunOptions | None = None,
    ) -> None:
        """Runs on another thread, which then calls ``callback(results, user_data, error_text)``."""
        feeds = dict(input_feed)

        def task() -> None:
            try:
                results = self.run(output_names, feeds, run_options)
            except Exception as error:
                callback([], user_data, str(error) or type(error).__name__)
            else:
                callback(results, user_data, "")

        _workers.submit(task)

    def run_with_ort_values(
        self,
        output_names: Sequence[str] | None,
        input_dict_ort_values: Mapping[str, OrtValue],
        run_options: _core.RunOptions | None = None,
    ) -> list[OrtValue]:
        """Runs on OrtValues and gives OrtValues."""
        feeds = {name: value._ortvalue for name, value in input_dict_ort_values.items()}
        results = self._sess.run_values(output_names, feeds, {}, run_options)
        return [OrtValue(value) for value in results]

    def run_with_ortvaluevector(
        self,
        run_options: _core.RunOptions | None,
        feed_names: Sequence[str],
        feeds: Sequence[OrtValue],
        fetch_names: Sequence[str],
        fetches: list[OrtValue],
        fetch_devices: Sequence[Any],
    ) -> None:
        """Runs on lists of OrtValues; `fetches` is filled in place."""
        pairs = dict(zip(feed_names, feeds, strict=True))
        fetches[:] = self.run_with_ort_values(fetch_names, pairs, run_options)

    def run_with_iobinding(
        self, iobinding: IOBinding, run_options: _core.RunOptions | None = None
    ) -> None:
        """Runs on bound inputs and outputs; see IOBinding.get_outputs."""
        if iobinding._session is not self:
            raise ValueError("IOBinding must be used with the session that created it.")
        iobinding._run(run_options)

    def io_binding(self) -> IOBinding:
        """A new, empty binding."""
        return IOBinding(self)

    def get_inputs(self) -> list[NodeArg]:
        """The model's inputs."""
        return list(self._inputs)

    def get_outputs(self) -> list[NodeArg]:
        """The model's outputs."""
        return list(self._outputs)

    def get_overridable_initializers(self) -> list[NodeArg]:
        """Initializers that a feed may replace."""
        return [NodeArg(*port) for port in self._sess.overridable_initializers()]

    def get_modelmeta(self) -> ModelMetadata:
        """Producer, version and custom metadata."""
        return ModelMetadata(self._sess.model())

    def get_session_options(self) -> SessionOptions:
        """The options that the session was made with."""
        return self._sess_options

    def get_providers(self) -> list[str]:
        """Names of the session's execution providers, most preferred first."""
        return self._sess.providers()

    def get_provider_options(self) -> dict[str, dict[str, str]]:
        """Options by provider name."""
        given = dict(self._wanted)
        return {name: given.get(name, {}) for name in self.get_providers()}

    def set_providers(
        self,
        providers: Sequence[Provider] | None = None,
        provider_options: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        """Loads the model again for other providers."""
        self._load(providers, provider_options)

    def enable_fallback(self) -> None:
        """Nothing to do: there is no silent fall-back."""

    def disable_fallback(self) -> None:
        """Nothing to do: there is no silent fall-back."""

    def get_input_memory_infos(self) -> list[OrtMemoryInfo]:
        """Where each input is expected."""
        return [cpu_memory() for _ in self._inputs]

    def get_output_memory_infos(self) -> list[OrtMemoryInfo]:
        """Where each output is made."""
        return [cpu_memory() for _ in self._outputs]

    def get_input_epdevices(self) -> list[OrtEpDevice]:
        """The execution provider and device that each input is given to."""
        host = get_ep_devices()[-1]
        return [host for _ in self._inputs]

    def get_provider_graph_assignment_info(self) -> list[OrtEpAssignedSubgraph]:
        """Nodes of the optimised graph by execution provider.

        Needs the session config entry "session.record_ep_graph_assignment_info" to be "1".
        """
        key = "session.record_ep_graph_assignment_info"
        if self._sess_options._config.entries.get(key) != "1":
            raise failure(
                f"Session configuration entry '{key}' must be set to \"1\" to retrieve EP graph "
                "assignment information."
            )
        nodes: dict[str, list[OrtEpAssignedNode]] = {}
        for name, op, domain, provider, _ in self._sess.nodes():
            nodes.setdefault(provider, []).append(OrtEpAssignedNode(name, op, domain))
        return [OrtEpAssignedSubgraph(name, listed) for name, listed in nodes.items()]

    def create_ortvalue_from_shape_and_type(
        self,
        shape: Sequence[int],
        element_type: Any,
        device_type: str,
        device_id: int = 0,
        vendor_id: int = -1,
    ) -> OrtValue:
        """Zeros of a shape on a device."""
        return OrtValue.ortvalue_from_shape_and_type(shape, element_type, device_type, device_id)

    def set_ep_dynamic_options(self, options: Mapping[str, str]) -> None:
        """Settings of providers between runs; no provider here has any, and none changes."""
        if not options:
            raise RuntimeError("No options were provided")

    def get_tuning_results(self) -> list[dict[str, Any]]:
        """Always []: kernels are chosen when the model is loaded, not tuned."""
        return []

    def set_tuning_results(
        self, results: Sequence[Mapping[str, Any]], *, error_on_invalid: bool = False
    ) -> None:
        """Nothing to do without results; others are an error where asked for."""
        if results and error_on_invalid:
            raise invalid_argument("no provider here takes tuning results")

    def release_captured_graph(self, graph_annotation_id: int = 0) -> None:
        """Nothing to do: a recorded graph goes with its session, or by `release_memory`."""

    def explain(self) -> str:
        """Every node's placement with its reason, passes with times, plan and memory, as text."""
        return self._sess.explain()

    def release_memory(self) -> None:
        """Gives memory that no run uses back to the system.

        That is: the arenas of idle runs, blocks of the host that are kept for tensors to come, and
        free memory of the session's GPUs, which other sessions then take again too. The next run
        is slower.
        """
        self._sess.release_memory()

    def end_profiling(self) -> str:
        """Writes the profile and gives its path."""
        return self._sess.end_profiling()

    def get_profiling_start_time_ns(self) -> int:
        """When profiling began, in nanoseconds."""
        return self._sess.profiling_start_ns()

    def _element_type(self, name: str) -> int:
        for arg in (*self._inputs, *self.get_overridable_initializers()):
            if arg.name == name:
                return arg._element_type
        raise invalid_argument(f"Invalid input name: {name}")

    @staticmethod
    def _write_optimized(
        source: str | bytes,
        chosen: SessionOptions,
        overrides: Mapping[str, Any],
        entries: Mapping[str, str],
    ) -> None:
        """Loads a model with other settings than `chosen` has, for what that writes."""
        wanted = normalize_providers(chosen._chosen_providers(), None)
        options = {**chosen._for_core(wanted, []), **overrides}
        options["config"] = [*options["config"], *entries.items()]
        if isinstance(source, str):
            _core.Session.from_path(source, options)
        else:
            _core.Session.from_bytes(source, "", options)

    def close(self) -> None:
        """Frees the model; later runs raise Fail."""
        self._sess.close()

    def __enter__(self) -> InferenceSession:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        source = self._source if isinstance(self._source, str) else bytes(self._source)
        state = (source, self._sess_options, self._wanted or None, self._disabled)
        return (_restore, (type(self), *state))


def _restore(
    cls: type[InferenceSession],
    source: Any,
    options: SessionOptions,
    providers: Sequence[Provider] | None,
    disabled: list[str],
) -> InferenceSession:
    return cls(source, options, providers, disabled_optimizers=disabled)


__all__ = ["InferenceSession", "RunOptions"]
