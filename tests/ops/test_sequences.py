"""Tensors that go into sequences come out of them joined, stacked and split as numpy does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import helper

import tiercel

RNG = np.random.default_rng(16)


def joined(items: list[NDArray[Any]], axis: int, stack: int) -> list[Any]:
    """ConcatFromSequence of them, and SplitToSequence of that."""
    names = [f"x{i}" for i in range(len(items))]
    element = helper.np_dtype_to_tensor_dtype(items[0].dtype)
    nodes = [
        helper.make_node("SequenceConstruct", names, ["s"]),
        helper.make_node("ConcatFromSequence", ["s"], ["y"], axis=axis, new_axis=stack),
        helper.make_node("SplitToSequence", ["y"], ["z"], axis=axis),
    ]
    given = zip(names, items, strict=True)
    infos = [helper.make_tensor_value_info(n, element, x.shape) for n, x in given]
    results = [
        helper.make_tensor_value_info("y", element, None),
        helper.make_tensor_sequence_value_info("z", element, None),
    ]
    graph = helper.make_graph(nodes, "graph", infos, results)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = tiercel.InferenceSession(model.SerializeToString())
    return session.run(None, dict(zip(names, items, strict=True)))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "uint8", "str"])
@pytest.mark.parametrize("stack", [0, 1])
@pytest.mark.parametrize("shape", [(3,), (1500, 2), (2, 3, 4), (3, 0)])
def test_join_and_split(dtype, stack, shape):
    rank = len(shape) + stack
    for axis in range(-rank, rank):
        items = []
        for count in (2, 1, 3):
            own = list(shape)
            own[axis % rank if not stack else 0] = shape[0] if stack else count
            x = RNG.integers(0, 99, own)
            items.append(x.astype(str).astype(object) if dtype == "str" else x.astype(dtype))
        want = np.stack(items, axis) if stack else np.concatenate(items, axis)
        y, parts = joined(items, axis, stack)
        assert y.dtype == want.dtype
        np.testing.assert_array_equal(y, want)
        assert len(parts) == want.shape[axis]
        for i, part in enumerate(parts):
            np.testing.assert_array_equal(part, np.take(want, [i], axis))
