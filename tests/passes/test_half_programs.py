"""Pointwise programs of 16-bit floats compute in float32: what stays inside is not rounded, what
leaves is rounded once, and a Cast rounds where it stands.
"""

from __future__ import annotations

import re

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import tiercel
from models import model, operators, session

TYPES = {"float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}
OPERATORS = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Max": np.maximum,
    "Min": np.minimum,
}
FUNCTIONS = {"Neg": np.negative, "Abs": np.abs, "Relu": lambda x: np.maximum(x, 0)}
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-7, 300.0, -300.0, 65504.0]


def run(s: tiercel.InferenceSession, feeds: dict[str, np.ndarray]) -> np.ndarray:
    values = {name: tiercel.OrtValue.ortvalue_from_numpy(x) for name, x in feeds.items()}
    return s.run_with_ort_values(None, values)[0].numpy()


def with_constants(m: onnx.ModelProto, **constants: np.ndarray) -> onnx.ModelProto:
    for name, value in constants.items():
        m.graph.initializer.append(numpy_helper.from_array(value, name))
    return m


def same(got: np.ndarray, want: np.ndarray) -> None:
    """Bit for bit, but for the sign of zero and what a NaN holds."""
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got.astype(np.float64), want.astype(np.float64))


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("name", TYPES)
def test_random_programs(name: str, seed: int) -> None:
    rng, dtype = np.random.default_rng(seed), TYPES[name]
    feeds = {
        "x": rng.standard_normal((5, 300)).astype(dtype),
        "z": rng.standard_normal(300).astype(dtype),
        "w": rng.standard_normal((5, 1)).astype(dtype),
    }
    feeds["x"].reshape(-1)[: len(SPECIAL)] = np.array(SPECIAL).astype(dtype)
    known = {n: v.astype(np.float32) for n, v in feeds.items()}
    known["k"] = np.asarray(rng.standard_normal()).astype(dtype).astype(np.float32)
    text, last = "", "x"
    with np.errstate(all="ignore"):
        for i in range(int(rng.integers(2, 9))):
            if rng.integers(4) == 0:
                op = str(rng.choice(list(FUNCTIONS)))
                made, text = FUNCTIONS[op](known[last]), text + f"v{i} = {op}({last})\n"
            else:
                op, other = str(rng.choice(list(OPERATORS))), str(rng.choice(list(known)))
                made = OPERATORS[op](known[last], known[other])
                text += f"v{i} = {op}({last}, {other})\n"
            last = f"v{i}"
            known[last] = made
        result = np.broadcast_to(known[last], (5, 300)).astype(dtype)
    m = model(
        f"""agraph ({name}[5, 300] x, {name}[300] z, {name}[5, 1] w) => ({name}[5, 300] {last})
            {{ {text} }}"""
    )
    s = session(with_constants(m, k=known["k"].astype(dtype)))
    assert sum(operators(s).values()) == 1
    same(run(s, feeds), result)


@pytest.mark.parametrize("name", TYPES)
def test_a_cast_rounds_where_it_stands(name: str) -> None:
    dtype = TYPES[name]
    number = helper.np_dtype_to_tensor_dtype(dtype)
    m = model(
        f"""agraph (float[700] x, float[700] z) => (float[700] y) {{
        a = Mul(x, z)
        h = Cast<to = {number}>(a)
        f = Cast<to = 1>(h)
        y = Sub(f, x)
        }}"""
    )
    s = session(m)
    assert dict(operators(s)) == {"Pointwise": 1}
    rng = np.random.default_rng(0)
    x, z = (rng.standard_normal(700).astype(np.float32) for _ in range(2))
    same(run(s, {"x": x, "z": z}), (x * z).astype(dtype).astype(np.float32) - x)


READERS = {
    "Div(a, x)": ("float16", lambda x: (x * x / x).astype(np.float16)),
    "Cast<to = 1>(a)": ("float", lambda x: x * x),
    "IsInf(a)": ("bool", lambda x: np.isinf(x)),
}


@pytest.mark.parametrize("reader", READERS)
def test_float16_does_not_overflow_inside(reader: str) -> None:
    kind, want = READERS[reader]
    m = model(f"agraph (float16[9] x) => ({kind}[9] y) {{ a = Mul(x, x)  y = {reader} }}")
    s = session(m)
    assert dict(operators(s)) == {"Pointwise": 1}
    x = np.array(SPECIAL, np.float16)
    with np.errstate(all="ignore"):
        same(run(s, {"x": x}), want(x.astype(np.float32)))


@pytest.mark.parametrize("name", TYPES)
def test_constants_are_converted_once(name: str) -> None:
    m = model(
        f"""agraph ({name}[2000] x) => ({name}[2000] y) {{
        a = Mul(x, k)
        b = Clip(a, k, l)
        y = Add(b, l)
        }}"""
    )
    known = {n: np.asarray(v, TYPES[name]) for n, v in (("k", 0.3), ("l", 7))}
    s = session(with_constants(m, **known))
    x = np.random.default_rng(0).standard_normal(2000).astype(TYPES[name])
    k = known["k"].astype(np.float32)
    want = np.clip(x.astype(np.float32) * k, k, np.float32(7)) + np.float32(7)
    same(run(s, {"x": x}), want.astype(x.dtype))
    # In, three operators, out.
    assert re.findall(r"pointwise program of (\d+)", s.explain()) == ["5"]
