"""Times every operator that tiercel and ONNX Runtime both run, over about a million elements.

python benchmarks/operators.py [--only NAME,…] [--rounds N] [--json FILE] [--limit RATIO]

One thread each, in one process, in turns; the time is the median over rounds of the fastest way
through. The exit status is 1 when an operator takes more than LIMIT (3) times what ONNX Runtime
does.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import onnxruntime
from operator_cases import models
from rich.console import Console
from rich.table import Table

import tiercel

TURN = 0.004  # seconds that an engine runs before the other one does
LEAST = 20e-6  # seconds: below, the call costs more than the operator


def session(module: Any, data: bytes) -> Any:
    options = module.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return module.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def turn(run: Callable[[], Any]) -> float:
    """Seconds of one run: the least of those that fit into a turn."""
    least, began = float("inf"), time.perf_counter()
    while True:
        start = time.perf_counter()
        run()
        now = time.perf_counter()
        least = min(least, now - start)
        if now - began > TURN:
            return least


def measured(data: bytes, feeds: dict[str, Any], rounds: int) -> tuple[float, float] | str:
    """Seconds of tiercel and of ONNX Runtime, or why one of them does not run it."""
    runs = []
    for module in (tiercel, onnxruntime):
        try:
            made = session(module, data)
            made.run(None, feeds)
        except Exception as error:
            return f"{module.__name__}: {str(error)[:200]}"
        runs.append(lambda made=made: made.run(None, feeds))
    times: list[list[float]] = [[], []]
    for _ in range(rounds):
        for own, run in zip(times, runs, strict=True):
            own.append(turn(run))
    return statistics.median(times[0]), statistics.median(times[1])


def show(results: list[dict[str, Any]], limit: float) -> None:
    table = Table("operator", "type", "tiercel ms", "ONNX Runtime ms", "ratio")
    for result in sorted(results, key=lambda r: r["ratio"]):
        colour = "red" if result["ratio"] > limit else "green" if result["ratio"] < 1 else "white"
        table.add_row(
            result["operator"],
            result["type"],
            f"{result['tiercel'] * 1e3:.3f}",
            f"{result['onnxruntime'] * 1e3:.3f}",
            f"[{colour}]{result['ratio']:.2f}[/]",
        )
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="operators, domain::name where not standard")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", default="", help="file for the results")
    parser.add_argument("--limit", type=float, default=3.0, help="ratio from which it is an error")
    options = parser.parse_args()
    only = {name for name in options.only.split(",") if name}
    results: list[dict[str, Any]] = []
    skipped: dict[str, str] = {}
    for name, element, model, feeds in models():
        if only and name not in only:
            continue
        found = measured(model.SerializeToString(), feeds, options.rounds)
        if isinstance(found, str):
            skipped[f"{name} {element}"] = found
            continue
        ours, theirs = found
        print(f"{name} {element} {ours / theirs:.2f}", file=sys.stderr, flush=True)
        ratio = max(ours, LEAST) / max(theirs, LEAST)
        results.append(
            dict(operator=name, type=element, tiercel=ours, onnxruntime=theirs, ratio=ratio)
        )
    show(results, options.limit)
    slow = [r for r in results if r["ratio"] > options.limit]
    mean = statistics.geometric_mean(r["ratio"] for r in results) if results else 1.0
    print(f"{len(results)} cases, geometric mean of the ratios {mean:.2f}, {len(slow)} too slow")
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"results": results, "not run by both": skipped}, file, indent=1)
    sys.exit(1 if slow else 0)


if __name__ == "__main__":
    main()
