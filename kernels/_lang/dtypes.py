"""Element types as kernels see them: storage width, compute type, and named sets."""

from __future__ import annotations

from dataclasses import dataclass

from llvmlite import ir
from numba import types

# Raw words: any element type of that width. For kernels that only move elements.
BYTES = "b8 b16 b32 b64 b128"
FLOATS = "float double float16 bfloat16"
INTEGERS = "int8 int16 int32 int64 uint8 uint16 uint32 uint64"
NUMBERS = FLOATS + " " + INTEGERS
# What stands for narrower types where csrc/passes/expand_types.cpp casts them.
WIDE_FLOATS = "float double"
WIDE = WIDE_FLOATS + " int64 uint64"


@dataclass(frozen=True)
class DType:
    """An element type: `bits` in memory, `compute` in registers."""

    name: str
    bits: int
    is_float: bool
    is_signed: bool
    compute: types.Type

    @property
    def storage(self) -> ir.Type:
        """The LLVM type of one element in memory; sub-byte elements share bytes."""
        if self.name == "float":
            return ir.FloatType()
        if self.name == "double":
            return ir.DoubleType()
        return ir.IntType(max(self.bits, 8))


class Word128(types.Type):
    """16 bytes that are moved and never computed with."""

    def __init__(self) -> None:
        super().__init__(name="word128")


WORD128 = Word128()

_FLOAT8 = "float8e4m3fn float8e4m3fnuz float8e5m2 float8e5m2fnuz float8e8m0"


def _table() -> dict[str, DType]:
    made = [
        DType("float", 32, True, True, types.float32),
        DType("double", 64, True, True, types.float64),
        DType("float16", 16, True, True, types.float32),
        DType("bfloat16", 16, True, True, types.float32),
        DType("float6e2m3", 6, True, True, types.float32),
        DType("float6e3m2", 6, True, True, types.float32),
        DType("float4e2m1", 4, True, True, types.float32),
        DType("bool", 8, False, False, types.uint8),
        DType("b128", 128, False, False, WORD128),
    ]
    made += [DType(name, 8, True, True, types.float32) for name in _FLOAT8.split()]
    for bits in (8, 16, 32, 64):
        signed, unsigned = getattr(types, f"int{bits}"), getattr(types, f"uint{bits}")
        made.append(DType(f"int{bits}", bits, False, True, signed))
        made.append(DType(f"uint{bits}", bits, False, False, unsigned))
        made.append(DType(f"b{bits}", bits, False, False, unsigned))
    for bits in (2, 4):
        made.append(DType(f"int{bits}", bits, False, True, types.int8))
        made.append(DType(f"uint{bits}", bits, False, False, types.uint8))
    return {d.name: d for d in made}


DTYPES = _table()
