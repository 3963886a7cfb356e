"""Times of the self-test: tiercel's operators beside those of ONNX Runtime, PyTorch (cuBLASLt and
cuDNN) and CuPy (cuBLAS), where they are."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import tiercel

_PROVIDER = "CUDAExecutionProvider"
_CHAIN = 9  # nodes one behind the other: what a node takes follows without the copies around them
# Operator, type of ONNX, shape of the data, constants behind it, attributes.
_OPERATORS: dict[str, tuple[str, int, tuple[int, ...], tuple[tuple[int, ...], ...], dict[str, Any]]]
_OPERATORS = {
    "MatMul float32 1024": ("MatMul", 1, (1024, 1024), ((1024, 1024),), {}),
    "MatMul float16 2048": ("MatMul", 10, (2048, 2048), ((2048, 2048),), {}),
    "MatMul float16 1 row": ("MatMul", 10, (1, 4096), ((4096, 4096),), {}),
    "Conv float32 3x3": ("Conv", 1, (8, 64, 56, 56), ((64, 64, 3, 3),), {"pads": [1, 1, 1, 1]}),
    "Conv float16 3x3": ("Conv", 10, (8, 64, 56, 56), ((64, 64, 3, 3),), {"pads": [1, 1, 1, 1]}),
    "Softmax float32": ("Softmax", 1, (4096, 1024), (), {}),
    "Transpose float32": ("Transpose", 1, (2048, 2048), (), {}),
    "Add float32": ("Add", 1, (4096, 1024), ((4096, 1024),), {}),
}
TIMED = tuple(_OPERATORS)


def _model(name: str, nodes: int) -> bytes:
    from onnx import helper, numpy_helper

    op, dtype, shape, constants, attributes = _OPERATORS[name]
    numpy_type = helper.tensor_dtype_to_np_dtype(dtype)
    rng = np.random.default_rng(0)
    given = [
        numpy_helper.from_array((rng.standard_normal(c) * 0.02).astype(numpy_type), f"c{i}")
        for i, c in enumerate(constants)
    ]
    values = ["x", *(f"v{i}" for i in range(1, nodes)), "y"]
    chain = [
        helper.make_node(op, [values[i], *(c.name for c in given)], [values[i + 1]], **attributes)
        for i in range(nodes)
    ]
    ports = [helper.make_tensor_value_info(port, dtype, shape) for port in ("x", "y")]
    graph = helper.make_graph(chain, "times", ports[:1], ports[1:], given)
    opset = [helper.make_opsetid("", 23)]
    made = helper.make_model(graph, opset_imports=opset, ir_version=10)
    return bytes(made.SerializeToString())


def median_ms(run: Callable[[], object], seconds: float = 0.5) -> float:
    """The median time of a call in milliseconds, after two calls."""
    run()
    run()
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while not taken or (time.perf_counter() < end and len(taken) < 1000):
        start = time.perf_counter()
        run()
        taken.append((time.perf_counter() - start) * 1e3)
    return float(np.median(taken))


def _sessions(engine: Any, name: str, providers: list[Any]) -> dict[str, float]:
    """Milliseconds of a run of one node with its copies, and of a node of a chain."""
    from onnx import helper

    _, dtype, shape, _, _ = _OPERATORS[name]
    rng = np.random.default_rng(1)
    x = rng.standard_normal(shape).astype(helper.tensor_dtype_to_np_dtype(dtype))
    runs = []
    for nodes in (1, _CHAIN):
        session = engine.InferenceSession(_model(name, nodes), providers=providers)
        runs.append(median_ms(lambda session=session: session.run(None, {"x": x})))  # type: ignore
    return {"run ms": runs[0], "node ms": (runs[1] - runs[0]) / (_CHAIN - 1)}


def _cupy(name: str) -> dict[str, float]:
    """CuPy's time of the same operator on arrays of the GPU."""
    import cupy  # type: ignore[import-not-found,import-untyped,unused-ignore]
    from onnx import helper

    op, dtype, shape, constants, _ = _OPERATORS[name]
    arrays = [
        cupy.random.standard_normal(s).astype(helper.tensor_dtype_to_np_dtype(dtype))
        for s in (shape, *constants)
    ]
    calls: dict[str, Callable[..., Any]] = {
        "MatMul": cupy.matmul,
        "Add": cupy.add,
        "Transpose": lambda x: cupy.ascontiguousarray(x.T),
    }
    if op not in calls:
        return {}

    def run() -> None:
        calls[op](*arrays)
        cupy.cuda.get_current_stream().synchronize()

    return {"cupy ms": median_ms(run)}


def _torch(name: str, device: str) -> dict[str, float]:
    """PyTorch's time of the same operator on tensors of a device, floats multiplied as floats."""
    import torch  # type: ignore[import-not-found,import-untyped,unused-ignore]
    from onnx import helper

    op, dtype, shape, constants, _ = _OPERATORS[name]
    rng = np.random.default_rng(1)
    tensors = [
        torch.from_numpy(rng.standard_normal(s).astype(helper.tensor_dtype_to_np_dtype(dtype))).to(
            device
        )
        for s in (shape, *constants)
    ]
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    calls: dict[str, Callable[..., Any]] = {
        "MatMul": torch.matmul,
        "Conv": lambda x, w: torch.nn.functional.conv2d(x, w, padding=1),
        "Softmax": lambda x: torch.softmax(x, -1),
        "Transpose": lambda x: x.T.contiguous(),
        "Add": torch.add,
    }

    def run() -> None:
        with torch.inference_mode():
            calls[op](*tensors)
        if device != "cpu":
            torch.cuda.synchronize()

    return {"torch ms": median_ms(run)}


def time_one(name: str, device_id: int) -> dict[str, Any]:
    """Milliseconds of one operator, by tiercel and by what else is installed.

    A chain of Add becomes one pointwise program: its time by node is that of an instruction.
    """
    provider = (_PROVIDER, {"device_id": str(device_id)})
    row: dict[str, Any] = _sessions(tiercel, name, [provider])
    if importlib.util.find_spec("onnxruntime") is not None:
        import onnxruntime  # type: ignore[import-untyped,unused-ignore]

        if _PROVIDER in onnxruntime.get_available_providers():
            theirs = _sessions(onnxruntime, name, [provider])
            row.update({f"onnxruntime {key}": value for key, value in theirs.items()})
    if importlib.util.find_spec("torch") is not None:
        import torch

        if torch.cuda.is_available():
            row.update(_torch(name, f"cuda:{device_id}"))
    if importlib.util.find_spec("cupy") is not None:
        row.update(_cupy(name))
    return row
