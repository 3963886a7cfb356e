"""Activations and normalisations of com.microsoft agree with onnxruntime, or with their
definition where it has them on GPUs only."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from contrib_run import Array, check, random, run, whole

HALVES = [np.float32, np.float16, ml_dtypes.bfloat16]


def sigmoid(x: Array) -> Array:
    return (1 / (1 + np.exp(-x))).astype(x.dtype)


def tanh_gelu(x: Array) -> Array:
    inner = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    return (0.5 * x * (1 + np.tanh(inner))).astype(x.dtype)


def gelu(x: Array) -> Array:
    return run("Gelu", [x])[0]


def test_activations() -> None:
    x, bias = random(3, 5, 8), random(8, seed=1)
    check("Gelu", [x])
    check("BiasGelu", [x, bias])
    check("FastGelu", [x])
    check("FastGelu", [x, bias])
    check("QuickGelu", [x])
    check("QuickGelu", [x], alpha=0.3)


def test_biases() -> None:
    x, bias, skip = random(2, 5, 8), random(8, seed=1), random(2, 5, 8, seed=2)
    check("BiasAdd", [x, bias, skip], want=[x + bias + skip])
    left, right = np.split(x + bias, 2, -1)
    check("BiasSplitGelu", [x, bias], want=[left * gelu(right)])
    x, w = random(3, 6), random(6, 8, seed=3)
    check("GemmFastGelu", [x, w, bias], want=[tanh_gelu(x @ w + bias)])
    want = [np.maximum(0.5 * (x @ w), 0)]
    check("FusedMatMulActivation", [x, w], want=want, alpha=0.5, activation="Relu")


@pytest.mark.parametrize("inner", [0, 1])
def test_bias_softmax(inner: int) -> None:
    x = random(2, 3, 4, 5)
    bias = random(*((2, 1, 1, 5) if inner else (4, 5)), seed=1)
    for axis in (3, 2):
        rows = np.exp((x + bias).reshape(*x.shape[:axis], -1))
        want = [(rows / rows.sum(-1, keepdims=True)).reshape(x.shape)]
        check("BiasSoftmax", [x, bias], want=want, axis=axis, is_inner_broadcast=inner)


def test_dropouts() -> None:
    x, bias, skip = random(2, 5), random(5, seed=1), random(2, 5, seed=2)
    want = [x + bias + skip, np.ones((2, 5), bool)]
    check("BiasDropout", [x, bias, skip], want=want, outputs=[True, True])
    check("BitmaskBiasDropout", [x, bias, skip], want=want[:1])
    check("BitmaskDropout", [x], want=[x])


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("skip", [(2, 5, 8), (1, 5, 8), (5, 8)])
@pytest.mark.parametrize("extra", [0, 1, 2])
def test_skip_layer_norm(dtype: Any, skip: tuple[int, ...], extra: int) -> None:
    if dtype == ml_dtypes.bfloat16:
        pytest.importorskip("onnxruntime")
    inputs: list[Array | None] = [random(2, 5, 8, dtype=dtype), random(*skip, seed=1, dtype=dtype)]
    inputs += [random(8, seed=2, dtype=dtype), random(8, seed=3, dtype=dtype) if extra else None]
    inputs += [random(8, seed=4, dtype=dtype)] if extra == 2 else []
    outputs = [True, False, False, True]
    check("SkipLayerNormalization", inputs, outputs=outputs, epsilon=1e-3)
    if extra != 1:
        inputs = [*inputs[:3], *inputs[4:]]
        check("SkipSimplifiedLayerNormalization", inputs, outputs=outputs, epsilon=1e-3)


def test_statistics() -> None:
    x, skip, gain = random(2, 5, 8), random(2, 5, 8, seed=1), random(8, seed=2)
    total = x + skip
    mean = total.mean(-1, keepdims=True)
    inverse = 1 / np.sqrt(total.var(-1, keepdims=True) + 1e-5)
    want = [(total - mean) * inverse * gain, mean, inverse, total]
    options: dict[str, Any] = {"outputs": [True] * 4, "epsilon": 1e-5}
    check("SkipLayerNormalization", [x, skip, gain], want=want, **options)
    inverse = 1 / np.sqrt((total**2).mean(-1, keepdims=True) + 1e-5)
    want = [total * inverse * gain, inverse, total]
    options["outputs"] = [True, False, True, True]
    check("SkipSimplifiedLayerNormalization", [x, skip, gain], want=want, **options)


def embedding(segments: bool, mask: bool, positions: int | None) -> list[Array | None]:
    shown = np.array([[1, 1, 0, 1, 0], [1, 1, 1, 1, 1]], np.int32)
    return [
        whole(0, 9, 2, 5),
        whole(0, 2, 2, 5, seed=1) if segments else None,
        random(9, 8),
        random(7, 8, seed=1),
        random(2, 8, seed=2) if segments else None,
        random(8, seed=3),
        random(8, seed=4),
        shown if mask else None,
        whole(0, 7, positions, 5) if positions else None,
    ]


@pytest.mark.parametrize("segments", [False, True])
@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("positions", [None, 1, 2])
def test_embedding(segments: bool, mask: bool, positions: int | None) -> None:
    inputs = embedding(segments, mask, positions)
    outputs = [True] * 3
    options = {"epsilon": 1e-3, "mask_index_type": 1, "constants": {2, 3, 5, 6}}
    check("EmbedLayerNormalization", inputs, outputs=outputs, **options)


@pytest.mark.parametrize("segments", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_quantised_embedding(segments: bool, dtype: Any) -> None:
    low = 0 if dtype == np.uint8 else -128
    tables = [whole(low, low + 255, n, 8, seed=n, dtype=dtype) for n in (9, 7, 2)]
    lines = [whole(low, low + 255, 8, seed=i, dtype=dtype) for i in (1, 2)]
    ids = embedding(segments, True, None)
    inputs = [ids[0], ids[1], *tables[:2], tables[2] if segments else None, *lines, ids[7]]
    scales = [np.array(0.01 * (i + 1), np.float32) for i in range(5)]
    zeros = [np.array(low + 100 + i, dtype) for i in range(5)]
    for five in (scales, zeros):
        inputs += [x if i != 2 or segments else None for i, x in enumerate(five)]
    constants = {i for i in range(2, 18) if inputs[i] is not None and i != 7}
    check("QEmbedLayerNormalization", inputs, 1e-4, outputs=[True, True], constants=constants)


def group_norm(x: Array, gain: Array, bias: Array, groups: int, silu: bool, last: bool) -> Array:
    first = np.moveaxis(x, -1, 1) if last else x
    rows = first.reshape(first.shape[0], groups, -1).astype(np.float64)
    centred = rows - rows.mean(-1, keepdims=True)
    norm = (centred / np.sqrt(rows.var(-1, keepdims=True) + 1e-5)).reshape(first.shape)
    y = norm * gain[:, None, None] + bias[:, None, None]
    y = y * sigmoid(y) if silu else y
    return (np.moveaxis(y, 1, -1) if last else y).astype(x.dtype)


@pytest.mark.parametrize("last", [0, 1])
@pytest.mark.parametrize("silu", [0, 1])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_group_norm(last: int, silu: int, dtype: Any) -> None:
    x = random(2, 5, 3, 8) if last else random(2, 8, 5, 3)
    x = x.astype(dtype)
    gain, bias = random(8, seed=1), random(8, seed=2)
    options = {"groups": 4, "activation": silu, "channels_last": last}
    want = [group_norm(x, gain, bias, 4, bool(silu), bool(last))]
    check("GroupNorm", [x, gain, bias], 1e-4, want=want, **options)
    skip, added = random(2, 8, seed=3).astype(dtype), random(8, seed=4).astype(dtype)
    spread = (skip[:, None, None] + added) if last else (skip + added)[..., None, None]
    total = x + spread
    want = [group_norm(total, gain, bias, 4, bool(silu), bool(last)), total]
    outputs = [True, True]
    check(
        "SkipGroupNorm", [x, gain, bias, skip, added], 6e-3, want=want, outputs=outputs, **options
    )


@pytest.mark.parametrize("dtype", HALVES)
def test_gates(dtype: Any) -> None:
    x, gate = random(2, 5, 24, dtype=dtype), random(2, 5, 24, seed=1, dtype=dtype)
    for name in ("silu", "swish", "sigmoid"):
        check("GatedRMSNorm", [x, random(8, seed=2, dtype=dtype), gate], 1e-4, activation=name)
    if dtype != ml_dtypes.bfloat16:
        check("GatedAdd", [x, gate, random(2, 5, 1, seed=3, dtype=dtype)])
    check("ScaledSiLU", [x], alpha=0.7)
    check("ScaledSiLU", [x, np.array(0.3, np.float32)])


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("flat", [False, True])
def test_branches(dtype: Any, flat: bool) -> None:
    x = random(2, 5, 3, 8, dtype=dtype)
    x, options = (x.reshape(2, 5, 24), {"num_branches": 3}) if flat else (x, {})
    check("BranchwiseRMSNorm", [x], symbolic=flat, **options)
    for scale in (random(24), random(3, 8), random(8)):
        check("BranchwiseRMSNorm", [x, scale], symbolic=flat, **options)
    mixes = [random(2, 5, 3), random(2, 5, 3, 1), random(2, 5, 3, 8)]
    out = random(2, 5, 8, seed=1, dtype=dtype)
    for mix in mixes:
        inputs = [x, mix]
        check("HyperConnectionPreMix", inputs, symbolic=False, reduction_scale=0.5, **options)
        inputs = [x, out, mix]
        check("HyperConnectionPostMix", inputs, symbolic=False, **options)
        check("HyperConnectionPostMix", [*inputs, random(2, 5, 3, 3)], symbolic=False, **options)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_engram_gate(dtype: Any) -> None:
    inputs = [random(2, 5, 3, 8, dtype=dtype), random(2, 5, 3, 8, seed=1, dtype=dtype)]
    inputs += [random(2, 5, 8, seed=2, dtype=dtype)]
    inputs += [random(3, 8, seed=3 + i, dtype=dtype) for i in range(3)]
    check("EngramGate", inputs, 1e-4, outputs=[True, True])
    check("EngramGate", inputs[:5], 1e-4)


def test_swiglu() -> None:
    gate, up = random(2, 5, 8), random(2, 5, 8, seed=1)
    want = [gate * sigmoid(1.7 * gate) * (up + 1)]
    options = {"activation_alpha": 1.7, "activation_beta": 1.0}
    check("SwiGLU", [gate, up], want=want, **options)
    check("SwiGLU", [np.concatenate([gate, up], -1)], want=want, **options)
    g, u = np.minimum(gate, 0.5), np.clip(up, -0.5, 0.5)
    check("SwiGLU", [gate, up], want=[g * sigmoid(g) * u], limit=0.5)
