"""A pytest plugin: every launch of one CUDA source is repeated without each of its waits.

``python -m pytest -p without_waits --waits-of gemm --waits-report FILE tests/gpu/kernels`` runs the
tests that launch kernels of gemm.cu, as long as some place of theirs has not been missed, and
writes how each one was noticed: by the device's checks, by the result alone, or not at all.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import launch
import pytest

import softcuda
from softcuda.waits import Wait, left_out, waits


class Matrix:
    """What is known of each place of a source where threads wait.

    Attributes:
        verdicts: ``checks``, ``result``; ``unnoticed`` after some launches, ``unused`` before.
        messages: What the device said, of those it noticed.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.open: dict[str, list[Wait]] = {}
        self.verdicts: dict[str, str] = {}
        self.messages: dict[str, str] = {}
        self.launches: Counter[Wait] = Counter()
        for wait in waits(launch.ptx(source)):
            self.open.setdefault(wait.kernel, []).append(wait)
            self.verdicts[str(wait)] = "unused"

    def attempt(
        self, wait: Wait, seed: int, start: Callable[[], list[bytes]]
    ) -> list[bytes] | None:
        """The results of a launch without a wait; None when the device notices."""
        device = launch.device()
        try:
            with left_out(device, wait):
                device.set("seed", seed)
                return start()
        except softcuda.DeviceError as error:
            self.verdicts[str(wait)] = "checks"
            self.messages[str(wait)] = error.message
            device.reset()
            return None

    def watch(self, source: str, kernel: str, start: Callable[[], list[bytes]]) -> None:
        """Repeats a launch without each wait that nobody missed so far; skips the test if none."""
        if not self.open:
            pytest.skip("each wait of the source has been missed")
        if source != self.source:
            return
        expected: list[bytes] | None = None
        for wait in list(self.open.get(kernel, ())):
            seed = 3 * (self.launches[wait] % 2)
            self.launches[wait] += 1
            result = self.attempt(wait, seed, start)
            if result is None:
                self.open[kernel].remove(wait)
                continue
            launch.device().set("seed", 0)
            expected = expected or start()
            if result != expected:
                self.verdicts[str(wait)] = "result"
            elif self.verdicts[str(wait)] == "unused":
                self.verdicts[str(wait)] = "unnoticed"
        self.open = {name: left for name, left in self.open.items() if left}


def pytest_addoption(parser: pytest.Parser) -> None:
    """The source, and where to write."""
    parser.addoption("--waits-of", required=True, help="a file of kernels/cuda, without .cu")
    parser.addoption("--waits-report", type=Path, required=True)


def pytest_configure(config: pytest.Config) -> None:
    """Watches the launches."""
    matrix = Matrix(config.getoption("--waits-of"))
    launch.WATCHERS.append(matrix.watch)
    config.stash[KEY] = matrix


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves the tests out whose file does not name the source."""
    name = f'"{config.getoption("--waits-of")}"'
    items[:] = [item for item in items if name in item.path.read_text()]


KEY = pytest.StashKey[Matrix]()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Writes the report."""
    matrix = session.config.stash[KEY]
    report = {"verdicts": matrix.verdicts, "messages": matrix.messages}
    session.config.getoption("--waits-report").write_text(json.dumps(report, indent=1))
