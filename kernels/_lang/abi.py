"""What a kernel reads of its call: numba intrinsics over the C structures of kernel.h."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

PTR = types.CPointer(types.uint8)
_I64, _I8, _F64 = ir.IntType(64), ir.IntType(8), ir.DoubleType()
_BYTES = _I8.as_pointer()

# Byte offsets in TclTensor, TclAttr and TclCall.
DATA, DIMS, RANK, DTYPE, SIZE = 0, 8, 16, 24, 32
ATTR_N, ATTR_I, ATTR_F, ATTR_INTS, ATTR_FLOATS, ATTR_BYTES = 0, 8, 16, 24, 32, 40
IN, OUT, N_IN, N_OUT, ATTR, PACKED, WORKSPACE, EPILOGUE, ERROR_INDEX = range(0, 72, 8)


def _at(b: Any, pointer: Any, offset: Any, kind: ir.Type) -> Any:
    """Pointer to a `kind` that lies `offset` bytes behind `pointer`."""
    if isinstance(offset, int):
        offset = _I64(offset)
    return b.bitcast(b.gep(pointer, [offset]), kind.as_pointer())


def _load(b: Any, pointer: Any, offset: Any, kind: ir.Type, fixed: bool = True) -> Any:
    """A field of a structure; `fixed`: it does not change while the kernel runs."""
    value = b.load(_at(b, pointer, offset, kind))
    if fixed:
        value.set_metadata("invariant.load", b.module.add_metadata([]))
    return value


def _entry(b: Any, call: Any, table: int, i: Any) -> Any:
    """The TclTensor i of the call's inputs or outputs."""
    return _load(b, _load(b, call, table, _BYTES), b.mul(i, _I64(8)), _BYTES)


def _attr(b: Any, call: Any, i: Any) -> Any:
    return b.gep(_load(b, call, ATTR, _BYTES), [b.mul(i, _I64(ATTR_BYTES))])


def _reader(result: types.Type, arguments: int, emit: Callable[..., Any]) -> Callable[..., Any]:
    """An intrinsic of (call, int64 ...) that gives what `emit(builder, call, *numbers)` builds."""
    signature = result(PTR, *[types.int64] * arguments)

    def lower(ctx: Any, b: Any, sig: Any, args: Any) -> Any:
        return emit(b, *args)

    if arguments == 0:
        return intrinsic(lambda typing, call: (signature, lower))
    if arguments == 1:
        return intrinsic(lambda typing, call, i: (signature, lower))
    return intrinsic(lambda typing, call, i, j: (signature, lower))


def _present(b: Any, call: Any, i: Any) -> Any:
    """Whether input i exists: absent ones are behind the list or have rank -1."""
    listed = b.icmp_signed("<", i, _load(b, call, N_IN, _I64))
    with b.if_else(listed) as (then, other):
        with then:
            rank = _load(b, _entry(b, call, IN, i), RANK, _I64)
            has = b.icmp_signed(">=", rank, _I64(0))
            then_block = b.block
        with other:
            other_block = b.block
    phi = b.phi(ir.IntType(1))
    phi.add_incoming(has, then_block)
    phi.add_incoming(ir.IntType(1)(0), other_block)
    return phi


def _packed(b: Any, call: Any, i: Any) -> Any:
    return _load(b, _load(b, call, PACKED, _BYTES), b.mul(i, _I64(8)), _BYTES)


def _dim(table: int, fixed: bool) -> Callable[..., Any]:
    def emit(b: Any, call: Any, i: Any, axis: Any) -> Any:
        dims = _load(b, _entry(b, call, table, i), DIMS, _BYTES)
        return _load(b, dims, b.mul(axis, _I64(8)), _I64, fixed)

    return emit


def _field(table: int, offset: int, kind: ir.Type) -> Callable[..., Any]:
    return lambda b, call, i: _load(b, _entry(b, call, table, i), offset, kind)


def _list_entry(offset: int, kind: ir.Type) -> Callable[..., Any]:
    def emit(b: Any, call: Any, i: Any, j: Any) -> Any:
        return _load(b, _load(b, _attr(b, call, i), offset, _BYTES), b.mul(j, _I64(8)), kind)

    return emit


@intrinsic
def set_output_dim(typing: Any, call: Any, i: Any, axis: Any, n: Any) -> Any:
    """Shrink an output of data-dependent shape to its true extent."""

    def emit(ctx: Any, b: Any, sig: Any, args: Any) -> Any:
        dims = _load(b, _entry(b, args[0], OUT, args[1]), DIMS, _BYTES)
        b.store(args[3], _at(b, dims, b.mul(args[2], _I64(8)), _I64))
        return ctx.get_dummy_value()

    return types.void(PTR, types.int64, types.int64, types.int64), emit


