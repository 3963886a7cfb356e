"""Residual streams of 16-bit floats stay float32 between the nodes that add to them and those that
normalise them: errors against float64, and what must stay as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import tiercel
from models import operators, session

Arrays = dict[str, np.ndarray]
TYPES = {"float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}
SHAPE = (2, 19, 72)
HEADER = '<ir_version: 10, opset_import: ["" : 23, "com.microsoft" : 1]>\n'
EPSILON = 1e-5


def constants(dtype: np.dtype, width: int = SHAPE[-1]) -> Arrays:
    rng = np.random.default_rng(1)
    made = {
        "p": rng.standard_normal((1, SHAPE[1], width)),
        "g": 1 + rng.standard_normal(width) / 8,
        "b": rng.standard_normal(width) / 8,
        "v": rng.standard_normal((width, 2 * width)) / width**0.5,
        "c": rng.standard_normal(width) / 8,
    }
    packed = {f"w{i}": rng.integers(104, 153, (width, 9, 16), np.uint8) for i in range(3)}
    made["s"] = np.full((width, 9), 2.0**-7)
    return {name: value.astype(dtype) for name, value in made.items()} | packed


def turned(k: Arrays, i: int) -> np.ndarray:
    """The matrix of numbers of 8 bits, by columns, that product ``i`` has on its right."""
    numbers = (k[f"w{i}"] - 128) * k["s"][..., None]
    return numbers.reshape(len(numbers), -1).T


def stream(dtype: np.dtype, *shape: int) -> np.ndarray:
    """Numbers far from zero, whose differences are all that a norm sees: halves round those."""
    far = 100 if dtype == np.float16 else 12
    return (far + np.random.default_rng(2).standard_normal(shape)).astype(dtype)


def model(text: str, dtype: np.dtype) -> onnx.ModelProto:
    made = onnx.parser.parse_model(HEADER + text)
    for name, value in constants(dtype).items():
        made.graph.initializer.append(numpy_helper.from_array(value, name))
    return made


NORMS = {
    "LayerNormalization": "LayerNormalization(%s, g, b)",
    "without bias": "LayerNormalization<axis = 2>(%s, g)",
    "RMSNormalization": "RMSNormalization(%s, g)",
}


def blocks(name: str, norm: str = "LayerNormalization", shape: str = "") -> str:
    """A graph of residual blocks behind a sum, with a norm at the end."""
    shape = shape or ", ".join(map(str, SHAPE))
    text = f"g ({name}[{shape}] x) => ({name}[{shape}] y) {{ s0 = Add(x, p)\n"
    for i in range(3):
        text += f"n{i} = {NORMS[norm] % f's{i}'}\nh{i} = MatMul(n{i}, v)\na{i} = Relu(h{i})\n"
        packed = "<K = 144, N = 72, bits = 8, block_size = 16>"
        text += f"m{i} = com.microsoft.MatMulNBits{packed}(a{i}, w{i}, s)\n"
        text += f"c{i} = Add(m{i}, c)\ns{i + 1} = Add(s{i}, c{i})\n"
    return text + f"y = {NORMS[norm] % 's3'} }}"


def in_float64(x: np.ndarray, norm: str) -> np.ndarray:
    """What such a graph means."""
    k = {name: value.astype(np.float64) for name, value in constants(x.dtype).items()}

    def normal(s: np.ndarray) -> np.ndarray:
        centred = s if norm[0] == "R" else s - s.mean(-1, keepdims=True)
        made = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + EPSILON) * k["g"]
        return made + k["b"] if norm[0] == "L" else made

    s = x.astype(np.float64) + k["p"]
    for i in range(3):
        s = s + np.maximum(normal(s) @ k["v"], 0) @ turned(k, i) + k["c"]
    return normal(s)


def run(s: tiercel.InferenceSession, x: np.ndarray) -> np.ndarray:
    return s.run_with_ort_values(None, {"x": tiercel.OrtValue.ortvalue_from_numpy(x)})[0].numpy()


def error(got: np.ndarray, want: np.ndarray) -> float:
    return float(np.linalg.norm(got.astype(np.float64) - want) / np.linalg.norm(want))


def widened(s: tiercel.InferenceSession) -> bool:
    return re.search(r"^  widen +changed", s.explain(), re.M) is not None


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", TYPES)
def test_errors_shrink(name: str, norm: str) -> None:
    dtype = TYPES[name]
    m, x = model(blocks(name, norm), dtype), stream(dtype, *SHAPE)
    fast, plain = session(m), session(m, disabled=["widen"])
    assert widened(fast)
    # As many nodes, of which one is a program now that was an Add.
    assert sum(operators(fast).values()) == sum(operators(plain).values())
    want = in_float64(x, norm)
    made, without = run(fast, x), run(plain, x)
    assert made.dtype == dtype
    # Of RMSNormalization differences are no part: what is left are roundings of its results.
    assert error(made, want) < error(without, want) * (0.25 if norm[0] != "R" else 0.9)
    assert run(fast, x).tobytes() == made.tobytes()
    plan = fast.explain().split("plan:")[1]
    kinds = re.findall(r"(?:Pointwise|WeightMatMul) .*-> tensor\((\w+)\)", plan)
    assert kinds == ["float"] * 4, plan
    norms = re.findall(rf"{norm.split()[0][:3]}\w*Normalization .*-> tensor\((\w+)\)", plan)
    assert norms == [name] * 4 or norm == "without bias"


@pytest.mark.parametrize("shape", ["N, 19, 72", "N, M, 72"])
def test_unknown_extents(shape: str) -> None:
    dtype = TYPES["float16"]
    text = blocks("float16", shape=shape)
    s = session(model(text, dtype))
    assert widened(s)
    for batch in (1, 2, 5):
        x = stream(dtype, batch, *SHAPE[1:])
        assert error(run(s, x), in_float64(x, "LayerNormalization")) < 2e-3


def test_written_and_read_again(tmp_path: Path) -> None:
    dtype, options = TYPES["float16"], tiercel.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    m, x = model(blocks("float16"), dtype), stream(dtype, *SHAPE)
    made = run(tiercel.InferenceSession(m.SerializeToString(), options), x)
    again = tiercel.InferenceSession(str(tmp_path / "optimised.onnx"))
    np.testing.assert_array_equal(run(again, x), made)


MIXED = {
    # The sum goes on, in the type of a Cast and in its own.
    "cast": ("float", "n = LayerNormalization(t, g, b)\nf = Cast<to = 1>(t)\n"
             "h = Cast<to = 1>(n)\ny = Mul(f, h)"),
    "both operands": ("float16", "n = LayerNormalization(t, g, b)\nd = Add(t, t)\ny = Mul(n, d)"),
    "comparison": ("float16", "n = LayerNormalization(t, g, b)\nq = Less(t, x)\n"
                   "y = Where(q, n, x)"),
}  # fmt: skip


@pytest.mark.parametrize("case", MIXED)
def test_other_readers(case: str) -> None:
    kind, tail = MIXED[case]
    dtype = TYPES["float16"]
    dims = ", ".join(map(str, SHAPE))
    text = f"g (float16[{dims}] x) => ({kind}[{dims}] y) {{ t = Add(x, p)\n{tail} }}"
    s, x = session(model(text, dtype)), stream(dtype, *SHAPE)
    assert widened(s)
    k = {name: value.astype(np.float64) for name, value in constants(dtype).items()}
    t = x.astype(np.float64) + k["p"]
    centred = t - t.mean(-1, keepdims=True)
    n = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + EPSILON) * k["g"] + k["b"]
    results: dict[str, Callable[[], np.ndarray]] = {
        "cast": lambda: t * n,
        "both operands": lambda: 2 * t * n,
        "comparison": lambda: np.where(t < x.astype(np.float64), n, x.astype(np.float64)),
    }
    assert error(run(s, x), results[case]()) < 1e-3


STAYS = {
    "an output": ("t", "n = LayerNormalization(t, g, b)\ny = Add(t, n)"),
    "a factor": ("y", "n = LayerNormalization(t, g, b)\nm = MatMul(t, v)\nk = MatMul(n, v)\n"
                 "y = Add(m, k)"),
    "moved": ("y", "n = LayerNormalization(t, g, b)\nr = Transpose(t)\nq = Transpose(n)\n"
              "y = Mul(r, q)"),
    "a norm alone": ("y", "y = LayerNormalization(t, g, b)"),
    "no norm": ("y", "a = Softmax(t)\ny = Add(t, a)"),
    "statistics": ("y", "n, mean = LayerNormalization(t, g, b)\nf = Cast<to = 1>(t)\n"
                   "d = Sub(f, mean)\nh = Cast<to = 10>(d)\ny = Add(t, h)"),
    "no sum": ("y", "u = Mul(t, x)\nn = LayerNormalization(u, g, b)\ny = Add(u, n)"),
    "a branch": ("y", "n = LayerNormalization(t, g, b)\nz = ReduceMax<keepdims = 0>(x)\n"
                 "q = Less(z, z)\n"
                 "i = If(q) <then_branch = e () => (float16[a, d, f] o) { o = Identity(t) },"
                 " else_branch = l () => (float16[a, d, f] o) { o = Neg(t) }>\ny = Add(i, n)"),
}  # fmt: skip


@pytest.mark.parametrize("case", STAYS)
def test_what_stays(case: str) -> None:
    output, tail = STAYS[case]
    dtype = TYPES["float16"]
    dims = ", ".join(map(str, SHAPE))
    text = f"g (float16[{dims}] x) => (float16[a, d, f] {output}) {{ t = Add(x, p)\n{tail} }}"
    m, x = model(text, dtype), stream(dtype, *SHAPE)
    s = session(m)
    assert not widened(s)
    np.testing.assert_array_equal(run(s, x), run(session(m, disabled=["widen"]), x))


def test_a_cast_of_the_model_rounds() -> None:
    dtype = TYPES["float16"]
    dims = ", ".join(map(str, SHAPE))
    text = f"""g (float[{dims}] x) => (float16[{dims}] y) {{
        q = Cast<to = 1>(p)
        f = Add(x, q)
        t = Cast<to = 10>(f)
        n = LayerNormalization(t, g, b)
        y = Add(t, n)
        }}"""
    assert not widened(session(model(text, dtype)))


def test_programs_behind_nodes_keep_the_type() -> None:
    """A written model may hold programs; none may make other types than kernels have room for."""
    inner = onnx.parser.parse_graph(
        "e (float[4, 4] a) => (double[4, 4] o) { o = Cast<to = 11>(a) }"
    )
    m = onnx.parser.parse_model(
        HEADER + "g (float[4, 4] x) => (float[4, 4] y) { y = MatMul(x, x) }"
    )
    m.graph.node[0].attribute.append(onnx.helper.make_attribute("epilogue", inner))
    with pytest.raises(Exception, match=r"\(MatMul\): its epilogue makes double of float"):
        tiercel.InferenceSession(m.SerializeToString())
