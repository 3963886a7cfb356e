"""Every operator definition says what onnx.defs says of the operator's newest form."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import defs

from tiercel import _core

KINDS = ["single", "optional", "variadic"]
DEFS = {(d["domain"], d["name"]): d for d in _core.op_defs()}
STANDARD = sorted({(s.domain, s.name) for s in defs.get_all_schemas()})
# Deprecated: their old forms are upgraded to Resize and ScatterElements.
UPGRADED_AWAY = {("", "Upsample"), ("", "Scatter")}
KNOWN = [key for key in STANDARD if key in DEFS]


def schema_of(key: tuple[str, str]) -> defs.OpSchema:
    domain, name = key
    return defs.get_schema(name, domain)


def params_of(formals: list[Any]) -> list[tuple[str, str, str, bool, int]]:
    """Names, types and kinds of a schema's inputs or outputs, in the registry's form."""
    return [
        (f.name, f.type_str, KINDS[f.option.value], f.is_homogeneous, f.min_arity) for f in formals
    ]


def arity_matters(param: tuple[str, str, str, bool, int]) -> tuple[Any, ...]:
    """Only a variadic parameter has a least number of values and may mix types."""
    return param if param[2] == "variadic" else param[:3]


def type_names(text: str) -> set[str]:
    """A type parameter's types as onnx writes them: tensor(float), not float."""
    return {t if "(" in t else f"tensor({t})" for t in text.split()}


def default_of(attribute: Any) -> Any:
    """A schema attribute's default as a Python value, None without one."""
    if not attribute.default_value.type:
        return None
    value = onnx.helper.get_attribute_value(attribute.default_value)
    if isinstance(value, list):
        return [v.decode() if isinstance(v, bytes) else v for v in value]
    return value.decode() if isinstance(value, bytes) else value


def same_value(got: Any, want: Any) -> bool:
    """Equal defaults; floats as float32 has them, tensors by their elements."""
    if isinstance(want, onnx.TensorProto):
        return np.array_equal(got, onnx.numpy_helper.to_array(want))
    if isinstance(want, float):
        return bool(np.float32(got) == np.float32(want))
    return bool(got == want)


def test_every_standard_operator_is_known():
    assert set(STANDARD) - set(DEFS) == UPGRADED_AWAY


def test_names_are_unique():
    assert len(_core.op_defs()) == len(DEFS)


@pytest.mark.parametrize("key", KNOWN, ids=lambda k: "::".join(k))
def test_version_and_parameters(key):
    known, schema = DEFS[key], schema_of(key)
    assert known["since"] == schema.since_version
    for side in ("inputs", "outputs"):
        got = [arity_matters(tuple(p)) for p in known[side]]
        assert got == [arity_matters(p) for p in params_of(getattr(schema, side))]


@pytest.mark.parametrize("key", KNOWN, ids=lambda k: "::".join(k))
def test_types(key):
    got = {name: type_names(text) for name, text in DEFS[key]["types"].items()}
    want = {
        c.type_param_str: {t.replace(", ", ",") for t in c.allowed_type_strs}
        for c in schema_of(key).type_constraints
    }
    assert got == want


@pytest.mark.parametrize("key", KNOWN, ids=lambda k: "::".join(k))
def test_attributes(key):
    known = {name: rest for name, *rest in DEFS[key]["attributes"]}
    want = schema_of(key).attributes
    assert set(known) == set(want)
    for name, (kind, required, value) in known.items():
        assert kind == str(want[name].type).rpartition(".")[2].lower(), name
        assert required == want[name].required, name
        default = default_of(want[name])
        assert same_value(value, default), f"{name}: {value!r}, onnx has {default!r}"
