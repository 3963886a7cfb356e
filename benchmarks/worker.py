"""A process of its own for one engine: loads a model, runs it, tells times and memory."""

from __future__ import annotations

import importlib
import multiprocessing
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import engines
import numpy as np

LOADS = 3


def peak_mib() -> float:
    """Peak of this process' resident memory. (ru_maxrss would start at the parent's.)"""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return round(int(line.split()[1]) / 1024, 1)
    return 0.0


class _Server:
    """What the process can be asked for: the methods without an underscore."""

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._run: Callable[[Any], list[Any]] | None = None
        self._feeds: Any = None

    def load(self, path: str, threads: int) -> dict[str, Any]:
        """Milliseconds of loading, and memory before the first one."""
        importlib.import_module(self._engine)
        before, times = peak_mib(), []
        for _ in range(LOADS):
            self._run = None
            start = time.perf_counter()
            self._run = engines.load(self._engine, path, threads)
            times.append((time.perf_counter() - start) * 1e3)
        return {
            "load_ms": round(statistics.median(times), 3),
            "first_load_ms": round(times[0], 3),
            "before_mib": before,
        }

    def results(self, feeds: Any) -> list[Any]:
        """Outputs for these inputs, which later runs use too; None for what is no tensor."""
        self._feeds = feeds
        assert self._run is not None
        found = self._run(feeds)
        return [None if isinstance(one, list | dict) else np.asarray(one) for one in found]

    def times(self, seconds: float, least: int) -> list[float]:
        """Milliseconds of each run, for so many seconds and at least so many runs."""
        assert self._run is not None
        run, feeds, found = self._run, self._feeds, []
        end = time.perf_counter() + seconds
        while True:
            start = time.perf_counter()
            run(feeds)
            now = time.perf_counter()
            found.append((now - start) * 1e3)
            if now > end and len(found) >= least:
                return found

    def peak(self) -> float:
        """MiB."""
        return peak_mib()


def _serve(engine: str, pipe: Any) -> None:
    server = _Server(engine)
    while (request := pipe.recv()) is not None:
        name, arguments = request
        try:
            answer = True, getattr(server, name)(*arguments)
        except Exception as error:
            answer = False, f"{type(error).__name__}: {error}".replace("\n", " ")[:300]
        pipe.send(answer)


class Worker:
    """The other end: `ask` gives an answer, or raises RuntimeError with the engine's message."""

    def __init__(self, engine: str, patience: float) -> None:
        """`patience`: seconds after which a request is given up."""
        context = multiprocessing.get_context("spawn")
        self._patience = patience
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(engine, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, name: str, *arguments: Any) -> Any:
        """Calls a method of the server."""
        try:
            self._pipe.send((name, arguments))
            if not self._pipe.poll(self._patience):
                self.close()
                raise RuntimeError(f"{name}: no answer within {self._patience:g} s")
            good, answer = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(5)
            raise RuntimeError(f"{name}: the process ended ({self._process.exitcode})") from None
        if not good:
            raise RuntimeError(answer)
        return answer

    def close(self) -> None:
        """Ends the process."""
        try:
            self._pipe.send(None)
            self._process.join(0.5)
        except OSError:
            pass
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
