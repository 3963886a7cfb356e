"""Pointwise programs and epilogues agree with node-by-node runs, for any shape and type."""

from __future__ import annotations

import random

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from models import model, operators, session

UNARY = ["Relu", "Neg", "Abs", "Sigmoid", "Tanh", "Exp", "Sqrt", "Floor", "Erf", "Softplus"]
BINARY = ["Add", "Sub", "Mul", "Max", "Min", "Div"]
SHAPES = [
    [],
    [1],
    [5],
    [1023],
    [3, 1, 7],
    [2, 3, 130],
    [4, 1, 1, 257],
    [2, 64, 5, 5],
    [1, 40, 200],
    [2, 3, 4, 5, 6],
]


def broadcast_shape(shape: list[int], rng: random.Random) -> list[int]:
    """A shape that broadcasts to `shape`."""
    made = [1 if rng.random() < 0.5 else d for d in shape]
    return made[rng.randrange(len(made) + 1) :] if rng.random() < 0.3 else made


def random_graph(seed: int, dtype: int) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """A DAG of elementwise nodes over operands that broadcast to one shape."""
    rng = random.Random(seed)
    numbers = np.random.default_rng(seed)
    shape = rng.choice(SHAPES)
    np_dtype = helper.tensor_dtype_to_np_dtype(dtype)
    feeds, infos, values = {}, [], []
    for i in range(rng.randint(1, 4)):
        dims = shape if i == 0 else broadcast_shape(shape, rng)
        feeds[f"x{i}"] = np.asarray(numbers.standard_normal(dims) * 3).astype(np_dtype)
        infos.append(helper.make_tensor_value_info(f"x{i}", dtype, dims))
        values.append(f"x{i}")
    nodes = []
    for i in range(rng.randint(2, 12)):
        real = dtype != TensorProto.INT32
        unary = [op for op in UNARY if real or op in ("Relu", "Neg", "Abs")]
        op = rng.choice(unary) if rng.random() < 0.4 else rng.choice(BINARY)
        operands = [rng.choice(values)] if op in unary else rng.choices(values, k=2)
        nodes.append(helper.make_node(op, operands, [f"v{i}"]))
        values.append(f"v{i}")
    outputs = [helper.make_empty_tensor_value_info(values[-1])]
    if rng.random() < 0.3:
        outputs.append(helper.make_empty_tensor_value_info(f"v{rng.randrange(len(nodes))}"))
    if len(outputs) == 2 and outputs[0].name == outputs[1].name:
        outputs.pop()
    graph = helper.make_graph(nodes, "random", infos, outputs)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return made, feeds


