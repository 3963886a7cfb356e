"""What engines compute for a case, and whether they agree within what the element type allows."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx.reference import ReferenceEvaluator

import tiercel

# Allowed error per element type of the narrowest float that takes part: a few units in the last
# place of functions, relative to each element, or to the largest one of a sum.
TOLERANCE = {"float64": 1e-6, "float32": 2e-5, "float16": 4e-3, "bfloat16": 3e-2}
SMALL = 0.3  # float8 and narrower
Feeds = dict[str, Any]


@dataclass
class Case:
    """A model, the values of its inputs and how its results are compared."""

    label: str
    model: onnx.ModelProto
    feeds: Feeds
    plain: onnx.ModelProto | None = None  # the same without initialisers or symbols
    plain_feeds: Feeds = field(default_factory=dict)
    tolerance: float = 1.0
    off: int = 0
    sums: bool = False
    shape_only: bool = False
    reference: bool = True
    wanted: list[Any] | None = None  # known results, with what each may be off
    allowed: list[float] | None = None

    def __repr__(self) -> str:
        return f"a case of {self.label}"


def quietly(run: Callable[[], list[Any]]) -> list[Any] | Exception:
    """The results, or why there are none."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return run()
    except Exception as error:
        return error


def by_tiercel(case: Case, optimised: bool = True) -> list[Any] | Exception:
    options = tiercel.SessionOptions()
    if not optimised:
        options.graph_optimization_level = tiercel.GraphOptimizationLevel.ORT_DISABLE_ALL

    def run() -> list[Any]:
        session = tiercel.InferenceSession(case.model.SerializeToString(), options)
        first = list(session.run(None, case.feeds))
        again = list(session.run(None, case.feeds))
        for a, b in zip(first, again, strict=True):
            if not isinstance(a, np.ndarray) or a.dtype == object or case.shape_only:
                continue
            if a.tobytes() != b.tobytes():
                raise AssertionError("a second run gives another result")
        return first

    return quietly(run)


def by_reference(case: Case) -> list[Any] | Exception:
    return quietly(lambda: ReferenceEvaluator(case.plain or case.model).run(None, _plain(case)))


def by_wide_reference(case: Case) -> list[Any] | Exception:
    """onnx's reference with float32 in the place of narrower floats: rounded once, not at each
    step of its functions."""
    model, feeds = _in_float(case, _is_narrow)
    if model is None:
        return ValueError("nothing to widen")
    return quietly(lambda: ReferenceEvaluator(model).run(None, feeds))


def _in_float(
    case: Case, changes: Callable[[np.dtype], bool]
) -> tuple[onnx.ModelProto | None, Feeds]:
    """The model and its inputs with float32 where `changes` says so; None where it never does."""
    model = onnx.ModelProto()
    model.CopyFrom(case.plain or case.model)
    feeds = dict(_plain(case))
    changed = False
    for info in model.graph.input:
        value = feeds[info.name]
        if isinstance(value, np.ndarray) and value.dtype != np.float32 and changes(value.dtype):
            feeds[info.name] = value.astype(np.float32)
            info.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
            changed = True
    return (model if changed else None), feeds


def by_onnxruntime_in_float(case: Case) -> list[Any] | Exception:
    """ONNX Runtime with float32 in the place of the float types that its kernels lack."""
    model, feeds = _in_float(case, lambda dtype: "float" in dtype.name)
    if model is None:
        return ValueError("nothing to change")
    return by_onnxruntime(Case(case.label, model, feeds))


def by_onnxruntime(case: Case) -> list[Any] | Exception:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL

    def run(model: onnx.ModelProto) -> list[Any]:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return list(session.run(None, case.feeds))

    first = quietly(lambda: run(case.model))
    if not isinstance(first, Exception) or "NOT_IMPLEMENTED" not in str(first):
        return first
    # The newest versions often only add types: kernels may be there for the version before.
    for version in (21, 18, 10):
        older = onnx.ModelProto()
        older.CopyFrom(case.model)
        opset = older.opset_import[0]
        if opset.domain == "" and opset.version > version:
            opset.version = version
            found = quietly(lambda older=older: run(older))
            if not isinstance(found, Exception):
                return found
    return first


REFERENCES = (by_wide_reference, by_reference)
ENGINES = (by_onnxruntime, by_onnxruntime_in_float)
ORACLES = (*REFERENCES, *ENGINES)


def _plain(case: Case) -> Feeds:
    return case.plain_feeds if case.plain is not None else case.feeds


def _is_narrow(dtype: np.dtype) -> bool:
    return "float" in dtype.name and dtype not in (np.float32, np.float64)


