"""Matrix products, packed weights and experts of com.microsoft agree with onnxruntime."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from contrib_run import Array, check, random, run, whole

ACTIVATIONS = [
    {"activation": "Relu"},
    {"activation": "Tanh"},
    {"activation": "Sigmoid"},
    {"activation": "LeakyRelu", "activation_alpha": 0.2},
    {"activation": "HardSigmoid", "activation_alpha": 0.3, "activation_beta": 0.4},
    {"activation": "Elu", "activation_alpha": 0.7},
    {"activation": "ThresholdedRelu", "activation_alpha": 0.7},
    {"activation": "Softplus"},
    {"activation": "Softsign"},
]


@pytest.mark.parametrize("options", ACTIVATIONS, ids=lambda o: o["activation"])
def test_fused_gemm(options: dict[str, Any]) -> None:
    inputs = [random(5, 7), random(4, 5, seed=1), random(4, seed=2)]
    check("FusedGemm", inputs, transA=1, transB=1, alpha=0.5, beta=2.0, **options)
    check("FusedGemm", [random(3, 7), random(7, 4, seed=1)], **options)


@pytest.mark.parametrize("op", ["FusedMatMul", "TransposeMatMul"])
@pytest.mark.parametrize("a", [0, 1])
@pytest.mark.parametrize("b", [0, 1])
def test_fused_mat_mul(op: str, a: int, b: int) -> None:
    left = random(2, 3, 5, 4) if a else random(2, 3, 4, 5)
    right = random(3, 6, 5, seed=1) if b else random(3, 5, 6, seed=1)
    check(op, [left, right], transA=a, transB=b, alpha=0.25)


def test_fused_mat_mul_batches() -> None:
    left = random(4, 2, 3, 5)
    right = random(6, 2, 3, 5, seed=1)
    options = {"transBatchA": 1, "transBatchB": 1, "transB": 1}
    check("FusedMatMul", [left, right], **options)
    left = random(5, 2, 3, 4)
    check("FusedMatMul", [left, right], transA=1, **options)
    right = random(5, 2, 3, 6, seed=1)
    check("FusedMatMul", [left, right], transA=1, **{**options, "transB": 0})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean"])
def test_distances(dtype: Any, metric: str) -> None:
    inputs = [random(6, 4, dtype=dtype), random(3, 4, seed=1, dtype=dtype)]
    check("CDist", inputs, 1e-4, metric=metric)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_inverse(dtype: Any) -> None:
    check("Inverse", [random(2, 4, 4, dtype=dtype)], 1e-3)


def test_integers() -> None:
    a = whole(-100, 100, 2, 3, 4, dtype=np.int16)
    check("MatMulInteger16", [a, whole(-100, 100, 4, 5, dtype=np.int16)], 0)


def packed(values: Array, bits: int) -> Array:
    """The last axis as bytes, low bits first."""
    per = 8 // bits
    parts = values.astype(np.uint8).reshape(*values.shape[:-1], -1, per)
    return (parts << (np.arange(per, dtype=np.uint8) * bits)).sum(-1).astype(np.uint8)


def padded(values: Array, bits: int) -> Array:
    """The last axis up to a whole number of bytes."""
    more = -values.shape[-1] % (8 // bits)
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, more)])


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("zeros", ["none", "packed", "real"])
@pytest.mark.parametrize("k", [32, 80])
@pytest.mark.parametrize("constants", [{1, 2, 3, 5}, set()], ids=["weights", "inputs"])
def test_n_bits(bits: int, zeros: str, k: int, constants: set[int]) -> None:
    n, block = 6, 16
    blocks = k // block
    weights = whole(0, 2**bits, n, blocks, block)
    points = whole(0, 2**bits, n, blocks, seed=1)
    zero: Array | None = None
    if zeros != "none":
        zero = (
            packed(padded(points, bits), bits) if zeros == "packed" else points.astype(np.float32)
        )
    scales = (np.abs(random(n, blocks, seed=2)) + 0.1) / 2**bits
    inputs = [random(2, 3, k), packed(weights, bits), scales, zero, None, random(n, seed=3)]
    middle = points if zero is not None else 2 ** (bits - 1)
    real = (weights - np.broadcast_to(np.array(middle), (n, blocks))[..., None]) * scales[..., None]
    want = [inputs[0] @ real.reshape(n, k).T.astype(np.float32) + inputs[5]]
    options = {"K": k, "N": n, "bits": bits, "block_size": block}
    constants = {i for i in constants if inputs[i] is not None}
    check("MatMulNBits", inputs, 1e-4, want=want, constants=constants, **options)
    if constants and (bits, zeros) != (8, "real"):  # onnxruntime may round activations
        check("MatMulNBits", inputs, 1e-3, symbolic=False, constants=constants, **options)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_n_bits_in_groups(dtype: Any) -> None:
    n, k, block = 4, 48, 16
    weights = packed(whole(0, 16, n, 3, block), 4)
    scales = (np.abs(random(n, 3, seed=2)) / 8).astype(dtype)
    groups = whole(0, 3, k, seed=5)
    inputs = [random(5, k, dtype=dtype), weights, scales, None, groups]
    check("MatMulNBits", inputs, 1e-3, constants={1, 2, 4}, K=k, N=n, block_size=block)
    points = whole(0, 16, n, 4)  # which onnxruntime passes over
    inputs[3] = packed(points, 4)
    real = (whole(0, 16, n, 3, block).reshape(n, k) - points[:, groups]) * scales[:, groups]
    want = [(inputs[0].astype(np.float32) @ real.T).astype(dtype)]
    options = {"K": k, "N": n, "block_size": block, "constants": {1, 2, 3, 4}}
    check("MatMulNBits", inputs, 2e-2, want=want, **options)


def test_n_bits_left_out() -> None:
    inputs = [random(2, 32), np.zeros((6, 0, 16), np.uint8), np.zeros((6, 1), np.float32)]
    inputs += [None, None, random(6)]
    check("MatMulNBits", inputs, K=32, N=6, bits=4, block_size=32, constants={1, 2})


def test_n_bits_fused() -> None:
    n, k = 8, 32

    def part(seed: int) -> list[Array]:
        weights = packed(whole(0, 16, n, 1, k, seed=seed), 4)
        return [weights, np.abs(random(n, 1, seed=seed)) / 8, random(n, seed=seed + 1)]

    x, skip, gain = random(3, k), random(3, k, seed=1), random(k, seed=2)
    total = x + skip
    norm = total / np.sqrt((total**2).mean(-1, keepdims=True) + 1e-5) * gain
    each = [
        run("MatMulNBits", [norm, *part(s)[:2], None, None, part(s)[2]], K=k, N=n, block_size=k)[0]
        for s in (3, 5, 7)
    ]
    inputs = [x, skip, gain, *part(3), *part(5)]
    gated = each[0] / (1 + np.exp(-each[0])) * each[1]
    options = {"K": k, "block_size": k, "epsilon": 1e-5}
    check(
        "MatMulNBitsMlp",
        inputs,
        1e-4,
        want=[gated, total],
        outputs=[True, True],
        N=n,
        activation="silu",
        **options,
    )
    want = [*each, total]
    check(
        "MatMulNBitsQkv",
        [*inputs, *part(7)],
        1e-4,
        want=want,
        outputs=[True] * 4,
        Nq=n,
        Nkv=n,
        **options,
    )


def test_n_bits_with_adapter() -> None:
    n, k, inner = 8, 32, 4

    def part(rows: int, width: int, bits: int, seed: int) -> tuple[Array, Array]:
        values = whole(0, 2**bits, rows, 1, 32, seed=seed)
        values[..., width:] = 0
        return packed(values, bits), np.abs(random(rows, 1, seed=seed)) / 2**bits

    def product(x: Array, weights: tuple[Array, Array], rows: int, bits: int) -> Array:
        options = {"K": x.shape[1], "N": rows, "bits": bits, "block_size": 32}
        return run("MatMulNBits", [x, *weights], **options)[0]

    x, base = random(3, k), part(n, k, 4, 1)
    down, up = part(inner, k, 8, 2), part(n, inner, 8, 3)
    want = [product(x, base, n, 4) + product(product(x, down, inner, 8), up, n, 8)]
    inputs = [x, *base, *down, *up]
    check("MatMulNBitsQLoRA", inputs, 1e-4, want=want, symbolic=False, N=n, K=k)
    inputs[5] = np.zeros((n, 0, 32), np.uint8)
    check("MatMulNBitsQLoRA", inputs, want=[product(x, base, n, 4)], symbolic=False, N=n, K=k)


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize("transposed", [0, 1])
def test_bits_and_bytes(kind: int, transposed: int) -> None:
    n, k, block = 6, 40, 16
    inputs = [
        random(3, k if transposed else n),
        whole(0, 256, n * k // 2, dtype=np.uint8),
        np.abs(random(n * k // block)),
    ]
    options = {"K": k, "N": n, "block_size": block, "quant_type": kind}
    for constants in ({1, 2}, set()):
        if transposed:
            check("MatMulBnb4", inputs, 1e-4, constants=constants, **options)
        else:
            given = [np.eye(k, dtype=np.float32), *inputs[1:]]
            weights = run("MatMulBnb4", given, **options)[0].T
            want = [inputs[0] @ weights]
            check("MatMulBnb4", inputs, 1e-4, want=want, constants=constants, transB=0, **options)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("constants", [{0, 2, 3}, set()], ids=["weights", "inputs"])
def test_gathered_bytes(bits: int, zeros: bool, constants: set[int]) -> None:
    rows, width, block = 10, 48, 16
    data = packed(whole(0, 2**bits, rows, width), bits)
    scales = np.abs(random(rows, 3))
    points = packed(padded(whole(0, 2**bits, rows, 3, seed=1), bits), bits) if zeros else None
    ids = np.array([[3, 0, 10], [-1, 9, -11]], np.int64)
    constants = {i for i in constants if i != 3 or zeros}
    options = {"bits": bits, "block_size": block, "quantize_axis": -1}
    inputs = [data, ids, scales, points]
    check("GatherBlockQuantized", inputs, constants=constants, symbolic=False, **options)


@pytest.mark.parametrize("dtype", [ml_dtypes.int4, ml_dtypes.uint4])
@pytest.mark.parametrize(("axis", "across"), [(0, 1), (1, 0), (1, 2), (2, 0)])
@pytest.mark.parametrize("half", [False, True])
def test_gathered_nibbles(dtype: Any, axis: int, across: int, half: bool) -> None:
    shape = [6, 4, 8]
    shape[across] = 40
    low = 0 if dtype == ml_dtypes.uint4 else -8
    data = whole(low, low + 16, *shape).astype(dtype)
    few = [3 if i == across else n for i, n in enumerate(shape)]
    points = whole(low, low + 16, *few, seed=1).astype(dtype)
    scales = np.abs(random(*few)).astype(np.float16 if half else np.float32)
    ids = np.array([[1, 0, -1, 99]], np.int32)
    options = {"block_size": 16, "gather_axis": axis, "quantize_axis": across}
    for given in (points, None):
        constants = {0, 2, 3} if given is not None else {0, 2}
        inputs = [data, ids, scales, given]
        check("GatherBlockQuantized", inputs, constants=constants, **options)


@pytest.mark.parametrize("ids", [np.array(2), np.array([1, 0]), np.array([[1, 0], [3, 3]])])
def test_gathered_float8(ids: Array) -> None:
    data = random(6, 32).astype(ml_dtypes.float8_e4m3fn)
    options = {"block_size": 0, "quantize_axis": 1}
    for scales in (np.abs(random(6, 1)), np.abs(random(1, 1))):
        check("GatherBlockQuantized", [data, ids, scales], constants={0, 2}, **options)
