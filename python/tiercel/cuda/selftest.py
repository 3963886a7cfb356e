"""Compares a GPU with the CPU, node by node: python -m tiercel.cuda.selftest [--driver PATH].

Prints what differs and how long some operators take, and writes a report. Exit status: 0 when all
agree, 1 when something differs or fails, 2 when it cannot begin (and why).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import os
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tiercel

from . import DeviceInfo, device_info
from .selftest_case import BOUNDS, Array, Case
from .selftest_cases import cases
from .selftest_times import TIMED, time_one

TIME_LIMIT = 400.0  # seconds for one case, with the compilation of its kernels
PROVIDER = "CUDAExecutionProvider"


@dataclass(frozen=True)
class Verdict:
    """What became of a case: same, differs, failed, or refused (the GPU does not claim it)."""

    name: str
    family: str
    outcome: str
    detail: str = ""


def gpu_session(model: bytes, device_id: int) -> tiercel.InferenceSession:
    """A session whose nodes all run on the GPU.

    Raises:
        tiercel.Fail: A node would fall back to the CPU; the message has the reason.
    """
    options = tiercel.SessionOptions()
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    return tiercel.InferenceSession(model, options, [(PROVIDER, {"device_id": device_id})])


def difference(got: Array, want: Array) -> str:
    """How two results differ; empty when they are as near as their type lets them be."""
    if got.dtype != want.dtype or got.shape != want.shape:
        return f"{got.dtype}{got.shape}, expected {want.dtype}{want.shape}"
    bound = {"float32": "f32", "float16": "f16", "bfloat16": "bf16", "float64": "f64"}
    if want.dtype.name not in bound:
        wrong = int((got != want).sum())
        return f"{wrong} of {want.size} values differ" if wrong else ""
    limit = BOUNDS[bound[want.dtype.name]]
    wide, reference = got.astype(np.float64), want.astype(np.float64)
    finite = np.isfinite(reference)
    same = wide[~finite] == reference[~finite]
    if not (same | (np.isnan(wide[~finite]) & np.isnan(reference[~finite]))).all():
        return "infinities or NaNs differ"
    scale = float(np.abs(reference[finite]).max(initial=1e-30))
    error = np.abs(wide[finite] - reference[finite])
    if error.size == 0 or bool((error <= limit * scale).all()):
        return ""
    return f"largest difference {error.max() / scale:.3g} of the largest value; bound {limit}"


def run_case(case: Case, device_id: int) -> Verdict:
    """One case on the GPU, twice, and on the CPU."""
    model, feeds = case.model(), case.feeds()
    try:
        session = gpu_session(model, device_id)
    except tiercel.Fail as error:
        reason = str(error).splitlines()[-1]
        return Verdict(case.name, case.family, "refused", reason)
    first, second = session.run(None, feeds), session.run(None, feeds)
    host = tiercel.InferenceSession(model, providers=["CPUExecutionProvider"])
    for got, again, want in zip(first, second, host.run(None, feeds), strict=True):
        if got.tobytes() != again.tobytes():
            return Verdict(case.name, case.family, "differs", "two runs give different bits")
        if text := difference(got, want):
            return Verdict(case.name, case.family, "differs", text)
    return Verdict(case.name, case.family, "same")


class Worker:
    """A process for the cases; a new one after a crash, a hang or an error of the driver."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    def run(self, case: Case, device_id: int) -> Verdict:
        """The verdict of a case; whatever goes wrong is "failed"."""
        try:
            return self.call(run_case, case, device_id)  # type: ignore[no-any-return]
        except Exception as error:
            if not isinstance(error, tiercel.Error) or "CUDA_ERROR" in str(error):
                self.close()
            text = f"{type(error).__name__}: {error}".strip()
            return Verdict(case.name, case.family, "failed", text)

    def call(self, function: Any, *arguments: Any) -> Any:
        """A function's result from the process."""
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(1, mp_context=context)
        return self._pool.submit(function, *arguments).result(TIME_LIMIT)

    def close(self) -> None:
        """Ends the process, even one that hangs."""
        if self._pool is None:
            return
        for process in list((self._pool._processes or {}).values()):
            process.kill()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool = None


