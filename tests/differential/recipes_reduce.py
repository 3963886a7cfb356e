"""Recipes of reductions, orders, running sums and normalisations along axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from draw import ELEMENTS, Draw, Node, is_whole, number_of
from recipes import recipe
from recipes_rearrange import given

REDUCTIONS = "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare".split()


def reducible(d: Draw, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Elements whose sums, squares and products fit: what overflow gives is nowhere defined."""
    op = d.schema.name
    if op in ("ReduceMax", "ReduceMin"):
        return d.tensor(name, shape)
    if name == "bool" or not is_whole(name):
        if op == "ReduceProd":
            return d.tensor(name, shape, "unit") * 2
        if op == "ReduceLogSum":
            return d.tensor(name, shape, "positive")
        return d.tensor(name, shape, "sums")
    x = d.tensor(name, shape, "small")
    return np.abs(x) if op == "ReduceLogSum" else x


@recipe(*(f"Reduce{kind}" for kind in REDUCTIONS))
def reduce(d: Draw) -> Node:
    name = d.type()
    op = d.schema.name
    # The extreme of nothing, and the mean of nothing, are not defined for whole numbers.
    shape = d.full(0, 4) if op in ("ReduceMax", "ReduceMin", "ReduceMean") else d.shape(0, 4)
    x = reducible(d, name, shape).astype(ELEMENTS[name])
    axes = d.axes(x.ndim) if d.flag(80) else None
    attributes = given(d, {"keepdims": d.integer(0, 1)})
    if d.flag(30):
        attributes["noop_with_empty_axes"] = d.integer(0, 1)
    if axes == [] and d.flag():
        axes = None
    inputs = [x, None if axes is None else d.ints(axes)]
    return Node(inputs, attributes, tolerance=10, sums=True)


@recipe("ArgMax", "ArgMin")
def arg_extreme(d: Draw) -> Node:
    # Where NaN stands among numbers is open.
    x = d.tensor(d.type(), d.full(1, 4), "small")
    attributes = {
        "axis": d.axis(x.ndim),
        "keepdims": d.integer(0, 1),
        "select_last_index": d.integer(0, 1),
    }
    return Node([x], given(d, attributes))


@recipe("TopK")
def top_k(d: Draw) -> Node:
    name = d.type("T")
    shape = d.full(1, 4)
    axis = d.axis(len(shape))
    # Among equal elements the lower index comes first; NaN has no place in the order.
    x = d.tensor(name, shape, "finite")
    k = d.integer(0 if d.flag(10) else 1, shape[axis])
    attributes = given(d, {"largest": d.integer(0, 1), "sorted": 1})
    if axis != -1 or d.flag():
        attributes["axis"] = axis
    return Node([x, d.ints([k])], attributes, 2)


@recipe("CumSum", "CumProd")
def cumulative(d: Draw) -> Node:
    name = d.type("T")
    kind = "unit" if d.schema.name == "CumProd" else "finite"
    x = d.tensor(name, d.shape(1, 4), kind)
    axis = np.array(d.axis(x.ndim), ELEMENTS[d.type("T2")])
    attributes = {"exclusive": d.integer(0, 1), "reverse": d.integer(0, 1)}
    return Node([x, axis], given(d, attributes), sums=True, tolerance=10)


@recipe("Softmax", "LogSoftmax", "Hardmax")
def softmax(d: Draw) -> Node:
    kind = "small" if d.schema.name == "Hardmax" else "finite"
    x = d.tensor(d.type(), d.full(1, 4), kind)
    # The old default, axis 1, is none of a vector.
    axis = given(d, {"axis": d.axis(x.ndim)}, 100 if x.ndim == 1 else 70)
    return Node([x], axis, tolerance=4)


def epsilon(d: Draw) -> dict[str, Any]:
    return given(d, {"epsilon": d.choice((1e-5, 1e-3, 0.1))})


