"""The steps of a Winograd convolution in the blocked layout: weights, inputs and products."""

from conv_tile import Variant, outlined
from numba import float32
from winograd_cut import TAPS, VECTORS
from winograd_tile import input_tile, weight_tile

from _lang import namespace


def heights(k):
    """The largest number of tiles of a product with one and with two vectors of outputs."""
    return (12, 6) if k.isa == "v3" else (12, 12)


def steps(k, w, cut):
    """Functions of a call and a size of tiles: `pack_weights`, `transform` and `multiply`; `gather`
    and `tile` for those that compute directly.
    """
    lanes = k.lanes("T")
    get, put = k.load("T"), k.store("T")
    one, two = heights(k)
    products = (Variant(one, 1, lanes, asks=True), Variant(two, 2, lanes, asks=True))
    tile = outlined(k, (*products, Variant(4, 1, 1)))
    in_2, in_4 = input_tile(2, lanes), input_tile(4, lanes)
    weights_2, weights_4 = weight_tile(2, lanes), weight_tile(4, lanes)

    @k.outline("int64(call, int64)")
    def pad(call, i):
        return w.before(call, i)

    @k.outline("int64(call, int64, int64, pointer)")
    def gather(call, block, channel, to):
        """The weights of one input channel and of a block of outputs as [taps][outputs]."""
        weight, inputs = k.input(call, 1), k.input_dim(call, 1, 1)
        have = min(k.input_dim(call, 1, 0) - block * lanes, lanes)
        for j in range(lanes):
            at = ((block * lanes + j) * inputs + channel) * TAPS
            for t in range(TAPS):
                put(to, t * lanes + j, get(weight, at + t) if j < have else float32(0))
        return 0

    @k.outline("int64(call, int64, pointer)")
    def pack_weights(call, size, to):
        elements, depth, inputs = cut.elements(call, size), cut.depth(call), k.input_dim(call, 1, 1)
        blocks, held = k.output_dim(call, 0, 1), k.offset(to, cut.packed_bytes(call, size))
        for block in range(blocks):
            vectors = min(blocks - block // VECTORS * VECTORS, VECTORS)
            first = block // VECTORS * VECTORS * elements + block % VECTORS
            place = k.offset(to, first * depth * lanes * 4)
            step = vectors * depth * lanes
            for c in range(depth):
                row = k.offset(place, c * lanes * 4)
                if c < inputs:
                    gather(call, block, c, held)
                    if size == 4:
                        weights_4(held, row, step)
                    else:
                        weights_2(held, row, step)
                else:
                    for e in range(elements):
                        k.fill(row, e * step * 4, lanes * 4)
        return 0

    @k.outline(
        "int64(call, int64, int64, int64, int64, int64, int64, int64, pointer, int64, pointer,"
        "pointer)"
    )
    def transform(call, size, block, row, end, column, stop, place, to, step, zeros, x):
        """Tiles [column, stop) of rows of tiles [row, end) of one block of inputs, the first as
        tile number `place` of `to`."""
        lines = cut.down(call, size)
        height, width = k.input_dim(call, 0, 2), k.input_dim(call, 0, 3)
        have = min(k.input_dim(call, 1, 1) - block * lanes, lanes)
        at = k.offset(to, place * lanes * 4)
        for r in range(row, end):
            plane = (r // lines * k.input_dim(call, 0, 1) + block) * height
            top = r % lines * size - pad(call, 0)
            for c in range(column, stop):
                left = c * size - pad(call, 1)
                source = k.offset(x, ((plane + top) * width + left) * lanes * 4)
                if size == 4:
                    in_4(source, top, left, height, width, zeros, at, step, have)
                else:
                    in_2(source, top, left, height, width, zeros, at, step, have)
                at = k.offset(at, lanes * 4)
        return 0

    @k.outline(
        "int64(call, int64, int64, int64, pointer, int64, int64, pointer, pointer, int64, pointer)"
    )
    def multiply(call, size, tiles, vectors, x, step, block_step, weights, sums, sums_step, zeros):
        """The products of all elements of `tiles` tiles and a panel of outputs."""
        most = one if vectors == 1 else two
        depth = cut.depth(call)
        n = (tiles + most - 1) // most
        for e in range(cut.elements(call, size)):
            for half in range(2):
                # Strips of one tile less than the others come first.
                many = tiles // n + half
                strips = tiles % n if half == 1 else n - tiles % n
                at = half * (tiles // n) * (n - tiles % n) * lanes
                tile(
                    vectors - 1,
                    many,
                    strips,
                    k.input_dim(call, 0, 1),
                    1,
                    1,
                    k.offset(x, (e * step + at) * 4),
                    lanes,
                    block_step,
                    0,
                    0,
                    k.offset(weights, e * vectors * depth * lanes * 4),
                    lanes * lanes,
                    depth * lanes,
                    k.offset(sums, (e * sums_step + at) * 4),
                    tiles * lanes,
                    zeros,
                    1,
                    zeros,
                    0,
                    0,
                    0,
                    1,
                    vectors * depth * lanes,
                    0,
                )
        return 0

    return namespace(
        "steps",
        pad=pad,
        gather=gather,
        tile=tile,
        pack_weights=pack_weights,
        transform=transform,
        multiply=multiply,
    )
