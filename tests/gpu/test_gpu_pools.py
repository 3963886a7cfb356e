"""Pools over windows and Resize on the CUDA provider, against the CPU provider."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from onnx import TensorProto

import softcuda
import tiercel
from gpu_nodes import FLOATS, agree, element_type, gpu_session, node_model, normal

Array = npt.NDArray[Any]
KERNELS = {"MaxPool": "max_pool", "AveragePool": "average_pool", "LpPool": "lp_pool"}

# Shape, attributes.
WINDOWS: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 17), {"kernel_shape": [4]}),
    ((2, 3, 17), {"kernel_shape": [3], "strides": [2], "pads": [1, 2], "dilations": [3]}),
    ((1, 4, 9, 12), {"kernel_shape": [3, 2], "strides": [2, 3]}),
    ((1, 4, 9, 12), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ((2, 1, 8, 9), {"kernel_shape": [3, 4], "strides": [3, 2], "auto_pad": "SAME_UPPER"}),
    ((2, 1, 8, 9), {"kernel_shape": [3, 4], "strides": [3, 2], "auto_pad": "SAME_LOWER"}),
    ((2, 1, 8, 9), {"kernel_shape": [3, 4], "auto_pad": "VALID", "dilations": [2, 1]}),
    ((1, 2, 8, 7), {"kernel_shape": [3, 3], "strides": [3, 2], "ceil_mode": 1,
                    "pads": [0, 1, 1, 0]}),
    ((1, 2, 5, 6, 7), {"kernel_shape": [2, 3, 2], "strides": [1, 2, 3],
                       "pads": [1, 0, 0, 1, 1, 1]}),
]  # fmt: skip


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", KERNELS)
@pytest.mark.parametrize("case", range(len(WINDOWS)))
def test_windows(cuda_driver: softcuda.Device, op: str, dtype: str, case: int) -> None:
    shape, attributes = WINDOWS[case]
    x = normal(dtype, *shape, seed=case)
    extra: list[dict[str, Any]] = [{}]
    if op == "AveragePool":
        extra = [{"count_include_pad": 0}, {"count_include_pad": 1}]
    elif op == "LpPool":
        extra = [{"p": p} for p in (1, 2, 3)]
    for more in extra:
        given = {**attributes, **more}
        agree(op, {"x": x}, [element_type(x)], kernel=KERNELS[op], slack=4, **given)
        agree(op, {"x": x}, [element_type(x)], kernel=KERNELS[op], slack=4, dynamic=True, **given)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "uint8"])
@pytest.mark.parametrize("case", range(len(WINDOWS)))
def test_places(cuda_driver: softcuda.Device, dtype: str, case: int) -> None:
    shape, attributes = WINDOWS[case]
    x = np.random.default_rng(case).integers(0, 9, shape).astype(dtype)  # many are equal
    kinds = [element_type(x), TensorProto.INT64]
    for order in (0, 1):
        agree("MaxPool", {"x": x}, kinds, kernel="max_pool", storage_order=order, **attributes)
    agree("MaxPool", {"x": x}, kinds[:1], kernel="max_pool", **attributes)


@pytest.mark.parametrize("op", KERNELS)
def test_rare_values(cuda_driver: softcuda.Device, op: str) -> None:
    x = np.full((1, 2, 6, 6), 2, np.float32)
    x[0, 0, 1, 1], x[0, 0, 4, 4], x[0, 1, 2] = np.inf, -np.inf, -np.inf
    x[0, 1, 0, 0] = np.nan
    agree(op, {"x": x}, kernel=KERNELS[op], kernel_shape=[2, 2], strides=[2, 2])
    agree(op, {"x": x[:0]}, kernel=KERNELS[op], kernel_shape=[2, 2])


def test_a_program_behind(cuda_driver: softcuda.Device) -> None:
    import onnx.parser

    made = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 21]>
        g (float[1, 3, 8, 8] x, float[3, 1, 1] b) => (float[1, 3, 4, 4] y)
        { a = AveragePool<kernel_shape = [2, 2], strides = [2, 2]>(x)
          c = Add(a, b) y = Relu(c) }"""
    ).SerializeToString()
    feeds = {"x": normal("float", 1, 3, 8, 8), "b": normal("float", 3, 1, 1)}
    want = tiercel.InferenceSession(made, providers=["CPUExecutionProvider"]).run(None, feeds)
    np.testing.assert_allclose(gpu_session(made).run(None, feeds)[0], want[0], rtol=1e-5, atol=1e-6)


def test_a_window_in_the_padding(cuda_driver: softcuda.Device) -> None:
    x = normal("float", 1, 1, 4)
    attributes = {"kernel_shape": [1], "pads": [1, 0], "name": "the_pool"}
    agree("MaxPool", {"x": x}, [TensorProto.FLOAT], kernel="max_pool", **attributes)
    made = node_model("MaxPool", {"x": x}, [TensorProto.FLOAT, TensorProto.INT64], **attributes)
    for session in (gpu_session(made), tiercel.InferenceSession(made)):
        with pytest.raises(Exception, match=r"the_pool.*a value is not valid"):
            session.run(None, {"x": x})


# ---- Resize

TRANSFORMATIONS = (
    "half_pixel half_pixel_symmetric pytorch_half_pixel align_corners asymmetric tf_crop_and_resize"
).split()


