"""The commands inspect, run, explain and compile."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from ..compile import ModelCompiler
from ..options import GraphOptimizationLevel, SessionOptions
from ..session import InferenceSession
from .feeds import make_feeds, sizes
from .table import print_table


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.4g} {unit}"
        count /= 1024
    return f"{count:.4g} GiB"


def inspect(options: Any) -> int:
    """Prints what a model is made of."""
    settings = SessionOptions()
    for name, size in sizes(options.dim).items():
        settings.add_free_dimension_override_by_name(name, size)
    session = InferenceSession(options.model, settings)
    facts = session._sess.model()
    memory = session._sess.memory()
    opsets = ", ".join(f"{d or 'ai.onnx'} {v}" for d, v in facts["opset_imports"].items())
    print(f"{options.model}: {_size(Path(options.model).stat().st_size)}")
    print(f"producer   {facts['producer_name'] or '-'}, IR {facts['ir_version']}, opset {opsets}")
    print(f"weights    {_size(memory['weights_bytes'])}")
    if memory["arena_bytes"]:
        print(
            f"memory     {_size(memory['arena_bytes'])} planned, "
            f"lower bound {_size(memory['lower_bound_bytes'])}"
        )
    elif not memory["plans"]:
        print("memory     planned when the shapes are known: give them with --dim NAME=SIZE")
    for key, value in facts["custom_metadata_map"].items():
        print(f"metadata   {key} = {value[:80]}")
    rows = [("input", *_port(arg)) for arg in session.get_inputs()]
    rows += [("output", *_port(arg)) for arg in session.get_outputs()]
    print_table("Inputs and outputs", ("", "name", "type", "shape"), rows)
    counts = Counter((node[2], node[1]) for node in session._sess.nodes())
    print_table(
        f"Operators after optimisation: {counts.total()} nodes",
        ("operator", "nodes"),
        [(f"{d}.{op}" if d else op, str(count)) for (d, op), count in counts.most_common()],
    )
    return 0


def _port(arg: Any) -> tuple[str, str, str]:
    shape = ", ".join("?" if extent is None else str(extent) for extent in arg.shape)
    return arg.name, arg.type, f"[{shape}]"


def _summary(value: Any) -> tuple[str, str]:
    if not isinstance(value, np.ndarray):
        return type(value).__name__, str(value)[:60]
    kind = f"{value.dtype}{list(value.shape)}"
    if value.size == 0 or value.dtype.kind in "OUS":
        return kind, str(value)[:60]
    numbers = value.astype(np.float64)
    return kind, f"min {numbers.min():.6g}  mean {numbers.mean():.6g}  max {numbers.max():.6g}"


def run(options: Any) -> int:
    """Runs a model once and prints a line per output."""
    settings = SessionOptions()
    settings.intra_op_num_threads = options.threads
    session = InferenceSession(options.model, settings)
    results = session.run(None, make_feeds(session, options), timeout=options.timeout)
    rows = []
    for arg, value in zip(session.get_outputs(), results, strict=True):
        rows.append((arg.name, *_summary(value)))
        if options.output_dir:
            folder = Path(options.output_dir)
            folder.mkdir(parents=True, exist_ok=True)
            safe = "".join(c if c.isalnum() or c in "._-" else "_" for c in arg.name)
            np.save(folder / f"{safe}.npy", value)
    print_table("Outputs", ("name", "type", "values"), rows)
    return 0


def explain(options: Any) -> int:
    """Prints placement, passes, plan and memory."""
    print(InferenceSession(options.model).explain())
    return 0


def _load_ms(model: str, settings: SessionOptions) -> float:
    """The least of three loads."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        InferenceSession(model, settings)
        times.append((time.perf_counter() - start) * 1e3)
    return min(times)


def compile_model(options: Any) -> int:
    """Writes the optimised model, its weights where they can be mapped, and tells load times."""
    settings = SessionOptions()
    for name, size in sizes(options.dim).items():
        settings.add_free_dimension_override_by_name(name, size)
    if Path(options.output).exists() and Path(options.output).samefile(options.model):
        raise ValueError(f"--output {options.output}: is the model itself")
    level = GraphOptimizationLevel.ORT_ENABLE_ALL
    ModelCompiler(settings, options.model, graph_optimization_level=level).compile_to_file(
        options.output
    )
    before, after = _load_ms(options.model, settings), _load_ms(options.output, settings)
    print(
        f"{options.output}: {_size(Path(options.output).stat().st_size)}, "
        f"loads in {after:.1f} ms, {options.model} in {before:.1f} ms"
    )
    return 0
