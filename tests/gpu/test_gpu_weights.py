"""Products with weights of 4 and 8 bits on the GPU, on the software device, against the CPU; and
products of floats as tf32.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper

import softcuda
import tiercel
from gpu_models import CUDA, normal
from gpu_nodes import gpu_session

Array = npt.NDArray[Any]
TYPES: dict[str, Any] = {"f32": np.float32, "f16": np.float16, "bf16": ml_dtypes.bfloat16}
TOLERANCE = {"f32": 1e-4, "f16": 1e-2, "bf16": 6e-2}
# rows, n, k, block: few rows and many, tails, one block
CASES = [(1, 9, 64, 32), (3, 70, 100, 16), (8, 33, 48, 64), (9, 40, 72, 16), (70, 66, 128, 128)]


def tensor(values: Array, name: str, kind: int = 0) -> onnx.TensorProto:
    kind = kind or helper.np_dtype_to_tensor_dtype(values.dtype)
    return helper.make_tensor(name, kind, values.shape, values.tobytes(), raw=True)


def info(name: str, values: Array) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(values.dtype), values.shape
    )


def model_of(nodes: list[onnx.NodeProto], x: Array, constants: list[onnx.TensorProto]) -> bytes:
    graph = helper.make_graph(
        nodes, "g", [info("x", x)], [onnx.ValueInfoProto(name="y")], constants
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString())


def compare(model: bytes, x: Array, tolerance: float) -> tiercel.InferenceSession:
    """The GPU runs all by the kernels of packed weights, the same twice, near the CPU."""
    session = gpu_session(model)
    assert "weights cuda" in session.explain(), session.explain()
    first, second = (session.run(None, {"x": x})[0] for _ in range(2))
    assert first.tobytes() == second.tobytes()
    want = tiercel.InferenceSession(model).run(None, {"x": x})[0].astype(np.float64)
    scale = max(1.0, float(np.nanmax(np.abs(want), where=np.isfinite(want), initial=0)))
    np.testing.assert_allclose(
        first.astype(np.float64), want, rtol=tolerance, atol=tolerance * scale
    )
    return session


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("rows,n,k,block", CASES)
@pytest.mark.parametrize("zeros", [False, True])
def test_matmul_nbits(
    cuda_driver: softcuda.Device,
    name: str,
    bits: int,
    rows: int,
    n: int,
    k: int,
    block: int,
    zeros: bool,
) -> None:
    rng = np.random.default_rng(rows)
    blocks = -(-k // block)
    constants = [
        tensor(rng.integers(0, 256, (n, blocks, block * bits // 8), np.uint8), "b"),
        tensor((rng.random((n, blocks)) * 0.02 + 0.01).astype(TYPES[name]), "s"),
    ]
    names = ["x", "b", "s"]
    if zeros:
        shape = (n, (blocks * bits + 7) // 8)
        constants.append(tensor(rng.integers(0, 256, shape, np.uint8), "z"))
        names.append("z")
    x = normal(rows, k).astype(TYPES[name])
    attributes = {"K": k, "N": n, "bits": bits, "block_size": block}
    node = helper.make_node("MatMulNBits", names, ["y"], domain="com.microsoft", **attributes)
    compare(model_of([node], x, constants), x, TOLERANCE[name])


KINDS = [TensorProto.INT4, TensorProto.UINT4, TensorProto.INT8, TensorProto.UINT8]


@pytest.mark.parametrize("kind", KINDS, ids=TensorProto.DataType.Name)
@pytest.mark.parametrize("rows", [2, 20])
@pytest.mark.parametrize("block", [0, 16])
@pytest.mark.parametrize("turned", [False, True])
def test_dequantised_weights(
    cuda_driver: softcuda.Device, kind: int, rows: int, block: int, turned: bool
) -> None:
    """DequantizeLinear in front of a product, with a sum and an activation behind it."""
    rng = np.random.default_rng(rows)
    k, n, bits = 64, 70, 4 if kind in KINDS[:2] else 8
    shape, along = ((n, k), 1) if turned else ((k, n), 0)
    packed = rng.integers(0, 256, n * k * bits // 8, np.uint8)
    blocks = list(shape)
    blocks[along] = k // block if block else 1
    scales = (rng.random(blocks) * 0.02 + 0.01).astype(np.float32)
    axis = along if block else 1 - along
    constants = [
        helper.make_tensor("w", kind, shape, packed.tobytes(), raw=True),
        tensor(scales if block else scales.reshape(n), "s"),
        tensor(normal(n, seed=3), "c"),
    ]
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["d"], axis=axis, block_size=block),
        helper.make_node("Gemm", ["x", "d", "c"], ["z"], transB=int(turned)),
        helper.make_node("Relu", ["z"], ["y"]),
    ]
    x = normal(rows, k)
    model = model_of(nodes, x, constants)
    session = compare(model, x, 1e-4)
    assert 'Relu "' not in session.explain()


@pytest.mark.parametrize("rows", [3, 20])
def test_infinity_and_nan(cuda_driver: softcuda.Device, rows: int) -> None:
    rng = np.random.default_rng(0)
    x = normal(rows, 64)
    x[0, 3], x[1, 5] = np.inf, np.nan
    constants = [
        tensor(rng.integers(0, 256, (10, 2, 16), np.uint8), "b"),
        tensor((rng.random((10, 2)) + 0.1).astype(np.float32), "s"),
    ]
    attributes = {"K": 64, "N": 10, "bits": 4, "block_size": 32}
    node = helper.make_node(
        "MatMulNBits", ["x", "b", "s"], ["y"], domain="com.microsoft", **attributes
    )
    compare(model_of([node], x, constants), x, 1e-4)


def tf32_session(model: bytes, value: str) -> tiercel.InferenceSession:
    options = tiercel.SessionOptions()
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    return tiercel.InferenceSession(model, options, [(CUDA, {"use_tf32": value})])


def float_model(op: str) -> tuple[bytes, Array]:
    """A product or a convolution by a constant."""
    shape, weight = {
        "MatMul": ((20, 64), (64, 70)),
        "Conv": ((2, 6, 9, 8), (12, 6, 3, 3)),
        "plain Conv": ((2, 20, 9, 8), (12, 20, 1, 1)),
    }[op]
    x = normal(*shape)
    node = helper.make_node(op.split()[-1], ["x", "w"], ["y"])
    return model_of([node], x, [tensor(normal(*weight, seed=1), "w")]), x


@pytest.mark.parametrize("op", ["MatMul", "Conv", "plain Conv"])
def test_tf32_is_asked_for(cuda_driver: softcuda.Device, op: str) -> None:
    """Products of floats are exact to their rounding unless the option allows less."""
    model, x = float_model(op)
    want = tiercel.InferenceSession(model).run(None, {"x": x})[0]
    plain, same = (tf32_session(model, value).run(None, {"x": x})[0] for value in ("0", "0"))
    by_tf32 = tf32_session(model, "1").run(None, {"x": x})[0]
    np.testing.assert_allclose(plain, want, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(by_tf32, want, rtol=2e-2, atol=2e-2)
    assert plain.tobytes() == same.tobytes()
    assert np.abs(by_tf32 - want).max() > 10 * np.abs(plain - want).max()


def test_tf32_is_a_number(cuda_driver: softcuda.Device) -> None:
    with pytest.raises(tiercel.InvalidArgument, match="use_tf32"):
        tf32_session(float_model("MatMul")[0], "yes")
