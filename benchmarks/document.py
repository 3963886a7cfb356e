"""Puts what a command prints between two lines of a document."""

from __future__ import annotations

import re
from pathlib import Path


def write_between(file: str | Path, name: str, text: str) -> None:
    """Replaces what stands between ``<!-- name -->`` and ``<!-- end of name -->``.

    Raises:
        ValueError: The document has not both lines, once each.
    """
    path = Path(file)
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    old = path.read_text()
    if old.count(begin) != 1 or old.count(end) != 1:
        raise ValueError(f"{file}: expected {begin.strip()} and {end.strip()} once")
    inside = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    path.write_text(inside.sub(lambda _: f"{begin}\n{text.strip()}\n\n{end}", old))
