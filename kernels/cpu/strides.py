"""Every other element of vectors, for windows that move by two."""

from llvmlite import ir
from numba import types

from _lang import namespace
from _lang.abi import PTR
from _lang.emit import intrinsic_of
from _lang.lanes import I32
from _lang.simd import Vec


def every_other(k):
    """`pick(x, i)`: elements i, i + 2, … of float32, one vector of them; reads two vectors."""
    lanes = k.lanes("float")
    kind = ir.VectorType(ir.FloatType(), lanes)

    def lower(ctx, b, sig, args):
        place = b.gep(b.bitcast(args[0], ir.FloatType().as_pointer()), [args[1]])
        halves = []
        for half in range(2):
            at = b.gep(place, [ir.IntType(64)(half * lanes)])
            value = b.load(b.bitcast(at, kind.as_pointer()))
            value.align = 4
            halves.append(value)
        picks = ir.Constant(ir.VectorType(I32, lanes), [I32(2 * i) for i in range(lanes)])
        return b.shuffle_vector(*halves, picks)

    return intrinsic_of(Vec("float", lanes)(PTR, types.int64), lower)


def woven(k, t):
    """`low(a, b)` and `high(a, b)`: the halves of a[0], b[0], a[1], b[1], …"""
    name, lanes = k.dtype(t).name, k.lanes(t)

    def half(first):
        order = [I32(first + i // 2 + i % 2 * lanes) for i in range(lanes)]
        picks = ir.Constant(ir.VectorType(I32, lanes), order)

        def lower(ctx, b, sig, args):
            return b.shuffle_vector(*args, picks)

        kind = Vec(name, lanes)
        return intrinsic_of(kind(kind, kind), lower)

    return namespace("woven", low=half(0), high=half(lanes // 2))
