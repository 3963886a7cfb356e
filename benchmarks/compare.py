"""Compares two results of models.py or kernels.py: exit status 1 when something became slower.

python benchmarks/compare.py OLD.json NEW.json [--limit 5] [--absolute] [--what run_ms]

Times are taken relative to the reference engine's time in the same result, so that a slower or
busier machine does not count; --absolute compares milliseconds.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiercel.cli.table import print_table

Key = tuple[str, int, int]  # model, batch, threads


@dataclass
class Change:
    """One case: what it took, relative to the reference engine or in ms."""

    key: Key
    old: float
    new: float
    note: str = ""

    @property
    def percent(self) -> float:
        """How much more it takes now; infinite when it does not run any more."""
        return (self.new / self.old - 1) * 100 if self.old > 0 else 0.0


def rows(result: Mapping[str, Any]) -> dict[Key, dict[str, Any]]:
    """The engines' rows by case."""
    return {(r["model"], r["batch"], r["threads"]): r["engines"] for r in result["results"]}


def taken(engines: Mapping[str, Any], engine: str, base: str, what: str) -> float | None:
    """The measure of an engine, divided by the reference's where one is named.

    Of medians it is the median over rounds, in which both engines had their turns.
    """
    own: dict[str, Any] = engines.get(engine, {})
    reference: dict[str, Any] = engines.get(base, {})
    if what not in own:
        return None
    if not base:
        return float(own[what])
    if not reference.get(what):
        return None
    ours, theirs = (row.get("rounds_ms", []) for row in (own, reference))
    if what == "run_ms" and ours and len(ours) == len(theirs):
        return float(statistics.median(a / b for a, b in zip(ours, theirs, strict=True)))
    return float(own[what] / reference[what])


def changes(
    old: Mapping[str, Any], new: Mapping[str, Any], engine: str, base: str, what: str
) -> tuple[list[Change], list[str]]:
    """Cases of both results; and a line for each case that cannot be compared."""
    before, after = rows(old), rows(new)
    found, left = [], []
    for key in sorted(before.keys() | after.keys()):
        name = text(key)
        if key not in before or key not in after:
            left.append(f"{name}: only in the {'new' if key in after else 'old'} result")
            continue
        was, now = (taken(r[key], engine, base, what) for r in (before, after))
        reason = after[key].get(engine, {}).get("error")
        if was is None:
            left.append(f"{name}: the old result has no {what} of {engine}{over(base)}")
        elif reason:
            found.append(Change(key, was, math.inf, reason))
        elif now is None:
            left.append(f"{name}: the new result has no {what} of {engine}{over(base)}")
        else:
            found.append(Change(key, was, now))
    return found, left


def over(base: str) -> str:
    return f" and {base}" if base else ""


def text(key: Key) -> str:
    model, batch, threads = key
    return f"{model}, {threads} threads" + (f", batch {batch}" if batch else "")


def read(path: str) -> dict[str, Any]:
    """A result; ValueError when the file is something else."""
    found = json.loads(Path(path).read_text())
    if not isinstance(found, dict) or found.get("format") != 1 or "results" not in found:
        raise ValueError(f"{path}: no result of models.py or kernels.py")
    return found


def show(found: Sequence[Change], limit: float, unit: str) -> None:
    lines = []
    for change in sorted(found, key=lambda c: -c.percent):
        verdict = "slower" if change.percent > limit else "faster" * (change.percent < -limit)
        new = "fails" if math.isinf(change.new) else f"{change.new:.4g}"
        percent = "" if math.isinf(change.new) else f"{change.percent:+.1f} %"
        lines.append((text(change.key), f"{change.old:.4g}", new, percent, verdict))
    print_table(f"Changes ({unit})", ("case", "old", "new", "change", ""), lines)


def main(given: Sequence[str] | None = None) -> int:
    """Gives the exit status: 1 for a regression, 2 for files that cannot be compared."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("old", metavar="OLD.json")
    parser.add_argument("new", metavar="NEW.json")
    parser.add_argument("--limit", type=float, default=5.0, help="percent that may be lost")
    parser.add_argument("--engine", default="tiercel")
    parser.add_argument("--reference", default="onnxruntime")
    parser.add_argument("--absolute", action="store_true", help="compare milliseconds")
    parser.add_argument("--what", default="run_ms", choices=("run_ms", "min_ms", "load_ms"))
    options = parser.parse_args(given)
    base = "" if options.absolute else options.reference
    try:
        old, new = read(options.old), read(options.new)
    except (OSError, ValueError) as error:
        print(f"compare: {error}", file=sys.stderr)
        return 2
    found, left = changes(old, new, options.engine, base, options.what)
    unit = f"{options.what} of {options.engine}" + (f" / {base}" if base else "")
    show(found, options.limit, unit)
    for one in left:
        print(one)
    for change in found:
        if change.note:
            print(f"{text(change.key)}: {change.note}")
    if not found:
        print("compare: no case is in both results", file=sys.stderr)
        return 2
    slower = [change for change in found if change.percent > options.limit]
    print(f"{len(found)} cases, {len(slower)} slower by more than {options.limit:g} %")
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
