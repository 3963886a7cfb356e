"""Conv of float32 images and lines as matrix products: the window's inputs in panels, times W."""

from product import TILED_DEPTH, product
from strides import every_other
from windows import WINDOW, window

from _lang import inline, kernel, parts

ATTRIBUTES = (*WINDOW, "group")
GROUP = len(WINDOW)
TILE_BYTES = 384 << 10  # of packed inputs: what stays in the second-level cache
MOST_PANELS = 8
DEPTH = 256  # of one block of a panel, which then stays in the first-level cache
DEEP = 192  # rows of a panel that pay for the pieces of AMX tiles
REASONS = (
    "it has one or two spatial axes only",
    "too few output channels per group for a matrix product",
)


@kernel(
    "Conv",
    types={"T": "float"},
    attributes=ATTRIBUTES,
    variant="gemm",
    isa="amx v4 v3 neon",
    order=-1,
    epilogue=True,
    reasons=REASONS,
)
def conv(k):
    """A unit is a tile of output pixels of one group of one image, and a block of its channels.

    Scratch memory holds panels [depth][width] of the inputs under each window element; consecutive
    blocks of one tile find them there.
    """
    p, lanes = product(k), k.lanes("T")
    block, width, few = p.panels.block, p.panels.width, 2 * p.few
    tiled, tile_rows, has_nan, rows_scratch = p.tiled, p.tile_rows, p.has_nan, p.rows_scratch
    v = k.vector("T")
    get, put = k.load("T"), k.store("T")
    w = window(k, 1)
    pick = every_other(k)

    @inline
    def depth_of(call):
        n = k.input_dim(call, 1, 1)
        for a in range(2, k.input_rank(call, 1)):
            n *= k.input_dim(call, 1, a)
        return n

    @inline
    def pixels_of(call):
        n = 1
        for a in range(2, k.output_rank(call, 0)):
            n *= k.output_dim(call, 0, a)
        return n

    @inline
    def panels_of(call):
        """Panels of one tile."""
        fit = TILE_BYTES // max(depth_of(call) * width * 4, 1)
        need = (pixels_of(call) + width - 1) // width
        return max(min(min(fit, MOST_PANELS), need), 1)

    @inline
    def tiles_of(call):
        tile = panels_of(call) * width
        return (pixels_of(call) + tile - 1) // tile

    @inline
    def blocks_of(call):
        """Blocks of output channels per tile: several when there are few tiles to share out."""
        group = k.attr_int(call, GROUP)
        channels = k.output_dim(call, 0, 1) // group
        tiles = tiles_of(call) * group * k.output_dim(call, 0, 0)
        out = 1
        if tiles < 16:
            out = min(max(channels // 48, 1), 16 // tiles)
        return out

    @inline
    def is_pointwise(call):
        """One window element, everywhere inside, without gaps: the image is one line."""
        out = True
        for i in range(k.input_rank(call, 0) - 2):
            out = out and k.input_dim(call, 1, i + 2) == 1 and w.stride(call, i) == 1
            out = out and w.before(call, i) == 0 and w.after(call, i) == 0
        return out

    @k.outline("int64(pointer, pointer, int64, int64, int64, int64, int64)")
    def strip(x, to, channels, image, to_step, n, step):
        """The same n columns of every channel; without an input (image 0) zeros."""
        for c in range(channels):
            source, target = c * image, c * to_step
            if image == 0:
                i = 0
                while i < n:
                    v.store_n(to, target + i, v.zero(), n - i)
                    i += lanes
            elif step == 2 and c + 1 < channels and image >= 4 * lanes:
                # The loads end in the next channel.
                v.store_n(to, target, pick(x, source), n)
                if n > lanes:
                    v.store_n(to, target + lanes, pick(x, source + 2 * lanes), n - lanes)
            elif step > 1:
                for i in range(n):
                    put(to, target + i, get(x, source + i * step))
            elif n > lanes:
                v.store(to, target, v.load(x, source))
                v.store_n(to, target + lanes, v.load_n(x, source + lanes, n - lanes), n - lanes)
            else:
                v.store_n(to, target, v.load_n(x, source, n), n)
        return 0

    @k.outline("int64(call, pointer, int64, int64, pointer)")
    def pack(call, x, start, count, to):
        """One panel: pixels [start, start + count) of the channels that begin at `x`. Each row of
        the output that the panel touches, under each window element, is one strip. Columns beyond
        `count` are zeros: what memory held before may be denormal numbers, which take long."""
        last = k.input_rank(call, 0) - 1
        columns, extent = k.output_dim(call, 0, last), k.input_dim(call, 0, last)
        rows_in, taps_y = 1, 1
        step_y, spread_y, pad_y = 1, 1, 0
        if last == 3:
            rows_in, taps_y = k.input_dim(call, 0, 2), k.input_dim(call, 1, 2)
            step_y, spread_y, pad_y = w.stride(call, 0), w.dilation(call, 0), w.before(call, 0)
        taps_x = k.input_dim(call, 1, last)
        step_x, spread_x = w.stride(call, last - 2), w.dilation(call, last - 2)
        pad_x = w.before(call, last - 2)
        if is_pointwise(call):
            columns, extent, rows_in = rows_in * extent, rows_in * extent, 1
        image, channels = rows_in * extent, k.input_dim(call, 1, 1)
        to_step = taps_y * taps_x * width
        row, column, done = start // columns, start % columns, 0
        while done < count:
            n = min(columns - column, count - done)
            for tap in range(taps_y * taps_x):
                y = row * step_y + tap // taps_x * spread_y - pad_y
                shift = tap % taps_x * spread_x - pad_x
                low = max(column, w.first_column(shift, step_x))
                high = min(column + n, max((extent - 1 - shift) // step_x + 1, 0))
                if y < 0 or y >= rows_in:
                    high = low
                target = k.offset(to, (tap * width + done) * 4)
                if low > column or high < column + n:
                    strip(x, target, channels, 0, to_step, n, 1)
                if high > low:
                    source = k.offset(x, (y * extent + low * step_x + shift) * 4)
                    target = k.offset(target, (low - column) * 4)
                    strip(source, target, channels, image, to_step, high - low, step_x)
            done += n
            row += 1
            column = 0
        if count < width:
            for tap in range(taps_y * taps_x):
                target = k.offset(to, (tap * width + count) * 4)
                strip(x, target, channels, 0, to_step, width - count, 1)
        return 0

    @inline
    def packed_at(call):
        """Bytes of panels at the begin of the scratch memory."""
        return panels_of(call) * depth_of(call) * width * 4

    @inline
    def fill_bias(call, y, channel, rows, count):
        pixels = pixels_of(call)
        for r in range(rows):
            b = v.set(get(k.input(call, 2), channel + r))
            i = 0
            while i < count:
                v.store_n(y, r * pixels + i, b, min(count - i, lanes))
                i += lanes

    @k.outline("int64(call, int64, int64, int64, int64, pointer, pointer)")
    def multiply(call, by_tiles, channel, rows, count, c, packed):
        """`rows` channels of `count` pixels from the panels of a tile; `channel`: the first."""
        depth, pixels, fresh = depth_of(call), pixels_of(call), 1
        if k.has_input(call, 2):
            fill_bias(call, c, channel, rows, count)
            fresh = 0
        weight, room = (
            k.offset(k.input(call, 1), channel * depth * 4),
            k.offset(packed, packed_at(call)),
        )
        most = TILED_DEPTH if tiled and by_tiles == 1 else DEPTH
        for d in range(0, depth, most):
            a, b, n = (
                k.offset(weight, d * 4),
                k.offset(packed, d * width * 4),
                min(depth - d, most),
            )
            if d > 0:
                fresh = 0
            if tiled and by_tiles == 1:
                tile_rows(rows, count, n, a, depth, b, width, depth * width, c, pixels, fresh, room)
            else:
                block(rows, count, n, a, depth, 1, b, width, depth * width, c, pixels, fresh)
        return 0

    def run(call, phase, begin, end, scratch):
        group = k.attr_int(call, GROUP)
        channels = k.output_dim(call, 0, 1) // group
        depth, pixels = depth_of(call), pixels_of(call)
        tile, tiles, blocks = panels_of(call) * width, tiles_of(call), blocks_of(call)
        block_rows = (channels + blocks - 1) // blocks
        image_in = k.input_dim(call, 1, 1)
        for a in range(2, k.input_rank(call, 0)):
            image_in *= k.input_dim(call, 0, a)
        packed = -1
        for unit in range(begin, end):
            place = unit // blocks
            start = place % tiles * tile
            count = min(pixels - start, tile)
            part = place // tiles  # batch · group + which group
            if place != packed:
                x = k.offset(k.input(call, 0), part * image_in * 4)
                for p in range(0, count, width):
                    pack(
                        call, x, start + p, min(count - p, width), k.offset(scratch, p * depth * 4)
                    )
                packed = place
            first = unit % blocks * block_rows
            rows = min(channels - first, block_rows)
            if rows > 0:
                channel = part % group * channels + first
                plane = part // group * channels * group + channel
                y = k.offset(k.output(call, 0), plane * pixels * 4)
                c, bad = k.offset(y, start * 4), 1
                if tiled and rows > few and depth >= DEEP:
                    multiply(call, 1, channel, rows, count, c, scratch)
                    bad = has_nan(c, pixels, rows, count)
                if bad == 1:
                    multiply(call, 0, channel, rows, count, c, scratch)
                for r in range(rows):
                    at = (plane + r) * pixels + start
                    k.epilogue(call, k.offset(k.output(call, 0), at * 4), at, count)
        return k.OK

    def units(call, phase):
        n = 0
        if k.output_size(call, 0) > 0:
            n = (
                k.output_dim(call, 0, 0)
                * k.attr_int(call, GROUP)
                * tiles_of(call)
                * blocks_of(call)
            )
        return n

    def scratch(call):
        channels = k.output_dim(call, 0, 1) // k.attr_int(call, GROUP)
        rows = (channels + blocks_of(call) - 1) // blocks_of(call)
        return packed_at(call) + rows_scratch(rows, min(depth_of(call), TILED_DEPTH)) + 64

    def work(call):
        return 2 * k.output_size(call, 0) * depth_of(call) // 120 + 100

    def supports(call):
        why = 0
        if k.input_rank(call, 0) > 4:
            why = 1
        elif k.output_dim(call, 0, 1) // k.attr_int(call, GROUP) < 4:
            why = 2
        return why

    return parts(run=run, units=units, scratch=scratch, work=work, supports=supports)
