"""Conv of float32 images in the blocked layout by Winograd's algorithm, 3 × 3 windows."""

from attached import epilogue_rows
from windows import WINDOW, window
from winograd_cut import BIAS, GROUP, HEAD, JUNK, TAPS, VECTORS, cuts
from winograd_repair import repairs
from winograd_steps import steps
from winograd_tile import output_tile

from _lang import kernel, parts

ATTRIBUTES = (*WINDOW, "group", "winograd")
REASONS = (
    "the blocks are not as wide as this instruction set's vectors",
    "windows other than 3 x 3 without strides, dilations and groups",
    "it does not pay for these shapes, or session.winograd forbids it",
    "the weights are not constant",
)


@kernel(
    "ConvBlocked",
    domain="tiercel",
    types={"T": "float"},
    attributes=ATTRIBUTES,
    variant="winograd",
    isa="amx v4 v3 neon",
    order=-2,
    epilogue=True,
    reasons=REASONS,
)
def conv(k):
    """X is [N, C / c, H, W, c], Y [N, M / c, Y, X, c], W as in Conv.

    Tiles of 4 × 4 or 2 × 2 outputs are products, one for each element of the transformed tiles, of
    [tiles, inputs] and [inputs, outputs]. Weights are packed [panels of two blocks of outputs]
    [elements][blocks of outputs][inputs][outputs of the block], zeros where there are no channels.
    A unit is a band of tiles, and a panel where the inputs were transformed before. Tiles with
    results that are not finite are computed once more, directly: infinities and NaN stay in the
    windows that hold them.
    """
    lanes = k.lanes("T")
    w = window(k, 1)
    cut = cuts(k, w)
    step = steps(k, w, cut)
    transform, multiply, pack_weights = step.transform, step.multiply, step.pack_weights
    repair, finish = repairs(k, step), epilogue_rows()
    out_2, out_4 = output_tile(2, lanes), output_tile(4, lanes)
    head = HEAD * lanes * 4

    @k.outline(
        "int64(call, int64, int64, int64, int64, int64, int64, pointer, int64, pointer, pointer)"
    )
    def deliver(call, size, block, row, end, column, stop, sums, step, memory, scratch):
        """The outputs of one block from the sums of its tiles, with their epilogue."""
        lines = cut.down(call, size)
        height, width = k.output_dim(call, 0, 2), k.output_dim(call, 0, 3)
        bias, junk = k.offset(scratch, BIAS * lanes * 4), k.offset(scratch, JUNK * lanes * 4)
        k.fill(bias, 0, (HEAD - BIAS) * lanes * 4)
        if k.has_input(call, 2):
            have = min(k.input_dim(call, 1, 0) - block * lanes, lanes)
            k.copy(bias, 0, k.input(call, 2), block * lanes * 4, have * 4)
        for r in range(row, end):
            image, line = r // lines, r % lines * size
            plane = (image * k.output_dim(call, 0, 1) + block) * height * width * lanes
            y = k.offset(k.output(call, 0), plane * 4)
            rows = min(size, height - line)
            for c in range(column, stop):
                first = c * size
                to = k.offset(y, (line * width + first) * lanes * 4)
                columns = width - first
                if size == 4:
                    spoilt = out_4(sums, step, bias, to, width * lanes, rows, columns, junk)
                else:
                    spoilt = out_2(sums, step, bias, to, width * lanes, rows, columns, junk)
                if spoilt != 0:
                    repair(call, size, block, image, line, first, y, memory, scratch)
                sums = k.offset(sums, lanes * 4)
            at = plane + (line * width + column * size) * lanes
            count = min((stop - column) * size, width - column * size) * lanes
            data = k.offset(k.output(call, 0), at * 4)
            if count == width * lanes:
                k.epilogue(call, data, at, count * rows)
            else:
                finish(call, data, at, count, rows, width * lanes)
        return 0

    @k.outline(
        "int64(call, int64, int64, int64, int64, int64, int64, pointer, int64, int64, pointer,"
        "pointer)"
    )
    def panel(call, size, index, row, end, column, stop, x, step, block_step, memory, scratch):
        """The outputs of one panel, from transformed inputs."""
        blocks, depth = k.output_dim(call, 0, 1), cut.depth(call)
        tiles = (end - row) * (stop - column)
        vectors = min(blocks - index * VECTORS, VECTORS)
        at = index * VECTORS * cut.elements(call, size) * depth * lanes
        weights = k.offset(k.packed(call, 1), at * 4)
        sums_step = (vectors * tiles + 1) * lanes
        multiply(
            call, size, tiles, vectors, x, step, block_step, weights, memory, sums_step, scratch
        )
        behind = k.offset(memory, cut.elements(call, size) * sums_step * 4)
        for v in range(vectors):
            sums = k.offset(memory, v * tiles * lanes * 4)
            block = index * VECTORS + v
            deliver(call, size, block, row, end, column, stop, sums, sums_step, behind, scratch)
        return 0

    @k.outline("int64(call, int64, int64, pointer)")
    def band(call, size, unit, scratch):
        """All outputs of one band, or of one panel of it where the inputs are transformed."""
        bands, segments, rows, columns = (
            cut.bands_of(call, size),
            cut.segments_of(call, size),
            cut.rows_of(call, size),
            cut.across(call, size),
        )
        first, end = 0, cut.panels_of(call)
        shared = cut.is_shared(call, size)
        if shared == 1:
            first = unit // bands
            unit, end = unit % bands, first + 1
        b, s = unit // segments, unit % segments
        row, last = rows * b // bands, rows * (b + 1) // bands
        column, stop = columns * s // segments, columns * (s + 1) // segments
        memory = k.offset(scratch, head)
        tiles = (last - row) * (stop - column)
        x, step, block_step = memory, cut.input_step(call, tiles), tiles * lanes
        if shared == 1:
            block_step = rows * columns * lanes
            x = k.offset(k.workspace(call), row * columns * lanes * 4)
            step = cut.input_step(call, rows * columns)
        else:
            for block in range(k.input_dim(call, 0, 1)):
                to, source = k.offset(x, block * block_step * 4), k.input(call, 0)
                transform(call, size, block, row, last, column, stop, 0, to, step, scratch, source)
            memory = k.offset(memory, cut.elements(call, size) * step * 4)
        for p in range(first, end):
            panel(call, size, p, row, last, column, stop, x, step, block_step, memory, scratch)
        return 0

    def run(call, phase, begin, end, scratch):
        k.fill(scratch, 0, head)
        size = cut.size_of(call)
        for unit in range(begin, end):
            if phase == 1:
                band(call, size, unit, scratch)
            else:
                lines, columns = cut.down(call, size), cut.across(call, size)
                image, block = unit // k.input_dim(call, 0, 1), unit % k.input_dim(call, 0, 1)
                tiles = cut.rows_of(call, size) * columns
                to = k.offset(k.workspace(call), block * tiles * lanes * 4)
                step, place = cut.input_step(call, tiles), image * lines * columns
                first, last = image * lines, (image + 1) * lines
                source = k.input(call, 0)
                transform(
                    *(call, size, block, first, last, 0, columns, place, to, step, scratch),
                    source,
                )
        return k.OK

    def units(call, phase):
        n, size = 0, cut.size_of(call)
        if k.output_size(call, 0) > 0:
            if phase == 1:
                n = cut.bands_of(call, size) * cut.segments_of(call, size)
                n *= cut.panels_of(call) if cut.is_shared(call, size) == 1 else 1
            elif cut.is_shared(call, size) == 1:
                n = k.input_dim(call, 0, 0) * k.input_dim(call, 0, 1)
        return n

    def workspace(call):
        size = cut.size_of(call)
        tiles = cut.rows_of(call, size) * cut.across(call, size)
        held = cut.elements(call, size) * cut.input_step(call, tiles) * 4
        return held if cut.is_shared(call, size) == 1 else 64

    def scratch(call):
        size = cut.size_of(call)
        tiles, elements = cut.most_tiles(call, size), cut.elements(call, size)
        held = head + elements * (VECTORS * tiles + 1) * lanes * 4
        held += (k.input_dim(call, 1, 1) + 1) * TAPS * lanes * 4
        if cut.is_shared(call, size) == 0:
            held += elements * cut.input_step(call, tiles) * 4
        return held

    def work(call):
        return 2 * k.output_size(call, 0) * k.input_dim(call, 1, 1) * TAPS // 250 + 100

    def supports(call):
        why = 0
        if k.output_dim(call, 0, 4) != lanes or k.input_rank(call, 0) != 5:
            why = 1
        elif k.input_dim(call, 1, 2) != 3 or k.input_dim(call, 1, 3) != 3:
            why = 2
        elif k.attr_int(call, GROUP) != 1:
            why = 2
        elif w.stride(call, 0) * w.stride(call, 1) * w.dilation(call, 0) * w.dilation(call, 1) != 1:
            why = 2
        elif cut.size_of(call) == 0:
            why = 3
        elif not k.has_packed(call, 1):
            why = 4
        return why

    def pack_size(call, index):
        size = cut.size_of(call)
        held = cut.packed_bytes(call, size) + TAPS * lanes * 4
        return held if index == 1 and size > 0 else 0

    def pack(call, index, to):
        pack_weights(call, cut.size_of(call), to)
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
