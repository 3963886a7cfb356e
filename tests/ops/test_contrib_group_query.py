"""GroupQueryAttention and rotary positions of com.microsoft agree with onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from contrib_run import Array, agree, check, model_of, onnxruntime, random, reference, run

N, KV, H = 4, 2, 32
OP = "GroupQueryAttention"
ALL = [True, True, True]


def case(
    batch: int,
    new: int,
    lengths: list[int],
    past: int | None,
    *,
    packed: bool = False,
    dtype: Any = np.float32,
    total: int | None = None,
) -> list[Array | None]:
    """Inputs up to total_sequence_length; `lengths` are those of all keys, new ones included."""
    q = random(batch, new, N * H, dtype=dtype)
    k = random(batch, new, KV * H, seed=1, dtype=dtype)
    v = random(batch, new, KV * H, seed=2, dtype=dtype)
    first: list[Array | None] = [q, k, v]
    if packed:
        first = [np.concatenate([q, k, v], -1), None, None]
    cache: list[Array | None] = [None, None]
    if past is not None:
        cache = [random(batch, KV, past, H, seed=s, dtype=dtype) for s in (3, 4)]
    last = [np.array(lengths, np.int32) - 1, np.array(total or max(lengths), np.int32)]
    return [*first, *cache, *last]


def angles(dtype: Any = np.float32, width: int = H // 2) -> list[Array]:
    turns = np.arange(32)[:, None] * 0.7 ** np.arange(width)
    return [np.cos(turns).astype(dtype), np.sin(turns).astype(dtype)]


def check_grouped(inputs: list[Array | None], tolerance: float = 2e-5, **options: Any) -> None:
    """Results agree; rows of the caches do that are in use: others hold anything."""
    options = {"num_heads": N, "kv_num_heads": KV, "outputs": ALL, **options}
    want = reference(OP, inputs, **options)
    for symbolic in (False, True):
        got = run(OP, inputs, symbolic=symbolic, **options)
        agree(got[:1], want[:1], tolerance)
        for cache, expected in zip(got[1:], want[1:], strict=True):
            assert cache.shape == expected.shape
            for b, length in enumerate(inputs[5] + 1):
                agree([cache[b, :, :length]], [expected[b, :, :length]], 2e-5)


CASES = {
    "first tokens": lambda **o: case(2, 5, [5, 5], None, **o),
    "next token": lambda **o: case(2, 1, [7, 7], 6, **o),
    "next tokens of one": lambda **o: case(1, 3, [9], 6, **o),
    "buffer, first": lambda **o: case(2, 5, [5, 5], 12, **o),
    "buffer, next": lambda **o: case(2, 1, [7, 4], 12, **o),
    "empty past": lambda **o: case(2, 4, [4, 4], 0, **o),
    "lengths differ": lambda **o: case(2, 1, [7, 4], 6, **o),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_caches(name: str, packed: bool, dtype: Any) -> None:
    inputs = CASES[name](packed=packed, dtype=dtype)
    check_grouped(inputs)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("width", [H // 2, H // 4])
def test_rotary(name: str, interleaved: int, width: int) -> None:
    inputs = [*CASES[name](), *angles(width=width)]
    check_grouped(inputs, constants={7, 8}, rotary_interleaved=interleaved, do_rotary=1)


@pytest.mark.parametrize("name", ["next token", "next tokens of one", "buffer, next"])
def test_positions(name: str) -> None:
    inputs = CASES[name]()
    batch, new = inputs[0].shape[:2]
    ids = (np.arange(new) + np.arange(batch)[:, None] + 5).astype(np.int64)
    check_grouped([*inputs, *angles(), ids], constants={7, 8}, do_rotary=1)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    "options",
    [
        {"softcap": 2.0},
        {"local_window_size": 3},
        {"smooth_softmax": 1},
        {"scale": 0.1},
        {"causal": 0},
        {"softcap": 2.0, "smooth_softmax": 1, "local_window_size": 2},
    ],
    ids=str,
)
def test_options(name: str, options: dict[str, Any]) -> None:
    check_grouped(CASES[name](), **options)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("batch", "heads"), [(1, 1), (2, N)])
@pytest.mark.parametrize("softcap", [0.0, 2.0])
def test_bias_and_sink(name: str, batch: int, heads: int, softcap: float) -> None:
    inputs = CASES[name]()
    batch = min(batch, inputs[0].shape[0])
    bias = random(batch, heads, inputs[0].shape[1], int(inputs[6]), seed=7)
    rest: list[Array | None] = [None, None, None, bias]
    check_grouped([*inputs, *rest], softcap=softcap)
    check_grouped([*inputs, *rest, random(N, seed=8)], softcap=softcap)


@pytest.mark.parametrize("mode", [1, 2])
@pytest.mark.parametrize("name", ["first tokens", "next token", "next tokens of one"])
def test_scores(mode: int, name: str) -> None:
    """Scores before softmax are compared where a query sees the key."""
    options = {"num_heads": N, "kv_num_heads": KV, "qk_output": mode, "outputs": [*ALL, True]}
    inputs = CASES[name]()
    got, want = run(OP, inputs, **options)[3], reference(OP, inputs, **options)[3]
    assert got.shape == want.shape
    new, keys = got.shape[2:]
    seen = np.tri(new, keys, keys - new, dtype=bool)
    np.testing.assert_allclose(got[..., seen], want[..., seen], rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", ["next token", "next tokens of one", "buffer, first"])
@pytest.mark.parametrize("kind", ["PER_TENSOR", "PER_CHANNEL"])
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_quantised_caches(name: str, kind: str, bits: int, dtype: Any) -> None:
    inputs = CASES[name](dtype=dtype)
    for i in (3, 4):
        batch, heads, past, size = inputs[i].shape
        kept = np.random.default_rng(i).integers(0, 256, (batch, heads, past, size * bits // 8))
        inputs[i] = kept.astype(np.uint8).view(np.int8 if bits == 8 else np.uint8)
    shape = (1,) if kind == "PER_TENSOR" else (1, KV, 1, H)
    scales = [(np.abs(random(*shape, seed=s)) + 0.5) / 2 ** (bits - 2) for s in (5, 6)]
    inputs = [*inputs, *[None] * 5, *scales]
    options = {"k_quant_type": kind, "v_quant_type": kind, "kv_cache_bit_width": bits}
    check_grouped(inputs, 2e-3, **options)


def sparse_rows(layouts: int, blocks: int) -> tuple[Array, Array]:
    """A random lower triangle of blocks, the diagonal among them, row by row."""
    cells = np.tril(np.random.default_rng(0).random((layouts, blocks, blocks)) < 0.4)
    cells |= np.eye(blocks, dtype=bool)
    ends = np.concatenate([np.zeros((layouts, 1)), cells.sum(2).cumsum(1)], 1).astype(np.int32)
    columns = np.full((layouts, int(ends.max())), -1, np.int32)
    for at in range(layouts):
        found = np.nonzero(cells[at])[1]
        columns[at, : len(found)] = found
    return ends, columns


def of_shared_buffers(op: str, inputs: list[Array | None], **options: Any) -> list[Array]:
    """What onnxruntime computes where inputs 3 and 4 take outputs 1 and 2."""
    outputs = options.pop("outputs")
    model = model_of(op, inputs, outputs, options)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    binding = session.io_binding()
    values = [x if x is None else onnxruntime.OrtValue.ortvalue_from_numpy(x) for x in inputs]
    for i, value in enumerate(values):
        if value is not None:
            binding.bind_ortvalue_input(f"x{i}", value)
    binding.bind_output("y0")
    binding.bind_ortvalue_output("y1", values[3])
    binding.bind_ortvalue_output("y2", values[4])
    session.run_with_iobinding(binding)
    return [v.numpy().copy() for v in binding.get_outputs()]


@pytest.mark.parametrize("layouts", [1, 2])
@pytest.mark.parametrize(
    ("new", "lengths"), [(40, [40, 40]), (1, [37, 50]), (1, [50, 50]), (1, [37, 37])]
)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_sparse_blocks(
    layouts: int, new: int, lengths: list[int], packed: bool, dtype: Any
) -> None:
    inputs = case(2, new, lengths, 64, packed=packed, dtype=dtype)
    rows = sparse_rows(layouts, 4)
    ends = [np.array(max(lengths), np.int32), np.array(lengths, np.int32)]
    turns = np.arange(64)[:, None] * 0.7 ** np.arange(H // 2)
    turned = [np.cos(turns).astype(dtype), np.sin(turns).astype(dtype)]
    inputs = [*inputs[:5], *rows, *ends, *turned]
    options = {"num_heads": N, "kv_num_heads": KV, "outputs": ALL, "sparse_block_size": 16}
    options |= {"do_rotary": 1, "scale": 0.2}
    each = []
    for b in range(2):  # one by one: onnxruntime leaves heads unwritten where lengths differ
        rows_of = [
            x if x is None or i in (5, 6, 9, 10) or x.ndim == 0 else x[b : b + 1]
            for i, x in enumerate(inputs)
        ]
        rows_of[7] = np.array(lengths[b], np.int32)
        each.append(of_shared_buffers("SparseAttention", rows_of, **options))
    want = [np.concatenate(parts) for parts in zip(*each, strict=True)]
    for symbolic in (False, True):
        got = run("SparseAttention", inputs, symbolic=symbolic, constants={5, 6}, **options)
        agree(got[:1], want[:1], 2e-5)
        for b, length in enumerate(lengths):
            for i in (1, 2):
                agree([got[i][b, :, :length]], [want[i][b, :, :length]], 2e-5)


def test_padded_chunks() -> None:
    """Rows behind query_seqlens are padding: neither their results nor their keys count."""
    inputs = [*case(2, 4, [6, 5], 12), *[None] * 9, np.array([4, 2], np.int32)]
    options = {"num_heads": N, "kv_num_heads": KV, "outputs": ALL}
    got, want = run(OP, inputs, **options), reference(OP, inputs, **options)
    for b, (fresh, length) in enumerate([(4, 6), (2, 5)]):
        np.testing.assert_allclose(got[0][b, :fresh], want[0][b, :fresh], rtol=2e-5, atol=2e-5)
        for i in (1, 2):
            np.testing.assert_array_equal(got[i][b, :, :length], want[i][b, :, :length])


def test_norms_of_queries_and_keys() -> None:
    inputs = case(2, 5, [5, 5], None)
    weights = [random(H, seed=s) for s in (5, 6)]

    def normed(x: Array, weight: Array) -> Array:
        rows = x.reshape(*x.shape[:2], -1, H)
        scale = 1 / np.sqrt((rows**2).mean(-1, keepdims=True) + 1e-5)
        return (rows * scale * weight).reshape(x.shape).astype(np.float32)

    options = {"num_heads": N, "kv_num_heads": KV, "outputs": ALL}
    by_hand = [normed(inputs[0], weights[0]), normed(inputs[1], weights[1]), *inputs[2:]]
    want = reference(OP, by_hand, **options)
    check(OP, [*inputs, *[None] * 7, *weights], want=want, qk_norm_epsilon=1e-5, **options)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("ids", ["offset", "each"])
def test_rotary_embedding(dtype: Any, interleaved: int, ids: str) -> None:
    each = np.array([[0, 3, 1], [7, 2, 2]], np.int64)
    positions = np.array([4], np.int64) if ids == "offset" else each
    inputs = [random(2, 3, N * H, dtype=dtype), positions, *angles(dtype)]
    check("RotaryEmbedding", inputs, constants={2, 3}, interleaved=interleaved, scale=2.0)
    inputs[0] = random(2, N, 3, H, dtype=dtype)
    check("RotaryEmbedding", inputs, constants={2, 3}, interleaved=interleaved)


def test_rotary_embedding_of_part_of_a_head() -> None:
    inputs = [random(2, 3, N * H), np.array([1], np.int64), *angles(width=H // 4)]
    check("RotaryEmbedding", inputs, constants={2, 3}, num_heads=N, rotary_embedding_dim=H // 2)


@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize("interleaved", [0, 1])
def test_rotary_embedding_of_three_positions(layout: int, interleaved: int) -> None:
    ids = np.random.default_rng(0).integers(0, 32, (3, 2, 5))
    inputs = [random(2, 5, N * H), ids, *angles()]
    options = {"mrope_section": [8, 4, 4], "mrope_layout": layout, "interleaved": interleaved}
    options["num_heads"] = N
    check("MRotaryEmbedding", inputs, constants={2, 3}, **options)
    inputs[0] = random(2, N, 5, H)
    check("MRotaryEmbedding", inputs, constants={2, 3}, **options)
