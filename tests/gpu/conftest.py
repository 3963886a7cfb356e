"""The software CUDA device for the tests below: on their path, and as the provider's driver."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

for folder in ("softcuda", "conformance"):
    sys.path.insert(0, str(Path(__file__).parents[1] / folder))

if TYPE_CHECKING:
    import softcuda

SEED = int(os.environ.get("TIERCEL_GPU_SEED", "7"))
STREAMS = os.environ.get("TIERCEL_GPU_STREAMS", "lazy")


@pytest.fixture
def cuda_driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[softcuda.Device]:
    """The device that CUDAExecutionProvider finds during the test: software, unless
    ``$TIERCEL_GPU_DRIVER`` names the driver of a card.

    The software device runs threads in a random order and leaves work waiting until somebody asks
    for its result; its ``path`` is the driver's, its ``statistic`` counts what the provider does.

    Raises:
        FileNotFoundError: NVRTC's wheels (extra ``test``) or a C++ compiler are missing.
        softcuda.BuildError: The compiler's output.
    """
    import softcuda

    device = softcuda.Device()
    monkeypatch.setenv("TIERCEL_CUDA_DRIVER", str(device.path))
    if device.software:
        monkeypatch.setenv("TIERCEL_CUDA_CACHE", "")
    device.set("seed", SEED)
    device.set_streams(STREAMS)
    yield device
    try:
        device.synchronize()  # no work of this test is left over, and none is dropped
    finally:
        device.reset()


@pytest.fixture
def software_device(cuda_driver: softcuda.Device) -> softcuda.Device:
    """The device of a test that asks for what only the software device counts or keeps."""
    if not cuda_driver.software:
        pytest.skip("a card counts nothing, and keeps machine code in place of PTX")
    return cuda_driver
