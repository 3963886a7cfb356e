"""SIMD vectors as a numba type: `vector(name, lanes)` is what kernels call `v`."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

from _lang import functions
from _lang.abi import PTR
from _lang.dtypes import DTYPES, DType
from _lang.lanes import I32, I64, Lanes, declared, intrinsic_suffix, llvm_type, splat
from _lang.scalar import element_pointer, narrow_half, widen_half


class Vec(types.Type):
    """`lanes` lanes of `element` ("float", "int8" …, "bool" for masks)."""

    def __init__(self, element: str, lanes: int) -> None:
        self.element, self.lanes = element, lanes
        super().__init__(name=f"vec({element}x{lanes})")


@register_model(Vec)
class _VecModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, llvm_type(kind.element, kind.lanes))


def _wrap(b: Any, value: Any, kind: Any) -> Lanes:
    return Lanes(b, value, kind.element, kind.lanes)


def _operator(function: Callable[..., Any]) -> None:
    """Make a Python operator work on two vectors of one type."""

    class Template(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            if len(args) == 2 and isinstance(args[0], Vec) and args[0] == args[1]:
                return signature(args[0], *args)
            return None

    infer_global(function)(Template)

    def lower(ctx: Any, b: Any, sig: Any, args: Any) -> Any:
        kind = sig.args[0]
        return function(_wrap(b, args[0], kind), _wrap(b, args[1], kind)).value

    lower_builtin(function, Vec, Vec)(lower)


for _function in (
    *(operator.add, operator.sub, operator.mul, operator.truediv),
    *(operator.and_, operator.or_, operator.xor),
):
    _operator(_function)


def compute_element(dtype: DType) -> str:
    """The element of a dtype in registers, by name."""
    names = {types.float32: "float", types.float64: "double"}
    return names.get(dtype.compute) or str(dtype.compute)


def tail_mask(b: Any, n: Any, lanes: int) -> Any:
    """Lanes below n."""
    index = ir.Constant(ir.VectorType(I64, lanes), [I64(i) for i in range(lanes)])
    return b.icmp_signed("<", index, splat(b, n, "int64", lanes).value)


def load_vector(b: Any, pointer: Any, index: Any, dtype: DType, lanes: int, n: Any = None) -> Any:
    """`lanes` elements from `index` in the compute type; with `n` only the first n, others 0."""
    kind = ir.VectorType(dtype.storage, lanes)
    place = b.bitcast(element_pointer(b, pointer, index, dtype), kind.as_pointer())
    align = dtype.bits // 8
    if n is None:
        word = b.load(place)
        word.align = align
    else:
        mask = ir.VectorType(ir.IntType(1), lanes)
        shape = ir.FunctionType(kind, [place.type, I32, mask, kind])
        stem = {"float": "f32", "double": "f64"}.get(dtype.name) or f"i{dtype.bits}"
        function = declared(b, f"llvm.masked.load.v{lanes}{stem}.p0", shape)
        word = b.call(
            function, [place, I32(align), tail_mask(b, n, lanes), ir.Constant(kind, None)]
        )
    if dtype.name in ("float16", "bfloat16"):
        return widen_half(b, word, dtype.name, lanes)
    return word


def store_vector(
    b: Any, pointer: Any, index: Any, value: Any, dtype: DType, lanes: int, n: Any = None
) -> None:
    """`lanes` elements, or the first n of them, to `index`; half types are rounded once."""
    if dtype.name in ("float16", "bfloat16"):
        value = narrow_half(b, value, dtype.name, lanes)
    kind = ir.VectorType(dtype.storage, lanes)
    place = b.bitcast(element_pointer(b, pointer, index, dtype), kind.as_pointer())
    align = dtype.bits // 8
    if n is None:
        b.store(value, place).align = align
        return
    mask = ir.VectorType(ir.IntType(1), lanes)
    shape = ir.FunctionType(ir.VoidType(), [kind, place.type, I32, mask])
    stem = {"float": "f32", "double": "f64"}.get(dtype.name) or f"i{dtype.bits}"
    function = declared(b, f"llvm.masked.store.v{lanes}{stem}.p0", shape)
    b.call(function, [value, place, I32(align), tail_mask(b, n, lanes)])


def store_bytes(b: Any, pointer: Any, index: Any, value: Any, lanes: int) -> None:
    """Floats without fractions as bytes, of the numbers' low eight bits."""
    words = b.fptosi(value, ir.VectorType(I32, lanes))
    kind = ir.VectorType(ir.IntType(8), lanes)
    place = b.bitcast(element_pointer(b, pointer, index, DTYPES["uint8"]), kind.as_pointer())
    b.store(b.trunc(words, kind), place).align = 1


def _reduction(name: str, x: Lanes) -> Any:
    """Sum, maximum or minimum over the lanes, in a fixed tree order."""
    lanes = x.lanes
    while lanes > 1:
        lanes //= 2
        halves = []
        for start in (0, lanes):
            picks = ir.Constant(ir.VectorType(I32, lanes), [I32(start + i) for i in range(lanes)])
            part = x.b.shuffle_vector(x.value, ir.Constant(x.value.type, ir.Undefined), picks)
            halves.append(Lanes(x.b, part, x.element, lanes))
        if name == "sum":
            x = halves[0] + halves[1]
        else:
            x = getattr(functions, name)(*halves)
    return x.b.extract_element(x.value, I32(0))