@recipe("BatchNormalization")
def batch_normalization(d: Draw) -> Node:
    x = d.tensor(d.type("T"), d.full(2, 5), "finite")
    c = (x.shape[1],)
    scale, bias = (d.tensor(d.type("T1"), c, "finite") for _ in "sb")
    mean, var = d.tensor(d.type("T2"), c, "unit"), d.tensor(d.type("T2"), c, "positive")
    attributes = epsilon(d) | given(d, {"momentum": d.choice((0.1, 0.9))})
    training = d.flag(30)
    if training:
        attributes["training_mode"] = 1
    inputs = [x, scale, bias, mean, var]
    # In training the reference gives statistics in the type that numpy makes of several.
    known = not training or len({array.dtype for array in inputs}) == 1
    outputs = 3 if training else 1
    return Node(inputs, attributes, outputs, sums=True, tolerance=10, reference=known)


@recipe("InstanceNormalization")
def instance_normalization(d: Draw) -> Node:
    name = d.type()
    x = d.tensor(name, (*d.full(2, 2), 5, *d.full(0, 2)), "finite")
    scale, bias = (d.tensor(name, (x.shape[1],), "finite") for _ in "sb")
    return Node([x, scale, bias], epsilon(d), sums=True, tolerance=20)


@recipe("GroupNormalization")
def group_normalization(d: Draw) -> Node:
    name = d.type()
    groups, each = d.integer(1, 3), d.integer(1, 3)
    x = d.tensor(name, (d.size(), groups * each, 3, *d.full(0, 2)), "finite")
    scale, bias = (d.tensor(name, (x.shape[1],), "finite") for _ in "sb")
    attributes = {"num_groups": groups, **epsilon(d)}
    return Node([x, scale, bias], attributes, sums=True, tolerance=20)


@recipe("LayerNormalization")
def layer_normalization(d: Draw) -> Node:
    name = d.type("T")
    shape = (*d.full(1, 3), d.choice((4, 7, 16, 33)))
    axis = d.axis(len(shape))
    x = d.tensor(name, shape, "finite")
    scale, bias = (d.tensor(name, shape[axis:], "finite") for _ in "sb")
    # Mean and InvStdDev are float, but references give them in the type of X.
    count = d.integer(1, 3) if name == "float" else 1
    inputs = [x, scale, bias if d.flag(70) else None]
    attributes = epsilon(d) | given(d, {"axis": axis}, 100 if axis != -1 else 50)
    return Node(inputs, attributes, count, sums=True, tolerance=20)


@recipe("RMSNormalization")
def rms_normalization(d: Draw) -> Node:
    shape = (*d.full(1, 3), d.choice((4, 7, 16, 33)))
    axis = d.axis(len(shape))
    x = d.tensor(d.type("T"), shape, "finite")
    scale = d.tensor(d.type("V"), shape[axis:], "finite")
    attributes = epsilon(d) | given(d, {"axis": axis}, 100 if axis != -1 else 50)
    return Node([x, scale], attributes, sums=True, tolerance=20)


@recipe("LpNormalization")
def lp_normalization(d: Draw) -> Node:
    x = d.tensor(d.type(), d.full(1, 4), "positive")
    attributes = {"axis": d.axis(x.ndim), "p": d.integer(1, 2)}
    return Node([x], given(d, attributes), tolerance=4)


@recipe("MeanVarianceNormalization")
def mean_variance_normalization(d: Draw) -> Node:
    x = d.tensor(d.type(), (2, *d.full(1, 1), 3, 5), "finite")
    attributes = given(d, {"axes": d.choice(([0, 2, 3], [0, 1], [2, 3], [1]))})
    # The mean of one element: the difference of equal numbers over 1e-9.
    return Node([x], attributes if x.shape[1] > 1 else {}, sums=True, tolerance=20)


@recipe("LRN")
def lrn(d: Draw) -> Node:
    x = d.tensor(d.type(), d.full(4, 4), "finite")
    attributes = {"alpha": 0.01, "beta": d.choice((0.5, 0.75)), "bias": d.choice((1.0, 2.0))}
    # The reference stops after as many channels as the batch has elements.
    known = x.shape[0] >= x.shape[1]
    attributes = {"size": d.choice((1, 3, 5)), **given(d, attributes)}
    return Node([x], attributes, tolerance=4, reference=known)


