"""GridSample and RoiAlign agree with onnx's reference, and with plain sums over the samples."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from single_node import agree, check, run

RNG = np.random.default_rng(14)
Array = NDArray[np.float64]


@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("corners", [0, 1])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_grid_sample(mode, padding, corners, dtype):
    x = RNG.standard_normal((2, 3, 5, 6)).astype(dtype)
    grid = RNG.uniform(-1.4, 1.4, (2, 9, 11, 2)).astype(np.float32)
    options = {"mode": mode, "padding_mode": padding, "align_corners": corners}
    check("GridSample", [x, grid], 3e-5, **options)


@pytest.mark.parametrize("mode", ["linear", "nearest"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_grid_sample_of_volumes(mode, padding):
    x = RNG.standard_normal((2, 2, 3, 4, 5)).astype(np.float32)
    grid = RNG.uniform(-1.4, 1.4, (2, 3, 5, 7, 3)).astype(np.float32)
    check("GridSample", [x, grid], 3e-5, mode=mode, padding_mode=padding)


def test_zeros_beside_infinite_pixels():
    x = np.full((1, 1, 2, 2), np.inf, np.float32)
    grid = np.array([[[[-3, -3], [0, 0]]]], np.float32)
    agree(run("GridSample", [x, grid]), [np.array([[[[0, np.inf]]]], np.float32)])


def sample(image: Array, row: float, column: float, largest: bool) -> float:
    height, width = image.shape
    if not (-1 <= row <= height and -1 <= column <= width):
        return 0.0
    row, column = min(max(row, 0), height - 1), min(max(column, 0), width - 1)
    top, left = int(row), int(column)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    down, across = row - top, column - left
    terms = [
        (1 - down) * (1 - across) * image[top, left],
        (1 - down) * across * image[top, right],
        down * (1 - across) * image[bottom, left],
        down * across * image[bottom, right],
    ]
    return max(terms) if largest else sum(terms)


def roi_align(x, rois, batches, size, scale, ratio, half, largest):
    y = np.zeros((len(rois), x.shape[1], *size))
    for n, (roi, batch) in enumerate(zip(rois.astype(np.float64) * scale, batches, strict=True)):
        left, top, right, bottom = roi - (0.5 if half else 0)
        spans = [bottom - top, right - left]
        spans = spans if half else [max(s, 1.0) for s in spans]
        bins = [s / n for s, n in zip(spans, size, strict=True)]
        counts = [ratio or max(int(np.ceil(b)), 0) for b in bins]
        for c, i, j in np.ndindex(y.shape[1:]):
            samples = [
                sample(
                    x[batch, c],
                    top + (i + (r + 0.5) / counts[0]) * bins[0],
                    left + (j + (q + 0.5) / counts[1]) * bins[1],
                    largest,
                )
                for r, q in np.ndindex(*counts)
            ]
            if samples:
                y[n, c, i, j] = max(samples) if largest else np.mean(samples)
    return y.astype(x.dtype)


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("transformation", ["half_pixel", "output_half_pixel"])
@pytest.mark.parametrize("shape, size", [((2, 3, 9, 40), (3, 2)), ((1, 2, 6, 5), (1, 4))])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_roi_align(mode, ratio, transformation, shape, size, dtype):
    x = RNG.standard_normal(shape).astype(dtype)
    corner = RNG.uniform(-3, [shape[3] * 2, shape[2] * 2], (7, 2))
    rois = np.concatenate([corner, corner + RNG.uniform(-1, 2 * shape[3], (7, 2))], 1).astype(dtype)
    batches = RNG.integers(0, shape[0], 7)
    want = roi_align(
        x, rois, batches, size, 0.5, ratio, transformation == "half_pixel", mode == "max"
    )
    options = {"mode": mode, "sampling_ratio": ratio, "spatial_scale": 0.5}
    options |= {"output_height": size[0], "output_width": size[1]}
    got = run(
        "RoiAlign", [x, rois, batches], coordinate_transformation_mode=transformation, **options
    )
    agree(got, [want], 2e-5)
