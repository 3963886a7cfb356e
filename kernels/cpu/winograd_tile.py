"""Winograd's transforms of tiles for 3 × 3 convolutions: inputs, weights, and sums to outputs.

Toom-Cook with the points 0, ±1 and infinity for tiles of 2 × 2 outputs, 0, ±3/4, ±3/2 and infinity
for 4 × 4: the factors are exact in binary, and errors are half of those with ±1 and ±2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from llvmlite import ir
from numba import types

from _lang.abi import PTR
from _lang.emit import intrinsic_of
from _lang.functions import fma
from _lang.lanes import I64, Lanes

_F32 = ir.FloatType()
_FLOATS = _F32.as_pointer()
NEAR, FAR = 0.75, 1.5  # the points of tiles of 4 × 4
Line = Callable[[Sequence[Lanes]], list[Lanes]]


def _times(a: Lanes, factor: float, c: Lanes) -> Lanes:
    """a · factor + c."""
    return fma(a, a.const(factor), c)


def _input_2(d: Sequence[Lanes]) -> list[Lanes]:
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[3] - d[1]]


def _input_4(d: Sequence[Lanes]) -> list[Lanes]:
    """The coefficients of products of linear factors: x² - b² times x ± a, and so on."""
    a, b = NEAR * NEAR, FAR * FAR
    even_near, odd_near = _times(d[2], -b, d[4]), _times(d[1], -b, d[3])
    even_far, odd_far = _times(d[2], -a, d[4]), _times(d[1], -a, d[3])
    return [
        _times(d[0], a * b, _times(d[2], -a - b, d[4])),
        _times(odd_near, NEAR, even_near),
        _times(odd_near, -NEAR, even_near),
        _times(odd_far, FAR, even_far),
        _times(odd_far, -FAR, even_far),
        _times(d[1], a * b, _times(d[3], -a - b, d[5])),
    ]


def _output_2(m: Sequence[Lanes]) -> list[Lanes]:
    return [m[0] + (m[1] + m[2]), (m[1] - m[2]) + m[3]]


def _output_4(m: Sequence[Lanes]) -> list[Lanes]:
    """Powers 0 to 3 of the points."""
    near, near_odd, far, far_odd = m[1] + m[2], m[1] - m[2], m[3] + m[4], m[3] - m[4]
    return [
        m[0] + (near + far),
        _times(far_odd, FAR, near_odd * NEAR),
        _times(far, FAR**2, near * NEAR**2),
        _times(far_odd, FAR**3, _times(near_odd, NEAR**3, m[5])),
    ]


def _weights_2(g: Sequence[Lanes]) -> list[Lanes]:
    even = g[0] + g[2]
    return [g[0], (even + g[1]) * 0.5, (even - g[1]) * 0.5, g[2]]


def _weights_4(g: Sequence[Lanes]) -> list[Lanes]:
    """The weights as a polynomial at the points, divided by the point's distances to the others."""
    out = [g[0] * (1 / (NEAR * FAR) ** 2)]
    for point, other in ((NEAR, FAR), (FAR, NEAR)):
        scale = 1 / (2 * point**2 * (point**2 - other**2))
        even, odd = _times(g[2], point**2, g[0]) * scale, g[1] * (point * scale)
        out += [even + odd, even - odd]
    return [*out, g[2]]


INPUT: dict[int, Line] = {2: _input_2, 4: _input_4}
OUTPUT: dict[int, Line] = {2: _output_2, 4: _output_4}
WEIGHTS: dict[int, Line] = {2: _weights_2, 4: _weights_4}


def _both(line: Line, square: Sequence[Sequence[Lanes]]) -> list[list[Lanes]]:
    """The transform of columns, then of rows: square[row][column]."""
    columns = [line(column) for column in zip(*square, strict=True)]
    return [line(row) for row in zip(*columns, strict=True)]


class _Memory:
    """Vectors of floats in memory."""

    def __init__(self, b: Any, lanes: int) -> None:
        self.b, self.lanes = b, lanes
        self.kind = ir.VectorType(_F32, lanes)

    def load(self, place: Any) -> Lanes:
        value = self.b.load(self.b.bitcast(place, self.kind.as_pointer()))
        value.align = 4
        return Lanes(self.b, value, "float", self.lanes)

    def store(self, value: Lanes, place: Any) -> None:
        self.b.store(value.value, self.b.bitcast(place, self.kind.as_pointer())).align = 4


def _intrinsic(
    listed: str, result: Any, lanes: int, emit: Callable[[_Memory, dict[str, Any]], Any]
) -> Any:
    """An intrinsic of arguments "name name* …": a star marks pointers to floats."""
    names = listed.split()
    kinds = [PTR if n.endswith("*") else types.int64 for n in names]

    def lower(ctx: Any, b: Any, _: Any, args: Any) -> Any:
        given = {}
        for name, value in zip(names, args, strict=True):
            given[name.rstrip("*")] = b.bitcast(value, _FLOATS) if name.endswith("*") else value
        made = emit(_Memory(b, lanes), given)
        return ctx.get_dummy_value() if made is None else made

    return intrinsic_of(result(*kinds), lower)


