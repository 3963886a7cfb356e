"""Every backend test case of the ONNX standard passes, or is listed with the reason why not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance_cases import LIST, case_ids, read_list
from conformance_worker import Worker

ROOT = Path(__file__).resolve().parents[2]


CASES = case_ids(ROOT / ".cache")
EXPECTED = read_list()


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.close()


@pytest.mark.parametrize("case_id", CASES)
def test_case(case_id: str, worker: Worker) -> None:
    verdict = worker.run(case_id)
    if case_id in EXPECTED:
        assert verdict, f"passes: remove its line from {LIST.name}"
    else:
        assert not verdict, verdict


def test_list_names_cases_and_reasons() -> None:
    assert set(EXPECTED) <= set(CASES)
    assert all(EXPECTED.values())
