"""Every row of the kernel table computes what onnx's reference does, on each instruction set."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto

from registry_cases import DTYPES, _bits
from single_node import agree, run
from tiercel import _core

HERE = Path(__file__).parent
ROWS = [r for r in _core.kernel_table() if r["kind"] != "host" and r["domain"] == ""]
OPERATORS = sorted({r["op"] for r in ROWS})
ISAS = list(dict.fromkeys(r["isa"] for r in ROWS))
# Tested by hand: the standard has no test of the first two in node form, Cast is tested below.
BY_HAND = {"GlobalLpPool", "MaxRoiPool", "Cast"}
# Share of the rows that onnx's tests, in other types, lead to.
REACHED = 0.75


@functools.cache
def results(isa: str) -> dict[str, Any]:
    """What a process that is held to `isa` finds out, by operator."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(HERE / "registry_run.py")],
        env={**os.environ, "TIERCEL_ISA": isa},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("op", [op for op in OPERATORS if op not in BY_HAND])
def test_rows(op: str, isa: str) -> None:
    if isa not in _core.supported_isas():
        pytest.skip(f"this machine lacks {isa}")
    result = results(isa)[op]
    assert not result["failed"], "\n".join(result["failed"])
    assert result["passed"] > 0


@pytest.mark.parametrize("isa", ISAS)
def test_most_kernel_rows_are_reached(isa: str) -> None:
    if isa not in _core.supported_isas():
        pytest.skip(f"this machine lacks {isa}")
    count = len({(r["op"], r["variant"], r["types"]) for r in ROWS if r["kind"] == "kernel"})
    unused = sum(len(r["unused"]) for r in results(isa).values())
    assert unused <= (1 - REACHED) * count


NUMBERS = sorted(set(DTYPES) - {"complex64", "complex128"})


def cast_by_reference(x: np.ndarray, name: str) -> np.ndarray:
    """numpy's conversion: through float32 for what ml_dtypes cannot do at once; saturated."""
    dtype = DTYPES[name]
    if (
        "float" in x.dtype.name
        and x.dtype.itemsize < 4
        or x.dtype.name.startswith(("int4", "int2"))
    ):
        x = x.astype(np.float32)
    if x.dtype.name.startswith(("uint4", "uint2", "int4", "int2")):
        x = x.astype(np.int32)
    if name.startswith("float8") and "e8m0" not in name:
        largest = float(ml_dtypes.finfo(dtype).max)
        x = np.clip(x.astype(np.float64), -largest, largest)
    if _bits(name) < 8 and "int" in name:
        x = np.trunc(x.astype(np.float64)).astype(np.int64)
    return x.astype(dtype)


@pytest.mark.parametrize("source", NUMBERS)
def test_cast(source: str) -> None:
    """Among all pairs of types, over numbers that both hold or that round."""
    for target in NUMBERS:
        if source == target:
            continue
        signed = not ({source, target} & {"uint8", "uint16", "uint32", "uint64", "uint4", "uint2"})
        signed = signed and "float8e8m0" not in (source, target) and "bool" not in (source, target)
        x = np.array([0, 1, 2, 3, 0.5, 1.5, 2.75, 5, 7, 0.3, 1e-3], np.float64)
        if "float8e8m0" in (source, target):
            x = np.array([1, 2, 4, 0.5, 0.25, 8, 16], np.float64)
        x = np.concatenate([x, -x]) if signed else x
        if "int" in source:
            x = np.trunc(x)
        values = cast_by_reference(x, source)
        if target == "float8e8m0":
            values = values[values.astype(np.float64) > 0]
        number = getattr(TensorProto, target.upper())
        got = run("Cast", [values], opset=28, to=number)[0]
        want = cast_by_reference(values, target)
        agree([got.astype(np.float64)], [want.astype(np.float64)])
        assert got.dtype == want.dtype, target


@pytest.mark.parametrize("target", ["float16", "float8e5m2", "float8e4m3fn", "float6e3m2"])
def test_double_is_rounded_once(target: str) -> None:
    """A number just above the middle of two, nearer to it than float can tell."""
    dtype = DTYPES[target]
    one = np.array(1, dtype)
    step = float(ml_dtypes.finfo(dtype).eps)
    x = np.array([1 + step / 2 + 2.0**-40, 1 + step / 2 - 2.0**-40, 1 + step / 2])
    number = getattr(TensorProto, target.upper())
    got = run("Cast", [x], opset=28, to=number)[0].astype(np.float64)
    np.testing.assert_array_equal(got, [1 + step, float(one), float(one)])
