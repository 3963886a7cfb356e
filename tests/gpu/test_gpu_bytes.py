"""Products and convolutions of 8-bit integers on the GPU, on the software device, bit for bit as on
the CPU.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper

import softcuda
import tiercel
from gpu_nodes import gpu_session

Array = npt.NDArray[Any]
BYTES = {"s8": np.dtype(np.int8), "u8": np.dtype(np.uint8)}
PAIRS = [("s8", "s8"), ("u8", "s8"), ("s8", "u8"), ("u8", "u8")]


def integers(shape: tuple[int, ...], kind: str, seed: int) -> Array:
    limits = np.iinfo(BYTES[kind])
    made: Array = np.random.default_rng(seed).integers(
        limits.min, limits.max + 1, shape, limits.dtype
    )
    return made


def compare(
    op: str,
    given: Mapping[str, Array | None],
    constants: Sequence[str] = (),
    kernel: str = "gemm_bytes cuda",
    **attributes: Any,
) -> tiercel.InferenceSession:
    """One node, with inputs in this order, gives the same bits on both providers, twice."""
    held = {name: array for name, array in given.items() if array is not None}
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for name, a in held.items()
        if name not in constants
    ]
    count = 3 if op == "DynamicQuantizeLinear" else 1
    names = [name if array is not None else "" for name, array in given.items()]
    graph = helper.make_graph(
        [helper.make_node(op, names, [f"y{i}" for i in range(count)], **attributes)],
        "g",
        inputs,
        [onnx.ValueInfoProto(name=f"y{i}") for i in range(count)],
        [
            helper.make_tensor(
                n, helper.np_dtype_to_tensor_dtype(held[n].dtype), held[n].shape,
                held[n].tobytes(), raw=True,
            )
            for n in constants if n in held
        ],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 21)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    feeds = {name: a for name, a in held.items() if name not in constants}
    session = gpu_session(model)
    assert kernel in session.explain(), session.explain()
    wanted = tiercel.InferenceSession(model).run(None, feeds)
    for _ in range(2):
        for got, want in zip(session.run(None, feeds), wanted, strict=True):
            assert got.dtype == want.dtype
            np.testing.assert_array_equal(got, want)
    return session


PRODUCTS: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((1, 1), (1, 1)),
    ((5, 32), (32, 7)),
    ((33, 19), (19, 70)),
    ((130, 64), (64, 65)),
    ((2, 3, 5, 16), (16, 9)),
    ((2, 3, 5, 16), (3, 16, 9)),
    ((3, 1, 4, 20), (1, 2, 20, 6)),
    ((6,), (6, 5)),
    ((4, 6), (6,)),
    ((2, 4, 6), (6,)),
    ((0, 6), (6, 5)),
    ((3, 0), (0, 5)),
]


@pytest.mark.parametrize("types", PAIRS, ids="_".join)
@pytest.mark.parametrize("a,b", PRODUCTS)
@pytest.mark.parametrize("constant", [True, False])
def test_matmul_integer(
    cuda_driver: softcuda.Device,
    types: tuple[str, str],
    a: tuple[int, ...],
    b: tuple[int, ...],
    constant: bool,
) -> None:
    given = {"a": integers(a, types[0], 0), "b": integers(b, types[1], 1)}
    given |= {"az": integers((), types[0], 2), "bz": integers((), types[1], 3)}
    compare("MatMulInteger", given, ["b", "bz"] if constant else [])


@pytest.mark.parametrize("rows", [None, (), (5,), (5, 1)])
@pytest.mark.parametrize("columns", [None, (), (7,), (1, 7)])
def test_zero_points(
    cuda_driver: softcuda.Device, rows: tuple[int, ...] | None, columns: tuple[int, ...] | None
) -> None:
    """None, one, or one for each row or column; zeros that are known are left out."""
    given: dict[str, Array | None] = {"a": integers((5, 40), "u8", 0)}
    given["b"] = integers((40, 7), "s8", 1)
    given["az"] = None if rows is None else integers(rows, "u8", 2)
    given["bz"] = None if columns is None else integers(columns, "s8", 3)
    compare("MatMulInteger", given, ["b"])
    given["bz"] = np.zeros_like(given["bz"]) if given["bz"] is not None else None
    compare("MatMulInteger", given, ["b", "az", "bz"])


def test_zero_points_of_rows_of_each_matrix(cuda_driver: softcuda.Device) -> None:
    given = {"a": integers((3, 5, 40), "u8", 0), "b": integers((40, 7), "s8", 1)}
    given |= {"az": integers((5,), "u8", 2), "bz": integers((7,), "s8", 3)}
    compare("MatMulInteger", given, ["b"])


def test_zero_points_of_each_matrix_run_on_the_cpu(cuda_driver: softcuda.Device) -> None:
    given = {"a": integers((2, 5, 8), "u8", 0), "b": integers((8, 7), "s8", 1)}
    with pytest.raises(tiercel.Fail, match="zero points for each matrix"):
        compare("MatMulInteger", given | {"az": integers((2, 5, 1), "u8", 2)})


@pytest.mark.parametrize("scales", [np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("types", PAIRS, ids="_".join)
@pytest.mark.parametrize("each", [False, True])
def test_qlinear_matmul(
    cuda_driver: softcuda.Device, types: tuple[str, str], scales: Any, each: bool
) -> None:
    rng = np.random.default_rng(1)
    rows, columns = ((5,), (70,)) if each else ((), ())

    def scale(shape: tuple[int, ...], size: float) -> Array:
        return np.asarray((rng.random(shape) + 0.5) * size).astype(scales)

    given = {
        "a": integers((2, 5, 33), types[0], 0),
        "as": scale(rows, 0.1),
        "az": integers(rows, types[0], 2),
        "b": integers((33, 70), types[1], 1),
        "bs": scale(columns, 0.1),
        "bz": integers(columns, types[1], 3),
        "ys": scale(rows, 6),
        "yz": integers(rows, types[0], 4),
    }
    compare("QLinearMatMul", given, ["b", "bs", "bz"])


@pytest.mark.parametrize("shape", [(), (1,), (7, 9), (3000,), (2, 100, 77)])
@pytest.mark.parametrize("low", [-1.0, 0.5, -3.0])
def test_dynamic_quantization(
    cuda_driver: softcuda.Device, shape: tuple[int, ...], low: float
) -> None:
    x = (np.random.default_rng(1).random(shape) * 2 + low).astype(np.float32)
    compare("DynamicQuantizeLinear", {"x": x}, kernel="dynamic_quantize cuda")


def test_dynamic_quantization_of_zeros_and_of_nothing(cuda_driver: softcuda.Device) -> None:
    for x in (np.zeros((3, 4), np.float32), np.zeros((0, 4), np.float32)):
        compare("DynamicQuantizeLinear", {"x": x}, kernel="dynamic_quantize cuda")


CONVS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 9, 11), (5, 3, 3, 3), {"pads": [1, 1, 1, 1]}),
    ((2, 3, 9, 11), (5, 3, 3, 2), {"strides": [2, 3], "pads": [1, 0, 2, 1]}),
    ((1, 4, 9, 11), (6, 2, 3, 3), {"group": 2, "dilations": [2, 1], "pads": [2, 1, 2, 1]}),
    ((2, 6, 7, 8), (6, 1, 3, 3), {"group": 6, "pads": [1, 1, 1, 1]}),
    ((1, 3, 7, 8), (6, 1, 3, 3), {"group": 3, "strides": [2, 2]}),
    ((2, 3, 19), (4, 3, 5), {"strides": [2], "pads": [2, 2]}),
    ((1, 9, 5, 6, 7), (3, 9, 2, 3, 2), {"strides": [1, 2, 1], "pads": [1, 0, 0, 0, 1, 1]}),
    ((2, 33, 5, 13), (70, 33, 1, 1), {}),
    ((1, 16, 12, 12), (72, 16, 3, 3), {"pads": [1, 1, 1, 1]}),
    ((1, 3, 9, 10), (4, 3, 3, 4), {"auto_pad": "SAME_UPPER", "strides": [2, 1]}),
    ((1, 3, 9, 10), (4, 3, 3, 4), {"auto_pad": "SAME_LOWER", "strides": [2, 1]}),
    ((0, 3, 5, 5), (4, 3, 3, 3), {}),
]


@pytest.mark.parametrize("types", PAIRS, ids="_".join)
@pytest.mark.parametrize("x,w,attributes", CONVS, ids=str)
def test_conv_integer(
    cuda_driver: softcuda.Device,
    x: tuple[int, ...],
    w: tuple[int, ...],
    attributes: dict[str, Any],
    types: tuple[str, str],
) -> None:
    given = {"x": integers(x, types[0], 0), "w": integers(w, types[1], 1)}
    given |= {"xz": integers((), types[0], 2), "wz": integers((), types[1], 3)}
    constants = ["w", "wz"] if "strides" in attributes else []
    compare("ConvInteger", given, constants, "conv_bytes cuda", **attributes)


@pytest.mark.parametrize("zeros", ["", "x", "w"])
def test_conv_without_zero_points(cuda_driver: softcuda.Device, zeros: str) -> None:
    given: dict[str, Array | None] = {"x": integers((2, 5, 9, 8), "u8", 0)}
    given["w"] = integers((6, 5, 3, 3), "s8", 1)
    given["xz"] = integers((), "u8", 2) if zeros == "x" else None
    given["wz"] = integers((6,), "s8", 3) if zeros == "w" else None
    compare("ConvInteger", given, ["w"], "conv_bytes cuda", pads=[1, 1, 1, 1])


@pytest.mark.parametrize("types", PAIRS, ids="_".join)
@pytest.mark.parametrize("result", BYTES)
@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_qlinear_conv(
    cuda_driver: softcuda.Device, types: tuple[str, str], result: str, each: bool, groups: int
) -> None:
    rng = np.random.default_rng(1)
    filters = (12,) if each else ()
    given: dict[str, Array | None] = {
        "x": integers((2, 6, 7, 9), types[0], 0),
        "xs": np.asarray(0.04, np.float32),
        "xz": integers((), types[0], 2),
        "w": integers((12, 6 // groups, 3, 3), types[1], 1),
        "ws": np.asarray(rng.random(filters) + 0.5).astype(np.float32),
        "wz": integers(filters, types[1], 3),
        "ys": np.asarray(8.0, np.float32),
        "yz": integers((), result, 4),
        "b": rng.integers(-9000, 9000, 12).astype(np.int32) if each else None,
    }
    attributes = {"group": groups, "pads": [1, 0, 1, 2], "strides": [1, 2]}
    compare("QLinearConv", given, ["w", "ws", "wz", "b"], "conv_bytes cuda", **attributes)


def test_a_conv_whose_shape_changes(cuda_driver: softcuda.Device) -> None:
    """Weights are laid out once; more shapes than tables are kept of still run."""
    w = onnx.numpy_helper.from_array(integers((3, 20, 3), "s8", 1), "w")
    x = helper.make_tensor_value_info("x", onnx.TensorProto.UINT8, ["n", 20, "t"])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.INT32, ["n", 3, None])
    node = helper.make_node("ConvInteger", ["x", "w"], ["y"], pads=[1, 1])
    graph = helper.make_graph([node], "g", [x], [y], [w])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session, cpu = (f(made.SerializeToString()) for f in (gpu_session, tiercel.InferenceSession))
    for length in [5, 9, 5, *range(3, 24)]:
        feeds = {"x": integers((1 + length % 2, 20, length), "u8", length)}
        np.testing.assert_array_equal(session.run(None, feeds)[0], cpu.run(None, feeds)[0])


QDQ = """
import sys
sys.path[:0] = {path!r}
import numpy as np
import tiercel
from gpu_models import gpu_session, model
made = model('''g (float[1, 8, 9, 9] x) => (float[1, 8, 9, 9] y)
<float s = {{0.05}}, int8 z = {{0}}> {{
    q = QuantizeLinear(x, s, z)
    d = DequantizeLinear(q, s, z)
    w = DequantizeLinear(wq, s, z)
    c = Conv<pads = [1, 1, 1, 1]>(d, w)
    r = QuantizeLinear(c, t, z)
    y = DequantizeLinear(r, t, z)
}}''', wq=np.arange(576, dtype=np.int8).reshape(8, 8, 3, 3), t=np.float32(0.5))
text = gpu_session(made, strict=True).explain()
print("conv_bytes cuda" in text)
"""


def test_quantised_groups_become_products_of_bytes_on_every_host(
    cuda_driver: softcuda.Device,
) -> None:
    """Also where the host multiplies floats as fast as bytes."""
    here = Path(__file__).parent
    given = QDQ.format(path=[str(here), str(Path(tiercel.__file__).parents[1])])
    environment = {**os.environ, "TIERCEL_ISA": "v3", "TIERCEL_CUDA_DRIVER": str(cuda_driver.path)}
    command = [sys.executable, "-c", given]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "True"
