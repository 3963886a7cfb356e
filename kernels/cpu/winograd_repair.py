"""Tiles of a Winograd convolution with results that are not finite, computed once more directly."""

from winograd_cut import BIAS, FLAG, TAPS


def repairs(k, step):
    """`repair`: so that infinities and NaN stay in the windows that hold them."""
    lanes = k.lanes("T")
    get, put = k.load("T"), k.store("T")
    tile, gather, pad = step.tile, step.gather, step.pad

    @k.outline("int64(call, int64, int64, int64, int64, int64, pointer, pointer, pointer)")
    def direct(call, image, row, column, count, low, weights, y, scratch):
        """`count` outputs of one row of a tile, by the weights [inputs][taps][outputs]; `y` is the
        plane of the block."""
        height, width = k.input_dim(call, 0, 2), k.input_dim(call, 0, 3)
        planes, inputs = height * width * lanes, k.input_dim(call, 1, 1)
        whole = inputs // lanes
        left = column - pad(call, 1)
        taps = max(min(height - row + pad(call, 0), 3) - low, 0)
        line = (row - pad(call, 0) + low) * width + left
        x = k.offset(
            k.input(call, 0), (image * k.input_dim(call, 0, 1) * planes + line * lanes) * 4
        )
        target = k.offset(y, (row * k.output_dim(call, 0, 3) + column) * lanes * 4)
        bias = k.offset(scratch, BIAS * lanes * 4)
        for part in range(2):
            # Whole blocks of inputs, then the other channels.
            blocks = whole if part == 0 else inputs - whole * lanes
            channels = lanes if part == 0 else 1
            first = 1 if part == 0 else 0
            if blocks == 0 and part == 1:
                break
            source = k.offset(x, part * whole * planes * 4)
            rows = k.offset(weights, (part * whole * lanes * TAPS + low * 3 * channels) * lanes * 4)
            tile(
                part * 2,
                count,
                1,
                blocks,
                taps,
                3,
                source,
                lanes,
                planes if part == 0 else 1,
                width * lanes,
                lanes,
                rows,
                TAPS * channels * lanes,
                0,
                target,
                0,
                bias,
                first,
                scratch,
                left,
                1,
                1,
                width,
                0,
                0,
            )
        return 0

    @k.outline("int64(call, int64, int64, int64, int64, int64, pointer, pointer, pointer)")
    def repair(call, size, block, image, row, column, y, memory, scratch):
        """The outputs of the tile at row and column (of outputs), directly. `memory` holds the
        weights of the block from the first tile on."""
        flag = FLAG * lanes
        inputs = k.input_dim(call, 1, 1)
        whole = inputs // lanes * lanes
        if get(scratch, flag) == 0:
            put(scratch, flag, 1)
            for c in range(inputs):
                to, step = c * TAPS, 1
                if c < whole:
                    to, step = c // lanes * lanes * TAPS + c % lanes, lanes
                held = k.offset(memory, inputs * TAPS * lanes * 4)
                gather(call, block, c, held)
                for t in range(TAPS):
                    k.copy(memory, (to + t * step) * lanes * 4, held, t * lanes * 4, lanes * 4)
        count = min(k.output_dim(call, 0, 3) - column, size)
        for r in range(row, min(row + size, k.output_dim(call, 0, 2))):
            low = max(pad(call, 0) - r, 0)
            direct(call, image, r, column, count, low, memory, y, scratch)
        return 0

    return repair
