"""One run of a one-node model costs at most half of what ONNX Runtime takes for it."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable

import numpy as np
import pytest

import onnx_models as models
import tiercel


def microseconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    for _ in range(2000):
        run()
    return (time.perf_counter() - start) / 2000 * 1e6


@pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime") is None, reason="ONNX Runtime is not installed"
)
def test_one_node_run() -> None:
    import onnxruntime

    data = models.relu().SerializeToString()
    feeds = {"x": np.arange(-2, 2, dtype=np.float32)}
    ours = tiercel.InferenceSession(data)
    theirs = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    times = [
        (microseconds(lambda: ours.run(None, feeds)), microseconds(lambda: theirs.run(None, feeds)))
        for _ in range(15)
    ]
    mine, other = (min(column) for column in zip(*times, strict=True))
    assert mine <= other / 2, f"{mine:.2f} us against {other:.2f} us"
