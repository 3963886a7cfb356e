"""Convolutions, pooling and images of com.microsoft agree with onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.reference
import pytest

from contrib_run import Array, check, random, reference, run

ACTIVATIONS = [
    {},
    {"activation": "Relu"},
    {"activation": "Tanh"},
    {"activation": "Sigmoid"},
    {"activation": "LeakyRelu", "activation_params": [0.2]},
    {"activation": "Clip", "activation_params": [-0.5, 0.7]},
    {"activation": "HardSigmoid", "activation_params": [0.3, 0.4]},
]
WINDOW = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 1]}


def channels_last(x: Array) -> Array:
    return np.moveaxis(x, 1, -1).copy()


@pytest.mark.parametrize("options", ACTIVATIONS, ids=lambda o: o.get("activation", "none"))
@pytest.mark.parametrize("group", [1, 2])
def test_fused_conv(options: dict[str, Any], group: int) -> None:
    inputs: list[Array | None] = [random(2, 4, 6, 5), random(6, 4 // group, 3, 3, seed=1)]
    options = {**options, **WINDOW, "group": group}
    check("FusedConv", inputs, 1e-4, constants={1}, **options)
    for bias in (None, random(6, seed=2)):
        added = [*inputs, bias, random(2, 6, 3, 5, seed=3)]
        constants = {1} if bias is None else {1, 2}
        check("FusedConv", added, 1e-4, constants=constants, **options)
        want = [channels_last(y) for y in reference("FusedConv", added, **options)]
        moved = [channels_last(added[0]), added[1], bias, channels_last(added[3])]
        check("NhwcFusedConv", moved, 1e-4, want=want, constants=constants, **options)


def test_nhwc_conv() -> None:
    x, w = random(2, 4, 6, 5), random(6, 4, 3, 3, seed=1)
    options: dict[str, Any] = {"auto_pad": "SAME_UPPER", "strides": [2, 1]}
    want = [channels_last(y) for y in reference("FusedConv", [x, w], **options)]
    check("NhwcConv", [channels_last(x), w], 1e-4, want=want, constants={1}, **options)
    x, w = random(2, 4, 9), random(6, 4, 3, seed=1)
    want = [channels_last(y) for y in reference("FusedConv", [x, w])]
    check("NhwcConv", [channels_last(x), w], 1e-4, want=want)


@pytest.mark.parametrize("constants", [{1, 2}, {1}, {1, 2, 3}], ids=str)
@pytest.mark.parametrize("group", [1, 2])
def test_conv_transpose(constants: set[int], group: int) -> None:
    inputs = [random(2, 4, 5, 6), random(4, 3, 3, 3, seed=1), np.array([1, 0, 2, 1])]
    inputs += [random(3 * group, seed=2)]
    options = {"strides": [2, 1], "group": group}
    check("ConvTransposeWithDynamicPads", inputs, 1e-4, constants=constants, **options)
    options = {**options, "dilations": [1, 2], "output_padding": [1, 0]}
    check("ConvTransposeWithDynamicPads", inputs, 1e-4, constants=constants, **options)


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("corners", [0, 1])
def test_grid_sample(mode: str, padding: str, corners: int) -> None:
    inputs = [random(2, 3, 5, 6), random(2, 4, 3, 2, seed=1) * 0.8]
    options = {"mode": mode, "padding_mode": padding, "align_corners": corners}
    want = None
    if (mode, padding) == ("bicubic", "border"):  # onnxruntime is not with the standard here
        node = onnx.helper.make_node("GridSample", "xg", "y", **{**options, "mode": "cubic"})
        infos = [onnx.helper.make_tensor_value_info(n, 1, None) for n in "xgy"]
        graph = onnx.helper.make_graph([node], "graph", infos[:2], infos[2:])
        imports = [onnx.helper.make_opsetid("", 20)]
        model = onnx.helper.make_model(graph, opset_imports=imports)
        want = onnx.reference.ReferenceEvaluator(model).run(
            None, dict(zip("xg", inputs, strict=True))
        )
    check("GridSample", inputs, 1e-4, want=want, **options)


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
@pytest.mark.parametrize("rank", [1, 2])
def test_pad(mode: str, rank: int) -> None:
    pads = np.array([0, 1, 2, 0, 2, 1])
    pads = pads if rank == 1 else pads[None]
    x, value = random(2, 4, 5), np.full((1,) if rank == 1 else (), 0.5, np.float32)
    for constants in ({1}, set()):
        check("Pad", [x, pads], 0, mode=mode, constants=constants, symbolic=rank == 1)
        inputs = [x, pads, value]
        check("Pad", inputs, 0, mode=mode, constants=constants, symbolic=rank == 1)
    check("Pad", [x, np.array([0, -1, 0, 0, 1, -2])], 0, constants={1})


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("size", [(3, 4), (1, 1), (5, 1)])
@pytest.mark.parametrize("constants", [{3}, set()], ids=str)
def test_crop_and_resize(mode: str, size: tuple[int, int], constants: set[int]) -> None:
    boxes = [[0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1], [-0.2, 0.3, 0.5, 1.3], [0.9, 0.8, 0.1, 0.2]]
    inputs = [random(3, 2, 6, 7), np.array(boxes, np.float32), np.array([2, 0, 1, 0], np.int32)]
    inputs += [np.array(size, np.int32)]
    options = {"mode": mode, "extrapolation_value": 0.25}
    check("CropAndResize", inputs, 1e-4, constants=constants, **options)


def test_wrong_attributes_are_named() -> None:
    with pytest.raises(
        Exception, match=r'node "node" \(com.microsoft:CropAndResize\): attribute mode is "cubic"'
    ):
        run(
            "CropAndResize",
            [random(1, 1, 3, 3), random(1, 4), np.zeros(1, np.int32), np.ones(2, np.int32)],
            mode="cubic",
        )
