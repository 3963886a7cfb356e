"""Lower kernels to LLVM IR: the one place that knows numba's internals."""

from __future__ import annotations

import inspect
import operator
import re
from collections.abc import Callable, Iterator
from functools import cache
from types import ModuleType
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils, codegen, compiler, compiler_machinery
from numba.core import typed_passes as typed
from numba.core import untyped_passes as untyped
from numba.core.compiler_lock import global_compiler_lock
from numba.core.imputils import builtin_registry
from numba.core.registry import cpu_target
from numba.core.typing.templates import _IntrinsicTemplate
from numba.extending import intrinsic

from _lang.lanes import declared

_C = {types.int64: "i64", types.int32: "i32", types.float32: "float", types.float64: "double"}


class _Pipeline(compiler.CompilerBase):
    """What kernels need of numba's passes: no object mode, no closures, no array expressions."""

    def define_pipelines(self) -> list[Any]:
        passes = compiler_machinery.PassManager("kernel")
        for step in (
            *(untyped.TranslateByteCode, untyped.FixupArgs, untyped.IRProcessing),
            *(untyped.RewriteSemanticConstants, untyped.DeadBranchPrune, untyped.GenericRewrites),
            *(untyped.ReconstructSSA, typed.NopythonTypeInference, typed.PreLowerStripPhis),
            *(typed.IRLegalization, typed.AnnotateTypes, typed.NativeLowering),
            typed.NoPythonBackend,
        ):
            passes.add_pass(step, step.__name__)
        passes.finalize()
        return [passes]


class _Library(codegen.JITCodeLibrary):
    """Keeps the IR text of what is lowered; nothing is optimised for this machine."""

    text = ""

    def add_ir_module(self, module: Any) -> None:
        self.text = cgutils.normalize_ir_text(str(module))


def _identity(function: Callable[..., Any]) -> Any:
    """Equal for functions of the same text that see the same things: numbers by value, others by
    identity, modules by those of their members that the text names. What a kernel's builder makes
    anew for each instantiation is mostly the same again.
    """
    code = function.__code__
    seen: list[Any] = []
    for name, value in _names_of(function):
        if isinstance(value, ModuleType):
            members = [(n, value.__dict__[n]) for n in code.co_names if n in value.__dict__]
            seen.append((name, *((n, _value_or_id(v)) for n, v in members)))
        else:
            seen.append((name, _value_or_id(value)))
    return code, tuple(seen)


def _names_of(function: Callable[..., Any]) -> Iterator[tuple[str, Any]]:
    """What a function sees: its closure, and the globals that it names. Functions that are made
    from text have all that they see there.
    """
    code = function.__code__
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # defined further down
            yield name, cell
    for name in code.co_names:
        if name in function.__globals__:
            yield name, function.__globals__[name]


def _value_or_id(value: Any) -> Any:
    if isinstance(value, int | float | str | tuple | None):
        return type(value), value
    _kept.append(value)
    return id(value)


_kept: list[Any] = []  # an id stays that of one thing
_compiled: dict[Any, Any] = {}


def _compile(function: Callable[..., Any], args: Any, result: Any, inlined: bool) -> Any:
    """numba's result for these argument types; the IR is in `library.text`."""
    key = (_identity(function), args, result, inlined)
    if key not in _compiled:
        _compiled[key] = _compile_anew(function, args, result, inlined)
    return _compiled[key]


# Where numba says what operators do with numbers and tuples.
_SCALAR = re.compile(
    r"numba\.core\.typing\.(builtins|templates)$|numba\.cpython\.(builtins|tupleobj)$|_lang\."
)


@cache
def _prepare() -> None:
    """Spare each compilation what kernels have no use for: numba tries arrays, texts and lists at
    each operator, and looks for new targets at each intrinsic.
    """
    cpu_target.target_context.refresh()
    context = cpu_target.typing_context
    for function in (*vars(operator).values(), min, max):
        kind = context._lookup_global(function) if callable(function) else None
        kept = [t for t in kind.templates if _SCALAR.match(_origin(t))] if kind else []
        if kept:
            context._remove_global(function)
            context._insert_global(function, types.Function(tuple(kept)))
    _IntrinsicTemplate._get_target_registry = lambda *_: builtin_registry


def _origin(template: Any) -> str:
    """The module that says what an operator does with some types."""
    stated = getattr(template, "_overload_func", None)
    if stated:
        return str(stated.__module__)
    general = ("numba.core.typing.templates", "builtins", "abc")
    return next((c.__module__ for c in template.__mro__ if c.__module__ not in general), "")


