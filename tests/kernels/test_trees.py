"""Tree ensembles over few and many rows, against a walk in Python."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

import tiercel

FEATURES = 5
COMPARE = {"BRANCH_LEQ": operator.le, "BRANCH_LT": operator.lt, "BRANCH_GT": operator.gt}


class Forest:
    """Random trees in the attributes of TreeEnsembleRegressor, and what they give."""

    def __init__(self, trees: int, depth: int, targets: int, mode: str, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[dict[str, Any]] = []
        self.leaves: list[tuple[int, int, int, float]] = []
        self.targets, self.mode = targets, mode
        for tree in range(trees):
            self.count = 0
            self.grow(tree, depth)
        self.trees = trees
        self.by_id = {(node["tree"], node["id"]): node for node in self.nodes}
        self.weights: dict[tuple[int, int], np.ndarray] = {}
        for tree, number, target, weight in self.leaves:
            self.weights.setdefault((tree, number), np.zeros(targets))[target] = weight

    def grow(self, tree: int, depth: int) -> int:
        """Adds a node with all below it; its number."""
        number, self.count = self.count, self.count + 1
        node = {"tree": tree, "id": number, "mode": "LEAF", "feature": 0, "value": 0.0}
        node |= {"true": 0, "false": 0, "missing": int(self.rng.integers(2))}
        self.nodes.append(node)
        if depth == 0 or self.rng.random() < 0.15:
            for target in range(self.targets):
                weight = float(np.float32(self.rng.standard_normal()))
                self.leaves.append((tree, number, target, weight))
            return number
        node["mode"], node["feature"] = self.mode, int(self.rng.integers(FEATURES))
        node["value"] = float(np.float32(self.rng.integers(-3, 4)))
        node["true"], node["false"] = self.grow(tree, depth - 1), self.grow(tree, depth - 1)
        return number

    def model(self, missing: bool, aggregate: str = "SUM") -> ModelProto:
        names = {"tree": "treeids", "id": "nodeids", "mode": "modes", "feature": "featureids"}
        names |= {"value": "values", "true": "truenodeids", "false": "falsenodeids"}
        if missing:
            names["missing"] = "missing_value_tracks_true"
        attributes = {f"nodes_{n}": [node[key] for node in self.nodes] for key, n in names.items()}
        columns = zip(*self.leaves, strict=True)
        parts = zip(("treeids", "nodeids", "ids", "weights"), columns, strict=True)
        attributes |= {f"target_{n}": list(values) for n, values in parts}
        node = helper.make_node(
            *("TreeEnsembleRegressor", ["x"], ["y"]),
            domain="ai.onnx.ml",
            n_targets=self.targets,
            aggregate_function=aggregate,
            **attributes,
        )
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", FEATURES])
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", self.targets])
        imports = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 3)]
        graph = helper.make_graph([node], "graph", [x], [y])
        return helper.make_model(graph, opset_imports=imports, ir_version=10)

    def scores(self, row: np.ndarray, missing: bool) -> np.ndarray:
        """The sums of the leaves' weights."""
        return np.sum([self.leaf(row, tree, missing) for tree in range(self.trees)], axis=0)

    def leaf(self, row: np.ndarray, tree: int, missing: bool) -> np.ndarray:
        node = self.by_id[tree, 0]
        while node["mode"] != "LEAF":
            x = row[node["feature"]]
            taken = COMPARE[self.mode](x, node["value"])
            taken = taken or (missing and node["missing"] == 1 and np.isnan(x))
            node = self.by_id[tree, node["true" if taken else "false"]]
        return self.weights[tree, node["id"]]


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("mode", list(COMPARE))
@pytest.mark.parametrize(
    ("trees", "depth", "targets"), [(1, 0, 1), (7, 3, 1), (21, 5, 3), (8, 9, 2)]
)
def test_forests(trees: int, depth: int, targets: int, mode: str, missing: bool) -> None:
    forest = Forest(trees, depth, targets, mode, trees)
    session = tiercel.InferenceSession(forest.model(missing).SerializeToString())
    rng = np.random.default_rng(3)
    for rows in (1, 2, 7, 8, 9, 31, 64, 65, 130):
        x = rng.integers(-4, 5, (rows, FEATURES)).astype(np.float32)
        x[rng.random(x.shape) < 0.1] = np.nan
        want = np.array([forest.scores(row, missing) for row in x])
        np.testing.assert_allclose(session.run(None, {"x": x})[0], want, rtol=1e-5, atol=1e-5)


def test_rows_do_not_depend_on_their_neighbours() -> None:
    forest = Forest(40, 6, 1, "BRANCH_LEQ", 9)
    session = tiercel.InferenceSession(forest.model(False).SerializeToString())
    x = np.random.default_rng(4).standard_normal((77, FEATURES)).astype(np.float32)
    together = session.run(None, {"x": x})[0]
    alone = np.concatenate([session.run(None, {"x": x[i : i + 1]})[0] for i in range(77)])
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("aggregate", ["SUM", "AVERAGE", "MIN", "MAX"])
@pytest.mark.parametrize("targets", [1, 2])
@pytest.mark.parametrize("shuffled", [False, True])
def test_long_lists(shuffled: bool, targets: int, aggregate: str) -> None:
    """Attributes of many kilobytes, trees in shares, rows in several units."""
    forest = Forest(300, 6, targets, "BRANCH_LEQ", 11)
    if shuffled:
        forest.rng.shuffle(forest.nodes)
        forest.rng.shuffle(forest.leaves)
    joined = {"SUM": np.sum, "AVERAGE": np.mean, "MIN": np.min, "MAX": np.max}[aggregate]
    session = tiercel.InferenceSession(forest.model(False, aggregate).SerializeToString())
    x = np.random.default_rng(5).integers(-4, 5, (20, FEATURES)).astype(np.float32)
    leaves = [[forest.leaf(row, tree, False) for tree in range(300)] for row in x]
    few = session.run(None, {"x": x})[0]
    np.testing.assert_allclose(few, joined(np.array(leaves), axis=1), rtol=1e-5, atol=1e-5)
    many = session.run(None, {"x": np.tile(x, (250, 1))})[0]
    np.testing.assert_array_equal(many, np.tile(few, (250, 1)))


def test_a_node_that_is_not_there_is_named() -> None:
    forest = Forest(300, 6, 1, "BRANCH_LEQ", 11)
    branch = next(node for node in reversed(forest.nodes) if node["mode"] != "LEAF")
    branch["true"] = 9999
    with pytest.raises(
        tiercel.errors.InvalidGraph, match=f"tree {branch['tree']} has no node 9999"
    ):
        tiercel.InferenceSession(forest.model(False).SerializeToString())
