"""Runs a saved case again and prints its model, the inputs and what each engine computes.

python tests/differential/replay.py build/differential/NAME
"""

from __future__ import annotations

import sys
from pathlib import Path

import onnx

from findings import load
from oracle import ORACLES, by_tiercel, compare


def main() -> None:
    case = load(Path(sys.argv[1]))
    print(onnx.printer.to_text(case.model))
    for name, value in (case.plain_feeds or case.feeds).items():
        print(f"{name} = {value!r}")
    got = by_tiercel(case)
    print("tiercel:", got)
    print("tiercel, not optimised:", by_tiercel(case, optimised=False))
    for oracle in ORACLES:
        want = oracle(case)
        text = (
            ""
            if isinstance(want, Exception) or isinstance(got, Exception)
            else (compare(case, got, want) or "agrees")
        )
        print(f"{oracle.__name__}: {want} {text}")


if __name__ == "__main__":
    main()
