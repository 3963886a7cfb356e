"""Numbers of 4 and 8 bits in words, eight along the depth for each column: as integers that meet
the digits of floats in products of bytes, and as floats.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import ir
from micro import prefetch
from numba import types

from _lang import namespace
from _lang.abi import PTR
from _lang.dtypes import DTYPES
from _lang.emit import intrinsic_of
from _lang.lanes import Lanes, llvm_type
from _lang.simd import Vec, load_vector

GROUP = 8  # numbers of a column that lie together
MOST = 0x7F7F00  # three digits of eight bits with a sign hold it, and what rounding may add
DIGITS = 3
AHEAD = 4096  # bytes of words that are asked for before they are needed


@cache
def part(lanes: int, shift: int, mask: int) -> Any:
    """`part(words)`: the bits of `mask` of words moved right by `shift`."""
    vec = Vec("int32", lanes)

    def lower(ctx: Any, b: Any, _: Any, args: Any) -> Any:
        words = Lanes(b, args[0], "uint32", lanes)
        return ((words >> shift if shift else words) & mask).value

    return intrinsic_of(vec(vec), lower)


@cache
def as_floats(lanes: int) -> Any:
    """`as_floats(whole)`: the same numbers."""

    def lower(ctx: Any, b: Any, _: Any, args: Any) -> Any:
        return Lanes(b, args[0], "int32", lanes).to("float").value

    return intrinsic_of(Vec("float", lanes)(Vec("int32", lanes)), lower)


@cache
def bytes_at(lanes: int) -> Any:
    """`bytes_at(pointer, i)`: unsigned bytes from the i-th on."""

    def lower(ctx: Any, b: Any, _: Any, args: Any) -> Any:
        raw = load_vector(b, args[0], args[1], DTYPES["uint8"], lanes)
        return Lanes(b, raw, "uint8", lanes).to("int32").value

    return intrinsic_of(Vec("int32", lanes)(PTR, types.int64), lower)


@cache
def nearest(lanes: int) -> Any:
    """`nearest(x)`: floats rounded to integers, which they fit."""

    def lower(ctx: Any, b: Any, _: Any, args: Any) -> Any:
        whole = Lanes(b, args[0], "float", lanes).call("rint")
        return b.fptosi(whole.value, llvm_type("int32", lanes))

    return intrinsic_of(Vec("int32", lanes)(Vec("float", lanes)), lower)


@cache
def digit(lanes: int, number: int) -> Any:
    """`digit(whole)`: digit `number` to the base 256, from -128 to 127."""
    vec = Vec("int32", lanes)

    def lower(ctx: Any, b: Any, _: Any, args: Any) -> Any:
        x = Lanes(b, args[0], "int32", lanes)
        for _i in range(number):
            x = (x + 128) >> 8
        return ((x << 24) >> 24).value

    return intrinsic_of(vec(vec), lower)


@cache
def put_bytes(lanes: int) -> Any:
    """`put_bytes(pointer, i, whole)`: the low bytes, from the i-th on."""

    def lower(ctx: Any, b: Any, _: Any, args: Any) -> Any:
        kind = ir.VectorType(ir.IntType(8), lanes)
        place = b.bitcast(b.gep(args[0], [args[1]]), kind.as_pointer())
        b.store(b.trunc(args[2], kind), place).align = 1
        return ctx.get_dummy_value()

    return intrinsic_of(types.void(PTR, types.int64, Vec("int32", lanes)), lower)


@cache
def spread(lanes: int) -> Any:
    """`spread(words)`: of eight numbers of four bits the first four go to the low halves of the
    bytes, the others to the high ones.
    """
    vec = Vec("int32", lanes)

    def bytes_of(x: Lanes) -> Lanes:
        x = (x | (x << 8)) & 0x00FF00FF
        return (x | (x << 4)) & 0x0F0F0F0F

    def lower(ctx: Any, b: Any, _: Any, args: Any) -> Any:
        x = Lanes(b, args[0], "uint32", lanes)
        return (bytes_of(x & 0xFFFF) | (bytes_of(x >> 16) << 4)).value

    return intrinsic_of(vec(vec), lower)


@cache
def halves_at(lanes: int) -> Any:
    """`halves_at(pointer, byte)`: numbers of four bits from there on, low ones first."""

    def lower(ctx: Any, b: Any, _: Any, args: Any) -> Any:
        raw = load_vector(b, args[0], args[1], DTYPES["uint8"], lanes // 2)
        x = Lanes(b, raw, "uint8", lanes // 2)
        order = [i // 2 + i % 2 * (lanes // 2) for i in range(lanes)]
        picks = ir.Constant(ir.VectorType(ir.IntType(32), lanes), order)
        both = b.shuffle_vector((x & 15).value, (x >> 4).value, picks)
        return b.zext(both, llvm_type("int32", lanes))

    return intrinsic_of(Vec("int32", lanes)(PTR, types.int64), lower)


@cache
def moved(lanes: int, shift: int) -> Any:
    """`moved(words)`: words moved left by `shift`."""
    vec = Vec("int32", lanes)

    def lower(ctx: Any, b: Any, _: Any, args: Any) -> Any:
        return (Lanes(b, args[0], "int32", lanes) << shift).value

    return intrinsic_of(vec(vec), lower)


def words_of(lanes: int) -> Any:
    """The functions above for vectors of `lanes` words."""
    return namespace(
        *("words_of",),
        as_floats=as_floats(lanes),
        bytes_at=bytes_at(lanes),
        nearest=nearest(lanes),
        put_bytes=put_bytes(lanes),
        **{f"digit{i}": digit(lanes, i) for i in range(DIGITS)},
    )


def widening(k: Any, bits: int) -> Any:
    """`widen(to, words, scales, zeros, blocks, zero, block, start, deep)`: rows `start` to
    start + deep of a panel of weights of `bits` bits as [deep][width] floats. `zeros` of the
    columns in blocks count where `zero` is negative.
    """
    v, lanes = k.vector("float"), k.lanes("float")
    w, vi, width = words_of(lanes), k.vector("int32"), 2 * k.lanes("float")
    scope = {"v": v, "vi": vi, "as_floats": w.as_floats, "bytes_at": w.bytes_at, "offset": k.offset}
    lines = [f"for g in range(start // {GROUP}, (start + deep + {GROUP - 1}) // {GROUP}):"]
    lines += [f"  at = g * {GROUP} // block * {width}"]
    for j in range(2):
        lines += [f"  s{j} = v.load(scales, at + {j * lanes})", f"  z{j} = v.set(zero)"]
    lines += ["  if zero < 0:"]
    for j in range(2):
        lines += [f"    z{j} = as_floats(bytes_at(zeros, at + {j * lanes}))"]
    lines += [f"  row = (g * {GROUP} - start) * {width}"]
    per = bits // 4  # words of a group
    for j in range(2):
        for word in range(per):
            place = (word * 2 + j) * lanes
            lines += [f"  x = vi.load(words, g * {per * width} + {place})"]
            for i in range(GROUP // per):
                # Of four bits: the low halves of the bytes, then the high ones.
                shift = i * 8 if bits == 8 else i % 4 * 8 + i // 4 * 4
                name = f"take{shift}"
                scope[name] = part(lanes, shift, (1 << bits) - 1)
                at = (word * (GROUP // per) + i) * width + j * lanes
                lines += [f"  v.store(to, row + {at}, (as_floats({name}(x)) - z{j}) * s{j})"]
    lines += ["return 0"]
    head = "def widen(to, words, scales, zeros, zero, block, start, deep):"
    exec(compile("\n  ".join([head, *lines]), f"<widen{bits}>", "exec"), scope)
    signature = "int64(pointer, pointer, pointer, pointer, float, int64, int64, int64)"
    return k.outline(signature)(scope["widen"])


def group_lines(bits: int, digits: int, lanes: int) -> list[str]:
    """Lines that add products of a group of a panel and of a row, which come as words."""
    width = 2 * lanes
    lines = []
    lines += [
        f"    ahead(words, g * {width * bits} + {AHEAD + line})"
        for line in range(0, width * bits, 64)
    ]
    for h in range(2):
        lines += [
            f"    a{d}_{h} = vi.set(word(a, {d} * apart + 2 * g + {h}))" for d in range(digits)
        ]
    for j in range(2):
        if bits == 4:
            lines += [f"    x = vi.load(words, g * {width} + {j * lanes})"]
            lines += ["    x0, x1 = low(x), high(x)"]
        else:
            lines += [
                f"    x{h} = vi.load(words, g * {2 * width} + {(2 * h + j) * lanes})"
                for h in range(2)
            ]
        for h in range(2):
            lines += [
                f"    p{d}_{j}_{h} = add(p{d}_{j}_{h}, x{h}, a{d}_{h})" for d in range(digits)
            ]
    return lines


def row_product(k: Any, add: Any, bits: int, digits: int) -> Any:
    """`row(words, scales, zeros, zero, block, a, apart, steps, totals, length, groups, to)`: a row
    of floats, given by digits, times a panel of weights; `width` floats at `to`.

    `a`: the digits, a row of bytes for each, `apart` bytes from one to the next, and `steps` their
    scales and `totals` their sums, less what a common zero point makes of them, for runs of
    `length`. Where `zero` is negative `zeros` has those of the columns.
    """
    v, vi, lanes = k.vector("float"), k.vector("int32"), k.lanes("float")
    w, width = words_of(lanes), 2 * k.lanes("float")
    scope = {
        **{"v": v, "vi": vi, "as_floats": w.as_floats, "bytes_at": w.bytes_at, "add": add},
        **{"offset": k.offset, "word": k.load("int32"), "real": k.load("float"), "min": min},
        **{"low": part(lanes, 0, 0x0F0F0F0F), "high": part(lanes, 4, 0x0F0F0F0F)},
        **{"single": k.cast("float"), "ahead": prefetch()},
    }
    lines = ["y0, y1, g, at = v.zero(), v.zero(), 0, 0", "segment = 0"]
    lines += ["while g < groups:", f"  end = min(g + length // {GROUP}, groups)"]
    lines += [f"  at = g * {GROUP} // block * {width}"]
    for d in range(digits):
        lines += [f"  t{d} = vi.set(word(totals, segment * {digits} + {d}))"]
        lines += [f"  p{d}_{j}_0 = t{d}" for j in range(2)]
        lines += [f"  p{d}_{j}_1 = vi.zero()" for j in range(2)]
    lines += ["  if zero < 0:"]
    for j in range(2):
        lines += [f"    z = bytes_at(zeros, at + {j * lanes})"]
        lines += [f"    p{d}_{j}_0 = t{d} * z" for d in range(digits)]
    lines += ["  while g < end:", *group_lines(bits, digits, lanes)]
    lines += ["    g += 1", "  step = real(steps, segment)"]
    for j in range(2):
        lines += [f"  f = as_floats(p{digits - 1}_{j}_0 + p{digits - 1}_{j}_1)"]
        for d in range(digits - 2, -1, -1):
            lines += [f"  f = v.fma(f, v.set(single(256)), as_floats(p{d}_{j}_0 + p{d}_{j}_1))"]
        lines += [f"  y{j} = v.fma(f, v.load(scales, at + {j * lanes}) * v.set(step), y{j})"]
    lines += ["  segment += 1", "v.store(to, 0, y0)", f"v.store(to, {lanes}, y1)", "return 0"]
    head = (
        "def row(words, scales, zeros, zero, block, a, apart, steps, totals, length, groups, to):"
    )
    exec(compile("\n  ".join([head, *lines]), f"<row{bits}_{digits}>", "exec"), scope)
    signature = (
        "int64(pointer, pointer, pointer, float, int64, pointer, int64, pointer, pointer, int64,"
        "int64, pointer)"
    )
    return k.outline(signature)(scope["row"])


def digits_of(k: Any, digits: int) -> Any:
    """`take(x, count, to, apart, steps, totals, length, segments, depth, zero)`: a row of `count`
    floats, and zeros up to `depth`, as digits for `row_product`; 1 where a number is not finite or
    all of a run are next to nothing, and the digits are of no use. `zero`: -1 where columns have
    zero points.
    """
    v, vi, lanes = k.vector("float"), k.vector("int32"), k.lanes("float")
    w, put, put_word = words_of(lanes), k.store("float"), k.store("int32")
    single, whole, offset = k.cast("float"), k.cast("int32"), k.offset
    most = MOST if digits == DIGITS else 127
    nearest, put_bytes = w.nearest, w.put_bytes
    scope = {
        **{"v": v, "vi": vi, "nearest": nearest, "put_bytes": put_bytes, "put_word": put_word},
        **{"whole": whole, "offset": offset},
        **{f"digit{i}": getattr(w, f"digit{i}") for i in range(digits)},
    }
    lines = [f"s{d} = vi.zero()" for d in range(digits)]
    lines += ["i = 0", "while i < deep:"]
    lines += ["  y = v.load_n(x, start + i, min(count - start, deep) - i)"]
    lines += ["  q = nearest(y * v.set(factor))"]
    for d in range(digits):
        lines += [f"  n = digit{d}(q)", f"  put_bytes(to, {d} * apart + start + i, n)"]
        lines += [f"  s{d} = s{d} + n"]
    lines += ["  i += LANES"]
    lines += [
        f"put_word(totals, {d}, whole(0) - vi.sum(s{d}) * whole(zero))" for d in range(digits)
    ]
    lines += ["return 0"]
    scope |= {"LANES": lanes, "min": min}
    head = "def split(x, start, deep, count, factor, to, apart, totals, zero):"
    exec(compile("\n  ".join([head, *lines]), f"<digits{digits}>", "exec"), scope)
    split = k.outline("int64(pointer, int64, int64, int64, float, pointer, int64, pointer, int64)")(
        scope["split"]
    )

    @k.outline(
        "int64(pointer, int64, pointer, int64, pointer, pointer, int64, int64, int64, int64)"
    )
    def take(x, count, to, apart, steps, totals, length, segments, depth, zero):
        bad = 0
        for s in range(segments):
            start = s * length
            deep = min(length, depth - start)
            i, top, odd = 0, v.zero(), v.zero()
            while i < deep:
                y = v.load_n(x, start + i, min(count - start, deep) - i)
                top, odd = v.max(top, v.abs(y)), odd + (y - y)
                i += lanes
            largest, none = v.hmax(top), v.sum(odd)
            if none != none or (largest > 0 and largest < single(1e-25)):
                bad = 1
                largest = single(0)
            factor = single(most) / largest if largest > 0 else single(0)
            put(steps, s, largest / single(most))
            sums = offset(totals, s * digits * 4)
            split(x, start, deep, count, factor, to, apart, sums, 1 if zero < 0 else zero)
        return bad

    return take
