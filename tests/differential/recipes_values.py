"""Recipes of operators on texts, sequences, optionals and classical models."""

from __future__ import annotations

from typing import Any

import numpy as np

from draw import ELEMENTS, Draw, Node, name_of
from recipes import recipe
from recipes_rearrange import given, partition

ML = "ai.onnx.ml"
WORDS = ["a", "b", "ab", "é", ""]


def sequence(d: Draw, least: int = 1) -> list[np.ndarray]:
    """Tensors of one type and rank."""
    name = d.choice(("float", "int64", "uint8", "double", "string"))
    shape = d.full(1, 3)
    return [d.tensor(name, shape, "finite") for _ in range(d.integer(least, 4))]


def position(d: Draw, count: int) -> np.ndarray:
    return np.array(d.integer(-count, count - 1), d.choice((np.int32, np.int64)))


@recipe("SequenceAt")
def sequence_at(d: Draw) -> Node:
    values = sequence(d)
    return Node([values, position(d, len(values))])


@recipe("SequenceErase")
def sequence_erase(d: Draw) -> Node:
    values = sequence(d)
    return Node([values, position(d, len(values)) if d.flag(70) else None])


@recipe("SequenceInsert")
def sequence_insert(d: Draw) -> Node:
    values = sequence(d)
    new = d.tensor(name_of(values[0]), d.full(values[0].ndim, values[0].ndim), "finite")
    return Node([values, new, position(d, len(values)) if d.flag(70) else None])


@recipe("SequenceLength")
def sequence_length(d: Draw) -> Node:
    return Node([sequence(d)])


@recipe("SequenceConstruct")
def sequence_construct(d: Draw) -> Node:
    return Node(list(sequence(d)))


@recipe("ConcatFromSequence")
def concat_from_sequence(d: Draw) -> Node:
    values = sequence(d)
    stacked = d.integer(0, 1)
    rank = values[0].ndim + stacked
    return Node([values], {"axis": d.axis(rank), "new_axis": stacked})


@recipe("SplitToSequence")
def split_to_sequence(d: Draw) -> Node:
    x = d.tensor(d.type("T"), d.full(1, 3))
    axis = d.axis(x.ndim)
    n = x.shape[axis]
    split = None
    if d.flag(70):
        parts = [part for part in partition(d, n, d.integer(1, 3)) if part]
        split = d.choice((np.array(parts), np.array(d.integer(1, n))))
    attributes = {"axis": axis} | (given(d, {"keepdims": d.integer(0, 1)}) if split is None else {})
    return Node([x, split], attributes)


@recipe("StringNormalizer")
def string_normalizer(d: Draw) -> Node:
    # The reference drops accents and empty texts, which the standard keeps.
    x = np.array(d.rng.choice(["a", "b", "ab", "B c", "Ab", "x"], (d.integer(1, 6),)), object)
    attributes = {
        "case_change_action": d.choice(("NONE", "LOWER", "UPPER")),
        "is_case_sensitive": d.integer(0, 1),
    }
    attributes = given(d, attributes) | given(d, {"stopwords": ["a", "ab"]}, 40)
    # Stop words of any case: the reference compares the texts as they are.
    known = "stopwords" not in attributes or attributes.get("is_case_sensitive", 0) == 1
    return Node([x], attributes, reference=known)


@recipe("StringSplit")
def string_split(d: Draw) -> Node:
    words = np.array(["a b", "x,y,,z", "", "é é", "one"], object)
    x = d.rng.choice(words, d.full(1, 2))
    attributes = given(d, {"delimiter": d.choice((",", " ", "b")), "maxsplit": d.integer(0, 3)}, 50)
    return Node([np.array(x, object)], attributes, 2)


@recipe("TfIdfVectorizer")
def tf_idf_vectorizer(d: Draw) -> Node:
    x = d.rng.integers(0, 5, d.choice(((6,), (2, 5)))).astype(d.choice((np.int32, np.int64)))
    attributes = {
        "mode": d.choice(("TF", "IDF", "TFIDF")),
        "min_gram_length": 1,
        "max_gram_length": 2,
        "max_skip_count": d.integer(0, 2),
        "ngram_counts": [0, 3],
        "ngram_indexes": [0, 1, 2, 3, 4],
        "pool_int64s": [1, 2, 3, 1, 2, 2, 3],
        "weights": [1.0, 0.5, 2.0, 1.0, 3.0],
    }
    return Node([x], attributes)


@recipe("Binarizer", domain=ML)
def binarizer(d: Draw) -> Node:
    return Node([d.tensor(d.type("T"), d.full(1, 3), "finite")], {"threshold": d.real(-2, 2)})


