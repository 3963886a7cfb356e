"""Reductions, positions of extremes, the largest items and running sums on the CUDA provider."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto

import softcuda
from gpu_nodes import Array, agree, element_type, gpu_session, node_model

TYPES: dict[str, np.dtype] = {
    name: np.dtype(dtype)
    for name, dtype in {
        "float": np.float32,
        "double": np.float64,
        "float16": np.float16,
        "bfloat16": ml_dtypes.bfloat16,
        "int32": np.int32,
        "int64": np.int64,
    }.items()
}
ALL = ["ReduceSum", "ReduceProd", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceSumSquare"]
LAST = "ReduceLogSumExp"
OF_FLOATS = ["ReduceMean", "ReduceL2", "ReduceLogSum", LAST]
# Shape and axes that lie side by side, or would but for axes of one item.
AXES: list[tuple[tuple[int, ...], list[int] | None]] = [
    ((5, 37), [-1]),
    ((3, 4, 9), [1]),
    ((3, 2, 5, 7), [2, 3]),
    ((6, 1, 40), [0, 2]),
    ((2, 3, 33), [0]),
    ((3, 1500), [1]),
    ((2, 90, 3), None),
    ((4, 7), []),
]


def runs(op: str, dtype: str) -> bool:
    """Whether there is a CUDA kernel of it; the kernel table has the others."""
    return op in ALL or (dtype not in ("int32", "int64") and (op, dtype) != (LAST, "double"))


def numbers(dtype: str, *shape: int, seed: int = 0) -> Array:
    """Numbers from 1 to 2, or integers from -3 to 3."""
    rng = np.random.default_rng(seed)
    if dtype.startswith("int"):
        return rng.integers(-3, 4, shape).astype(TYPES[dtype])
    return (1 + rng.random(shape)).astype(TYPES[dtype])


@pytest.mark.parametrize(
    ("op", "dtype"), [(op, t) for op in ALL + OF_FLOATS for t in TYPES if runs(op, t)]
)
def test_reductions(cuda_driver: softcuda.Device, op: str, dtype: str) -> None:
    for seed, (shape, axes) in enumerate(AXES):
        x = numbers(dtype, *shape, seed=seed)
        if op == "ReduceProd":
            x[..., 7:] = 1
            if dtype == "float16" and axes is not None and 0 in axes:
                x[1:] = 1
        given = None if axes is None else {"axes": np.array(axes, np.int64)}
        for keep in (0, 1):
            agree(op, {"x": x, **(given or {})}, [element_type(x)], constants=given,
                  kernel="reduce", slack=8, keepdims=keep, dynamic=shape[0] == 3)  # fmt: skip


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool"])
@pytest.mark.parametrize("dtype", ["float", "double", "float16", "bfloat16"])
def test_global_pools(cuda_driver: softcuda.Device, dtype: str, op: str) -> None:
    for shape in [(2, 3, 7), (3, 5, 6, 7), (1, 2, 40, 41), (2, 2, 3, 4, 5)]:
        x = numbers(dtype, *shape)
        agree(op, {"x": x}, [element_type(x)], kernel="reduce", dynamic=shape[0] == 3)


@pytest.mark.parametrize("op", ALL + OF_FLOATS)
@pytest.mark.parametrize("axis", [0, 1])
def test_reductions_of_rare_values(cuda_driver: softcuda.Device, op: str, axis: int) -> None:
    x = numbers("float", 5, 70)
    x[0, 3], x[1, 2], x[2, 1], x[3, :] = np.nan, np.inf, -np.inf, -np.inf
    x = x if axis == 1 else np.ascontiguousarray(x.T)
    axes = {"axes": np.array([axis])}
    agree(op, {"x": x, **axes}, constants=axes, kernel="reduce", slack=8)


def test_axes_apart_run_by_the_kernel_table(cuda_driver: softcuda.Device) -> None:
    x, axes = numbers("float", 2, 3, 4), np.array([0, 2])
    agree("ReduceSum", {"x": x, "axes": axes}, constants={"axes": axes}, kernel="generic")


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("dtype", [*TYPES, "int8", "uint8"])
def test_positions_of_extremes(cuda_driver: softcuda.Device, dtype: str, op: str) -> None:
    rng = np.random.default_rng(1)
    for shape, axis in [((6, 70), 1), ((3, 5, 40), 1), ((9, 2, 3), 0), ((300,), -1)]:
        x = rng.integers(0, 9, shape).astype(TYPES.get(dtype, np.dtype(dtype)))
        for last in (0, 1):
            agree(op, {"x": x}, [TensorProto.INT64], kernel="arg", axis=axis, keepdims=last,
                  select_last_index=last, dynamic=shape[0] == 6)  # fmt: skip


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("axis", [0, 1])
def test_positions_among_rare_values(cuda_driver: softcuda.Device, op: str, axis: int) -> None:
    x = numbers("float", 40, 50)
    x[0, 3], x[1, 2], x[2, 1], x[3, :], x[4, 9] = np.nan, np.inf, -np.inf, -np.inf, -0.0
    x = x if axis == 1 else np.ascontiguousarray(x.T)
    (got,) = gpu_session(node_model(op, {"x": x}, [TensorProto.INT64], axis=axis, keepdims=0)).run(
        None, {"x": x}
    )
    np.testing.assert_array_equal(got, {"ArgMax": np.argmax, "ArgMin": np.argmin}[op](x, axis))


@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("dtype", ["float", "float16", "bfloat16", "int32", "int64"])
def test_largest_items(cuda_driver: softcuda.Device, dtype: str, largest: int) -> None:
    rng = np.random.default_rng(2)
    cases = [((5, 33), -1, 4), ((3, 70, 2), 1, 70), ((2, 5000), 1, 3), ((1,), 0, 1), ((4, 5), 0, 0)]
    for shape, axis, k in cases:
        x = rng.integers(-50, 50, shape).astype(TYPES[dtype])
        feeds = {"x": x, "k": np.array([k])}
        agree("TopK", feeds, [element_type(x), TensorProto.INT64], kernel="topk", axis=axis,
              largest=largest, constants={"k": feeds["k"]}, dynamic=shape[0] == 5)  # fmt: skip


@pytest.mark.parametrize("n", [50, 4200])
@pytest.mark.parametrize("largest", [0, 1])
def test_largest_of_rare_values(cuda_driver: softcuda.Device, largest: int, n: int) -> None:
    x = numbers("float", 3, n)
    x[0, 3], x[0, 5], x[1, 2], x[2, 1], x[2, 7] = np.nan, np.nan, np.inf, -np.inf, -0.0
    feeds = {"x": x, "k": np.array([5])}
    model = node_model("TopK", feeds, [TensorProto.FLOAT, TensorProto.INT64], largest=largest)
    values, places = gpu_session(model).run(None, feeds)
    order = np.argsort(x, axis=1, kind="stable")  # NaN is the largest
    if largest:
        order = n - 1 - np.argsort(x[:, ::-1], axis=1, kind="stable")[:, ::-1]
    np.testing.assert_array_equal(places, order[:, :5])
    np.testing.assert_array_equal(values, np.take_along_axis(x, order[:, :5], 1))


@pytest.mark.parametrize("dtype", TYPES)
def test_running_sums(cuda_driver: softcuda.Device, dtype: str) -> None:
    for shape, axis in [((5, 33), -1), ((3, 40, 2), 1), ((700,), 0), ((4, 1, 9), 0)]:
        x = numbers(dtype, *shape)
        feeds = {"x": x, "axis": np.array(axis)}
        for exclusive, reverse in [(0, 0), (0, 1), (1, 0), (1, 1)]:
            agree("CumSum", feeds, [element_type(x)], kernel="cumsum", exclusive=exclusive,
                  reverse=reverse, slack=8, dynamic=shape[0] == 5)  # fmt: skip


def test_an_unwanted_output_of_the_largest_runs_by_the_kernel_table(
    cuda_driver: softcuda.Device,
) -> None:
    x = numbers("float", 3, 9)
    model = node_model("TopK", {"x": x, "k": np.array([2])}, [TensorProto.FLOAT, 0])
    try:
        session = gpu_session(model)
    except Exception as error:  # noqa: BLE001
        assert "not wanted" in str(error)
        return
    (got,) = session.run(None, {"x": x, "k": np.array([2])})
    np.testing.assert_array_equal(got, -np.sort(-x, axis=1)[:, :2])
