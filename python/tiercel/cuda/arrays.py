"""CuPy arrays in and out of sessions without a copy; one stream and one pool of memory for both."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .. import _core
from ..errors import provider_failure
from ..values import OrtValue

if TYPE_CHECKING:
    from ..session import InferenceSession

__all__ = ["from_cupy", "run", "stream", "to_cupy", "use_memory_pool"]


def _cupy() -> Any:
    try:
        return importlib.import_module("cupy")
    except ImportError as error:
        raise provider_failure(
            f"CuPy is missing ({error}): pip install tiercel[cuda]; OrtValue, IOBinding, DLPack "
            "and __cuda_array_interface__ work without it"
        ) from error


def from_cupy(array: Any) -> OrtValue:
    """A dense CuPy array (any shape, of an ONNX element type) as a value over the same memory.

    Raises InvalidArgument where the array is not dense and row-major or of another type.
    """
    return OrtValue.from_dlpack(array)


def to_cupy(value: OrtValue) -> Any:
    """A value's tensor (any shape and type that CuPy has) as a ``cupy.ndarray``.

    Memory of the GPU is shared, in the order of CuPy's current stream; a tensor of the host is
    copied to CuPy's current device.
    """
    cupy = _cupy()
    return cupy.from_dlpack(value) if value.device_name() == "cuda" else cupy.asarray(value.numpy())


def run(
    session: InferenceSession,
    output_names: Sequence[str] | None,
    input_feed: Mapping[str, Any],
    run_options: _core.RunOptions | None = None,
) -> list[Any]:
    """InferenceSession.run whose outputs are CuPy arrays in the memory that the GPU wrote them to.

    Inputs are CuPy arrays, anything else with ``__cuda_array_interface__``, OrtValues, or arrays of
    the host, which are copied. Sequences and maps come as lists and dicts of numpy arrays.
    """
    device = int(session.get_provider_options()["CUDAExecutionProvider"].get("device_id", 0))
    names = list(output_names or (arg.name for arg in session.get_outputs()))
    feeds = {
        name: _core.OrtValue.from_object(value, session._element_type(name))
        for name, value in input_feed.items()
    }
    places: dict[str, tuple[str, int]] = {
        arg.name: ("cuda", device)
        for arg in session.get_outputs()
        if arg.type.startswith("tensor(") and arg.type != "tensor(string)"
    }
    results = session._sess.run_values(names, feeds, places, run_options)
    return [
        to_cupy(OrtValue(value)) if value.device[0] == "cuda" else value.numpy()
        for value in results
    ]


def stream(device_id: int = 0) -> Any:
    """tiercel's stream of a GPU as a ``cupy.cuda.ExternalStream``.

    CuPy's work inside ``with tiercel.cuda.stream():`` needs no waiting before or after a run.
    """
    return _cupy().cuda.ExternalStream(_core.device_stream("cuda", device_id), device_id)


def use_memory_pool() -> None:
    """Lets CuPy take its memory from tiercel's pool, which ``gpu_mem_limit`` then limits too."""
    cuda = _cupy().cuda

    def take(size: int, device_id: int) -> int:
        current = cuda.get_current_stream(device_id).ptr
        return _core.lend_device_memory("cuda", device_id, size, current)

    def give_back(address: int, device_id: int) -> None:
        _core.take_back_device_memory(address, cuda.get_current_stream(device_id).ptr)

    cuda.set_allocator(cuda.PythonFunctionAllocator(take, give_back).malloc)