def losses(d: Draw) -> tuple[str, np.ndarray, np.ndarray, np.ndarray | None, dict[str, Any]]:
    name = d.type("T")
    shape = (d.size(), d.choice((2, 3, 7)), *d.full(0, 2))
    labels = d.rng.integers(0, shape[1], (shape[0], *shape[2:]))
    weight = d.tensor(name, (shape[1],), "positive") if d.flag() else None
    attributes = given(d, {"reduction": d.choice(("none", "sum", "mean"))})
    if d.flag(40) and labels.size > 1:
        ignored = d.choice((0, -1, shape[1] + 2))
        labels.flat[0] = ignored
        attributes["ignore_index"] = ignored
        if (labels == ignored).all():
            labels.flat[1] = 1
    x = d.tensor(name, shape, "finite")
    return name, x, labels.astype(ELEMENTS[d.type("Tind")]), weight, attributes


@recipe("NegativeLogLikelihoodLoss")
def negative_log_likelihood_loss(d: Draw) -> Node:
    _, x, labels, weight, attributes = losses(d)
    return Node([x, labels, weight], attributes, sums=True, tolerance=10)


@recipe("SoftmaxCrossEntropyLoss")
def softmax_cross_entropy_loss(d: Draw) -> Node:
    _, x, labels, weight, attributes = losses(d)
    return Node([x, labels, weight], attributes, d.integer(1, 2), sums=True, tolerance=10)


@recipe("Det")
def det(d: Draw) -> Node:
    n = d.integer(1, 5)
    x = d.tensor(d.type(), (*d.full(0, 2), n, n), "unit")
    return Node([x], sums=True, tolerance=20)


@recipe("DynamicQuantizeLinear")
def dynamic_quantize_linear(d: Draw) -> Node:
    return Node([d.tensor("float", d.full(0, 3), "finite")], {}, 3)


def quantized(d: Draw, name: str, scale_name: str) -> tuple[dict[str, Any], tuple[int, ...], Any]:
    """Attributes, the shape of x and that of its scale: per tensor, per axis or blocked."""
    shape = d.full(1, 4)
    axis = d.axis(len(shape))
    form = d.choice(("tensor", "axis", "block"))
    if form == "tensor":
        return {}, shape, ()
    if form == "axis":
        return {"axis": axis}, shape, (shape[axis],)
    block = d.integer(1, shape[axis])
    blocks = list(shape)
    blocks[axis] = -(-shape[axis] // block)
    if -(-shape[axis] // blocks[axis]) != block and blocks[axis] > 1:
        return {"axis": axis}, shape, (shape[axis],)
    return {"axis": axis, "block_size": block}, shape, tuple(blocks)


def power_scale(d: Draw, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Scales that are powers of two: quotients are exact, so that rounding has one answer."""
    x = 2.0 ** d.rng.integers(0 if is_whole(name) else -3, 2, shape)
    return np.asarray(x).astype(ELEMENTS[name]).reshape(shape)


@recipe("QuantizeLinear")
def quantize_linear(d: Draw) -> Node:
    name = d.type("T1")
    scale_name, target = d.type("T2"), d.type("T3")
    if name == "int32":
        scale_name = "float"
    attributes, shape, scale_shape = quantized(d, target, scale_name)
    x = d.tensor(name, shape, "finite")
    scale = power_scale(d, scale_name, scale_shape)
    zero = d.tensor(target, scale_shape, "small") if is_whole(target) else None
    if zero is None:
        zero = np.zeros(scale_shape, ELEMENTS[target])
    if target.startswith("float8") and d.flag(30):
        attributes["saturate"] = d.integer(0, 1)
    if d.flag(30):
        attributes["output_dtype"] = number_of(target)
        if not is_whole(target) or d.flag():
            return Node([x, scale], attributes)
    return Node([x, scale, zero], attributes)


@recipe("DequantizeLinear")
def dequantize_linear(d: Draw) -> Node:
    name, scale_name = d.type("T1"), d.type("T2")
    attributes, shape, scale_shape = quantized(d, name, scale_name)
    x = d.tensor(name, shape, "finite")
    zero = None
    if name != "int32" and d.flag(70):
        zero = d.tensor(name, scale_shape, "small") if is_whole(name) else None
    if zero is None and not is_whole(name) and d.flag():
        zero = np.zeros(scale_shape, ELEMENTS[name])
    if scale_name == "float8e8m0":
        # The output would have the type of the scale, which has no negative numbers.
        attributes["output_dtype"] = number_of("float")
    return Node([x, d.tensor(scale_name, scale_shape, "positive"), zero], attributes)
