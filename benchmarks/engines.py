"""The engines that benchmarks compare: each loads a model file and runs it on given threads."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from typing import Any

Feeds = Mapping[str, Any]
Runner = Callable[[Feeds], list[Any]]


def _session(module: Any, model: str | bytes, threads: int) -> Runner:
    options = module.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = module.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda feeds: list(session.run(None, feeds))


def _openvino(module: Any, model: str | bytes, threads: int) -> Runner:
    core = module.Core()
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = core.compile_model(core.read_model(model), "CPU", settings)
    request, ports = compiled.create_infer_request(), compiled.outputs

    def run(feeds: Feeds) -> list[Any]:
        result = request.infer(feeds)
        return [result[port] for port in ports]

    return run


ENGINES: dict[str, Callable[[Any, str | bytes, int], Runner]] = {
    "tiercel": _session,
    "onnxruntime": _session,
    "openvino": _openvino,
}


def missing(name: str) -> str:
    """Why an engine cannot be used here; empty when it can."""
    if name not in ENGINES:
        return f"unknown engine, expected one of {', '.join(ENGINES)}"
    return "" if importlib.util.find_spec(name) else f"not installed: pip install {name}"


def load(name: str, model: str | bytes, threads: int) -> Runner:
    """A function that runs the model (a file, or its bytes) by this engine."""
    return ENGINES[name](importlib.import_module(name), model, threads)


def version(name: str) -> str:
    """What the engine calls its version."""
    if missing(name):
        return ""
    return str(getattr(importlib.import_module(name), "__version__", "unknown"))
