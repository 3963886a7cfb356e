"""QLinearConv of channels that stand alone: the same bytes as the sums of whole numbers give."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, helper, numpy_helper

import tiercel

RNG = np.random.default_rng(23)


def quantised(
    x: np.ndarray, w: np.ndarray, facts: dict[str, np.ndarray], attributes: dict[str, object]
) -> ModelProto:
    given = [numpy_helper.from_array(np.asarray(v), n) for n, v in [*facts.items(), ("w", w)]]
    names = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", *(["b"] if "b" in facts else [])]
    node = helper.make_node("QLinearConv", names, ["y"], **attributes)
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    ports = [helper.make_tensor_value_info("x", kind, x.shape)]
    out = helper.make_tensor_value_info(
        "y", helper.np_dtype_to_tensor_dtype(facts["yz"].dtype), None
    )
    graph = helper.make_graph([node], "graph", ports, [out], given)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def expected(
    x: np.ndarray,
    w: np.ndarray,
    facts: dict[str, np.ndarray],
    steps: list[int],
    spreads: list[int],
    pads: list[int],
) -> np.ndarray:
    rank = x.ndim - 2
    wide = x.astype(np.int64) - int(facts["xz"])
    around = [(0, 0), (0, 0), *[(pads[a], pads[a + rank]) for a in range(rank)]]
    wide, outputs = np.pad(wide, around), w.shape[0]
    wide = np.repeat(wide, outputs // x.shape[1], 1)
    shape = [
        (wide.shape[a + 2] - (w.shape[a + 2] - 1) * spreads[a] - 1) // steps[a] + 1
        for a in range(rank)
    ]
    sums = np.zeros((x.shape[0], outputs, *shape), np.int64)
    weights = w.astype(np.int64) - facts["wz"].astype(np.int64).reshape(-1, *[1] * (rank + 1))
    for tap in np.ndindex(*w.shape[2:]):
        at = tuple(
            slice(t * d, t * d + (n - 1) * s + 1, s)
            for t, d, n, s in zip(tap, spreads, shape, steps, strict=True)
        )
        sums += wide[(..., *at)] * weights[(slice(None), 0, *tap)].reshape(-1, *[1] * rank)
    if "b" in facts:
        sums += facts["b"].astype(np.int64).reshape(-1, *[1] * rank)
    scale = facts["xs"] * np.broadcast_to(facts["ws"], (outputs,)) / facts["ys"]
    y = np.rint(sums.astype(np.float32) * scale.astype(np.float32).reshape(-1, *[1] * rank))
    limits = np.iinfo(facts["yz"].dtype)
    return np.clip(y + int(facts["yz"]), limits.min, limits.max).astype(facts["yz"].dtype)


# Images, channels, multiplier, extents, window, steps, dilations, pads.
CASES = [
    (1, 24, 1, (14, 14), (3, 3), [1, 1], [1, 1], [1, 1, 1, 1]),
    (2, 17, 1, (7, 7), (3, 3), [1, 1], [1, 1], [1, 1, 1, 1]),
    (1, 9, 1, (28, 33), (3, 3), [2, 2], [1, 1], [1, 1, 1, 1]),
    (1, 9, 1, (28, 33), (3, 3), [2, 2], [1, 1], [0, 0, 1, 1]),
    (1, 5, 2, (19, 40), (5, 5), [1, 2], [1, 1], [2, 2, 2, 2]),
    (1, 6, 1, (15, 70), (3, 5), [3, 3], [2, 1], [1, 2, 3, 4]),
    (3, 4, 1, (50,), (9,), [1], [1], [4, 4]),
    (1, 8, 1, (6, 5), (6, 5), [1, 1], [1, 1], [0, 0, 0, 0]),
    (1, 3, 3, (1, 1), (3, 3), [1, 1], [1, 1], [1, 1, 1, 1]),
    (1, 33, 1, (7, 7), (5, 5), [1, 1], [1, 1], [2, 2, 2, 2]),
    (2, 20, 1, (14, 14), (3, 3), [2, 2], [1, 1], [1, 1, 1, 1]),
    (1, 18, 1, (4, 4), (3, 3), [1, 1], [2, 2], [2, 2, 2, 2]),
    # Planes of several bands.
    (1, 17, 1, (90, 101), (3, 3), [2, 2], [1, 1], [1, 1, 1, 1]),
    (1, 16, 1, (75, 71), (5, 5), [1, 1], [1, 2], [2, 4, 2, 4]),
    (1, 9, 1, (1500, 3), (3, 3), [1, 1], [1, 1], [1, 1, 1, 1]),
    (1, 8, 1, (3, 1500), (3, 3), [1, 1], [1, 1], [1, 1, 1, 1]),
]


@pytest.mark.parametrize("large_bias", [False, True])
@pytest.mark.parametrize("kinds", [(np.uint8, np.int8), (np.int8, np.int8), (np.uint8, np.uint8)])
@pytest.mark.parametrize("case", CASES)
def test_channels(case: tuple, kinds: tuple[type, type], large_bias: bool) -> None:
    n, channels, times, extents, window, steps, spreads, pads = case
    outputs = channels * times
    info, w_info = np.iinfo(kinds[0]), np.iinfo(kinds[1])
    x = RNG.integers(info.min, info.max + 1, (n, channels, *extents)).astype(kinds[0])
    w = RNG.integers(w_info.min, w_info.max + 1, (outputs, 1, *window)).astype(kinds[1])
    facts = {"xs": np.float32(0.02), "xz": np.asarray(info.max // 3, kinds[0])}
    facts["ws"] = (RNG.random(outputs) * 0.01 + 0.001).astype(np.float32)
    facts["wz"] = RNG.integers(-3, 4, outputs).astype(np.int8).astype(kinds[1])
    facts |= {"ys": np.float32(0.04), "yz": np.asarray(info.max // 2, kinds[0])}
    if large_bias:
        facts["b"] = RNG.integers(-(1 << 30), 1 << 30, outputs).astype(np.int32)
    attributes = {"strides": steps, "dilations": spreads, "pads": pads, "group": channels}
    m = quantised(x, w, facts, attributes)
    want = expected(x, w, facts, steps, spreads, pads)
    for threads in (1, 2):
        options = tiercel.SessionOptions()
        options.intra_op_num_threads = threads
        session = tiercel.InferenceSession(m.SerializeToString(), options)
        assert "depthwise" in session.explain()
        np.testing.assert_array_equal(session.run(None, {"x": x})[0], want)
