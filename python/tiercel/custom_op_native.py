"""Custom operators as native code: numba compiles the function and the entry for the core."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

# data, dims, context, give: see NativeFn in csrc/bindings/custom_op.cpp
_ENTRY = types.int32(types.uintp, types.uintp, types.uintp, types.uintp)


@intrinsic  # type: ignore[untyped-decorator]
def _pointer(typingctx: Any, address: Any) -> Any:
    """An address as a pointer."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(types.uintp), codegen


@intrinsic  # type: ignore[untyped-decorator]
def _give(typingctx: Any, give: Any, context: Any, output: Any, dims: Any, rank: Any) -> Any:
    """Memory for an output: ``give(context, output, dims, rank)``."""
    result = types.uintp
    arguments = (types.uintp, types.uintp, types.int64, types.uintp, types.int64)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        from llvmlite import ir

        lower = [context.get_value_type(a) for a in arguments[1:]]
        kind = ir.FunctionType(context.get_value_type(result), lower)
        function = builder.inttoptr(args[0], kind.as_pointer())
        return builder.call(function, list(args[1:]))

    return result(*arguments), codegen


def _deliver_array(dtype: np.dtype[Any]) -> Any:
    @numba.njit  # type: ignore[untyped-decorator]
    def deliver(give: int, context: int, output: int, result: Any) -> None:
        dims = np.empty(result.ndim, np.int64)
        for axis in range(result.ndim):
            dims[axis] = result.shape[axis]
        memory = _give(give, context, output, dims.ctypes.data, result.ndim)
        if result.size > 0:
            numba.carray(_pointer(memory), result.shape, dtype)[...] = result

    return deliver


def _deliver_scalar(dtype: np.dtype[Any], array: bool) -> Any:
    @numba.njit  # type: ignore[untyped-decorator]
    def element(result: Any) -> Any:
        return result[()] if array else result

    @numba.njit  # type: ignore[untyped-decorator]
    def deliver(give: int, context: int, output: int, result: Any) -> None:
        memory = _give(give, context, output, 0, 0)
        numba.carray(_pointer(memory), (1,), dtype)[0] = element(result)

    return deliver


def _deliver(result: Any, dtype: np.dtype[Any], output: int) -> Any:
    """The function that hands a result of a numba type over to the core."""
    array = isinstance(result, types.Array)
    if not array and not isinstance(result, types.Number | types.Boolean):
        raise TypeError(f"output {output} is {result}; expected an array")
    found = numba.np.numpy_support.as_dtype(result.dtype if array else result)
    if not np.can_cast(found, dtype, "same_kind"):
        raise TypeError(f"output {output} is {found}; its annotation says {dtype}")
    return _deliver_array(dtype) if array and result.ndim else _deliver_scalar(dtype, array)


def _result_types(function: Any, arguments: dict[str, Any], inputs: list[str]) -> list[Any]:
    given = []
    for name, value in arguments.items():
        if name in inputs and value is not None:
            element = numba.np.numpy_support.from_dtype(value[0])
            given.append(types.Array(element, value[1], "C", readonly=True))
        else:
            given.append(numba.typeof(value))
    function.compile(tuple(given))
    result = function.overloads[tuple(given)].signature.return_type
    return list(result.types) if isinstance(result, types.BaseTuple) else [result]


@intrinsic  # type: ignore[untyped-decorator]
def _read_only(typingctx: Any, array: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        context.nrt.incref(builder, signature.args[0], args[0])
        return args[0]

    return array.copy(readonly=True)(array), codegen


def _entry_text(arguments: dict[str, Any], inputs: list[str], outputs: int, several: bool) -> str:
    """Source of the entry: arrays over the core's memory, the call, the results handed over."""
    lines, passed, at = [], {}, 0
    for i, name in enumerate(inputs):
        value = arguments[name]
        passed[name] = "None" if value is None else f"input_{i}"
        if value is None:
            continue
        shape = "".join(f"extents[{at + axis}], " for axis in range(value[1]))
        lines.append(
            f"input_{i} = read_only(carray(pointer(addresses[{i}]), ({shape}), dtype_{i}))"
        )
        at += value[1]
    call = ", ".join(passed.get(name, f"attribute_{name}") for name in arguments)
    lines.append(f"result = function({call})")
    for i in range(outputs):
        lines.append(f"deliver_{i}(give, context, {i}, result{f'[{i}]' if several else ''})")
    body = "".join(f"        {line}\n" for line in lines)
    return (
        "def entry(data, dims, context, give):\n"
        "    try:\n"
        f"        addresses = carray(pointer(data), ({max(len(inputs), 1)},), uintp)\n"
        f"        extents = carray(pointer(dims), ({max(at, 1)},), int64)\n"
        f"{body}"
        "    except Exception:\n"
        "        return 1\n"
        "    return 0\n"
    )


def compile_native(
    function: Callable[..., Any],
    arguments: dict[str, Any],
    inputs: list[str],
    outputs: list[np.dtype[Any]],
) -> Any:
    """A numba cfunc that runs `function` for inputs of certain dtypes and ranks.

    `arguments`: by parameter name (dtype, rank) of an input, None for an absent one, the value of
    an attribute. `outputs`: the element types. Raises TypeError with numba's reason.
    """
    compiled: Any = function
    if not hasattr(function, "py_func"):
        compiled = numba.njit(error_model="numpy")(function)
    try:
        results = _result_types(compiled, arguments, inputs)
        if len(results) != len(outputs):
            raise TypeError(f"the function returns {len(results)} arrays, not {len(outputs)}")
        names: dict[str, Any] = {
            "function": compiled,
            "carray": numba.carray,
            "pointer": _pointer,
            "read_only": _read_only,
            "uintp": np.uintp,
            "int64": np.int64,
        }
        for i, name in enumerate(inputs):
            if arguments[name] is not None:
                names[f"dtype_{i}"] = arguments[name][0]
        for name, value in arguments.items():
            if name not in inputs:
                names[f"attribute_{name}"] = value
        for i, (result, dtype) in enumerate(zip(results, outputs, strict=True)):
            names[f"deliver_{i}"] = _deliver(result, dtype, i)
        several = len(outputs) > 1
        exec(_entry_text(arguments, inputs, len(outputs), several), names)
        return numba.cfunc(_ENTRY)(names["entry"])
    except numba.core.errors.NumbaError as error:
        raise TypeError(
            f"numba does not compile it: {error}\nChange the function, or use "
            "custom_op(..., compile=False) to run it in Python."
        ) from None
