"""One node on the CUDA provider, which must run all of it, against the same node on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper

import softcuda
import tiercel

Array = npt.NDArray[Any]

FLOATS: dict[str, np.dtype[Any]] = {
    "float": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}
# One rounding of the result, and sums in another order.
TOLERANCE = {"float32": 2e-5, "float64": 1e-12, "float16": 4e-3, "bfloat16": 3e-2}
OPSET = 26


def normal(dtype: str, *shape: int, seed: int = 0) -> Array:
    """Numbers of a normal distribution, of a type of FLOATS."""
    return np.random.default_rng(seed).standard_normal(shape).astype(FLOATS[dtype])


def element_type(array: Array) -> int:
    return int(helper.np_dtype_to_tensor_dtype(array.dtype))


def node_model(
    op: str,
    feeds: Mapping[str, Array | None],
    outputs: Sequence[int],
    *,
    dynamic: bool = False,
    constants: Mapping[str, Array] | None = None,
    **attributes: Any,
) -> bytes:
    """A model of one node.

    Args:
        op: Operator of the ONNX domain.
        feeds: Its inputs by name, in order; None for an absent one, constants among them.
        outputs: Element type of each output, 0 for one that is not wanted.
        dynamic: The first axis of each input is a symbol.
        constants: Those of `feeds` that are initializers.
        attributes: Of the node.
    """
    constants = constants or {}
    names = [name if array is not None else "" for name, array in feeds.items()]
    results = [f"y{i}" if kind else "" for i, kind in enumerate(outputs)]
    inputs = []
    for name, array in feeds.items():
        if array is None or name in constants:
            continue
        shape: list[int | str] = list(array.shape)
        if dynamic and shape:
            shape[0] = "batch" if len(shape) > 1 else f"{name}_length"
        inputs.append(helper.make_tensor_value_info(name, element_type(array), shape))
    graph = helper.make_graph(
        [helper.make_node(op, names, results, **attributes)],
        op,
        inputs,
        [helper.make_tensor_value_info(f"y{i}", k, None) for i, k in enumerate(outputs) if k],
        [
            helper.make_tensor(n, element_type(a), a.shape, a.tobytes(), raw=True)
            for n, a in constants.items()
        ],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=11)
    return bytes(made.SerializeToString())


def gpu_session(model: bytes) -> tiercel.InferenceSession:
    """A session in which no node may fall back to the CPU."""
    options = tiercel.SessionOptions()
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    return tiercel.InferenceSession(model, options, providers=["CUDAExecutionProvider"])


def launches(device: softcuda.Device, run: Callable[[], object]) -> int:
    """How many a call makes."""
    before = device.statistic("launches")
    run()
    return device.statistic("launches") - before


def agree(
    op: str,
    feeds: Mapping[str, Array | None],
    outputs: Sequence[int] = (TensorProto.FLOAT,),
    *,
    kernel: str,
    slack: float = 1,
    **arguments: Any,
) -> list[Array]:
    """Runs the node on both providers; gives what the GPU did.

    Args:
        op: Operator of the ONNX domain.
        feeds: As for `node_model`.
        outputs: As for `node_model`.
        kernel: What explain() must name as the GPU's.
        slack: Times the tolerance.
        arguments: Of `node_model`.
    """
    model = node_model(op, feeds, outputs, **arguments)
    given: dict[str, Array] = {
        name: array
        for name, array in feeds.items()
        if array is not None and name not in (arguments.get("constants") or {})
    }
    session = gpu_session(model)
    got = session.run(None, given)
    assert f"{kernel} cuda" in session.explain(), session.explain()
    again = session.run(None, given)
    want = tiercel.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, given)
    for mine, same, reference in zip(got, again, want, strict=True):
        assert mine.dtype == reference.dtype
        assert mine.shape == reference.shape
        assert mine.tobytes() == same.tobytes()
        if str(mine.dtype) not in TOLERANCE:
            np.testing.assert_array_equal(mine, reference)
            continue
        limit = TOLERANCE[str(mine.dtype)] * slack
        wide, expected = mine.astype(np.float64), reference.astype(np.float64)
        np.testing.assert_allclose(wide, expected, rtol=limit, atol=limit)
    return got
