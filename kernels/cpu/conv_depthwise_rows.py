"""Rows of depthwise convolutions of float32 images whose channels are vectors."""

from conv_tile import Variant, outlined
from windows import window

MOST = 8  # pixels of one tile
KNOWN = ((3, 1), (3, 2), (5, 1), (5, 2), (7, 1))  # columns of taps and steps with their own tiles


def depthwise_rows(k, weight):
    """`sweep(call, row, x, weights, y, start, zeros)` for images [N, …, H, W] and windows that are
    input `weight`: a row of Y sums of one block, whose planes `x` [H, W, c] and `y` [Y, X, c] are
    and whose weights are [taps, c]. `start` and `zeros` are a vector each.
    """
    lanes, w, most = k.lanes("float"), window(k, weight), MOST
    kinds = (Variant(most, 1, 0), *(Variant(most, 1, 0, *known) for known in KNOWN))
    tile = outlined(k, kinds)

    @k.outline("int64(call, int64)")
    def pad(call, i):
        return w.before(call, i)

    @k.outline("int64(call, int64, pointer, pointer, pointer, pointer, pointer)")
    def sweep(call, row, x, weights, y, start, zeros):
        """One row of output pixels of one block, whose planes are at `x` and `y`."""
        columns, extent = k.output_dim(call, 0, 3), k.input_dim(call, 0, 3)
        taps_x = k.input_dim(call, weight, 3)
        stride, spread, before = w.stride(call, 1), w.dilation(call, 1), pad(call, 1)
        spread_y, height = w.dilation(call, 0), k.input_dim(call, 0, 2)
        top = row * w.stride(call, 0) - pad(call, 0)
        low = max((spread_y - 1 - top) // spread_y, 0)
        high = min(max((height - 1 - top) // spread_y + 1, 0), k.input_dim(call, weight, 2))
        weights = k.offset(weights, low * taps_x * lanes * 4)
        line = (top + low * spread_y) * extent
        kind = 0
        if spread == 1:
            if stride == 1:
                kind = 1 if taps_x == 3 else 3 if taps_x == 5 else 5 if taps_x == 7 else 0
            elif stride == 2:
                kind = 2 if taps_x == 3 else 4 if taps_x == 5 else 0
        n = (columns + most - 1) // most
        for half in range(2):
            # Strips of one pixel less than the others come first.
            many = columns // n + half
            strips = columns % n if half == 1 else n - columns % n
            at = half * (columns // n) * (n - columns % n)
            column = at * stride - before
            tile(
                kind,
                many,
                strips,
                1,
                max(high - low, 0),
                taps_x,
                k.offset(x, (line + column) * lanes * 4),
                stride * lanes,
                0,
                spread_y * extent * lanes,
                spread * lanes,
                weights,
                0,
                0,
                k.offset(y, (row * columns + at) * lanes * 4),
                0,
                start,
                1,
                zeros,
                column,
                stride,
                spread,
                extent,
                0,
                0,
            )
        return 0

    return sweep
