"""Depthwise Conv of float32 images in the blocked layout: a vector of channels for each pixel."""

from conv_depthwise_rows import depthwise_rows
from numba import float32
from windows import WINDOW

from _lang import inline, kernel, parts

ATTRIBUTES = (*WINDOW, "group")
GROUP = len(WINDOW)
HELD = 2048  # output elements of one unit of work, at least
REASONS = (
    "the blocks are not as wide as this instruction set's vectors",
    "groups of more than one channel",
)


@kernel(
    "ConvBlocked",
    domain="tiercel",
    types={"T": "float"},
    attributes=ATTRIBUTES,
    variant="depthwise",
    order=-1,
    epilogue=True,
    reasons=REASONS,
)
def conv(k):
    """X is [N, C / c, H, W, c], Y [N, C / c, Y, X, c]. A unit is a band of rows of one block of one
    image. Weights are packed [blocks][taps][channels of the block].
    """
    lanes = k.lanes("T")
    get, put = k.load("T"), k.store("T")
    sweep = depthwise_rows(k, 1)

    @inline
    def taps_of(call):
        return k.input_dim(call, 1, 2) * k.input_dim(call, 1, 3)

    @k.outline("int64(call, pointer)")
    def pack_weights(call, to):
        channels, taps = k.input_dim(call, 1, 0), taps_of(call)
        weight = k.input(call, 1)
        for c in range(k.output_dim(call, 0, 1) * lanes):
            for t in range(taps):
                value = float32(0)
                if c < channels:
                    value = get(weight, c * taps + t)
                put(to, (c // lanes * taps + t) * lanes + c % lanes, value)
        return 0

    @inline
    def bands_of(call):
        rows, columns = k.output_dim(call, 0, 2), k.output_dim(call, 0, 3)
        return max(min(rows * columns * lanes // HELD, rows), 1)

    @inline
    def start_of(call, block, zeros):
        """Where the sums of a block start: its bias, filled up with zeros, or zeros."""
        out = zeros
        if k.has_input(call, 2):
            out = k.offset(k.input(call, 2), block * lanes * 4)
            have = k.input_dim(call, 1, 0) - block * lanes
            if have < lanes:
                bias = out
                out = k.offset(zeros, lanes * 4)
                k.fill(out, 0, lanes * 4)
                k.copy(out, 0, bias, 0, have * 4)
        return out

    def run(call, phase, begin, end, scratch):
        if phase == 0:
            pack_weights(call, k.workspace(call))
            return k.OK
        k.fill(scratch, 0, lanes * 4)
        packed = k.packed(call, 1) if k.has_packed(call, 1) else k.workspace(call)
        blocks, bands, rows = k.output_dim(call, 0, 1), bands_of(call), k.output_dim(call, 0, 2)
        columns = k.output_dim(call, 0, 3)
        image = k.input_dim(call, 0, 2) * k.input_dim(call, 0, 3)
        for unit in range(begin, end):
            place, band = unit // bands, unit % bands
            block = place % blocks
            start = start_of(call, block, scratch)
            x = k.offset(k.input(call, 0), place * image * lanes * 4)
            y = k.offset(k.output(call, 0), place * rows * columns * lanes * 4)
            weights = k.offset(packed, block * taps_of(call) * lanes * 4)
            first, stop = band * rows // bands, (band + 1) * rows // bands
            for row in range(first, stop):
                sweep(call, row, x, weights, y, start, scratch)
            at = (place * rows + first) * columns * lanes
            count = (stop - first) * columns * lanes
            k.epilogue(call, k.offset(k.output(call, 0), at * 4), at, count)
        return k.OK

    def units(call, phase):
        n = 0
        if phase == 0:
            n = 0 if k.has_packed(call, 1) else 1
        elif k.output_size(call, 0) > 0:
            n = k.output_dim(call, 0, 0) * k.output_dim(call, 0, 1) * bands_of(call)
        return n

    @inline
    def packed_bytes(call):
        return k.output_dim(call, 0, 1) * lanes * taps_of(call) * 4

    def workspace(call):
        return 64 if k.has_packed(call, 1) else packed_bytes(call)

    def scratch(call):
        return 2 * lanes * 4

    def work(call):
        return k.output_size(call, 0) * (taps_of(call) + 4) // 30 + 100

    def supports(call):
        why = 0
        if k.output_dim(call, 0, 4) != lanes or k.input_rank(call, 0) != 5:
            why = 1
        elif k.input_dim(call, 1, 1) != 1 or k.attr_int(call, GROUP) != k.input_dim(call, 1, 0):
            why = 2
        elif k.attr_int(call, GROUP) == 1:
            why = 2
        return why

    def pack_size(call, index):
        return packed_bytes(call) if index == 1 else 0

    def pack(call, index, to):
        pack_weights(call, to)
        return k.OK

    return parts(
        run=run,
        phases=2,
        units=units,
        workspace=workspace,
        scratch=scratch,
        work=work,
        supports=supports,
        pack_size=pack_size,
        pack=pack,
    )
