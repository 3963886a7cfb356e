"""Tree ensembles over few and many rows, against a walk in Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

import tiercel

FEATURES = 5


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

    def model(self, missing: bool) -> ModelProto:
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
            **attributes,
        )
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", FEATURES])
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", self.targets])
        imports = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 3)]
        graph = helper.make_graph([node], "graph", [x], [y])
        return helper.make_model(graph, opset_imports=imports, ir_version=10)

    def scores(self, row: np.ndarray, missing: bool) -> np.ndarray:
        nodes = {(node["tree"], node["id"]): node for node in self.nodes}
        weights: dict[tuple[int, int], list[tuple[int, float]]] = {}
        for tree, number, target, weight in self.leaves:
            weights.setdefault((tree, number), []).append((target, weight))
        out = np.zeros(self.targets)
        for tree in sorted({node["tree"] for node in self.nodes}):
            node = nodes[tree, 0]
            while node["mode"] != "LEAF":
                x = row[node["feature"]]
                taken = x <= node["value"] if self.mode == "BRANCH_LEQ" else x > node["value"]
                taken = taken or (missing and node["missing"] == 1 and np.isnan(x))
                node = nodes[tree, node["true" if taken else "false"]]
            for target, weight in weights[tree, node["id"]]:
                out[target] += weight
        return out


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("mode", ["BRANCH_LEQ", "BRANCH_GT"])
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
