"""Real models on the CUDA provider against the CPU: errors, where nodes run, copies, as a table.

python benchmarks/gpu_models.py --driver LIBRARY --catalogue models.json [--only ID,…] [--limit 300]
Each model runs in a process of its own, which is ended after --limit seconds. --json keeps results
as they come, and a later call with the same file adds to it (--again measures all once more).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from catalogue import Case, entries, of_entry
from document import write_between

import tiercel
from tiercel.cuda.selftest_times import median_ms

HEADER = (
    "| model | first input | GPU nodes | host | fall back | copies | KiB in | KiB out | error |\n"
    "|---|---|---|---|---|---|---|---|---|"
)

TIMES_HEADER = (
    "| model | first input | GPU ms | CUDA graph ms | CPU ms | faster by |\n"
    "|---|---|---|---|---|---|"
)


def smaller(entry: Mapping[str, Any], side: int) -> dict[str, Any]:
    """The entry with images of at most `side` x `side`, where the model takes them."""
    declared = {port.name: port.shape for port in ports(entry["path"])}
    specs = []
    for spec in entry["inputs"]:
        shape, free = list(spec["shape"]), declared[spec["name"]]
        if len(shape) == 4 and all(not isinstance(extent, int) for extent in free[2:]):
            shape[2:] = [min(extent, side) for extent in shape[2:]]
        specs.append(spec | {"shape": shape})
    return {**entry, "inputs": specs}


def ports(path: str) -> list[Any]:
    """The inputs of a model as its file declares them."""
    options = tiercel.SessionOptions()
    options.graph_optimization_level = tiercel.GraphOptimizationLevel.ORT_DISABLE_ALL
    return tiercel.InferenceSession(path, options).get_inputs()


def relative_error(got: Sequence[Any], want: Sequence[Any]) -> float | str:
    """The largest ‖y - r‖ / ‖r‖ of float outputs; a text where others differ."""
    worst = 0.0
    for mine, reference in zip(got, want, strict=True):
        r = np.asarray(reference)
        y = np.asarray(mine)
        if y.shape != r.shape or y.dtype != r.dtype:
            return f"{y.dtype}{list(y.shape)}, expected {r.dtype}{list(r.shape)}"
        if r.dtype.kind != "f":
            wrong = int((y != r).sum())
            if wrong:
                return f"{wrong} of {r.size} whole numbers differ"
            continue
        wide = r.astype(np.float64)
        if not (np.isfinite(wide) == np.isfinite(y)).all():
            return "infinities or NaNs differ"
        finite = np.isfinite(wide)
        norm = float(np.linalg.norm(wide[finite])) or 1e-30
        error = float(np.linalg.norm(y.astype(np.float64)[finite] - wide[finite])) / norm
        worst = max(worst, error)
    return worst


COPY = re.compile(r"^ +\d+ +Copy .*copy to the (GPU|host), (\d+) bytes", re.MULTILINE)


def copies(text: str) -> tuple[int, int, int]:
    """Number of copies in a run, bytes to the GPU and back, from the text of explain()."""
    found = [(where, int(size)) for where, size in COPY.findall(text)]
    moved = {place: sum(n for where, n in found if where == place) for place in ("GPU", "host")}
    return len(found), moved["GPU"], moved["host"]


def measure(case: Case) -> dict[str, Any]:
    """One model on both providers."""
    start = time.perf_counter()
    session = tiercel.InferenceSession(case.path, providers=["CUDAExecutionProvider"])
    loaded = time.perf_counter()
    got = session.run(None, case.feeds)
    ran = time.perf_counter()
    want = tiercel.InferenceSession(case.path).run(None, case.feeds)
    nodes = session._sess.nodes()
    host = Counter((node[1], node[4]) for node in nodes if node[3].startswith("CPU"))
    number, given, taken = copies(session.explain())
    return {
        "gpu": sum(node[3].startswith("CUDA") for node in nodes),
        "host": host.total(),
        "reasons": [[*key, count] for key, count in host.most_common()],
        "copies": number,
        "bytes_in": given,
        "bytes_out": taken,
        "error": relative_error(got, want),
        "load_s": round(loaded - start, 2),
        "run_s": round(ran - loaded, 2),
    }


def times(case: Case) -> dict[str, float]:
    """Median milliseconds of a run with numpy's arrays: on the GPU, as CUDA graphs, on the CPU."""
    runs: dict[str, Any] = {
        "gpu_ms": ("CUDAExecutionProvider", {}),
        "graph_ms": ("CUDAExecutionProvider", {"enable_cuda_graph": "1"}),
        "cpu_ms": "CPUExecutionProvider",
    }
    found = {}
    for name, provider in runs.items():
        session = tiercel.InferenceSession(case.path, providers=[provider])
        found[name] = median_ms(partial(session.run, None, case.feeds))
    return found


