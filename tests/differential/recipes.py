"""The table of recipes: for each operator, how a legal node of it is drawn."""

from __future__ import annotations

from collections.abc import Callable

from onnx import defs

from draw import Draw, Node

Recipe = Callable[[Draw], Node]
RECIPES: dict[tuple[str, str], Recipe] = {}


def recipe(*names: str, domain: str = "") -> Callable[[Recipe], Recipe]:
    """Registers a function that draws a node of any of the named operators."""

    def register(function: Recipe) -> Recipe:
        for name in names:
            RECIPES[domain, name] = function
        return function

    return register


def without(formals: list[defs.OpSchema.FormalParameter]) -> int:
    """How many of the formal parameters are not optional."""
    return sum(f.option != defs.OpSchema.FormalParameterOption.Optional for f in formals)
