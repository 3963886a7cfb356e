"""Lower kernels to LLVM IR and emit objects: the one place that knows numba's internals."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import compiler
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from _lang.isas import TARGETS
from _lang.lanes import declared

_C = {types.int64: "i64", types.int32: "i32", types.float32: "float", types.float64: "double"}


def lower(symbol: str, function: Callable[..., Any], signature: Any) -> str:
    """IR text of `function`, exported as the C function `symbol`.

    numba's own function has two hidden leading arguments, a return slot and an error slot; a
    wrapper hides them. `no_compile` keeps the IR from being optimised for this machine.
    """
    flags = compiler.Flags()
    flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
    flags.error_model = "numpy"
    context = cpu_target.target_context
    with global_compiler_lock:
        made = compiler.compile_extra(
            *(cpu_target.typing_context, context, function),
            *(signature.args, signature.return_type, flags, {}),
        )
    called = [lib.name for lib in made.library._linking_libraries if lib.name != "nrt"]
    if called:
        raise TypeError(f"{symbol}: mark what it calls with @inline: {', '.join(called)}")
    text = str(made.library._final_module)
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


def caller(symbol: str, sig: Any) -> Any:
    """An intrinsic that calls the C function `symbol`."""

    def lower_call(ctx: Any, b: Any, _: Any, args: Any) -> Any:
        kinds = [ctx.get_value_type(a) for a in sig.args]
        shape = ir.FunctionType(ctx.get_value_type(sig.return_type), kinds)
        return b.call(declared(b, symbol, shape), args)

    return intrinsic_of(sig, lower_call)


@cache
def target_machine(isa: str) -> Any:
    """The code generator of one instruction set."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    triple = llvm.get_default_triple()
    return llvm.Target.from_triple(triple).create_target_machine(
        reloc="pic", codemodel="default", opt=3, **TARGETS[isa]
    )


def emit(texts: list[str], isa: str, private: Iterable[str] = ()) -> bytes:
    """One object of several IR modules; `private` symbols are called from within only."""
    machine = target_machine(isa)
    module = llvm.parse_assembly(texts[0])
    for text in texts[1:]:
        module.link_in(llvm.parse_assembly(text))
    for symbol in private:
        module.get_function(symbol).linkage = "internal"
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = options.slp_vectorization = True
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return bytes(machine.emit_object(module))
