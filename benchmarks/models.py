"""Times models on several engines: in turns, each engine in a process of its own.

python benchmarks/models.py [--catalogue FILE] [MODEL.onnx …] [--threads 1,2] [--batch 1,8]
    [--engines tiercel,onnxruntime,openvino] [--dim NAME=SIZE] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import engines
import machine
import numpy as np
from catalogue import Case, cases
from worker import Worker

from tiercel.cli.feeds import sizes, whole_number
from tiercel.cli.table import print_table

PAUSE = 0.02  # seconds between turns, in which another engine's threads go to sleep
FORMAT = 1


def relative_error(got: Sequence[Any], want: Sequence[Any]) -> float:
    """The largest |got - want| / |want| (Euclidean) of any output; inf where shapes differ."""
    worst = 0.0
    for x, y in zip(got, want, strict=True):
        if x is None or y is None or y.dtype.kind in "OUS":
            continue
        if x.shape != y.shape:
            return math.inf
        a, b = x.astype(np.float64), y.astype(np.float64)
        finite = np.isfinite(b)
        if not np.array_equal(finite, np.isfinite(a)):
            return math.inf
        size = float(np.linalg.norm(b[finite]))
        worst = max(worst, float(np.linalg.norm((a - b)[finite])) / max(size, 1e-12))
    return worst


def summary(rounds: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Median, minimum and quartiles of all runs, and the median of each round, in ms."""
    times = np.concatenate([np.asarray(one) for one in rounds])
    low, middle, high = (float(v) for v in np.quantile(times, (0.25, 0.5, 0.75)))
    return {
        "run_ms": round(middle, 5),
        "min_ms": round(float(times.min()), 5),
        "quartiles_ms": [round(low, 5), round(high, 5)],
        "rounds_ms": [round(statistics.median(one), 5) for one in rounds],
        "runs": len(times),
    }


class Race:
    """One case on one number of threads."""

    def __init__(self, case: Case, threads: int, options: argparse.Namespace) -> None:
        self.case, self.threads, self.options = case, threads, options
        self.rows: dict[str, dict[str, Any]] = {}
        self.workers: dict[str, Worker] = {}
        self.outputs: dict[str, list[Any]] = {}

    def ask(self, name: str, request: str, *arguments: Any) -> Any:
        """An engine's answer; None, and its row an error, when it fails."""
        try:
            return self.workers[name].ask(request, *arguments)
        except RuntimeError as error:
            self.rows[name] = {"error": str(error)}
            self.workers.pop(name).close()
            return None

    def prepare(self, name: str) -> None:
        """Starts an engine's process, loads the model, keeps outputs, warms up."""
        if reason := engines.missing(name):
            self.rows[name] = {"error": reason}
            return
        self.workers[name] = Worker(name, self.options.patience)
        self.rows[name] = self.ask(name, "load", self.case.path, self.threads) or self.rows[name]
        if name in self.workers:
            self.outputs[name] = self.ask(name, "results", self.case.feeds)
        if name in self.workers:
            self.ask(name, "times", self.options.seconds / 5, 2)

    def run(self) -> dict[str, dict[str, Any]]:
        """The rows of all engines."""
        names, options = self.options.engines, self.options
        try:
            for name in names:
                self.prepare(name)
            times: dict[str, list[list[float]]] = {name: [] for name in names}
            for _ in range(options.rounds):
                for name in list(self.workers):
                    time.sleep(PAUSE)
                    if found := self.ask(name, "times", options.seconds / options.rounds, 1):
                        times[name].append(found)
            for name in list(self.workers):
                peak = self.ask(name, "peak")
                if name in self.workers:
                    self.rows[name] |= summary(times[name]) | {"peak_mib": peak}
        finally:
            for worker in self.workers.values():
                worker.close()
        self.compare()
        return self.rows

    def compare(self) -> None:
        """Adds each engine's difference from the reference, and its time relative to it."""
        reference = self.options.reference
        base = self.rows.get(reference, {})
        for name, row in self.rows.items():
            if name == reference or "run_ms" not in row or "run_ms" not in base:
                continue
            error = relative_error(self.outputs[name], self.outputs[reference])
            row["relative_error"] = float(f"{error:.2e}") if math.isfinite(error) else "differs"
            pairs = zip(row["rounds_ms"], base["rounds_ms"], strict=True)
            row["ratio"] = round(statistics.median(a / b for a, b in pairs), 4)


def line(name: str, batch: int, threads: int, engine: str, row: dict[str, Any]) -> list[str]:
    """A row of the table."""
    start = [name, str(batch or ""), str(threads), engine]
    if "error" in row:
        return [*start, "fails", *[""] * 6]
    low, high = row["quartiles_ms"]
    ratio, error = row.get("ratio"), row.get("relative_error")
    return [
        *start,
        f"{row['run_ms']:.4g}",
        f"{row['min_ms']:.4g}",
        f"{(high - low) / row['run_ms'] * 100:.0f} %",
        f"{row['load_ms']:.4g}",
        f"{row['peak_mib']:.0f}",
        "" if ratio is None else f"{ratio:.2f}",
        "" if error is None else str(error),
    ]


