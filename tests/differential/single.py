"""Cases of one node: any operator in any version and type, inputs given or constant."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, defs, helper, numpy_helper

from draw import NAMES, Draw, Node
from oracle import Case
from recipes import RECIPES

for path in sorted(Path(__file__).parent.glob("recipes_*.py")):
    importlib.import_module(path.stem)

# From which version on onnx's reference has the right meaning: it computes the older forms like the
# newest (Softmax coerced to two axes) or with the statistics of the batch.
REFERENCE_FROM = {"Softmax": 13, "LogSoftmax": 13, "Hardmax": 13, "BatchNormalization": 14}
NEWEST = defs.onnx_opset_version()
OLDEST = 7  # below, shapes broadcast by an attribute
# Inputs that were attributes in older versions.
ONCE_ATTRIBUTES = {
    "Clip": {1: "min", 2: "max"},
    "Pad": {1: "pads", 2: "value"},
    "Slice": {1: "starts", 2: "ends", 3: "axes"},
    "Split": {1: "split"},
    "Squeeze": {1: "axes"},
    "Unsqueeze": {1: "axes"},
    "TopK": {1: "k"},
    "Dropout": {1: "ratio"},
    "Upsample": {1: "scales"},
    "DFT": {2: "axis"},
    **{f"Reduce{kind}": {1: "axes"} for kind in "L1 L2 LogSum LogSumExp Max Mean Min".split()},
    **{f"Reduce{kind}": {1: "axes"} for kind in "Prod Sum SumSquare".split()},
}


@functools.cache
def history() -> dict[tuple[str, str], list[defs.OpSchema]]:
    """Every version of every operator, oldest first."""
    out: dict[tuple[str, str], list[defs.OpSchema]] = {}
    for schema in defs.get_all_schemas_with_history():
        out.setdefault((schema.domain, schema.name), []).append(schema)
    return {key: sorted(many, key=lambda s: s.since_version) for key, many in out.items()}


def element_number(value: np.ndarray) -> int:
    if value.dtype == object:
        return int(TensorProto.STRING)
    return int(getattr(TensorProto, NAMES[value.dtype].upper()))


def info_of(name: str, value: Any, symbolic: bool = False) -> onnx.ValueInfoProto:
    """The type of a graph input that takes `value`: a tensor, a list (sequence) or a type."""
    if isinstance(value, list):
        kind = element_number(value[0]) if value else TensorProto.FLOAT
        return helper.make_tensor_sequence_value_info(name, kind, None)
    dims = [f"{name}_{i}" if symbolic else n for i, n in enumerate(value.shape)]
    return helper.make_tensor_value_info(name, element_number(value), dims)


def model_of(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[str],
    imports: dict[str, int],
    constants: dict[str, np.ndarray] | None = None,
) -> onnx.ModelProto:
    """A model; outputs have no declared types."""
    infos = [helper.make_empty_tensor_value_info(name) for name in outputs]
    tensors = [numpy_helper.from_array(x, name) for name, x in (constants or {}).items()]
    graph = helper.make_graph(nodes, "graph", inputs, infos, tensors)
    opsets = [helper.make_opsetid(domain, version) for domain, version in imports.items()]
    kinds = {i.type.tensor_type.elem_type for i in inputs} | {t.data_type for t in tensors}
    # Older files are read by more engines; the newest element types need a newer form.
    ir_version = 13 if any(kind > TensorProto.INT4 for kind in kinds) else 10
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)


def demoted(node: Node, schema: defs.OpSchema) -> Node:
    """The node with the inputs that an older version takes as attributes."""
    inputs, attributes = list(node.inputs), dict(node.attributes)
    for position, name in ONCE_ATTRIBUTES.get(schema.name, {}).items():
        if name in schema.attributes and position < len(inputs):
            value = inputs[position]
            inputs[position] = None
            if value is not None and not (name == "axes" and np.size(value) == 0):
                attributes[name] = (
                    np.asarray(value)
                    .astype(np.float64 if np.asarray(value).dtype.kind == "f" else np.int64)
                    .tolist()
                )
    while inputs and inputs[-1] is None:
        inputs.pop()
    return Node(**{**vars(node), "inputs": inputs, "attributes": attributes})


def fits(node: Node, schema: defs.OpSchema) -> bool:
    """Whether a version of the operator admits the node."""
    if schema.deprecated or not schema.min_input <= len(node.inputs) <= schema.max_input:
        return False
    if not set(node.attributes) <= set(schema.attributes) or node.outputs > schema.max_output:
        return False
    if any(isinstance(value, list) and not value for value in node.attributes.values()):
        return False  # an empty list says nothing of its type
    if any(a.required and n not in node.attributes for n, a in schema.attributes.items()):
        return False
    for i, value in enumerate(node.inputs):
        formal = schema.inputs[min(i, len(schema.inputs) - 1)]
        if not isinstance(value, np.ndarray):
            optional = formal.option == defs.OpSchema.FormalParameterOption.Optional
            if value is None and not optional:
                return False
            continue
        name = "string" if value.dtype == object else NAMES[value.dtype]
        allowed = {formal.type_str}
        for constraint in schema.type_constraints:
            if constraint.type_param_str == formal.type_str:
                allowed = set(constraint.allowed_type_strs)
        if f"tensor({name})" not in allowed:
            return False
    return True


def attribute_value(value: Any) -> Any:
    return numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value


def choose_version(d: Draw, node: Node, key: tuple[str, str]) -> tuple[Node, int]:
    """The node in the form of a version that admits it, and an opset of that version."""
    versions = history().get(key)
    if versions is None:
        return node, 1
    newest = NEWEST if key[0] == "" else versions[-1].since_version
    last = d.integer(0, len(versions) - 1) if d.flag(35) else len(versions) - 1
    for i in [last, len(versions) - 1]:
        before = versions[i + 1].since_version - 1 if i + 1 < len(versions) else newest
        older = demoted(node, versions[i])
        if before >= OLDEST * (key[0] == "") and fits(older, versions[i]):
            low = max(versions[i].since_version, OLDEST if key[0] == "" else 1)
            if versions[i].since_version < REFERENCE_FROM.get(key[1], 0):
                older.reference = False
            return older, d.choice((low, before, before))
    return node, newest


def draw_single(integer: Callable[[int, int], int], only: tuple[str, str] | None = None) -> Case:
    """A case of one node; of any operator, unless `only` says which."""
    keys = sorted(RECIPES)
    domain, name = only or keys[integer(0, len(keys) - 1)]
    versions = history().get((domain, name))
    d = Draw(integer, versions[-1] if versions else None)
    node = RECIPES[domain, name](d)
    while node.inputs and node.inputs[-1] is None:
        node.inputs.pop()
    node, opset = choose_version(d, node, (domain, name))
    names = ["" if value is None else f"x{i}" for i, value in enumerate(node.inputs)]
    values = {n: v for n, v in zip(names, node.inputs, strict=True) if n}
    results = [f"y{i}" for i in range(node.outputs)]
    attributes = {k: attribute_value(v) for k, v in node.attributes.items()}
    made = helper.make_node(name, names, results, name="node", domain=domain, **attributes)
    imports = {"": NEWEST if domain else opset, **({domain: opset} if domain else {})}
    symbolic = d.flag(30)
    share = d.choice((0, 0, 30, 60, 100))
    constants = {
        n: v
        for i, (n, v) in enumerate(values.items())
        if isinstance(v, np.ndarray) and (i in node.constant or d.flag(share))
    }
    feeds = {n: v for n, v in values.items() if n not in constants}
    given = [info_of(n, v, symbolic) for n, v in feeds.items()]
    return Case(
        label=f"{domain}::{name}" if domain else name,
        model=model_of([made], given, results, imports, constants),
        feeds=feeds,
        plain=model_of([made], [info_of(n, v) for n, v in values.items()], results, imports),
        plain_feeds=values,
        tolerance=node.tolerance,
        off=node.off,
        sums=node.sums,
        shape_only=node.shape_only,
        reference=node.reference,
    )
