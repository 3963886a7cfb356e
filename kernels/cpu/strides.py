"""Vector loads of every other element, for windows that move by two."""

from llvmlite import ir
from numba import types

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
