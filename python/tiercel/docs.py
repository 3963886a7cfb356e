"""Makes docs/operators.md from the registry: python -m tiercel.docs docs/operators.md."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import _core

_HEAD = """\
# Operators

Every operator that tiercel knows, with the newest ONNX version whose meaning it follows (older
forms are upgraded when a model is loaded) and how the CPU provider runs it: as compiled kernels,
as part of pointwise programs (tile kernels), by a C++ function on values that are no plain tensors
(host), or in the executor itself. Element types are those of the main type parameter.

This page is generated: `python -m tiercel.docs docs/operators.md`.
"""

_WIDTHS = {
    "b8": "8-bit",
    "b16": "16-bit",
    "b32": "32-bit",
    "b64": "64-bit",
    "b128": "128-bit",
}


def _types(row: dict[str, Any]) -> str:
    if row["kind"] == "tile":
        return str(row["types"]).split("->")[0].split(",")[0]
    first = str(row["types"]).split(";")[0]
    name = first.partition("=")[2]
    return _WIDTHS.get(name, name)


def _how(op: dict[str, Any], rows: Sequence[dict[str, Any]]) -> str:
    kinds = [kind for kind in ("kernel", "tile", "host") if any(r["kind"] == kind for r in rows)]
    if "control_flow" in op["facts"]:
        kinds.append("executor")
    elif "alias" in op["facts"]:
        kinds.append("alias")
    names = {"tile": "pointwise"}
    return ", ".join(names.get(kind, kind) for kind in kinds) or "-"


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
        parts.append("\n| operator | version | runs as | element types |\n|---|---|---|---|\n")
        for op in operators:
            own = rows[domain, op["name"]]
            types = list(dict.fromkeys(filter(None, map(_types, own))))
            how = _how(op, own)
            parts.append(f"| {op['name']} | {op['since']} | {how} | {' '.join(types)} |\n")
    return "".join(parts)


def main(arguments: Sequence[str]) -> None:
    """Writes the page to the file that is named, or to standard output."""
    page = operators_page()
    if arguments:
        Path(arguments[0]).write_text(page)
    else:
        sys.stdout.write(page)


if __name__ == "__main__":
    main(sys.argv[1:])