def narrowest(values: list[Any]) -> float:
    """The tolerance of the narrowest float among tensors, 0 where there is none."""
    found = [0.0]
    for value in values:
        if isinstance(value, list):
            found.append(narrowest(value))
        elif isinstance(value, np.ndarray) and "float" in value.dtype.name:
            found.append(TOLERANCE.get(value.dtype.name, SMALL))
        elif isinstance(value, np.ndarray) and value.dtype.kind == "c":
            found.append(TOLERANCE["float32"])
    return max(found)


def difference(got: Any, want: Any, case: Case, tolerance: float) -> str:
    """How `got` differs from `want`; "" where it does not."""
    if want is None or got is None:
        return "" if (want is None) == (got is None) else f"{got!r}, expected {want!r}"
    if isinstance(got, dict) or isinstance(want, dict):
        return "" if _same_map(got, want) else f"{got!r}, expected {want!r}"
    if isinstance(got, list):
        if not isinstance(want, list | tuple) or len(want) != len(got):
            return f"{len(got)} elements, expected {want!r}"
        parts = (difference(g, w, case, tolerance) for g, w in zip(got, want, strict=True))
        return next(filter(None, parts), "")
    got, want = np.asarray(got), np.asarray(want)
    if got.shape != want.shape:
        return f"shape {got.shape}, expected {want.shape}"
    if case.shape_only or got.size == 0:
        return ""
    if got.dtype == object or want.dtype.kind in "OUS":
        same = got.astype(str) == want.astype(str)
        return "" if same.all() else f"texts {got.tolist()}, expected {want.tolist()}"
    return _numbers_differ(got, want, case, tolerance)


def _same_map(got: Any, want: Any) -> bool:
    if not isinstance(got, dict) or not isinstance(want, dict) or set(got) != set(want):
        return False
    return all(np.isclose(float(got[k]), float(want[k]), rtol=1e-4, atol=1e-5) for k in got)


def _numbers_differ(got: np.ndarray, want: np.ndarray, case: Case, tolerance: float) -> str:
    exact = got.dtype.kind in "biu" or "int" in got.dtype.name
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        if exact and want.dtype == got.dtype:
            off = np.abs(got.astype(object) - want.astype(object)).astype(np.float64)
            good = off <= case.off
        else:
            wide = np.complex128 if got.dtype.kind == "c" else np.float64
            g, w = got.astype(wide), _rounded(want, got.dtype).astype(wide)
            finite = np.abs(w[np.isfinite(w)])
            most = max(1.0, float(finite.max())) if case.sums and finite.size else 1.0
            good = np.isclose(g, w, rtol=tolerance, atol=tolerance * most, equal_nan=True)
    if np.all(good):
        return ""
    at = tuple(int(i) for i in np.argwhere(~np.asarray(good))[0])
    count = int((~np.asarray(good)).sum())
    return f"{count} of {got.size} differ: at {at} {got[at]!r}, expected {want[at]!r}"


def _rounded(want: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return want if want.dtype == dtype or want.dtype.kind in "biu" else want.astype(dtype)


def compare(case: Case, got: list[Any], want: list[Any], least: float = 0.0) -> str:
    """How the results differ; "" where they do not."""
    if len(got) != len(want):
        return f"{len(got)} outputs, expected {len(want)}"
    tolerance = case.tolerance * max(narrowest([*case.feeds.values()]), narrowest(got))
    inputs = case.plain_feeds or case.feeds
    tolerance = max(tolerance, case.tolerance * max(least, narrowest([*inputs.values()])))
    for i, (g, w) in enumerate(zip(got, want, strict=True)):
        own = tolerance if case.allowed is None else case.allowed[i]
        if text := difference(g, w, case, own):
            return f"output {i}: {text}"
    return ""


def verdict(case: Case) -> str | None:
    """Why tiercel is wrong, "" where an oracle confirms it, None where no oracle knows the case."""
    got = by_tiercel(case)
    told: list[str] = []
    for oracle in ORACLES if case.reference else ENGINES:
        want = oracle(case)
        if isinstance(want, Exception):
            continue
        if isinstance(got, Exception):
            return f"{type(got).__name__}: {got} ({oracle.__name__} computes it)"
        least = TOLERANCE["float32"] if oracle is by_onnxruntime_in_float else 0.0
        text = compare(case, got, want, least)
        if not text:
            return ""
        told.append(f"{oracle.__name__}: {text}")
    if isinstance(got, AssertionError):
        return str(got)
    return "; ".join(told) if told else None
