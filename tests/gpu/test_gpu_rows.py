"""Softmax and normalizations of rows on the CUDA provider, against the CPU provider."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

import softcuda
from gpu_nodes import FLOATS, agree, element_type, gpu_session, node_model, normal

# Lines that warps hold, lines that blocks hold, and longer ones; along the last axis and others.
LINES = [
    ((7, 13), -1),
    ((2, 3, 64), 2),
    ((1, 1025), 1),
    ((2, 9000), -1),
    ((3, 5, 6), 1),
    ((4, 3, 40), 0),
    ((2, 2000, 33), 1),
    ((5,), 0),
    ((), -1),
]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize(("shape", "axis"), LINES)
def test_softmax(
    cuda_driver: softcuda.Device, op: str, dtype: str, shape: tuple[int, ...], axis: int
) -> None:
    x = np.asarray(normal(dtype, *shape) * FLOATS[dtype].type(3))
    agree(op, {"x": x}, [element_type(x)], kernel="softmax", slack=4, axis=axis)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("n", [9, 1500, 9000])
def test_softmax_of_rare_values(cuda_driver: softcuda.Device, op: str, axis: int, n: int) -> None:
    x = normal("float", 5, n)
    x[0, 3], x[1, 2], x[2, 1], x[3, :], x[4, 0] = np.nan, np.inf, -np.inf, -np.inf, 1e30
    if axis == 0:
        x = np.ascontiguousarray(x.T)
    with np.errstate(all="ignore"):
        agree(op, {"x": x}, kernel="softmax", axis=axis)


@pytest.mark.parametrize("op", ["Softmax", "LayerNormalization", "InstanceNormalization"])
def test_any_batch(cuda_driver: softcuda.Device, op: str) -> None:
    x, scale = normal("float", 3, 6, 40), normal("float", 40)
    feeds = {
        "Softmax": {"x": x},
        "LayerNormalization": {"x": x, "scale": scale},
        "InstanceNormalization": {"x": x, "scale": scale[:6], "bias": scale[6:12]},
    }[op]
    constants = {name: array for name, array in feeds.items() if name != "x"}
    model = node_model(op, feeds, [TensorProto.FLOAT], dynamic=True, constants=constants)
    session = gpu_session(model)
    for batch in (1, 3, 0, 2):
        (y,) = session.run(None, {"x": x[:batch]})
        assert y.shape == (batch, 6, 40)
    kernel = {"Softmax": "softmax", "LayerNormalization": "norm"}.get(op, "group_norm")
    agree(op, feeds, dynamic=True, constants=constants, kernel=kernel)


# Shape, axis: rows of warps, of blocks, and longer ones; several axes.
ROWS = [((7, 13), -1), ((2, 3, 64), -1), ((3, 1200), 1), ((2, 9000), -1), ((2, 3, 5, 7), 2)]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", ["LayerNormalization", "RMSNormalization"])
@pytest.mark.parametrize(("shape", "axis"), ROWS)
def test_rows(
    cuda_driver: softcuda.Device, op: str, dtype: str, shape: tuple[int, ...], axis: int
) -> None:
    x = normal(dtype, *shape) + FLOATS[dtype].type(2)
    feeds = {"x": x, "scale": normal(dtype, *shape[axis:], seed=1)}
    if op == "LayerNormalization" and shape[0] != 3:
        feeds["bias"] = normal(dtype, *shape[axis:], seed=2)
    agree(op, feeds, [element_type(x)], kernel="norm", slack=4, axis=axis, epsilon=1e-3)


@pytest.mark.parametrize("n", [33, 2000])
@pytest.mark.parametrize("dtype", FLOATS)
def test_statistics(cuda_driver: softcuda.Device, dtype: str, n: int) -> None:
    x = normal(dtype, 4, 5, n)
    x[0, 0, 0] = np.nan
    feeds = {"x": x, "scale": normal(dtype, n, seed=1), "bias": normal(dtype, n, seed=2)}
    outputs = [element_type(x), TensorProto.FLOAT, TensorProto.FLOAT]
    for wanted in (outputs, [outputs[0], 0, outputs[2]], outputs[:2]):
        got = agree("LayerNormalization", feeds, wanted, kernel="norm", slack=4)
        assert len(got) == sum(kind != 0 for kind in wanted)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(2, 6, 7), (1, 6, 5, 9), (3, 6, 64, 33), (2, 6)])
def test_channels(cuda_driver: softcuda.Device, dtype: str, shape: tuple[int, ...]) -> None:
    x, kind = normal(dtype, *shape), [element_type(normal(dtype, 1))]
    feeds = {"x": x, "scale": normal(dtype, 6, seed=1), "bias": normal(dtype, 6, seed=2)}
    # With one item a channel the result is 0 times a large factor: no test of numbers.
    if len(shape) > 2:
        agree("InstanceNormalization", feeds, kind, kernel="group_norm", slack=4, epsilon=1e-3)
    for groups in (1, 2, 3):
        agree("GroupNormalization", feeds, kind, kernel="group_norm", slack=4, num_groups=groups)
    statistics = {"mean": normal(dtype, 6, seed=3), "variance": np.abs(normal(dtype, 6, seed=4))}
    every = {**feeds, **statistics}
    agree("BatchNormalization", every, kind, kernel="batch_norm", slack=4, epsilon=1e-2)


def test_what_runs_by_the_kernel_table(cuda_driver: softcuda.Device) -> None:
    x, kind = normal("float", 4, 3, 8), [TensorProto.FLOAT]
    scale = normal("float", 8)  # repeats: not one for each item that is normalised
    agree("LayerNormalization", {"x": x, "scale": scale}, kind, kernel="generic", axis=1)
    wide, kind = x.astype(np.float64), [TensorProto.DOUBLE]
    channels = {"scale": scale[:3].astype(np.float64), "bias": scale[3:6].astype(np.float64)}
    agree("Softmax", {"x": wide}, kind, kernel="generic", axis=1)
    agree("LogSoftmax", {"x": wide}, kind, kernel="generic")
    agree("InstanceNormalization", {"x": wide, **channels}, kind, kernel="generic")
    agree("GroupNormalization", {"x": wide, **channels}, kind, kernel="generic", num_groups=3)
    feeds = {"x": wide, "scale": scale.astype(np.float64)}
    agree("RMSNormalization", feeds, kind, kernel="rows")
