"""Pointwise programs on the GPU: every way of broadcasting and element type, alone and attached."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import softcuda
from gpu_models import CUDA, Array, both, gpu_session, model, normal, steps

TYPES: dict[str, np.dtype] = {
    name: np.dtype(dtype)
    for name, dtype in {
        "float": np.float32,
        "double": np.float64,
        "float16": np.float16,
        "bfloat16": ml_dtypes.bfloat16,
        "int8": np.int8,
        "int64": np.int64,
    }.items()
}
# Extents of the second operand against [3, 5, 37]: equal, one value, rows, columns, and others.
OPERANDS = {
    "dense": (3, 5, 37),
    "scalar": (1,),
    "row": (37,),
    "column": (3, 5, 1),
    "middle": (5, 1),
    "general": (3, 1, 37),
}
SHAPE = (3, 5, 37)


def numbers(name: str, *shape: int, seed: int = 0) -> Array:
    """Small numbers of a type, none of them 0."""
    values = np.random.default_rng(seed).integers(1, 9, shape)
    return np.asarray(values).astype(TYPES[name])


def text_of(shape: tuple[int, ...]) -> str:
    return ",".join(map(str, shape))


@pytest.mark.parametrize("operand", OPERANDS)
@pytest.mark.parametrize("dtype", TYPES)
def test_alone(cuda_driver: softcuda.Device, dtype: str, operand: str) -> None:
    shape = OPERANDS[operand]
    text = f"""g ({dtype}[{text_of(SHAPE)}] x, {dtype}[{text_of(shape)}] b)
        => ({dtype}[{text_of(SHAPE)}] y) {{ p = Add(x, b)  q = Mul(p, b)  y = Sub(q, x) }}"""
    session = both(model(text), {"x": numbers(dtype, *SHAPE), "b": numbers(dtype, *shape, seed=1)})
    assert len([op for op, _ in steps(session) if op != "Copy"]) == 1


@pytest.mark.parametrize("operand", OPERANDS)
def test_booleans(cuda_driver: softcuda.Device, operand: str) -> None:
    shape = OPERANDS[operand]
    text = f"""g (bool[{text_of(SHAPE)}] x, bool[{text_of(shape)}] b, float[{text_of(shape)}] f)
        => (bool[{text_of(SHAPE)}] y, float[{text_of(SHAPE)}] z)
        {{ n = Not(x)  y = Xor(n, b)  m = Neg(f)  z = Where(y, f, m) }}"""
    rng = np.random.default_rng(3)
    feeds = {"x": rng.random(SHAPE) < 0.5, "b": np.asarray(rng.random(shape) < 0.5)}
    both(model(text), {**feeds, "f": numbers("float", *shape)})


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 255, 256, 257, 2047, 2049, 4111])
@pytest.mark.parametrize("dtype", ["float", "float16", "int8", "int64"])
def test_tails(cuda_driver: softcuda.Device, dtype: str, size: int) -> None:
    text = f"g ({dtype}[n] x, {dtype}[n] b) => ({dtype}[n] y) {{ y = Add(x, b) }}"
    both(model(text), {"x": numbers(dtype, size), "b": numbers(dtype, size, seed=1)})


@pytest.mark.parametrize("target", ["float16", "double", "int8", "bool", "int64"])
def test_programs_that_change_the_type(cuda_driver: softcuda.Device, target: str) -> None:
    number = {"float16": 10, "double": 11, "int8": 3, "bool": 9, "int64": 7}[target]
    text = f"""g (float[m,37] x, float[37] b) => ({target}[m,37] y)
        {{ p = Add(x, b)  y = Cast<to = {number}>(p) }}"""
    both(model(text), {"x": normal(11, 37) * 5, "b": normal(37)})


BIASES = {
    "scalar": (1,),
    "row": (21,),
    "column": (19, 1),
    "general": (2, 1, 21),
    "dense": (2, 19, 21),
}


@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("dtype, bound", [("float", 1e-4), ("float16", 2e-2), ("double", 1e-9)])
def test_behind_a_product(
    cuda_driver: softcuda.Device, dtype: str, bound: float, bias: str
) -> None:
    shape = BIASES[bias]
    text = f"""g ({dtype}[2,19,33] x, {dtype}[{text_of(shape)}] b) => ({dtype}[2,19,21] y)
        {{ p = MatMul(x, w)  q = Add(p, b)  y = Relu(q) }}"""
    given = [normal(*s, seed=k).astype(TYPES[dtype]) for k, s in enumerate([(2, 19, 33), shape])]
    made = model(text, w=normal(33, 21, seed=5).astype(TYPES[dtype]))
    both(made, {"x": given[0], "b": np.asarray(given[1])}, rtol=bound, atol=bound)


@pytest.mark.parametrize("target", ["float16", "double", "int8", "bool"])
@pytest.mark.parametrize("operator", ["MatMul(x, w)", "Gather<axis = 1>(x, i)", "ReduceMax(x, a)"])
def test_attached_programs_that_change_the_type(
    cuda_driver: softcuda.Device, operator: str, target: str
) -> None:
    number = {"float16": 10, "double": 11, "int8": 3, "bool": 9}[target]
    text = (
        f"g (float[11,37] x) => ({target}[m,k] y) {{ p = {operator}  y = Cast<to = {number}>(p) }}"
    )
    constants = {"w": normal(37, 9), "i": np.array([3, 1, 36]), "a": np.array([1])}
    used = {name: value for name, value in constants.items() if f" {name})" in operator}
    both(model(text, **used), {"x": normal(11, 37, seed=4)}, rtol=1e-3, atol=1e-3)


def test_attached_programs_of_table_kernels(cuda_driver: softcuda.Device) -> None:
    text = """g (float[n,5,7] x, float[5,1] b) => (float[n,7] r, float[n,7,5] t) {
        e = Exp(x)  r = ReduceSum<keepdims = 0>(e, axes)
        s = Add(x, b)  t = Transpose<perm = [0, 2, 1]>(s) }"""
    made = model(text, axes=np.array([1]))
    session = both(made, {"x": normal(4, 5, 7), "b": normal(5, 1)})
    assert {provider for op, provider in steps(session) if op != "Copy"} == {CUDA}
    before = cuda_driver.statistic("waiting")
    gpu_session(made).run(None, {"x": normal(4, 5, 7), "b": normal(5, 1)})
    assert cuda_driver.statistic("waiting") == before == 0
