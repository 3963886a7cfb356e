"""Attention of com.microsoft agrees with onnxruntime, in every form of its inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from contrib_run import Array, check, random, reference, run, whole

B, S, N, H = 2, 5, 3, 8
D = N * H
MULTI, DECODER = "MultiHeadAttention", "DecoderMaskedMultiHeadAttention"


def mask_of(form: str, total: int) -> Array:
    """A padding mask in one of its forms."""
    if form == "ends":
        return np.array([3, total], np.int32)
    if form == "starts":
        return np.array([4, total, 1, 0], np.int32)
    ends = np.arange(total) < np.array([[3], [total]])
    if form == "keys":
        return ends.astype(np.int32)
    return np.broadcast_to(ends[:, None], (B, S, total)).astype(np.int32)


def scores_bias(batch: int, heads: int, total: int) -> Array:
    return random(batch, heads, S, total, seed=9)


PROJECTED = [random(B, S, 12), random(12, 3 * D, seed=1) * 0.3, random(3 * D, seed=2)]


@pytest.mark.parametrize("mask", ["ends", "starts", "keys", "queries"])
@pytest.mark.parametrize("unidirectional", [0, 1])
def test_attention_masks(mask: str, unidirectional: int) -> None:
    check(
        "Attention",
        [*PROJECTED, mask_of(mask, S)],
        constants={1, 2},
        num_heads=N,
        unidirectional=unidirectional,
    )


def test_attention_filter_value_and_scale() -> None:
    inputs = [*PROJECTED, mask_of("keys", S)]
    check("Attention", inputs, constants={1}, num_heads=N, mask_filter_value=-3.0, scale=0.7)


@pytest.mark.parametrize("unidirectional", [0, 1])
def test_attention_past(unidirectional: int) -> None:
    past = random(2, B, N, 4, H, seed=4)
    inputs = [*PROJECTED, mask_of("keys", S + 4), past]
    check(
        "Attention",
        inputs,
        constants={1, 2},
        outputs=[True, True],
        num_heads=N,
        unidirectional=unidirectional,
    )


@pytest.mark.parametrize(("batch", "heads"), [(1, 1), (B, N), (1, N), (B, 1)])
def test_attention_bias(batch: int, heads: int) -> None:
    inputs = [*PROJECTED, None, None, scores_bias(batch, heads, S)]
    check("Attention", inputs, constants={1, 2}, num_heads=N)


def test_attention_without_bias_and_with_narrow_values() -> None:
    weights = random(12, 2 * D + 6, seed=1) * 0.3
    check(
        "Attention",
        [PROJECTED[0], weights, random(2 * D + 6, seed=3)],
        constants={1},
        num_heads=N,
        qkv_hidden_sizes=[D, D, 6],
    )
    check(
        "Attention", [PROJECTED[0], PROJECTED[1]], constants={1}, num_heads=N, outputs=[True, True]
    )


@pytest.mark.parametrize("mask", [None, "ends", "keys", "queries"])
@pytest.mark.parametrize("unidirectional", [0, 1])
def test_multi_head(mask: str | None, unidirectional: int) -> None:
    inputs = [random(B, S, D, seed=i) for i in range(3)]
    inputs += [random(3 * D, seed=5), None if mask is None else mask_of(mask, S)]
    check(MULTI, inputs, num_heads=N, unidirectional=unidirectional)


def test_multi_head_cross() -> None:
    inputs = [random(B, S, D), random(B, 7, D, seed=1), random(B, 7, 2 * D, seed=2)]
    check(MULTI, inputs, num_heads=N)
    inputs += [random(4 * D, seed=3), mask_of("keys", 7), scores_bias(1, N, 7)]
    check(MULTI, inputs, num_heads=N, scale=0.3, mask_filter_value=-2.0)


def test_multi_head_packed() -> None:
    """onnxruntime has this form on GPUs only: the same as with three inputs."""
    both, two = random(B, S, N, 3, H), random(B, 7, N, 2, H)
    parts = [both[..., i, :].reshape(B, S, D) for i in range(3)]
    check(MULTI, [both], num_heads=N, want=reference(MULTI, parts, num_heads=N))
    parts[1:] = [two[..., i, :].reshape(B, 7, D) for i in range(2)]
    want = reference(MULTI, parts, num_heads=N)
    check(MULTI, [parts[0], two], num_heads=N, want=want, symbolic=False)


def test_multi_head_keys_in_heads() -> None:
    inputs: list[Array | None] = [random(B, S, D), random(B, N, 7, H), random(B, N, 7, H, seed=1)]
    check(MULTI, inputs, num_heads=N)
    check(MULTI, [*inputs, random(3 * D, seed=2)], num_heads=N)


@pytest.mark.parametrize("unidirectional", [0, 1])
@pytest.mark.parametrize("outputs", [[True, True, True], [True, True, True, True]])
def test_multi_head_past(unidirectional: int, outputs: list[bool]) -> None:
    inputs = [random(B, S, D, seed=i) for i in range(3)]
    inputs += [None, mask_of("keys", S + 4), scores_bias(B, 1, S + 4)]
    inputs += [random(B, N, 4, H, seed=3), random(B, N, 4, H, seed=4)]
    check(
        MULTI,
        inputs,
        outputs=outputs,
        types=np.float32,
        num_heads=N,
        unidirectional=unidirectional,
    )


@pytest.mark.parametrize("past", [0, 3])
def test_decoder_masked(past: int) -> None:
    """Keys and values are written into buffers of 6 rows."""
    inputs = [random(B, 1, D, seed=i) for i in range(3)]
    inputs += [mask_of("keys", past + 1), None]
    inputs += [random(B, N, 6, H, seed=3), random(B, N, 6, H, seed=4), np.array([past], np.int32)]
    check(
        DECODER,
        inputs,
        outputs=[True] * 3,
        types=np.float32,
        num_heads=N,
        past_present_share_buffer=1,
    )


def test_decoder_masked_cross() -> None:
    inputs: list[Array | None] = [
        random(B, 1, D),
        random(B, N, 5, H),
        random(B, N, 5, H, seed=1),
        mask_of("keys", 5),
    ]
    check(DECODER, inputs, num_heads=N)
    outputs = [True, False, False, True]
    options = {"outputs": outputs, "types": np.float32, "output_qk": 1}
    check(DECODER, inputs, num_heads=N, **options)
    check(
        DECODER,
        [*inputs, None, None, None, None, None, None, random(3 * D, seed=2)],
        num_heads=N,
    )


@pytest.mark.parametrize("weights", [np.uint8, np.int8])
@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("form", ["plain", "mask", "past"])
def test_quantised(weights: Any, columns: bool, form: str) -> None:
    n = 3 * D if columns else 1
    scale = np.full(n, 0.01, np.float32) if columns else np.array(0.01, np.float32)
    zero = np.full(n, 3, weights) if columns else np.array(3, weights)
    total = S + 4 if form == "past" else S
    inputs = [
        whole(0, 255, B, S, 12, dtype=np.uint8),
        whole(0, 100, 12, 3 * D, seed=1, dtype=weights),
        random(3 * D, seed=2),
        np.array(0.02, np.float32),
        scale,
        None if form == "plain" else mask_of("keys" if form == "mask" else "ends", total),
        np.array(120, np.uint8),
        zero,
        random(2, B, N, 4, H, seed=4) if form == "past" else None,
    ]
    outputs = [True, True] if form == "past" else [True]
    check("QAttention", inputs, 1e-4, constants={1}, outputs=outputs, num_heads=N, unidirectional=1)


def packed_tokens(x: Array, counts: list[int]) -> tuple[Array, Array, Array]:
    """Tokens without padding, where tokens and then padding lie, and the ends of the sequences."""
    flat = np.arange(x.shape[0] * x.shape[1]).reshape(x.shape[:2])
    real = np.arange(x.shape[1]) < np.array(counts)[:, None]
    offsets = np.concatenate([flat[real], flat[~real]]).reshape(x.shape[:2]).astype(np.int32)
    ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return x[real], offsets, ends


def test_paddings() -> None:
    x, counts = random(3, 4, 6), [2, 4, 1]
    tokens, offsets, ends = packed_tokens(x, counts)
    want = [tokens, offsets, ends, np.array([4], np.int32)]
    inputs = [x, np.array(counts, np.int32)]
    check("RemovePadding", inputs, want=want, outputs=[True] * 4)
    real = np.arange(4) < np.array(counts)[:, None]
    restored = np.where(real[..., None], x, 0)
    check("RestorePadding", [tokens, offsets], want=[restored])


def test_packed_attention() -> None:
    counts = [3, S]
    tokens, offsets, ends = packed_tokens(PROJECTED[0], counts)
    mask = np.array(counts, np.int32)
    full = run("Attention", [*PROJECTED, mask], num_heads=N, mask_filter_value=-1e4)[0]
    want = [packed_tokens(full, counts)[0]]
    inputs = [tokens, *PROJECTED[1:], offsets, ends]
    check("PackedAttention", inputs, want=want, constants={1, 2}, num_heads=N)


def test_packed_multi_head_attention() -> None:
    counts = [3, S]
    whole_ones = [random(B, S, D, seed=i) for i in range(3)]
    packed = [packed_tokens(x, counts) for x in whole_ones]
    bias = random(3 * D, seed=5)
    inputs = [*whole_ones, bias, np.array(counts, np.int32)]
    full = run(MULTI, inputs, num_heads=N)[0]
    want = [packed_tokens(full, counts)[0]]
    tokens = [p[0] for p in packed]
    rest = [bias, packed[0][1], packed[0][2]]
    check("PackedMultiHeadAttention", [*tokens, *rest], want=want, num_heads=N)
    joined = np.stack([t.reshape(-1, N, H) for t in tokens], 2)
    inputs = [joined, None, None, *rest]
    check("PackedMultiHeadAttention", inputs, want=want, num_heads=N, symbolic=False)
