"""Twenty planted bugs: each is found, with the place of the bug in the message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from softcuda import Device, DeviceError, Module
from softcuda.mutations import mutants, survivors

Load = Callable[..., Module]
KERNELS = Path(__file__).parent / "kernels"
RACE = r"race|reads shared memory that nobody wrote"
# What the message says; the same under every schedule, because accesses are checked one by one.
BUGS = {
    "race_raw_lower": RACE,
    "race_raw_higher": RACE,
    "race_war_tile": r"race: thread \d+ (reads|writes) it, with no barrier between",
    "race_warpsync": r"race: thread \d+ (reads|writes) it, with no barrier between",
    "oob_global_read": "outside of every allocation",
    "oob_global_write": "outside of every allocation",
    "oob_shared": "outside of (shared memory|every variable)",
    "oob_dyn_shared": "outside of (shared memory|every variable)",
    "misaligned": "misaligned address",
    "divergent": "divergent barrier: others wait at planted_bugs.cu:",
    "early_exit": "exits while others wait|barrier after .* exited",
    "uninit_shared": "reads shared memory that nobody wrote",
    "race_blocks": "race: another block writes it in the same launch",
    "race_no_atomic": r"race: thread \d+ (reads|writes) it, with no barrier between",
    "async_nowait": "cp.async of thread .* not waited for",
    "async_nobar": "cp.async of thread .* not waited for|" + RACE,
    "shfl_divergent": "divergent warp operation: lane .* waits at planted_bugs.cu:",
    "shfl_exited": "names lanes that exited|exits while its warp waits",
    "read_beside_atomics": r"race: thread \d+ (reads|writes) it, with no barrier between",
    "int_overflow": "outside of every allocation|not device memory",
}


def launch(device: Device, module: Module, name: str) -> np.ndarray:
    """Runs one of the kernels on x = 1 … 256 and gives y."""
    x = device.upload(np.arange(1, 257, dtype=np.float32))
    y = device.empty(256)
    blocks = 2 if name == "race_blocks" else 1
    shared = 1024 if name == "oob_dyn_shared" else 0
    module.launch(name, (blocks,), (256,), [x, y], shared)
    return y.numpy()


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", BUGS)
def test_bug_is_found(device: Device, kernels: Load, name: str, seed: int) -> None:
    device.set("seed", seed)
    with pytest.raises(DeviceError) as error:
        launch(device, kernels("planted_bugs.cu"), name)
    error.match(BUGS[name])
    error.match(f"{name}.*block .*thread")


@pytest.mark.parametrize("checked", [True, False])
def test_correct_kernel_passes_everywhere(device: Device, kernels: Load, checked: bool) -> None:
    module = kernels("planted_bugs.cu", checked)
    results = []
    for seed in range(8):
        device.set("seed", seed)
        results.append(launch(device, module, "good"))
    assert np.isfinite(results[0]).all()
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


@pytest.mark.parametrize(
    "name",
    ["race_raw_lower", "race_raw_higher", "race_war_tile", "race_warpsync", "uninit_shared"]
    + ["async_nowait", "async_nobar"],
)
def test_without_checks_schedules_show_the_bug(device: Device, kernels: Load, name: str) -> None:
    """Kernels run faster without checks; wrong or changing results still show most races."""
    module = kernels("planted_bugs.cu", checked=False)
    results = []
    for seed in range(8):
        device.set("seed", seed)
        results.append(launch(device, module, name))
    differ = any(not np.array_equal(results[0], other, equal_nan=True) for other in results[1:])
    assert differ or np.isnan(results[0]).any()


def test_initial_values_need_not_be_checked(device: Device, kernels: Load) -> None:
    with device.switched(initial_check=0):
        assert np.isnan(launch(device, kernels("planted_bugs.cu"), "uninit_shared")[255])


def test_write_behind_an_allocation_shows_when_it_is_freed(device: Device, kernels: Load) -> None:
    module = kernels("planted_bugs.cu", checked=False)
    x, y = device.upload(np.zeros(256, np.float32)), device.empty(256)
    module.launch("oob_global_write", (1,), (256,), [x, y])
    device.synchronize()
    with pytest.raises(DeviceError, match="wrote behind an allocation of 1024 bytes"):
        y.free()


# ---- each barrier of the real kernels is needed


def check_products(module: Module) -> None:
    """Both products over more than one tile."""
    rng = np.random.default_rng(0)
    for name, grid, block in (
        ("sgemm_tile16", (2, 2), (16, 16)),
        ("sgemm_64x64", (1, 1), (256,)),
    ):
        size = 32 if name == "sgemm_tile16" else 64
        a, b = (rng.standard_normal((size, size), dtype=np.float32) for _ in range(2))
        c = module.device.empty((size, size))
        arrays = [module.device.upload(a), module.device.upload(b), c]
        module.launch(name, grid, block, [*arrays, size, size, size])
        assert np.abs(c.numpy() - a @ b).max() < 1e-3


def check_rows(module: Module) -> None:
    """Softmax and the histogram."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 300), dtype=np.float32)
    y = module.device.empty(x.shape)
    module.launch("softmax_rows", (1,), (256,), [module.device.upload(x), y, 300])
    e = np.exp(x - x.max(1, keepdims=True))
    assert np.abs(y.numpy() - e / e.sum(1, keepdims=True)).max() < 1e-5
    values = rng.integers(0, 256, 600).astype(np.uint8)
    counts = module.device.upload(np.zeros(256, np.uint32))
    module.launch("histogram256", (2,), (256,), [module.device.upload(values), counts, 600])
    assert (counts.numpy() == np.bincount(values, minlength=256)).all()


