"""LSTM, GRU and RNN on the CUDA provider, against the CPU provider."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from onnx import TensorProto

import softcuda
import tiercel
from gpu_nodes import FLOATS, agree, element_type, gpu_session, node_model

Array = npt.NDArray[Any]
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}


def feeds_of(
    op: str,
    dtype: Any,
    *,
    steps: int = 4,
    batch: int = 3,
    size: int = 6,
    hidden: int = 5,
    direction: str = "forward",
    layout: int = 0,
    given: str = "",
) -> dict[str, Array | None]:
    """Inputs by name; of the optional ones, those whose letter is given: Bias, Lengths, H, C, P."""
    rng = np.random.default_rng(steps + 10 * batch + 100 * hidden)
    n, gates = DIRECTIONS[direction], GATES[op]

    def values(*shape: int) -> Array:
        return (rng.standard_normal(shape) * 0.5).astype(dtype)

    states = (batch, n, hidden) if layout else (n, batch, hidden)
    lengths = np.minimum(np.array([steps, 1, 2] * batch, np.int32)[:batch], steps)
    every: dict[str, Array | None] = {
        "x": values(*((batch, steps, size) if layout else (steps, batch, size))),
        "w": values(n, gates * hidden, size),
        "r": values(n, gates * hidden, hidden),
        "b": values(n, 2 * gates * hidden) if "B" in given else None,
        "lengths": lengths if "L" in given else None,
        "h": values(*states) if "H" in given else None,
    }
    if op == "LSTM":
        every["c"] = values(*states) if "C" in given else None
        every["p"] = values(n, 3 * hidden) if "P" in given else None
    return every


def check(op: str, feeds: dict[str, Array | None], wanted: str = "yhc", **given: Any) -> None:
    """All outputs, or some of them."""
    x, r = feeds["x"], feeds["r"]
    assert x is not None
    assert r is not None
    kind = element_type(x)
    outputs = [kind if letter in wanted else 0 for letter in ("yhc" if op == "LSTM" else "yh")]
    while outputs and outputs[-1] == 0:
        outputs.pop()
    agree(op, feeds, outputs, kernel=op.lower(), slack=4, hidden_size=r.shape[2], **given)


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize("given", ["", "BH", "BLHCP"])
def test_forms(
    cuda_driver: softcuda.Device, op: str, direction: str, layout: int, given: str
) -> None:
    feeds = feeds_of(op, np.float32, direction=direction, layout=layout, given=given)
    check(op, feeds, direction=direction, layout=layout)


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("dtype", [*FLOATS.values(), np.float64])
def test_recurrent_types(cuda_driver: softcuda.Device, op: str, dtype: Any) -> None:
    feeds = feeds_of(op, dtype, direction="bidirectional", given="BLHC")
    check(op, feeds, direction="bidirectional")


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize(
    ("steps", "batch", "size", "hidden"),
    [(1, 1, 1, 1), (3, 1, 33, 40), (2, 9, 20, 33), (3, 70, 16, 70), (5, 2, 100, 130)],
)
def test_extents(
    cuda_driver: softcuda.Device, op: str, steps: int, batch: int, size: int, hidden: int
) -> None:
    feeds = feeds_of(op, np.float32, steps=steps, batch=batch, size=size, hidden=hidden, given="B")
    check(op, feeds, dynamic=False)
    check(op, feeds, wanted="h")


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("wanted", ["y", "h", "c", "yc", "hc"])
def test_outputs(cuda_driver: softcuda.Device, op: str, wanted: str) -> None:
    if op != "LSTM" and wanted.strip("c") in ("", "y", "h") and "c" in wanted:
        return
    for layout in (0, 1):
        check(op, feeds_of(op, np.float32, layout=layout, given="BL"), wanted, layout=layout)


ACTIVATIONS: dict[str, dict[str, list[float]]] = {
    "Affine": {"activation_alpha": [0.7], "activation_beta": [0.1]},
    "Relu": {},
    "LeakyRelu": {"activation_alpha": [0.3]},
    "ThresholdedRelu": {"activation_alpha": [0.2]},
    "Tanh": {},
    "ScaledTanh": {"activation_alpha": [0.8], "activation_beta": [0.9]},
    "Sigmoid": {},
    "HardSigmoid": {"activation_alpha": [0.3], "activation_beta": [0.4]},
    "Elu": {"activation_alpha": [0.9]},
    "Softsign": {},
    "Softplus": {},
}


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("op", GATES)
def test_activations(cuda_driver: softcuda.Device, op: str, name: str) -> None:
    count = {"LSTM": 3, "GRU": 2, "RNN": 1}[op] * 2
    others = ["Tanh", "Relu", "Sigmoid", "Softsign", "Tanh"]
    names = [name, *others[: count - 1]]
    feeds = feeds_of(op, np.float32, direction="bidirectional", given="BH")
    check(op, feeds, direction="bidirectional", activations=names, **ACTIVATIONS[name])


@pytest.mark.parametrize("op", ["LSTM", "GRU"])
@pytest.mark.parametrize("clip", [0.05, 0.6])
@pytest.mark.parametrize("flag", [0, 1])
def test_clip_and_flags(cuda_driver: softcuda.Device, op: str, clip: float, flag: int) -> None:
    name = {"LSTM": "input_forget", "GRU": "linear_before_reset"}[op]
    for direction in DIRECTIONS:
        feeds = feeds_of(op, np.float32, direction=direction, given="BLHCP")
        check(op, feeds, direction=direction, clip=clip, **{name: flag})
        check(op, feeds, direction=direction, **{name: flag})


@pytest.mark.parametrize("op", GATES)
def test_sizes_that_change(cuda_driver: softcuda.Device, op: str) -> None:
    feeds = feeds_of(op, np.float32, given="BH")
    constants = {name: a for name in "wrb" if (a := feeds[name]) is not None}
    kinds = [TensorProto.FLOAT] * 2
    made = node_model(op, feeds, kinds, dynamic=True, constants=constants, hidden_size=5)
    session = gpu_session(made)
    cpu = tiercel.InferenceSession(made, providers=["CPUExecutionProvider"])
    x, h = feeds["x"], feeds["h"]
    assert x is not None
    assert h is not None
    for steps in (1, 4, 0, 2):
        given = {"x": x[:steps], "h": h}
        for got, want in zip(session.run(None, given), cpu.run(None, given), strict=True):
            assert got.shape == want.shape
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("length", [-1, 5])
def test_a_length_outside_of_the_steps(cuda_driver: softcuda.Device, op: str, length: int) -> None:
    feeds = feeds_of(op, np.float32, given="L")
    kinds = [TensorProto.FLOAT] * 2
    made = node_model(op, feeds, kinds, hidden_size=5, name="the_node")
    given = {name: a for name, a in feeds.items() if a is not None}
    given["lengths"][1] = length
    for session in (gpu_session(made), tiercel.InferenceSession(made)):
        with pytest.raises(Exception, match=r"the_node.*an index is out of range"):
            session.run(None, given)


def test_a_value_that_is_no_number(cuda_driver: softcuda.Device) -> None:
    for op in GATES:
        feeds = feeds_of(op, np.float32, given="B")
        assert feeds["x"] is not None
        feeds["x"][1, 1, 0] = np.nan
        check(op, feeds)
