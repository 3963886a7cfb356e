"""Cases of Resize, for one instruction set: test_resize.py runs this file. Rows that interpolate in
vectors are compared with the row of doubles, which does not, and picked elements with numpy's.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import helper, numpy_helper

import tiercel

COORDINATES = ["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners"]
COORDINATES += ["asymmetric"]
BFLOAT16 = ml_dtypes.bfloat16
TOLERANCE = {np.float32: 2e-6, np.float16: 1.5e-3, BFLOAT16: 1.2e-2}
# Shape and sizes; the row that is expected, of those that interpolate.
SHAPES = {
    "twice": ((1, 3, 32, 32), (1, 3, 64, 64), "columns"),
    "four times": ((2, 2, 14, 14), (2, 2, 56, 56), "columns"),
    "odd": ((1, 2, 23, 31), (1, 2, 61, 83), "columns"),
    "narrow": ((2, 3, 5, 3), (2, 3, 7, 5), "columns"),
    "one column": ((1, 2, 4, 1), (1, 2, 9, 6), "columns"),
    "to one column": ((1, 2, 4, 6), (1, 2, 3, 1), "columns"),
    "half": ((1, 2, 20, 70), (1, 2, 10, 35), "columns"),
    "a third": ((1, 2, 33, 96), (1, 2, 11, 32), "columns"),
    "a tenth": ((1, 1, 50, 400), (1, 1, 5, 40), "columns"),
    "wider": ((1, 2, 9, 17), (1, 2, 9, 45), "columns"),
    "very wide": ((1, 1, 3, 5000), (1, 1, 5, 6001), "columns"),
    "line": ((40,), (93,), "columns"),
    "volume": ((1, 2, 4, 5, 6), (1, 2, 7, 3, 20), "columns"),
    "channels of a picture last": ((1, 9, 12, 3), (1, 13, 30, 3), "columns"),
    "few channels last": ((1, 19, 24, 5), (1, 7, 11, 5), "columns"),
    "higher": ((2, 3, 9, 37), (2, 3, 25, 37), "runs"),
    "channels last": ((1, 9, 12, 40), (1, 13, 30, 40), "runs"),
    "blocks of channels": ((1, 2, 9, 12, 16), (1, 2, 21, 25, 16), "runs"),
    "the first axis": ((5, 6, 7), (8, 6, 7), "runs"),
    "as it was": ((2, 3, 6, 8), (2, 3, 6, 8), "runs"),
}


def session(
    x: np.ndarray, sizes: Any, threads: int = 1, scales: Any = None, **attributes: Any
) -> tiercel.InferenceSession:
    """A model of one Resize of `x`, named "node"."""
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    given = ["x", "", "scales" if scales is not None else "", "sizes" if scales is None else ""]
    if scales is None:
        kept = [numpy_helper.from_array(np.array(sizes, np.int64), "sizes")]
    else:
        kept = [numpy_helper.from_array(np.array(scales, np.float32), "scales")]
    node = helper.make_node("Resize", given, ["y"], name="node", **attributes)
    ports = [helper.make_tensor_value_info("x", kind, x.shape)]
    graph = helper.make_graph([node], "g", ports, [helper.make_empty_tensor_value_info("y")], kept)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    options = tiercel.SessionOptions()
    options.intra_op_num_threads = threads
    return tiercel.InferenceSession(made.SerializeToString(), options)


def run(x: np.ndarray, sizes: Any, threads: int = 1, **options: Any) -> np.ndarray:
    return session(x, sizes, threads, **options).run(None, {"x": x})[0]


def compare(x: np.ndarray, sizes: Any, row: str, **options: Any) -> None:
    """With the row of doubles; NaN and infinities at the same places."""
    made = session(x, sizes, **options)
    assert f" {row} v" in made.explain() or f" {row} neon" in made.explain(), made.explain()
    got = made.run(None, {"x": x})[0].astype(np.float64)
    want = run(x.astype(np.float64), sizes, **options)
    tolerance = TOLERANCE[x.dtype.type]
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


def values(shape: tuple[int, ...], seed: int, kind: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(kind)


@pytest.mark.parametrize("kind", TOLERANCE)
@pytest.mark.parametrize("name", SHAPES)
def test_between_elements(name: str, kind: Any) -> None:
    shape, sizes, row = SHAPES[name]
    x = values(shape, 1, kind)
    for coordinates in COORDINATES:
        mode: dict[str, Any] = {"coordinate_transformation_mode": coordinates}
        compare(x, sizes, row, mode="linear", **mode)
        compare(x, sizes, row, mode="linear", antialias=1, **mode)
        compare(x, sizes, row, mode="cubic", exclude_outside=1, **mode)
        compare(x, sizes, row, mode="cubic", cubic_coeff_a=-0.5, **mode)


@pytest.mark.parametrize("name", SHAPES)
def test_what_is_no_number(name: str) -> None:
    shape, sizes, row = SHAPES[name]
    rng = np.random.default_rng(2)
    for coordinates in COORDINATES:
        for special in (np.nan, np.inf, -np.inf):
            x = values(shape, 3)
            x[tuple(rng.integers(0, n) for n in shape)] = special
            x[(-1,) * len(shape)] = np.inf
            compare(x, sizes, row, mode="linear", coordinate_transformation_mode=coordinates)
            compare(x, sizes, row, mode="cubic", coordinate_transformation_mode=coordinates)


@pytest.mark.parametrize("seed", range(40))
def test_drawn(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    rank = int(rng.integers(1, 6))
    shape = tuple(int(n) for n in rng.integers(1, 24, rank))
    scales = [1.0 if rng.random() < 0.4 else float(rng.uniform(0.2, 4)) for _ in shape]
    scales = [max(s, 1 / n) for s, n in zip(scales, shape, strict=True)]
    options = {
        "mode": str(rng.choice(["linear", "cubic"])),
        "coordinate_transformation_mode": str(rng.choice(COORDINATES)),
        "antialias": int(rng.random() < 0.2),
        "exclude_outside": int(rng.random() < 0.3),
    }
    x = values(shape, seed)
    x[rng.random(shape) < 0.02] = np.inf
    got = run(x, None, scales=scales, **options).astype(np.float64)
    want = run(x.astype(np.float64), None, scales=scales, **options)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("policy", ["not_larger", "not_smaller"])
def test_positions_far_outside(policy: str) -> None:
    """A rounded extent reaches beyond the input."""
    x = values((1, 2, 3, 40), 4)
    for sizes in ((1, 2, 4, 9), (1, 2, 1, 61), (1, 2, 7, 80)):
        for mode in ("linear", "cubic"):
            options = {"keep_aspect_ratio_policy": policy, "mode": mode, "axes": [2, 3]}
            compare(x, sizes[2:], "columns", **options)


def picked(x: np.ndarray, scales: list[float], rounding: str, coordinates: str) -> np.ndarray:
    for axis, scale in enumerate(scales):
        count = int(np.floor(np.float64(np.float32(scale)) * x.shape[axis]))
        i = np.arange(count, dtype=np.float64)
        p = (i + 0.5) / np.float32(scale) - 0.5
        if coordinates == "asymmetric":
            p = i / np.float64(np.float32(scale))
        at = {
            "floor": np.floor(p),
            "ceil": np.ceil(p),
            "round_prefer_floor": np.ceil(p - 0.5),
            "round_prefer_ceil": np.floor(p + 0.5),
        }[rounding]
        x = np.take(x, np.clip(at.astype(np.int64), 0, x.shape[axis] - 1), axis)
    return x


KINDS = [np.uint8, np.float16, np.float32, np.float64, np.complex128]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rounding", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
@pytest.mark.parametrize("coordinates", ["half_pixel", "asymmetric"])
def test_picked_elements(kind: Any, rounding: str, coordinates: str) -> None:
    rng = np.random.default_rng(5)
    shapes = [(2, 3, 20, 20), (1, 2, 5, 3), (1, 2, 7, 50), (2, 9, 11, 3), (1, 1, 3, 2), (70,)]
    shapes += [(2, 2, 3, 5, 40), (1, 7, 7, 64), (3, 5), (2, 2, 4, 1)]
    exact = [0.25, 0.5, 1.0, 2.0, 4.0]
    for shape in shapes:
        x = rng.integers(0, 256, shape).astype(kind)
        for _ in range(6):
            scales = [1.0 if rng.random() < 0.4 else float(rng.choice(exact)) for _ in shape]
            scales = [max(s, 1.0) if n < 4 else s for s, n in zip(scales, shape, strict=True)]
            options = {"nearest_mode": rounding, "coordinate_transformation_mode": coordinates}
            got = run(x, None, scales=scales, mode="nearest", **options)
            np.testing.assert_array_equal(got, picked(x, scales, rounding, coordinates))


@pytest.mark.parametrize("width", [*range(1, 36), 63, 64, 65, 100])
def test_picked_columns_of_any_number(width: int) -> None:
    for kind in KINDS:
        x = np.arange(3 * width).reshape(1, 1, 3, width).astype(kind)
        for scale in (0.3, 0.55, 1.7, 3.1):
            scales = [1.0, 1.0, 1.5, max(scale, 1.01 / width)]
            options = {"nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
            got = run(x, None, scales=scales, mode="nearest", **options)
            np.testing.assert_array_equal(got, picked(x, scales, "floor", "asymmetric"))


@pytest.mark.parametrize("mode", ["linear", "cubic", "nearest"])
def test_threads(mode: str) -> None:
    for shape, sizes in (((1, 64, 20, 20), (1, 64, 80, 80)), ((1, 30, 40, 64), (1, 90, 80, 64))):
        x = values(shape, 6)
        one, two = (run(x, sizes, threads, mode=mode) for threads in (1, 2))
        assert one.tobytes() == two.tobytes()
