"""Operators of com.microsoft on elements, and its recurrences, agree with onnxruntime."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from contrib_run import Array, check, random, whole

ELEMENTS = [np.float32, np.float64, np.int8, np.uint16, np.int32, np.int64, np.float16, bool]


@pytest.mark.parametrize("dtype", ELEMENTS)
def test_elements(dtype: Any) -> None:
    x = whole(0, 50, 3, 4, 5, dtype=dtype)
    for axis in (0, 2, -1, -4):
        inputs = [x, np.array(axis, np.int32)]
        check("ExpandDims", inputs, 0, constants={1})
    for size, step, dim in ((2, 1, -1), (3, 2, 1), (1, 3, 0)):
        places = np.lib.stride_tricks.sliding_window_view(x, size, dim)
        every = [slice(None)] * 4
        every[dim if dim >= 0 else dim - 1] = slice(None, None, step)
        want = [places[tuple(every)]]
        check("UnfoldTensor", [x], 0, want=want, size=size, step=step, dim=dim)
        if x.dtype.itemsize >= 4:
            check("UnfoldTensor", [x], 0, size=size, step=step, dim=dim)
    for kind in (np.int32, np.int64):
        for at in ([[0, 1], [2, 3]], [[[1]], [[2]]], [[0, 1, -1]]):
            check("GatherND", [x, np.array(at, kind)], 0)


def test_texts() -> None:
    x = np.array([["a", "bc"], ["", "déf"]], object)
    check("ExpandDims", [x, np.array(1, np.int32)], 0, constants={1})
    check("GatherND", [x, np.array([[1, 0]])], 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.int32, np.int64])
@pytest.mark.parametrize("shape", [(), (1,)])
def test_range(dtype: Any, shape: tuple[int, ...]) -> None:
    start, limit, step = (np.full(shape, v, dtype) for v in (2, 11, 3))
    for constants in ({0, 1, 2}, set()):
        check("Range", [start, limit, step], constants=constants)
        check("Range", [start, limit], constants=constants - {2})


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_triangles(dtype: Any) -> None:
    x = whole(1, 50, 2, 4, 5, dtype=dtype)
    for upper in (0, 1):
        check("Trilu", [x], 0, upper=upper)
        check("Trilu", [x, np.array(-1)], 0, upper=upper)


def test_unique() -> None:
    check("Unique", [np.array([2, 1, 1, 3, 4, 3], np.float32)], 0, outputs=[True] * 3)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_repeated_n_grams(size: int) -> None:
    ids = np.array([[1, 2, 3, 1, 2, 3, 1, 2], [4, 4, 4, 5, 4, 4, 0, 4]])
    check("NGramRepeatBlock", [ids, random(2, 7)], 0, ngram_size=size)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("past", [False, True])
@pytest.mark.parametrize("end", [0, 1, 2])
@pytest.mark.parametrize("segments", [False, True])
def test_hashes_of_n_grams(dtype: Any, past: bool, end: int, segments: bool) -> None:
    """`end`: without an end of text, with one, and with one that cuts off what is before it."""
    inputs = [
        whole(0, 6, 2, 9, dtype=dtype),
        np.array([1000003, 777777777, 998244353], dtype),
        np.array([101, 103, 107, 109], dtype),
        whole(0, 6, 2, 2, seed=3, dtype=dtype) if past else None,
        np.array([0, 10, 20, 30], dtype) if past else None,
        np.array(2, dtype) if end else None,
        np.array([[0, 0, 1, 1, 1, 2, 2, 2, 2], [0] * 9], np.int32) if segments else None,
    ]
    options = {"pad_id": 5, "n_head_per_ngram": 2, "max_ngram_size": 3, "reset_on_eos": end // 2}
    check("NGramHashMapping", inputs, 0, outputs=[True, True], **options)


HASHED = [np.int32, np.uint32, np.int64, np.uint64, np.float32, np.float64]


@pytest.mark.parametrize("positive", [0, 1])
@pytest.mark.parametrize("seed", [0, 42])
def test_hashes(positive: int, seed: int) -> None:
    options = {"positive": positive, "seed": seed}
    for dtype in HASHED:
        check("MurmurHash3", [whole(0, 99, 3, 4, dtype=dtype)], 0, **options)
    texts = np.array(["", "a", "ab", "abc", "abcd", "abcde", "déf", "x" * 99], object)
    check("MurmurHash3", [texts], 0, **options)


@pytest.mark.parametrize("shape", [(5, 9), (1, 7, 3), (1, 1), (4, 4)])
def test_warped_time(shape: tuple[int, ...]) -> None:
    check("DynamicTimeWarping", [random(*shape)], 0)
    check("DynamicTimeWarping", [np.zeros(shape, np.float32)], 0)


def test_tokens() -> None:
    x = np.array(["a bc d", "", "bcd  e"], object)
    options = {"mark": 1, "mincharnum": 1, "pad_value": "#", "separators": [" "]}
    check("Tokenizer", [x], 0, **options)


def test_words_of_characters() -> None:
    words = [[1, 2, 3, 4, 5], [1, 2, 0, 0, 0], [3, 0, 0, 0, 0], [1, 2, 3, 0, 4]]
    inputs = [np.array(words, np.int32), random(3, 1, 2, 4), random(3), random(10, 4)]
    check("WordConvEmbedding", inputs, constants={1, 2, 3})
    # onnxruntime leaves the row of a word without characters as it finds the memory.
    inputs[0] = np.zeros((1, 5), np.int32)
    check("WordConvEmbedding", inputs, constants={1, 2, 3}, want=[np.zeros((1, 3), np.float32)])


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("predicted", [False, True])
def test_bifurcations(seed: int, predicted: bool) -> None:
    source, current = whole(0, 4, 12, seed=seed), whole(0, 4, 5, seed=seed)
    inputs = [source.astype(np.int64), current.astype(np.int64), np.array(4)]
    if predicted:
        guess = np.append(source[4:], 1)
        guess[seed % 9] += seed % 2
        inputs.append(guess.astype(np.int64))
    options = {"min_ngram_size": 1 + seed % 2, "max_ngram_size": 3}
    check("BifurcationDetector", inputs, 0, outputs=[True, True], **options)


def test_copies() -> None:
    x, ids = random(6, 4), whole(0, 6, 2, 3, dtype=np.int64)
    check("SampleOp", [x], 0)
    check("TorchEmbedding", [x, ids], 0, want=[x[ids]])


def test_finite() -> None:
    good, bad = random(3, 4), random(2)
    assert np.isfinite(good).all()
    for value in (np.nan, np.inf, 1.0):
        bad[0] = value
        inputs = [good, bad]
        finite, nan, inf = np.isfinite(value), np.isnan(value), np.isinf(value)
        check("IsAllFinite", inputs, want=[np.array(finite)])
        check("IsAllFinite", inputs, want=[np.array(not nan)], isnan_only=1)
        check("IsAllFinite", inputs, want=[np.array(not inf)], isinf_only=1)


def test_transforms() -> None:
    x = random(2, 3, 8)
    full = np.fft.rfft(x)
    pairs = np.stack([full.real, full.imag], -1).astype(np.float32)
    check("Rfft", [x], want=[pairs], onesided=1, normalized=0, signal_ndim=1)
    check("Irfft", [pairs], want=[x], onesided=1, normalized=0, signal_ndim=1)
    a, b = random(2, 3, 2), random(2, 3, 2, seed=1)
    left, right = (v[..., 0] + 1j * v[..., 1] for v in (a, b))
    for op, y in (("ComplexMul", left * right), ("ComplexMulConj", left * right.conj())):
        check(op, [a, b], want=[np.stack([y.real, y.imag], -1).astype(np.float32)])


@pytest.mark.parametrize("past", [False, True])
@pytest.mark.parametrize("activation", ["none", "silu", "swish"])
@pytest.mark.parametrize("dilation", [1, 3])
@pytest.mark.parametrize("last", [0, 1])
def test_causal_conv(past: bool, activation: str, dilation: int, last: int) -> None:
    x, state = random(2, 6, 7), random(2, 6, 2 * dilation, seed=1)
    if last:
        x, state = (np.moveaxis(v, 1, 2).reshape(2, v.shape[2], 3, 2) for v in (x, state))
    inputs = [x, random(6, 1, 3, seed=2), random(6, seed=3), state if past else None]
    options = {"activation": activation, "dilation": dilation, "channels_last": last}
    check("CausalConvWithState", inputs, outputs=[True, True], constants={1, 2}, **options)


@pytest.mark.parametrize("activation", ["none", "silu"])
@pytest.mark.parametrize(("taps", "dilation"), [(3, 1), (4, 2)])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_packed_causal_conv(activation: str, taps: int, dilation: int, dtype: Any) -> None:
    ends = np.array([0, 1, 8, 11], np.int32)
    state = random(3, 6, (taps - 1) * dilation, seed=1, dtype=dtype)
    weights, bias = random(6, 1, taps, seed=2, dtype=dtype), random(6, seed=3, dtype=dtype)
    options = {"activation": activation, "dilation": dilation, "outputs": [True, True]}
    for added in (bias, None):
        inputs = [random(11, 6, dtype=dtype), weights, ends, added, state]
        check("VarlenCausalConvWithState", inputs, **options)


@pytest.mark.parametrize("rule", ["linear", "gated", "delta", "gated_delta"])
@pytest.mark.parametrize(("heads", "kv_heads"), [(2, 2), (4, 2), (2, 4)])
@pytest.mark.parametrize("past", [False, True])
def test_linear_attention(rule: str, heads: int, kv_heads: int, past: bool) -> None:
    keys = random(2, 5, kv_heads, 4, seed=1)
    keys /= np.linalg.norm(keys, axis=-1, keepdims=True)
    inputs: list[Array | None] = [
        random(2, 5, heads * 4),
        keys.reshape(2, 5, -1),
        random(2, 5, kv_heads * 3, seed=2),
        random(2, kv_heads, 4, 3, seed=3) if past else None,
        -np.abs(random(2, 5, kv_heads, seed=4)) if "gated" in rule else None,
        np.abs(random(2, 5, kv_heads, seed=5)) / 3 if "delta" in rule else None,
    ]
    options = {"update_rule": rule, "q_num_heads": heads, "kv_num_heads": kv_heads}
    check("LinearAttention", inputs, 1e-4, outputs=[True, True], **options)


@pytest.mark.parametrize("rule", ["linear", "gated", "delta", "gated_delta"])
@pytest.mark.parametrize("form", ["batches", "tokens", "packed"])
@pytest.mark.parametrize("gate", ["none", "softplus", "sigmoid"])
@pytest.mark.parametrize("by_key", [False, True])
def test_gated_delta_net(rule: str, form: str, gate: str, by_key: bool) -> None:
    batch, length, heads, kv_heads, size, wide = 2, 5, 2, 4, 8, 6
    q, k = (random(batch, length, heads, size, seed=s) for s in (1, 2))
    v, state = random(batch, length, kv_heads, wide, seed=3), random(batch, kv_heads, wide, size)
    tail = (size,) if by_key else ()
    decay = -np.abs(random(batch, length, kv_heads, *tail, seed=4))
    beta = random(batch, length, kv_heads, seed=5)
    if form != "batches":
        q, k, v, decay, beta = (x.reshape(-1, *x.shape[2:]) for x in (q, k, v, decay, beta))
    first: list[Array | None] = [q, k, v]
    if form == "packed":
        first = [np.concatenate([x.reshape(len(x), -1) for x in (q, k, v)], -1), None, None]
    inputs = [*first, None, decay if "gated" in rule else None, beta if "delta" in rule else None]
    inputs += [state * 0.3]
    if gate != "none" and "gated" in rule:
        inputs += [random(kv_heads, seed=6) * 0.3, random(kv_heads, *tail, seed=7)]
    options: dict[str, Any] = {"update_rule": rule, "qk_l2_norm": 1}
    options["gate_activation"] = gate if "gated" in rule else "none"
    options["beta_activation"] = "sigmoid" if "delta" in rule else "none"
    check("GatedDeltaNet", inputs, 1e-4, outputs=[True, True], symbolic=False, **options)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_linear_attention_gate(dtype: Any) -> None:
    inputs = [random(2, 5, 4, dtype=dtype), random(4, seed=1), -np.abs(random(4, seed=2))]
    check("LinearAttentionGate", inputs)
    check(
        "LinearAttentionGate", [*inputs, random(2, 5, 4, seed=3, dtype=dtype)], outputs=[True, True]
    )


def relative_buckets(distance: Array, both: bool, buckets: int, most: int) -> Array:
    """As T5 has them."""
    base = np.zeros_like(distance)
    if both:
        buckets //= 2
        base = (distance > 0) * buckets
        distance = np.abs(distance)
    else:
        distance = -np.minimum(distance, 0)
    exact = buckets // 2
    log = np.log(np.maximum(distance, 1) / exact) / np.log(most / exact) * (buckets - exact)
    large = np.minimum(exact + log.astype(np.int64), buckets - 1)
    return base + np.where(distance < exact, distance, large)


@pytest.mark.parametrize("both", [0, 1])
def test_relative_positions(both: int) -> None:
    table = random(8, 3)
    distance = np.arange(20)[None] - np.arange(20)[:, None]
    want = table[relative_buckets(distance, bool(both), 8, 13)].transpose(2, 0, 1)[None]
    lengths = [np.array(20), np.array(20)]
    inputs = [table.T.copy().reshape(8, 3), *lengths]  # by columns
    options = {"is_bidirectional": both, "max_distance": 13}
    for constants in ({0}, {0, 1, 2}):
        check("RelativePositionBias", inputs, want=[want], constants=constants, **options)


def test_gated_relative_positions() -> None:
    q, bias, places = random(2, 5, 12), random(12, seed=1), random(1, 3, 5, 5, seed=2)
    weight, added, eco = random(4, 8, seed=3), random(8, seed=4), random(1, 3, 1, 1, seed=5)
    rows = (q + bias).reshape(2, 5, 3, 4).transpose(0, 2, 1, 3)
    gate = 1 / (1 + np.exp(-(rows @ weight + added).reshape(2, 3, 5, 2, 4).sum(-1)))
    want = [(gate[..., :1] * (gate[..., 1:] * eco - 1) + 2) * places]
    inputs = [q, bias, places, weight, added, eco]
    check("GatedRelativePositionBias", inputs, want=want, constants={3, 4}, num_heads=3)


def test_gemma_rotation() -> None:
    angles = random(2, 5, 8)
    x = [random(2, 3, 5, 8, seed=s, dtype=np.float16) for s in range(4)]
    sin, cos = (f(angles).astype(np.float16)[:, None] for f in (np.sin, np.cos))
    want = [x[i] * cos + x[i + 1] * sin for i in (0, 2)]
    check("GemmaRotaryEmbedding", [angles, *x], want=want, outputs=[True, True])
