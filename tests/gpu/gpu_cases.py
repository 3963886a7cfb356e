"""The backend node cases that run wholly on a GPU: their list, and how one is loaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

SECONDS = 400  # for one case: the software device compiles kernels when they are first used
LIST = Path(__file__).with_name("backend_cases.txt")


def read_cases() -> list[str]:
    """Names of the cases, as "node/test_…"; "#" begins a comment."""
    lines = LIST.read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def device_environment() -> dict[str, str]:
    """The environment of processes whose provider finds the device of the tests."""
    import softcuda

    return {
        "TIERCEL_CUDA_DRIVER": str(softcuda.driver()),
        "TIERCEL_CUDA_CACHE": os.environ.get("TIERCEL_CUDA_CACHE", ""),
        "TIERCEL_SOFTCUDA_SEED": os.environ.get("TIERCEL_GPU_SEED", "7"),
    }


def load_on_gpu(model: Any) -> Any:
    """A session in which no node may fall back to the CPU."""
    import tiercel

    options = tiercel.SessionOptions()
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    return tiercel.InferenceSession(model, options, providers=["CUDAExecutionProvider"])
