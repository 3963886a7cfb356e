"""Pad before windows: taken in where the results are the same, also where its numbers follow from
the shapes of other padded tensors.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from models import feeds_of, model, operators, session

TEXT = """agraph (float[2, 3, 12, 13] x) => (float[2, c, h, w] y)
<int64[8] around = {{0, 0, 1, 0, 0, 0, 2, 1}}, int64[4] spatial = {{1, 0, 2, 1}},
 int64[2] axes = {{2, -1}}, int64[8] channels = {{0, 1, 1, 0, 0, 0, 2, 1}},
 int64[8] cut = {{0, 0, -1, 0, 0, 0, 2, 1}}, int64[8] wide = {{0, 0, 3, 0, 0, 0, 2, 1}},
 float one = {{1.0}}, float low = {{0.0}}, float none = {{0.0}},
 float[4, 3, 3, 3] w = {{{numbers}}}, float[4, 4, 3, 3] w4 = {{{more}}}> {{
    {body}
}}"""
CONV = "y = Conv(p, w)"
TAKEN = {
    "conv": f"p = Pad(x, around) {CONV}",
    "axes": f"p = Pad(x, spatial, none, axes) {CONV}",
    "conv with pads": "p = Pad(x, around) y = Conv<pads = [0, 2, 0, 1]>(p, w)",
    "valid": 'p = Pad(x, around) y = Conv<auto_pad = "VALID", strides = [2, 2]>(p, w)',
    "dilated": "p = Pad(x, wide) y = Conv<dilations = [2, 2]>(p, w)",
    "mean": "p = Pad(x, around) y = AveragePool<kernel_shape = [3, 3]>(p)",
    "largest": "p = Pad(x, around, low) y = MaxPool<kernel_shape = [3, 3], strides = [2, 2]>(p)",
}
LEFT = {
    "another value": f"p = Pad(x, around, one) {CONV}",
    "another mode": f'p = Pad<mode = "edge">(x, around) {CONV}',
    "channels": "p = Pad(x, channels) y = Conv(p, w4)",
    "cut": f"p = Pad(x, cut) {CONV}",
    "windows of pads": f"p = Pad(x, wide) {CONV}",
    "same": 'p = Pad(x, around) y = Conv<auto_pad = "SAME_UPPER", strides = [2, 2]>(p, w)',
    "mean of what is there": "p = Pad(x, around) "
    "y = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(p)",
    "rounded up": "p = Pad(x, around) y = AveragePool<kernel_shape = [3, 3], ceil_mode = 1>(p)",
    "largest of zeros": "p = Pad(x, around) y = MaxPool<kernel_shape = [3, 3]>(p)",
    "read by others": "p = Pad(x, around) q = ReduceSum(p) r = Add(p, q) c = Conv(p, w) "
    "s = ReduceSum(r) y = Add(c, s)",
}


def padded(body: str) -> onnx.ModelProto:
    """A model of the body's lines, with constants of random numbers."""
    rng = np.random.default_rng(1)
    numbers, more = (
        ", ".join(f"{v:.4f}" for v in rng.standard_normal(n)) for n in (4 * 3 * 9, 4 * 4 * 9)
    )
    made = model(TEXT.format(numbers=numbers, more=more, body=body.replace(") ", ")\n")))
    for tensor in made.graph.initializer:  # ONNX's text knows no infinity
        if tensor.name == "low":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.float32(-np.inf), "low"))
    return made


@pytest.mark.parametrize("name", [*TAKEN, *LEFT])
def test_pads_are_taken_in(name: str) -> None:
    made = padded({**TAKEN, **LEFT}[name])
    plain, fast = session(made, optimised=False), session(made)
    feeds = feeds_of(made)
    [want], [got] = plain.run(None, feeds), fast.run(None, feeds)
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)
    assert ("Pad" in operators(fast)) == (name in LEFT)


def test_pads_from_shapes_of_padded_tensors() -> None:
    """As exporters write "same" padding: every Pad asks for the shape of what the last one made."""
    step = """
    s{i} = Shape(x{i})
    f{i} = Cast<to = 1>(s{i})
    h{i} = Div(f{i}, two)
    c{i} = Ceil(h{i})
    d{i} = Mul(c{i}, two)
    e{i} = Sub(d{i}, f{i})
    g{i} = Cast<to = 7>(e{i})
    k{i} = Mul(g{i}, last)
    b{i} = Concat<axis = 0>(k{i}, k{i})
    p{i} = Pad(x{i}, b{i})
    x{j} = AveragePool<kernel_shape = [3, 3], strides = [2, 2]>(p{i})"""
    body = "".join(step.format(i=i, j=i + 1) for i in range(5))
    made = model(f"""agraph (float[1, 2, 101, 101] x0) => (float[1, 2, h, w] x5)
<float two = {{2.0}}, int64[4] last = {{0, 0, 1, 1}}> {{{body}
}}""")
    plain, fast = session(made, optimised=False), session(made)
    feeds = feeds_of(made)
    [want], [got] = plain.run(None, feeds), fast.run(None, feeds)
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)
    assert not {"Pad", "Shape", "Cast"} & set(operators(fast))


def test_branches_that_no_run_takes_need_not_fit() -> None:
    """Folded constants of the other branch say that its convolution has an image of rank 1."""
    made = model("""agraph (float[1, 3, 8, 8] x) => (float[1, 3, 8, 8] y)
<float two = {2.0}, int64[1] one = {1}, float[3, 3, 1, 1] w = {9, 8, 7, 6, 5, 4, 3, 2, 1}> {
    s = Shape(x)
    f = Cast<to = 1>(s)
    h = ReduceSum<keepdims = 0>(f)
    c = Greater(h, two)
    y = If (c) <then_branch = g1 () => (float[1, 3, 8, 8] t) { t = Conv(x, w) },
        else_branch = g2 () => (float[1, 3, 8, 8] e) {
            a = Div(two, two)
            b = Cast<to = 7>(a)
            d = Reshape(b, one)
            k = Expand(one, d)
            r = Reshape(x, k)
            e = Conv(r, w)
        }>
}""")
    plain, fast = session(made, optimised=False), session(made)
    feeds = feeds_of(made)
    np.testing.assert_allclose(fast.run(None, feeds)[0], plain.run(None, feeds)[0], rtol=1e-5)
