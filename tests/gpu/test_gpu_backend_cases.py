"""Every listed backend node case runs on the GPU alone, and gives what the standard says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance_cases import case_ids
from conformance_worker import Worker
from gpu_cases import SECONDS, device_environment, load_on_gpu, read_cases

ROOT = Path(__file__).resolve().parents[2]
CASES = read_cases()


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """A process with the software device; it starts with the first case."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in device_environment().items():
            patch.setenv(name, value)
        worker = Worker(load_on_gpu, SECONDS)
        yield worker
        worker.close()


@pytest.mark.parametrize("case_id", CASES)
def test_case(case_id: str, worker: Worker) -> None:
    verdict = worker.run(case_id)
    assert not verdict, verdict


def test_the_list_names_cases_once() -> None:
    assert sorted(set(CASES)) == CASES
    assert set(CASES) <= set(case_ids(ROOT / ".cache"))
