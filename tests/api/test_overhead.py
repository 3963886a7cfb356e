"""One run of a one-node model costs at most half of what ONNX Runtime takes for it."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

import onnx_models as models
import tiercel

BATCH = 200  # about a millisecond: short enough to fall between two turns of a busy machine
ROUNDS = 60


def microseconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    for _ in range(BATCH):
        run()
    return (time.perf_counter() - start) / BATCH * 1e6


def test_one_node_run() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    data = models.relu().SerializeToString()
    feeds = {"x": np.arange(-2, 2, dtype=np.float32)}
    ours = tiercel.InferenceSession(data)
    theirs = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    runs = [lambda: ours.run(None, feeds), lambda: theirs.run(None, feeds)]
    best = [float("inf"), float("inf")]
    for _ in range(ROUNDS):
        for i, run in enumerate(runs):
            best[i] = min(best[i], microseconds(run))
    mine, other = best
    assert mine <= other / 2, f"{mine:.2f} us against {other:.2f} us"
