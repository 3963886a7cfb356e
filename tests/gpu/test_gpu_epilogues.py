"""Programs behind products, convolutions, reductions and normalizations run inside their kernels:
values against the CPU, launches, CUDA graphs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import nvidia
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, ValueInfoProto, helper

import softcuda
from gpu_models import model, normal
from gpu_nodes import element_type, launches
from tiercel import InferenceSession, SessionOptions

Array = NDArray[Any]
TYPES: dict[str, np.dtype[Any]] = {
    "f32": np.dtype(np.float32),
    "f16": np.dtype(np.float16),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "f64": np.dtype(np.float64),
    "i32": np.dtype(np.int32),
    "i64": np.dtype(np.int64),
}
TOLERANCE = {"f32": 3e-5, "f16": 1e-2, "bf16": 8e-2, "f64": 1e-9, "i32": 0, "i64": 0}
FLOATS = ("f32", "f16", "bf16")
ONE_ARGUMENT = ["Relu", "Sigmoid", "Tanh", "Abs", "Neg", "Softplus", "HardSwish", "Erf"]
TWO_ARGUMENTS = ["Add", "Mul", "Sub", "Max"]


def numbers(rng: np.random.Generator, kind: str, *shape: int) -> Array:
    """Small numbers of a type of TYPES."""
    if kind[0] == "i":
        return rng.integers(-4, 5, shape).astype(TYPES[kind])
    return rng.standard_normal(shape).astype(TYPES[kind])


@dataclass
class Case:
    """An operator and what it makes.

    Attributes:
        op: The operator; its last output is named ``made``.
        kinds: Types that it is tried with.
        shape: Of the result.
        operands: Shapes of its inputs; the first is one of the model, others are constants.
        attributes: Of the node.
        kernel: Whose name explain() has.
        launches: Of a run.
    """

    op: str
    kinds: Sequence[str]
    shape: tuple[int, ...]
    operands: list[tuple[int, ...]]
    attributes: dict[str, Any] = field(default_factory=dict)
    kernel: str = "gemm"
    launches: int = 1

    def node(self, names: list[str]) -> NodeProto:
        return helper.make_node(self.op, names, ["made"], **self.attributes)


WIDE = dict(kernel_shape=[3, 3], pads=[1, 1, 1, 1])
CASES = {
    "gemm": Case("MatMul", FLOATS, (70, 67), [(70, 33), (33, 67)]),
    "even gemm": Case("MatMul", FLOATS, (2, 66, 68), [(2, 66, 8), (8, 68)]),
    "small gemm": Case("MatMul", TYPES, (9, 13), [(9, 20), (20, 13)]),
    "batches": Case("MatMul", ["f32"], (2, 3, 9, 11), [(2, 1, 9, 20), (3, 20, 11)]),
    "turned": Case(
        "Gemm", ["f32", "f16"], (12, 10), [(20, 12), (10, 20), (1, 10)],
        dict(transA=1, transB=1, alpha=0.5, beta=2.0),
    ),
    "rows along n": Case("MatMul", FLOATS, (3, 37), [(3, 20), (20, 37)]),
    "rows along k": Case("Gemm", FLOATS, (5, 9), [(5, 20), (9, 20)], dict(transB=1)),
    "conv": Case(
        "Conv", ["f32"], (2, 66, 9, 7), [(2, 5, 9, 7), (66, 5, 3, 3), (66,)], WIDE, "conv"
    ),
    "small conv": Case(
        "Conv", ["f32"], (3, 8, 5, 3), [(3, 6, 5, 3), (8, 3, 3, 3)], {**WIDE, "group": 2}, "conv"
    ),
    "depthwise": Case(
        "Conv", ["f32"], (2, 6, 5, 3), [(2, 6, 5, 3), (6, 1, 3, 3), (6,)],
        {**WIDE, "group": 6}, "conv",
    ),
    "1 x 1": Case("Conv", ["f32"], (2, 9, 5, 7), [(2, 6, 5, 7), (9, 6, 1, 1), (9,)], {}, "conv"),
    "transposed": Case(
        "ConvTranspose", ["f32"], (1, 6, 7), [(1, 4, 3), (4, 6, 3)], dict(strides=[2]),
        "conv_transpose",
    ),
    "rows' mean": Case("ReduceMean", ["f32", "f64"], (6, 1), [(6, 70)], {}, "reduce"),
    "columns' sum": Case("ReduceSum", ["f32"], (3, 1, 37), [(3, 9, 37)], {}, "reduce"),
    "columns' largest": Case("ReduceMax", ["i64"], (3, 1, 7), [(3, 9, 7)], {}, "reduce"),
    "groups": Case(
        "GroupNormalization", FLOATS, (2, 6, 5, 8), [(2, 6, 5, 8), (6,), (6,)],
        dict(num_groups=3), "group_norm",
    ),
    "instances": Case(
        "InstanceNormalization", ["f32"], (2, 3, 35), [(2, 3, 35), (3,), (3,)], {}, "group_norm"
    ),
    "softmax": Case("Softmax", FLOATS, (5, 12), [(5, 12)], {}, "softmax", 2),
    "rows": Case("LayerNormalization", ["f32"], (5, 12), [(5, 12), (12,), (12,)], {}, "norm", 2),
}  # fmt: skip
AXES = {"ReduceMean": -1, "ReduceSum": 1, "ReduceMax": 1}


def capture(rng: np.random.Generator, kind: str, shape: tuple[int, ...]) -> Array:
    """An operand that broadcasts to the shape, on any axes."""
    kept = tuple(n if rng.random() < 0.6 else 1 for n in shape)
    while kept and kept[0] == 1 and rng.random() < 0.5:
        kept = kept[1:]
    return numbers(rng, kind, *kept)


class Model:
    """A node with a random program behind it."""

    def __init__(self, case: Case, kind: str, seed: int) -> None:
        self.case, self.kind, self.rng = case, kind, np.random.default_rng(seed)
        self.inputs: dict[str, Array] = {}
        self.constants: dict[str, Array] = {}
        names = [f"x{i}" for i in range(len(case.operands))]
        for i, shape in enumerate(case.operands):
            into = self.constants if i else self.inputs
            into[names[i]] = numbers(self.rng, kind, *shape)
        if case.op in AXES:
            names.append("axes")
            self.constants["axes"] = np.array([AXES[case.op]])
        self.nodes = [case.node(names)]
        self.value = "made"
        for _ in range(int(self.rng.integers(1, 5))):
            self.grow()

    def grow(self) -> None:
        """One more node of the program."""
        whole = self.kind[0] == "i"
        operands = [self.value]
        op = str(
            self.rng.choice(TWO_ARGUMENTS if whole or self.rng.random() < 0.6 else ONE_ARGUMENT)
        )
        if op in TWO_ARGUMENTS:
            name = f"c{len(self.nodes)}"
            into = self.inputs if self.rng.random() < 0.5 else self.constants
            into[name] = capture(self.rng, self.kind, self.case.shape)
            operands.insert(int(self.rng.integers(2)), name)
        self.value = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, operands, [self.value]))

    def feeds(self, seed: int) -> dict[str, Array]:
        """New numbers for the inputs."""
        rng = np.random.default_rng(seed)
        return {name: numbers(rng, self.kind, *a.shape) for name, a in self.inputs.items()}

    def text(self) -> bytes:
        """The model."""
        graph = helper.make_graph(
            self.nodes,
            "g",
            [
                helper.make_tensor_value_info(n, element_type(a), a.shape)
                for n, a in self.inputs.items()
            ],
            [ValueInfoProto(name=self.value)],
            [
                helper.make_tensor(n, element_type(a), a.shape, a.tobytes(), raw=True)
                for n, a in self.constants.items()
            ],
        )
        opsets = [helper.make_opsetid("", 22)]
        made = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        return bytes(made.SerializeToString())


def on_gpu(text: bytes, **options: object) -> InferenceSession:
    """A session in which no node may fall back."""
    strict = SessionOptions()
    strict.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    given = {name: str(value) for name, value in options.items()}
    return InferenceSession(text, strict, [("CUDAExecutionProvider", given)])


def near(got: Array, want: Array, kind: str) -> None:
    """The same numbers, but for roundings."""
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    scale = max(1.0, float(np.abs(want.astype(np.float64)).max()))
    limit = TOLERANCE[kind]
    wide = [array.astype(np.float64) for array in (got, want)]
    np.testing.assert_allclose(*wide, rtol=limit, atol=limit * scale)


EACH = [(name, kind) for name, case in CASES.items() for kind in case.kinds]


@pytest.mark.parametrize(("name", "kind"), EACH, ids=[f"{name}, {kind}" for name, kind in EACH])
def test_random_programs(cuda_driver: softcuda.Device, name: str, kind: str) -> None:
    case = CASES[name]
    made = Model(case, kind, len(name))
    session, cpu = on_gpu(made.text(), enable_cuda_graph=1), InferenceSession(made.text())
    assert f"{case.kernel} cuda" in session.explain(), session.explain()
    assert ", epilogue of " in session.explain(), session.explain()
    for run in range(3):  # plain, recorded, replayed
        feeds = made.feeds(run)
        near(session.run(None, feeds)[0], cpu.run(None, feeds)[0], kind)


@pytest.mark.parametrize("name", CASES)
def test_launches(cuda_driver: softcuda.Device, name: str) -> None:
    case = CASES[name]
    made = Model(case, next(iter(case.kinds)), len(name))
    session = on_gpu(made.text())
    session.run(None, made.feeds(0))
    assert launches(cuda_driver, lambda: session.run(None, made.feeds(1))) == case.launches


@pytest.mark.parametrize("name", ["gemm", "conv"])
def test_tf32(cuda_driver: softcuda.Device, name: str) -> None:
    made = Model(CASES[name], "f32", 5)
    session, feeds = on_gpu(made.text(), use_tf32=1), made.feeds(0)
    got, want = session.run(None, feeds)[0], InferenceSession(made.text()).run(None, feeds)[0]
    scale = float(np.abs(want).max())
    np.testing.assert_allclose(got, want, rtol=2e-2, atol=1e-2 * scale)
    assert launches(cuda_driver, lambda: session.run(None, feeds)) == 1


def test_shapes_of_one_session(cuda_driver: softcuda.Device) -> None:
    text = """g (float[n,33] x, float[n,1] c) => (float[n,66] y)
      { p = MatMul(x, w)  q = Add(p, b)  r = Mul(c, q)  y = Relu(r) }"""
    made = model(text, w=normal(33, 66, seed=1), b=normal(66, seed=2)).SerializeToString()
    session, cpu = on_gpu(made), InferenceSession(made)
    for rows in (70, 3, 0, 9, 1, 70):  # other entries, and captures of other forms
        feeds = {"x": normal(rows, 33, seed=rows), "c": normal(rows, 1, seed=rows + 1)}
        got, want = session.run(None, feeds)[0], cpu.run(None, feeds)[0]
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
        made_launches = launches(cuda_driver, lambda feeds=feeds: session.run(None, feeds))
        assert made_launches == min(rows, 1)


def kept_texts(folder: Path, made: Model) -> list[str]:
    """The PTX that a process of its own has had compiled for the model."""
    code = """import sys, numpy, ml_dtypes, tiercel
