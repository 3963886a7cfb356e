"""What threads do together: shuffles, votes, barriers, atomics, tensor-core tiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest

from softcuda import Device, DeviceError, Module

Load = Callable[..., Module]
LANES = np.arange(32)


def integers(count: int) -> npt.NDArray[Any]:
    """Small values of both signs."""
    return np.random.default_rng(0).integers(-50, 50, count).astype(np.int32)


@pytest.mark.parametrize("seed", [0, 3])
def test_shuffles(device: Device, kernels: Load, seed: int) -> None:
    device.set("seed", seed)
    x, y = integers(32), device.empty((9, 32), np.int32)
    kernels("warps.cu").launch("shuffles", (1,), (32,), [device.upload(x), y])
    t = LANES
    segment8, segment16 = t // 8 * 8, t // 16 * 16
    sources = [
        t * 7 % 32,
        segment8 + 5,
        np.where(t >= 3, t - 3, t),
        np.where(t - 3 >= segment8, t - 3, t),
        np.where(t + 5 < 32, t + 5, t),
        np.where(t + 5 < segment16 + 16, t + 5, t),
        t ^ 9,
        np.where((t ^ 12) < segment8 + 8, t ^ 12, t),
        np.where(t < 16, t ^ 1, 16),
    ]
    np.testing.assert_array_equal(y.numpy(), np.stack([x[s] for s in sources]))


@pytest.mark.parametrize("seed", [0, 3])
def test_votes(device: Device, kernels: Load, seed: int) -> None:
    device.set("seed", seed)
    x, y = integers(32), device.empty((13, 32), np.int32)
    kernels("warps.cu").launch("votes", (1,), (32,), [device.upload(x), y])
    unsigned = x.view(np.uint32)

    def mask(lanes: npt.NDArray[Any]) -> int:
        return int(np.sum(lanes.astype(np.uint64) << LANES.astype(np.uint64)))

    rows: list[Any] = [mask(x > 0), 0, 1, [mask((x & 3) == (v & 3)) for v in x], 0, 0]
    rows += [x.sum(), x.min(), x.max(), unsigned.max()]
    rows += [np.bitwise_xor.reduce(unsigned), np.bitwise_and.reduce(unsigned | 0xF0), 1]
    expected = [np.broadcast_to(np.asarray(row, np.int64), 32) for row in rows]
    np.testing.assert_array_equal(y.numpy(), np.stack(expected).astype(np.uint32).view(np.int32))


@pytest.mark.parametrize("seed", [0, 3])
def test_block_votes_and_named_barriers(device: Device, kernels: Load, seed: int) -> None:
    device.set("seed", seed)
    module = kernels("warps.cu")
    x, y = integers(128), device.empty(128, np.int32)
    module.launch("block_votes", (1,), (128,), [device.upload(x), y])
    np.testing.assert_array_equal(y.numpy(), int((x > 0).sum()) * 4 + 2)
    module.launch("named_barriers", (1,), (128,), [device.upload(x), y])
    np.testing.assert_array_equal(y.numpy(), x.reshape(2, 64)[:, ::-1].reshape(-1))


@pytest.mark.parametrize("seed", [0, 3])
def test_last_block_reads_what_others_published(device: Device, kernels: Load, seed: int) -> None:
    """A fence and an atomic operation order blocks: no false alarm of a race."""
    device.set("seed", seed)
    module = kernels("warps.cu")
    x = np.random.default_rng(0).standard_normal(640).astype(np.float32)
    part, total = device.empty(10), device.empty(1)
    for _ in range(2):
        module.launch("last_block_sums", (10,), (64,), [device.upload(x), part, total, 10])
        np.testing.assert_allclose(total.numpy()[0], x.sum(), rtol=1e-5)
    counter = module.global_array("finished", (1,), np.uint32)
    assert counter.numpy()[0] == 0


def test_calls_tables_switches_and_local_arrays(device: Device, kernels: Load) -> None:
    x, y = integers(64), device.empty(64)
    kernels("warps.cu").launch("language", (1,), (64,), [device.upload(x), y])
    table = 2.0 ** np.arange(8, dtype=np.float32)
    expected = []
    for v in x.tolist():
        own = [table[(i + v) & 7] * 2 for i in range(8)]
        r = own[v & 7]
        changed = [r + 1, r * 3, r - 5, -r, r + own[(v >> 3) & 7], r / 7, r * r, np.sqrt(r)]
        expected.append(changed[v & 7])
    np.testing.assert_allclose(y.numpy(), np.array(expected, np.float32), rtol=1e-6)


def test_atomic_operations(device: Device, kernels: Load) -> None:
    i = device.upload(np.zeros(3, np.int32))
    f, d = device.upload(np.zeros(2, np.float32)), device.upload(np.zeros(1))
    h, u = device.upload(np.zeros(2, np.float16)), device.upload(np.zeros(3, np.uint32))
    kernels("warps.cu").launch("atomics", (1,), (64,), [i, f, d, h, u])
    lanes = np.arange(64)
    np.testing.assert_array_equal(i.numpy(), [189, -63, np.bitwise_xor.reduce(lanes)])
    np.testing.assert_array_equal(f.numpy(), [32, 63])
    assert d.numpy()[0] == 16
    np.testing.assert_array_equal(h.numpy(), [64, 128])
    np.testing.assert_array_equal(u.numpy(), [64 % 10, (10 - 64 % 10) % 10, 7])


@pytest.mark.parametrize("seed", [0, 3])
def test_pipeline_of_copies(device: Device, kernels: Load, seed: int) -> None:
    device.set("seed", seed)
    x = np.random.default_rng(0).standard_normal((5, 32, 4)).astype(np.float32)
    y = device.empty(x.shape)
    kernels("warps.cu").launch("pipeline", (1,), (32,), [device.upload(x), y, 5])
    np.testing.assert_array_equal(y.numpy(), x[:, ::-1])


def test_trap_fails_the_launch(device: Device, kernels: Load) -> None:
    module = kernels("warps.cu")
    module.launch("asserts", (1,), (32,), [device.upload(integers(32) * 0)])
    device.synchronize()
    module.launch("asserts", (1,), (32,), [device.upload(integers(32))])
    with pytest.raises(DeviceError, match="LAUNCH_FAILED.*warps.cu:.*trap") as error:
        device.synchronize()
    assert error.value.code == 719


TILES = [
    ("f16_k16", np.float16, np.float32, 16, 8, 16),
    ("f16_k8", np.float16, np.float32, 16, 8, 8),
    ("bf16_k16", ml_dtypes.bfloat16, np.float32, 16, 8, 16),
    ("bf16_k8", ml_dtypes.bfloat16, np.float32, 16, 8, 8),
    ("tf32_k8", np.float32, np.float32, 16, 8, 8),
    ("tf32_k4", np.float32, np.float32, 16, 8, 4),
    ("s8_k32", np.int8, np.int32, 16, 8, 32),
    ("s8_k16", np.int8, np.int32, 16, 8, 16),
    ("u8_k32", np.uint8, np.int32, 16, 8, 32),
    ("f16_adds_f16", np.float16, np.float16, 16, 8, 16),
    ("wmma_bf16", ml_dtypes.bfloat16, np.float32, 16, 16, 16),
    ("wmma_f16_columns", np.float16, np.float16, 16, 16, 16),
    ("wmma_s8", np.int8, np.int32, 16, 16, 16),
]


@pytest.mark.parametrize("name,element,added,m,n,k", TILES, ids=[tile[0] for tile in TILES])
def test_tiles(
    device: Device, kernels: Load, name: str, element: Any, added: Any, m: int, n: int, k: int
) -> None:
    rng = np.random.default_rng(0)
    low = 0 if name.startswith("u8") else -9
    # whole numbers: every format holds them and their sums exactly
    a, b, c = (rng.integers(low, 9, shape) for shape in ((m, k), (k, n), (m, n)))
    second = b.T if name.endswith("columns") else b
    arrays = [device.upload(np.ascontiguousarray(values).astype(element)) for values in (a, second)]
    result = device.upload(c.astype(added))
    kernels("fragments.cu").launch(name, (1,), (32,), [*arrays, result])
    np.testing.assert_array_equal(result.numpy(), (a @ b + c).astype(added))
