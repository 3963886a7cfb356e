"""Runs cases for a long time and lists what differs, by operator, without stopping at the first.

python tests/differential/survey.py [--seconds N] [--seed N] [--only OPERATOR,…] [--chains] [--gpu]

Each finding is a folder below build/differential: the model, its text, its inputs and the verdict;
`replay.py FOLDER` runs it again. A process does the cases, so that a crash is a finding too.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable

from chains import chain_verdict, draw_chain
from findings import FOLDER, keep_last, load, save
from oracle import verdict
from providers import provider_verdict, software_device
from recipes import RECIPES
from single import draw_single

BATCH = 400  # cases of one process


def integers(seed: int) -> Callable[[int, int], int]:
    return random.Random(seed).randint


def work(first: int, only: list[tuple[str, str]], chains: bool, gpu: bool, deadline: float) -> None:
    """One batch; prints a line of JSON for each case."""
    judge = provider_verdict if gpu else chain_verdict if chains else verdict
    if gpu:
        os.environ["TIERCEL_CUDA_DRIVER"] = str(software_device().path)
    for seed in range(first, first + BATCH):
        if time.time() > deadline:
            return
        try:
            choose = integers(seed)
            case = (
                draw_chain(choose)
                if chains
                else draw_single(choose, only[seed % len(only)] if only else None)
            )
        except Exception as error:
            print(json.dumps([seed, "generator", f"{type(error).__name__}: {error}"]), flush=True)
            continue
        keep_last(case)
        text = judge(case)
        if text:
            text += f" [{save(case, text)}]"
        print(json.dumps([seed, case.label, text]), flush=True)
        if gpu and text and "CUDA_ERROR" in text:
            return  # the device is lost to this process


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="operators, domain::name where not standard")
    parser.add_argument("--chains", action="store_true", help="graphs of several nodes")
    parser.add_argument("--gpu", action="store_true", help="the GPU's provider against the CPU's")
    parser.add_argument("--worker", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    only = [tuple(("::" + n).rsplit("::", 1)) for n in options.only.split(",") if n]
    only = [(d.removeprefix("::"), n) for d, n in only]
    assert all(key in RECIPES for key in only), only
    if options.worker:
        work(options.seed, only, options.chains, options.gpu, options.worker)
        return
    deadline = time.time() + options.seconds
    counts: dict[str, Counter[str]] = {}
    failed = 0
    seed = options.seed
    while time.time() < deadline:
        command = [sys.executable, "-W", "ignore", __file__, "--seed", str(seed)]
        command += ["--worker", str(deadline), "--only", options.only]
        command += [f"--{o}" for o in ("chains", "gpu") if getattr(options, o)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        last = seed - 1
        for line in done.stdout.splitlines():
            last, label, text = json.loads(line)
            kind = "passed" if text == "" else "unknown" if text is None else "FAILED"
            counts.setdefault(label, Counter())[kind] += 1
            if text:
                failed += 1
                print(f"{last} {label}: {text[:600]}", flush=True)
        if done.returncode:
            failed += 1
            text = f"the process died with {done.returncode}"
            print(f"{last + 1}: {text} [{save(load(FOLDER / 'last'), text)}]", flush=True)
            seed = last + 2
        else:
            seed = last + 1
    for label, count in sorted(counts.items()):
        print(f"{label:36}", *(f"{kind} {n}" for kind, n in sorted(count.items())))
    print(f"{sum(c.total() for c in counts.values())} cases, {failed} failed, next seed {seed}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