def _compile_anew(function: Callable[..., Any], args: Any, result: Any, inlined: bool) -> Any:
    _prepare()
    flags = compiler.Flags()
    flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
    flags.error_model = "numpy"
    flags.forceinline = inlined
    context = cpu_target.target_context
    library = _Library(context.codegen(), function.__name__)
    with global_compiler_lock:
        made = compiler.compile_extra(
            *(cpu_target.typing_context, context, function, args, result, flags, {}),
            library=library,
            pipeline_class=_Pipeline,
        )
    called = [lib.name for lib in library._linking_libraries if lib.name != "nrt"]
    if called:
        raise TypeError(f"{function.__name__}: mark what it calls with @inline: {called}")
    return made


# IR text of every building block by its symbol, or what makes the text.
_blocks: dict[str, str | Callable[[], str]] = {}
_intrinsics: dict[Any, Any] = {}


def is_block(symbol: str) -> bool:
    return symbol in _blocks


def block_text(symbol: str) -> str:
    """IR text of a building block; what is outlined is compiled when it is asked for."""
    made = _blocks[symbol]
    _blocks[symbol] = text = made if isinstance(made, str) else made()
    return text


def building_block(function: Callable[..., Any]) -> Any:
    """An intrinsic that calls `function`, which is compiled once for each list of argument types
    and inlined by LLVM.
    """

    def typing(_: Any, *given: Any) -> Any:
        block = _compile(function, tuple(types.unliteral(a) for a in given), None, True)
        _blocks[block.fndesc.llvm_func_name] = block.library.text
        sig = block.signature

        def lower_call(ctx: Any, b: Any, _: Any, values: Any) -> Any:
            target = ctx.declare_function(b.module, block.fndesc)
            return ctx.call_conv.call_function(b, target, sig.return_type, sig.args, values)[1]

        return sig, lower_call

    names = ", ".join(inspect.signature(function).parameters)
    scope: dict[str, Any] = {"typing": typing}
    exec(f"def maker(context, {names}):\n    return typing(context, {names})", scope)
    return _intrinsics.setdefault(_identity(function), intrinsic(scope["maker"]))


def outlined_block(function: Callable[..., Any], sig: Any) -> Any:
    """An intrinsic that calls `function` as a C function of that signature, compiled once."""
    key = (_identity(function), sig)
    if key not in _intrinsics:
        symbol = f"tcl_block_{len(_blocks)}_{function.__name__}"
        _blocks[symbol] = lambda: lower(symbol, function, sig)
        _intrinsics[key] = _caller(symbol, sig)
    return _intrinsics[key]


def lower(symbol: str, function: Callable[..., Any], signature: Any) -> str:
    """IR text of `function`, exported as the C function `symbol`.

    numba's own function has two hidden leading arguments, a return slot and an error slot; a
    wrapper hides them.
    """
    made = _compile(function, signature.args, signature.return_type, False)
    text = made.library.text
    native = made.fndesc.llvm_func_name
    inner = f'@"{native}"' if f'@"{native}"' in text else f"@{native}"
    kinds = [_C.get(a, "ptr") for a in signature.args]
    parameters = ", ".join(f"{kind} %a{i}" for i, kind in enumerate(kinds))
    result = _C[signature.return_type]
    text = re.sub(
        r"define (\w+ )?i32 " + re.escape(inner), f"define internal i32 {inner}", text, count=1
    )
    return (
        text
        + f"""
define {result} @{symbol}({parameters}) {{
  %ret = alloca {result}
  %exc = alloca ptr
  %status = call i32 {inner}(ptr %ret, ptr %exc, {parameters})
  %value = load {result}, ptr %ret
  ret {result} %value
}}
"""
    )


def intrinsic_of(sig: Any, lower_call: Callable[..., Any]) -> Any:
    """A numba intrinsic of fixed signature; numba reads the number of arguments off its maker."""
    names = ", ".join(f"a{i}" for i in range(len(sig.args)))
    scope: dict[str, Any] = {"made": (sig, lower_call)}
    exec(f"def maker(typing, {names}):\n    return made", scope)
    return intrinsic(scope["maker"])


def _caller(symbol: str, sig: Any) -> Any:
    """An intrinsic that calls the C function `symbol`."""

    def lower_call(ctx: Any, b: Any, _: Any, args: Any) -> Any:
        kinds = [ctx.get_value_type(a) for a in sig.args]
        shape = ir.FunctionType(ctx.get_value_type(sig.return_type), kinds)
        return b.call(declared(b, symbol, shape), args)

    return intrinsic_of(sig, lower_call)
