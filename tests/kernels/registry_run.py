"""Runs every kernel row with the instruction sets of TIERCEL_ISA; prints what differs as JSON."""

from __future__ import annotations

import json
import sys
import warnings
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

import tiercel
from registry_cases import Case, cases, narrowest_float
from tiercel import _core

# Relative to the largest expected number: sums of a few hundred products, rounded once. The
# reference computes some functions of double in float.
TOLERANCE = {"float64": 1e-6, "float32": 2e-4, "float16": 4e-3, "bfloat16": 3e-2, None: 0.0}
SMALL = 0.3  # float8 and narrower


def widened(case: Case) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """The case with float32 in the place of narrower floats: what the reference computes in."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    feeds = {}
    for info in model.graph.input:
        value = case.feeds[info.name]
        if value.dtype.kind == "V" or value.dtype == np.float16 or "float" in value.dtype.name:
            if value.dtype not in (np.float32, np.float64):
                value = value.astype(np.float32)
                info.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
        feeds[info.name] = value
    return model, feeds


def difference(got: np.ndarray, want: Any, tolerance: float) -> str:
    want = np.asarray(want)
    if got.shape != want.shape:
        return f"shape {got.shape}, expected {want.shape}"
    if got.dtype == object or got.size == 0:
        return ""
    wide = np.complex128 if got.dtype.kind == "c" else np.float64
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        g, w = got.astype(wide), want.astype(got.dtype).astype(wide)
        finite = np.abs(w[np.isfinite(w)])
        scale = max(1.0, float(finite.max())) if finite.size else 1.0
        good = np.isclose(g, w, rtol=tolerance, atol=tolerance * scale, equal_nan=True)
    if good.all():
        return ""
    at = tuple(int(i) for i in np.argwhere(~good)[0])
    return f"{int((~good).sum())} of {good.size} differ: at {at} {got[at]}, expected {w[at]}"


def settled(case: Case) -> Case:
    """The case with constants in the place of all inputs but the first: shapes follow from some."""
    model, first = onnx.ModelProto(), next(iter(case.feeds), "")
    model.CopyFrom(case.model)
    kept = [info for info in model.graph.input if info.name == first]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    for name, value in case.feeds.items():
        if name != first:
            model.graph.initializer.append(numpy_helper.from_array(value, name))
    return Case(case.row, model, {first: case.feeds[first]}, case.float_type)


def run(case: Case, used: set[str]) -> list[Any]:
    """The results; where the row is found at run, those of one whose shapes are known before."""
    session = tiercel.InferenceSession(case.model.SerializeToString())
    plan, got = session.explain().rpartition("plan:")[2], session.run(None, case.feeds)
    if "shapes found at run" in plan and len(case.feeds) > 1:
        known = run(settled(case), used)
        for g, k in zip(got, known, strict=True):
            assert g.tobytes() == k.tobytes(), "constants give other results"
        return known
    used.add(plan)
    return got


def check(case: Case, used: set[str]) -> str | None:
    """What is wrong, "" for nothing, None where the reference does not know the case."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            model, feeds = widened(case)
            want = ReferenceEvaluator(model).run(None, feeds)
    except Exception:
        return None
    try:
        got = run(case, used)
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:300]
    for g, w in zip(got, want, strict=True):
        if g is None or w is None:
            continue
        result = narrowest_float({"": np.asarray(g)})
        tolerance = max(TOLERANCE.get(kind, SMALL) for kind in (case.float_type, result))
        if text := difference(np.asarray(g), w, tolerance):
            return text
    return ""


def main() -> None:
    rows = [r for r in _core.kernel_table() if r["kind"] != "host" and r["domain"] == ""]
    isas: dict[tuple[str, str, str], set[str]] = {}
    for row in rows:
        isas.setdefault((row["op"], row["variant"], row["types"]), set()).add(row["isa"])
    seen: set[tuple[str, str, str]] = set()
    out: dict[str, Any] = {}
    for row in rows:
        key = (row["op"], row["variant"], row["types"])
        if key in seen:
            continue
        seen.add(key)
        result = out.setdefault(row["op"], {"failed": [], "passed": 0, "unused": []})
        plans: set[str] = set()
        for case in cases(row):
            verdict = check(case, plans)
            if verdict:
                result["failed"].append(f"{case.row}: {verdict}")
            elif verdict is not None:
                result["passed"] += 1
        if row["kind"] == "kernel" and not any(
            f"{key[1]} {isa} {key[2]}" in p for isa in isas[key] for p in plans
        ):
            result["unused"].append(f"{key[1]} {key[2]}")
    json.dump(out, sys.stdout)


if __name__ == "__main__":
    main()
