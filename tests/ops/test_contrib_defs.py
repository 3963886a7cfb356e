"""Definitions of com.microsoft say what onnxruntime's schemas say."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from tiercel import _core

state = pytest.importorskip("onnxruntime.capi.onnxruntime_pybind11_state")
SCHEMAS = {s.name: s for s in state.get_all_operator_schema() if s.domain == "com.microsoft"}
DEFS = {d["name"]: d for d in _core.op_defs() if d["domain"] == "com.microsoft"}
KINDS = {"int": "INT", "float": "FLOAT", "string": "STRING"}
KINDS |= {f"{kind}s": f"{name}S" for kind, name in KINDS.items()}


def default_of(attribute: Any) -> Any:
    """A schema attribute's default as a Python value, None without one."""
    if not attribute._default_value:
        return None
    proto = onnx.AttributeProto()
    proto.ParseFromString(attribute._default_value)
    value = onnx.helper.get_attribute_value(proto)
    return value.decode() if isinstance(value, bytes) else value


@pytest.mark.parametrize("name", DEFS)
def test_parameters_and_types(name: str) -> None:
    known, schema = DEFS[name], SCHEMAS[name]
    for side in ("inputs", "outputs"):
        formals = getattr(schema, side)
        want = [(p.name, p.typeStr, str(p.option).rpartition(".")[2].lower()) for p in formals]
        assert [tuple(p[:3]) for p in known[side]] == want
    want_types = {
        t.type_param_str: [x.removeprefix("tensor(").removesuffix(")") for x in t.allowed_type_strs]
        for t in schema.type_constraints
    }
    assert {p: text.split() for p, text in known["types"].items()} == want_types


@pytest.mark.parametrize("name", DEFS)
def test_attributes(name: str) -> None:
    known = {a[0]: a[1:] for a in DEFS[name]["attributes"]}
    attributes = SCHEMAS[name].attributes
    assert set(known) == set(attributes)
    for label, (kind, required, value) in known.items():
        assert KINDS[kind] == str(attributes[label].type).rpartition(".")[2], label
        assert required == attributes[label].required, label
        want = default_of(attributes[label])
        same = np.float32(value) == np.float32(want) if kind == "float" and want else value == want
        assert same, f"{label}: {value!r}, onnxruntime has {want!r}"
