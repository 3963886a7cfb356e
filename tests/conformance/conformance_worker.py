"""Runs cases in a process of its own, so that a crash or a hang is one failure and not the end."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any


def _serve(connection: Connection, load: Callable[[Any], Any] | None) -> None:
    from conformance_cases import run_case

    while (case_id := connection.recv()) is not None:
        try:
            run_case(case_id, load)
            verdict = ""
        except BaseException as error:
            verdict = f"{type(error).__name__}: {error}"
        connection.send(verdict)


class Worker:
    """A process that runs one case after another and is replaced when it dies.

    Args:
        load: Makes a session of a model (bytes or a path); a function of a module on the path.
        seconds: The time that one case may take.
    """

    def __init__(self, load: Callable[[Any], Any] | None = None, seconds: float = 60) -> None:
        self._load, self._seconds = load, seconds
        self._context = multiprocessing.get_context("spawn")
        self._process: Any = None
        self._connection: Any = None

    def _start(self) -> None:
        here, there = self._context.Pipe()
        self._process = self._context.Process(target=_serve, args=(there, self._load), daemon=True)
        self._process.start()
        there.close()
        self._connection = here

    def run(self, case_id: str) -> str:
        """Why the case fails; empty when it passes."""
        if self._process is None:
            self._start()
        try:
            self._connection.send(case_id)
            if self._connection.poll(self._seconds):
                return str(self._connection.recv())
            verdict = f"no result after {self._seconds:.0f} s"
        except (EOFError, OSError):
            self._process.join(5)
            verdict = f"the process died (exit code {self._process.exitcode})"
        self.close()
        return verdict

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.terminate()
            self._process.join()
            self._process = self._connection = None
