"""Block and Unblock: between [N, C, H, W] and blocks of channels [N, C / c, H, W, c]."""

from llvmlite import ir
from numba import types

from _lang import kernel, parts
from _lang.abi import PTR
from _lang.emit import intrinsic_of
from _lang.lanes import I32, I64

BAND = 1024  # pixels of one unit of work, at most
REASONS = ("the blocks are not as wide as this instruction set's vectors",)


def transpose(k):
    """`turn(x, x_row, y, y_row)`: y[j, i] = x[i, j] for a square of vectors of float32."""
    lanes = k.lanes("float")
    scalar = ir.FloatType()
    kind = ir.VectorType(scalar, lanes)

    def lower(ctx, b, sig, args):
        x, x_row, y, y_row = args
        x, y = (b.bitcast(p, scalar.as_pointer()) for p in (x, y))

        def place(base, step, i):
            return b.bitcast(b.gep(base, [b.mul(step, I64(i))]), kind.as_pointer())

        rows = []
        for i in range(lanes):
            value = b.load(place(x, x_row, i))
            value.align = 4
            rows.append(value)
        # Each round interleaves row i with row i + lanes / 2; log2(lanes) of them transpose.
        half = lanes // 2
        picks = [
            ir.Constant(
                ir.VectorType(I32, lanes),
                [I32(start + j // 2 + (j % 2) * lanes) for j in range(lanes)],
            )
            for start in (0, half)
        ]
        for _ in range(lanes.bit_length() - 1):
            rows = [
                b.shuffle_vector(rows[i], rows[i + half], pick)
                for i in range(half)
                for pick in picks
            ]
        for i, value in enumerate(rows):
            b.store(value, place(y, y_row, i)).align = 4
        return ctx.get_dummy_value()

    return intrinsic_of(types.void(PTR, types.int64, PTR, types.int64), lower)


@kernel("Block", domain="tiercel", types={"T": "float"}, variant="turn", reasons=REASONS)
def block(k):
    """A unit is a band of pixels of one block of one image."""
    lanes = k.lanes("T")
    get, put = k.load("T"), k.store("T")
    turn = transpose(k)

    def run(call, phase, begin, end, scratch):
        pixels = k.input_dim(call, 0, 2) * k.input_dim(call, 0, 3)
        channels, blocks = k.input_dim(call, 0, 1), k.output_dim(call, 0, 1)
        cuts = (pixels + BAND - 1) // BAND
        x, y = k.input(call, 0), k.output(call, 0)
        for unit in range(begin, end):
            place, start = unit // cuts, unit % cuts * BAND
            stop = min(start + BAND, pixels)
            first = place % blocks * lanes
            have = min(channels - first, lanes)
            source = (place // blocks * channels + first) * pixels
            i = start
            if have == lanes:
                while i + lanes <= stop:
                    to = k.offset(y, (place * pixels + i) * lanes * 4)
                    turn(k.offset(x, (source + i) * 4), pixels, to, lanes)
                    i += lanes
            while i < stop:
                for c in range(have):
                    put(y, (place * pixels + i) * lanes + c, get(x, source + c * pixels + i))
                for c in range(have, lanes):
                    put(y, (place * pixels + i) * lanes + c, 0)
                i += 1
        return k.OK

    def units(call, phase):
        pixels = k.input_dim(call, 0, 2) * k.input_dim(call, 0, 3)
        n = k.output_dim(call, 0, 0) * k.output_dim(call, 0, 1) * ((pixels + BAND - 1) // BAND)
        return n if k.output_size(call, 0) > 0 else 0

    def supports(call):
        return 0 if k.output_dim(call, 0, 4) == lanes else 1

    return parts(run=run, units=units, supports=supports)


@kernel("Unblock", domain="tiercel", types={"T": "float"}, variant="turn", reasons=REASONS)
def unblock(k):
    """A unit is a band of pixels of one block of one image."""
    lanes = k.lanes("T")
    get, put = k.load("T"), k.store("T")
    turn = transpose(k)

    def run(call, phase, begin, end, scratch):
        pixels = k.input_dim(call, 0, 2) * k.input_dim(call, 0, 3)
        channels, blocks = k.output_dim(call, 0, 1), k.input_dim(call, 0, 1)
        cuts = (pixels + BAND - 1) // BAND
        x, y = k.input(call, 0), k.output(call, 0)
        for unit in range(begin, end):
            place, start = unit // cuts, unit % cuts * BAND
            stop = min(start + BAND, pixels)
            first = place % blocks * lanes
            have = min(channels - first, lanes)
            target = (place // blocks * channels + first) * pixels
            i = start
            if have == lanes:
                while i + lanes <= stop:
                    source = k.offset(x, (place * pixels + i) * lanes * 4)
                    turn(source, lanes, k.offset(y, (target + i) * 4), pixels)
                    i += lanes
            for c in range(have):
                for j in range(i, stop):
                    put(y, target + c * pixels + j, get(x, (place * pixels + j) * lanes + c))
        return k.OK

    def units(call, phase):
        pixels = k.input_dim(call, 0, 2) * k.input_dim(call, 0, 3)
        n = k.input_dim(call, 0, 0) * k.input_dim(call, 0, 1) * ((pixels + BAND - 1) // BAND)
        return n if k.output_size(call, 0) > 0 else 0

    def supports(call):
        return 0 if k.input_dim(call, 0, 4) == lanes else 1

    return parts(run=run, units=units, supports=supports)
