"""Operators that resample images agree with onnx's reference."""

from __future__ import annotations

import numpy as np
import pytest

from held import run_cases
from single_node import check
from tiercel import _core

RNG = np.random.default_rng(11)
COORDINATES = [
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
]

ROWS = [r for r in _core.kernel_table() if (r["op"], r["variant"]) == ("Resize", "columns")]
ISAS = sorted({r["isa"] for r in ROWS if r["isa"] in _core.supported_isas()})


def values(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize(
    ("mode", "antialias", "exclude"),
    [("nearest", 0, 0), *(("linear", a, e) for a in (0, 1) for e in (0, 1)), ("cubic", 0, 0)]
    + [("cubic", 1, 0), ("cubic", 0, 1)],
)
def test_resize(coordinates, mode, antialias, exclude):
    crop = coordinates == "tf_crop_and_resize"
    if crop and exclude:
        pytest.skip("the reference extrapolates first")
    roi = np.array([0, 0, 0.2, 0.4, 1, 1, 0.8, 1.2], np.float32) if crop else None
    for scales in ([1, 1, 0.6, 2.3], [1, 1, 0.8, 0.3], [1, 1, 2, 2]):
        check(
            "Resize",
            [values(1, 2, 5, 6), roi, np.array(scales, np.float32)],
            1e-5,
            mode=mode,
            coordinate_transformation_mode=coordinates,
            antialias=antialias,
            exclude_outside=exclude,
            extrapolation_value=7.0,
        )


@pytest.mark.parametrize("rounding", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
def test_nearest_rounding(rounding):
    inputs = [values(1, 2, 5, 6), None, np.array([1, 1, 1.5, 0.5], np.float32)]
    check("Resize", inputs, nearest_mode=rounding)


@pytest.mark.parametrize("policy", ["stretch", "not_larger", "not_smaller"])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_aspect_ratio(policy, mode):
    inputs = [values(1, 2, 5, 6), None, None, np.array([9, 8])]
    check("Resize", inputs, 1e-5, mode=mode, axes=[3, 2], keep_aspect_ratio_policy=policy)


@pytest.mark.parametrize("isa", ISAS)
def test_cases(isa: str) -> None:
    run_cases("resize_cases.py", isa)


def test_integers_are_rounded_and_saturated():
    x = RNG.integers(0, 256, (1, 1, 5, 6)).astype(np.uint8)
    check("Resize", [x, None, None, np.array([1, 1, 7, 9])], mode="cubic")


@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("corners", [0, 1])
def test_grid_sample(mode, padding, corners):
    options = {"mode": mode, "padding_mode": padding, "align_corners": corners, "opset": 22}
    check("GridSample", [values(2, 2, 4, 5), values(2, 3, 2, 2)], 1e-4, **options)
    if mode != "cubic":
        check("GridSample", [values(1, 1, 3, 4, 5), values(1, 2, 3, 2, 3)], 1e-4, **options)


@pytest.mark.parametrize("corners", [0, 1])
def test_affine_grid(corners):
    check("AffineGrid", [values(2, 2, 3), np.array([2, 3, 4, 5])], 1e-4, align_corners=corners)
    check("AffineGrid", [values(2, 3, 4), np.array([2, 3, 3, 4, 5])], 1e-4, align_corners=corners)


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("coordinates", ["half_pixel", "output_half_pixel"])
@pytest.mark.parametrize("sampling", [0, 2])
def test_roi_align(mode, coordinates, sampling):
    rois = RNG.random((4, 4)).astype(np.float32) * 6
    rois[:, 2:] += rois[:, :2]
    check(
        "RoiAlign",
        [values(2, 3, 8, 9), rois, np.array([0, 1, 1, 0])],
        1e-4,
        mode=mode,
        coordinate_transformation_mode=coordinates,
        sampling_ratio=sampling,
        spatial_scale=0.7,
        output_height=3,
        output_width=2,
    )
