"""The memory planner: every plan is right, and near the lower bound on graphs like real ones."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Block = tuple[int, int, int]  # bytes, first step, last step

BLOCK = st.tuples(st.integers(0, 5000), st.integers(0, 40), st.integers(0, 12)).map(
    lambda block: (block[0], block[1], block[1] + block[2])
)


class Planner:
    """The planner behind a pipe."""

    def __init__(self, driver: Path) -> None:
        self.process = subprocess.Popen(
            [driver, "plan"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, blocks: list[Block]) -> tuple[int, int, str]:
        """Arena bytes, lower bound and the checker's verdict."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(" ".join(f"{b} {f} {e}" for b, f, e in blocks) + "\n")
        self.process.stdin.flush()
        size, bound, verdict = self.process.stdout.readline().strip().split(" ", 2)
        return int(size), int(bound), verdict


@pytest.fixture(scope="module")
def planner(driver: Path) -> Iterator[Planner]:
    made = Planner(driver)
    yield made
    made.process.kill()


def live_sum(blocks: list[Block]) -> int:
    """Largest sum of blocks that live at one step, each a multiple of 64 bytes."""
    steps = {step for _, first, last in blocks for step in (first, last)}
    sums = (sum(-(-b // 64) * 64 for b, f, e in blocks if f <= step <= e) for step in steps)
    return max(sums, default=0)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(blocks=st.lists(BLOCK, max_size=40))
def test_every_plan_is_right(planner: Planner, blocks: list[Block]) -> None:
    size, bound, verdict = planner(blocks)
    assert verdict == "ok"
    assert bound == live_sum(blocks)
    assert bound <= size <= max(2 * bound, 64)


@given(sizes=st.lists(st.integers(1, 10_000), min_size=1, max_size=60))
@settings(max_examples=100, deadline=None)
def test_shrinking_chains_reach_the_bound(planner: Planner, sizes: list[int]) -> None:
    blocks = [(size, step, step + 1) for step, size in enumerate(sorted(sizes, reverse=True))]
    size, bound, verdict = planner(blocks)
    assert verdict == "ok"
    assert size == bound


def test_the_checker_objects(driver: Path) -> None:
    answer = subprocess.run([driver, "wrong-plan"], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "two live blocks share bytes"
