"""Rates of matrix products and convolutions against the machine's measured peak, for 20 shapes.

python benchmarks/kernels.py [--threads N] [--rounds N] [--only TEXT] [--json FILE]

Engines and the measuring of the peak take turns, so that all see the same clock of the processor.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import engines
import machine
import numpy as np
import peaks
import steps
from kernel_cases import CASES, KernelCase

from tiercel.cli.feeds import whole_number
from tiercel.cli.table import print_table

TURN = 0.05  # seconds
PAUSE = 0.005  # seconds between turns


def turn(run: Callable[[], Any]) -> list[float]:
    """Seconds of each run of one turn."""
    found, end = [], time.perf_counter() + TURN
    while True:
        start = time.perf_counter()
        run()
        now = time.perf_counter()
        found.append(now - start)
        if now > end:
            return found


def runners(case: KernelCase, names: Sequence[str], threads: int) -> dict[str, Any]:
    """A function per engine; a text where the engine does not run it."""
    model, feeds = case.model(), case.feeds()
    made: dict[str, Any] = {}
    for name in names:
        if reason := engines.missing(name):
            made[name] = reason
            continue
        try:
            run = engines.load(name, model, threads)
            run(feeds)
        except Exception as error:
            made[name] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            continue
        made[name] = lambda run=run: run(feeds)
    return made


def measured(
    case: KernelCase, names: Sequence[str], threads: int, rounds: int, probe: Callable[[], float]
) -> dict[str, dict[str, Any]]:
    """Rows by engine: ms, GFLOP/s, percent of the peak."""
    made = runners(case, names, threads)
    rows: dict[str, dict[str, Any]] = {}
    rows |= {name: {"error": run} for name, run in made.items() if isinstance(run, str)}
    ready = {name: run for name, run in made.items() if name not in rows}
    times: dict[str, list[list[float]]] = {name: [] for name in ready}
    tops = []
    for _ in range(rounds):
        tops.append(probe())
        for name, run in ready.items():
            time.sleep(PAUSE)
            run()
            times[name].append(turn(run))
    for name, own in times.items():
        medians = [statistics.median(one) for one in own]
        middle, work = statistics.median(medians), case.operations()
        of_peak = statistics.median(work / m / top for m, top in zip(medians, tops, strict=True))
        rows[name] = {
            "run_ms": round(middle * 1e3, 5),
            "min_ms": round(min(min(one) for one in own) * 1e3, 5),
            "rounds_ms": [round(m * 1e3, 5) for m in medians],
            "gflops": round(work / middle / 1e9, 2),
            "of_peak": round(of_peak, 4),
        }
    return rows


def kernel_alone(case: KernelCase, threads: int) -> dict[str, Any]:
    """The step that computes, by tiercel's profiler: without a change of layout around it."""
    found = steps.profiled(case.model(), case.feeds(), threads, 3 * TURN)
    step = max(found, key=lambda one: one.operations)
    return {"kernel": f"{step.op} {step.kernel}", "kernel_gflops": round(step.rate / 1e9, 2)}


def line(case: KernelCase, rows: dict[str, dict[str, Any]], names: Sequence[str]) -> list[str]:
    cells = [case.name]
    for name in names:
        row = rows[name]
        if "error" in row:
            cells += ["fails", "", ""]
            continue
        cells += [f"{row['run_ms']:.4f}", f"{row['gflops']:.1f}", f"{row['of_peak'] * 100:.0f} %"]
    own = rows.get("tiercel", {})
    return [*cells, own.get("kernel", ""), f"{own.get('kernel_gflops', 0):.1f}"]


def conclude(results: Sequence[dict[str, Any]], names: Sequence[str]) -> None:
    """Geometric means over the cases."""
    for name in names:
        rows = [r["engines"][name] for r in results if "of_peak" in r["engines"][name]]
        if rows:
            mean = statistics.geometric_mean(row["of_peak"] for row in rows)
            print(f"{name}: {mean * 100:.0f} % of the peak (geometric mean of {len(rows)})")
    for result in results:
        for name in names:
            if error := result["engines"][name].get("error"):
                print(f"{name} does not run {result['model']}: {error}")


def main(given: Sequence[str] | None = None) -> int:
    """Gives the exit status: 1 when tiercel does not run a case."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--engines", default="tiercel,onnxruntime")
    parser.add_argument("--threads", default="1")
    parser.add_argument("--rounds", default="7")
    parser.add_argument("--only", default="", help="cases whose name holds this text")
    parser.add_argument("--json", default="", metavar="FILE")
    options = parser.parse_args(given)
    names = [name for name in options.engines.split(",") if name]
    threads = whole_number(options.threads, "--threads")
    rounds = whole_number(options.rounds, "--rounds")
    probe = peaks.float_probe(threads)
    results: list[dict[str, Any]] = []
    lines: list[list[str]] = []
    for case in CASES:
        if options.only not in case.name:
            continue
        rows = measured(case, names, threads, rounds, probe)
        if "run_ms" in rows.get("tiercel", {}):
            rows["tiercel"] |= kernel_alone(case, threads)
        results.append(dict(model=case.name, batch=0, threads=threads, engines=rows))
        lines.append(line(case, rows, names))
        print(f"{case.name} done", file=sys.stderr, flush=True)
    top = float(np.median([probe() for _ in range(5)]))
    heads = [text for name in names for text in (f"{name} ms", "GFLOP/s", "of peak")]
    title = f"Kernels, {threads} threads, peak {top / 1e9:.0f} GFLOP/s"
    print_table(title, ("case", *heads, "tiercel's kernel", "alone, GFLOP/s"), lines)
    conclude(results, names)
    if options.json:
        facts = {"format": 1, "machine": machine.describe(names), "peak_gflops": top / 1e9}
        settings = {"threads": threads, "rounds": rounds, "engines": names}
        found = facts | {"settings": settings, "results": results}
        Path(options.json).write_text(json.dumps(found, indent=1) + "\n")
    return int(any("error" in r["engines"].get("tiercel", {}) for r in results))


if __name__ == "__main__":
    sys.exit(main())
