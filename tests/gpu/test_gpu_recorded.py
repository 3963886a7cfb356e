"""Operators of the CUDA provider in CUDA graphs: what a later run replays is what it should do."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

import softcuda
from gpu_models import cpu_session, gpu_session
from gpu_nodes import element_type, node_model

Array = npt.NDArray[Any]


def numbers(*shape: int) -> Array:
    """The place of an input; each run has its own numbers there."""
    return np.zeros(shape, np.float32)


# Operator, inputs (numbers change from run to run, others are constants), attributes.
CASES: list[tuple[str, dict[str, Array | None], dict[str, Any]]] = [
    ("Transpose", {"x": numbers(3, 40, 33)}, {"perm": [0, 2, 1]}),
    ("Slice", {"x": numbers(9, 8), "a": np.array([1, 7]), "b": np.array([8, 0]),
               "c": np.array([0, 1]), "d": np.array([1, -2])}, {}),
    ("Pad", {"x": numbers(3, 4), "pads": np.array([1, 2, 0, 3])}, {"mode": "edge"}),
    ("Concat", {"x": numbers(3, 5), "z": numbers(3, 7)}, {"axis": 1}),
    ("Gather", {"x": numbers(6, 5), "i": np.array([3, -1, 0])}, {"axis": 0}),
    ("ScatterElements", {"x": numbers(5, 4), "i": np.array([[1, 3, 1, -1]]),
                         "u": numbers(1, 4)}, {"axis": 0}),
    ("ScatterND", {"x": numbers(5, 4), "i": np.array([[1], [1], [0]]), "u": numbers(3, 4)},
     {"reduction": "add"}),
    ("MaxPool", {"x": numbers(1, 2, 8, 8)}, {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    ("Resize", {"x": numbers(1, 2, 5, 6), "roi": None,
                "s": np.array([1, 1, 1.5, 2], np.float32)}, {"mode": "cubic"}),
    ("LSTM", {"x": numbers(4, 2, 3), "w": numbers(1, 20, 3), "r": numbers(1, 20, 5)},
     {"hidden_size": 5}),
    ("GRU", {"x": numbers(4, 2, 3), "w": numbers(1, 15, 3), "r": numbers(1, 15, 5)},
     {"hidden_size": 5, "layout": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("op", "places", "attributes"), CASES, ids=[case[0] for case in CASES])
def test_replayed(
    cuda_driver: softcuda.Device,
    op: str,
    places: dict[str, Array | None],
    attributes: dict[str, Any],
) -> None:
    if op == "GRU":
        places = {**places, "x": numbers(2, 4, 3)}
    constants = {n: a for n, a in places.items() if a is not None and (a.any() or n == "s")}
    kind = element_type(numbers(1))
    made = onnx.load_from_string(node_model(op, places, [kind], constants=constants, **attributes))
    session, cpu = gpu_session(made, True, enable_cuda_graph=1), cpu_session(made)
    before = cuda_driver.statistic("graphs")
    for seed in range(4):
        rng = np.random.default_rng(seed)
        feeds = {
            name: rng.standard_normal(array.shape, np.float32)
            for name, array in places.items()
            if array is not None and name not in constants
        }
        got, want = (one.run(None, feeds)[0] for one in (session, cpu))
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)
    assert cuda_driver.statistic("graphs") - before == 3  # the first run was a plain one
