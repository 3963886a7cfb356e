"""Groups of nodes that networks are made of, which passes of the optimiser look for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Pattern = Callable[[Any, Any], None]
PATTERNS: list[Pattern] = []


def pattern(function: Pattern) -> Pattern:
    """Registers a function that adds nodes to a chain, from one of its values."""
    PATTERNS.append(function)
    return function


def floating(chain: Any, value: Any, low: int = 0, high: int = 6) -> Any:
    """The value, cast to float where it holds whole numbers; no zeros, and so many axes."""
    shape = value.array.shape
    if 0 in shape or not low <= len(shape) <= high:
        raise _unfit()
    if "float" in value.array.dtype.name:
        return value
    return chain.add("Cast", [value], to=1)[0]


def _unfit() -> Exception:
    from chains import Unfit

    return Unfit("shape")


def like(chain: Any, value: Any, shape: tuple[int, ...], kind: str = "unit") -> np.ndarray:
    """A new operand in the type of a value."""
    x = chain.draw.tensor("float", shape, kind)
    return np.asarray(x).astype(value.array.dtype)


def image(chain: Any, value: Any) -> Any:
    """The value as [N, C, H, W]."""
    x = floating(chain, value, 2, 5)
    if x.array.ndim == 4:
        return x
    n, c = x.array.shape[:2]
    return chain.add("Reshape", [x, np.array([n, c, -1, 1])])[0]


@pattern
def matmul(chain: Any, value: Any) -> None:
    x = floating(chain, value, 2)
    d, k = chain.draw, x.array.shape[-1]
    y = chain.add("MatMul", [x, like(chain, x, (k, d.size()))])[0]
    if d.flag():
        y = chain.add("Add", [y, like(chain, x, (y.array.shape[-1],))])[0]
    if d.flag():
        chain.add(d.choice(("Relu", "Sigmoid", "Tanh", "Gelu")), [y])


@pattern
def turned_matmul(chain: Any, value: Any) -> None:
    """Products of transposed operands, as attention has them."""
    x = floating(chain, value, 2, 4)
    d, rank = chain.draw, x.array.ndim
    perm = d.permutation(rank)
    turned = chain.add("Transpose", [x], perm=perm)[0]
    rows = turned.array.shape[-1]
    y = chain.add("MatMul", [turned, like(chain, x, (*turned.array.shape[:-2], rows, d.size()))])
    if d.flag():
        chain.add("Transpose", y, perm=d.permutation(rank))


@pattern
def gemm(chain: Any, value: Any) -> None:
    x = floating(chain, value, 2, 2)
    d = chain.draw
    turn, k = d.flag(), x.array.shape[1]
    n = d.size()
    w = like(chain, x, (n, k) if turn else (k, n))
    y = chain.add("Gemm", [x, w, like(chain, x, (n,))], transB=int(turn))
    chain.add(d.choice(("Relu", "Softmax", "Tanh")), y)


@pattern
def conv(chain: Any, value: Any) -> None:
    x = image(chain, value)
    d, (_, c, h, w) = chain.draw, x.array.shape
    kernel = [d.integer(1, min(3, n)) for n in (h, w)]
    group = d.choice([g for g in (1, 1, 2, c) if c % g == 0])
    m = group * d.choice((1, 2, 4, 8, 9))
    weight = like(chain, x, (m, c // group, *kernel))
    attributes = {"group": group, "kernel_shape": kernel}
    if d.flag():
        attributes["pads"] = [(k - 1) // 2 for k in kernel] * 2
    if d.flag(30):
        attributes["strides"] = [2, 2]
    bias = like(chain, x, (m,)) if d.flag() else None
    y = chain.add("Conv", [x, weight, bias], **attributes)[0]
    if d.flag():
        operands = [like(chain, x, (m,)) for _ in "sbm"]
        y = chain.add("BatchNormalization", [y, *operands, like(chain, x, (m,), "positive")])[0]
    if d.flag():
        y = chain.add(d.choice(("Relu", "Sigmoid", "HardSwish", "LeakyRelu")), [y])[0]
    if d.flag(30):
        chain.add("Mul", [y, chain.add("Sigmoid", [y])[0]])


@pattern
def residual(chain: Any, value: Any) -> None:
    """A convolution that keeps its shape, added to what it came from."""
    x = image(chain, value)
    d, c = chain.draw, x.array.shape[1]
    weight = like(chain, x, (c, c, 3, 3))
    y = chain.add("Conv", [x, weight], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    y = chain.add("Add", [y[0], x] if d.flag() else [x, y[0]])
    chain.add("Relu", y)


@pattern
def pool(chain: Any, value: Any) -> None:
    x = image(chain, value)
    d, (h, w) = chain.draw, x.array.shape[2:]
    op = d.choice(("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"))
    if op.startswith("Global"):
        y = chain.add(op, [x])
    else:
        kernel = [d.integer(1, min(3, n)) for n in (h, w)]
        y = chain.add(op, [x], kernel_shape=kernel, strides=[d.integer(1, 2) for _ in "hw"])
    if d.flag():
        chain.add("Flatten", y, axis=1)


@pattern
def upsample(chain: Any, value: Any) -> None:
    x = image(chain, value)
    scales = np.array([1, 1, 2, 2], np.float32)
    attributes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric"}
    y = chain.add("Resize", [x, None, scales], nearest_mode="floor", **attributes)
    if chain.draw.flag():
        chain.add("Concat", [y[0], y[0]], axis=1)


@pattern
def layer_norm(chain: Any, value: Any) -> None:
    """A layer normalisation in its parts."""
    x = floating(chain, value, 2)
    if x.array.shape[-1] < 3:
        raise _unfit()
    axes = [-1] if chain.opset < 18 else np.array([-1])
    mean = _reduced(chain, "ReduceMean", x, axes)
    centred = chain.add("Sub", [x, mean])[0]
    two = np.array(2, x.array.dtype)
    square = chain.add("Pow", [centred, two])[0]
    variance = _reduced(chain, "ReduceMean", square, axes)
    small = np.array(1e-2, x.array.dtype)
    deviation = chain.add("Sqrt", chain.add("Add", [variance, small]))[0]
    y = chain.add("Div", [centred, deviation])[0]
    y = chain.add("Mul", [y, like(chain, x, (x.array.shape[-1],))])[0]
    chain.add("Add", [y, like(chain, x, (x.array.shape[-1],))])


def _reduced(chain: Any, op: str, x: Any, axes: Any) -> Any:
    if isinstance(axes, list):
        return chain.add(op, [x], axes=axes)[0]
    return chain.add(op, [x, axes])[0]


@pattern
def gelu(chain: Any, value: Any) -> None:
    """A Gelu in its parts."""
    x = floating(chain, value)
    dtype = x.array.dtype
    y = chain.add("Div", [x, np.array(1.41421356, dtype)])
    y = chain.add("Add", [chain.add("Erf", y)[0], np.array(1, dtype)])
    y = chain.add("Mul", [x, y[0]] if chain.draw.flag() else [y[0], x])
    chain.add("Mul", [y[0], np.array(0.5, dtype)])


@pattern
def swish(chain: Any, value: Any) -> None:
    x = floating(chain, value)
    chain.add("Mul", [x, chain.add("Sigmoid", [x])[0]])


@pattern
def attention(chain: Any, value: Any) -> None:
    """softmax(Q·Kᵀ·scale + mask)·V in its parts, split into heads by Reshape and Transpose."""
    x = floating(chain, value, 3, 3)
    d, (b, n, width) = chain.draw, x.array.shape
    heads, size = d.integer(1, 3), d.choice((2, 4, 8))
    parts = []
    for i in range(3):
        y = chain.add("MatMul", [x, like(chain, x, (width, heads * size))])
        y = chain.add("Reshape", [y[0], np.array([b, n, heads, size])])
        parts.append(chain.add("Transpose", y, perm=[0, 2, 3, 1] if i == 1 else [0, 2, 1, 3])[0])
    scores = chain.add("MatMul", [parts[0], parts[1]])
    scores = chain.add("Mul", [scores[0], np.array(0.5, x.array.dtype)])
    if d.flag():
        scores = chain.add("Add", [scores[0], like(chain, x, (b, 1, 1, n))])
    weights = chain.add("Softmax", scores, axis=-1)
    y = chain.add("Transpose", chain.add("MatMul", [weights[0], parts[2]]), perm=[0, 2, 1, 3])
    chain.add("Reshape", [y[0], np.array([0, 0, heads * size])])


@pattern
def computed_shape(chain: Any, value: Any) -> None:
    """A Reshape to a shape that other nodes compute from the value's own."""
    shape = value.array.shape
    if not shape or 0 in shape:
        raise _unfit()
    d = chain.draw
    own = chain.add("Shape", [value])[0]
    at = d.integer(0, len(shape) - 1)
    kept = chain.add("Gather", [own, np.array([at])], axis=0)[0]
    y = chain.add("Concat", [kept, np.array([-1])], axis=0)
    y = chain.add("Reshape", [value, y[0]])
    if d.flag():
        chain.add("Reshape", [y[0], own])
    elif d.flag():
        chain.add("Expand", [np.ones((1,) * len(shape), value.array.dtype), own])


