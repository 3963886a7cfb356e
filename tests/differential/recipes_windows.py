"""Recipes of convolutions, pooling, resizing and sampling of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from draw import ELEMENTS, Draw, Node, is_whole
from recipes import recipe
from recipes_products import scale, zero_point
from recipes_rearrange import given


@dataclass
class Window:
    """A window that slides over spatial axes, and the extents that it fits into."""

    kernel: list[int]
    extents: list[int]
    attributes: dict[str, Any]


def window(d: Draw, *, dilated: bool = True, auto: bool = True, pads: bool = True) -> Window:
    rank = d.choice((2, 2, 2, 1, 3))
    kernel = [d.integer(1, 3) for _ in range(rank)]
    dilations = [d.integer(1, 2) if dilated and d.flag(30) else 1 for _ in kernel]
    reach = [(k - 1) * n + 1 for k, n in zip(kernel, dilations, strict=True)]
    extents = [r + d.integer(0, 6 if rank > 1 else 40) for r in reach]
    attributes: dict[str, Any] = {}
    if any(n != 1 for n in dilations):
        attributes["dilations"] = dilations
    if d.flag(60):
        attributes["strides"] = [d.integer(1, 3) for _ in kernel]
    form = d.integer(0, 9)
    if form < 4 and pads:
        attributes["pads"] = [d.integer(0, max(0, k - 1)) for k in [*kernel, *kernel]]
    elif form == 4 and auto:
        attributes["auto_pad"] = d.choice(("SAME_UPPER", "SAME_LOWER", "VALID"))
        attributes.pop("dilations", None)
    return Window(kernel, extents, attributes)


def channels(d: Draw) -> tuple[int, int, int]:
    """Groups, channels of the input and of the output."""
    group = d.choice((1, 1, 1, 2, 3, 8))
    each, out = d.choice((1, 2, 3, 8)), d.choice((1, 2, 3, 8))
    if d.flag(20):
        each = 1
    return group, group * each, group * out


@recipe("Conv")
def conv(d: Draw) -> Node:
    name = d.type()
    w = window(d)
    group, c, m = channels(d)
    inputs = [
        d.tensor(name, (d.integer(1, 2), c, *w.extents), "finite"),
        d.tensor(name, (m, c // group, *w.kernel), "finite"),
        d.tensor(name, (m,), "finite") if d.flag() else None,
    ]
    attributes = w.attributes | given(d, {"kernel_shape": w.kernel})
    attributes |= {"group": group} if group > 1 else {}
    return Node(inputs, attributes, sums=True, tolerance=20)


@recipe("ConvTranspose")
def conv_transpose(d: Draw) -> Node:
    name = d.type()
    w = window(d, auto=False)
    group, c, m = channels(d)
    attributes = w.attributes | given(d, {"kernel_shape": w.kernel})
    strides = attributes.get("strides", [1] * len(w.kernel))
    if d.flag(30) and max(strides) > 1:
        attributes["output_padding"] = [d.integer(0, s - 1) for s in strides]
    attributes |= {"group": group} if group > 1 else {}
    inputs = [
        d.tensor(name, (d.integer(1, 2), c, *w.extents), "finite"),
        d.tensor(name, (c, m // group, *w.kernel), "finite"),
        d.tensor(name, (m,), "finite") if d.flag() else None,
    ]
    # The reference adds the bias of the wrong group.
    return Node(inputs, attributes, sums=True, tolerance=20, reference=group == 1)


@recipe("ConvInteger", "QLinearConv")
def conv_integer(d: Draw) -> Node:
    first, second = d.type("T1"), d.type("T2")
    w = window(d)
    group, c, m = channels(d)
    x = d.tensor(first, (d.integer(1, 2), c, *w.extents))
    weight = d.tensor(second, (m, c // group, *w.kernel))
    attributes = w.attributes | ({"group": group} if group > 1 else {})
    # A zero point of W other than zero per channel is a form that references lack.
    if d.schema.name == "ConvInteger":
        zeros = [zero_point(d, t) if d.flag(70) else None for t in (first, second)]
        return Node([x, weight, *zeros], attributes)
    third = d.type("T3")
    per_channel = d.flag(40)
    weight_scale = scale(d, "float", (m,) if per_channel else ())
    zero_w = np.zeros((m,), ELEMENTS[second]) if per_channel else zero_point(d, second)
    bias = d.tensor("int32", (m,), "finite") if d.flag() else None
    inputs = [x, scale(d), zero_point(d, first), weight, weight_scale, zero_w, scale(d)]
    # Of one axis or three the reference joins the groups wrongly.
    known = len(w.extents) == 2
    return Node([*inputs, zero_point(d, third), bias], attributes, reference=known)


@recipe("DeformConv")
def deform_conv(d: Draw) -> Node:
    name = d.type()
    group, c, m = d.choice(((1, 2, 3), (2, 4, 2), (1, 1, 1)))
    kernel, extents = [d.integer(1, 3) for _ in "hw"], [d.integer(3, 7) for _ in "hw"]
    out = [n - k + 1 for n, k in zip(extents, kernel, strict=True)]
    offsets, area = d.choice((1, c)), kernel[0] * kernel[1]
    n = d.integer(1, 2)
    inputs = [
        d.tensor(name, (n, c, *extents), "finite"),
        d.tensor(name, (m, c // group, *kernel), "finite"),
        d.tensor(name, (n, offsets * area * 2, *out), "unit"),
        d.tensor(name, (m,), "finite") if d.flag() else None,
        d.tensor(name, (n, offsets * area, *out), "unit") if d.flag() else None,
    ]
    attributes = {"group": group, "offset_group": offsets, "kernel_shape": kernel}
    return Node(inputs, attributes | {"pads": [0, 0, 0, 0]}, sums=True, tolerance=20)


@recipe("MaxPool", "AveragePool", "LpPool")
def pool(d: Draw) -> Node:
    name, op = d.type(), d.schema.name
    w = window(d)
    if "auto_pad" in w.attributes:
        # What SAME pads where strides leave elements out, less than nothing, is open.
        strides = w.attributes.get("strides", [1] * len(w.kernel))
        w.attributes["strides"] = [min(s, k) for s, k in zip(strides, w.kernel, strict=True)]
    shape = (d.integer(1, 2), d.choice((1, 2, 3, 8, 17)), *w.extents)
    kind = "positive" if op == "LpPool" else "finite"
    attributes = {"kernel_shape": w.kernel, **w.attributes}
    if d.flag(30) and "auto_pad" not in attributes:
        attributes["ceil_mode"] = 1
    if op == "AveragePool":
        attributes |= given(d, {"count_include_pad": d.integer(0, 1)})
    if op == "LpPool":
        attributes |= given(d, {"p": d.integer(1, 3)})
    outputs = 2 if op == "MaxPool" and d.flag(40) else 1
    if outputs == 2:
        attributes |= given(d, {"storage_order": d.integer(0, 1)}, 30)
    # The reference has its own idea of windows at the end, and of indices in a batch.
    pads = attributes.get("pads", [])
    half = len(pads) // 2
    known = pads[:half] == pads[half:] and not {"ceil_mode", "auto_pad"} & set(attributes)
    x = d.tensor(name, shape, kind)
    known = known and outputs == 1
    return Node([x], attributes, outputs, sums=True, tolerance=10, reference=known)


@recipe("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(d: Draw) -> Node:
    x = d.tensor(d.type(), d.full(3, 5), "finite")
    attributes = {"p": d.integer(1, 3)} if d.schema.name == "GlobalLpPool" and d.flag() else {}
    # The reference keeps as many axes as an image has.
    known = d.schema.name != "GlobalMaxPool" or x.ndim == 4
    return Node([x], attributes, sums=True, tolerance=10, reference=known)


@recipe("MaxUnpool")
def max_unpool(d: Draw) -> Node:
    kernel, strides = [2, 2], [2, 2]
    n, c, h, w = d.integer(1, 2), d.integer(1, 3), d.integer(1, 4), d.integer(1, 4)
    name = d.type("T1")
    x = d.tensor(name, (n, c, h, w), "finite")
    plane = 4 * h * w
    grid = np.stack([d.rng.permutation(plane)[: h * w] for _ in range(n * c)])
    indices = grid.reshape(n, c, h, w) + (np.arange(n * c) * plane).reshape(n, c, 1, 1)
    shape = d.ints([n, c, 2 * h, 2 * w]) if d.flag(40) else None
    return Node([x, indices.astype(np.int64), shape], {"kernel_shape": kernel, "strides": strides})


@recipe("MaxRoiPool")
def max_roi_pool(d: Draw) -> Node:
    name = d.type()
    x = d.tensor(name, (2, d.integer(1, 3), 8, 9), "finite")
    rois = [[d.integer(0, 1), *sorted(d.integer(0, 4) for _ in "ab"), 7, 8][:5] for _ in "rst"]
    attributes = {"pooled_shape": [d.integer(1, 3), d.integer(1, 3)]}
    return Node([x, np.array(rois, ELEMENTS[name])], attributes)


@recipe("RoiAlign")
def roi_align(d: Draw) -> Node:
    name = d.type("T1")
    x = d.tensor(name, (2, d.integer(1, 3), 8, 9), "finite")
    count = d.integer(0, 3)
    corner = d.rng.uniform(0, 3, (count, 2))
    rois = np.concatenate([corner, corner + d.rng.uniform(1, 4, (count, 2))], 1)
    batch = d.rng.integers(0, 2, count)
    attributes = {
        "mode": d.choice(("avg", "max")),
        "output_height": d.integer(1, 3),
        "output_width": d.integer(1, 3),
        "sampling_ratio": d.integer(0, 3),
        "spatial_scale": d.choice((1.0, 0.5)),
        "coordinate_transformation_mode": d.choice(("half_pixel", "output_half_pixel")),
    }
    return Node([x, rois.astype(ELEMENTS[name]), batch], given(d, attributes), tolerance=10)


@recipe("Col2Im")
def col2im(d: Draw) -> Node:
    block, image = [d.integer(1, 3) for _ in "hw"], [d.integer(3, 7) for _ in "hw"]
    strides = [d.integer(1, 2) for _ in "hw"]
    counts = [(n - k) // s + 1 for n, k, s in zip(image, block, strides, strict=True)]
    shape = (d.integer(1, 2), d.integer(1, 3) * block[0] * block[1], counts[0] * counts[1])
    # Sums of complex numbers have no kernel.
    x = d.tensor(d.type(but=("complex64", "complex128")), shape, "small")
    return Node([x, d.ints(image), d.ints(block)], {"strides": strides}, sums=True)


@recipe("GridSample")
def grid_sample(d: Draw) -> Node:
    name = d.type("T1", but=("string", "bool", "complex64", "complex128"))
    volume = d.flag(20)
    spatial = [d.integer(2, 6) for _ in range(3 if volume else 2)]
    out = [d.integer(1, 5) for _ in spatial]
    x = d.tensor(name, (d.integer(1, 2), d.integer(1, 3), *spatial), "finite")
    grid = d.rng.uniform(-1.2, 1.2, (x.shape[0], *out, len(spatial)))
    modes = ("linear", "nearest") if volume else ("linear", "nearest", "cubic")
    attributes = {
        "mode": d.choice(modes),
        "padding_mode": d.choice(("zeros", "border", "reflection")),
        "align_corners": d.integer(0, 1),
    }
    if is_whole(name) or name == "bool":
        # The reference has weights in the type of X: of whole numbers they are 0 or 1.
        attributes["mode"] = "nearest"
        return Node([x, grid.astype(ELEMENTS[d.type("T2")])], attributes, tolerance=20)
    grid = grid.astype(ELEMENTS[d.type("T2")])
    return Node([x, grid], given(d, attributes), sums=True, tolerance=20)


@recipe("AffineGrid")
def affine_grid(d: Draw) -> Node:
    rank = d.choice((2, 3))
    n = d.integer(1, 2)
    theta = d.tensor(d.type("T1"), (n, rank, rank + 1), "unit")
    size = d.ints([n, d.integer(1, 3), *(d.integer(2, 5) for _ in range(rank))])
    attributes = given(d, {"align_corners": d.integer(0, 1)})
    return Node([theta, size], attributes, sums=True, tolerance=4)


@recipe("Resize")
def resize(d: Draw) -> Node:
    # The reference computes with the real parts of complex numbers.
    name = d.type("T1", but=("string", "complex64", "complex128"))
    shape = (d.integer(1, 2), d.integer(1, 3), *(d.integer(2, 6) for _ in "hw"))
    modes = ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel")
    attributes: dict[str, Any] = {
        "mode": d.choice(("nearest", "linear", "cubic")),
        "coordinate_transformation_mode": d.choice((*modes, "half_pixel_symmetric")),
    }
    if attributes["mode"] == "nearest":
        rounding = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
        attributes |= given(d, {"nearest_mode": d.choice(rounding)})
    if attributes["mode"] == "cubic":
        choices = {"cubic_coeff_a": d.choice((-0.5, -0.75)), "exclude_outside": d.integer(0, 1)}
        attributes |= given(d, choices, 50)
    if d.flag(15) and attributes["mode"] != "nearest":
        attributes["antialias"] = 1
    x = d.tensor(name, shape, "finite" if attributes["mode"] == "nearest" else "small")
    if d.flag():
        if attributes["mode"] == "nearest":
            # The middle of a fraction of an element: a position on the border of two.
            attributes["coordinate_transformation_mode"] = d.choice(modes)
        # Powers of two and their inverses: every coordinate is exact.
        scales = [1.0, 1.0, *(d.choice((0.5, 1.0, 2.0, 4.0)) for _ in "hw")]
        inputs = [x, None, np.array(scales, np.float32)]
    else:
        sizes = [*shape[:2], *(d.integer(1, 9) for _ in "hw")]
        inputs = [x, None, None, d.ints(sizes)]
    # Between whole numbers the middle may be met from either side.
    off = int(is_whole(name) and attributes["mode"] != "nearest")
    return Node(inputs, attributes, sums=True, tolerance=20, off=off)


@recipe("NonMaxSuppression")
def non_max_suppression(d: Draw) -> Node:
    batch, classes, count = d.integer(1, 2), d.integer(1, 3), d.integer(1, 8)
    corner = d.rng.uniform(0, 5, (batch, count, 2))
    boxes = np.concatenate([corner, corner + d.rng.uniform(0.5, 3, (batch, count, 2))], 2)
    scores = d.rng.permutation(batch * classes * count).reshape(batch, classes, count)
    inputs: list[Any] = [boxes.astype(np.float32), (scores / scores.size).astype(np.float32)]
    inputs += [d.ints([d.integer(0, 5)]), np.array([d.choice((0.0, 0.3, 0.7))], np.float32)]
    inputs.append(np.array([0.1], np.float32) if d.flag() else None)
    return Node(inputs, given(d, {"center_point_box": d.integer(0, 1)}, 30))
