"""Nodes that do nothing go away, chains become one node, and what is known is not computed."""

from __future__ import annotations

import numpy as np
import pytest

from models import check, feeds_of, model, operators, session

NOTHING = {
    "identity": "a = Identity(x) y = Relu(a)",
    "cast to the same type": "a = Cast<to = 1>(x) y = Relu(a)",
    "times one": "o = Constant<value_float: float = 1.0>() a = Mul(o, x) y = Relu(a)",
    "over one": "o = Constant<value_float: float = 1.0>() a = Div(x, o) y = Relu(a)",
    "minus zero": "o = Constant<value_float: float = 0.0>() a = Sub(x, o) y = Relu(a)",
    "concat of one": "a = Concat<axis = 0>(x) y = Relu(a)",
    "sum of one": "a = Sum(x) y = Relu(a)",
    "transpose twice": "a = Transpose(x) b = Transpose(a) y = Relu(b)",
    "expand to the same": "s = Shape(x) a = Expand(x, s) y = Relu(a)",
    "reshape to the same": "s = Shape(x) a = Reshape(x, s) y = Relu(a)",
    "squeeze and unsqueeze": (
        "i = Constant<value_ints = [0]>() a = Unsqueeze(x, i) b = Squeeze(a, i) y = Relu(b)"
    ),
    "slice of everything": (
        "i = Constant<value_ints = [0]>() j = Constant<value_ints = [9223372036854775807]>() "
        "a = Slice(x, i, j, i) y = Relu(a)"
    ),
    "pad of nothing": "p = Constant<value_ints = [0, 0, 0, 0]>() a = Pad(x, p) y = Relu(a)",
}


@pytest.mark.parametrize("what", NOTHING)
@pytest.mark.parametrize("rows", ["4", "rows"])
def test_nothing_to_do(what: str, rows: str) -> None:
    body = NOTHING[what].replace(") ", ")\n")
    text = f"agraph (float[{rows}, 3] x) => (float[{rows}, 3] y) {{\n{body}\n}}"
    check(model(text), {"Relu": 1})


def test_dropout_goes() -> None:
    s = session(model("agraph (float[4] x) => (float[4] y) {\na = Dropout(x)\ny = Relu(a)\n}"))
    assert dict(operators(s)) == {"Relu": 1}


def test_graph_outputs_keep_their_names() -> None:
    text = """agraph (float[4] x) => (float[4] y, float[4] z, float[4] x2) {
        y = Relu(x)
        z = Identity(y)
        x2 = Identity(x)
    }"""
    s = session(model(text))
    assert [o.name for o in s.get_outputs()] == ["y", "z", "x2"]
    x = np.array([-1, 2, -3, 4], np.float32)
    y, z, x2 = s.run(None, {"x": x})
    np.testing.assert_array_equal(y, np.maximum(x, 0))
    np.testing.assert_array_equal(z, y)
    np.testing.assert_array_equal(x2, x)


def test_adding_zero_keeps_the_sign_of_zero() -> None:
    text = """agraph (float[2] x) => (float[2] y) {
        o = Constant<value_float: float = 0.0>()
        y = Add(x, o)
    }"""
    s = session(model(text))
    (y,) = s.run(None, {"x": np.array([-0.0, 1.0], np.float32)})
    assert not np.signbit(y[0])


def test_shape_arithmetic_becomes_a_constant_shape() -> None:
    text = """agraph (float[batch, length, 48] x) => (float[batch, length, 3, 16] y) {
        s = Shape(x)
        zero = Constant<value_int: int = 0>()
        one = Constant<value_int: int = 1>()
        axes = Constant<value_ints = [0]>()
        rest = Constant<value_ints = [3, 16]>()
        b = Gather<axis = 0>(s, zero)
        l = Gather<axis = 0>(s, one)
        b1 = Unsqueeze(b, axes)
        l1 = Unsqueeze(l, axes)
        t = Concat<axis = 0>(b1, l1, rest)
        y = Reshape(x, t)
    }"""
    s = session(model(text))
    assert dict(operators(s)) == {"Reshape": 1}
    x = np.arange(2 * 5 * 48, dtype=np.float32).reshape(2, 5, 48)
    (y,) = s.run(None, {"x": x})
    np.testing.assert_array_equal(y, x.reshape(2, 5, 3, 16))


def test_constants_fold() -> None:
    text = """agraph (float[3] x) => (float[3] y) <float[3] a = {1, 2, 3}, float[3] b = {4, 5, 6}> {
        c = Add(a, b)
        d = Sqrt(c)
        y = Mul(x, d)
    }"""
    check(model(text), {"Mul": 1})


def test_random_numbers_do_not_fold() -> None:
    text = """agraph () => (float[64] y) {
        r = RandomNormal<shape = [64]>()
        y = Relu(r)
    }"""
    s = session(model(text))
    (a,), (b,) = s.run(None, {}), s.run(None, {})
    assert not np.array_equal(a, b)


def test_equal_nodes_are_computed_once() -> None:
    text = """agraph (float[4] x) => (float[4] y) {
        a = Exp(x)
        b = Exp(x)
        y = Sub(a, b)
    }"""
    m = model(text)
    s = session(m, disabled=["fuse-pointwise"])
    assert dict(operators(s)) == {"Exp": 1, "Sub": 1}
    np.testing.assert_array_equal(s.run(None, feeds_of(m))[0], np.zeros(4, np.float32))


def test_unused_nodes_go() -> None:
    text = """agraph (float[4] x) => (float[4] y) {
        a = Exp(x)
        b = Log(a)
        y = Relu(x)
    }"""
    check(model(text), {"Relu": 1})


def test_a_disabled_pass_does_not_run() -> None:
    m = model("agraph (float[4] x) => (float[4] y) {\na = Exp(x)\ny = Neg(a)\n}")
    assert dict(operators(session(m))) == {"Pointwise": 1}
    plain = session(m, disabled=["fuse-pointwise"])
    assert dict(operators(plain)) == {"Exp": 1, "Neg": 1}
    assert "fuse-pointwise" not in plain.explain()


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (0, 0), (2, 3)])
def test_merged_reshapes_admit_empty_tensors(shape: tuple[int, int]) -> None:
    """An extent that a Reshape would copy may be 0, next to which -1 has no solution."""
    text = """agraph (float[A, B] x) => (float[A, 1, B, 1] y) <int64[2] axes = {1, 3}> {
        a = Relu(x)
        y = Unsqueeze(a, axes)
    }"""
    (y,) = session(model(text)).run(None, {"x": np.zeros(shape, np.float32)})
    assert y.shape == (shape[0], 1, shape[1], 1)


def test_the_end_of_a_short_axis() -> None:
    """x[-4:] has no 4 elements where x has 2."""
    text = """agraph (float[N] x) => (float[M] y)
        <int64[1] start = {-4}, int64[1] end = {9999999999}, float[2] c = {1.0, 2.0}> {
        a = Slice(x, start, end)
        y = Add(a, c)
    }"""
    (y,) = session(model(text)).run(None, {"x": np.zeros(2, np.float32)})
    np.testing.assert_array_equal(y, [1, 2])
