"""The steps of a model as tiercel runs it: time by its profiler, arithmetic and bytes by shapes."""

from __future__ import annotations

import bisect
import json
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flops
from peaks import Peaks

import tiercel


@dataclass
class Step:
    """One step, or one pair of step and shapes in bodies that run often; sums over one run."""

    name: str
    op: str
    kernel: str
    element: str  # type of the numbers that are multiplied
    shapes: str
    operations: int  # of one call
    moved: int  # bytes of one call
    calls: float = 0.0  # in one run of the model
    seconds: float = 0.0  # in one run of the model
    limit: str = field(default="", init=False)

    @property
    def rate(self) -> float:
        """Operations per second."""
        return self.operations * self.calls / self.seconds if self.seconds else 0.0

    @property
    def bandwidth(self) -> float:
        """Bytes per second."""
        return self.moved * self.calls / self.seconds if self.seconds else 0.0

    def least(self, peaks: Peaks) -> float:
        """Seconds that the machine needs for the arithmetic or for the bytes, what takes longer."""
        compute = self.operations / peaks.compute(self.element)
        memory = self.moved / peaks.memory(self.moved)
        self.limit = "memory" if memory >= compute else "compute"
        return max(compute, memory) * self.calls


def _operands(listed: Any) -> list[tuple[str, list[int]]]:
    return [next(iter(one.items())) for one in listed]


def _element(op: str, inputs: list[tuple[str, list[int]]]) -> str:
    if op == "DynamicQuantizeLSTM":
        return inputs[1][0]
    return inputs[0][0] if inputs else "float"


def _step(event: Mapping[str, Any]) -> Step:
    args = event["args"]
    inputs = _operands(args["input_type_shape"])
    outputs = _operands(args["output_type_shape"])
    op, kernel = args["op_name"], args["kernel"]
    text = ", ".join("×".join(map(str, shape)) or "1" for _, shape in inputs[:3])
    result = "×".join(map(str, outputs[0][1])) if outputs else "-"
    return Step(
        event["name"].removesuffix("_kernel_time"),
        op,
        kernel,
        _element(op, inputs),
        f"{text} → {result or 1}",
        flops.operations(op, kernel, inputs, outputs, args["attributes"]),
        flops.bytes_moved(op, kernel, inputs, outputs),
    )


def _own_time(events: list[dict[str, Any]]) -> None:
    """Takes the time of inner steps, which stand before it, off each step that runs a body."""
    open_events: list[dict[str, Any]] = []
    for event in events:
        begin, inner = event["ts"], 0
        if event["args"]["kernel"] == "body":
            while open_events and open_events[-1]["ts"] >= begin:
                inner += open_events.pop()["whole"]
        event["whole"] = event["dur"]
        event["dur"] = max(0, event["dur"] - inner)
        open_events.append(event)


def collected(events: list[dict[str, Any]], runs: int) -> list[Step]:
    """The steps of a trace of so many runs, in the order in which they ran."""
    steps: dict[tuple[str, ...], Step] = {}
    nodes = [e for e in events if e["cat"] == "Node" and "op_name" in e.get("args", {})]
    _own_time(nodes)
    for event in nodes:
        args = event["args"]
        key = (event["name"], args["node_index"], json.dumps(args["input_type_shape"]))
        if key not in steps:
            steps[key] = _step(event)
        steps[key].calls += 1
        steps[key].seconds += event["dur"] * 1e-6
    for step in steps.values():
        step.calls /= runs
        step.seconds /= runs
    return list(steps.values())


def _session(model: str | bytes, threads: int, prefix: str = "") -> tiercel.InferenceSession:
    options = tiercel.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    if prefix:
        options.enable_profiling = True
        options.profile_file_prefix = prefix
    return tiercel.InferenceSession(model, options)


def _runs(session: tiercel.InferenceSession, feeds: Mapping[str, Any], seconds: float) -> int:
    """Runs for so long, and at least three times; how often it was."""
    count, end = 0, time.perf_counter() + seconds
    while count < 3 or time.perf_counter() < end:
        session.run(None, feeds)
        count += 1
    return count


def latency(model: str | bytes, feeds: Mapping[str, Any], threads: int, seconds: float) -> float:
    """Median seconds of a run without the profiler."""
    session = _session(model, threads)
    times: list[float] = []
    _runs(session, feeds, seconds / 5)
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        session.run(None, feeds)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def profiled(
    model: str | bytes, feeds: Mapping[str, Any], threads: int, seconds: float
) -> list[Step]:
    """The steps of a model, their times averaged over the faster half of the runs."""
    with tempfile.TemporaryDirectory() as folder:
        session = _session(model, threads, str(Path(folder) / "trace"))
        runs = _runs(session, feeds, seconds)
        events = json.loads(Path(session.end_profiling()).read_text())
    return collected(*_faster_half(events, runs))


def _faster_half(events: list[dict[str, Any]], runs: int) -> tuple[list[dict[str, Any]], int]:
    """The events of the faster half of the runs, which nothing else disturbed, and their number."""
    whole = sorted((e["dur"], e["ts"]) for e in events if e["name"] == "model_run")
    starts = sorted(start for _, start in whole)
    kept = {starts.index(start) for _, start in whole[: (runs + 1) // 2]}
    nodes = (e for e in events if e["cat"] == "Node")
    return [e for e in nodes if bisect.bisect_right(starts, e["ts"]) - 1 in kept], len(kept)