def check_tensor_product(module: Module) -> None:
    """Two steps along K."""
    rng = np.random.default_rng(0)
    device = module.device
    a, b = (rng.standard_normal((64, 64)).astype(np.float16) for _ in range(2))
    c = device.empty((64, 64))
    arrays = [device.upload(a), device.upload(b), c]
    module.launch("hgemm_mma", (1, 1), (128,), [*arrays, 64, 64, 64])
    assert np.abs(c.numpy() - a.astype(np.float32) @ b.astype(np.float32)).max() < 1e-2


def check_convolution(module: Module) -> None:
    """Three steps along K."""
    rng = np.random.default_rng(0)
    device = module.device
    x = rng.standard_normal((64, 96)).astype(np.float16)
    weight = (rng.standard_normal((96, 64)) * 0.1).astype(np.float16)
    y = device.empty((64, 64), np.float16)
    bias = device.upload(np.zeros(64, np.float32))
    shared = (2 * 64 * 40 + 2 * 32 * 72) * 2
    numbers = [1, 8, 8, 96, 64, 1, 1, 0, 1, 8, 8, 0]
    arguments = [device.upload(x), device.upload(weight), bias, y, *numbers]
    module.launch("conv_wmma_f16", (1, 1), (128,), arguments, shared=shared)
    expected = x.astype(np.float32) @ weight.astype(np.float32)
    assert np.abs(y.numpy() - expected).max() < 2e-2


@pytest.mark.parametrize(
    "name,check,count",
    [
        ("products.cu", check_products, 3),
        ("rows.cu", check_rows, 4),
        ("convolution.cu", check_convolution, 5),
        ("tensor_product.cu", check_tensor_product, 3),
    ],
)
def test_no_barrier_is_idle(
    device: Device, name: str, check: Callable[[Module], None], count: int
) -> None:
    source = (KERNELS / name).read_text()
    assert len(mutants(source, name)) == count
    assert survivors(device, source, check, name, [KERNELS]) == []


def test_mutants_leave_comments_alone() -> None:
    source = "void f() {\n  __syncthreads();  // __syncthreads();\n  /* __syncwarp(); */\n}\n"
    (only,) = mutants(source, "f.cu")
    assert only.what == "f.cu:2 __syncthreads();"
    assert only.source.count("__syncthreads();") == 1