feeds = dict(numpy.load(sys.argv[2], allow_pickle=True))
session = tiercel.InferenceSession(sys.argv[1], providers=["CUDAExecutionProvider"])
session.run(None, feeds)
"""
    (folder / "model.onnx").write_bytes(made.text())
    np.savez(folder / "feeds.npz", **made.feeds(0))
    variables = {**os.environ, "TIERCEL_CUDA_CACHE": str(folder / "cache")}
    variables["PYTHONPATH"] = str(Path(sys.modules["tiercel"].__file__ or "").parents[1])
    command = [sys.executable, "-c", code, str(folder / "model.onnx"), str(folder / "feeds.npz")]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    texts = [path.read_bytes()[64:] for path in (folder / "cache").iterdir()]
    return [text[text.index(b".version") :].rstrip(b"\0").decode() for text in texts]


@pytest.mark.parametrize(
    ("name", "kind"), [("gemm", "f32"), ("small gemm", "f64"), ("rows along k", "f16")]
)
def test_machine_code(
    software_device: softcuda.Device, tmp_path: Path, name: str, kind: str
) -> None:
    (ptxas,) = [found for base in nvidia.__path__ for found in Path(base).glob("*/bin/ptxas")]
    made = Model(CASES[name], kind, len(name))
    texts = [text for text in kept_texts(tmp_path, made) if "%program_at" in text]
    rewritten = [text for text in texts if text.count(".entry ") == 1]
    assert len(rewritten) == 1
    for text in rewritten:
        file = tmp_path / "kernel.ptx"
        file.write_text(text)
        for arch in ("sm_80", "sm_90", "sm_120"):
            command = [
                str(ptxas),
                "-v",
                f"-arch={arch}",
                str(file),
                "-o",
                str(tmp_path / "kernel.cubin"),
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            assert ", 0 bytes spill stores" in done.stderr, done.stderr
