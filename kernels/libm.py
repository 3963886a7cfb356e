"""libm on GPUs: the functions of kernels/cuda/libm.cu as pieces of PTX, and who needs which."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).resolve().parent / "cuda" / "libm.cu"
_ITEM = re.compile(r"^(?=\.(?:visible|func|global|const|extern)\b)", re.M)
_FUNCTION = re.compile(r"\.func (?:\([^)]*\) )?([\w$]+)")
_TABLE = re.compile(r"\.(?:global|const) [^=;]*?([\w$]+)\[")
_EXTERN = re.compile(r"^\.extern \.func [^;]*;\n", re.M)
_CALL = re.compile(r"\bcall(?:\.uni)?\s*(?:\([^)]*\),\s*)?([\w$]+)")


@dataclass(frozen=True)
class Piece:
    """A function or a table, with the numbers of the pieces before it that it needs, and of those
    that these need.
    """

    name: str
    text: str
    needs: frozenset[int]


def pieces(ptx: str) -> list[Piece]:
    """What the PTX of libm.cu, without comments and indentation, defines: each behind what it
    needs.
    """
    texts: dict[str, str] = {}
    for item in _ITEM.split(ptx)[1:]:
        found = _TABLE.match(item) or _FUNCTION.search(item.partition("{")[0])
        if found and (item.startswith((".global", ".const")) or "{" in item):
            texts[found.group(1)] = item.removeprefix(".visible ")
    ordered: list[Piece] = []
    numbers: dict[str, int] = {}

    def place(name: str) -> int:
        if name not in numbers:
            names = set(re.findall(r"[\w$]+", texts[name])) & set(texts) - {name}
            needs = [place(one) for one in sorted(names)]
            below = frozenset(needs).union(*(ordered[i].needs for i in needs))
            ordered.append(Piece(name, texts[name], below))
            numbers[name] = len(ordered) - 1
        return numbers[name]

    for name in texts:
        place(name)
    return ordered


def needed(text: str, functions: Sequence[Piece]) -> list[int] | None:
    """Numbers of the pieces that must stand before a text that calls functions which it does not
    define; None where there is no such function.
    """
    numbers = {piece.name: i for i, piece in enumerate(functions)}
    called = set(_CALL.findall(text)) - set(_FUNCTION.findall(_EXTERN.sub("", text)))
    if not called <= numbers.keys():
        return None
    direct = {numbers[name] for name in called}
    return sorted(direct.union(*(functions[i].needs for i in direct)))


def linked(text: str, functions: Sequence[Piece]) -> str:
    """A module with the functions that it declares, instead of their declarations; empty where
    one is missing.
    """
    numbers = needed(text, functions)
    if numbers is None:
        return ""
    head, rest = _EXTERN.sub("", text).split(".address_size 64\n", 1)
    return "".join([head, ".address_size 64\n", *(functions[i].text for i in numbers), rest])
