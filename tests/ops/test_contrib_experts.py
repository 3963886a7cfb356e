"""Mixtures of experts of com.microsoft agree with onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from contrib_run import Array, check, random, reference, whole
from test_contrib_matrix import packed, padded

TOKENS, EXPERTS, HIDDEN, INNER = 7, 4, 32, 32


def weights(*shape: int, seed: int) -> Array:
    return random(*shape, seed=seed) * 0.2


def experts(wide: int = 1, third: bool = False, bias: bool = True) -> list[Array | None]:
    """Weights and biases of the three projections."""
    out: list[Array | None] = [
        weights(EXPERTS, wide * INNER, HIDDEN, seed=1),
        weights(EXPERTS, wide * INNER, seed=2),
        weights(EXPERTS, HIDDEN, INNER, seed=3),
        weights(EXPERTS, HIDDEN, seed=4),
        weights(EXPERTS, INNER, HIDDEN, seed=5) if third else None,
        weights(EXPERTS, INNER, seed=6) if third else None,
    ]
    return [x if bias or i % 2 == 0 else None for i, x in enumerate(out)]


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("normal", [0, 1])
@pytest.mark.parametrize("name", ["relu", "gelu", "silu", "identity"])
def test_plain(k: int, normal: int, name: str) -> None:
    inputs = [random(TOKENS, HIDDEN), random(TOKENS, EXPERTS, seed=9), *experts()[:4]]
    options = {"k": k, "activation_type": name, "normalize_routing_weights": normal}
    check("MoE", inputs, 1e-4, constants={2, 3, 4, 5}, **options)
    inputs[0] = inputs[0].reshape(1, TOKENS, HIDDEN)
    check("MoE", inputs, 1e-4, symbolic=False, **options)


@pytest.mark.parametrize("limit", [{}, {"swiglu_limit": 0.5}], ids=str)
def test_gated(limit: dict[str, Any]) -> None:
    options = {"k": 2, "activation_type": "swiglu", "normalize_routing_weights": 1}
    options |= {"swiglu_fusion": 1, "activation_alpha": 1.7, "activation_beta": 1.0}
    inputs = [random(TOKENS, HIDDEN), random(TOKENS, EXPERTS, seed=9), *experts(2)[:4]]
    check("MoE", inputs, 1e-4, constants={2, 3, 4, 5}, **options, **limit)


def test_layouts_of_gates() -> None:
    """Interleaved, one behind the other and in two projections: the same mixture."""
    inputs = [random(TOKENS, HIDDEN), random(TOKENS, EXPERTS, seed=9)]
    parts = experts(third=True)
    options = {"k": 2, "activation_type": "swiglu"}
    mixed = [np.stack([parts[i], parts[i + 4]], 2) for i in (0, 1)]
    shapes = [(EXPERTS, 2 * INNER, HIDDEN), (EXPERTS, 2 * INNER)]
    woven = [m.reshape(s) for m, s in zip(mixed, shapes, strict=True)]
    want = reference("MoE", [*inputs, *woven, *parts[2:4]], swiglu_fusion=1, **options)
    constants = set(range(2, 8))
    check("MoE", [*inputs, *parts], 1e-4, want=want, constants=constants, **options)
    behind = [np.concatenate([parts[i], parts[i + 4]], 1) for i in (0, 1)]
    inputs = [*inputs, *behind, *parts[2:4]]
    check("MoE", inputs, 1e-4, want=want, constants={2, 3, 4, 5}, swiglu_fusion=2, **options)


def quantised(n: int, k: int, bits: int, block: int, seed: int, zeros: bool) -> list[Array | None]:
    """Packed weights, scales and zero points of one projection."""
    blocks = k // block if block else 1
    values = whole(0, 2**bits, EXPERTS, n, k, seed=seed)
    scales = np.abs(weights(EXPERTS, n, blocks, seed=seed)) * 2 / 2**bits
    points = whole(0, 2**bits, EXPERTS, n, blocks, seed=seed + 1)
    if not block:
        return [packed(values, bits), scales[..., 0], None]
    return [packed(values, bits), scales, packed(padded(points, bits), bits) if zeros else None]


@pytest.mark.parametrize("bits", [2, 4, 8])
# Without blocks a row has one zero point, packed together with those of other rows.
@pytest.mark.parametrize(("block", "zeros"), [(0, False), (16, False), (16, True)])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_quantised(bits: int, block: int, zeros: bool, dtype: Any) -> None:
    one = quantised(2 * INNER, HIDDEN, bits, block, 1, zeros)
    two = quantised(HIDDEN, INNER, bits, block, 3, zeros)
    inputs = [random(TOKENS, HIDDEN), random(TOKENS, EXPERTS, seed=9), *one[:2]]
    inputs += [weights(EXPERTS, 2 * INNER, seed=5), *two[:2], weights(EXPERTS, HIDDEN, seed=6)]
    inputs += [None, None, None, one[2], two[2], None]
    inputs = [x.astype(dtype) if x is not None and x.dtype == np.float32 else x for x in inputs]
    options: dict[str, Any] = {"k": 2, "activation_type": "swiglu", "swiglu_fusion": 1}
    options |= {"expert_weight_bits": bits, "weights_prepacked": 0, "activation_alpha": 1.7}
    if block:
        options["block_size"] = block
    constants = {i for i, x in enumerate(inputs) if i > 1 and x is not None}
    check("QMoE", inputs, 3e-2 if bits == 8 else 2e-3, constants=constants, **options)


def test_weights_of_other_scores() -> None:
    one = quantised(INNER, HIDDEN, 4, 16, 1, False)
    two = quantised(HIDDEN, INNER, 4, 16, 3, False)
    scores = np.abs(random(TOKENS, EXPERTS, seed=11))
    inputs = [random(TOKENS, HIDDEN), random(TOKENS, EXPERTS, seed=9), *one[:2], None, *two[:2]]
    inputs += [None] * 7 + [scores]
    for normal in (0, 1):
        options = {"k": 2, "activation_type": "silu", "normalize_routing_weights": normal}
        check("QMoE", inputs, 2e-3, constants={2, 3, 5, 6}, block_size=16, **options)


@pytest.mark.parametrize(("groups", "open_groups"), [(1, 1), (4, 2)])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_router(groups: int, open_groups: int, dtype: Any) -> None:
    inputs = [random(TOKENS, 16, dtype=dtype), random(16, seed=1)]
    options = {"n_group": groups, "topk_group": open_groups, "top_k": 3}
    check("MoEGroupRouter", inputs, 1e-4, **options)


def test_router_scores() -> None:
    inputs = [random(TOKENS, 16), random(16, seed=1)]
    check("MoEGroupRouter", inputs, 1e-4, outputs=[False, True, True], top_k=3)
