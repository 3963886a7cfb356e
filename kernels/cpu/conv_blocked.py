"""Conv of float32 images in the blocked layout: register tiles of pixels × output channels."""

from conv_bands import EACH, GROUP, HEAVY, bands
from conv_tile import Variant, outlined
from numba import float32
from windows import WINDOW, window

from _lang import inline, kernel, parts

ATTRIBUTES = (*WINDOW, "group")
DEPTH = 256  # rows of weights of one block along the input channels: what stays in the L1 cache
WIDE = 16  # lanes of vectors that use up weights faster than they arrive unasked
FINISHED = 2048  # output elements that the epilogue takes at once
REASONS = (
    "the blocks are not as wide as this instruction set's vectors",
    "groups cut through blocks",
    "planes of as many channels as a block has",
)


def heights(k):
    """The largest number of pixels of one tile of one, two and three blocks of output channels."""
    return (12, 6, 4) if k.isa == "v3" else (12, 12, 8)


STRIDES = (1, 2, 4, 16)  # of windows over planes of single channels, with tiles of their own
FLAT = 2 + len(STRIDES)  # the number of the tiles for one tap over images that are lines


def variants(most, lanes):
    """Whole blocks of inputs by one, two and three blocks of outputs, then single channels of any
    window, those of known strides, and blocks of lines."""
    shapes = [(lanes, 0, 0), (1, 0, 0), *((1, 0, stride) for stride in STRIDES), (lanes, 0, 0)]
    return tuple(
        Variant(pixels, i + 1, *shape, asks=shape[0] == WIDE, flat=number == FLAT)
        for number, shape in enumerate(shapes)
        for i, pixels in enumerate(most)
    )