def failures(results: Sequence[dict[str, Any]]) -> set[tuple[str, str, str]]:
    """Model, engine and reason."""
    return {
        (result["model"], engine, row["error"])
        for result in results
        for engine, row in result["engines"].items()
        if "error" in row
    }


HEADER = (
    *("model", "batch", "threads", "engine", "median ms", "min ms", "spread"),
    *("load ms", "peak MiB", "time / reference's", "error"),
)


def conclude(results: Sequence[dict[str, Any]], ours: str) -> None:
    """Geometric means of the best other engine's time over the first one's, per threads."""
    for threads in sorted({result["threads"] for result in results}):
        speed, slower, failed = [], [], []
        for result in results:
            rows = result["engines"]
            others = {k: r["run_ms"] for k, r in rows.items() if k != ours and "run_ms" in r}
            if result["threads"] != threads or not others:
                continue
            if "run_ms" not in rows.get(ours, {}):
                failed.append(result["model"])
                continue
            best = min(others, key=lambda k: others[k])
            speed.append(others[best] / rows[ours]["run_ms"])
            if speed[-1] < 1:
                slower.append(f"{result['model']} {speed[-1]:.2f} ({best})")
        if speed:
            print(
                f"{threads} threads: the best other engine takes "
                f"{statistics.geometric_mean(speed):.3f} times as long as {ours} over "
                f"{len(speed)} cases; {ours} is slower in {len(slower)}: {', '.join(slower)}"
            )
        if failed:
            print(f"{threads} threads: {ours} fails on {', '.join(failed)}")


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("files", nargs="*", metavar="MODEL.onnx", help="models that get random inputs")
    add("--catalogue", action="append", default=[], metavar="FILE.json")
    add("--only", default="", help="ids of the catalogue: a,b")
    add("--engines", default="tiercel,onnxruntime,openvino")
    add("--reference", default="onnxruntime", help="the engine that others are compared with")
    add("--threads", default="1")
    add("--batch", default="", help="sizes of the first dim where it is symbolic: 1,8")
    add("--dim", action="append", default=[], metavar="NAME=SIZE", help="other symbolic dims")
    add("--seconds", type=float, default=2.0, help="timed seconds per engine and case")
    add("--rounds", type=int, default=5, help="turns of each engine")
    add("--patience", type=float, default=300.0, help="seconds to wait for an engine's answer")
    add("--json", default="", metavar="FILE", help="where the result goes")
    options = parser.parse_args(given)
    options.engines = [name for name in options.engines.split(",") if name]
    options.threads = [whole_number(text, "--threads") for text in options.threads.split(",")]
    options.batch = [whole_number(text, "--batch") for text in options.batch.split(",") if text]
    options.dim = sizes(options.dim)
    if not options.files and not options.catalogue:
        parser.error("give model files, or a catalogue with --catalogue")
    if options.rounds < 1 or not options.seconds > 0:
        parser.error("--rounds and --seconds: expected numbers above 0")
    return options


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The whole result, written after each case, so that an interrupted run is not lost."""
    kept = ("engines", "reference", "threads", "batch", "dim", "seconds", "rounds")
    found: dict[str, Any] = {
        "format": FORMAT,
        "machine": machine.describe(options.engines),
        "settings": {name: getattr(options, name) for name in kept},
        "results": [],
        "skipped": {},
    }
    only = [name for name in options.only.split(",") if name]
    picked = cases(options.catalogue, options.files, only, options.batch or [0], options.dim)
    for name, batch, case in picked:
        if isinstance(case, str):
            found["skipped"][f"{name} batch {batch}" if batch else name] = case
            print(f"{name}: left out, {case}", file=sys.stderr, flush=True)
            continue
        for threads in options.threads:
            rows = Race(case, threads, options).run()
            found["results"].append(dict(model=name, batch=batch, threads=threads, engines=rows))
            told = {engine: row.get("run_ms", row.get("error")) for engine, row in rows.items()}
            print(f"{name} batch {batch} threads {threads}: {told}", file=sys.stderr, flush=True)
            if options.json:
                Path(options.json).write_text(json.dumps(found, indent=1) + "\n")
    return found


def main(given: Sequence[str] | None = None) -> int:
    """Gives the exit status: 1 when the first engine fails on a case."""
    options = arguments(given)
    found = measure(options)
    rows = [
        line(r["model"], r["batch"], r["threads"], engine, row)
        for r in found["results"]
        for engine, row in r["engines"].items()
    ]
    print_table("Models", HEADER, rows)
    for name, engine, reason in sorted(failures(found["results"])):
        print(f"{engine} does not run {name}: {reason}")
    ours = options.engines[0]
    conclude(found["results"], ours)
    return int(any("error" in r["engines"][ours] for r in found["results"]))


if __name__ == "__main__":
    sys.exit(main())
