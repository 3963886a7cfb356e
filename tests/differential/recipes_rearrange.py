"""Recipes of operators that move elements, change shapes or choose by index."""

from __future__ import annotations

from typing import Any

import numpy as np

from draw import ELEMENTS, Draw, Node, is_whole, number_of
from recipes import recipe

Shape = tuple[int, ...]


def given(d: Draw, attributes: dict[str, Any], percent: int = 70) -> dict[str, Any]:
    """Some of the attributes; the rest have their defaults."""
    return {name: value for name, value in attributes.items() if d.flag(percent)}


@recipe("Identity")
def identity(d: Draw) -> Node:
    return Node([d.tensor(d.type(d.schema.inputs[0].type_str), d.shape())])


@recipe("Shape")
def shape_of(d: Draw) -> Node:
    x = d.tensor(d.type(), d.shape())
    # The reference does not clamp an end that lies before all axes.
    attributes = given(d, {"start": d.integer(-5, 5), "end": d.integer(-x.ndim, 5)}, 50)
    return Node([x], attributes)


@recipe("Size")
def size_of(d: Draw) -> Node:
    return Node([d.tensor(d.type(), d.shape())])


@recipe("Transpose")
def transpose(d: Draw) -> Node:
    x = d.tensor(d.type(), d.shape(0, 6))
    return Node([x], {"perm": d.permutation(x.ndim)} if x.ndim and d.flag(85) else {})


def factored(d: Draw, count: int) -> list[int]:
    """Extents whose product is `count`."""
    dims: list[int] = []
    rest = count
    while rest > 1 and len(dims) < 4:
        n = d.choice([k for k in range(1, min(rest, 70) + 1) if rest % k == 0])
        dims.append(n)
        rest //= n
    return [*dims, rest] if rest > 1 or not dims and d.flag() else dims


@recipe("Reshape")
def reshape(d: Draw) -> Node:
    x = d.tensor(d.type(), d.shape())
    target = factored(d, x.size) if x.size else [*x.shape]
    attributes: dict[str, Any] = {}
    if x.size == 0:
        attributes = {"allowzero": 1}
    elif target and d.flag():
        target[d.integer(0, len(target) - 1)] = -1
    for axis, n in enumerate(target):
        if attributes == {} and axis < x.ndim and x.shape[axis] == n and d.flag(30):
            target[axis] = 0
    return Node([x, d.ints(target)], attributes)


@recipe("Flatten")
def flatten(d: Draw) -> Node:
    x = d.tensor(d.type(), d.shape())
    attributes = {"axis": d.integer(-x.ndim, x.ndim)} if x.ndim else {"axis": 0}
    return Node([x], {} if x.ndim and d.flag(20) else attributes)


@recipe("Squeeze")
def squeeze(d: Draw) -> Node:
    shape = [1 if d.flag(40) else d.extent() for _ in range(d.integer(0, 5))]
    shape = [n if int(np.prod(shape)) < 5000 else min(n, 2) for n in shape]
    x = d.tensor(d.type(), shape)
    ones = [a - x.ndim if d.flag(30) else a for a, n in enumerate(shape) if n == 1 and d.flag()]
    return Node([x, d.ints(ones) if ones or d.flag(20) and x.ndim else None])


@recipe("Unsqueeze")
def unsqueeze(d: Draw) -> Node:
    x = d.tensor(d.type(), d.shape(0, 3))
    rank = x.ndim + d.integer(1, 3)
    axes = d.permutation(rank)[: rank - x.ndim]
    return Node([x, d.ints(a - rank if d.flag(30) else a for a in axes)])


@recipe("Expand")
def expand(d: Draw) -> Node:
    whole = d.shape()
    x = d.tensor(d.type(), d.towards(whole))
    return Node([x, d.ints(whole if d.flag(60) else d.towards(whole))])


@recipe("Tile")
def tile(d: Draw) -> Node:
    x = d.tensor(d.type(), d.shape(0, 3))
    return Node([x, d.ints(d.integer(0, 3) if d.flag(80) else 1 for _ in x.shape)])


@recipe("Concat")
def concat(d: Draw) -> Node:
    shape = d.shape(1, 4)
    axis = d.axis(len(shape))
    parts = []
    for _ in range(d.integer(1, 4)):
        own = list(shape)
        own[axis] = d.extent() if d.flag(60) else own[axis]
        own[axis] = own[axis] if int(np.prod(own)) < 9000 else 1
        parts.append(d.tensor(d.type(), own))
    return Node(parts, {"axis": axis})


