"""ModelCompiler: an optimised model written to a file, bytes or a stream."""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import IntFlag
from typing import Any

from .errors import invalid_argument, not_implemented
from .options import GraphOptimizationLevel, SessionOptions


class OrtCompileApiFlags(IntFlag):
    """What makes a compilation fail."""

    NONE = 0
    ERROR_IF_NO_NODES_COMPILED = 1
    ERROR_IF_OUTPUT_FILE_EXISTS = 2


class OrtExternalInitializerInfo:
    """Where the bytes of an initializer lie outside the model."""

    def __init__(self, filepath: str, file_offset: int, byte_size: int) -> None:
        self.filepath, self.file_offset, self.byte_size = filepath, file_offset, byte_size


class ModelCompiler:
    """Writes the model as the passes of a level leave it, in ONNX's own format.

    No provider here puts compiled code into models, so that there are no EPContext nodes.
    """

    def __init__(
        self,
        sess_options: SessionOptions,
        input_model_path_or_bytes: str | os.PathLike[str] | bytes,
        embed_compiled_data_into_model: bool = False,
        external_initializers_file_path: str | os.PathLike[str] | None = None,
        external_initializers_size_threshold: int = 1024,
        flags: int = OrtCompileApiFlags.NONE,
        graph_optimization_level: GraphOptimizationLevel = GraphOptimizationLevel.ORT_DISABLE_ALL,
        get_initializer_location_func: Callable[..., Any] | None = None,
    ) -> None:
        if not isinstance(input_model_path_or_bytes, str | os.PathLike | bytes):
            raise TypeError(f"Unable to load from type '{type(input_model_path_or_bytes)}'")
        if not input_model_path_or_bytes:
            raise ValueError("Input model is empty")
        if get_initializer_location_func is not None:
            raise not_implemented("get_initializer_location_func: give a file path instead")
        if flags & OrtCompileApiFlags.ERROR_IF_NO_NODES_COMPILED:
            raise invalid_argument(
                "ERROR_IF_NO_NODES_COMPILED: no provider here puts compiled code into models"
            )
        self._options, self._model = sess_options, input_model_path_or_bytes
        self._flags, self._level = flags, graph_optimization_level
        self._external = os.path.basename(external_initializers_file_path or "")
        self._threshold = int(external_initializers_size_threshold)

    def compile_to_file(self, output_model_path: str | os.PathLike[str] | None = None) -> None:
        """Writes the model; without a path beside the input, as NAME_ctx.onnx."""
        if output_model_path is None:
            if isinstance(self._model, bytes):
                raise ValueError("output_model_path: needed for a model from bytes")
            output_model_path = os.path.splitext(os.fspath(self._model))[0] + "_ctx.onnx"
        path = os.fspath(output_model_path)
        if self._flags & OrtCompileApiFlags.ERROR_IF_OUTPUT_FILE_EXISTS and os.path.exists(path):
            raise invalid_argument(f"Output model path: {path} exists already.")
        self._write(path)

    def compile_to_bytes(self) -> bytes:
        """The model as bytes."""
        if self._external:
            raise not_implemented("external initializers: a model in bytes has no folder for them")
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model.onnx")
            self._write(path)
            with open(path, "rb") as file:
                return file.read()

    def compile_to_stream(self, write_function: Callable[[bytes], None]) -> None:
        """Passes the model's bytes to a function."""
        write_function(self.compile_to_bytes())

    def set_ep_context_binary_information(
        self, output_directory: str | os.PathLike[str], model_name: str
    ) -> None:
        """Nothing to do: no provider here puts compiled code beside models."""

    def set_ep_context_data_write_func(self, write_func: Callable[..., Any]) -> None:
        """Nothing to do: no provider here puts compiled code beside models."""

    def clear_ep_context_data_write_func(self) -> None:
        """Nothing to do: no provider here puts compiled code beside models."""

    def _write(self, path: str) -> None:
        from .session import InferenceSession

        source = self._model if isinstance(self._model, bytes) else os.fspath(self._model)
        overrides: dict[str, Any] = {
            "level": int(self._level),
            "optimized_model_path": path,
        }
        entries = {}
        if self._external:
            prefix = "session.optimized_model_external_initializers_"
            entries[prefix + "file_name"] = self._external
            entries[prefix + "min_size_in_bytes"] = str(self._threshold)
        InferenceSession._write_optimized(source, self._options, overrides, entries)