@pytest.mark.parametrize("dtype", ["FLOAT", "DOUBLE", "INT32"])
@pytest.mark.parametrize("seed", range(60))
def test_random_graphs(dtype: str, seed: int) -> None:
    made, feeds = random_graph(seed, getattr(TensorProto, dtype))
    want = session(made, optimised=False).run(None, feeds)
    got = session(made).run(None, feeds)
    for w, g in zip(want, got, strict=True):
        assert w.shape == g.shape
        np.testing.assert_allclose(g, w, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_programs_round_once(dtype: str) -> None:
    text = f"agraph ({dtype}[300] x, {dtype}[300] z) => ({dtype}[300] y) {{\n"
    m = model(text + "a = Mul(x, z)\nb = Add(a, x)\ny = Sigmoid(b)\n}")
    s = session(m)
    assert dict(operators(s)) == {"Pointwise": 1}
    np_dtype = helper.tensor_dtype_to_np_dtype(m.graph.input[0].type.tensor_type.elem_type)
    rng = np.random.default_rng(0)
    x, z = (rng.standard_normal(300).astype(np_dtype) for _ in range(2))
    feeds = {"x": x, "z": z}
    if dtype == "bfloat16":
        import tiercel

        feeds = {n: tiercel.OrtValue.ortvalue_from_numpy(v) for n, v in feeds.items()}
        got = s.run_with_ort_values(None, feeds)[0].numpy()
    else:
        (got,) = s.run(None, feeds)
    wide = x.astype(np.float32) * z.astype(np.float32) + x.astype(np.float32)
    want = (1 / (1 + np.exp(-wide))).astype(np_dtype)
    difference = np.abs(got.astype(np.float32) - want.astype(np.float32))
    assert difference.max() <= (1e-3 if dtype == "float16" else 1e-2)


@pytest.mark.parametrize("size", [1, 15, 16, 17, 63, 1000, 40000])
def test_not_a_number_and_infinities(size: int) -> None:
    head = f"agraph (float[{size}] x) => (float[{size}] y)"
    m = model(head + "{\na = Relu(x)\nb = Neg(a)\ny = Exp(b)\n}")
    x = np.random.default_rng(0).standard_normal(size).astype(np.float32)
    for i, value in enumerate((np.nan, np.inf, -np.inf)):
        if i < size:
            x[-1 - i] = value
    (y,) = session(m).run(None, {"x": x})
    want = np.exp(-np.where(np.isnan(x), x, np.maximum(x, 0)))
    np.testing.assert_allclose(y, want, rtol=1e-6)


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    text = "agraph (float[3, 1, 70000] x, float[1, 4, 1] z) => (float[3, 4, 70000] y) {\n"
    m = model(text + "a = Mul(x, z)\nb = Sigmoid(a)\ny = Mul(a, b)\n}")
    import tiercel

    feeds = {
        "x": np.random.default_rng(0).standard_normal((3, 1, 70000)).astype(np.float32),
        "z": np.random.default_rng(1).standard_normal((1, 4, 1)).astype(np.float32),
    }
    results = []
    for threads in (1, 2, 3):
        options = tiercel.SessionOptions()
        options.intra_op_num_threads = threads
        s = tiercel.InferenceSession(m.SerializeToString(), options)
        results.append(s.run(None, feeds)[0])
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


EPILOGUES = {
    "MatMul": ("float[5, 40] x", "c = MatMul(x, w)", "float[40, 33] w", [5, 33]),
    "Gemm": ("float[5, 40] x", "c = Gemm(x, w)", "float[40, 33] w", [5, 33]),
    "Conv": ("float[2, 3, 9, 9] x", "c = Conv(x, w)", "float[4, 3, 3, 3] w", [2, 4, 7, 7]),
}


@pytest.mark.parametrize("op", EPILOGUES)
@pytest.mark.parametrize("tail", ["Relu(b)", "Sigmoid(b)", "Mul(b, s)"])
def test_epilogues(op: str, tail: str) -> None:
    given, node, weight, dims = EPILOGUES[op]
    out = ", ".join(map(str, dims))
    residual = ", ".join(["1", *map(str, dims[1:])])
    extra = "s = Sigmoid(b)\n" if "s" in tail[4:] else ""
    text = f"""agraph ({given}, {weight}, float[{residual}] r) => (float[{out}] y) {{
        {node}
        b = Add(c, r)
        {extra}y = {tail}
    }}"""
    m = model(text)
    rng = np.random.default_rng(0)
    feeds = {
        i.name: rng.standard_normal([d.dim_value for d in i.type.tensor_type.shape.dim]).astype(
            np.float32
        )
        for i in m.graph.input
    }
    fast = session(m)
    assert dict(operators(fast)) == {op: 1}
    want = session(m, optimised=False).run(None, feeds)[0]
    np.testing.assert_allclose(fast.run(None, feeds)[0], want, rtol=1e-5, atol=1e-5)


def test_an_epilogue_never_reads_what_depends_on_it() -> None:
    text = """agraph (float[4, 4] x, float[4, 4] w) => (float[4, 4] y) {
        c = MatMul(x, w)
        a = Relu(c)
        d = MatMul(a, w)
        y = Add(a, d)
    }"""
    m = model(text)
    x, w = (np.random.default_rng(i).standard_normal((4, 4)).astype(np.float32) for i in range(2))
    feeds = {"x": x, "w": w}
    want = session(m, optimised=False).run(None, feeds)[0]
    np.testing.assert_allclose(session(m).run(None, feeds)[0], want, rtol=1e-5, atol=1e-5)
