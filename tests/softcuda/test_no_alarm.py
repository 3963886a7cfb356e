"""Correct kernels that a coarse race detector would accuse."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from softcuda import Device, Module

Load = Callable[..., Module]


@pytest.mark.parametrize("seed", range(4))
def test_neighbours_in_a_word(device: Device, kernels: Load, seed: int) -> None:
    device.set("seed", seed)
    module = kernels("no_alarm.cu")
    halves, bytes_ = np.arange(300, dtype=np.float16), np.arange(250, dtype=np.uint8)
    x, y = device.upload(halves), device.upload(bytes_)
    # blocks of an odd size: words that two blocks share
    module.launch("halves_in_place", (5,), (63,), [x, 300])
    module.launch("bytes_in_place", (5,), (61,), [y, 250])
    np.testing.assert_array_equal(x.numpy(), halves * 2)
    np.testing.assert_array_equal(y.numpy(), bytes_ + 1)
    z = device.upload(bytes_[:128])
    module.launch("shared_bytes", (1,), (128,), [z])
    np.testing.assert_array_equal(z.numpy(), (bytes_[:128] + 1)[np.arange(128) ^ 1])


@pytest.mark.parametrize("seed", range(4))
def test_reading_again_after_a_meeting(device: Device, kernels: Load, seed: int) -> None:
    device.set("seed", seed)
    module = kernels("no_alarm.cu")
    x = device.upload(np.arange(128, dtype=np.float32))
    module.launch("read_again", (1,), (128,), [x])
    np.testing.assert_array_equal(x.numpy(), np.repeat(np.arange(4) * 64, 32))
    table, y = device.upload(np.arange(32, dtype=np.float32)), device.empty(96)
    module.launch("shared_table", (3,), (32,), [table, y])
    np.testing.assert_array_equal(y.numpy(), np.tile(np.arange(32) // 2 * 4 + 1, 3))