def compare_all(chosen: list[Case], device_id: int, workers: int = 1) -> list[Verdict]:
    """Runs the cases in so many processes, printing what differs or fails."""

    def part(first: int) -> list[Verdict]:
        worker, verdicts = Worker(), []
        for case in chosen[first::workers]:
            verdict = worker.run(case, device_id)
            verdicts.append(verdict)
            if verdict.outcome in ("differs", "failed"):
                print(f"{verdict.outcome:8} {verdict.name}: {verdict.detail}", flush=True)
        worker.close()
        return verdicts

    with ThreadPoolExecutor(workers) as pool:
        parts = list(pool.map(part, range(workers)))
    return [parts[i % workers][i // workers] for i in range(len(chosen))]


def time_all(device_id: int) -> list[dict[str, Any]]:
    """Times of some operators, printed as a table."""
    worker, rows = Worker(), []
    for name in TIMED:
        try:
            row: dict[str, Any] = {"name": name, **worker.call(time_one, name, device_id)}
        except Exception as error:
            worker.close()
            row = {"name": name, "error": f"{type(error).__name__}: {error}"}
        rows.append(row)
        shown = [f"{k} {v:.4g}" if isinstance(v, float) else str(v) for k, v in row.items()]
        print("  ".join(shown), flush=True)
    worker.close()
    return rows


def missing(device_id: int) -> tuple[DeviceInfo | None, str]:
    """The GPU, or what keeps the test from beginning."""
    for module in ("onnx", "ml_dtypes"):
        if importlib.util.find_spec(module) is None:
            return None, f"the models are made with {module}: pip install 'tiercel[onnx]'"
    if PROVIDER not in tiercel.get_available_providers():
        return None, tiercel._core.provider_missing(PROVIDER)
    try:
        return device_info(device_id), ""
    except tiercel.EPFail as error:
        return None, str(error)


def summary(verdicts: list[Verdict]) -> None:
    """Prints counts by family."""
    for family in dict.fromkeys(verdict.family for verdict in verdicts):
        counts = Counter(v.outcome for v in verdicts if v.family == family)
        print(f"{family:14}" + "".join(f" {n} {outcome}" for outcome, n in counts.items()))


def arguments(given: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser("tiercel.cuda.selftest", description=__doc__)
    parser.add_argument("--driver", help="a driver's library instead of libcuda.so.1")
    parser.add_argument("--device", type=int, default=0, help="number of the GPU")
    parser.add_argument("--only", default="", help="cases whose family or name has this text")
    parser.add_argument("--report", type=Path, default=Path("tiercel-cuda-selftest.json"))
    parser.add_argument("--workers", type=int, default=1, help="processes that compare at once")
    parser.add_argument("--no-times", action="store_true", help="compare only")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    """Runs the self-test; gives the exit status."""
    options = arguments(given)
    if options.driver:
        os.environ["TIERCEL_CUDA_DRIVER"] = options.driver
    info, reason = missing(options.device)
    if info is None:
        print(f"the self-test cannot begin: {reason}", file=sys.stderr)
        return 2
    print(f"{info.name}, compute capability {info.compute_capability}, CUDA {info.driver_version}")
    chosen = [case for case in cases() if options.only in f"{case.family} {case.name}"]
    verdicts = compare_all(chosen, options.device, max(1, options.workers))
    summary(verdicts)
    times = [] if options.no_times else time_all(options.device)
    report = {
        "tiercel": tiercel.__version__,
        "device": asdict(info),
        "cases": [asdict(verdict) for verdict in verdicts],
        "times": times,
    }
    options.report.write_text(json.dumps(report, indent=1) + "\n")
    print(f"report: {options.report}")
    bad = [v for v in verdicts if v.outcome in ("differs", "failed")]
    return 1 if bad or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
