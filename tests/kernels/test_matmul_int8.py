"""8-bit matrix products agree with exact integers, over shapes, signs and kinds of zero points."""

from __future__ import annotations

import numpy as np
import pytest

from single_node import agree, check, run

RNG = np.random.default_rng(11)
SHAPES = [(1, 1, 1), (1, 7, 40), (3, 4, 5), (12, 64, 32), (13, 67, 33), (97, 130, 70), (5, 0, 3)]
SHAPES += [(16, 64, 32), (37, 128, 96), (200, 192, 65), (33, 256, 7)]  # whole lines of words
SIGNS = ["uint8", "int8"]


def whole(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    limits = np.iinfo(dtype)
    return RNG.integers(limits.min, limits.max + 1, shape).astype(dtype)


def product(a: np.ndarray, b: np.ndarray, za: np.ndarray | int, zb: np.ndarray | int) -> np.ndarray:
    return np.matmul(a.astype(np.int32) - za, b.astype(np.int32) - zb).astype(np.int32)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("left", SIGNS)
@pytest.mark.parametrize("right", SIGNS)
def test_matmul_integer(shape, left, right):
    m, depth, n = shape
    a, b = whole((m, depth), left), whole((depth, n), right)
    agree(run("MatMulInteger", [a, b]), [product(a, b, 0, 0)])
    za, zb = whole((), left), whole((), right)
    want = product(a, b, za.astype(np.int32), zb.astype(np.int32))
    agree(run("MatMulInteger", [a, b, za, zb]), [want])
    za, zb = whole((m,), left), whole((n,), right)
    want = product(a, b, za.astype(np.int32)[:, None], zb.astype(np.int32))
    agree(run("MatMulInteger", [a, b, za, zb]), [want])


def test_extremes_do_not_saturate():
    a, b = np.full((2, 512), 255, np.uint8), np.full((512, 40), -128, np.int8)
    agree(run("MatMulInteger", [a, b]), [product(a, b, 0, 0)])


@pytest.mark.parametrize(
    ("left", "right"),
    [((2, 3, 5, 8), (3, 8, 9)), ((8,), (4, 8, 3)), ((4, 5, 8), (8,)), ((8,), (8,))],
)
def test_batches_are_broadcast(left, right):
    a, b = whole(left, "uint8"), whole(right, "int8")
    za, zb = whole((), "uint8"), whole((), "int8")
    want = product(a, b, za.astype(np.int32), zb.astype(np.int32))
    agree(run("MatMulInteger", [a, b, za, zb]), [want])


@pytest.mark.parametrize("left", SIGNS)
@pytest.mark.parametrize("right", SIGNS)
@pytest.mark.parametrize("out", SIGNS)
@pytest.mark.parametrize("real", ["float32", "float16"])
def test_qlinear_matmul(left, right, out, real):
    a, b = whole((19, 70), left), whole((70, 45), right)
    sa, sb, sy = (np.array(s, real) for s in (0.02, 0.03, 0.25))
    za, zb, zy = whole((), left), whole((), right), whole((), out)
    got = run("QLinearMatMul", [a, sa, za, b, sb, zb, sy, zy])[0]
    exact = product(a, b, za.astype(np.int32), zb.astype(np.int32))
    factor = float(sa) * float(sb) / float(sy)
    limits = np.iinfo(out)
    want = np.clip(np.rint(exact * factor) + int(zy), limits.min, limits.max)
    assert got.dtype == np.dtype(out)
    assert np.abs(got.astype(int) - want).max() <= 1
    assert (got == want).mean() > 0.99


def test_qlinear_matmul_scales_columns():
    a, b = whole((4, 16), "uint8"), whole((16, 9), "int8")
    sb, zb = RNG.random(9).astype(np.float32) * 0.01, np.zeros(9, np.int8)
    one = np.array(0.05, np.float32)
    zero = np.array(128, np.uint8)
    check("QLinearMatMul", [a, one, zero, b, sb, zb, one, zero])
