"""Compiles the CUDA kernels and runs them on the software device, with its checks."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

import softcuda

KERNELS = Path(__file__).parents[3] / "kernels" / "cuda"
Root = npt.NDArray[np.generic]


@cache
def device() -> softcuda.Device:
    """One device for the process."""
    return softcuda.Device()


@cache
def module(source: str) -> softcuda.Module:
    """A file of kernels/cuda, compiled with checks of each access."""
    path = KERNELS / f"{source}.cu"
    ptx = softcuda.compile_cuda(path.read_text(), path.name, "compute_80", [KERNELS])
    return device().load(ptx)


def root(array: Root) -> Root:
    """The array that a view looks into."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


class Arrays:
    """Host arrays on the device: a view keeps its place in the array it looks into."""

    def __init__(self) -> None:
        self.held: dict[int, tuple[Root, softcuda.Array]] = {}

    def pointer(self, array: Root | None) -> np.uint64:
        """The address of the first item; 0 of None."""
        if array is None:
            return np.uint64(0)
        whole = root(array)
        if id(whole) not in self.held:
            self.held[id(whole)] = (whole, device().upload(whole.reshape(-1).view(np.uint8)))
        return np.uint64(self.held[id(whole)][1].pointer + array.ctypes.data - whole.ctypes.data)

    def finish(self) -> None:
        """Copies all back and frees them."""
        for whole, held in self.held.values():
            if whole.flags.writeable:
                whole.reshape(-1).view(np.uint8)[:] = held.numpy()
            held.free()


def run(source, kernel, grid, block, *arguments, shared=0, seed=0):
    """Launch a kernel of kernels/cuda/SOURCE.cu and wait for it.

    Args:
        source: The file.
        kernel: Its kernel.
        grid: Blocks.
        block: Threads, or a tuple of extents.
        arguments: numpy arrays and None (pointers; arrays hold the results afterwards), int (long
            long), numpy scalars, ctypes structures.
        shared: Bytes of dynamic shared memory.
        seed: Order of blocks and threads; 0 is ascending.
    """
    if grid == 0:
        return
    arrays = Arrays()
    values = [
        arrays.pointer(a) if a is None or isinstance(a, np.ndarray)
        else np.int64(a) if isinstance(a, int)
        else a
        for a in arguments
    ]  # fmt: skip
    device().set("seed", seed)
    try:
        extents = block if isinstance(block, tuple) else (block,)
        module(source).launch(kernel, (grid,), extents, values, shared)
        arrays.finish()
    except softcuda.DeviceError:
        device().reset()
        raise
