"""The backend tests of the onnx package: their names, and how one case is run and compared."""

from __future__ import annotations

import functools
import glob
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator", "light")
LIST = Path(__file__).with_name("expected_failures.txt")
LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"


def read_list() -> dict[str, str]:
    """Case to reason; lines are "kind/name: reason", "#" begins a comment."""
    listed = {}
    for line in LIST.read_text().splitlines():
        if line and not line.startswith("#"):
            case_id, _, reason = line.partition(": ")
            listed[case_id] = reason
    return listed


class Mismatch(Exception):
    """An output differs from the expected one."""


@functools.cache
def cases_of(kind: str) -> dict[str, Any]:
    """Cases of one kind by name; onnx makes the node cases anew in each process."""
    if kind == "light":
        return {path.stem: path for path in sorted(LIGHT.glob("*.onnx"))}
    return {case.name: case for case in load_model_tests(kind=kind)}


def case_ids(cache: Path) -> list[str]:
    """All cases as "kind/name"; the list of this onnx release is kept in `cache`."""
    file = cache / f"conformance-{onnx.__version__}.json"
    if file.exists():
        return list(json.loads(file.read_text()))
    ids = [f"{kind}/{name}" for kind in KINDS for name in cases_of(kind)]
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(ids))
    partial.replace(file)
    return ids


def _from_proto(value: Any) -> Any:
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, onnx.SequenceProto):
        return numpy_helper.to_list(value)
    if isinstance(value, onnx.OptionalProto):
        return numpy_helper.to_optional(value)
    if isinstance(value, onnx.MapProto):
        return numpy_helper.to_dict(value)
    return np.asarray(value) if isinstance(value, np.generic) else value


def _read(path: str, kind: str) -> Any:
    protos = {
        "sequence_type": onnx.SequenceProto,
        "optional_type": onnx.OptionalProto,
        "map_type": onnx.MapProto,
    }
    proto = protos.get(kind, onnx.TensorProto)()
    proto.ParseFromString(Path(path).read_bytes())
    return _from_proto(proto)


def check_same(got: Any, want: Any, rtol: float, atol: float) -> None:
    """Raises Mismatch unless `got` equals `want`: exactly, or within tolerances for floats."""
    if want is None:
        if got is not None:
            raise Mismatch(f"expected None, got {type(got).__name__}")
        return
    if isinstance(want, list):
        if not isinstance(got, list | tuple) or len(got) != len(want):
            raise Mismatch(f"expected a sequence of {len(want)}")
        for g, w in zip(got, want, strict=True):
            check_same(g, w, rtol, atol)
        return
    _check_arrays(np.asarray(got), np.asarray(want), rtol, atol)


def _check_arrays(got: Any, want: Any, rtol: float, atol: float) -> None:
    if got.shape != want.shape:
        raise Mismatch(f"shape {got.shape}, expected {want.shape}")
    if "O" in got.dtype.kind + want.dtype.kind or want.dtype.kind in "US":
        if not (got.astype(str) == want.astype(str)).all():
            raise Mismatch("strings differ")
        return
    if got.dtype != want.dtype:
        raise Mismatch(f"dtype {got.dtype}, expected {want.dtype}")
    if want.dtype.name == "bfloat16":  # as onnx.backend.test compares: two units in the last place
        rtol = max(rtol, 2**-6)
    if want.dtype.kind not in "biufc":  # ml_dtypes
        got, want = got.astype(np.float32), want.astype(np.float32)
    if want.dtype.kind in "biu":
        if bad := int((got != want).sum()):
            raise Mismatch(f"{bad} of {want.size} integers differ")
        return
    if not np.isclose(got, want, rtol=rtol, atol=atol, equal_nan=True).all():
        wide = np.complex128 if want.dtype.kind == "c" else np.float64
        error = np.abs(got.astype(wide) - want.astype(wide))
        raise Mismatch(f"largest error {np.nanmax(error):.3g}")


def _run_node(case: Any, load: Any) -> None:
    session = load(case.model.SerializeToString())
    graph = case.model.graph
    for inputs, outputs in case.data_sets:
        feeds = {i.name: _from_proto(v) for i, v in zip(graph.input, inputs, strict=False)}
        results = session.run(None, feeds)
        for got, want in zip(results, outputs, strict=False):
            check_same(got, _from_proto(want), case.rtol, case.atol)


def _run_files(case: Any, load: Any) -> None:
    path = os.path.join(case.model_dir, "model.onnx")
    graph = onnx.load(path).graph
    session = load(path)
    initial = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in initial]
    for folder in sorted(glob.glob(os.path.join(case.model_dir, "test_data_set*"))):
        count = len(glob.glob(os.path.join(folder, "input_*.pb")))
        named = inputs if len(inputs) >= count else list(graph.input)
        feeds = {
            named[k].name: _read(f"{folder}/input_{k}.pb", named[k].type.WhichOneof("value"))
            for k in range(count)
        }
        results = session.run(None, feeds)
        for k, (value, got) in enumerate(zip(graph.output, results, strict=True)):
            want = _read(f"{folder}/output_{k}.pb", value.type.WhichOneof("value"))
            check_same(got, want, case.rtol, case.atol)


def _run_light(path: Path, load: Any) -> None:
    graph = onnx.load(path).graph
    initial = {tensor.name for tensor in graph.initializer}
    feeds = {}
    for value in graph.input:
        if value.name not in initial:
            shape = [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]
            count = int(np.prod(shape))
            feeds[value.name] = (np.arange(count).reshape(shape) / count).astype(np.float32)
    got = load(str(path)).run(None, feeds)[0]
    check_same(got, _read(str(path)[:-5] + "_output_0.pb", "tensor_type"), 1e-3, 1e-5)


def run_case(case_id: str, load: Any = None) -> None:
    """Runs one case in sessions that `load` makes (None: those of all defaults); raises what went
    wrong.
    """
    import tiercel

    kind, name = case_id.split("/", 1)
    case = cases_of(kind)[name]
    runner = {"node": _run_node, "light": _run_light}.get(kind, _run_files)
    runner(case, load or tiercel.InferenceSession)
