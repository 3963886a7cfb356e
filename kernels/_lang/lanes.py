"""Arithmetic on LLVM values as Python operators, for vectors, tiles and scalar functions.

A `Lanes` is a value under construction: n lanes of float, double, an integer or i1. One lane is
a scalar.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

I1, I32, I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)
ELEMENTS = {
    "float": ir.FloatType(),
    "double": ir.DoubleType(),
    "bool": I1,
    **{f"int{n}": ir.IntType(n) for n in (8, 16, 32, 64)},
    **{f"uint{n}": ir.IntType(n) for n in (8, 16, 32, 64)},
}


def llvm_type(element: str, lanes: int) -> ir.Type:
    """`lanes` of `element`; a scalar for one."""
    kind = ELEMENTS[element]
    return kind if lanes == 1 else ir.VectorType(kind, lanes)


def intrinsic_suffix(element: str, lanes: int) -> str:
    """As in llvm.fma.v16f32."""
    kind = {"float": "f32", "double": "f64"}.get(element) or f"i{ELEMENTS[element].width}"
    return kind if lanes == 1 else f"v{lanes}{kind}"


class Lanes:
    """A value of `lanes` lanes of `element` in the builder `b`."""

    def __init__(self, b: Any, value: Any, element: str, lanes: int) -> None:
        self.b, self.value, self.element, self.lanes = b, value, element, lanes

    @property
    def is_float(self) -> bool:
        return self.element in ("float", "double")

    @property
    def is_signed(self) -> bool:
        return self.is_float or self.element.startswith("int")

    def like(self, value: Any) -> Lanes:
        """Another value of the same type."""
        return Lanes(self.b, value, self.element, self.lanes)

    def const(self, number: float) -> Lanes:
        """`number` in every lane."""
        kind = ELEMENTS[self.element]
        number = float(number) if self.is_float else int(number)
        if self.lanes == 1:
            return self.like(ir.Constant(kind, number))
        vector = ir.VectorType(kind, self.lanes)
        return self.like(ir.Constant(vector, [ir.Constant(kind, number)] * self.lanes))

    def lift(self, other: Any) -> Lanes:
        """`other` as a value of this type; Python numbers become constants."""
        return other if isinstance(other, Lanes) else self.const(other)

    def _binary(self, other: Any, real: str, whole: str) -> Lanes:
        build = getattr(self.b, real if self.is_float else whole)
        return self.like(build(self.value, self.lift(other).value))

    def __add__(self, other: Any) -> Lanes:
        return self._binary(other, "fadd", "add")

    def __sub__(self, other: Any) -> Lanes:
        return self._binary(other, "fsub", "sub")

    def __mul__(self, other: Any) -> Lanes:
        return self._binary(other, "fmul", "mul")

    def __truediv__(self, other: Any) -> Lanes:
        return self._binary(other, "fdiv", "sdiv" if self.is_signed else "udiv")

    def __and__(self, other: Any) -> Lanes:
        return self.like(self.b.and_(self.value, self.lift(other).value))

    def __or__(self, other: Any) -> Lanes:
        return self.like(self.b.or_(self.value, self.lift(other).value))

    def __xor__(self, other: Any) -> Lanes:
        return self.like(self.b.xor(self.value, self.lift(other).value))

    def __lshift__(self, other: Any) -> Lanes:
        return self.like(self.b.shl(self.value, self.lift(other).value))

    def __rshift__(self, other: Any) -> Lanes:
        build = self.b.ashr if self.is_signed else self.b.lshr
        return self.like(build(self.value, self.lift(other).value))

    def __radd__(self, other: Any) -> Lanes:
        return self.lift(other) + self

    def __rsub__(self, other: Any) -> Lanes:
        return self.lift(other) - self

    def __rmul__(self, other: Any) -> Lanes:
        return self.lift(other) * self

    def __rtruediv__(self, other: Any) -> Lanes:
        return self.lift(other) / self

    def __neg__(self) -> Lanes:
        return self.like(self.b.fneg(self.value)) if self.is_float else self.const(0) - self

    def __invert__(self) -> Lanes:
        return self.like(self.b.not_(self.value))

    def compare(self, sign: str, other: Any) -> Lanes:
        """The mask of `self sign other`; false for NaN, except !=, which is true."""
        right = self.lift(other).value
        if self.is_float:
            build = self.b.fcmp_unordered if sign == "!=" else self.b.fcmp_ordered
        else:
            build = self.b.icmp_signed if self.is_signed else self.b.icmp_unsigned
        return Lanes(self.b, build(sign, self.value, right), "bool", self.lanes)

    def select(self, yes: Any, no: Any) -> Lanes:
        """`yes` where this mask is set, else `no`."""
        model = yes if isinstance(yes, Lanes) else no
        yes, no = model.lift(yes), model.lift(no)
        return model.like(self.b.select(self.value, yes.value, no.value))

    def call(self, name: str, *others: Any) -> Lanes:
        """The LLVM intrinsic llvm.NAME of this type."""
        values = [self.value, *[self.lift(o).value for o in others]]
        kind = self.value.type
        shape = ir.FunctionType(kind, [kind] * len(values))
        full = f"llvm.{name}.{intrinsic_suffix(self.element, self.lanes)}"
        return self.like(self.b.call(declared(self.b, full, shape), values))

    def each(self, name: str, *others: Any) -> Lanes:
        """The libm function `name` (its float form gets an f) of every lane."""
        name += "f" if self.element == "float" else ""
        kind = ELEMENTS[self.element]
        operands = [self.value, *[self.lift(o).value for o in others]]
        function = declared(self.b, name, ir.FunctionType(kind, [kind] * len(operands)))
        if self.lanes == 1:
            return self.like(self.b.call(function, operands))
        out = ir.Constant(self.value.type, ir.Undefined)
        for i in range(self.lanes):
            scalars = [self.b.extract_element(o, I32(i)) for o in operands]
            out = self.b.insert_element(out, self.b.call(function, scalars), I32(i))
        return self.like(out)

    def bits(self, element: str) -> Lanes:
        """The same bits as `element` of the same width."""
        kind = llvm_type(element, self.lanes)
        return Lanes(self.b, self.b.bitcast(self.value, kind), element, self.lanes)

    def to(self, element: str) -> Lanes:
        """The same numbers as `element`: fractions are cut off, integers wrap."""
        if element == self.element:
            return self
        target = Lanes(self.b, None, element, self.lanes)
        kind = llvm_type(element, self.lanes)
        return target.like(_converted(self, target, kind))


def _converted(source: Lanes, target: Lanes, kind: ir.Type) -> Any:
    b, value = source.b, source.value
    if source.is_float and target.is_float:
        return b.fpext(value, kind) if target.element == "double" else b.fptrunc(value, kind)
    if source.is_float:
        # Saturating, so that no input is undefined; NaN becomes 0.
        names = [intrinsic_suffix(t.element, t.lanes) for t in (target, source)]
        stem = "fptosi" if target.is_signed else "fptoui"
        shape = ir.FunctionType(kind, [value.type])
        return b.call(declared(b, f"llvm.{stem}.sat.{names[0]}.{names[1]}", shape), [value])
    if target.is_float:
        return b.sitofp(value, kind) if source.is_signed else b.uitofp(value, kind)
    have, want = ELEMENTS[source.element].width, ELEMENTS[target.element].width
    if have == want:
        return value
    if have > want:
        return b.trunc(value, kind)
    return b.sext(value, kind) if source.is_signed else b.zext(value, kind)


def declared(b: Any, name: str, shape: ir.FunctionType) -> Any:
    """The function `name` of the builder's module, declared when it is new."""
    found = b.module.globals.get(name)
    return found if found is not None else ir.Function(b.module, shape, name)


def splat(b: Any, scalar: Any, element: str, lanes: int) -> Lanes:
    """`scalar` in every lane."""
    if lanes == 1:
        return Lanes(b, scalar, element, 1)
    kind = llvm_type(element, lanes)
    one = b.insert_element(ir.Constant(kind, ir.Undefined), scalar, I32(0))
    zeros = ir.Constant(ir.VectorType(I32, lanes), None)
    return Lanes(b, b.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros), element, lanes)
