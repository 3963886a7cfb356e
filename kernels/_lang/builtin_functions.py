"""Python's min and max of numbers as instructions: numba's own would be calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import types
from numba.core.registry import cpu_target
from numba.core.typing.templates import AbstractTemplate, signature
from numba.extending import lower_builtin


def _common(args: Any) -> types.Type | None:
    """The type of the result: integers stay integers of 64 bits."""
    if len(args) < 2 or not all(isinstance(a, types.Number) for a in args):
        return None
    plain = [types.unliteral(a) for a in args]
    if all(isinstance(a, types.Integer) for a in plain):
        signed = any(a.signed for a in plain)
        return plain[0] if len(set(plain)) == 1 else types.int64 if signed else types.uint64
    return types.float32 if all(a == types.float32 for a in plain) else types.float64


def _install(function: Callable[..., Any], less: bool) -> None:
    class Template(AbstractTemplate):
        key = function

        def generic(self, args: Any, kws: Any) -> Any:
            kind = _common(args)
            return None if kind is None else signature(kind, *[kind] * len(args))

    def lower(ctx: Any, b: Any, sig: Any, args: Any) -> Any:
        out, kind = args[0], sig.return_type
        sign = "<" if less else ">"
        for value in args[1:]:
            if isinstance(kind, types.Float):
                better = b.fcmp_ordered(sign, value, out)
            else:
                compare = b.icmp_signed if kind.signed else b.icmp_unsigned
                better = compare(sign, value, out)
            out = b.select(better, value, out)
        return out

    lower_builtin(function, types.VarArg(types.Number))(lower)
    for count in range(2, 5):
        lower_builtin(function, *[types.Number] * count)(lower)
    context = cpu_target.typing_context
    context.refresh()
    known = context._lookup_global(function)
    context._remove_global(function)
    context.insert_global(function, types.Function((Template, *known.templates)))
    cpu_target.target_context.refresh()


_install(min, less=True)
_install(max, less=False)
