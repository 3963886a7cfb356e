"""Times of operators on a GPU beside PyTorch's (cuBLASLt, cuDNN), and their share of its rates.

python benchmarks/gpu_operators.py [--only TEXT] [--seconds 0.3] [--json FILE] [--write FILE.md]
Values lie in the GPU's memory, runs are CUDA graphs of one node; a time is the median of calls that
wait for their result. The share is of --bandwidth, or of the rate of the type's products. PyTorch
is measured in the same way, between the rounds of tiercel, where it is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from document import write_between
from gpu_operator_cases import Case, cases, torch_call
from onnx import helper, numpy_helper

import tiercel
from tiercel.cuda import device_info
from tiercel.cuda.selftest_times import median_ms

PROVIDER = "CUDAExecutionProvider"
ROUNDS = 3
HEADER = "| operator | ms | rate | share | PyTorch ms | faster by |\n|---|---|---|---|---|---|"


def numbers(shape: Sequence[int], dtype: int, seed: int) -> Any:
    """Random numbers; of integers, from the lower half of their range."""
    kind = np.dtype(helper.tensor_dtype_to_np_dtype(dtype))
    size = int(np.prod(shape))
    rng = np.random.default_rng(seed)
    if kind.kind in "iu":
        block = rng.integers(0, 100, min(size, 1 << 20))
    else:
        block = rng.standard_normal(min(size, 1 << 20)) * 0.5
    return np.resize(block.astype(kind), tuple(shape))


def model(case: Case, constants: Sequence[Any]) -> bytes:
    """The node: one input, its constants as initializers."""
    names = ["x", *(f"c{i}" for i in range(len(constants)))]
    for place in case.absent:
        names.insert(place, "")
    node = helper.make_node(case.op, names, ["y"], domain=case.domain, **case.attributes)
    graph = helper.make_graph(
        [node],
        "operator",
        [helper.make_tensor_value_info("x", case.dtype, case.shape)],
        [helper.make_tensor_value_info("y", case.out or case.dtype, None)],
        [numpy_helper.from_array(c, f"c{i}") for i, c in enumerate(constants)],
    )
    opsets = [helper.make_opsetid("", 23), helper.make_opsetid("com.microsoft", 1)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    return bytes(made.SerializeToString())


def tiercel_call(case: Case, x: Any, constants: Sequence[Any]) -> tuple[Callable[[], object], Any]:
    """A run of the node on values in the GPU's memory, and what holds its result."""
    options = tiercel.SessionOptions()
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    settings = {"enable_cuda_graph": "1", "use_tf32": str(int(case.tf32))}
    session = tiercel.InferenceSession(model(case, constants), options, [(PROVIDER, settings)])
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", tiercel.OrtValue.ortvalue_from_numpy(x, "cuda", 0))
    binding.bind_output("y", "cuda", 0)
    session.run_with_iobinding(binding)
    held = binding.get_outputs()[0]
    binding.bind_ortvalue_output("y", held)
    return lambda: session.run_with_iobinding(binding), held


def measure(case: Case, seconds: float) -> dict[str, Any]:
    """Milliseconds of a case by both, and the largest difference of results where both are."""
    x = numbers(case.shape, case.dtype, 0)
    constants = [numbers(shape, dtype, i + 1) for i, (shape, dtype) in enumerate(case.constants)]
    constants += list(case.given)
    ours, held = tiercel_call(case, x, constants)
    theirs, result = None, None
    if importlib.util.find_spec("torch") is not None:
        theirs, result = torch_call(case, x, constants)
    times: dict[str, list[float]] = {"ms": [], "torch_ms": []}
    for _ in range(ROUNDS):
        times["ms"].append(median_ms(ours, seconds / ROUNDS))
        if theirs is not None:
            times["torch_ms"].append(median_ms(theirs, seconds / ROUNDS))
    found: dict[str, Any] = {name: float(np.median(v)) for name, v in times.items() if v}
    if result is not None:
        got, want = held.numpy().astype(np.float64), result()
        found["error"] = float(np.linalg.norm(got - want) / (np.linalg.norm(want) or 1))
    return found


def row(case: Case, found: dict[str, Any], bandwidth: float) -> str:
    """A line of the table."""
    seconds = found["ms"] / 1e3
    if case.operations:
        rate = case.operations / seconds
        cells = [f"{rate / 1e12:.3g} T/s", f"{rate / case.peak:.0%}"]
    else:
        rate = case.bytes / seconds
        cells = [f"{rate / 1e9:.0f} GB/s", f"{rate / bandwidth:.0%}"]
    torch_ms = found.get("torch_ms")
    cells += [f"{torch_ms:.3f}", f"{torch_ms / found['ms']:.2f}"] if torch_ms else ["", ""]
    return "| " + " | ".join([case.name, f"{found['ms']:.3f}", *cells]) + " |"


def main(given: Sequence[str] | None = None) -> int:
    """Prints the table; gives the exit status: 1 when an operator fails."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name has it")
    parser.add_argument("--seconds", type=float, default=0.3, help="of a case, for each engine")
    parser.add_argument("--bandwidth", type=float, default=3350.0, help="of memory, in GB/s")
    parser.add_argument("--small", action="store_true", help="little data: a check, not a time")
    parser.add_argument("--json", default="", metavar="FILE")
    parser.add_argument("--write", default="", metavar="FILE.md", help="a document with its place")
    options = parser.parse_args(given)
    print(device_info(0).name)
    lines, record, failed = [HEADER], [], False
    print(HEADER)
    for case in cases(options.small):
        if options.only not in case.name:
            continue
        try:
            found = measure(case, options.seconds)
            lines.append(row(case, found, options.bandwidth * 1e9))
        except Exception as error:
            found, failed = {"failed": f"{type(error).__name__}: {error}"}, True
            lines.append(f"| {case.name} | {str(error).splitlines()[0][:200]} | | | | |")
        record.append({"name": case.name, "bytes": case.bytes, "flop": case.operations, **found})
        print(lines[-1], f"{found.get('error', float('nan')):.1e}", flush=True)
    if options.write:
        write_between(options.write, "gpu_operators", "\n".join(lines))
    if options.json:
        Path(options.json).write_text(json.dumps(record, indent=1) + "\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
