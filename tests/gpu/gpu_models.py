"""Small models for the tests of the CUDA provider, and sessions of them on it and on the CPU."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.parser

import tiercel

Array = npt.NDArray[Any]
CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


def model(text: str, **constants: Array) -> onnx.ModelProto:
    """A model from the text of its graph; the constants become initializers."""
    made = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]>\n{text}')
    for name, values in constants.items():
        made.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return made


def gpu_session(
    made: onnx.ModelProto, strict: bool = False, **options: object
) -> tiercel.InferenceSession:
    """A session on the GPU, also of small islands; with `strict`, no node may fall back."""
    session_options = tiercel.SessionOptions()
    session_options.verify_passes = True
    session_options.add_session_config_entry("session.islands_on_host", "0")
    if strict:
        session_options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    provider = (CUDA, {name: str(value) for name, value in options.items()})
    return tiercel.InferenceSession(made.SerializeToString(), session_options, [provider])


def cpu_session(made: onnx.ModelProto) -> tiercel.InferenceSession:
    """A session on the CPU alone."""
    return tiercel.InferenceSession(made.SerializeToString(), providers=[CPU])


def both(
    made: onnx.ModelProto,
    feeds: dict[str, Array],
    strict: bool = True,
    rtol: float = 1e-5,
    atol: float = 1e-5,
) -> tiercel.InferenceSession:
    """The same results from the GPU and the CPU, and the same bits in a second run."""
    session = gpu_session(made, strict)
    first, second = session.run(None, feeds), session.run(None, feeds)
    for got, again, want in zip(first, second, cpu_session(made).run(None, feeds), strict=True):
        assert got.dtype == want.dtype
        assert got.shape == want.shape
        assert got.tobytes() == again.tobytes()
        if want.dtype.kind in "biu":
            np.testing.assert_array_equal(got, want)
        else:
            wide = [array.astype(np.float64) for array in (got, want)]
            np.testing.assert_allclose(*wide, rtol=rtol, atol=atol)
    return session


def steps(session: tiercel.InferenceSession) -> list[tuple[str, str]]:
    """Operator and provider of each step of the plan, from explain()."""
    found = re.findall(
        r'^  (?:\d+ +|once )?([A-Z]\w+) ".*?" +(\w+Provider)', session.explain(), re.M
    )
    return [(op, provider) for op, provider in found]


def normal(*shape: int, seed: int = 0) -> Array:
    """float32 numbers of a normal distribution."""
    return np.random.default_rng(seed).standard_normal(shape, np.float32)
