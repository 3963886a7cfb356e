"""The public surface as text; run it to write surface.txt anew: python tests/api/surface.py."""

from __future__ import annotations

import enum
import inspect
from pathlib import Path

GOLDEN = Path(__file__).with_name("surface.txt")


def _signature(function: object) -> str:
    try:
        parameters = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return "(...)"
    return "(" + ", ".join(str(p.replace(annotation=p.empty)) for p in parameters) + ")"


def _class_lines(name: str, cls: type) -> list[str]:
    bases = ", ".join(base.__name__ for base in cls.__bases__)
    lines = [f"class {name}({bases})"]
    if issubclass(cls, enum.Enum):
        return lines + [f"  {name}.{member.name} = {member.value}" for member in cls]
    for attribute in sorted(vars(cls)):
        value = inspect.getattr_static(cls, attribute)
        if attribute.startswith("_") and attribute not in ("__init__", "__call__"):
            continue
        if isinstance(value, property):
            lines.append(f"  {name}.{attribute}: property")
        elif callable(value) or isinstance(value, staticmethod):
            lines.append(f"  {name}.{attribute}{_signature(getattr(cls, attribute))}")
    return lines


def surface() -> str:
    """Every public name of the package with its signature, one per line."""
    import tiercel

    lines: list[str] = []
    for name in sorted(tiercel.__all__):
        value = getattr(tiercel, name)
        if inspect.isclass(value):
            lines += _class_lines(name, value)
        elif callable(value):
            lines.append(f"{name}{_signature(value)}")
        else:
            lines.append(f"{name}: {type(value).__name__}")
    options = tiercel.SessionOptions()
    lines += [f"SessionOptions().{k} = {v!r}" for k, v in vars(options).items() if k[0] != "_"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    GOLDEN.write_text(surface())
