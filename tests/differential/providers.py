"""Whether the GPU's provider computes what the CPU's does, on the software device.

Both get a case, then the same sessions get other inputs, most of which they have to refuse with
errors of one kind, and then the case again: nothing may be left of the errors.
"""

from __future__ import annotations

import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np

import tiercel
from draw import NAMES, is_whole, limits
from oracle import Case, Feeds, compare, quietly

VARIANTS = 3  # other inputs of a session
NODE = '"node"'  # as errors name the only node of a case


def software_device() -> Any:
    """The device, which the environment has to name (TIERCEL_CUDA_DRIVER) by its `path`."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "softcuda"))
    import softcuda

    device = softcuda.Device()
    device.set("seed", 7)
    device.set_streams("lazy")
    return device


def session_on(provider: str, case: Case) -> tiercel.InferenceSession | Exception:
    model = case.model.SerializeToString()
    made = quietly(lambda: [tiercel.InferenceSession(model, providers=[provider])])
    return made if isinstance(made, Exception) else made[0]


def varied(feeds: Feeds, rng: np.random.Generator) -> Feeds:
    """Other inputs: an extent that differs in all inputs that have it, or a whole number that is
    out of every range."""
    made = dict(feeds)
    tensors = [n for n, v in feeds.items() if isinstance(v, np.ndarray) and v.dtype != object]
    if not tensors:
        return made
    name = str(rng.choice(tensors))
    value = np.array(feeds[name])
    if (
        value.size
        and value.dtype.kind != "b"
        and is_whole(NAMES[value.dtype])
        and rng.random() < 0.6
    ):
        low, high = limits(NAMES[value.dtype])
        flat = value.reshape(-1)
        flat[rng.integers(flat.size)] = rng.choice(
            [max(low, -100), min(high, 40), 0, -1 if low else 1]
        )
        made[name] = value
        return made
    if not value.ndim:
        return made
    extent = value.shape[rng.integers(value.ndim)]
    wanted = int(rng.choice([0, 1, 2, extent + 1, max(extent - 1, 0)]))
    everywhere = rng.random() < 0.7
    for other in tensors if everywhere else [name]:
        array = np.array(feeds[other])
        for axis, n in enumerate(array.shape):
            if n == extent:
                array = resized(array, axis, wanted)
        made[other] = array
    return made


def resized(array: np.ndarray, axis: int, extent: int) -> np.ndarray:
    """The array with an axis cut or repeated."""
    if array.shape[axis] == 0:
        shape = list(array.shape)
        shape[axis] = extent
        return np.zeros(shape, array.dtype)
    return np.take(array, np.arange(extent) % array.shape[axis], axis)


def run(session: tiercel.InferenceSession, feeds: Feeds) -> list[Any] | Exception:
    return quietly(lambda: list(session.run(None, feeds)))


def kinds_differ(got: Any, want: Any) -> str:
    """How one fails and the other does not, or otherwise; "" where both do alike."""
    if not isinstance(got, Exception) and not isinstance(want, Exception):
        return ""
    if not isinstance(got, Exception) or not isinstance(want, Exception):
        return f"GPU: {got!r}, CPU: {want!r}"
    if type(got) is not type(want):
        return f"GPU: {type(got).__name__}: {got}, CPU: {type(want).__name__}: {want}"
    if NODE in str(want) and NODE not in str(got):
        return f"GPU: {got} names no node; CPU: {want}"
    return ""


def same_bits(a: list[Any], b: list[Any]) -> bool:
    return all(
        x.tobytes() == y.tobytes()
        for x, y in zip(a, b, strict=True)
        if isinstance(x, np.ndarray) and x.dtype != object
    )


def provider_verdict(case: Case) -> str | None:
    """How the GPU differs from the CPU, "" where it does not, None where nothing runs on it."""
    cpu, gpu = (session_on(f"{p}ExecutionProvider", case) for p in ("CPU", "CUDA"))
    if isinstance(cpu, Exception) or isinstance(gpu, Exception):
        return kinds_differ(gpu, cpu)
    if " cuda" not in gpu.explain():
        return None
    first = run(gpu, case.feeds)
    want = run(cpu, case.feeds)
    text = kinds_differ(first, want)
    if text or isinstance(first, Exception) or isinstance(want, Exception):
        return text
    if not case.shape_only and (text := compare(case, first, want)):
        return text
    rng = np.random.default_rng(zlib.crc32(case.model.SerializeToString()))
    for _ in range(VARIANTS):
        feeds = varied(case.feeds, rng)
        got, want = run(gpu, feeds), run(cpu, feeds)
        text = kinds_differ(got, want)
        if not text and not isinstance(got, Exception) and not isinstance(want, Exception):
            text = "" if case.shape_only else compare(case, got, want)
        if text:
            shown = {n: (v.shape, v.tolist() if v.size < 20 else "…") for n, v in feeds.items()}
            return f"with {shown}: {text}"
    again = run(gpu, case.feeds)
    if isinstance(again, Exception):
        return f"a later run with the same inputs fails: {again}"
    if not case.shape_only and not same_bits(first, again):
        return "a later run with the same inputs gives another result"
    return ""
