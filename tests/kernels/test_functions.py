"""Functions of elements keep a few units in the last place, far from zero and at the edges too."""

import numpy as np
import pytest

from single_node import run

RNG = np.random.default_rng(5)
EDGES = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, np.pi, -np.pi / 2, 1e9, 1.1e9, 3e38]


@pytest.mark.parametrize("op", ["Sin", "Cos"])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3, 1e8, 1e20])
def test_waves(op: str, scale: float) -> None:
    x = (RNG.standard_normal(10_001) * scale).astype(np.float32)
    x = np.concatenate([x, np.array(EDGES, np.float32)])
    [y] = run(op, [x])
    with np.errstate(invalid="ignore"):
        want = getattr(np, op.lower())(x.astype(np.float64))
    np.testing.assert_allclose(y, want, rtol=4e-7, atol=1e-12)
    zero = y[x == 0]
    assert (np.signbit(zero) == (np.signbit(x[x == 0]) if op == "Sin" else False)).all()


@pytest.mark.parametrize("to", ["int8", "uint8", "int16", "uint16", "int32"])
def test_casts_to_small_numbers_saturate_in_32_bits(to: str) -> None:
    x = (RNG.standard_normal(1000) * 300).astype(np.float32)
    x = np.concatenate([x, np.array([0.5, -0.9, 127.9, 2147483520, -2147483648, 0], np.float32)])
    number = {"int8": 3, "uint8": 2, "int16": 5, "uint16": 4, "int32": 6}[to]
    [y] = run("Cast", [x], to=number)
    np.testing.assert_array_equal(y, x.astype(np.int64).astype(to))
    edges = np.array([np.inf, -np.inf, np.nan, 3e9, -3e9], np.float32)
    [y] = run("Cast", [edges], to=6)
    most = 2**31 - 1
    np.testing.assert_array_equal(y, [most, -most - 1, 0, most, -most - 1])


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("axes", [None, [], [1], [0, 2], [-1]])
def test_log_sum_exp(keepdims: int, axes: list[int] | None) -> None:
    x = (RNG.standard_normal((3, 5, 4)) * 40).astype(np.float32)
    x[0], x[1, 2, 3] = -np.inf, np.inf
    inputs = [x] if axes is None else [x, np.array(axes, np.int64)]
    [y] = run("ReduceLogSumExp", inputs, keepdims=keepdims)
    along = tuple(axes or (0, 1, 2))
    with np.errstate(divide="ignore"):
        want = np.log(np.exp(x.astype(np.longdouble)).sum(along, keepdims=bool(keepdims)))
    np.testing.assert_allclose(y, want.astype(np.float64), rtol=1e-5)
    assert y.ndim == (3 if keepdims else 3 - len(axes or [0, 1, 2]))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 20.0])
def test_sigmoid(scale: float) -> None:
    x = (RNG.standard_normal(10_001) * scale).astype(np.float32)
    x = np.concatenate([x, np.array([*EDGES, -86.9, -87.1, -1e3, 17, 90], np.float32)])
    [y] = run("Sigmoid", [x])
    with np.errstate(over="ignore"):
        want = 1 / (1 + np.exp(-x.astype(np.float64)))
    np.testing.assert_allclose(y, want, rtol=4e-7, atol=2e-38)