def partition(d: Draw, total: int, count: int) -> list[int]:
    cuts = sorted(d.integer(0, total) for _ in range(count - 1))
    return [b - a for a, b in zip([0, *cuts], [*cuts, total], strict=True)]


@recipe("Split")
def split(d: Draw) -> Node:
    x = d.tensor(d.type(), d.shape(1, 4))
    axis = d.axis(x.ndim)
    count = d.integer(1, 4)
    attributes = {"axis": axis} if axis or d.flag() else {}
    if d.flag():
        return Node([x, d.ints(partition(d, x.shape[axis], count))], attributes, count)
    # As many equal parts as there are, the last one smaller; none empty, which onnx disputes.
    n = x.shape[axis]
    count = next((c for c in (count, 2, 1) if (c - 1) * -(-n // c) < n), 1)
    return Node([x], {**attributes, "num_outputs": count}, count)


@recipe("Slice")
def slice_(d: Draw) -> Node:
    x = d.tensor(d.type(), d.shape(1, 4))
    axes = d.axes(x.ndim)
    name = d.type("Tind")
    reach = [d.choice((-(2**31), -1000, 1000, 2**31 - 1)) if d.flag(15) else None for _ in axes]
    starts = [r or d.integer(-8, 8) for r in reach]
    ends = [d.choice((2**31 - 1, -(2**31))) if d.flag(15) else d.integer(-8, 8) for _ in axes]
    steps = [d.choice((1, 1, 2, 3, -1, -2, 70)) for _ in axes]
    for i, a in enumerate(axes):
        # The standard clamps a start before the first element to it, the reference to none.
        starts[i] = max(starts[i], -x.shape[a]) if steps[i] < 0 else starts[i]
    ordered = sorted(a % x.ndim for a in axes) == list(range(x.ndim)) and axes == sorted(axes)
    leave = ordered and axes == list(range(x.ndim)) and d.flag()
    inputs = [x, d.ints(starts, name), d.ints(ends, name)]
    if not leave:
        inputs.append(d.ints(axes, name))
    if not leave and d.flag(70):
        inputs.append(d.ints(steps, name))
    return Node(inputs)


@recipe("Pad")
def pad(d: Draw) -> Node:
    x = d.tensor(d.type("T"), d.shape(0, 4))
    mode = d.choice(("constant", "constant", "edge", "reflect", "wrap"))
    axes = d.axes(x.ndim, 1) if x.ndim and d.flag(40) else None
    along = [x.shape[a] for a in (axes if axes is not None else range(x.ndim))]
    if mode != "constant" and x.size == 0:
        mode = "constant"
    low, high = [], []
    for n in along:
        most = {"constant": 4, "edge": 4, "reflect": n - 1, "wrap": n}[mode]
        both = [d.integer(-1 if n > 2 and mode == "constant" else 0, min(most, 4)) for _ in "lh"]
        low.append(both[0])
        high.append(both[1])
    value = d.tensor(d.type("T"), ()) if mode == "constant" and d.flag() else None
    if value is None and d.type("T") == "float8e8m0":
        value = d.tensor("float8e8m0", ())  # it has no zero
    inputs = [x, d.ints([*low, *high]), value]
    if axes is not None:
        inputs.append(d.ints(axes, d.type("Tind")))
    # Without a value the reference fills texts with the number 0.
    known = x.dtype != object or value is not None
    return Node(inputs, {"mode": mode} if mode != "constant" or d.flag() else {}, reference=known)


@recipe("CenterCropPad")
def center_crop_pad(d: Draw) -> Node:
    x = d.tensor(d.type("T"), d.full(1, 4))
    axes = d.axes(x.ndim, 1) if d.flag() else None
    count = x.ndim if axes is None else len(axes)
    target = d.ints([d.size() for _ in range(count)], d.type("Tind"))
    # The reference fills texts with the number 0.
    return Node([x, target], {} if axes is None else {"axes": axes}, reference=x.dtype != object)


@recipe("DepthToSpace", "SpaceToDepth")
def depth_to_space(d: Draw) -> Node:
    block = d.integer(1, 3)
    n, c, h, w = (d.integer(1, 4) for _ in "nchw")
    attributes: dict[str, Any] = {"blocksize": block}
    if d.schema.name == "DepthToSpace":
        shape = (n, c * block * block, h, w)
        attributes |= given(d, {"mode": d.choice(("DCR", "CRD"))})
    else:
        shape = (n, c, h * block, w * block)
        if "mode" in d.schema.attributes:
            attributes |= given(d, {"mode": d.choice(("DCR", "CRD"))}, 30)
    return Node([d.tensor(d.type(), shape)], attributes)


@recipe("Gather")
def gather(d: Draw) -> Node:
    x = d.tensor(d.type("T"), d.full(1, 4))
    axis = d.axis(x.ndim)
    indices = d.indices(x.shape[axis], d.shape(0, 2), d.type("Tind"))
    return Node([x, indices], {"axis": axis} if axis or d.flag() else {})


@recipe("GatherElements")
def gather_elements(d: Draw) -> Node:
    x = d.tensor(d.type("T"), d.full(1, 4))
    axis = d.axis(x.ndim)
    shape = [d.integer(1, n) for n in x.shape]
    shape[axis] = d.size()
    indices = d.indices(x.shape[axis], shape, d.type("Tind"))
    return Node([x, indices], {"axis": axis} if axis or d.flag() else {})


def tuples(d: Draw, extents: Shape, shape: Shape) -> np.ndarray:
    """Index tuples into axes of these extents."""
    columns = [d.indices(n, shape) for n in extents]
    return np.stack(columns, -1) if columns else np.zeros((*shape, 0), np.int64)


@recipe("GatherND")
def gather_nd(d: Draw) -> Node:
    x = d.tensor(d.type(), d.full(1, 4))
    batch = d.integer(0, x.ndim - 1) if d.flag(40) else 0
    last = d.integer(1, x.ndim - batch)
    outer = (*x.shape[:batch], *d.shape(0 if batch or last else 1, 2))
    indices = tuples(d, x.shape[batch : batch + last], outer)
    return Node([x, indices], {"batch_dims": batch} if batch else {})


def reduction(d: Draw, name: str) -> dict[str, str]:
    """A mode in which the type can be combined; texts, bools and complex numbers only replace."""
    if name in ("string", "bool") or name.startswith("complex") or d.flag(40):
        return {}
    return {"reduction": d.choice(("none", "add", "mul", "min", "max"))}


@recipe("ScatterElements", "Scatter")
def scatter_elements(d: Draw) -> Node:
    name = d.type("T")
    mode = reduction(d, name) if d.schema.name == "ScatterElements" else {}
    kind = "finite" if mode else "any"
    x = d.tensor(name, d.full(1, 3), kind)
    axis = d.axis(x.ndim)
    shape = [d.integer(1, n) for n in x.shape]
    # Without a reduction the order of equal indices is open: none are equal.
    grid = np.argsort(d.rng.random(tuple(x.shape)), axis=axis)
    chosen = grid[tuple(slice(0, n) for n in shape)].astype(np.int64)
    if mode.get("reduction", "none") != "none" and d.flag():
        chosen = d.rng.integers(0, x.shape[axis], shape)
    if d.flag():
        chosen = np.where(d.rng.random(shape) < 0.5, chosen - x.shape[axis], chosen)
    indices = np.asarray(chosen).astype(ELEMENTS[d.type("Tind")])
    return Node([x, indices, d.tensor(name, shape, kind)], {"axis": axis, **mode})


@recipe("ScatterND")
def scatter_nd(d: Draw) -> Node:
    name = d.type()
    mode = reduction(d, name)
    kind = "finite" if mode else "any"
    x = d.tensor(name, d.full(1, 3), kind)
    last = d.integer(1, x.ndim)
    total = int(np.prod(x.shape[:last]))
    count = d.integer(0, total)
    flat = d.rng.permutation(total)[:count]
    if mode.get("reduction", "none") != "none" and d.flag():
        flat = d.rng.integers(0, total, count)
    indices = np.stack(np.unravel_index(flat, x.shape[:last]), -1).astype(np.int64)
    if d.flag():
        negative = indices - np.array(x.shape[:last])
        indices = np.where(d.rng.random(indices.shape) < 0.5, negative, indices)
    return Node([x, indices, d.tensor(name, (count, *x.shape[last:]), kind)], mode)


@recipe("TensorScatter")
def tensor_scatter(d: Draw) -> Node:
    shape = d.full(3, 4)
    axis = d.choice(range(1, len(shape)))
    update = list(shape)
    update[axis] = d.integer(1, shape[axis])
    mode = d.choice(("linear", "circular"))
    most = shape[axis] - (update[axis] if mode == "linear" else 1)
    starts = d.rng.integers(0, most + 1, shape[0]) if d.flag(80) else None
    axis = axis - len(shape) if d.flag() else axis
    inputs = [d.tensor(d.type(), shape), d.tensor(d.type(), update), starts]
    return Node(inputs, {"mode": mode, "axis": axis})


@recipe("Compress")
def compress(d: Draw) -> Node:
    x = d.tensor(d.type("T"), d.full(1, 4))
    axis = d.axis(x.ndim) if d.flag(70) else None
    n = x.size if axis is None else x.shape[axis]
    length = d.integer(1, max(1, min(n, 200)))
    condition = d.tensor("bool", (length,))
    return Node([x, condition], {} if axis is None else {"axis": axis})


@recipe("ReverseSequence")
def reverse_sequence(d: Draw) -> Node:
    x = d.tensor(d.type(), d.full(2, 4))
    batch = d.integer(0, 1)
    lengths = d.rng.integers(1, x.shape[1 - batch] + 1, x.shape[batch])
    return Node([x, lengths], {"batch_axis": batch, "time_axis": 1 - batch})


@recipe("OneHot")
def one_hot(d: Draw) -> Node:
    kind = d.type("T1")
    indices = d.tensor(kind, d.shape(0, 3), "small")
    depth = np.array(d.integer(1, 7), ELEMENTS[d.type("T2")])
    values = d.tensor(d.type("T3"), (2,), "finite")  # the reference multiplies by 0 and 1
    axis = d.integer(-indices.ndim - 1, indices.ndim)
    return Node([indices, depth, values], given(d, {"axis": axis}))


@recipe("Trilu")
def trilu(d: Draw) -> Node:
    x = d.tensor(d.type(), (*d.shape(0, 2), *d.shape(2, 2)))
    k = np.array(d.integer(-5, 5)) if d.flag(70) else None
    # The reference fills texts with the number 0.
    known = x.dtype != object
    return Node([x, k], given(d, {"upper": d.integer(0, 1)}), reference=known)


@recipe("EyeLike")
def eye_like(d: Draw) -> Node:
    attributes = given(d, {"k": d.integer(-4, 4)})
    if d.flag():
        attributes["dtype"] = number_of(d.choice(d.admitted("T2")))
    return Node([d.tensor(d.type("T1"), d.full(2, 2))], attributes)


@recipe("NonZero")
def non_zero(d: Draw) -> Node:
    return Node([d.tensor(d.type(), d.shape(1, 4), "small")])


@recipe("Unique")
def unique(d: Draw) -> Node:
    # NaN is equal to nothing, not even to itself: how often it is listed is open.
    x = d.tensor(d.type(), d.full(1, 3), "small")
    axis = d.axis(x.ndim) if d.flag() else None
    attributes = {} if axis is None else {"axis": axis}
    attributes |= given(d, {"sorted": d.integer(0, 1)})
    # The reference sorts where it is told not to.
    return Node([x], attributes, d.integer(1, 4), reference=attributes.get("sorted", 1) == 1)


@recipe("ConstantOfShape")
def constant_of_shape(d: Draw) -> Node:
    shape = d.shape()
    attributes = {}
    if d.flag(80):
        attributes = {"value": d.tensor(d.type("T2"), (1,))}
    return Node([d.ints(shape)], attributes)


@recipe("Range")
def range_(d: Draw) -> Node:
    name = d.type()
    delta = d.integer(1, 3) * (1 if name.startswith("uint") or d.flag() else -1)
    start, count = d.integer(5, 20), d.integer(0, 30)
    limit = start + delta * count
    start, limit = (start, limit) if limit >= 0 or is_whole(name) else (start - limit, 0)
    limit = max(limit, 0) if name.startswith("uint") else limit
    return Node([np.array(v, ELEMENTS[name]) for v in (start, limit, delta)])


@recipe("Upsample")
def upsample(d: Draw) -> Node:
    x = d.tensor(d.type(), d.full(4, 4), "finite")
    scales = np.array([1, 1, d.choice((1, 2, 3)), d.choice((1, 2))], np.float32)
    return Node([x, scales], {"mode": "nearest"}, constant=frozenset({1}))
