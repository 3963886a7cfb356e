"""AMX: eight registers of 16 rows of 64 bytes, and products of such tiles."""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import ir
from numba import types

from _lang.abi import PTR
from _lang.emit import intrinsic_of
from _lang.lanes import I64, declared

ROWS, ROW_BYTES, TILES = 16, 64, 8
_I8 = ir.IntType(8)
_BYTES = _I8.as_pointer()
_VOID = ir.VoidType()


def _call(b: Any, name: str, kinds: list[Any], args: list[Any]) -> None:
    function = declared(b, f"llvm.x86.{name}", ir.FunctionType(_VOID, kinds))
    b.call(function, args)


def _tile(number: int) -> Any:
    return ir.Constant(_I8, number)


@cache
def zero(tile: int) -> Any:
    """`zero(t)()` clears a tile."""

    def lower(ctx: Any, b: Any, _: Any, args: Any) -> Any:
        _call(b, "tilezero", [_I8], [_tile(tile)])
        return ctx.get_dummy_value()

    return intrinsic_of(types.void(), lower)


@cache
def _moved(name: str, tile: int) -> Any:
    def lower(ctx: Any, b: Any, _: Any, args: Any) -> Any:
        kinds = [_I8, _BYTES, I64]
        _call(b, name, kinds, [_tile(tile), b.bitcast(args[0], _BYTES), args[1]])
        return ctx.get_dummy_value()

    return intrinsic_of(types.void(PTR, types.int64), lower)


def load(tile: int) -> Any:
    """`load(t)(pointer, stride)`: 16 rows of 64 bytes, `stride` bytes apart."""
    return _moved("tileloadd64", tile)


def store(tile: int) -> Any:
    """`store(t)(pointer, stride)`."""
    return _moved("tilestored64", tile)


@cache
def _dot(name: str, tiles: tuple[int, int, int]) -> Any:
    def lower(ctx: Any, b: Any, _: Any, args: Any) -> Any:
        _call(b, name, [_I8] * 3, [_tile(t) for t in tiles])
        return ctx.get_dummy_value()

    return intrinsic_of(types.void(), lower)


def dot_bytes(total: int, left: int, right: int) -> Any:
    """int32 tile `total` += unsigned bytes of tile `left` by signed ones of `right`, four at a
    time: `right` has a word of four rows for each of its 16 columns.
    """
    return _dot("tdpbusd", (total, left, right))


def dot_bfloat16(total: int, left: int, right: int) -> Any:
    """float tile `total` += bfloat16 of tile `left` by those of `right`, two at a time; denormal
    numbers count as zeros.
    """
    return _dot("tdpbf16ps", (total, left, right))


@cache
def begin() -> Any:
    """`begin()(memory)`: all tiles get their full size; 64 bytes of `memory` are used."""

    def lower(ctx: Any, b: Any, _: Any, args: Any) -> Any:
        config = bytearray(64)
        config[0] = 1
        for tile in range(TILES):
            config[16 + 2 * tile] = ROW_BYTES
            config[48 + tile] = ROWS
        kind = ir.ArrayType(_I8, 64)
        place = b.bitcast(args[0], kind.as_pointer())
        b.store(ir.Constant(kind, config), place).align = 1
        _call(b, "ldtilecfg", [_BYTES], [b.bitcast(place, _BYTES)])
        return ctx.get_dummy_value()

    return intrinsic_of(types.void(PTR), lower)


@cache
def end() -> Any:
    """`end()()`: the thread's tiles need not be kept."""

    def lower(ctx: Any, b: Any, _: Any, args: Any) -> Any:
        _call(b, "tilerelease", [], [])
        return ctx.get_dummy_value()

    return intrinsic_of(types.void(), lower)
