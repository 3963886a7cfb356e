"""Inputs and catalogues of the benchmarks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from catalogue import Case, cases, entries
from inputs import RECIPES, make_input

SPECS: list[dict[str, Any]] = [
    {"kind": "uniform", "low": -1, "high": 1, "shape": [2, 3]},
    {"kind": "normal", "mean": 5, "shape": [4]},
    {"kind": "randint", "low": 0, "high": 9, "shape": [5], "dtype": "int64"},
    {"kind": "const", "value": 16000, "shape": [], "dtype": "int64"},
    {"kind": "bool", "shape": [3], "dtype": "bool"},
    {"kind": "arange", "shape": [2, 2], "dtype": "int32"},
    {"kind": "per_feature", "low": [0, 10], "high": [1, 20], "shape": [3, 2]},
    {"kind": "edge_index", "num_nodes": 5, "shape": [2, 8], "dtype": "int64"},
    {"kind": "mol_edge_index", "num_nodes": 8, "num_graphs": 2, "shape": [2, 16], "dtype": "int64"},
    {"kind": "batch_index", "num_graphs": 2, "shape": [6], "dtype": "int64"},
    {"kind": "distmat", "max": 4, "shape": [1, 5, 5]},
    {"kind": "audio", "shape": [1, 64]},
    {"kind": "image", "low": 0, "high": 255, "shape": [1, 3, 8, 8], "dtype": "uint8"},
    {"kind": "image", "low": 0, "high": 1, "layout": "NHWC", "shape": [1, 8, 8, 3]},
    {"kind": "choice", "choices": ["a", "b"], "shape": [4], "dtype": "str"},
    {"kind": "words", "choices": ["a", "b"], "n": 3, "shape": [2], "dtype": "str"},
]


def test_every_recipe_is_here() -> None:
    assert {spec["kind"] for spec in SPECS} == set(RECIPES)


@pytest.mark.parametrize("how", SPECS, ids=lambda how: how["kind"])
def test_recipes(how: dict[str, Any]) -> None:
    dtype = how.get("dtype", "float32")
    spec = {"name": "x", "dtype": dtype, "shape": how["shape"], "gen": how}
    made, again = make_input(spec, "key"), make_input(spec, "key")
    assert list(made.shape) == how["shape"]
    assert made.dtype == (np.dtype(object) if dtype == "str" else np.dtype(dtype))
    np.testing.assert_array_equal(made, again)


def test_unknown_recipe() -> None:
    spec = {"name": "x", "dtype": "float32", "shape": [1], "gen": {"kind": "magic"}}
    with pytest.raises(ValueError, match="'x': unknown gen kind 'magic'"):
        make_input(spec, "key")


@pytest.fixture
def catalogue(tmp_path: Path, small_model: Callable[..., Path]) -> Path:
    small_model()
    entry = {
        "id": "small",
        "path": "small.onnx",
        "inputs": [{"name": "x", "dtype": "float32", "shape": [2, 8]}],
    }
    file = tmp_path / "models.json"
    file.write_text(json.dumps({"models": [entry, entry | {"id": "lost", "path": "lost.onnx"}]}))
    return file


def test_catalogue(catalogue: Path) -> None:
    assert [entry["path"] for entry in entries(catalogue)][0] == str(
        catalogue.parent / "small.onnx"
    )
    ((_, _, case),) = cases([str(catalogue)], [], ["small"])
    assert isinstance(case, Case) and case.feeds["x"].shape == (2, 8)
    with pytest.raises(ValueError, match="has no other"):
        list(cases([str(catalogue)], [], ["other"]))


def test_batch_of_catalogue(catalogue: Path) -> None:
    found = [case for _, _, case in cases([str(catalogue)], [], ["small"], [1, 5])]
    assert [case.feeds["x"].shape for case in found if isinstance(case, Case)] == [(1, 8), (5, 8)]
    ((_, _, reason),) = cases([str(catalogue)], [], ["lost"], [1])
    assert isinstance(reason, str) and "lost.onnx" in reason


def test_catalogue_without_a_key(tmp_path: Path) -> None:
    file = tmp_path / "models.json"
    file.write_text(json.dumps([{"id": "a", "path": "a.onnx"}]))
    with pytest.raises(ValueError, match="an entry has no 'inputs'"):
        entries(file)


def test_plain_files(small_model: Callable[..., Path]) -> None:
    path = str(small_model())
    ((_, _, case),) = cases([], [path], dims={"batch": 3})
    assert isinstance(case, Case) and case.feeds["x"].shape == (3, 8)
    ((_, _, case),) = cases([], [path], batches=[4])
    assert isinstance(case, Case) and case.feeds["x"].shape == (4, 8)
    fixed = str(small_model("fixed.onnx", 2))
    ((_, _, reason),) = cases([], [fixed], batches=[4])
    assert isinstance(reason, str) and "batch size is fixed" in reason
