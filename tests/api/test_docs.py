"""Generated documents are those that the registry gives today."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiercel import _core, docs, missing_ops

ROOT = Path(__file__).resolve().parents[2]


def test_operator_table_is_up_to_date() -> None:
    found = (ROOT / "docs/operators.md").read_text()
    assert found == docs.operators_page(), "run: python -m tiercel.docs docs/operators.md"


def test_every_operator_of_onnxruntime_is_in_or_has_a_reason() -> None:
    own = {op["name"] for op in _core.op_defs() if op["domain"] == "com.microsoft"}
    assert not own & set(missing_ops.CONTRIB)
    state = pytest.importorskip("onnxruntime.capi.onnxruntime_pybind11_state")
    theirs = {s.name for s in state.get_all_operator_schema() if s.domain == "com.microsoft"}
    assert own | set(missing_ops.CONTRIB) == theirs