def of_model(entry: Mapping[str, Any], side: int, timed: bool) -> dict[str, Any]:
    """What a process of its own does: the inputs, both runs, and their times."""
    small = smaller(entry, side)
    shapes = {spec["name"]: spec["shape"] for spec in small["inputs"]}
    case = of_entry(small, 0)
    return {"inputs": shapes, **measure(case), **(times(case) if timed else {})}


def within(seconds: float, entry: Mapping[str, Any], side: int, timed: bool) -> dict[str, Any]:
    """The result of a model, or ``{"failed": why}``."""
    pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    try:
        return pool.submit(of_model, entry, side, timed).result(seconds)
    except TimeoutError:
        return {"failed": f"more than {seconds:g} s"}
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {str(error).splitlines()[0]}"[:200]}
    finally:
        for process in list((pool._processes or {}).values()):
            process.kill()
        pool.shutdown(wait=True, cancel_futures=True)


def row(name: str, result: Mapping[str, Any]) -> str:
    """A line of the table."""
    if "failed" in result:
        return f"| {name} | {result['failed']} | | | | | | | |"
    shapes = [shape for shape in result["inputs"].values() if len(shape) > 2]
    size = " × ".join(map(str, shapes[0])) if shapes else ""
    error = result["error"] if isinstance(result["error"], str) else f"{result['error']:.1e}"
    kib = (f"{result[key] / 1024:.1f}" for key in ("bytes_in", "bytes_out"))
    fallen = [f"{n} {op}" for op, reason, n in result["reasons"] if "no GPU kernel" in reason]
    cells = [name, size, result["gpu"], result["host"], ", ".join(fallen) or "–"]
    cells += [result["copies"], *kib, error]
    return "| " + " | ".join(map(str, cells)) + " |"


def times_row(name: str, result: Mapping[str, Any]) -> str:
    """A line of the table of times."""
    shapes = [shape for shape in result["inputs"].values() if len(shape) > 2]
    size = " × ".join(map(str, shapes[0])) if shapes else ""
    cells = [f"{result[key]:.2f}" for key in ("gpu_ms", "graph_ms", "cpu_ms")]
    faster = result["cpu_ms"] / min(result["gpu_ms"], result["graph_ms"])
    return "| " + " | ".join([name, size, *cells, f"{faster:.1f}"]) + " |"


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--catalogue", required=True, metavar="FILE.json")
    add("--driver", default="", help="a driver's library instead of libcuda.so.1")
    add("--only", default="", metavar="ID,…")
    add("--without", default="", metavar="TEXT,…", help="leaves out ids with one of these texts")
    add("--side", type=int, default=10000, help="largest height and width, where they are free")
    add("--times", action="store_true", help="measures how long runs take, too")
    add("--limit", type=float, default=300.0, metavar="SECONDS", help="of one model")
    add("--json", default="", metavar="FILE")
    add("--write", default="", metavar="FILE.md", help="a document with the table's place")
    add("--again", action="store_true", help="measures what FILE already has, too")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Gives the exit status: 1 when a model fails."""
    options = arguments(given)
    if options.driver:
        os.environ["TIERCEL_CUDA_DRIVER"] = options.driver
    os.environ.setdefault("TIERCEL_SOFTCUDA_CHECKED", "0")  # the software device: without checks
    file = Path(options.json) if options.json else None
    results = json.loads(file.read_text()) if file and file.is_file() else {}
    only = set(filter(None, options.only.split(",")))
    without = list(filter(None, options.without.split(",")))
    lines = [HEADER]
    print(HEADER)
    chosen = []
    for entry in entries(options.catalogue):
        name = entry["id"]
        if (only and name not in only) or any(text in name for text in without):
            continue
        chosen.append(name)
        if options.again or name not in results:
            results[name] = within(options.limit, entry, options.side, options.times)
            if file:
                file.write_text(json.dumps(results, indent=1) + "\n")
        lines.append(row(name, results[name]))
        print(lines[-1], flush=True)
    timed = [name for name in chosen if "gpu_ms" in results[name]]
    if options.times:
        table = [TIMES_HEADER, *(times_row(name, results[name]) for name in timed)]
        print("\n".join(table))
    if options.write and options.times:
        write_between(options.write, "gpu_times", "\n".join(table))
    elif options.write:
        write_between(options.write, "gpu_models", "\n".join(lines))
    return int(any("failed" in results[name] for name in chosen))


if __name__ == "__main__":
    sys.exit(main())