def _function(result: Any, arguments: tuple[Any, ...], build: Callable[..., Any]) -> Any:
    """An intrinsic of vectors and scalars; `build(builder, *llvm values)` gives the LLVM value."""
    sig = result(*arguments)

    def lower(ctx: Any, b: Any, _: Any, args: Any) -> Any:
        made = build(b, *args)
        return ctx.get_dummy_value() if made is None else made

    makers = {
        0: lambda t: (sig, lower),
        1: lambda t, x: (sig, lower),
        2: lambda t, x, y: (sig, lower),
        3: lambda t, x, y, z: (sig, lower),
        4: lambda t, x, y, z, w: (sig, lower),
    }
    return intrinsic(makers[len(arguments)])


def _arithmetic(vec: Vec, mask: Vec) -> dict[str, Any]:
    """Operations of values to values."""

    def lifted(function: Callable[..., Lanes], count: int, result: Vec = vec) -> Any:
        def build(b: Any, *values: Any) -> Any:
            return function(*[_wrap(b, v, vec) for v in values]).value

        return _function(result, (vec,) * count, build)

    out = {name: lifted(f, 1) for name, f in functions.UNARY.items()}
    out |= {name: lifted(f, 2) for name, f in functions.BINARY.items()}
    out["fma"] = lifted(functions.fma, 3)
    for name, sign in functions.COMPARE.items():
        out[name] = lifted(lambda x, y, sign=sign: x.compare(sign, y), 2, mask)
    out["select"] = _function(
        vec,
        (mask, vec, vec),
        lambda b, m, x, y: _wrap(b, m, mask).select(_wrap(b, x, vec), _wrap(b, y, vec)).value,
    )
    return out


@cache
def vector(name: str, lanes: int) -> ModuleType:
    """The family for dtype `name`; a module, so that numba sees its members."""
    dtype = DTYPES[name]
    element = compute_element(dtype)
    vec, mask = Vec(element, lanes), Vec("bool", lanes)
    scalar, index = dtype.compute, types.int64
    family = ModuleType(f"v_{name}_{lanes}")
    made: dict[str, Any] = _arithmetic(vec, mask)
    made["load"] = _function(vec, (PTR, index), lambda b, p, i: load_vector(b, p, i, dtype, lanes))
    made["load_n"] = _function(
        vec, (PTR, index, index), lambda b, p, i, n: load_vector(b, p, i, dtype, lanes, n)
    )
    made["store"] = _function(
        types.void, (PTR, index, vec), lambda b, p, i, x: store_vector(b, p, i, x, dtype, lanes)
    )
    made["store_n"] = _function(
        types.void,
        (PTR, index, vec, index),
        lambda b, p, i, x, n: store_vector(b, p, i, x, dtype, lanes, n),
    )
    made["store_bytes"] = _function(
        types.void, (PTR, index, vec), lambda b, p, i, x: store_bytes(b, p, i, x, lanes)
    )
    made["set"] = _function(vec, (scalar,), lambda b, s: splat(b, s, element, lanes).value)
    made["zero"] = _function(vec, (), lambda b: ir.Constant(llvm_type(element, lanes), None))
    for method, reduction in (("sum", "sum"), ("hmax", "maximum"), ("hmin", "minimum")):
        made[method] = _function(
            scalar, (vec,), lambda b, x, r=reduction: _reduction(r, _wrap(b, x, vec))
        )
    family.__dict__.update(made)
    return family


@cache
def mathematics() -> ModuleType:
    """Scalar versions of the functions for float and double, by their argument's type."""
    module = ModuleType("math")
    for name, function in functions.UNARY.items():
        module.__dict__[name] = _scalar(function, 1)
    for name, function in functions.BINARY.items():
        module.__dict__[name] = _scalar(function, 2)
    module.__dict__["fma"] = _scalar(functions.fma, 3)
    return module


def _scalar(function: Callable[..., Lanes], count: int) -> Any:
    def typed(*args: Any) -> Any:
        kind = types.float32 if all(a == types.float32 for a in args) else types.float64
        element = "float" if kind == types.float32 else "double"

        def lower(ctx: Any, b: Any, _: Any, values: Any) -> Any:
            return function(*[Lanes(b, v, element, 1) for v in values]).value

        return kind(*[kind] * count), lower

    makers = {
        1: lambda t, x: typed(x),
        2: lambda t, x, y: typed(x, y),
        3: lambda t, x, y, z: typed(x, y, z),
    }
    return intrinsic(makers[count])


def suffix(name: str, lanes: int) -> str:
    """As in llvm.fma.v16f32, for the compute type of dtype `name`."""
    return intrinsic_suffix(compute_element(DTYPES[name]), lanes)