@kernel(
    "ConvBlocked",
    domain="tiercel",
    types={"T": "float"},
    attributes=ATTRIBUTES,
    variant="direct",
    epilogue=True,
    reasons=REASONS,
)
def conv(k):
    """X is [N, C / c, H, W, c], or [N, C, H, W] where C is small; Y is [N, M / c, Y, X, c], W as in
    Conv.

    A unit is a band of rows of one group of one image, and a part of the output channels, which go
    in sets of two or three blocks. Weights are packed [blocks of outputs][blocks of inputs][taps]
    [inputs of the block][outputs of the block].
    """
    lanes = k.lanes("T")
    get, put = k.load("T"), k.store("T")
    w = window(k, 1)
    one, two, three = heights(k)
    tile = outlined(k, variants(heights(k), lanes))
    cut = bands(k, w, (one, two, three))
    taps_of, blocked_channels, group_blocks = cut.taps_of, cut.blocked_channels, cut.group_blocks
    pad, is_line, grid, packed_bytes = cut.pad, cut.is_line, cut.grid, cut.packed_bytes
    sets_of, bands_of, parts_of = cut.sets_of, cut.bands_of, cut.parts_of

    @k.outline("int64(call, pointer)")
    def pack_weights(call, to):
        channels, inputs, taps = k.input_dim(call, 1, 0), k.input_dim(call, 1, 1), taps_of(call)
        weight, whole = k.input(call, 1), blocked_channels(call)
        for block in range(k.output_dim(call, 0, 1)):
            first = block * lanes
            for d in range(inputs):
                at, step = d * taps, 1
                if d < whole:
                    at = d // lanes * lanes * taps + d % lanes
                    step = min(whole - d // lanes * lanes, lanes)
                for t in range(taps):
                    row = (first * inputs * taps) + (at + t * step) * lanes
                    for j in range(lanes):
                        value = float32(0)
                        if first + j < channels:
                            value = get(weight, ((first + j) * inputs + d) * taps + t)
                        put(to, row + j, value)
        return 0

    @inline
    def rows_under(call, row):
        """The input row under the first tap of an output row that has one, that tap, and their
        number."""
        step, spread = cut.stride(call, 0), cut.spread(call, 0)
        height, taps = cut.extent(call, 0), cut.taps(call, 0)
        top = row * step - pad(call, 0)
        low = max((spread - 1 - top) // spread, 0)
        high = min(max((height - 1 - top) // spread + 1, 0), taps)
        return top + low * spread, low, max(high - low, 0)

    @inline
    def kind_of(call, vectors, blocked):
        """The variant of the tile."""
        kind = 0 if blocked == 1 else 1
        if blocked == 1 and is_line(call) == 1:
            kind = FLAT
        elif k.input_rank(call, 0) == 4 and cut.spread(call, 1) == 1:
            stride = cut.stride(call, 1)
            if stride == 1 or stride == 2:
                kind = stride + 1
            elif stride == 4:
                kind = 4
            elif stride == 16:
                kind = 5
        return 3 * kind + vectors - 1

    @k.outline(
        "int64(call, int64, int64, int64, int64, pointer, int64, pointer, pointer, pointer, int64,"
        "pointer, int64)"
    )
    def sweep(
        call, row, vectors, blocked, depth, x, block_step, weights, y, start, first, zeros, ahead
    ):
        """One row of output pixels of one set, over `depth` input channels: `x` and `y` are the
        planes of the first blocks, `weights` those of the first of the channels."""
        blocks = (depth + lanes - 1) // lanes if blocked == 1 else depth
        columns = grid(call, 1)
        width = lanes if k.input_rank(call, 0) == 5 else 1
        channels = lanes if blocked == 1 else 1
        extent, taps_x = cut.extent(call, 1), cut.taps(call, 1)
        stride, spread, before = cut.stride(call, 1), cut.spread(call, 1), pad(call, 1)
        pixels = k.output_dim(call, 0, 2) * k.output_dim(call, 0, 3)
        count, line, taps_y, low = columns, row * columns, 1, 0
        if is_line(call) == 1:
            count, extent = min(columns, pixels - line), pixels
        else:
            top, low, taps_y = rows_under(call, row)
            line = top * extent
        rows_w = taps_x * channels * lanes
        weights = k.offset(weights, low * rows_w * 4)
        w_block = cut.taps(call, 0) * rows_w
        row_step = cut.spread(call, 0) * extent * width
        most = one if vectors == 1 else two if vectors == 2 else three
        tiles_here = (count + most - 1) // most
        for half in range(2):
            # Strips of one pixel less than the others come first.
            many = count // tiles_here + half
            strips = count % tiles_here if half == 1 else tiles_here - count % tiles_here
            at = half * (count // tiles_here) * (tiles_here - count % tiles_here)
            column = at * stride - before
            source = k.offset(x, (line + column) * width * 4)
            target = k.offset(y, (row * columns + at) * lanes * 4)
            tile(
                *(kind_of(call, vectors, blocked), many, strips, blocks, taps_y, taps_x),
                source,
                stride * width,
                block_step,
                row_step,
                spread * width,
                weights,
                w_block,
                k.input_dim(call, 1, 1) * taps_of(call) * lanes,
                target,
                pixels * lanes,
                start,
                first,
                zeros,
                column,
                stride,
                spread,
                extent,
                ahead * (1 - half),
                min(depth % lanes, blocked),
            )
        return 0

    @inline
    def finish(call, block, vectors, row, rows):
        """The epilogue over finished rows of the blocks of a set."""
        columns = grid(call, 1)
        pixels = k.output_dim(call, 0, 2) * k.output_dim(call, 0, 3)
        low, high = row * columns, min((row + rows) * columns, pixels)
        for v in range(vectors):
            at = ((block + v) * pixels + low) * lanes
            k.epilogue(call, k.offset(k.output(call, 0), at * 4), at, (high - low) * lanes)

    @inline
    def start_of(call, first, vectors, scratch):
        """Where the sums of the set start: its bias, filled up with zeros, or zeros."""
        out = scratch
        channels = k.input_dim(call, 1, 0)
        if k.has_input(call, 2):
            bias = k.offset(k.input(call, 2), first * lanes * 4)
            have = channels - first * lanes
            out = bias
            if have < vectors * lanes:
                out = k.offset(scratch, 3 * lanes * 4)
                k.fill(out, 0, 3 * lanes * 4)
                k.copy(out, 0, bias, 0, have * 4)
        return out

    @k.outline("int64(call, int64, int64, int64, int64, int64, pointer, pointer)")
    def set_band(call, image, group, index, row, end, weights, scratch):
        """Rows [row, end) of one set of one group of one image."""
        inputs, taps = k.input_dim(call, 1, 1), taps_of(call)
        blocks, sets, whole = group_blocks(call), sets_of(call), blocked_channels(call)
        first_block = blocks * index // sets
        vectors = blocks * (index + 1) // sets - first_block
        planes = k.input_dim(call, 0, 2) * k.input_dim(call, 0, 3)
        pixels = k.output_dim(call, 0, 2) * k.output_dim(call, 0, 3)
        block = group * blocks + first_block
        start = start_of(call, block, vectors, scratch)
        weights = k.offset(weights, block * lanes * inputs * taps * 4)
        columns = grid(call, 1)
        out_block = image * k.output_dim(call, 0, 1) + block
        y = k.offset(k.output(call, 0), out_block * pixels * lanes * 4)
        held = max(DEPTH // (lanes * taps), 1)
        at_once = max(FINISHED // max(columns * lanes, 1), 1)
        heavy = packed_bytes(call) > HEAVY
        done = 0
        while done < inputs:
            blocked, depth = 0, min(inputs - done, held * lanes)
            if done < whole:
                blocked, depth = 1, min(whole - done, held * lanes)
            channel, step = image * k.input_dim(call, 0, 1) + done, planes
            within = 0
            if k.input_rank(call, 0) == 5:
                channel = (
                    image * k.input_dim(call, 0, 1) + (group * inputs + done) // lanes
                ) * lanes
                within, step = done % lanes, planes * lanes if blocked == 1 else 1
            x = k.offset(k.input(call, 0), (channel * planes + within) * 4)
            of_part = k.offset(weights, done * taps * lanes * 4)
            first = 1 if done == 0 else 0
            # The next weights: those of the next channels, or the first ones of the next set.
            coming, before = depth * taps * lanes, done
            done += depth
            if done == inputs:
                coming = (vectors * inputs - before) * taps * lanes
            for r in range(row, end):
                ahead = coming if r == row and heavy else 0
                sweep(
                    *(call, r, vectors, blocked, depth, x, step, of_part, y, start, first),
                    *(scratch, ahead),
                )
                ready = (r + 1 - row) % at_once
                if done == inputs and (ready == 0 or r + 1 == end):
                    rows = at_once if ready == 0 else ready
                    finish(call, out_block, vectors, r + 1 - rows, rows)
        return 0

    def run(call, phase, begin, end, scratch):
        if phase == 0:
            pack_weights(call, k.workspace(call))
            return k.OK
        k.fill(scratch, 0, 3 * lanes * 4)
        weights = k.packed(call, 1) if k.has_packed(call, 1) else k.workspace(call)
        bands, cuts, sets = bands_of(call), parts_of(call), sets_of(call)
        rows = grid(call, 0)
        groups = k.attr_int(call, GROUP)
        for unit in range(begin, end):
            part, band = unit % cuts, unit // cuts % bands
            place = unit // cuts // bands
            for index in range(part * sets // cuts, (part + 1) * sets // cuts):
                first, end_row = band * rows // bands, (band + 1) * rows // bands
                image, group = place // groups, place % groups
                set_band(call, image, group, index, first, end_row, weights, scratch)
        return k.OK

    def units(call, phase):
        n = 0
        if phase == 0:
            n = 0 if k.has_packed(call, 1) else 1
        elif k.output_size(call, 0) > 0:
            n = k.output_dim(call, 0, 0) * k.attr_int(call, GROUP) * bands_of(call)
            n *= parts_of(call)
        return n

    def workspace(call):
        return 64 if k.has_packed(call, 1) else packed_bytes(call)

    def scratch(call):
        return 6 * lanes * 4

    def work(call):
        ns = k.output_size(call, 0) * (k.input_dim(call, 1, 1) * taps_of(call) + EACH) // 40
        return max(ns, packed_bytes(call) // 12) + 100

    def supports(call):
        why = 0
        groups = k.attr_int(call, GROUP)
        if k.output_dim(call, 0, 4) != lanes:
            why = 1
        elif groups > 1:
            if k.input_dim(call, 1, 1) % lanes != 0 or k.input_dim(call, 1, 0) % (groups * lanes):
                why = 2
        elif k.input_rank(call, 0) == 4 and k.input_dim(call, 1, 1) >= lanes:
            why = 3
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
