"""The register-blocked inner loop of convolutions in the blocked layout: pixels × vectors of output
channels, kept in registers over all taps and input channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from _lang.abi import PTR
from _lang.emit import intrinsic_of
from _lang.lanes import I32, I64, Lanes, declared, splat

_F32 = ir.FloatType()
_FLOATS = _F32.as_pointer()
UNROLL = 8  # channels of one block that are written out one after another
UNROLL_EDGE = 4  # the same where taps lie outside, which is rarer
ARGUMENTS = (
    *(
        "variant",
        "pixels",
        "strips",
        "blocks",
        "taps_y",
        "taps_x",
        "x",
        "pixel",
        "block_step",
        "row_step",
    ),
    *("column_step", "w", "w_block", "w_vector", "y", "y_block", "start", "first", "zeros"),
    *("column", "stride", "spread", "extent", "ahead", "rest"),
)
_POINTERS = ("x", "w", "y", "start", "zeros")
SIGNATURE = f"int64({', '.join('pointer' if n in _POINTERS else 'int64' for n in ARGUMENTS)})"
LINE = 64  # bytes of a cache line
WIDEST = 32  # more pixels than any tile has


@dataclass(frozen=True)
class Variant:
    """`most` pixels × `vectors` blocks of output channels, from blocks of `channels` channels.

    `channels` 0 stands for depthwise: lane i of a pixel meets lane i of the weights. `taps` columns
    and a `stride` that are known beforehand, without dilation, let one load of an input serve all
    pixels that it lies under. With `channels` 1, whose columns are one element apart, a known
    stride needs no addresses for pixels. 0: any. `asks`: for the weights `ahead`.
    `flat`: one tap, pixels one after another, and the last block of inputs may have `UNROLL`
    channels only.
    """

    most: int
    vectors: int
    channels: int
    taps: int = 0
    stride: int = 0
    asks: bool = False
    flat: bool = False


@cache
def tiles(variants: tuple[Variant, ...], lanes: int) -> Any:
    """Y[pixels, vectors · lanes] of `pixels` neighbouring output pixels, by one of the variants,
    and of as many more strips of pixels to the right of them.

    For every block of input channels and every tap, `w` holds `channels` vectors of weights, one
    after another; blocks are `w_block` apart, so that taps of the first rows may be left out, and
    the weights of the next vector of outputs are `w_vector` further on. `x` is what pixel 0 reads
    under the first tap: pixels are `pixel` elements apart, blocks `block_step`, rows of taps
    `row_step`, columns of taps `column_step`, channels 1.

    Vector v of a pixel is at y[v · y_block + pixel · lanes]. The sums start with `start` when
    `first` is 1, else with what `y` holds. Pixel p under tap column t is at
    `column` + p · `stride` + t · `spread` of `extent` columns; outside, `zeros` are read. The cache
    is asked for the weights `ahead` elements behind those in use, which the next call reads. Of
    the last block of input channels only `UNROLL` are there if `rest` is 1.
    """
    kinds = [PTR if n in _POINTERS else types.int64 for n in ARGUMENTS]

    def lower(ctx: Any, b: Any, _: Any, args: Any) -> Any:
        given = dict(zip(ARGUMENTS, args, strict=True))
        for name in _POINTERS:
            given[name] = b.bitcast(given[name], _FLOATS)
        done = b.append_basic_block("done")
        key = b.add(b.mul(given["variant"], I64(WIDEST)), given["pixels"])
        choice = b.switch(key, done)
        for number, variant in enumerate(variants):
            for pixels in range(1, variant.most + 1):
                block = b.append_basic_block("tile")
                choice.add_case(I64(number * WIDEST + pixels), block)
                b.position_at_end(block)
                _Tile(b, given, pixels, variant, lanes).emit()
                b.branch(done)
        b.position_at_end(done)
        return ctx.get_dummy_value()

    return intrinsic_of(types.void(*kinds), lower)


def outlined(k: Any, variants: tuple[Variant, ...]) -> Any:
    """The tiles as one function of the kernel's object."""
    listed = ", ".join(ARGUMENTS)
    scope = {"made": tiles(variants, k.lanes("float"))}
    exec(f"def tile({listed}):\n    made({listed})\n    return 0", scope)
    return k.outline(SIGNATURE)(scope["tile"])


