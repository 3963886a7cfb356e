"""Attention and RotaryEmbedding on the CUDA provider, against the CPU provider."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

import softcuda
from gpu_nodes import FLOATS, Array, agree, element_type, gpu_session, node_model, normal

NAMES = ("q", "k", "v", "mask", "past_key", "past_value", "lengths")


class Case:
    """Random inputs of Attention, and attributes that belong to them."""

    def __init__(
        self,
        dtype: str = "float",
        batch: int = 2,
        heads: int = 4,
        kv_heads: int = 2,
        rows: int = 5,
        keys: int = 9,
        size: int = 16,
        value_size: int = 16,
    ) -> None:
        self.kind = element_type(normal(dtype, 1))
        self.shape = (batch, heads, rows, keys)
        self.feeds: dict[str, Array | None] = dict.fromkeys(NAMES)
        self.feeds["q"] = normal(dtype, batch, heads, rows, size, seed=1)
        self.feeds["k"] = normal(dtype, batch, kv_heads, keys, size, seed=2)
        self.feeds["v"] = normal(dtype, batch, kv_heads, keys, value_size, seed=3)

    def packed(self) -> dict[str, Any]:
        """Turns queries, keys and values into [batch, rows, heads · size]; gives the attributes."""
        counts = {}
        for name, attribute in (("q", "q_num_heads"), ("k", "kv_num_heads"), ("v", "")):
            array = self.feeds[name]
            assert array is not None
            batch, heads, rows, size = array.shape
            self.feeds[name] = np.ascontiguousarray(array.swapaxes(1, 2)).reshape(
                batch, rows, heads * size
            )
            counts[attribute] = heads
        return {name: count for name, count in counts.items() if name}

    def agree(self, outputs: int = 1, **arguments: Any) -> list[Array]:
        return agree(
            "Attention", self.feeds, [self.kind] * outputs, kernel="attention", slack=4, **arguments
        )


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("rows", [1, 7, 70])
@pytest.mark.parametrize(("size", "value_size"), [(16, 16), (64, 40), (100, 128), (200, 256)])
def test_sizes(
    cuda_driver: softcuda.Device, dtype: str, rows: int, size: int, value_size: int
) -> None:
    case = Case(dtype, rows=rows, keys=75, size=size, value_size=value_size)
    case.agree(dynamic=rows == 7)
    case.agree(**case.packed())


@pytest.mark.parametrize("rows", [3, 40])
@pytest.mark.parametrize(
    "attributes",
    [
        {"is_causal": 1},
        {"scale": 0.3},
        {"softcap": 1.5},
        {"is_causal": 1, "softcap": 0.5, "scale": 1.0},
        {"left_window_size": 4},
        {"left_window_size": 3, "right_window_size": 2},
        {"is_causal": 1, "left_window_size": 2, "right_window_size": 5},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", FLOATS)
def test_attributes(
    cuda_driver: softcuda.Device, dtype: str, attributes: dict[str, Any], rows: int
) -> None:
    Case(dtype, rows=rows, keys=44).agree(**attributes)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size", [20, 64, 128, 200])
def test_queries_that_share_blocks_out(cuda_driver: softcuda.Device, dtype: str, size: int) -> None:
    case = Case(dtype, batch=1, heads=2, rows=1, keys=300, size=size, value_size=size)
    case.agree()
    case.feeds["past_key"] = normal(dtype, 1, 2, 70, size, seed=7)
    case.feeds["past_value"] = normal(dtype, 1, 2, 70, size, seed=8)
    case.agree(3, is_causal=1)


def mask_of(case: Case, kind: str, shape: tuple[int, ...], dtype: str) -> Array:
    rng = np.random.default_rng(5)
    if kind == "bool":
        return rng.random(shape) < 0.6
    mask = rng.standard_normal(shape).astype(FLOATS[dtype])
    mask[rng.random(shape) < 0.3] = -np.inf
    return mask


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", ["bool", "float"])
@pytest.mark.parametrize("rows", [4, 33])
def test_masks(cuda_driver: softcuda.Device, dtype: str, kind: str, rows: int) -> None:
    case = Case(dtype, rows=rows, keys=70)
    batch, heads, _, keys = case.shape
    shapes = [
        (keys,),
        (rows, keys),
        (1, keys),
        (heads, rows, keys),
        (batch, heads, rows, keys),
        (batch, 1, 1, keys),
        (1, heads, rows, keys),
        (rows, keys - 9),
        (batch, 1, rows, 1),
    ]
    for shape in shapes:
        case.feeds["mask"] = mask_of(case, kind, shape, dtype)
        case.agree(is_causal=int(shape == (heads, rows, keys)))


@pytest.mark.parametrize("rows", [2, 40])
@pytest.mark.parametrize("kind", ["bool", "float"])
def test_queries_that_see_nothing(cuda_driver: softcuda.Device, kind: str, rows: int) -> None:
    case = Case(rows=rows, keys=20)
    mask = np.zeros((rows, 20), bool) if kind == "bool" else np.full((rows, 20), -np.inf, "f4")
    mask[1, 3] = 1
    case.feeds["mask"] = mask
    (got,) = case.agree()
    assert not np.any(got[:, :, 0])
    assert np.any(got[:, :, 1])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("past", [0, 6])
def test_cache(
    cuda_driver: softcuda.Device, dtype: str, packed: bool, outputs: int, past: int
) -> None:
    for rows in (1, 12):
        case = Case(dtype, rows=rows, keys=rows, size=24, value_size=32)
        if past or outputs == 1:
            case.feeds["past_key"] = normal(dtype, 2, 2, past, 24, seed=7)
            case.feeds["past_value"] = normal(dtype, 2, 2, past, 32, seed=8)
        attributes = case.packed() if packed else {}
        case.agree(outputs, is_causal=1, dynamic=rows == 1, **attributes)


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("rows", [1, 5, 20])
def test_lengths(cuda_driver: softcuda.Device, rows: int, causal: int) -> None:
    case = Case(rows=rows, keys=30, batch=3)
    for lengths in ([30, 20, 25], [1, 29, 3]):
        case.feeds["lengths"] = np.array(lengths)
        case.agree(is_causal=causal)
    case.feeds["past_key"] = normal("float", 3, 2, 4, 16, seed=7)
    case.feeds["past_value"] = normal("float", 3, 2, 4, 16, seed=8)
    case.agree(3, is_causal=causal)


def test_rare_values(cuda_driver: softcuda.Device) -> None:
    for rows in (4, 40):
        case = Case(rows=rows, keys=50)
        values, queries = case.feeds["v"], case.feeds["q"]
        assert values is not None
        assert queries is not None
        values[0, 0, 3, 2], queries[1, 0, 2, 1] = np.nan, np.nan
        case.agree()


def test_heads_that_do_not_divide_are_an_error(cuda_driver: softcuda.Device) -> None:
    case = Case(heads=3, kv_heads=2)
    with pytest.raises(Exception, match="3 heads of queries for 2 of keys"):
        case.agree()


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("mode", [0, 1, 2, 3])
def test_scores(cuda_driver: softcuda.Device, mode: int, causal: int) -> None:
    case = Case(size=16)
    outputs = [case.kind, 0, 0, case.kind]
    agree("Attention", case.feeds, outputs, kernel="generic", slack=4,
          qk_matmul_output_mode=mode, is_causal=causal)  # fmt: skip


def test_what_runs_by_the_kernel_table(cuda_driver: softcuda.Device) -> None:
    case = Case(size=264)
    agree("Attention", case.feeds, [case.kind], kernel="generic", slack=4)
    wide = {name: None if a is None else a.astype("f8") for name, a in Case(size=16).feeds.items()}
    agree("Attention", wide, [TensorProto.DOUBLE], kernel="generic")


# ---- RotaryEmbedding


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("positions", [False, True])
@pytest.mark.parametrize("turned", [0, 8])
def test_rotary(
    cuda_driver: softcuda.Device, dtype: str, interleaved: int, positions: bool, turned: int
) -> None:
    batch, heads, rows, size = 3, 4, 7, 20
    half = (turned or size) // 2
    shape = (30, half) if positions else (batch, rows, half)
    feeds: dict[str, Array | None] = {
        "x": normal(dtype, batch, heads, rows, size),
        "cosines": normal(dtype, *shape, seed=1),
        "sines": normal(dtype, *shape, seed=2),
        "positions": np.random.default_rng(3).integers(0, 30, (batch, rows)) if positions else None,
    }
    attributes: dict[str, int] = {"interleaved": interleaved, "rotary_embedding_dim": turned}
    kind = [element_type(normal(dtype, 1))]
    agree("RotaryEmbedding", feeds, kind, kernel="rotary_embedding", **attributes)
    feeds["x"] = normal(dtype, batch, rows, heads * size)
    agree("RotaryEmbedding", feeds, kind, kernel="rotary_embedding", num_heads=heads, **attributes)


@pytest.mark.parametrize("position", [-1, 30])
def test_positions_outside_the_table(cuda_driver: softcuda.Device, position: int) -> None:
    feeds: dict[str, Array | None] = {
        "x": normal("float", 1, 2, 2, 8),
        "cosines": normal("float", 30, 4),
        "sines": normal("float", 30, 4),
        "positions": np.array([[3, position]]),
    }
    session = gpu_session(node_model("RotaryEmbedding", feeds, [TensorProto.FLOAT]))
    with pytest.raises(Exception, match=r"RotaryEmbedding.*out of range"):
        session.run(None, feeds)
    feeds["positions"] = np.array([[3, 29]])
    session.run(None, feeds)
