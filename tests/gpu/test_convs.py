"""Convolutions on the GPU, on the software device, against the CPU."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper

import softcuda
import tiercel

Array = npt.NDArray[Any]
TYPES = {"f32": np.float32, "f16": np.float16, "bf16": ml_dtypes.bfloat16}
TOLERANCE = {"f32": 1e-4, "f16": 4e-2, "bf16": 3e-1}


def numbers(shape: tuple[int, ...], dtype: str, seed: int) -> Array:
    values = np.random.default_rng(seed).standard_normal(shape)
    return (values * (1 if dtype == "f32" else 0.3)).astype(TYPES[dtype])


def graph_of(
    nodes: list[onnx.NodeProto], feeds: dict[str, Array], constants: dict[str, Array], rank: int
) -> bytes:
    """A model of these nodes with one output, y."""

    def info(name: str, values: Array, shape: Any) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(values.dtype), shape
        )

    graph = helper.make_graph(
        nodes,
        "g",
        [info(name, values, values.shape) for name, values in feeds.items()],
        [info("y", next(iter(feeds.values())), [None] * rank)],
        [onnx.numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    opsets = [helper.make_opsetid("", 22)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


def compare(model: bytes, feeds: dict[str, Array], dtype: str) -> tiercel.InferenceSession:
    """The GPU runs all nodes, twice, and agrees with the CPU."""
    options = tiercel.SessionOptions()
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    session = tiercel.InferenceSession(model, options, ["CUDAExecutionProvider"])
    want = tiercel.InferenceSession(model).run(None, feeds)[0].astype(np.float64)
    first, second = (session.run(None, feeds)[0] for _ in range(2))
    assert first.tobytes() == second.tobytes()
    np.testing.assert_allclose(
        first.astype(np.float64), want, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype]
    )
    return session


def convolve(
    op: str,
    x: tuple[int, ...],
    w: tuple[int, ...],
    dtype: str = "f32",
    bias: bool = True,
    constant: bool = True,
    after: str = "",
    **attributes: Any,
) -> tiercel.InferenceSession:
    """One convolution, and what follows it, on both providers."""
    group = attributes.get("group", 1)
    given = {"x": numbers(x, dtype, 0), "w": numbers(w, dtype, 1)}
    if bias:
        filters = w[0] if op == "Conv" else w[1] * group
        given["b"] = numbers((filters,), dtype, 2)
    nodes = [helper.make_node(op, list(given), ["z" if after else "y"], **attributes)]
    if after:
        nodes.append(helper.make_node(after, ["z"], ["y"]))
    feeds = {name: given[name] for name in (["x"] if constant else given)}
    constants = {name: values for name, values in given.items() if name not in feeds}
    return compare(graph_of(nodes, feeds, constants, len(x)), feeds, dtype)


CONVS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 9, 11), (5, 3, 3, 3), {}),
    ((2, 3, 9, 11), (5, 3, 3, 2), {"strides": [2, 3], "pads": [1, 0, 2, 1]}),
    ((1, 4, 9, 11), (6, 2, 3, 3), {"group": 2, "dilations": [2, 1], "pads": [2, 1, 2, 1]}),
    ((2, 6, 7, 8), (6, 1, 3, 3), {"group": 6, "pads": [1, 1, 1, 1]}),
    ((1, 3, 7, 8), (6, 1, 3, 3), {"group": 3, "strides": [2, 2]}),
    ((2, 5, 15, 8), (5, 1, 5, 5), {"group": 5, "auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ((1, 2, 90, 80), (2, 1, 3, 3), {"group": 2, "pads": [1, 0, 1, 1]}),
    ((1, 3, 20, 9), (3, 1, 7, 7), {"group": 3, "pads": [3, 3, 3, 3]}),
    ((1, 3, 20, 9), (3, 1, 5, 3), {"group": 3, "pads": [2, 1, 2, 1]}),
    ((2, 3, 19), (4, 3, 5), {"strides": [2], "pads": [2, 2]}),
    ((1, 2, 5, 6, 7), (3, 2, 2, 3, 2), {"strides": [1, 2, 1], "pads": [1, 0, 0, 0, 1, 1]}),
    ((2, 33, 5, 13), (70, 33, 1, 1), {}),
    ((2, 20, 6, 6), (5, 20, 1, 1), {}),
    ((2, 6, 5, 7), (4, 3, 1, 1), {"group": 2}),
    ((1, 4, 9), (3, 4, 1), {"strides": [2]}),
    ((1, 8, 12, 12), (72, 8, 3, 3), {"pads": [1, 1, 1, 1]}),
    ((1, 3, 9, 10), (4, 3, 3, 4), {"auto_pad": "SAME_UPPER", "strides": [2, 1]}),
    ((1, 3, 9, 10), (4, 3, 3, 4), {"auto_pad": "SAME_LOWER", "strides": [2, 1]}),
    ((1, 3, 9, 10), (4, 3, 3, 4), {"auto_pad": "VALID", "kernel_shape": [3, 4]}),
    ((2, 16, 9, 21), (70, 16, 3, 3), {"pads": [1, 1, 1, 1]}),
    ((1, 40, 11, 12), (30, 20, 3, 3), {"group": 2, "strides": [2, 2], "pads": [1, 0, 0, 1]}),
    ((1, 18, 150), (9, 18, 3), {"pads": [2, 2], "dilations": [2]}),
    ((1, 16, 40, 40), (4, 16, 3, 3), {"dilations": [16, 16], "pads": [16, 16, 16, 16]}),
    ((1, 17, 5, 20), (5, 17, 1, 7), {"auto_pad": "SAME_UPPER"}),
]
TRANSPOSED: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 5, 6), (3, 4, 3, 3), {}),
    ((1, 3, 5, 6), (3, 4, 3, 2), {"strides": [2, 3], "pads": [1, 0, 0, 1]}),
    ((1, 4, 5, 6), (4, 3, 3, 3), {"group": 2, "dilations": [2, 1], "strides": [2, 2]}),
    ((1, 3, 5, 6), (3, 4, 3, 3), {"strides": [2, 2], "output_padding": [1, 0]}),
    ((1, 3, 5, 6), (3, 4, 3, 3), {"strides": [3, 2], "output_shape": [16, 12]}),
    ((1, 3, 5, 6), (3, 4, 3, 3), {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    ((1, 3, 5, 6), (3, 4, 3, 3), {"strides": [2, 2], "auto_pad": "SAME_LOWER"}),
    ((2, 3, 9), (3, 2, 4), {"strides": [2]}),
    ((1, 2, 3, 4, 5), (2, 3, 2, 2, 2), {"strides": [2, 1, 2]}),
    ((1, 6, 5, 5), (6, 1, 3, 3), {"group": 6, "strides": [2, 2]}),
]


CASES = [("Conv", *case) for case in CONVS] + [("ConvTranspose", *case) for case in TRANSPOSED]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("op,x,w,attributes", CASES, ids=lambda v: str(v) if v else "")
def test_conv(
    cuda_driver: softcuda.Device,
    op: str,
    x: tuple[int, ...],
    w: tuple[int, ...],
    attributes: dict[str, Any],
    dtype: str,
) -> None:
    convolve(op, x, w, dtype, **attributes)


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize("bias", [True, False])
def test_weights_of_the_run(cuda_driver: softcuda.Device, op: str, bias: bool) -> None:
    convolve(op, (2, 4, 6, 7), (4, 4, 3, 3), bias=bias, constant=False, strides=[2, 1])


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize("after", ["Relu", "Sigmoid"])
def test_activation_is_attached(cuda_driver: softcuda.Device, op: str, after: str) -> None:
    session = convolve(op, (2, 4, 6, 7), (4, 4, 3, 3), after=after)
    assert f'{after} "' not in session.explain()


def test_batch_normalization_and_residual(cuda_driver: softcuda.Device) -> None:
    constants = {"w": numbers((6, 4, 3, 3), "f32", 1)}
    constants |= {name: np.abs(numbers((6,), "f32", i)) for i, name in enumerate("smbv")}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "s", "b", "m", "v"], ["n"]),
        helper.make_node("Add", ["n", "r"], ["a"]),
        helper.make_node("Relu", ["a"], ["y"]),
    ]
    feeds = {"x": numbers((2, 4, 6, 7), "f32", 5), "r": numbers((2, 6, 6, 7), "f32", 6)}
    compare(graph_of(nodes, feeds, constants, 4), feeds, "f32")


def test_a_shape_that_changes(cuda_driver: softcuda.Device) -> None:
    """Each shape gets its own table of taps, and more shapes than are kept still run."""
    w = numbers((3, 2, 3), "f32", 1)
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 2, "t"])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 3, None])
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1])
    graph = helper.make_graph([node], "g", [x], [y], [onnx.numpy_helper.from_array(w, "w")])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    model = made.SerializeToString()
    options = tiercel.SessionOptions()
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    session = tiercel.InferenceSession(model, options, ["CUDAExecutionProvider"])
    cpu = tiercel.InferenceSession(model)
    for length in [5, 9, 5, *range(3, 24)]:
        feeds = {"x": numbers((1 + length % 2, 2, length), "f32", length)}
        got, want = session.run(None, feeds)[0], cpu.run(None, feeds)[0]
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


PATCHES: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any], str]] = [
    ((1, 16, 64, 64), (128, 16, 3, 3), {"pads": [1, 1, 1, 1]}, "128_128"),
    ((1, 16, 33, 65), (128, 16, 3, 3), {"strides": [2, 2]}, "128_64"),
    ((2, 16, 130, 64), (64, 16, 3, 3), {}, "64_128"),
    ((1, 16, 9, 9), (70, 16, 3, 3), {"strides": [2, 2]}, "64_64"),
    ((1, 16, 90), (8, 16, 3), {"strides": [2]}, "64_64"),
    ((1, 15, 9, 9), (8, 15, 3, 3), {}, ""),  # few channels
    ((1, 40, 9, 9), (8, 40, 1, 1), {"strides": [2, 2]}, "64_64"),
    ((1, 16, 9, 9, 9), (8, 16, 1, 3, 3), {"pads": [1, 0, 0, 1, 0, 0]}, ""),  # three axes
    ((1, 16, 40, 40), (8, 16, 2, 2), {"dilations": [38, 38]}, ""),  # a wide patch
]


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
@pytest.mark.parametrize("x,w,attributes,tile", PATCHES, ids=lambda v: str(v) if v else "")
def test_kernels_by_patches_are_chosen(
    software_device: softcuda.Device,
    x: tuple[int, ...],
    w: tuple[int, ...],
    attributes: dict[str, Any],
    tile: str,
    dtype: str,
) -> None:
    names = [f"conv_patch_{m}_{n}_{dtype}" for m in (64, 128) for n in (64, 128)]

    def launches() -> dict[str, int]:
        return {name: max(0, software_device.statistic(name)) for name in names}

    before = launches()
    convolve("Conv", x, w, dtype, **attributes)
    chosen = [name for name, count in launches().items() if count > before[name]]
    assert chosen == ([f"conv_patch_{tile}_{dtype}"] if tile else [])


def test_tf32_by_patches(cuda_driver: softcuda.Device) -> None:
    w = numbers((70, 9, 3, 3), "f32", 1)
    feeds = {"x": numbers((2, 9, 17, 20), "f32", 2)}
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], strides=[2, 1], pads=[1, 1, 0, 1])]
    model = graph_of(nodes, feeds, {"w": w}, 4)
    provider = ("CUDAExecutionProvider", {"use_tf32": 1})
    before = cuda_driver.statistic("conv_patch_weights_tf32")
    got = tiercel.InferenceSession(model, providers=[provider]).run(None, feeds)[0]
    assert cuda_driver.statistic("conv_patch_weights_tf32") == max(before, 0) + 1
    want = tiercel.InferenceSession(model).run(None, feeds)[0]
    np.testing.assert_allclose(got, want, rtol=2e-2, atol=2e-2)


def test_empty_batch(cuda_driver: softcuda.Device) -> None:
    convolve("Conv", (0, 3, 5, 5), (4, 3, 3, 3))


def test_four_spatial_axes_run_by_the_kernel_table(cuda_driver: softcuda.Device) -> None:
    session = convolve("Conv", (1, 2, 3, 3, 3, 3), (2, 2, 2, 2, 2, 2))
    assert "conv cuda" not in session.explain()