@pattern
def quantized(chain: Any, value: Any) -> None:
    """Through eight bits and back, and a product of such."""
    x = floating(chain, value, 2, 4)
    d = chain.draw
    if x.array.dtype != np.float32:
        raise _unfit()
    scale, zero = np.array(0.125, np.float32), np.array(d.integer(0, 9), np.uint8)
    q = chain.add("QuantizeLinear", [x, scale, zero])
    y = chain.add("DequantizeLinear", [q[0], scale, zero])[0]
    if d.flag():
        w = d.tensor("int8", (x.array.shape[-1], d.size()), "small")
        w = chain.add("DequantizeLinear", [w, np.array(0.25, np.float32), np.array(0, np.int8)])
        y = chain.add("MatMul", [y, w[0]])[0]
        chain.add("QuantizeLinear", [y, np.array(0.5, np.float32), zero])


@pattern
def there_and_back(chain: Any, value: Any) -> None:
    """Two transpositions with elementwise nodes between them."""
    x = floating(chain, value, 2, 5)
    d, rank = chain.draw, x.array.ndim
    perm = d.permutation(rank)
    y = chain.add("Transpose", [x], perm=perm)[0]
    y = chain.add(d.choice(("Relu", "Sigmoid", "Abs", "Neg")), [y])[0]
    if d.flag():
        y = chain.add("Add", [y, like(chain, x, (y.array.shape[-1],))])[0]
    back = [int(i) for i in np.argsort(perm)]
    chain.add("Transpose", [y], perm=back if d.flag(70) else d.permutation(rank))


@pattern
def softmax(chain: Any, value: Any) -> None:
    """Elementwise nodes before and after a softmax or a reduction."""
    x = floating(chain, value, 1)
    d = chain.draw
    y = chain.add("Mul", [x, np.array(0.5, x.array.dtype)])
    if d.flag():
        y = chain.add("Add", [y[0], like(chain, x, x.array.shape[-1:])])
    y = chain.add(d.choice(("Softmax", "LogSoftmax")), y, axis=d.axis(x.array.ndim))
    chain.add("Mul", [y[0], like(chain, x, ())])


@pattern
def split_and_join(chain: Any, value: Any) -> None:
    x = value
    d, shape = chain.draw, x.array.shape
    axes = [a for a, n in enumerate(shape) if n > 1]
    if not axes:
        raise _unfit()
    axis = d.choice(axes)
    cut = d.integer(1, shape[axis] - 1)
    a, b = chain.add("Split", [x, np.array([cut, shape[axis] - cut])], 2, axis=axis)
    if "float" in x.array.dtype.name and d.flag():
        b = chain.add(d.choice(("Relu", "Neg")), [b])[0]
    chain.add("Concat", [b, a] if d.flag() else [a, b], axis=axis)
