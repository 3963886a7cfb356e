"""Attention agrees with numpy in double: layouts, masks, pasts, groups of heads, lengths."""

from __future__ import annotations

import random

import numpy as np
import pytest

from single_node import run

LIMITS = {"float32": 2e-5, "float64": 1e-12, "float16": 4e-3}


def attend(q, k, v, mask=None, *, causal=False, scale=None, offset=0):
    """[batch, heads, length, size] in double."""
    group = q.shape[1] // k.shape[1]
    q, k, v = (x.astype(np.float64) for x in (q, k, v))
    k, v = np.repeat(k, group, 1), np.repeat(v, group, 1)
    scores = q @ k.swapaxes(-1, -2) * (scale or 1 / np.sqrt(q.shape[-1]))
    if mask is not None:
        hidden = np.where(mask, 0.0, -np.inf) if mask.dtype == bool else mask.astype(np.float64)
        scores = scores + hidden
    if causal:
        rows, columns = np.indices(scores.shape[-2:])
        scores = np.where(columns <= rows + offset, scores, -np.inf)
    top = scores.max(-1, keepdims=True)
    e = np.exp(scores - np.where(np.isinf(top), 0, top))
    total = e.sum(-1, keepdims=True)
    return e / np.where(total == 0, 1, total) @ v


def join(x: np.ndarray) -> np.ndarray:
    b, h, t, d = x.shape
    return np.ascontiguousarray(x.transpose(0, 2, 1, 3)).reshape(b, t, h * d)


def split(x: np.ndarray, heads: int) -> np.ndarray:
    b, t, width = x.shape
    return x.reshape(b, t, heads, width // heads).transpose(0, 2, 1, 3)


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("seed", range(24))
def test_layouts_masks_and_lengths(dtype, seed):
    rng, numbers = random.Random(seed), np.random.default_rng(seed)
    batch, kv, group = rng.choice([1, 2]), rng.choice([1, 3]), rng.choice([1, 2])
    heads = kv * group
    length, keys = rng.choice([1, 3, 5, 13, 49, 130, 200]), rng.choice([1, 7, 16, 49, 130, 300])
    size, value_size = rng.choice([8, 17, 32, 64]), rng.choice([8, 17, 64])
    q, k, v = (
        numbers.standard_normal(shape).astype(dtype)
        for shape in (
            (batch, heads, length, size),
            (batch, kv, keys, size),
            (batch, kv, keys, value_size),
        )
    )
    mask = None
    kind = rng.choice(["none", "bool", "float", "rows"])
    if kind == "bool":
        mask = numbers.random((length, keys)) < 0.7
    elif kind != "none":
        shape = (batch, 1, 1 if kind == "rows" else length, keys)
        mask = numbers.standard_normal(shape).astype(dtype)
    causal, scale = rng.random() < 0.3, rng.choice([None, 0.25])
    options = {"is_causal": int(causal), "opset": 23}
    if scale:
        options["scale"] = scale
    want = attend(q, k, v, mask, causal=causal, scale=scale)
    limit = {"rtol": 0, "atol": LIMITS[dtype] * max(1, np.abs(want).max())}
    got = run("Attention", [q, k, v, mask], **options)[0]
    np.testing.assert_allclose(got.astype(np.float64), want, **limit)
    joined = [join(x) for x in (q, k, v)]
    got = run("Attention", [*joined, mask], q_num_heads=heads, kv_num_heads=kv, **options)[0]
    np.testing.assert_allclose(split(got, heads).astype(np.float64), want, **limit)


@pytest.mark.parametrize("length", [1, 2, 6, 30])
@pytest.mark.parametrize("old", [0, 5, 64])
@pytest.mark.parametrize("outputs", [1, 3])
def test_past_keys_and_values(length, old, outputs):
    rng = np.random.default_rng(length + old)
    q, k, v = (rng.standard_normal((2, 3, length, 32)).astype(np.float32) for _ in range(3))
    pk, pv = (rng.standard_normal((2, 3, old, 32)).astype(np.float32) for _ in range(2))
    got = run("Attention", [q, k, v, None, pk, pv], outputs=outputs, is_causal=1, opset=23)
    keys, values = np.concatenate([pk, k], 2), np.concatenate([pv, v], 2)
    want = attend(q, keys, values, causal=True, offset=old)
    np.testing.assert_allclose(got[0], want, rtol=1e-4, atol=1e-5)
    for present, full in zip(got[1:], (keys, values), strict=False):
        np.testing.assert_array_equal(present, full)


@pytest.mark.parametrize("length", [2, 20])
def test_a_query_that_sees_nothing_gets_zeros(length):
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((1, 2, length, 16)).astype(np.float32) for _ in range(3))
    mask = np.ones((length, length), bool)
    mask[1] = False
    got = run("Attention", [q, k, v, mask], opset=23)[0]
    assert (got[:, :, 1] == 0).all()
    np.testing.assert_allclose(got, attend(q, k, v, mask), rtol=1e-4, atol=1e-5)


def test_not_a_number_stays_in_its_row():
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((1, 2, 40, 16)).astype(np.float32) for _ in range(3))
    q[0, 1, 7, 3] = np.nan
    got = run("Attention", [q, k, v], opset=23)[0]
    hurt = np.isnan(got)
    assert hurt[0, 1, 7].all()
    assert hurt.sum() == 16
