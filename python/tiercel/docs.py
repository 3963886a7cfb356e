"""Makes docs/operators.md from the registry: python -m tiercel.docs docs/operators.md."""

from __future__ import annotations

import itertools
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from . import _core, missing_ops

_HEAD = """\
# Operators

Every operator that tiercel knows. *Form* is the newest ONNX version of the operator; a model may
use any version up to the newest opset of its domain: older forms are upgraded to this one when the
model is loaded, so the table holds for all of them.

| column | says |
|---|---|
| runs as | **kernel**: compiled kernels, the variants in the order in which they are tried; \
**pointwise**: an instruction of pointwise programs, which fuse with their neighbours; **host**: a \
C++ function, for strings, sequences and maps; **alias**: no work, the output has the bytes of the \
input; **executor**: runs its bodies; **composed**: replaced by other operators of this table when \
the model is loaded |
| element types | of the main type parameter, on CPUExecutionProvider; *all* that the standard \
admits, where a list would be longer than what it leaves out |

16-bit and smaller floats compute in float32 and round once; types of fewer than 8 bits are packed.

This page is generated: `python -m tiercel.docs docs/operators.md`.
"""

_COMBINATIONS = 400  # of the other type parameters that are tried with one element type


def _tensor_types(op: dict[str, Any]) -> dict[str, list[str]]:
    """The element types of each type parameter that an input or output has."""
    used = {param[1] for param in op["inputs"] + op["outputs"]}
    admitted = {
        name: [t for t in text.split() if "(" not in t] for name, text in op["types"].items()
    }
    return {name: types for name, types in admitted.items() if name in used}


def _bindings(types: dict[str, list[str]], main: str, dtype: str) -> Iterator[dict[str, str]]:
    """The main parameter as `dtype` with every choice of the others: the same type first."""
    others = [name for name in types if name != main]
    choices = [sorted(types[name], key=lambda t: t != dtype) for name in others]
    for chosen in itertools.islice(itertools.product(*choices), _COMBINATIONS):
        yield {main: dtype, **dict(zip(others, chosen, strict=True))}


def _runs(op: dict[str, Any], types: dict[str, list[str]], main: str, dtype: str) -> bool:
    refusal = _core.refusal
    bindings = _bindings(types, main, dtype)
    return any(refusal(op["domain"], op["name"], bound) is None for bound in bindings)


def _element_types(op: dict[str, Any], how: str) -> str:
    """Those that run, those that do not, or nothing where the question has no meaning."""
    types = _tensor_types(op)
    main = next((name for name, admitted in types.items() if admitted), None)
    if main is None or how in ("composed", "executor"):
        return ""
    if how == "alias":
        return "all"
    good = [t for t in types[main] if _runs(op, types, main, t)]
    bad = [t for t in types[main] if t not in good]
    if not bad:
        return "all: " + " ".join(good) if len(good) < 5 else "all"
    if not good:
        return ""  # sequences and maps
    return "all but " + " ".join(bad) if len(bad) < len(good) else " ".join(good)


def _how(op: dict[str, Any], rows: Sequence[dict[str, Any]]) -> str:
    kinds = {row["kind"] for row in rows}
    variants = dict.fromkeys(r["variant"] for r in rows if r["kind"] == "kernel")
    parts = []
    if "control_flow" in op["facts"]:
        parts.append("executor")
    if "alias" in op["facts"]:
        parts.append("alias")
    if variants:
        parts.append(
            "kernel" if list(variants) == ["generic"] else f"kernel: {', '.join(variants)}"
        )
    parts += [name for kind, name in (("tile", "pointwise"), ("host", "host")) if kind in kinds]
    return "; ".join(parts) or "composed"


def operators_page() -> str:
    """The page's text."""
    rows: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in _core.kernel_table():
        rows[row["domain"], row["op"]].append(row)
    domains: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for op in _core.op_defs():
        domains[op["domain"]].append(op)
    parts = [_HEAD]
    for domain in sorted(domains):
        operators = sorted(domains[domain], key=lambda op: op["name"])
        parts.append(f"\n## {domain or 'ai.onnx'} ({len(operators)})\n")
        parts.append("\n| operator | form | runs as | element types |\n|---|---|---|---|\n")
        for op in operators:
            how = _how(op, rows[domain, op["name"]])
            types = _element_types(op, how)
            parts.append(f"| {op['name']} | {op['since']} | {how} | {types} |\n")
        if domain == "com.microsoft":
            parts.append(_missing())
    return "".join(parts)


def _missing() -> str:
    """The rest of ONNX Runtime's list, with the reasons."""
    lines = [
        "\nOf the operators that ONNX Runtime 1.32 has in this domain, these are not in:\n",
        "\n| operator | why not |\n|---|---|\n",
    ]
    lines += [f"| {name} | {why} |\n" for name, why in sorted(missing_ops.CONTRIB.items())]
    return "".join(lines)


def main(arguments: Sequence[str]) -> None:
    """Writes the page to the file that is named, or to standard output."""
    page = operators_page()
    if arguments:
        Path(arguments[0]).write_text(page)
    else:
        sys.stdout.write(page)


if __name__ == "__main__":
    main(sys.argv[1:])
