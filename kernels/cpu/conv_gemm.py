"""Conv of float32 along any number of axes as matrix products: W times the inputs in panels."""

from conv_panels import input_panels
from product import TILED_DEPTH, TILED_ROWS, product
from split_tiles import ROW, TILE, no_product, split_product
from windows import WINDOW, window

from _lang import inline, kernel, namespace, parts

ATTRIBUTES = (*WINDOW, "group")
GROUP = len(WINDOW)
TILE_BYTES = 512 << 10  # of packed inputs: what stays in the second-level cache with few weights
HEAVY = 512 << 10  # bytes of weights, of which more take turns in it: tiles then are larger
MOST_PIXELS = 256
DEPTH = 256  # of one block of a panel, which then stays in the first-level cache
DEEP, SHALLOW = 192, 64  # depths that pay for AMX tiles with any and with many pixels
MANY = 128  # pixels
UNITS = 16
LONG = 32  # columns of a row that are summed where they are
REASONS = ("one output channel per group sums long rows where they are",)


def cuts(k, g, width):
    """How the work is cut, by shapes alone; `g`: see input_panels."""

    @inline
    def channels_of(call):
        """Output channels of a group."""
        return k.input_dim(call, 1, 0) // k.attr_int(call, GROUP)

    @inline
    def tile_bytes(call):
        heavy = channels_of(call) * g.depth_of(call) * 4 > HEAVY
        return 2 * TILE_BYTES if heavy else TILE_BYTES

    @k.outline("int64(call)")
    def part_channels(call):
        """Input channels of a part of the depth, which is whole steps of tiles."""
        elements, channels, least = g.elements_of(call), k.input_dim(call, 1, 1), 1
        while least * elements % TILE != 0:
            least *= 2
        fit = tile_bytes(call) // (MOST_PIXELS * 4 * elements) // least * least
        return max(min(max(fit, least), channels), 1)

    @k.outline("int64(call)")
    def panels_of(call):
        """Panels of one tile."""
        need = (g.pixels_of(call) + width - 1) // width
        fit = tile_bytes(call) // max(part_channels(call) * g.elements_of(call) * width * 4, 1)
        most = max(min(fit, MOST_PIXELS // width), 1)
        tiles = max((need + most - 1) // most, 1)
        return max((need + tiles - 1) // tiles, 1)

    @inline
    def tiles_of(call):
        """Tiles of one group of one image."""
        tile = panels_of(call) * width
        return (g.pixels_of(call) + tile - 1) // tile

    @inline
    def places_of(call):
        return k.output_dim(call, 0, 0) * k.attr_int(call, GROUP) * tiles_of(call)

    @k.outline("int64(call)")
    def block_rows(call):
        """Output channels of a unit: not all of them when there are few tiles to share out."""
        channels, places = channels_of(call), max(places_of(call), 1)
        blocks = min(max(channels // 48, 1), (UNITS - 1) // places + 1)
        return ((channels + blocks - 1) // blocks + 15) // 16 * 16

    @inline
    def blocks_of(call):
        return (channels_of(call) + block_rows(call) - 1) // max(block_rows(call), 1)

    @inline
    def bytes_of(call, panels, channels):
        """Of the panels of a tile under as many input channels."""
        return panels * channels * g.elements_of(call) * width * 4

    return namespace(
        "cuts",
        channels_of=channels_of,
        panels_of=panels_of,
        tiles_of=tiles_of,
        places_of=places_of,
        block_rows=block_rows,
        blocks_of=blocks_of,
        bytes_of=bytes_of,
        part_channels=part_channels,
    )


def weight_pieces(k, g, c, split, few):
    """The pieces of weights for AMX tiles, of each group [step of the depth][piece][channel], and
    which products they pay for.
    """
    count, plane_bytes, steps_of, split_rows = (
        *(split.count, split.plane_bytes),
        *(split.steps, split.split_rows),
    )

    @inline
    def pays(call, rows):
        """Whether rows of weights are worth pieces."""
        depth = g.depth_of(call)
        return count > 0 and rows > few and (depth >= DEEP or (depth >= SHALLOW and rows > TILE))

    @inline
    def by_tiles(call, rows):
        return pays(call, rows) and (g.depth_of(call) >= DEEP or g.pixels_of(call) >= MANY)

    @inline
    def plane(call):
        return plane_bytes(c.channels_of(call))

    @inline
    def group_bytes(call):
        return steps_of(g.depth_of(call)) * count * plane(call)

    @inline
    def pieces_bytes(call):
        has = pays(call, c.channels_of(call))
        return k.attr_int(call, GROUP) * group_bytes(call) if has else 0

    @inline
    def blocks(call):
        """Blocks of 32 channels of all groups."""
        return k.attr_int(call, GROUP) * ((c.channels_of(call) + TILE - 1) // TILE)

    @inline
    def make(call, block, to):
        channels, depth = c.channels_of(call), g.depth_of(call)
        across = (channels + TILE - 1) // TILE
        group, first = block // across, block % across * TILE
        to = k.offset(to, group * group_bytes(call) + first * ROW)
        x = k.offset(k.input(call, 1), (group * channels + first) * depth * 4)
        split_rows(to, plane(call), x, depth, min(channels - first, TILE), depth)

    @inline
    def at(call, group, channel, depth):
        """Where those of a channel begin, from element `depth` on."""
        all_of = k.workspace(call)
        if k.has_packed(call, 1):
            all_of = k.packed(call, 1)
        step = depth // TILE * count * plane(call)
        return k.offset(all_of, group * group_bytes(call) + step + channel * ROW)

    return namespace(
        "weight_pieces",
        by_tiles=by_tiles,
        plane=plane,
        pieces_bytes=pieces_bytes,
        blocks=blocks,
        make=make,
        at=at,
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

    Scratch memory holds panels [depth][width] of the inputs under each window element, for a part
    of the input channels. Where several units are of one tile the workspace has those of all
    tiles, part by part. The weights are packed as pieces for AMX tiles, or become those first.
    """
    p = product(k)
    width, block = p.panels.width, p.panels.block
    few, tiled, has_nan = 2 * p.few, p.tiled, p.has_nan
    split = split_product(k, "T") if tiled else no_product()
    multiply_tiles, room_bytes = split.multiply, split.scratch
    v, lanes, get, w = k.vector("T"), k.lanes("T"), k.load("T"), window(k, 1)
    g = input_panels(k, w, width)
    c = cuts(k, g, width)
    pieces = weight_pieces(k, g, c, split, few)
    depth_of, pixels_of = g.depth_of, g.pixels_of
    channels_of, blocks_of = c.channels_of, c.blocks_of

    @inline
    def own_pieces(call):
        """Bytes of pieces of weights in the workspace."""
        has = k.has_packed(call, 1) or not pieces.by_tiles(call, channels_of(call))
        return 0 if has else pieces.pieces_bytes(call)

    @inline
    def is_shared(call):
        return blocks_of(call) > 1

    @inline
    def tiles_by(call, panels):
        """Tiles of one group of one image, of as many panels."""
        return (pixels_of(call) + panels * width - 1) // (panels * width)

    @k.outline("int64(call, int64, int64, int64, int64, int64, pointer, pointer)")
    def pack(call, panels, most, place, i, first, to, table):
        """Panel i of a tile for the part, of at most `most` input channels, that begins with the
        input channel `first`."""
        tiles, start = tiles_by(call, panels), i * width
        start += place % tiles * panels * width
        count = min(pixels_of(call) - start, width)
        channels = min(k.input_dim(call, 1, 1) - first, most)
        if count > 0:
            to = k.offset(to, i * channels * g.elements_of(call) * width * 4)
            g.panel(call, place // tiles, start, count, first, channels, to, table)
        return 0

    @inline
    def fill_bias(call, y, channel, rows, count):
        pixels = pixels_of(call)
        for r in range(rows):
            b = v.set(get(k.input(call, 2), channel + r))
            i = 0
            while i < count:
                v.store_n(y, r * pixels + i, b, min(count - i, lanes))
                i += lanes

    @k.outline("int64(call, int64, int64, int64, int64, int64, int64, pointer, pointer, pointer)")
    def add_tiles(call, group, first, rows, count, start, depth, y, packed, room):
        """Adds, by AMX tiles, the products of elements [start, start + depth) of the windows, for
        `rows` channels of a group, from `first` on, of `count` pixels."""
        pixels, plane = pixels_of(call), pieces.plane(call)
        for r in range(0, rows, TILED_ROWS):
            for d in range(0, depth, TILED_DEPTH):
                fresh = 0 if start + d > 0 or k.has_input(call, 2) else 1
                a = pieces.at(call, group, first + r, start + d)
                b, to = k.offset(packed, d * width * 4), k.offset(y, r * pixels * 4)
                deep, tall = min(depth - d, TILED_DEPTH), min(rows - r, TILED_ROWS)
                multiply_tiles(
                    *(tall, count, deep, a, plane, b, width, depth * width, to, pixels),
                    *(fresh, room),
                )
        return 0

    @k.outline("int64(call, int64, int64, int64, int64, int64, pointer, pointer)")
    def add_blocks(call, channel, rows, count, start, depth, y, packed):
        """The same without tiles; `channel`: the first of all."""
        pixels, whole = pixels_of(call), depth_of(call)
        weight = k.offset(k.input(call, 1), (channel * whole + start) * 4)
        for d in range(0, depth, DEPTH):
            fresh = 0 if start + d > 0 or k.has_input(call, 2) else 1
            a, b, deep = k.offset(weight, d * 4), k.offset(packed, d * width * 4), depth - d
            deep = min(deep, DEPTH)
            block(rows, count, deep, a, whole, 1, b, width, depth * width, y, pixels, fresh)
        return 0

    @k.outline(
        "int64(call, int64, int64, int64, int64, int64, int64, int64, int64, pointer, pointer,"
        "pointer)"
    )
    def add_up(call, by_tiles, panels, most, shared, place, first, rows, count, y, packed, room):
        """`rows` channels, from `first` of the group on, of the pixels of a tile."""
        inputs, group = k.input_dim(call, 1, 1), k.attr_int(call, GROUP)
        group = place // tiles_by(call, panels) % group
        channel = group * channels_of(call) + first
        if k.has_input(call, 2):
            fill_bias(call, y, channel, rows, count)
        for i in range(0, inputs, most):
            panel = packed
            if shared == 1:
                panel = k.offset(packed, c.bytes_of(call, panels, i))
            else:
                g.forget(room)
                for j in range(panels):
                    pack(call, panels, most, place, j, i, panel, room)
            start, depth = i * g.elements_of(call), min(inputs - i, most) * g.elements_of(call)
            if tiled and by_tiles == 1:
                add_tiles(call, group, first, rows, count, start, depth, y, panel, room)
            else:
                add_blocks(call, channel, rows, count, start, depth, y, panel)
        return 0

    @k.outline("int64(call, int64, int64, int64, int64, int64, int64, pointer, pointer)")
    def compute(call, panels, most, shared, place, first, rows, packed, room):
        """A block of channels of a tile; `packed`: its panels, or memory for those of a part."""
        tiles, channels, pixels = tiles_by(call, panels), channels_of(call), pixels_of(call)
        start, bad = place % tiles * panels * width, 1
        count, rows = min(pixels - start, panels * width), min(rows, channels - first)
        at = (place // tiles * channels + first) * pixels + start
        y = k.offset(k.output(call, 0), at * 4)
        if tiled and pieces.by_tiles(call, rows):
            add_up(call, 1, panels, most, shared, place, first, rows, count, y, packed, room)
            bad = has_nan(y, pixels, rows, count)
        if bad == 1:
            add_up(call, 0, panels, most, shared, place, first, rows, count, y, packed, room)
        for r in range(rows):
            of = r * pixels
            k.epilogue(call, k.offset(y, of * 4), at + of, count)
        return 0

    def run(call, phase, begin, end, scratch):
        panels, most, rows = c.panels_of(call), c.part_channels(call), c.block_rows(call)
        blocks, whole = (channels_of(call) + rows - 1) // rows, k.input_dim(call, 1, 1)
        all_panels = k.offset(k.workspace(call), own_pieces(call))
        shared, all_bytes = 1 if blocks > 1 else 0, c.bytes_of(call, panels, whole)
        room = k.offset(scratch, 0 if shared == 1 else c.bytes_of(call, panels, most))
        g.forget(room)
        for unit in range(begin, end):
            if phase == 0:
                pieces.make(call, unit, k.workspace(call))
            elif phase == 1:
                place, panel = unit // panels, unit % panels
                for i in range(0, whole, most):
                    to = k.offset(all_panels, place * all_bytes + c.bytes_of(call, panels, i))
                    pack(call, panels, most, place, panel, i, to, room)
            else:
                place, first, packed = unit // blocks, unit % blocks * rows, scratch
                if shared == 1:
                    packed = k.offset(all_panels, place * all_bytes)
                compute(call, panels, most, shared, place, first, rows, packed, room)
        return k.OK

    def units(call, phase):
        n = 0
        if k.output_size(call, 0) > 0:
            if phase == 0:
                n = pieces.blocks(call) if own_pieces(call) > 0 else 0
            elif phase == 1:
                n = c.places_of(call) * c.panels_of(call) if is_shared(call) else 0
            else:
                n = c.places_of(call) * blocks_of(call)
        return n

    def workspace(call):
        panels = c.places_of(call) * c.bytes_of(call, c.panels_of(call), k.input_dim(call, 1, 1))
        return own_pieces(call) + (panels if is_shared(call) else 0) + 64

    def scratch(call):
        own = 0
        if not is_shared(call):
            own = c.bytes_of(call, c.panels_of(call), c.part_channels(call))
        room = room_bytes(min(depth_of(call), TILED_DEPTH))
        return own + max(room, g.table_bytes(call)) + 64

    def work(call):
        return 2 * k.output_size(call, 0) * depth_of(call) // 120 + 100

    def pack_size(call, i):
        return pieces.pieces_bytes(call) if i == 1 else 0

    def pack_weights(call, i, to):
        for unit in range(pieces.blocks(call)):
            pieces.make(call, unit, to)
        return k.OK

    def supports(call):
        columns = k.output_dim(call, 0, k.output_rank(call, 0) - 1)
        return 1 if channels_of(call) == 1 and columns >= LONG else 0

    return parts(
        run=run,
        phases=3,
        units=units,
        workspace=workspace,
        scratch=scratch,
        work=work,
        pack_size=pack_size,
        pack=pack_weights,
        supports=supports,
    )