class _Tile:
    """The code for one number of pixels."""

    def __init__(
        self, b: Any, given: dict[str, Any], pixels: int, variant: Variant, lanes: int
    ) -> None:
        self.b, self.given, self.pixels, self.lanes = b, given, pixels, lanes
        self.vectors, self.channels = variant.vectors, variant.channels
        self.taps, self.stride, self.asks = variant.taps, variant.stride, variant.asks
        self.flat = variant.flat
        self.vector = ir.VectorType(_F32, lanes)

    def emit(self) -> None:
        b, all_strips = self.b, self.given
        sums = [
            cgutils.alloca_once(b, self.vector, name="sum")
            for _ in range(self.pixels * self.vectors)
        ]
        with cgutils.for_range(b, all_strips["strips"]) as strips:
            first = b.mul(strips.index, I64(self.pixels))
            moved = {
                "x": b.gep(all_strips["x"], [b.mul(first, all_strips["pixel"])]),
                "y": b.gep(all_strips["y"], [b.mul(first, I64(self.lanes))]),
                "column": b.add(all_strips["column"], b.mul(first, all_strips["stride"])),
                "ahead": b.select(b.icmp_signed("==", first, I64(0)), all_strips["ahead"], I64(0)),
            }
            self.given = all_strips | moved
            self._strip(sums)

    def _strip(self, sums: list[Any]) -> None:
        b, g = self.b, self.given
        fresh = b.icmp_signed("!=", g["first"], I64(0))
        with b.if_else(fresh) as (then, other):
            with then:
                for i, slot in enumerate(sums):
                    at = i % self.vectors * self.lanes
                    b.store(self._load(b.gep(g["start"], [I64(at)])), slot)
            with other:
                for i, slot in enumerate(sums):
                    b.store(self._load(self._result(i)), slot)
        if self.flat:
            self._flat(sums)
        else:
            self._windows(sums)
        for i, slot in enumerate(sums):
            self._store(b.load(slot), self._result(i))

    def _flat(self, sums: list[Any]) -> None:
        """Whole blocks, then what is left of the last one: addresses are known distances apart."""
        b, g = self.b, self.given
        with cgutils.for_range(b, b.sub(g["blocks"], g["rest"])) as blocks:
            self._block(blocks.index, self.channels, sums)
        if self.channels > UNROLL:
            with b.if_then(b.icmp_signed("!=", g["rest"], I64(0)), likely=False):
                self._block(b.sub(g["blocks"], I64(1)), UNROLL, sums)

    def _block(self, index: Any, channels: int, sums: list[Any]) -> None:
        b, g = self.b, self.given
        x = b.gep(g["x"], [b.mul(index, g["block_step"])])
        w = b.gep(g["w"], [b.mul(index, g["w_block"])])
        places = [b.gep(x, [I64(p * self.lanes)]) for p in range(self.pixels)]
        self._channels(places, w, channels, sums, self.asks)

    def _windows(self, sums: list[Any]) -> None:
        b, g = self.b, self.given
        with cgutils.for_range(b, g["blocks"]) as blocks:
            x = b.gep(g["x"], [b.mul(blocks.index, g["block_step"])])
            w = cgutils.alloca_once(b, _FLOATS, name="w")
            b.store(b.gep(g["w"], [b.mul(blocks.index, g["w_block"])]), w)
            with cgutils.for_range(b, g["taps_y"]) as rows:
                row = b.gep(x, [b.mul(rows.index, g["row_step"])])
                if self.taps:
                    self._window(row, w, sums)
                elif self.channels == 1 and self.stride:
                    self._line(row, w, sums)
                else:
                    with cgutils.for_range(b, g["taps_x"]) as columns:
                        self._tap(row, columns.index, w, sums)

    def _result(self, i: int) -> Any:
        at = self.b.mul(self.given["y_block"], I64(i % self.vectors))
        return self.b.gep(self.given["y"], [self.b.add(at, I64(i // self.vectors * self.lanes))])

    def _load(self, place: Any) -> Any:
        value = self.b.load(self.b.bitcast(place, self.vector.as_pointer()))
        value.align = 4
        return value

    def _store(self, value: Any, place: Any) -> None:
        self.b.store(value, self.b.bitcast(place, self.vector.as_pointer())).align = 4

    def _places(self, row: Any, tap: Any, column: Any = None) -> list[Any]:
        """What each pixel reads under a tap; with `column`, that of pixel 0, zeros outside the row.
        Steps of one and two pixels are addressing modes, so that every third pixel has a pointer of
        its own."""
        b, g = self.b, self.given
        at = b.gep(row, [b.mul(tap, g["column_step"])])
        out = []
        base = at
        for p in range(self.pixels):
            if p > 0 and p % 3 == 0:
                base = b.gep(at, [b.mul(g["pixel"], I64(p))])
            place = b.gep(base, [b.mul(g["pixel"], I64(p % 3))]) if p % 3 else base
            if column is not None:
                own = b.add(column, b.mul(g["stride"], I64(p)))
                inside = b.icmp_unsigned("<", own, g["extent"])
                place = b.select(inside, place, g["zeros"])
            out.append(place)
        return out

    def _tap(self, row: Any, tap: Any, w: Any, sums: list[Any]) -> None:
        b, g = self.b, self.given
        weights = b.load(w)
        column = b.add(g["column"], b.mul(tap, g["spread"]))
        last = b.add(column, b.mul(g["stride"], I64(self.pixels - 1)))
        inside = b.and_(
            b.icmp_unsigned("<", column, g["extent"]), b.icmp_unsigned("<", last, g["extent"])
        )
        with b.if_else(inside, likely=True) as (then, other):
            with then:
                if self.asks:
                    asks = b.icmp_signed("!=", g["ahead"], I64(0))
                    with b.if_else(asks, likely=False) as (early, late):
                        with early:
                            self._pixels(self._places(row, tap), weights, sums, UNROLL, asks=True)
                        with late:
                            self._pixels(self._places(row, tap), weights, sums, UNROLL)
                else:
                    self._pixels(self._places(row, tap), weights, sums, UNROLL)
            with other:
                self._pixels(self._places(row, tap, column), weights, sums, UNROLL_EDGE)
        b.store(b.gep(weights, [I64(max(self.channels, 1) * self.lanes)]), w)

    def _window(self, row: Any, w: Any, sums: list[Any]) -> None:
        """A row of taps known beforehand, depthwise."""
        b, g = self.b, self.given
        weights = b.load(w)
        factors = [self._load(b.gep(weights, [I64(t * self.lanes)])) for t in range(self.taps)]
        reach = (self.pixels - 1) * self.stride + self.taps
        last = b.add(g["column"], I64(reach - 1))
        inside = b.and_(
            b.icmp_unsigned("<", g["column"], g["extent"]), b.icmp_unsigned("<", last, g["extent"])
        )
        with b.if_else(inside, likely=True) as branches:
            for branch, cut in zip(branches, (False, True), strict=True):
                with branch:
                    self._slide(row, factors, reach, cut, sums)
        b.store(b.gep(weights, [I64(self.taps * self.lanes)]), w)

    def _line(self, row: Any, w: Any, sums: list[Any]) -> None:
        """A row of taps over one channel."""
        b, g = self.b, self.given
        reach = b.add(g["taps_x"], I64((self.pixels - 1) * self.stride - 1))
        last = b.add(g["column"], reach)
        inside = b.and_(
            b.icmp_unsigned("<", g["column"], g["extent"]), b.icmp_unsigned("<", last, g["extent"])
        )
        with b.if_else(inside, likely=True) as (then, other):
            # A loop: written out, a value under several taps would be held for all of them.
            with then, cgutils.for_range(b, g["taps_x"]) as columns:
                start, weights = b.gep(row, [columns.index]), b.load(w)
                places = [b.gep(start, [I64(p * self.stride)]) for p in range(self.pixels)]
                self._channels(places, weights, 1, sums, False)
                b.store(b.gep(weights, [I64(self.lanes)]), w)
            with other, cgutils.for_range(b, g["taps_x"]) as columns:
                self._tap(row, columns.index, w, sums)

    def _slide(self, row: Any, factors: list[Any], reach: int, cut: bool, sums: list[Any]) -> None:
        b, g = self.b, self.given
        for i in range(reach):
            place = b.gep(row, [I64(i * self.lanes)])
            if cut:
                column = b.add(g["column"], I64(i))
                place = b.select(b.icmp_unsigned("<", column, g["extent"]), place, g["zeros"])
            value = self._load(place)
            for pixel, slot in enumerate(sums):
                tap = i - pixel * self.stride
                if 0 <= tap < self.taps:
                    self._add(value, factors[tap], slot)

    def _pixels(
        self, places: list[Any], weights: Any, sums: list[Any], unroll: int, asks: bool = False
    ) -> None:
        b = self.b
        if self.channels == 0:
            factor = self._load(weights)
            for place, slot in zip(places, sums, strict=True):
                self._add(factor, self._load(place), slot)
            return
        step = min(unroll, self.channels)
        if step == self.channels:
            self._channels(places, weights, step, sums, asks)
            return
        with cgutils.for_range(b, I64(self.channels // step)) as parts:
            first = b.mul(parts.index, I64(step))
            moved = [b.gep(place, [first]) for place in places]
            part = b.gep(weights, [b.mul(first, I64(self.lanes))])
            self._channels(moved, part, step, sums, asks)

    def _channels(
        self, places: list[Any], weights: Any, count: int, sums: list[Any], asks: bool
    ) -> None:
        b, step = self.b, self.given["w_vector"]
        streams = [b.gep(weights, [b.mul(step, I64(v))]) for v in range(self.vectors)]
        coming = [b.gep(stream, [self.given["ahead"]]) for stream in streams]
        for c in range(count):
            if asks and c * self.lanes * 4 % LINE == 0:
                for stream in coming:
                    self._prefetch(b.gep(stream, [I64(c * self.lanes)]))
            factors = [self._load(b.gep(stream, [I64(c * self.lanes)])) for stream in streams]
            for p, place in enumerate(places):
                value = b.load(b.gep(place, [I64(c)]))
                value.align = 4
                spread = splat(b, value, "float", self.lanes).value
                for v, factor in enumerate(factors):
                    self._add(spread, factor, sums[p * self.vectors + v])

    def _prefetch(self, place: Any) -> None:
        """Into the L2 cache."""
        place = self.b.bitcast(place, ir.IntType(8).as_pointer())
        shape = ir.FunctionType(ir.VoidType(), [place.type, I32, I32, I32])
        asks = declared(self.b, "llvm.prefetch.p0", shape)
        self.b.call(asks, [place, I32(0), I32(2), I32(1)])

    def _add(self, left: Any, right: Any, slot: Any) -> None:
        b = self.b
        x = Lanes(b, left, "float", self.lanes)
        total = x.call("fma", x.like(right), x.like(b.load(slot)))
        b.store(total.value, slot)