@recipe("Scaler", domain=ML)
def scaler(d: Draw) -> Node:
    x = d.tensor(d.type("T"), d.full(2, 2), "finite")
    n = d.choice((1, x.shape[1]))
    numbers = {k: [d.real(-2, 2) for _ in range(n)] for k in ("offset", "scale")}
    return Node([x], numbers, sums=True, tolerance=4)


@recipe("Normalizer", domain=ML)
def normalizer(d: Draw) -> Node:
    x = d.tensor(d.type("T"), d.full(2, 2), "positive")
    return Node([x], {"norm": d.choice(("MAX", "L1", "L2"))}, tolerance=4)


@recipe("Imputer", domain=ML)
def imputer(d: Draw) -> Node:
    name = d.choice(("float", "int64"))
    x = d.tensor(name, d.full(2, 2), "small")
    n = d.choice((1, x.shape[1]))
    if name == "int64":
        fill = [d.integer(-5, 5) for _ in range(n)]
        return Node([x], {"imputed_value_int64s": fill, "replaced_value_int64": 1})
    numbers = [d.real(-5, 5) for _ in range(n)]
    return Node([x], {"imputed_value_floats": numbers, "replaced_value_float": 1.0})


@recipe("ArrayFeatureExtractor", domain=ML)
def array_feature_extractor(d: Draw) -> Node:
    x = d.tensor(d.type("T"), d.full(2, 3))
    indices = d.rng.integers(0, x.shape[-1], d.integer(1, 4))
    return Node([x, indices.astype(np.int64)])


@recipe("LabelEncoder", domain=ML)
def label_encoder(d: Draw) -> Node:
    keys, values = d.choice(("int64", "string", "float")), d.choice(("int64", "string", "float"))
    pools: dict[str, list[Any]] = {
        "int64": [1, 2, 3],
        "string": ["a", "b", "ab"],
        "float": [1.0, 2.0, -3.0],
    }
    attributes = {f"keys_{keys}s": pools[keys], f"values_{values}s": pools[values][::-1]}
    return Node([d.tensor(keys, d.full(1, 2), "small")], attributes)


@recipe("OneHotEncoder", domain=ML)
def one_hot_encoder(d: Draw) -> Node:
    if d.flag(40):
        return Node([d.tensor("string", d.full(1, 2))], {"cats_strings": WORDS, "zeros": 1})
    x = d.tensor(d.choice(("int64", "float", "double", "int32")), d.full(1, 2), "small")
    return Node([x], {"cats_int64s": [0, 1, 2, -1], "zeros": 1})


@recipe("FeatureVectorizer", domain=ML)
def feature_vectorizer(d: Draw) -> Node:
    rows = d.integer(1, 4)
    widths = [d.integer(1, 4) for _ in range(d.integer(1, 3))]
    name = d.type("T1")
    inputs: list[Any] = [d.tensor(name, (rows, n), "small") for n in widths]
    return Node(inputs, {"inputdimensions": widths})


@recipe("LinearRegressor", domain=ML)
def linear_regressor(d: Draw) -> Node:
    x = d.tensor("float", d.full(2, 2), "finite")
    targets = d.integer(1, 3)
    attributes = {
        "coefficients": [d.real(-1, 1) for _ in range(targets * x.shape[1])],
        "intercepts": [d.real(-1, 1) for _ in range(targets)],
        "targets": targets,
        "post_transform": d.choice(("NONE", "LOGISTIC", "SOFTMAX")) if targets > 1 else "NONE",
    }
    return Node([x], attributes, sums=True, tolerance=10)


@recipe("LinearClassifier", domain=ML)
def linear_classifier(d: Draw) -> Node:
    x = d.tensor("float", d.full(2, 2), "finite")
    attributes = {
        "coefficients": [d.real(-1, 1) for _ in range(3 * x.shape[1])],
        "intercepts": [d.real(-1, 1) for _ in range(3)],
        "classlabels_ints": [4, 5, 6],
        "post_transform": d.choice(("NONE", "LOGISTIC", "SOFTMAX")),
    }
    return Node([x], attributes, 2, sums=True, tolerance=10)


def tree(d: Draw, features: int) -> dict[str, Any]:
    """Two trees of one decision with two leaves each."""
    modes = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT")
    split = [d.integer(0, features - 1) for _ in "ab"]
    return {
        "nodes_treeids": [0, 0, 0, 1, 1, 1],
        "nodes_nodeids": [0, 1, 2, 0, 1, 2],
        "nodes_featureids": [split[0], 0, 0, split[1], 0, 0],
        "nodes_modes": [d.choice(modes), "LEAF", "LEAF", d.choice(modes), "LEAF", "LEAF"],
        "nodes_values": [d.real(-2, 2), 0.0, 0.0, d.real(-2, 2), 0.0, 0.0],
        "nodes_truenodeids": [1, 0, 0, 1, 0, 0],
        "nodes_falsenodeids": [2, 0, 0, 2, 0, 0],
    }


