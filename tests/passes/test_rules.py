"""Each rule turns what frameworks export into one operator, and changes no result."""

from __future__ import annotations

import pytest

from models import check, model

UNARY = "agraph (float[2, 33] x) => (float[2, 33] y) {{\n{}\n}}"

GELU_ERF = {
    "product last": "h = Div(x, c) e = Erf(h) p = Add(e, one) m = Mul(x, p) y = Mul(m, half)",
    "half first": "h = Div(x, c) e = Erf(h) p = Add(e, one) m = Mul(x, half) y = Mul(m, p)",
    "half inside": "h = Div(x, c) e = Erf(h) p = Add(one, e) m = Mul(p, half) y = Mul(x, m)",
    "times": "h = Mul(r, x) e = Erf(h) p = Add(one, e) m = Mul(half, x) y = Mul(p, m)",
}
CONSTANTS = """c = Constant<value_float: float = 1.41421356>()
r = Constant<value_float: float = 0.70710678>()
one = Constant<value_float: float = 1.0>()
half = Constant<value_float: float = 0.5>()
two = Constant<value_float: float = 2.0>()
three = Constant<value_float: float = 3.0>()
six = Constant<value_float: float = 6.0>()
zero = Constant<value_float: float = 0.0>()
k = Constant<value_float: float = 0.044715>()
s = Constant<value_float: float = 0.79788456>()
"""


def lines(text: str) -> str:
    """One assignment per line."""
    return CONSTANTS + text.replace(") ", ")\n")


@pytest.mark.parametrize("order", GELU_ERF)
def test_gelu_erf(order: str) -> None:
    check(model(UNARY.format(lines(GELU_ERF[order]))), {"Gelu": 1})


@pytest.mark.parametrize("cube", ["q = Pow(x, three)", "a = Mul(x, x) q = Mul(a, x)"])
def test_gelu_tanh(cube: str) -> None:
    text = (
        f"{cube} b = Mul(q, k) d = Add(x, b) t = Mul(d, s) e = Tanh(t) p = Add(e, one) "
        "m = Mul(x, half) y = Mul(m, p)"
    )
    check(model(UNARY.format(lines(text))), {"Gelu": 1})


def test_mish() -> None:
    text = "a = Softplus(x) b = Tanh(a) y = Mul(b, x)"
    check(model(UNARY.format(lines(text))), {"Mish": 1})


def test_hard_swish() -> None:
    text = "a = Add(x, three) b = Clip(a, zero, six) d = Mul(x, b) y = Div(d, six)"
    check(model(UNARY.format(lines(text))), {"HardSwish": 1})


def test_shared_inner_value_is_not_fused() -> None:
    text = """agraph (float[2, 33] x) => (float[2, 33] y, float[2, 33] b) {
        a = Softplus(x)
        b = Tanh(a)
        y = Mul(b, x)
    }"""
    check(model(text), {"Pointwise": 1, "Mul": 1})


NORM = """agraph (float[2, 5, 24] x) => (float[2, 5, 24] y)
<float[24] w = {%s}, float[24] b = {%s}, int64[1] axes = {-1}> {
e = Constant<value_float: float = 0.00001>()
two = Constant<value_float: float = 2.0>()
%s
}"""
WEIGHTS = (", ".join(f"{0.5 + i / 9:.3f}" for i in range(24)), ", ".join(["0.25"] * 24))


@pytest.mark.parametrize("square", ["q = Pow(d, two)", "q = Mul(d, d)"])
@pytest.mark.parametrize("over", ["n = Div(d, r)", "i = Reciprocal(r)\nn = Mul(d, i)"])
def test_layer_norm(square: str, over: str) -> None:
    body = f"""m = ReduceMean(x, axes)
d = Sub(x, m)
{square}
v = ReduceMean(q, axes)
a = Add(v, e)
r = Sqrt(a)
{over}
z = Mul(n, w)
y = Add(z, b)"""
    check(model(NORM % (*WEIGHTS, body)), {"LayerNormalization": 1}, 1e-4)