def resize(
    x: Array, scales: list[float] | None, sizes: list[int] | None = None, **attributes: Any
) -> None:
    """Both providers, with and without a known first axis."""
    roi = None
    crops = attributes.get("coordinate_transformation_mode") == "tf_crop_and_resize"
    if crops:
        listed = len(attributes.get("axes", x.shape))
        roi = np.linspace(0.1, 0.2, listed).tolist() + np.linspace(0.7, 1.2, listed).tolist()
    constants = {
        name: np.array(values, kind)
        for name, values, kind in (
            ("roi", roi, np.float32), ("scales", scales, np.float32), ("sizes", sizes, np.int64),
        )
        if values is not None
    }  # fmt: skip
    feeds = {"x": x, **{name: constants.get(name) for name in ("roi", "scales", "sizes")}}
    kind = [element_type(x)]
    for dynamic in (False, True):
        agree("Resize", feeds, kind, kernel="resize", slack=4, constants=constants,
              dynamic=dynamic, **attributes)  # fmt: skip


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("transformation", TRANSFORMATIONS)
def test_transformations(cuda_driver: softcuda.Device, transformation: str, mode: str) -> None:
    x = normal("float", 2, 3, 7, 10)
    given = {"mode": mode, "coordinate_transformation_mode": transformation}
    if transformation == "tf_crop_and_resize":
        given["axes"] = [2, 3]
        resize(x, [1.7, 0.6], extrapolation_value=-3.5, **given)
        resize(x, None, [1, 13], **given)
        return
    for scales in ([1, 1, 2, 2], [1, 1, 0.6, 1.7], [1, 1, 1, 3.1]):
        resize(x, scales, **given)
    resize(x, None, [1, 13], axes=[2, 3], **given)
    resize(x[0, 0], [0.5, 1.5], **given)
    resize(x[0, 0, 0], [2.5], **given)


@pytest.mark.parametrize("dtype", [*FLOATS, "uint8", "int8"])
def test_resize_types(cuda_driver: softcuda.Device, dtype: str) -> None:
    if dtype in FLOATS:
        x = normal(dtype, 2, 2, 6, 9)
    else:
        limits = np.iinfo(dtype)
        rng = np.random.default_rng(3)
        x = rng.integers(limits.min, limits.max, (2, 2, 6, 9)).astype(dtype)
    for scales in ([1, 1, 2, 2], [1, 1, 0.55, 1.3]):
        resize(x, scales, mode="linear")
        resize(x, scales, mode="cubic")
    resize(x, [1, 1, 0.5, 0.4], mode="linear", antialias=1)


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint16", "float16", "int32", "int64", "float64"]
)
@pytest.mark.parametrize("nearest", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
def test_nearest_of_types(cuda_driver: softcuda.Device, nearest: str, dtype: str) -> None:
    x = np.random.default_rng(4).integers(0, 2, (2, 3, 5, 8)).astype(dtype)
    resize(x, [1, 1, 1.4, 0.7], mode="nearest", nearest_mode=nearest)
    resize(x, [1, 1, 2, 2], mode="nearest", nearest_mode=nearest)


@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_resize_options(cuda_driver: softcuda.Device, mode: str) -> None:
    x = normal("float", 1, 2, 9, 11)
    for given in (
        {"antialias": 1},
        {"exclude_outside": 1},
        {"antialias": 1, "exclude_outside": 1},
        {"cubic_coeff_a": -0.5},
    ):
        resize(x, [1, 1, 0.6, 0.45], mode=mode, **given)
        resize(x, [1, 1, 2.2, 1.5], mode=mode, **given)
    for policy in ("not_larger", "not_smaller"):
        resize(x, None, [7, 30], mode=mode, axes=[2, 3], keep_aspect_ratio_policy=policy)


def test_resize_of_other_axes(cuda_driver: softcuda.Device) -> None:
    resize(normal("float", 2, 5, 6, 3), [1, 2, 0.5, 1], mode="linear")  # channels last
    resize(normal("float", 2, 2, 3, 4, 5), [1, 1, 2, 1.5, 0.8], mode="linear")
    resize(normal("float", 2, 2, 3, 4, 5), [1, 1, 2, 2, 2], mode="nearest")
    resize(normal("float", 6, 5), [0.5, 1], mode="linear")
    x = normal("float", 2, 3, 4, 5)
    scales = np.array([2, 1, 2, 1], np.float32)
    feeds = {"x": x, "roi": None, "scales": scales}
    agree("Resize", feeds, kernel="generic", constants={"scales": scales}, mode="linear")


def test_shapes_that_change(cuda_driver: softcuda.Device) -> None:
    feeds = {"x": normal("float", 3, 4, 5), "roi": None, "scales": np.ones(3, np.float32)}
    made = node_model("Resize", feeds, [TensorProto.FLOAT], mode="linear", dynamic=True)
    session = gpu_session(made)
    cpu = tiercel.InferenceSession(made, providers=["CPUExecutionProvider"])
    for batch, scale in [(1, 2.0), (3, 2.0), (2, 0.5), (1, 2.0), (0, 3.0)]:
        given = {"x": normal("float", batch, 4, 5), "scales": np.array([1, scale, 2], np.float32)}
        got, want = (one.run(None, given)[0] for one in (session, cpu))
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
