"""Cases of products with packed weights, for one instruction set: test_weight_matmul.py runs this
file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import tiercel

KINDS = {
    (4, True): TensorProto.INT4,
    (4, False): TensorProto.UINT4,
    (8, True): TensorProto.INT8,
    (8, False): TensorProto.UINT8,
}
FORMS = ["n_bits", "plain", "transposed", "gemm"]


class Weights:
    """A model that multiplies x [m, k] by drawn weights [k, n], and those as float64."""

    def __init__(self, rng: np.random.Generator, form: str, k: int, n: int, **given: Any) -> None:
        self.rng, self.form, self.k, self.n = rng, form, k, n
        self.bits, self.block = given.get("bits", 4), given.get("block", 32)
        self.dtype = np.dtype(given.get("dtype", np.float32))
        self.has_zeros, self.level = given.get("zeros", False), given.get("level", 0)
        self.constants: list[TensorProto] = []
        self.nodes: list[Any] = []
        self.bias = np.zeros(n, self.dtype)
        make = self.n_bits if form == "n_bits" else self.dequantised
        self.real = make()

    def add(self, name: str, array: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def scales(self, shape: tuple[int, ...]) -> np.ndarray:
        return ((self.rng.random(shape) - 0.5) * 0.1).astype(self.dtype)

    def halves(self, x: np.ndarray) -> np.ndarray:
        return np.stack([x & 15, x >> 4], -1).reshape(len(x), -1) if self.bits == 4 else x

    def n_bits(self) -> np.ndarray:
        blocks = -(-self.k // self.block)
        width = self.block * self.bits // 8
        q = self.rng.integers(0, 256, (self.n, blocks, width), dtype=np.uint8)
        s = self.scales((self.n, blocks))
        names = ["x", self.add("q", q), self.add("s", s)]
        zeros = np.full((self.n, blocks), 1 << (self.bits - 1), np.float64)
        if self.has_zeros:
            bytes_ = (blocks * self.bits + 7) // 8
            z = self.rng.integers(0, 256, (self.n, bytes_), dtype=np.uint8)
            names.append(self.add("z", z))
            zeros = self.halves(z)[:, :blocks].astype(np.float64)
        options = {"N": self.n, "K": self.k, "bits": self.bits, "block_size": self.block}
        options["accuracy_level"] = self.level
        node = helper.make_node("MatMulNBits", names, ["y"], domain="com.microsoft", **options)
        self.nodes.append(node)
        numbers = self.halves(q.reshape(self.n, -1)).astype(np.float64)
        real = numbers.reshape(self.n, blocks, -1) - zeros[..., None]
        return (real * s.astype(np.float64)[..., None]).reshape(self.n, -1)[:, : self.k].T

    def tensor(self, name: str, x: np.ndarray, signed: bool) -> str:
        kind = KINDS[self.bits, signed]
        if self.bits == 8:
            return self.add(name, x.astype(np.int8 if signed else np.uint8))
        flat = np.append(x.reshape(-1) & 15, [0]).astype(np.uint8)[: (x.size + 1) // 2 * 2]
        raw = (flat[::2] | flat[1::2] << 4).tobytes()
        self.constants.append(helper.make_tensor(name, kind, x.shape, raw, raw=True))
        return name

    def dequantised(self) -> np.ndarray:
        signed = bool(self.rng.integers(2))
        low = -(1 << (self.bits - 1)) if signed else 0
        along = 0 if self.form == "plain" else 1
        shape = (self.k, self.n) if along == 0 else (self.n, self.k)
        blocks = -(-self.k // self.block) if self.block else 1
        each: tuple[int, ...] = (blocks, self.n) if along == 0 else (self.n, blocks)
        each = each if self.block else (self.n,)
        q = self.rng.integers(low, low + (1 << self.bits), shape)
        z = self.rng.integers(low, low + (1 << self.bits), each) * self.has_zeros
        s = self.scales(each)
        names = [self.tensor("q", q, signed), self.add("s", s)]
        names += [self.tensor("z", z, signed)] if self.has_zeros else []
        axis = along if self.block else 1 - along
        make = helper.make_node
        options = {"axis": axis, "block_size": self.block}
        self.nodes.append(make("DequantizeLinear", names, ["w"], **options))
        if self.form == "gemm":
            self.bias = self.rng.standard_normal(self.n).astype(self.dtype)
            names = ["x", "w", self.add("b", self.bias)]
            self.nodes.append(make("Gemm", names, ["y"], transB=1))
        elif along == 1:
            self.nodes.append(make("Transpose", ["w"], ["t"], perm=[1, 0]))
            self.nodes.append(make("MatMul", ["x", "t"], ["y"]))
        else:
            self.nodes.append(make("MatMul", ["x", "w"], ["y"]))

        def spread(x: np.ndarray) -> np.ndarray:
            if not self.block:
                return np.expand_dims(x, along)
            return np.take(x, np.arange(self.k) // self.block, along)

        real = (q - spread(z)) * spread(s.astype(np.float64))
        return real if along == 0 else real.T

    def model(self, rows: int | str) -> ModelProto:
        kind = helper.np_dtype_to_tensor_dtype(self.dtype)
        x = helper.make_tensor_value_info("x", kind, [rows, self.k])
        y = helper.make_tensor_value_info("y", kind, None)
        graph = helper.make_graph(self.nodes, "graph", [x], [y], self.constants)
        imports = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=imports, ir_version=10)


def check(w: Weights, x: np.ndarray, rows: int | str) -> None:
    """Within the rounding of float32 of sums of magnitudes, and as finite as they are."""
    session = tiercel.InferenceSession(w.model(rows).SerializeToString())
    assert "WeightMatMul" in session.explain()
    got = session.run(None, {"x": x})[0].astype(np.float64)
    wide = x.astype(np.float64)
    with np.errstate(all="ignore"):
        want = wide @ w.real + w.bias
        finite = np.isfinite(want)
        # Numbers of a run of the depth are as exact as the largest of them.
        largest = np.abs(wide).max(1, keepdims=True) * np.abs(w.real).sum(0)
        bound = 1e-6 * (np.abs(wide) @ np.abs(w.real) + np.abs(w.bias)) + 1.2e-7 * largest
        bound += 1e-36  # tiles take denormal numbers for zeros
        bound += 5e-3 * largest if w.level == 4 else 0
        bound += 1e-3 * np.abs(want) + 1e-6 if w.dtype == np.float16 else 0
    assert got.shape == want.shape
    np.testing.assert_array_equal(np.isfinite(got), finite)
    assert (np.abs(got - want)[finite] <= bound[finite]).all()


@pytest.mark.parametrize("seed", range(60))
def test_drawn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    form = str(rng.choice(FORMS))
    k = int(rng.choice([2, 8, 16, 32, 40, 100, 128, 130, 256, 300, 520, 1040, 2000]))
    n = int(rng.choice([2, 16, 31, 32, 34, 64, 70, 130])) // 2 * 2
    block = int(rng.choice([16, 32, 64, 128, 256, 1024] + [0, 8, 24] * (form != "n_bits")))
    w = Weights(
        *(rng, form, k, n),
        bits=int(rng.choice([4, 8])),
        block=block,
        zeros=bool(rng.integers(2)),
        level=int(rng.choice([0, 4])) if form == "n_bits" else 0,
        dtype=rng.choice([np.float32, np.float32, np.float16]) if form == "n_bits" else np.float32,
    )
    m = int(rng.choice([1, 1, 2, 8, 9, 16, 17, 40, 130, 300]))
    x = rng.standard_normal((m, k)) * rng.choice([1, 100, 1e-2])
    check(w, x.astype(w.dtype), "m" if rng.integers(2) else m)


@pytest.mark.parametrize("rows", [1, 3, 8, 20, 70])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e-40, 0, 3e38])
def test_odd_numbers_stay_in_their_row(rows: int, value: float) -> None:
    rng = np.random.default_rng(3)
    w = Weights(rng, "n_bits", 128, 48, bits=4, block=32, zeros=True)
    x = rng.standard_normal((rows, 128)).astype(np.float32)
    x[rows // 2, 40] = value
    if abs(value) > 1e38:
        x[rows // 2] = 0
        x[rows // 2, 40] = value / 100
    if value in (0, 1e-40):
        x[rows // 2] = value
    check(w, x, rows)


@pytest.mark.parametrize("rows", [1, 5, 64])
def test_threads_agree(rows: int) -> None:
    rng = np.random.default_rng(4)
    model = Weights(rng, "n_bits", 512, 600, block=32).model("m").SerializeToString()
    x = rng.standard_normal((rows, 512)).astype(np.float32)
    results = []
    for threads in (1, 2):
        options = tiercel.SessionOptions()
        options.intra_op_num_threads = threads
        session = tiercel.InferenceSession(model, options)
        results.append(session.run(None, {"x": x})[0])
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scales_that_are_not_finite_are_multiplied_one_by_one(value: float) -> None:
    rng = np.random.default_rng(5)
    w = Weights(rng, "n_bits", 64, 32, block=32)
    scales = numpy_helper.to_array(w.constants[1]).copy()
    scales[3, 1] = value
    w.constants[1] = numpy_helper.from_array(scales, "s")
    session = tiercel.InferenceSession(w.model(2).SerializeToString())
    assert "WeightMatMul" not in session.explain()
    y = session.run(None, {"x": rng.standard_normal((2, 64)).astype(np.float32)})[0]
    assert (np.isfinite(y) == (np.arange(32) != 3)).all()
