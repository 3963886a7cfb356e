"""What each step of a model takes, and what the machine would allow: text, and a page with plots.

python benchmarks/roofline.py MODEL.onnx [--threads N] [--dim NAME=SIZE] [--html FILE] [--json FILE]
python benchmarks/roofline.py --catalogue FILE ID …
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import machine
import peaks
import steps
from catalogue import Case, cases
from peaks import Peaks
from steps import Step

from tiercel.cli.feeds import sizes, whole_number
from tiercel.cli.table import print_table

HEADER = ("step", "operator", "kernel", "ms", "share", "GFLOP/s", "GB/s", "bound by", "of roof")


def percent(part: float, whole: float) -> str:
    return f"{part / whole * 100:.0f} %" if whole else ""


def row(step: Step, whole: float, bounds: Peaks) -> tuple[str, ...]:
    least = step.least(bounds)
    return (
        step.name[-48:] or "-",
        step.op,
        step.kernel,
        f"{step.seconds * 1e3:.4f}",
        percent(step.seconds, whole),
        f"{step.rate / 1e9:.1f}" if step.operations else "",
        f"{step.bandwidth / 1e9:.1f}" if step.moved else "",
        step.limit if step.moved or step.operations else "",
        percent(least, step.seconds) if step.moved or step.operations else "",
    )


def by_operator(found: Sequence[Step], bounds: Peaks) -> list[tuple[str, ...]]:
    """Sums per operator, the longest first."""
    groups: dict[str, list[Step]] = defaultdict(list)
    for step in found:
        groups[step.op].append(step)
    whole = sum(step.seconds for step in found)
    lines = []
    for op, own in sorted(groups.items(), key=lambda item: -sum(s.seconds for s in item[1])):
        seconds = sum(s.seconds for s in own)
        work = sum(s.operations * s.calls for s in own)
        moved = sum(s.moved * s.calls for s in own)
        rates = (f"{v / seconds / 1e9:.1f}" if v and seconds else "" for v in (work, moved))
        ideal = percent(sum(s.least(bounds) for s in own), seconds)
        count = f"{sum(s.calls for s in own):g}"
        lines.append((op, count, f"{seconds * 1e3:.4f}", percent(seconds, whole), *rates, ideal))
    return lines


def totals(found: Sequence[Step], bounds: Peaks, latency: float) -> dict[str, float]:
    """Sums over one run of the model."""
    seconds = sum(step.seconds for step in found)
    return {
        "latency_ms": latency * 1e3,
        "steps_ms": seconds * 1e3,
        "least_ms": sum(step.least(bounds) for step in found) * 1e3,
        "gflop": sum(step.operations * step.calls for step in found) / 1e9,
        "gbytes": sum(step.moved * step.calls for step in found) / 1e9,
    }


def told(sums: Mapping[str, float]) -> str:
    """The totals in words."""
    steps_ms = sums["steps_ms"] or 1e-9
    return (
        f"one run: {sums['latency_ms']:.4g} ms; in steps, profiled: {sums['steps_ms']:.4g} ms; "
        f"{sums['gflop']:.4g} GFLOP ({sums['gflop'] / steps_ms * 1e3:.1f} GFLOP/s), "
        f"{sums['gbytes']:.4g} GB ({sums['gbytes'] / steps_ms * 1e3:.1f} GB/s); "
        f"the roofs allow {sums['least_ms']:.4g} ms: {percent(sums['least_ms'], steps_ms)} reached"
    )


def rates(bounds: Peaks) -> str:
    """The machine in words."""
    compute = ", ".join(f"{k} {v / 1e9:.0f}" for k, v in bounds.operations.items())
    memory = ", ".join(f"{n / 2**20:.3g} MiB {v / 1e9:.0f}" for n, v in bounds.copies)
    return (
        f"measured on {bounds.threads} threads: {compute} GFLOP/s (a multiply-add is two; "
        f"the roof of float is {bounds.compute('float') / 1e9:.0f}); "
        f"copies, by bytes moved: {memory} GB/s"
    )


def report(name: str, found: Sequence[Step], bounds: Peaks, latency: float, rows: int) -> None:
    """The text form."""
    whole = sum(step.seconds for step in found)
    longest = sorted(found, key=lambda step: -step.seconds)[:rows]
    print_table(f"{name}: steps", HEADER, [row(step, whole, bounds) for step in longest])
    if len(found) > rows:
        print(f"({len(found) - rows} shorter steps are left out: --rows)")
    heads = ("operator", "calls", "ms", "share", "GFLOP/s", "GB/s", "of roof")
    print_table(f"{name}: operators", heads, by_operator(found, bounds))
    print(rates(bounds))
    print(told(totals(found, bounds, latency)))


def record(case: Case, found: Sequence[Step], bounds: Peaks, latency: float) -> dict[str, Any]:
    """The JSON form of one model."""
    names = ("name", "op", "kernel", "element", "shapes", "operations", "moved", "calls", "seconds")
    return {
        "model": case.name,
        "batch": case.batch,
        "totals": totals(found, bounds, latency),
        "steps": [
            {name: getattr(step, name) for name in names}
            | {"least_seconds": step.least(bounds), "bound_by": step.limit}
            for step in found
        ],
        "summary": told(totals(found, bounds, latency)),
    }


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("models", nargs="+", metavar="MODEL", help="model files; with --catalogue, ids of it")
    add("--catalogue", default="", metavar="FILE.json")
    add("--threads", default="1")
    add("--batch", default="", help="size of the first dim where it is symbolic")
    add("--dim", action="append", default=[], metavar="NAME=SIZE", help="other symbolic dims")
    add("--seconds", type=float, default=2.0, help="time per model, with and without profiler")
    add("--rows", type=int, default=30, help="steps in the text")
    add("--html", default="", metavar="FILE", help="a page with plots; needs plotly")
    add("--json", default="", metavar="FILE")
    options = parser.parse_args(given)
    options.threads = whole_number(options.threads, "--threads")
    options.batch = whole_number(options.batch, "--batch") if options.batch else 0
    return options


def main(given: Sequence[str] | None = None) -> int:
    """Gives the exit status: 1 when a model does not run."""
    options = arguments(given)
    listed = [options.catalogue] if options.catalogue else []
    files = [] if options.catalogue else options.models
    only = options.models if options.catalogue else []
    bounds = peaks.measure(options.threads)
    records, failed = [], 0
    for name, _, case in cases(listed, files, only, [options.batch], sizes(options.dim)):
        if isinstance(case, str):
            print(f"{name}: {case}", file=sys.stderr)
            failed = 1
            continue
        latency = steps.latency(case.path, case.feeds, options.threads, options.seconds)
        found = steps.profiled(case.path, case.feeds, options.threads, options.seconds)
        report(name, found, bounds, latency, options.rows)
        records.append(record(case, found, bounds, latency))
    result = {
        "machine": machine.describe(["tiercel"]),
        "peaks": bounds.record(),
        "machine rates": rates(bounds),
        "models": records,
    }
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=1) + "\n")
    if options.html:
        import roofline_page

        Path(options.html).write_text(roofline_page.page(result, bounds), encoding="utf-8")
    return failed


if __name__ == "__main__":
    sys.exit(main())