@recipe("TreeEnsembleRegressor", domain=ML)
def tree_ensemble_regressor(d: Draw) -> Node:
    x = d.tensor(d.choice(("float", "double", "int64", "int32")), d.full(2, 2), "finite")
    attributes = tree(d, x.shape[1]) | {
        "target_treeids": [0, 0, 1, 1],
        "target_nodeids": [1, 2, 1, 2],
        "target_ids": [0, 1, 1, 0],
        "target_weights": [d.real(-2, 2) for _ in "abcd"],
        "n_targets": 2,
        "aggregate_function": d.choice(("SUM", "AVERAGE", "MIN", "MAX")),
    }
    # Where a target has no leaf, the least and greatest of nothing differ between engines.
    if attributes["aggregate_function"] in ("MIN", "MAX"):
        attributes |= {"target_ids": [0, 0, 0, 0], "n_targets": 1}
    # The reference gives numbers of the type of X.
    known = x.dtype.kind == "f"
    return Node([x], attributes, sums=True, tolerance=10, reference=known)


@recipe("TreeEnsembleClassifier", domain=ML)
def tree_ensemble_classifier(d: Draw) -> Node:
    x = d.tensor(d.choice(("float", "double", "int64", "int32")), d.full(2, 2), "finite")
    attributes = tree(d, x.shape[1]) | {
        "class_treeids": [0, 0, 1, 1],
        "class_nodeids": [1, 2, 1, 2],
        "class_ids": [0, 1, 2, 0],
        "class_weights": [d.real(0, 2) for _ in "abcd"],
        "classlabels_int64s": [3, 5, 8],
        "post_transform": d.choice(("NONE", "LOGISTIC", "SOFTMAX")),
    }
    return Node([x], attributes, 2, sums=True, tolerance=10)


@recipe("SVMRegressor", domain=ML)
def svm_regressor(d: Draw) -> Node:
    x = d.tensor("float", d.full(2, 2), "unit")
    vectors = d.integer(1, 3)
    attributes = {
        "kernel_type": d.choice(("LINEAR", "POLY", "RBF", "SIGMOID")),
        "kernel_params": [0.5, 0.25, 2.0],
        "support_vectors": [d.real(-1, 1) for _ in range(vectors * x.shape[1])],
        "coefficients": [d.real(-1, 1) for _ in range(vectors)],
        "n_supports": vectors,
        "rho": [0.25],
    }
    return Node([x], attributes, sums=True, tolerance=10)


@recipe("CategoryMapper", domain=ML)
def category_mapper(d: Draw) -> Node:
    attributes = {"cats_int64s": [0, 1, 2], "cats_strings": ["a", "b", "ab"]}
    attributes |= {"default_int64": -1, "default_string": "none"}
    name = d.choice(("int64", "string"))
    x = d.tensor(name, d.full(1, 2), "small")
    return Node([np.abs(x) if name == "int64" else x], attributes)


@recipe("SequenceEmpty")
def sequence_empty(d: Draw) -> Node:
    return Node([], given(d, {"dtype": d.choice((1, 7, 11))}))


@recipe("Constant")
def constant(d: Draw) -> Node:
    form = d.choice(("value", "value_int", "value_floats", "value_strings"))
    values: dict[str, Any] = {
        "value": d.tensor(d.type("T"), d.shape(0, 2)),
        "value_int": d.integer(-9, 9),
        "value_floats": [d.real(-2, 2), 0.5],
        "value_strings": ["a", "é"],
    }
    return Node([], {form: values[form]})


@recipe("Adagrad", "Adam", "Momentum", domain="ai.onnx.preview.training")
def optimizer(d: Draw) -> Node:
    name, shape = d.type("T3"), d.full(1, 2)
    rate = np.array(0.1, ELEMENTS[d.type("T1")])
    inputs: list[Any] = [rate, np.array(d.integer(1, 5), np.int64)]
    kinds = {"Adagrad": ("finite",) * 2 + ("positive",), "Momentum": ("finite",) * 3}
    many = kinds.get(d.schema.name, ("finite", "finite", "finite", "positive"))
    inputs += [d.tensor(name, shape, kind) for kind in many]
    attributes: dict[str, Any] = {"norm_coefficient": d.choice((0.0, 0.1))}
    if d.schema.name == "Momentum":
        attributes |= {"alpha": 0.9, "beta": 0.5, "mode": d.choice(("standard", "nesterov"))}
    return Node(inputs, attributes, len(many) - 1, sums=True, tolerance=20)
