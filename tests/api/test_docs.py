"""Generated documents are those that the registry gives today."""

from __future__ import annotations

from pathlib import Path

from tiercel import docs

ROOT = Path(__file__).resolve().parents[2]


def test_operator_table_is_up_to_date() -> None:
    found = (ROOT / "docs/operators.md").read_text()
    assert found == docs.operators_page(), "run: python -m tiercel.docs docs/operators.md"
