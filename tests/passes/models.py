"""Small models for the tests of passes, parsed from ONNX's text, run with or without passes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import onnx
import onnx.parser

import tiercel


def model(text: str, opset: int = 20) -> onnx.ModelProto:
    """A model from the text of its graph."""
    return onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : {opset}]>\n{text}')


def session(
    m: onnx.ModelProto, *, optimised: bool = True, disabled: Sequence[str] = ()
) -> tiercel.InferenceSession:
    """A session that verifies the graph after every pass."""
    options = tiercel.SessionOptions()
    options.verify_passes = True
    options.disabled_passes = list(disabled)
    if not optimised:
        options.graph_optimization_level = tiercel.GraphOptimizationLevel.ORT_DISABLE_ALL
    return tiercel.InferenceSession(m.SerializeToString(), options)


def operators(s: tiercel.InferenceSession) -> Counter[str]:
    """How often each operator is in the optimised graph. Plans leave out what costs nothing."""
    text = s.explain()
    return Counter(re.findall(r"^  (?:\d+ +)?([A-Z]\w+) \"", text, re.M))


def feeds_of(m: onnx.ModelProto, seed: int = 0) -> dict[str, np.ndarray]:
    """Normal numbers for every input of static shape."""
    rng = np.random.default_rng(seed)
    constants = {t.name for t in m.graph.initializer}
    feeds = {}
    for info in m.graph.input:
        if info.name in constants:
            continue
        dims = [d.dim_value or 3 for d in info.type.tensor_type.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)
        feeds[info.name] = np.asarray(rng.standard_normal(dims)).astype(dtype)
    return feeds


def check(m: onnx.ModelProto, expected: dict[str, int], tolerance: float = 2e-5) -> None:
    """Optimised, the graph has exactly the expected operators and gives the same results."""
    plain, fast = session(m, optimised=False), session(m)
    feeds = feeds_of(m)
    for want, got in zip(plain.run(None, feeds), fast.run(None, feeds), strict=True):
        assert want.shape == got.shape
        assert want.dtype == got.dtype
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)
    assert dict(operators(fast)) == expected
