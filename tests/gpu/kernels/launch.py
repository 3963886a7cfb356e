"""Compiles the CUDA kernels and runs them on the software device, with its checks."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

import softcuda

KERNELS = Path(__file__).parents[3] / "kernels" / "cuda"
Root = npt.NDArray[np.generic]
# More orders of threads in which each launch must give the same bits.
MORE_SEEDS = int(os.environ.get("TIERCEL_GPU_SEEDS", "0"))
# Called with source, kernel and a function that launches it on copies and gives all bytes
# afterwards, before each launch.
WATCHERS: list[Callable[[str, str, Callable[[], list[bytes]]], None]] = []


@cache
def device() -> softcuda.Device:
    """One device for the process."""
    return softcuda.Device()


@cache
def ptx(source: str) -> str:
    """The PTX of a file of kernels/cuda."""
    path = KERNELS / f"{source}.cu"
    return softcuda.compile_cuda(path.read_text(), path.name, "compute_80", [KERNELS])


@cache
def module(source: str) -> softcuda.Module:
    """A file of kernels/cuda, compiled with checks of each access."""
    return device().load(ptx(source))


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

    def read(self) -> list[bytes]:
        """What the arrays hold on the device."""
        return [held.numpy().tobytes() for _, held in self.held.values()]

    def finish(self) -> None:
        """Copies all back."""
        for whole, held in self.held.values():
            if whole.flags.writeable:
                whole.reshape(-1).view(np.uint8)[:] = held.numpy()

    def free(self) -> None:
        """Gives their memory back."""
        for _, held in self.held.values():
            held.free()


def run(source, kernel, grid, block, *arguments, shared=0, seed=0):
    """Launch a kernel of kernels/cuda/SOURCE.cu and wait for it.

    Args:
        source: The file.
        kernel: Its kernel.
        grid: Blocks, or a tuple of extents.
        block: Threads, or a tuple of extents.
        arguments: numpy arrays and None (pointers; arrays hold the results afterwards), int (long
            long), numpy scalars, ctypes structures, whose `arrays` are those that fields point to.
        shared: Bytes of dynamic shared memory.
        seed: Order of blocks and threads; 0 is ascending.
    """
    if grid == 0:
        return
    blocks = grid if isinstance(grid, tuple) else (grid,)
    extents = block if isinstance(block, tuple) else (block,)

    def start(arrays):
        for argument in arguments:
            for field, array in getattr(argument, "arrays", {}).items():
                setattr(argument, field, int(arrays.pointer(array)))
        values = [
            arrays.pointer(a) if a is None or isinstance(a, np.ndarray)
            else np.int64(a) if isinstance(a, int)
            else a
            for a in arguments
        ]  # fmt: skip
        module(source).launch(kernel, blocks, extents, values, shared)
        device().synchronize()  # also where no argument is an array

    for watch in WATCHERS:
        watch(source, kernel, lambda: on_arrays(start, Arrays.read))
    results = []
    for more in range(MORE_SEEDS):
        device().set("seed", 1000 + 17 * seed + more)
        results.append(on_arrays(start, Arrays.read))
    device().set("seed", seed)
    on_arrays(start, Arrays.finish)
    if not kernel.startswith(("scatter_elements_b", "scatter_nd_b")):  # one of equal indices wins
        assert all(one == results[0] for one in results), f"{kernel} depends on the schedule"


def on_arrays(start, finish):
    """What ``finish`` makes of new arrays after ``start`` used them; forgets a failure."""
    arrays = Arrays()
    try:
        start(arrays)
        result = finish(arrays)
    except softcuda.DeviceError:
        device().reset()
        arrays.free()
        raise
    arrays.free()
    return result
