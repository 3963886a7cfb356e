"""What kernel files call: `kernel` and `tile` declare rows, `inline` marks building blocks."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from numba import types

from _lang import builtin_functions as builtin_functions
from _lang import emit, simd
from _lang.abi import ACCESS, PTR
from _lang.dtypes import DTYPES, DType
from _lang.isas import DEFAULT, VECTOR_BITS
from _lang.scalar import loader, storer

# What kernels return; as in kernel.h.
CODES = {
    "OK": 0,
    "INDEX_OUT_OF_RANGE": 1,
    "DIVISION_BY_ZERO": 2,
    "SHAPE_MISMATCH": 3,
    "INVALID_VALUE": 4,
    "NOT_SUPPORTED": 5,
    "TOO_LARGE": 6,
    "CANCELLED": 7,
}
# The functions of a kernel and their C signatures.
SIGNATURES = {
    "run": types.int32(PTR, types.int64, types.int64, types.int64, PTR),
    "units": types.int64(PTR, types.int64),
    "workspace": types.int64(PTR),
    "scratch": types.int64(PTR),
    "work": types.int64(PTR),
    "supports": types.int32(PTR),
    "pack_size": types.int64(PTR, types.int64),
    "pack": types.int32(PTR, types.int64, PTR),
}


def inline(function: Callable[..., Any]) -> Any:
    """A building block that kernels call: it is inlined wherever it is used."""
    return emit.building_block(function)


def namespace(name: str, **members: Any) -> ModuleType:
    """A group of building blocks that kernels use as `group.member`; numba sees through
    modules only.
    """
    module = ModuleType(name)
    module.__dict__.update(members)
    return module


@dataclass
class Parts:
    """The functions of one instantiation."""

    functions: dict[str, Callable[..., Any]]
    phases: int


def parts(*, run: Callable[..., Any], phases: int = 1, **functions: Any) -> Parts:
    """`run` and, where the kernel has them, units, workspace, scratch, work, supports,
    pack_size and pack.
    """
    given = {"run": run, **{name: f for name, f in functions.items() if f is not None}}
    unknown = set(given) - set(SIGNATURES)
    if unknown:
        raise TypeError(f"no such kernel functions: {', '.join(sorted(unknown))}")
    return Parts(given, phases)


class Kernel(ModuleType):
    """One instantiation, as builders and the functions they make see it: `k`. A module for
    numba's sake.
    """

    def __init__(self, bound: dict[str, str], isa: str) -> None:
        super().__init__("k")
        self.__dict__.update(ACCESS)
        self.__dict__.update(CODES)
        self.__dict__.update(_bound=bound, _isa=isa, _uses_isa=False)
        self.__dict__["math"] = simd.mathematics()

    @property
    def isa(self) -> str:
        self.__dict__["_uses_isa"] = True
        return str(self._isa)

    def _name(self, parameter: str) -> str:
        return str(self._bound.get(parameter, parameter))

    def dtype(self, parameter: str) -> DType:
        """The dtype of a type parameter, or of that name."""
        return DTYPES[self._name(parameter)]

    def load(self, parameter: str) -> Any:
        return loader(self._name(parameter))

    def store(self, parameter: str) -> Any:
        return storer(self._name(parameter))

    def cast(self, parameter: str) -> Any:
        """Conversion to the compute type."""
        return self.dtype(parameter).compute

    def lanes(self, parameter: str) -> int:
        """Lanes of the compute type in one register."""
        compute = self.dtype(parameter).compute
        bits = compute.bitwidth if isinstance(compute, types.Number) else 128
        return VECTOR_BITS[self.isa] // bits

    def outline(self, signature: str) -> Callable[[Callable[..., Any]], Any]:
        """A building block that is compiled once and called: for what @inline would copy too often.

        `signature`: as in "double(call, int64, int64)"; int64, int32, float, double, and call or
        pointer for a byte pointer.
        """
        names = {"int64": types.int64, "int32": types.int32, "call": PTR, "pointer": PTR}
        names |= {"float": types.float32, "double": types.float64}
        result, _, rest = signature.rstrip(")").partition("(")
        arguments = [names[a.strip()] for a in rest.split(",")]
        sig = names[result](*arguments)

        def declare(function: Callable[..., Any]) -> Any:
            return emit.outlined_block(function, sig)

        return declare

    def vector(self, parameter: str, lanes: int | None = None) -> ModuleType:
        """The vector family of a dtype; `lanes` other than the machine's are split or widened
        by LLVM.
        """
        return simd.vector(self._name(parameter), lanes or self.lanes(parameter))


@dataclass
class KernelRow:
    """One declaration of `kernel`."""

    op: str
    types: dict[str, str]
    attributes: Sequence[str]
    domain: str
    variant: str
    isas: Sequence[str] | None
    where: Callable[[Any], bool] | None
    epilogue: bool
    inplace: bool
    reasons: Sequence[str]
    order: int
    build: Callable[[Any], Parts]
    file: str = ""

    def instantiations(self, isa: str) -> list[dict[str, str]]:
        """Every combination of the type parameters that `where` lets through."""
        names = list(self.types)
        combinations = itertools.product(*[self.types[n].split() for n in names])
        bound = [dict(zip(names, c, strict=True)) for c in combinations]
        return [b for b in bound if self.where is None or self.where(Kernel(b, isa))]

    def isas_here(self, family: Sequence[str]) -> list[str]:
        """The instruction sets to compile for, best first."""
        wanted = self.isas if self.isas is not None else DEFAULT
        return [isa for isa in family if isa in wanted]


@dataclass
class TileRow:
    """One declaration of `tile` for one list of operand dtypes."""

    op: str
    operands: list[str]
    result: str
    attributes: Sequence[str]
    domain: str
    build: Callable[..., Any]
    file: str = ""


@dataclass
class Table:
    """Everything that was declared."""

    kernels: list[KernelRow] = field(default_factory=list)
    tiles: list[TileRow] = field(default_factory=list)


TABLE = Table()


def kernel(
    op: str,
    *,
    types: dict[str, str],
    attributes: Sequence[str] = (),
    domain: str = "",
    variant: str = "generic",
    isa: str | None = None,
    where: Callable[[Any], bool] | None = None,
    epilogue: bool = False,
    inplace: bool = False,
    reasons: Sequence[str] = (),
    order: int = 0,
) -> Callable[[Callable[[Any], Parts]], Callable[[Any], Parts]]:
    """Declare the kernel of an operator; see kernels/README.md."""

    def declare(build: Callable[[Any], Parts]) -> Callable[[Any], Parts]:
        isas = isa.split() if isa else None
        TABLE.kernels.append(
            KernelRow(
                *(op, types, attributes, domain, variant, isas, where),
                *(epilogue, inplace, reasons, order, build),
                file=inspect.getfile(build),
            )
        )
        return build

    return declare


def tile(
    op: str,
    types: str,
    build: Callable[..., Any],
    *,
    attributes: Sequence[str] = (),
    domain: str = "",
    result: str | None = None,
) -> None:
    """Declare an elementwise operation over SIMD values.

    `build(v, operand ..., attribute ...)` gives the result. Each entry of `types` is one dtype
    for all operands and the result (or `result`), or "float,int32->bool".
    """
    count = len(inspect.signature(build).parameters) - 1 - len(attributes)
    for entry in types.split():
        left, _, right = entry.partition("->")
        operands = left.split(",") if "," in left or right else [left] * count
        made = right or result or operands[0]
        TABLE.tiles.append(
            TileRow(op, operands, made, attributes, domain, build, inspect.getfile(build))
        )
