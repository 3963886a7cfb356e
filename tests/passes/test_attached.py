"""Pointwise programs in front of and behind softmax and normalisations."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import tiercel
from models import feeds_of, model, operators, session

READERS = {
    "Softmax": "y = Softmax(s)",
    "LogSoftmax": "y = LogSoftmax(s)",
    "LayerNormalization": "y = LayerNormalization(s, w, b)",
    "RMSNormalization": "y = RMSNormalization(s, w)",
}
SHAPES = [[1, 5], [3, 17], [2, 4, 40], [6, 1000], [2, 3, 5000]]


def agree(m: onnx.ModelProto, expected: dict[str, int], tolerance: float = 2e-5) -> None:
    feeds = feeds_of(m)
    fast = session(m)
    assert dict(operators(fast)) == expected
    (want,) = session(m, optimised=False).run(None, feeds)
    (got,) = fast.run(None, feeds)
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


def dims(shape: list[int]) -> str:
    return ", ".join(map(str, shape))


@pytest.mark.parametrize("op", READERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_prologue(op: str, shape: list[int]) -> None:
    row = shape[-1]
    m = model(
        f"""agraph (float[{dims(shape)}] x, float[{row}] z, float[{row}] w, float[{row}] b)
            => (float[{dims(shape)}] y) {{
            a = Mul(x, z)
            s = Tanh(a)
            {READERS[op]}
        }}""",
        23,
    )
    agree(m, {op: 1})


@pytest.mark.parametrize("op", READERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_epilogue(op: str, shape: list[int]) -> None:
    row = shape[-1]
    node = READERS[op].replace("y =", "t =").replace("(s", "(x")
    m = model(
        f"""agraph (float[{dims(shape)}] x, float[{row}] z, float[{row}] w, float[{row}] b)
            => (float[{dims(shape)}] y) {{
            {node}
            r = Mul(t, z)
            y = Add(r, x)
        }}""",
        23,
    )
    agree(m, {op: 1})


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("dtype", ["float", "double", "float16"])
def test_softmax_along_every_axis_between_programs(axis: int, dtype: str) -> None:
    text = f"""agraph ({dtype}[3, 7, 300] x, {dtype}[300] z) => ({dtype}[3, 7, 300] y) {{
        a = Add(x, z)
        t = Softmax<axis = {axis}>(a)
        y = Sqrt(t)
    }}"""
    agree(model(text), {"Softmax": 1}, 2e-3 if dtype == "float16" else 2e-5)


def test_a_value_that_others_read_is_no_prologue() -> None:
    text = """agraph (float[4, 30] x, float[30] z) => (float[4, 30] y, float[4, 30] a) {
        a = Add(x, z)
        y = Softmax(a)
    }"""
    assert operators(session(model(text)))["Add"] == 1


def test_kernels_without_prologue_get_their_input_computed() -> None:
    text = """agraph (bfloat16[4, 30] x, bfloat16[30] z, bfloat16[30] w) => (bfloat16[4, 30] y) {
        a = Add(x, z)
        t = LayerNormalization(a, w)
        y = Relu(t)
    }"""
    m = model(text)
    feeds = {
        name: tiercel.OrtValue.ortvalue_from_numpy(value) for name, value in feeds_of(m).items()
    }
    fast, plain = session(m), session(m, optimised=False)
    assert dict(operators(fast)) == {"LayerNormalization": 1}
    got, want = (s.run_with_ort_values(None, feeds)[0].numpy() for s in (fast, plain))
    np.testing.assert_allclose(got.astype(float), want.astype(float), rtol=0.02, atol=0.02)


def test_a_kernel_chosen_at_run_time_may_lack_the_epilogue() -> None:
    text = """agraph (float["n", 12] x, float["k"] w) => (float["n", 12] y) {
        t = LayerNormalization<axis = -1>(x, w)
        y = Relu(t)
    }"""
    m = model(text)
    rng = np.random.default_rng(0)
    for k in (12, 1):
        feeds = {"x": rng.standard_normal((5, 12)), "w": rng.standard_normal(k)}
        feeds = {name: value.astype(np.float32) for name, value in feeds.items()}
        want = session(m, optimised=False).run(None, feeds)[0]
        np.testing.assert_allclose(session(m).run(None, feeds)[0], want, rtol=2e-5, atol=2e-5)


def test_programs_do_not_depend_on_the_number_of_threads() -> None:
    text = """agraph (float[64, 700] x, float[700] z) => (float[64, 700] y) {
        a = Mul(x, z)
        t = Softmax(a)
        y = Mul(t, x)
    }"""
    m = model(text)
    results = []
    for threads in (1, 2, 3):
        options = tiercel.SessionOptions()
        options.intra_op_num_threads = threads
        s = tiercel.InferenceSession(m.SerializeToString(), options)
        results.append(s.run(None, feeds_of(m))[0])
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


REDUCTIONS = ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceSumSquare"]


@pytest.mark.parametrize("op", REDUCTIONS)
@pytest.mark.parametrize("axes", [[0], [1], [2], [1, 2], [0, 1], [0, 1, 2]])
@pytest.mark.parametrize("shape", [[2, 3, 5], [3, 40, 33], [2, 2000, 3], [2, 9, 5000]])
def test_reductions_between_programs(op: str, axes: list[int], shape: list[int]) -> None:
    kept = [1 if axis in axes else n for axis, n in enumerate(shape)]
    m = model(
        f"""agraph (float[{dims(shape)}] x, float[{shape[2]}] z, float[{dims(kept)}] w)
            => (float[{dims(kept)}] y) <int64[{len(axes)}] axes = {{{dims(axes)}}}> {{
            a = Mul(x, z)
            s = Tanh(a)
            t = {op}(s, axes)
            r = Add(t, w)
            y = Sigmoid(r)
        }}""",
        18,
    )
    agree(m, {op: 1})


@pytest.mark.parametrize("op", ["InstanceNormalization", "GroupNormalization"])
@pytest.mark.parametrize("dtype", ["float", "double", "float16"])
@pytest.mark.parametrize("shape", [[2, 4, 5], [1, 6, 9, 11], [3, 2, 70, 33]])
def test_channel_normalisation_between_programs(op: str, dtype: str, shape: list[int]) -> None:
    groups = "<num_groups = 2>" if op == "GroupNormalization" else ""
    text = f"""agraph ({dtype}[{dims(shape)}] x, {dtype}[{shape[-1]}] z, {dtype}[{shape[1]}] w,
                       {dtype}[{shape[1]}] b) => ({dtype}[{dims(shape)}] y) {{
        a = Add(x, z)
        s = Tanh(a)
        t = {op}{groups}(s, w, b)
        y = Relu(t)
    }}"""
    agree(model(text, 21), {op: 1}, 1e-2 if dtype == "float16" else 2e-5)


@pytest.mark.parametrize("op", REDUCTIONS[2:4])
def test_reductions_of_parts_keep_nan_and_infinity(op: str) -> None:
    text = f"""agraph (float[3, 9000] x, float[9000] z) => (float[3] y)
        <int64[1] axes = {{1}}> {{
        a = Add(x, z)
        y = {op}<keepdims = 0>(a, axes)
    }}"""
    m = model(text, 18)
    x = np.random.default_rng(1).standard_normal((3, 9000)).astype(np.float32)
    x[0, 10], x[1, 8000], x[2, 5000], x[2, 5001] = np.nan, np.nan, np.inf, -np.inf
    feeds = {"x": x, "z": np.zeros(9000, np.float32)}
    (got,) = session(m).run(None, feeds)
    want = x.max(1) if op == "ReduceMax" else x.min(1)
    np.testing.assert_array_equal(got, want)


def test_a_node_with_programs_is_folded_with_what_they_capture() -> None:
    """The shape of x, and all that is computed from it, is constant in a plan."""
    text = """agraph (float[N, 2] x, float[1] c) => (float[M] y, float[K, 1, 1, 1] z)
        <float half = {0.5}, float[2] b = {1.0, 2.0}, float[1, 1, 3, 3] w = {1,2,3,4,5,6,7,8,9},
         float[1, 1] one = {1.0}, int64[4] four = {-1, 1, 1, 1}> {
        s = Shape(x)
        f = Cast<to = 1>(s)
        h = Mul(f, half)
        a = Add(h, b)
        y = LogSoftmax<axis = -1>(a)
        e = Expand(one, s)
        i = Reshape(e, four)
        v = Conv<pads = [1, 1, 1, 1]>(i, w)
        z = Add(i, v)
    }"""
    m = model(text)
    feeds = {"x": np.zeros((3, 2), np.float32), "c": np.zeros(1, np.float32)}
    fast, plain = (session(m, optimised=o).run(None, feeds) for o in (True, False))
    for got, want in zip(fast, plain, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6)