@intrinsic
def set_error_index(typing: Any, call: Any, i: Any) -> Any:
    """Remember the offending flat index."""

    def emit(ctx: Any, b: Any, sig: Any, args: Any) -> Any:
        b.store_atomic(args[1], _at(b, args[0], ERROR_INDEX, _I64), "monotonic", 8)
        return ctx.get_dummy_value()

    return types.void(PTR, types.int64), emit


@intrinsic
def epilogue(typing: Any, call: Any, data: Any, start: Any, count: Any) -> Any:
    """Apply the call's pointwise program to finished elements, if it has one."""
    signature = types.void(PTR, PTR, types.int64, types.int64)

    def emit(ctx: Any, b: Any, sig: Any, args: Any) -> Any:
        record = _load(b, args[0], EPILOGUE, _BYTES)
        shape = ir.FunctionType(ir.VoidType(), [_BYTES, _BYTES, _I64, _I64])
        apply = _load(b, record, 0, shape.as_pointer())
        with b.if_then(cgutils.is_not_null(b, apply)):
            b.call(apply, [_load(b, record, 8, _BYTES), args[1], args[2], args[3]])
        return ctx.get_dummy_value()

    return signature, emit


@intrinsic
def offset(typing: Any, pointer: Any, count: Any) -> Any:
    """`pointer` moved by bytes."""
    return PTR(PTR, types.int64), lambda ctx, b, sig, args: b.gep(args[0], [args[1]])


@intrinsic
def copy(typing: Any, to: Any, to_byte: Any, source: Any, source_byte: Any, count: Any) -> Any:
    """memcpy of `count` bytes."""
    signature = types.void(PTR, types.int64, PTR, types.int64, types.int64)

    def emit(ctx: Any, b: Any, sig: Any, args: Any) -> Any:
        target, origin = b.gep(args[0], [args[1]]), b.gep(args[2], [args[3]])
        cgutils.raw_memcpy(b, target, origin, args[4], 1)
        return ctx.get_dummy_value()

    return signature, emit


@intrinsic
def fill(typing: Any, to: Any, byte: Any, count: Any) -> Any:
    """memset of `count` bytes to zero."""

    def emit(ctx: Any, b: Any, sig: Any, args: Any) -> Any:
        cgutils.memset(b, b.gep(args[0], [args[1]]), args[2], 0)
        return ctx.get_dummy_value()

    return types.void(PTR, types.int64, types.int64), emit


# By the names that kernels use.
ACCESS: dict[str, Any] = {
    "n_inputs": _reader(types.int64, 0, lambda b, call: _load(b, call, N_IN, _I64)),
    "n_outputs": _reader(types.int64, 0, lambda b, call: _load(b, call, N_OUT, _I64)),
    "workspace": _reader(PTR, 0, lambda b, call: _load(b, call, WORKSPACE, _BYTES)),
    "has_input": _reader(types.boolean, 1, _present),
    "input": _reader(PTR, 1, _field(IN, DATA, _BYTES)),
    "output": _reader(PTR, 1, _field(OUT, DATA, _BYTES)),
    "input_rank": _reader(types.int64, 1, _field(IN, RANK, _I64)),
    "output_rank": _reader(types.int64, 1, _field(OUT, RANK, _I64)),
    "input_size": _reader(types.int64, 1, _field(IN, SIZE, _I64)),
    "output_size": _reader(types.int64, 1, _field(OUT, SIZE, _I64)),
    "input_dtype": _reader(types.int64, 1, _field(IN, DTYPE, _I64)),
    "output_dtype": _reader(types.int64, 1, _field(OUT, DTYPE, _I64)),
    "input_dim": _reader(types.int64, 2, _dim(IN, True)),
    "output_dim": _reader(types.int64, 2, _dim(OUT, False)),
    "attr_n": _reader(types.int64, 1, lambda b, c, i: _load(b, _attr(b, c, i), ATTR_N, _I64)),
    "attr_int": _reader(types.int64, 1, lambda b, c, i: _load(b, _attr(b, c, i), ATTR_I, _I64)),
    "attr_float": _reader(types.float64, 1, lambda b, c, i: _load(b, _attr(b, c, i), ATTR_F, _F64)),
    "attr_ints": _reader(types.int64, 2, _list_entry(ATTR_INTS, _I64)),
    "attr_floats": _reader(types.float64, 2, _list_entry(ATTR_FLOATS, _F64)),
    "packed": _reader(PTR, 1, _packed),
    "has_packed": _reader(
        types.boolean, 1, lambda b, call, i: cgutils.is_not_null(b, _packed(b, call, i))
    ),
    "set_output_dim": set_output_dim,
    "set_error_index": set_error_index,
    "epilogue": epilogue,
    "offset": offset,
    "copy": copy,
    "fill": fill,
}