@cache
def input_tile(m: int, lanes: int) -> Any:
    """Transforms the window of a tile of m × m outputs, of one block of channels.

    `x` is its first pixel, at (`top`, `left`) of a plane of `height` rows of `width` pixels,
    outside of which `zeros` are read. Element e of the result goes to `to`[e · `step`]; of a block
    of fewer than all channels, `have`, the other lanes become zeros.
    """
    n = m + 2

    def emit(memory: _Memory, g: dict[str, Any]) -> None:
        b = memory.b
        inside = b.icmp_signed("==", g["have"], I64(lanes))
        for first, extent in ((g["top"], g["height"]), (g["left"], g["width"])):
            last = b.add(first, I64(n - 1))
            inside = b.and_(inside, b.icmp_unsigned("<", first, extent))
            inside = b.and_(inside, b.icmp_unsigned("<", last, extent))
        row_step = b.mul(g["width"], I64(lanes))
        with b.if_else(inside, likely=True) as branches:
            for branch, edge in zip(branches, (False, True), strict=True):
                with branch:
                    _emit_input(memory, g, m, row_step, edge)

    return _intrinsic("x* top left height width zeros* to* step have", types.void, lanes, emit)


def _emit_input(memory: _Memory, g: dict[str, Any], m: int, row_step: Any, edge: bool) -> None:
    b, n, lanes = memory.b, m + 2, memory.lanes
    square = []
    columns = [b.icmp_unsigned("<", b.add(g["left"], I64(j)), g["width"]) for j in range(n) if edge]
    for i in range(n):
        row = b.gep(g["x"], [b.mul(row_step, I64(i))])
        places = [b.gep(row, [I64(j * lanes)]) for j in range(n)]
        if edge:
            there = b.icmp_unsigned("<", b.add(g["top"], I64(i)), g["height"])
            places = [
                b.select(b.and_(there, column), place, g["zeros"])
                for column, place in zip(columns, places, strict=True)
            ]
        square.append([memory.load(place) for place in places])
    keep = None
    if edge:
        index = ir.Constant(ir.VectorType(ir.IntType(64), lanes), [I64(i) for i in range(lanes)])
        keep = Lanes(b, index, "int64", lanes)
        have = ir.Constant(index.type, ir.Undefined)
        have = b.insert_element(have, g["have"], ir.IntType(32)(0))
        zero = ir.Constant(ir.VectorType(ir.IntType(32), lanes), None)
        keep = keep.compare("<", keep.like(b.shuffle_vector(have, have, zero)))
    at = g["to"]
    for row in _both(INPUT[m], square):
        for value in row:
            memory.store(value if keep is None else keep.select(value, 0), at)
            at = b.gep(at, [g["step"]])


@cache
def weight_tile(m: int, lanes: int) -> Any:
    """Transforms 3 × 3 weights of a vector of outputs, at `w` one after another, in double
    precision; element e goes to `to`[e · `step`].
    """

    def emit(memory: _Memory, g: dict[str, Any]) -> None:
        b = memory.b
        wide = ir.VectorType(ir.DoubleType(), lanes)
        taps = [memory.load(b.gep(g["w"], [I64(t * lanes)])).value for t in range(9)]
        doubles = [Lanes(b, b.fpext(t, wide), "double", lanes) for t in taps]
        at = g["to"]
        for row in _both(WEIGHTS[m], [doubles[i * 3 : i * 3 + 3] for i in range(3)]):
            for value in row:
                memory.store(Lanes(b, b.fptrunc(value.value, memory.kind), "float", lanes), at)
                at = b.gep(at, [g["step"]])

    return _intrinsic("w* to* step", types.void, lanes, emit)


@cache
def output_tile(m: int, lanes: int) -> Any:
    """Transforms the sums of a tile and a vector of outputs, `sums`[e · `step`], and adds `bias`.

    Output (i, j) goes to `y`[i · `row` + j · lanes] where i < `rows` and j < `columns`, others to
    `junk`. Gives 1 when one of all is not finite, or their sum.
    """
    n = m + 2

    def emit(memory: _Memory, g: dict[str, Any]) -> Any:
        b = memory.b
        square, at = [], g["sums"]
        for _ in range(n):
            square.append([])
            for _ in range(n):
                square[-1].append(memory.load(at))
                at = b.gep(at, [g["step"]])
        bias = memory.load(g["bias"])
        values = [[v + bias for v in row] for row in _both(OUTPUT[m], square)]
        whole = b.and_(
            b.icmp_signed(">=", g["rows"], I64(m)), b.icmp_signed(">=", g["columns"], I64(m))
        )
        with b.if_else(whole, likely=True) as branches:
            for branch, edge in zip(branches, (False, True), strict=True):
                with branch:
                    _emit_output(memory, g, values, edge)
        totals = [v for row in values for v in row]
        while len(totals) > 1:
            totals = [x + y for x, y in zip(totals[::2], totals[1::2], strict=True)]
        spoilt = (totals[0] * 0.0).compare("!=", 0.0).value
        bits = b.bitcast(spoilt, ir.IntType(lanes))
        return b.zext(b.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0)), I64)

    return _intrinsic("sums* step bias* y* row rows columns junk*", types.int64, lanes, emit)


def _emit_output(memory: _Memory, g: dict[str, Any], values: Any, edge: bool) -> None:
    b = memory.b
    for i, row in enumerate(values):
        line = b.gep(g["y"], [b.mul(g["row"], I64(i))])
        for j, value in enumerate(row):
            place = b.gep(line, [I64(j * memory.lanes)])
            if edge:
                there = b.icmp_signed("<", I64(i), g["rows"])
                there = b.and_(there, b.icmp_signed("<", I64(j), g["columns"]))
                place = b.select(there, place, g["junk"])
            memory.store(value, place)
