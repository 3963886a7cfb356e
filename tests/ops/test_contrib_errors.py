"""What an operator of com.microsoft cannot do is said when the model is loaded: node, attribute,
value, expected."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tiercel
from contrib_run import Array, model_of, random, whole

X = random(2, 3, 8)
BYTES = np.zeros((4, 1, 16), np.uint8)
IDS, COUNT = np.array([2, 2], np.int32), np.array(3, np.int32)
QUERY = [X, random(2, 3, 4), random(2, 3, 4), None, None, IDS, COUNT]
EXPERTS = [random(2, 8), random(2, 2), random(2, 8, 8), None, random(2, 8, 8)]

CASES: list[tuple[str, list[Array | None], dict[str, Any], str]] = [
    (
        "GroupQueryAttention",
        QUERY,
        {"num_heads": 2, "kv_num_heads": 1, "sliding_window_cache": 1},
        "attribute sliding_window_cache is 1; expected 0",
    ),
    (
        "GroupQueryAttention",
        QUERY,
        {"num_heads": 2, "kv_num_heads": 1, "do_rotary": 1},
        "do_rotary is 1, but cos_cache or sin_cache is missing",
    ),
    (
        "Attention",
        [X, random(8, 24)],
        {"num_heads": 2, "do_rotary": 1},
        "attribute do_rotary is 1; expected 0",
    ),
    (
        "MatMulNBits",
        [X, BYTES, random(4, 1)],
        {"K": 8, "N": 4, "bits": 3, "block_size": 32},
        "bits is 3; expected 2, 4 or 8",
    ),
    (
        "MoE",
        EXPERTS,
        {"activation_type": "swish"},
        'attribute activation_type is "swish"; expected one of relu, gelu, silu, swiglu',
    ),
    (
        "MoE",
        EXPERTS,
        {"use_sparse_mixer": 1},
        "attribute use_sparse_mixer is 1; expected 0",
    ),
    (
        "FusedGemm",
        [random(2, 3), random(3, 4)],
        {"activation": "Mish"},
        'attribute activation is "Mish"; expected one of Clip',
    ),
    (
        "QLinearSoftmax",
        [whole(0, 9, 2, 3, dtype=np.uint8), *[np.array(1, np.float32), np.array(0, np.uint8)] * 2],
        {"axis": 2, "opset": 13},
        "attribute axis is 2; expected an axis of X, which has rank 2",
    ),
    ("BiasSplitGelu", [random(2, 3, 5), random(5)], {}, "bias has 5 elements; expected an even"),
    ("CDist", [random(2, 3), random(2, 3)], {"metric": "cosine"}, 'attribute metric is "cosine"'),
]


@pytest.mark.parametrize(("op", "inputs", "attributes", "message"), CASES)
def test_refused(
    op: str, inputs: list[Array | None], attributes: dict[str, Any], message: str
) -> None:
    model = model_of(op, inputs, [True], attributes)
    with pytest.raises(tiercel.errors.InvalidGraph) as caught:
        tiercel.InferenceSession(model.SerializeToString())
    assert f'node "node" (com.microsoft:{op}): {message}' in str(caught.value)
