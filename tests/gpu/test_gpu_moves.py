"""Operators that only move elements on the CUDA provider, against the CPU provider."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto

import softcuda
import tiercel
from gpu_models import both, gpu_session, model, steps
from gpu_nodes import agree, element_type, node_model

Array = npt.NDArray[Any]
DTYPES = (
    "bool int8 uint8 int16 uint16 int32 uint32 int64 uint64 float16 float32 float64 complex64"
).split()


def noise(dtype: Any, *shape: int, seed: int = 0) -> Array:
    """Values of a type; among floats one is not a number."""
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind == np.bool_:
        return rng.integers(0, 2, shape).astype(kind)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        return rng.integers(limits.min, limits.max, shape, dtype=kind)
    made = (rng.standard_normal(shape) * 9).astype(kind)
    if made.size > 2:
        made.reshape(-1)[1] = np.nan
    return made


def move(op: str, x: Array, *lists: list[int] | None, kernel: str = "copy", **given: Any) -> Array:
    """One node with lists that are constants; x of any batch, too."""
    constants = {
        f"list{i}": np.array(values, np.int64)
        for i, values in enumerate(lists)
        if values is not None
    }
    feeds: dict[str, Array | None] = {"x": x}
    feeds.update({f"list{i}": constants.get(f"list{i}") for i in range(len(lists))})
    agree(op, feeds, [element_type(x)], kernel=kernel, constants=constants, **given)
    return agree(
        op, feeds, [element_type(x)], kernel=kernel, constants=constants, dynamic=True, **given
    )[0]


@pytest.mark.parametrize("dtype", [*DTYPES, ml_dtypes.bfloat16, np.complex128])
def test_types(cuda_driver: softcuda.Device, dtype: Any) -> None:
    x = noise(dtype, 3, 33, 40)
    move("Transpose", x, perm=[0, 2, 1])
    if dtype is np.complex128:
        return
    move("Slice", x, [1, 30], [3, 2], [0, 1], [1, -3])
    if np.dtype(dtype) != np.complex64:
        move("Pad", x, [1, 0, 2, 0, 3, 1])


TRANSPOSES = [
    ((7, 9), (1, 0)),
    ((1, 7, 1, 9), (3, 0, 1, 2)),
    ((2, 50, 3, 16), (0, 2, 1, 3)),  # heads of attention
    ((2, 50, 3, 16), (0, 2, 3, 1)),
    ((2, 3, 35, 41), (0, 2, 3, 1)),  # to channels last
    ((2, 9, 11, 67), (0, 3, 1, 2)),
    ((3, 4, 5, 6, 7), (4, 2, 0, 3, 1)),
    ((2, 3, 2, 3, 2, 3, 2, 9), (7, 5, 3, 1, 6, 4, 2, 0)),
    ((10, 2, 12), (2, 1, 0)),
    ((40, 0, 3), (2, 1, 0)),
]


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize(("shape", "perm"), TRANSPOSES)
def test_transpose(
    cuda_driver: softcuda.Device, shape: tuple[int, ...], perm: tuple[int, ...], dtype: str
) -> None:
    x = noise(dtype, *shape)
    made = move("Transpose", x, perm=list(perm))
    np.testing.assert_array_equal(made, x.transpose(perm))


@pytest.mark.parametrize("seed", range(12))
def test_random_views(cuda_driver: softcuda.Device, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(2, 6))
    x = noise(rng.choice(DTYPES), *rng.integers(2, 9, rank), seed=seed)
    move("Transpose", x, perm=[rank - 1, *map(int, rng.permutation(rank - 1))])
    axes = [int(i) for i in rng.permutation(rank)[: rng.integers(1, rank + 1)]]
    starts = [int(i) for i in rng.integers(-10, 10, len(axes))]
    ends = [int(i) for i in rng.integers(-10, 10, len(axes))]
    steps = [int(i) for i in rng.choice([-3, -2, -1, 1, 2, 3], len(axes))]
    move("Slice", x, starts, ends, axes, steps)
    if x.dtype.kind != "c":
        mode = str(rng.choice(["constant", "edge", "reflect", "wrap"]))
        pads = rng.integers(-1 if mode == "constant" else 0, 4, 2 * rank)
        pads *= rng.integers(0, 2, 2 * rank)
        pads = np.maximum(pads, np.tile(1 - np.array(x.shape), 2) // 2)
        move("Pad", x, [int(i) for i in pads], mode=mode)
    if rank <= 4:
        move("Tile", x, [int(i) for i in rng.integers(0 if seed == 3 else 1, 4, rank)])
    one = x.take([1], int(rng.integers(0, rank)))
    ones = np.array([1, *one.shape]) == 1
    move("Expand", one, [int(i) for i in np.where(ones, rng.integers(2, 5, rank + 1), 1)])


@pytest.mark.parametrize("width", [1, 2, 4, 6, 8, 12, 16, 24, 72])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_parts(cuda_driver: softcuda.Device, axis: int, width: int) -> None:
    x = noise("uint8", 4, 6, width)
    sizes = [1, 0, x.shape[axis] - 1]
    starts = np.cumsum(sizes)[:-1]
    parts = np.split(x, starts, axis)
    kind = element_type(x)
    feeds = {f"x{i}": part for i, part in enumerate(parts)}
    agree("Concat", feeds, [kind], kernel="copy", axis=axis)
    split = {"sizes": np.array(sizes, np.int64)}
    got = agree(
        "Split", {"x": x, **split}, [kind] * 3, kernel="copy", constants=split, axis=axis - 3
    )
    for part, want in zip(got, parts, strict=True):
        np.testing.assert_array_equal(part, want)
    if axis == 1:
        agree("Split", {"x": x}, [kind] * 4, kernel="copy", axis=1, num_outputs=4)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
@pytest.mark.parametrize("op", ["DepthToSpace", "SpaceToDepth"])
def test_blocks(cuda_driver: softcuda.Device, op: str, mode: str) -> None:
    for block, shape in [(2, (2, 8, 6, 4)), (3, (1, 27, 3, 9)), (1, (2, 3, 4, 5))]:
        move(op, noise("float32", *shape), blocksize=block, mode=mode)


def test_pad_value_and_axes(cuda_driver: softcuda.Device) -> None:
    x = noise("float32", 3, 4, 5)
    constants = {"pads": np.array([1, 2, 3, -1]), "axes": np.array([-1, 0])}
    feeds = {"x": x, "pads": constants["pads"], "value": np.array(7.5, np.float32)}
    agree("Pad", {**feeds, "axes": constants["axes"]}, kernel="copy", constants=constants)
    move("CenterCropPad", x, [4, 2, 5])
    move("CenterCropPad", x, [3], axes=[1])


@pytest.mark.parametrize("dtype", "bool int8 uint16 float16 int32 float32 int64 float64".split())
def test_constant_of_shape(cuda_driver: softcuda.Device, dtype: str) -> None:
    value = np.ones(1, dtype) if dtype == "bool" else np.full(1, 77, dtype)
    tensor = onnx.numpy_helper.from_array(value)
    for shape in ([3], [2, 0, 4], [7, 33]):
        feeds = {"shape": np.array(shape, np.int64)}
        made = agree("ConstantOfShape", feeds, [element_type(value)], kernel="copy", value=tensor)
        np.testing.assert_array_equal(made[0], np.full(shape, value[0]))
    agree("ConstantOfShape", {"shape": np.array([5], np.int64)}, kernel="copy")


def test_parts_of_others_are_not_copied(cuda_driver: softcuda.Device) -> None:
    made = model(
        """g (float[1, 64, 4] x, float[1, 32, 4] y) => (float[1, 48, 4] p, float[1, 48, 4] q)
           { a = Softmax(x)  b = Softmax(y)  c = Concat<axis = 1>(a, b)
             d, e = Split<axis = 1, num_outputs = 2>(c)  p = Softmax(d)  q = Softmax(e) }"""
    )
    rng = np.random.default_rng(3)
    session = both(made, {
        "x": rng.standard_normal((1, 64, 4), np.float32),
        "y": rng.standard_normal((1, 32, 4), np.float32),
    })  # fmt: skip
    assert [op for op, _ in steps(session)].count("Softmax") == 4
    assert not {"Concat", "Split"} & {op for op, _ in steps(session)}


def test_lists_that_come_at_run(cuda_driver: softcuda.Device) -> None:
    made = model(
        """g (float[n, m] x, int64[2] starts, int64[2] ends) => (float[a, b] y)
           { y = Slice(x, starts, ends) }"""
    )
    x = noise("float32", 9, 14)
    session = gpu_session(made, True)
    for starts, ends in [((1, 2), (8, 10)), ((0, 0), (9, 14)), ((5, 0), (5, 3))]:
        feeds = {"x": x, "starts": np.array(starts), "ends": np.array(ends)}
        (y,) = session.run(None, feeds)
        np.testing.assert_array_equal(y, x[starts[0] : ends[0], starts[1] : ends[1]])


def test_more_axes_than_kernels_take_run_by_the_kernel_table(cuda_driver: softcuda.Device) -> None:
    x = noise("float32", *[2] * 9)
    session = gpu_session(
        onnx.load_from_string(node_model("Transpose", {"x": x}, [TensorProto.FLOAT])), True
    )
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], x.T)
    move("Tile", noise("float32", 2, 1, 3, 1, 2), [2, 2, 1, 3, 2], kernel="generic")


# ---- indices


@pytest.mark.parametrize("dtype", [*DTYPES, ml_dtypes.bfloat16])
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_gather_types(cuda_driver: softcuda.Device, dtype: Any, index: Any) -> None:
    rng = np.random.default_rng(2)
    x, at = noise(dtype, 5, 6, 4), rng.integers(-6, 6, (3, 7)).astype(index)
    agree("Gather", {"x": x, "at": at}, [element_type(x)], kernel="gather", axis=1)
    at = rng.integers(-6, 6, (4, 9, 3)).astype(index)
    kind = [element_type(x)]
    agree("GatherElements", {"x": x, "at": at}, kind, kernel="gather", axis=-2)
    updates = noise(dtype, 4, 9, 3, seed=4)
    feeds = {"x": x, "at": at, "updates": updates}
    agree("ScatterElements", feeds, kind, kernel="scatter", axis=1)  # with equal indices


@pytest.mark.parametrize("width", [1, 3, 4, 6, 8, 32])
def test_gather_axes(cuda_driver: softcuda.Device, width: int) -> None:
    rng = np.random.default_rng(width)
    x = noise("float16", 6, 7, width)
    kind = [element_type(x)]
    for axis in (0, 1, 2, -1):
        n = x.shape[axis]
        for shape in ((), (0,), (11,), (2, 3)):
            at = np.asarray(rng.integers(-n, n, shape))
            agree("Gather", {"x": x, "at": at}, kind, kernel="gather", axis=axis)
    at = rng.integers(-6, 6, (6, 7, width))
    agree("GatherElements", {"x": x, "at": at}, kind, kernel="gather", axis=0, dynamic=True)


TUPLES = [((4, 5, 6), (7, 1), 0), ((4, 5, 6), (2, 3, 2), 0), ((4, 5, 6), (3, 3), 0),
          ((4, 5, 8), (4, 3, 1), 1), ((2, 3, 5, 4), (2, 3, 6, 1), 2), ((2, 3, 4), (2, 2), 1),
          ((5, 16), (1, 1), 0), ((5, 16), (0, 1), 0)]  # fmt: skip


@pytest.mark.parametrize("dtype", ["bool", "uint8", "float16", "float32", "float64", "complex64"])
@pytest.mark.parametrize(("shape", "indices", "batch"), TUPLES)
def test_tuples(
    cuda_driver: softcuda.Device,
    shape: tuple[int, ...],
    indices: tuple[int, ...],
    batch: int,
    dtype: str,
) -> None:
    rng = np.random.default_rng(7)
    x, depth = noise(dtype, *shape), indices[-1]
    limits = np.array(shape[batch : batch + depth])
    at = rng.integers(-limits, limits, indices)
    kind = [element_type(x)]
    feeds = {"x": x, "at": at}
    agree("GatherND", feeds, kind, kernel="gather", batch_dims=batch)
    if batch == 0:
        updates = noise(dtype, *indices[:-1], *shape[depth:], seed=4)
        agree("ScatterND", {**feeds, "updates": updates}, kind, kernel="scatter")


@pytest.mark.parametrize("how", ["add", "mul", "max", "min"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32", "int64"])
def test_reductions(cuda_driver: softcuda.Device, dtype: str, how: str) -> None:
    rng = np.random.default_rng(8)
    whole = np.dtype(dtype).kind == "i"

    def values(*shape: int) -> Array:
        made = rng.integers(-5, 6, shape) if whole else rng.standard_normal(shape)
        return made.astype(dtype)

    x = values(6, 5, 4)
    kind = [element_type(x)]
    for axis, shape in [(0, (9, 5, 4)), (1, (6, 7, 4)), (2, (2, 3, 11))]:
        at = rng.integers(-x.shape[axis], x.shape[axis], shape)
        feeds = {"x": x, "at": at, "updates": values(*shape)}
        agree("ScatterElements", feeds, kind, kernel="scatter", axis=axis, reduction=how, slack=4)
    for depth in (1, 2, 3):
        at = rng.integers(0, 4, (8, depth))
        feeds = {"x": x, "at": at, "updates": values(8, *x.shape[depth:])}
        agree("ScatterND", feeds, kind, kernel="scatter", reduction=how, slack=4)


def test_scatter_into_what_nobody_reads_again(cuda_driver: softcuda.Device) -> None:
    made = model(
        """g (float[4, 6] x, int64[3, 1] at, float[3, 6] u, int64[2, 6] rows, float[2, 6] v)
           => (float[4, 6] y)
           { a = Softmax(x)  b = ScatterND(a, at, u)  c = ScatterElements<axis = 0>(b, rows, v)
             y = Softmax(c) }"""
    )
    rng = np.random.default_rng(9)
    both(made, {
        "x": noise("float32", 4, 6)[:, ::-1] * 0, "at": np.array([[1], [1], [-1]]),
        "u": rng.standard_normal((3, 6), np.float32), "rows": rng.integers(-4, 4, (2, 6)),
        "v": rng.standard_normal((2, 6), np.float32),
    })  # fmt: skip


WRONG = [
    ("Gather", (4, 3), (2,), None),
    ("GatherElements", (4, 3), (2, 3), None),
    ("GatherND", (4, 3), (2, 1), None),
    ("ScatterElements", (4, 3), (2, 3), (2, 3)),
    ("ScatterND", (4, 3), (2, 1), (2, 3)),
]


@pytest.mark.parametrize("reduction", ["none", "add"])
@pytest.mark.parametrize(("op", "shape", "indices", "updates"), WRONG)
def test_an_index_out_of_range(
    cuda_driver: softcuda.Device,
    op: str,
    shape: tuple[int, ...],
    indices: tuple[int, ...],
    updates: tuple[int, ...] | None,
    reduction: str,
) -> None:
    if updates is None and reduction != "none":
        return
    feeds = {"x": np.zeros(shape, np.float32), "at": np.zeros(indices, np.int64)}
    attributes = {"name": "the_node"}
    if updates is not None:
        feeds["updates"] = np.ones(updates, np.float32)
        attributes["reduction"] = reduction
    made = node_model(op, feeds, [TensorProto.FLOAT], **attributes)
    session = gpu_session(onnx.load_from_string(made), True)
    right = session.run(None, feeds)
    for wrong in (4, -5):
        feeds["at"].reshape(-1)[1] = wrong
        messages = []
        for one in (session, tiercel.InferenceSession(made, providers=["CPUExecutionProvider"])):
            with pytest.raises(Exception, match="an index is out of range") as raised:
                one.run(None, feeds)
            messages.append((type(raised.value), str(raised.value).split("(inputs")[0]))
            assert "the_node" in str(raised.value)
        assert messages[0][0] is messages[1][0]
    feeds["at"][:] = 0
    again = session.run(None, feeds)
    np.testing.assert_array_equal(again[0], right[0])