def test_rms_norm() -> None:
    body = """q = Mul(x, x)
v = ReduceMean(q, axes)
a = Add(v, e)
r = Sqrt(a)
n = Div(x, r)
y = Mul(n, w)"""
    check(model(NORM % (*WEIGHTS, body), 23), {"RMSNormalization": 1}, 1e-4)


ATTENTION = """agraph (float[2, 3, 7, 16] q, float[2, 3, 9, 16] k, float[2, 3, 9, 16] v,
float[2, 1, 7, 9] m) => (float[2, 3, 7, 16] y) {
s = Constant<value_float: float = 0.25>()
d = Constant<value_float: float = 4.0>()
t = Transpose<perm = [0, 1, 3, 2]>(k)
%s
p = Softmax<axis = -1>(a)
y = MatMul(p, v)
}"""


@pytest.mark.parametrize(
    "scores",
    [
        "g = MatMul(q, t)\nh = Mul(g, s)\na = Add(h, m)",
        "g = MatMul(q, t)\nh = Div(g, d)\na = Add(m, h)",
        "h = Mul(q, s)\ng = MatMul(h, t)\na = Add(g, m)",
        "g = MatMul(q, t)\na = Mul(g, s)",
    ],
)
def test_attention(scores: str) -> None:
    check(model(ATTENTION % scores), {"Attention": 1})


def test_attention_takes_in_the_transposes_of_heads() -> None:
    text = """agraph (float[2, 7, 48] a, float[2, 9, 48] b, float[2, 9, 48] c)
    => (float[2, 7, 48] y)
    <int64[4] split = {0, 0, 3, 16}, int64[3] join = {0, 0, 48}> {
        s = Constant<value_float: float = 0.25>()
        a4 = Reshape(a, split)
        b4 = Reshape(b, split)
        c4 = Reshape(c, split)
        q = Transpose<perm = [0, 2, 1, 3]>(a4)
        t = Transpose<perm = [0, 2, 3, 1]>(b4)
        v = Transpose<perm = [0, 2, 1, 3]>(c4)
        g = MatMul(q, t)
        h = Mul(g, s)
        p = Softmax<axis = -1>(h)
        o = MatMul(p, v)
        r = Transpose<perm = [0, 2, 1, 3]>(o)
        y = Reshape(r, join)
    }"""
    check(model(text), {"Attention": 1})


NORMALISED = """agraph (float[2, 3, 8, 8] x) => (float[2, 4, %d, %d] y)
<float[4] g = {1, 2, 3, 4}, float[4] h = {0, 1, 0, 2}, float[4] m = {0.5, 0, 1, 0},
float[4] v = {1, 4, 9, 1}, %s> {
c = %s
y = BatchNormalization(c, g, h, m, v)
}"""


def test_batch_norm_goes_into_conv() -> None:
    weights = "float[4, 3, 1, 1] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}"
    check(model(NORMALISED % (8, 8, weights, "Conv(x, w)")), {"Conv": 1}, 1e-4)


def test_batch_norm_goes_into_transposed_conv() -> None:
    weights = "float[3, 4, 1, 1] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}"
    text = NORMALISED % (8, 8, weights, "ConvTranspose(x, w)")
    check(model(text), {"ConvTranspose": 1}, 1e-4)


def test_batch_norm_alone_is_a_pointwise_program() -> None:
    text = """agraph (float[2, 4, 5] x) => (float[2, 4, 5] y)
    <float[4] g = {1, 2, 3, 4}, float[4] h = {0, 1, 0, 2}, float[4] m = {0.5, 0, 1, 0},
    float[4] v = {1, 4, 9, 1}> {
        n = BatchNormalization(x, g, h, m, v)
        y = Relu(n)
    }"""
    check(model(text), {"Pointwise": 1})


def test_gemm_takes_a_bias_per_column() -> None:
    text = """agraph (float[5, 3] x) => (float[5, 2] y)
    <float[3, 2] w = {1, 2, 3, 4, 5, 6}, float[2] b = {1, -1}> {
        g = Gemm(x, w)
        y = Add(g, b)
    }"""
    check(model(text), {"Gemm": 1})
