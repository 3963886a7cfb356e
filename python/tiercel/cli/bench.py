"""The command bench: latency of a model, in turns with other engines and precisions."""

from __future__ import annotations

import importlib
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ..options import SessionOptions
from ..session import InferenceSession
from ..sparse import Array
from .feeds import make_feeds, whole_number
from .table import print_table, progress

Runner = Callable[[], list[Any]]


def _tiercel(model: str, threads: int, feeds: dict[str, Array]) -> Runner:
    options = SessionOptions()
    options.intra_op_num_threads = threads
    session = InferenceSession(model, options)
    return lambda: session.run(None, feeds)


def _bfloat16(model: str, threads: int, feeds: dict[str, Array]) -> Runner:
    options = SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.precision", "bfloat16")
    session = InferenceSession(model, options)
    return lambda: session.run(None, feeds)


def _onnxruntime(model: str, threads: int, feeds: dict[str, Array]) -> Runner:
    onnxruntime = importlib.import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
    return lambda: list(session.run(None, feeds))


def _openvino(model: str, threads: int, feeds: dict[str, Array]) -> Runner:
    openvino = importlib.import_module("openvino")
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = openvino.Core().compile_model(model, "CPU", settings)
    request = compiled.create_infer_request()

    def run() -> list[Any]:
        result = request.infer(feeds)
        return [result[port] for port in compiled.outputs]

    return run


_ENGINES: dict[str, Callable[[str, int, dict[str, Array]], Runner]] = {
    "tiercel": _tiercel,
    "bfloat16": _bfloat16,
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
}


def _worst_error(got: list[Any], want: list[Any]) -> str:
    """Largest difference of any output, relative to that output's largest magnitude."""
    worst = 0.0
    for a, b in zip(got, want, strict=True):
        if not isinstance(b, np.ndarray) or b.dtype.kind not in "fiub" or b.size == 0:
            continue
        x, y = np.asarray(a, np.float64), b.astype(np.float64)
        if x.shape != y.shape:
            return "shapes differ"
        worst = max(worst, float(np.abs(x - y).max() / max(np.abs(y).max(), 1e-12)))
    return f"{worst:.1e}"


def _time(run: Runner, seconds: float) -> list[float]:
    """Seconds of each run, after one tenth of the time as warm-up."""
    end = time.perf_counter() + seconds / 10
    run()
    while time.perf_counter() < end:
        run()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return times


def bench(options: Any) -> int:
    """Prints median and 90th percentile per engine and thread count."""
    engines = ["tiercel", *filter(None, options.against.split(","))]
    for name in engines:
        if name not in _ENGINES:
            raise ValueError(
                f"--against: unknown engine {name!r}, expected {sorted(_ENGINES)[::-1]}"
            )
    counts = [whole_number(text, "--threads") for text in options.threads.split(",")]
    if not options.seconds > 0:
        raise ValueError(f"--seconds: expected a number above 0, got {options.seconds}")
    feeds = make_feeds(InferenceSession(options.model), options)
    rows = []
    jobs = [(count, name) for count in counts for name in engines]
    own: dict[int, float] = {}
    reference: dict[int, list[Any]] = {}
    for count, name in progress(jobs, len(jobs), "timing"):
        try:
            run = _ENGINES[name](options.model, count, feeds)
        except ImportError:
            rows.append((name, str(count), "not installed", "", "", ""))
            continue
        results = run()
        times = _time(run, options.seconds)
        median = statistics.median(times)
        if name == "tiercel":
            own[count], reference[count] = median, results
        rows.append(
            (
                name,
                str(count),
                f"{median * 1e3:.4f}",
                f"{sorted(times)[len(times) * 9 // 10] * 1e3:.4f}",
                f"{median / own[count]:.2f}",
                "" if name == "tiercel" else _worst_error(reference[count], results),
            )
        )
    print_table(
        options.model,
        ("engine", "threads", "median ms", "p90 ms", "time / tiercel's", "difference"),
        rows,
    )
    return 0
