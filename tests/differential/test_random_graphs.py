"""Random nodes and graphs over every operator agree with onnx's reference and ONNX Runtime.

TIERCEL_FUZZ_SECONDS says for how long (120), TIERCEL_FUZZ_SEED from where (0): a seed always makes
the same cases. A failure is shrunk by hypothesis and saved; its message says how to run it again.
`survey.py` goes on after a failure and lists all.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import onnx
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from onnx import defs

from chains import chain_verdict, draw_chain
from findings import keep_last, save
from oracle import Case, verdict
from recipes import RECIPES
from single import draw_single

SECONDS = float(os.environ.get("TIERCEL_FUZZ_SECONDS", "120"))
FIRST = int(os.environ.get("TIERCEL_FUZZ_SEED", "0"))
BATCH = 100  # cases of one seed
SHRINKING = 40.0  # seconds
Maker = Callable[[Callable[[int, int], int]], Case]
KINDS: dict[str, tuple[Maker, Callable[[Case], str | None]]] = {
    "nodes": (draw_single, verdict),
    "graphs": (draw_chain, chain_verdict),
}
# Operators without a recipe, and what tests them instead.
ELSEWHERE = {
    **dict.fromkeys(["If", "Loop", "Scan", "SequenceMap"], "tests/runtime/test_control_flow.py"),
    **dict.fromkeys(["Bernoulli", "Multinomial", "RandomNormal"], "tests/ops/test_random.py"),
    **dict.fromkeys(["RandomNormalLike", "RandomUniform"], "tests/ops/test_random.py"),
    "RandomUniformLike": "tests/ops/test_random.py",
    # One-node graphs cannot give these a value to start from.
    **dict.fromkeys(["Optional", "OptionalGetElement", "OptionalHasElement"], "tests/conformance"),
    **dict.fromkeys(["CastMap", "DictVectorizer", "ZipMap"], "tests/api/test_values.py"),
    # What they compute is a format of its own.
    **dict.fromkeys(["ImageDecoder", "FlexAttention", "Gradient"], "tests/conformance"),
    **dict.fromkeys(["TreeEnsemble", "SVMClassifier"], "tests/conformance"),
}


def test_every_operator_has_a_recipe() -> None:
    standard = {(s.domain, s.name) for s in defs.get_all_schemas()}
    assert {name for _, name in standard - set(RECIPES)} == set(ELSEWHERE)


class Search:
    """Cases of one kind until a deadline; after a failure, for some time, smaller ones."""

    def __init__(self, kind: str, deadline: float) -> None:
        self.kind, self.deadline = kind, deadline
        self.make, self.judge = KINDS[kind]
        self.known: dict[bytes, str] = {}

    def check(self, case: Case) -> None:
        model = case.model.SerializeToString(deterministic=True)
        if time.monotonic() > self.deadline:
            text = self.known.get(model)
        else:
            keep_last(case, f"last-{self.kind}")
            text = self.judge(case)
        if not text:
            return
        if not self.known:
            self.deadline = time.monotonic() + SHRINKING
        self.known[model] = text
        folder = save(case, text)
        again = f"python tests/differential/replay.py {folder}"
        pytest.fail(f"{case.label}: {text}\n{onnx.printer.to_text(case.model)}\n{again}")

    def batch(self, number: int) -> None:
        @st.composite
        def cases(draw: Any) -> Case:
            return self.make(lambda low, high: int(draw(st.integers(low, high))))

        @seed(number)
        @settings(
            max_examples=BATCH,
            database=None,
            deadline=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(cases())
        def holds(case: Case) -> None:
            self.check(case)

        holds()


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(KINDS))
def test_random_cases_agree(kind: str) -> None:
    search = Search(kind, time.monotonic() + SECONDS / len(KINDS))
    number = FIRST
    while time.monotonic() < search.deadline:
        search.batch(number)
        number += 1
