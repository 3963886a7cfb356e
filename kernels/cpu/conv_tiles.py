"""Conv of float32 images in the blocked layout by AMX tiles: pixels × channels, a tap at a time."""

from __future__ import annotations

from conv_pieces import GROUP_OF_TWO, image_pieces
from split_tiles import LANES, PIECES, ROW, TILE, split_parts
from weight_panels import bias_row, weight_rows
from windows import WINDOW, window

from _lang import amx, inline, kernel, namespace, parts

ATTRIBUTES = (*WINDOW, "group", "bfloat16")
GROUP = len(WINDOW)
ROUNDED = GROUP + 1
WIDTH = 32  # channels of a panel of weights
STEP_BYTES = GROUP_OF_TWO * WIDTH * 4  # of a panel's weights of one step
SHARED = 2 << 20  # bytes of pieces of an image that all units share
BAND = 3 << 18  # bytes of pieces of a band of rows
PIXELS = 1024  # of a band, at most
BANDS = 8  # of an image, at least, where each has FEWEST pixels
FEWEST = 192
APART = 4  # panels of a part that makes pieces of its own
UNITS = 16  # that share an image with its pieces
LEAST = 96  # pixels of one of two bands, where they are all the units there are
HELD = 24  # steps of the depth whose weights are in pieces at once
REASONS = (
    "the blocks are not as wide as this instruction set's vectors",
    "it has groups or reads planes",
    "too few channels or pixels for tiles",
    "session.precision asks for all bits of the factors",
)


def cuts(k, g):
    """How the work is cut, by shapes alone; `g`: see image_pieces."""

    @inline
    def taps_of(call):
        return k.input_dim(call, 1, 2) * k.input_dim(call, 1, 3)

    @inline
    def steps_of(call):
        return g.channel_steps(call) * taps_of(call)

    @inline
    def panels_of(call):
        return (k.input_dim(call, 1, 0) + WIDTH - 1) // WIDTH

    @inline
    def rows_of(call):
        return k.output_dim(call, 0, 2)

    @inline
    def is_shared(call):
        """Whether an image becomes pieces once for all units."""
        return g.channel_steps(call) * g.step_bytes(call, rows_of(call)) <= SHARED

    @k.outline("int64(call)")
    def bands_of(call):
        """Bands of rows of an image: those that are not shared make pieces of their own."""
        rows, across = rows_of(call), g.columns(call)
        out = (rows * across + PIXELS - 1) // PIXELS
        if not is_shared(call):
            out = max(out, min(rows * across // FEWEST, BANDS))
        elif k.output_dim(call, 0, 0) * panels_of(call) == 1 and rows * across >= 2 * LEAST:
            out = max(out, 2)
        return min(max(out, 1), max(rows, 1))

    @k.outline("int64(call)")
    def height_of(call):
        """Rows of output under which pieces lie together."""
        bands = bands_of(call)
        return rows_of(call) if is_shared(call) else (rows_of(call) + bands - 1) // bands

    @k.outline("int64(call)")
    def group_of(call):
        """Steps of channels whose pieces are there at once; those of a band fit the L2 cache."""
        steps, most = g.channel_steps(call), BAND // g.step_bytes(call, height_of(call))
        groups = 1 if is_shared(call) else (steps + max(most, 1) - 1) // max(most, 1)
        return (steps + groups - 1) // max(groups, 1)

    @inline
    def pieces_bytes(call):
        return group_of(call) * g.step_bytes(call, height_of(call))

    @k.outline("int64(call)")
    def parts_of(call):
        """Parts of the panels, which are units of their own."""
        tasks = max(k.output_dim(call, 0, 0) * bands_of(call), 1)
        most = panels_of(call)
        if not is_shared(call):
            most = max(most // APART, 1) if group_of(call) < g.channel_steps(call) else 1
        return min((UNITS + tasks - 1) // tasks, most)

    @inline
    def chunk_of(call):
        """Steps whose weights are in pieces at once: an even share."""
        steps = steps_of(call)
        chunks = (steps + HELD - 1) // HELD
        return (steps + chunks - 1) // max(chunks, 1)

    @inline
    def sums_bytes(call):
        """Of one panel."""
        pixels = ((rows_of(call) + bands_of(call) - 1) // bands_of(call)) * g.columns(call)
        return (pixels + TILE - 1) // TILE * TILE * WIDTH * 4

    @inline
    def panels_held(call):
        """Panels whose sums are there at once: more than one where channels come in groups."""
        whole = group_of(call) == g.channel_steps(call)
        return 1 if whole else (panels_of(call) + parts_of(call) - 1) // parts_of(call)

    @inline
    def packed_bytes(call):
        return panels_of(call) * steps_of(call) * STEP_BYTES

    @inline
    def pays(call):
        """Whether tiles take fewer cycles, with the pieces of both operands, than vectors; in
        shares of 1024."""
        taps, deep, rows = taps_of(call), g.channel_steps(call) * GROUP_OF_TWO, rows_of(call)
        wide, across = k.output_dim(call, 0, 3), g.columns(call)
        high = ((rows - 1) * across + wide + 15) // 16 * 16
        split = g.rows(call, rows)
        if not is_shared(call):
            split = bands_of(call) * parts_of(call) * g.rows(call, height_of(call))
        split *= across * g.planes(call)
        tiled = deep * (panels_of(call) * WIDTH * taps * (high * 18 + 600) + split * 500)
        work = k.input_dim(call, 1, 1) * k.input_dim(call, 1, 0) * g.taps(call, 1)
        # Windows of several taps lose some cycles at the edges.
        return tiled <= work * g.rows_under_taps(call) * wide * (36 if taps == 1 else 42)

    return namespace(
        *("cuts",),
        packed_bytes=packed_bytes,
        pays=pays,
        taps_of=taps_of,
        steps_of=steps_of,
        panels_of=panels_of,
        rows_of=rows_of,
        bands_of=bands_of,
        is_shared=is_shared,
        height_of=height_of,
        group_of=group_of,
        pieces_bytes=pieces_bytes,
        panels_held=panels_held,
        parts_of=parts_of,
        chunk_of=chunk_of,
        sums_bytes=sums_bytes,
    )


def conv(k, pieces):
    """X is [N, C / 16, H, W, 16], Y is [N, M / 16, Y, X, 16], W as in Conv.

    Weights are packed in panels of 32 channels of output, a row for each tap of each channel of
    input. Pixels of input become pieces once: for the whole image in phase 0 where that is small,
    else for the band of rows of a unit of phase 1.
    """
    e, v, offset = split_parts(k, "float", pieces), k.vector("float", LANES), k.offset
    g = image_pieces(k, window(k, 1), e)
    get, rows, fill_bias = k.load("float"), weight_rows(k, WIDTH, GROUP_OF_TWO), bias_row(k)
    begin_tiles, end_tiles = amx.begin(), amx.end()

    c = cuts(k, g)

    @inline
    def pack_weights(call, to):
        channels, inputs, taps = k.input_dim(call, 1, 0), k.input_dim(call, 1, 1), c.taps_of(call)
        for panel in range(c.panels_of(call)):
            for s in range(g.channel_steps(call)):
                place = offset(to, (panel * g.channel_steps(call) + s) * taps * STEP_BYTES)
                m, d = panel * WIDTH, s * GROUP_OF_TWO
                rows(place, k.input(call, 1), channels, inputs, taps, m, d)

    @k.outline("int64(call, int64, int64, int64, int64, pointer, pointer)")
    def deliver(call, image, panel, row, height, sums, bias):
        """Sums of a panel and the bias into the output; 1 when there is a NaN or infinity."""
        wide, across = k.output_dim(call, 0, 3), g.columns(call)
        blocks, pixels = k.output_dim(call, 0, 1), c.rows_of(call) * wide
        check = v.zero()
        for half in range(min(2, blocks - 2 * panel)):
            shift = v.load(bias, half * LANES)
            to = (image * blocks + 2 * panel + half) * pixels + row * wide
            y = offset(k.output(call, 0), to * LANES * 4)
            for r in range(height):
                line, at = r * across * WIDTH + half * LANES, r * wide * LANES
                for x in range(wide):
                    value = v.load(sums, line + x * WIDTH) + shift
                    check = check + (value - value)
                    v.store(y, at + x * LANES, value)
        total = v.sum(check)
        return 0 if total == total else 1

    @k.outline("int64(call, int64, int64, int64, int64, pointer, pointer)")
    def directly(call, image, panel, row, height, weights, bias):
        """The same without pieces, a pixel at a time."""
        wide, inputs = k.output_dim(call, 0, 3), k.input_dim(call, 1, 1)
        blocks, pixels = k.output_dim(call, 0, 1), c.rows_of(call) * wide
        deep, extent = k.input_dim(call, 0, 2), k.input_dim(call, 0, 3)
        taps_x = g.taps(call, 1)
        for pixel in range(row * wide, (row + height) * wide):
            low, high = v.load(bias, 0), v.load(bias, LANES)
            for t in range(c.taps_of(call)):
                i = pixel // wide * g.stride(call, 0) + t // taps_x * g.spread(call, 0)
                j = pixel % wide * g.stride(call, 1) + t % taps_x * g.spread(call, 1)
                i, j = i - g.pad(call, 0), j - g.pad(call, 1)
                if 0 <= i and i < deep and 0 <= j and j < extent:
                    for d in range(inputs):
                        block = image * k.input_dim(call, 0, 1) + d // LANES
                        at = ((block * deep + i) * extent + j) * LANES + d % LANES
                        x = v.set(get(k.input(call, 0), at))
                        step = d // GROUP_OF_TWO * c.taps_of(call) + t
                        line = (step * GROUP_OF_TWO + d % GROUP_OF_TWO) * WIDTH
                        low = v.fma(x, v.load(weights, line), low)
                        high = v.fma(x, v.load(weights, line + LANES), high)
            to = ((image * blocks + 2 * panel) * pixels + pixel) * LANES
            v.store(k.output(call, 0), to, low)
            if 2 * panel + 1 < blocks:
                v.store(k.output(call, 0), to + pixels * LANES, high)
        return 0

    @k.outline("int64(call, int64, int64, int64, int64)")
    def finish(call, image, panel, row, height):
        wide, blocks = k.output_dim(call, 0, 3), k.output_dim(call, 0, 1)
        for block in range(2 * panel, min(2 * panel + 2, blocks)):
            at = ((image * blocks + block) * c.rows_of(call) + row) * wide * LANES
            y = offset(k.output(call, 0), at * 4)
            k.epilogue(call, y, at, height * wide * LANES)
        return 0

    @k.outline(
        "int64(call, int64, int64, int64, pointer, pointer, pointer, pointer, pointer, pointer,"
        "int64)"
    )
    def add_steps(call, first, some, pixels, a, places, ready, sums, to, source, following):
        """Sums of `pixels` over `some` steps from `first` on, whose weights are in pieces at
        `ready`; meanwhile `following` steps of weights from `source` on become pieces at `to`."""
        apart, blocks = g.plane(call, c.height_of(call)), (pixels + TILE - 1) // TILE
        per, pairs = (TILE + blocks - 1) // blocks, following * TILE
        table, fresh = offset(places, first * 8), 1 if first == 0 else 0
        depth, beyond = following * GROUP_OF_TWO, following * STEP_BYTES
        for i in range(0, pixels, TILE):
            q = i // TILE * some * per
            end = min(q + some * per, pairs)
            x, y, tall = offset(a, i * ROW), offset(sums, i * WIDTH * 4), TILE
            if pixels - i <= 16:
                tall = 16
            e.tiles(
                some,
                x,
                table,
                apart,
                ready,
                y,
                WIDTH,
                fresh,
                tall,
                WIDTH,
                y,
                to,
                source,
                WIDTH,
                depth,
                q,
                end,
                per,
                beyond,
            )
        for q in range(blocks * some * per, pairs):
            e.take(to, source, WIDTH, q, depth, beyond)
        return 0

    @k.outline("int64(call, int64, int64, int64, int64, pointer, pointer)")
    def complete(call, image, panel, row, height, sums, bias):
        """Sums of a panel into the output, with its bias and the epilogue."""
        fill_bias(call, panel * WIDTH, WIDTH, bias)
        if deliver(call, image, panel, row, height, sums, bias) == 1:
            weights = k.packed(call, 1) if k.has_packed(call, 1) else k.workspace(call)
            own = offset(weights, panel * c.steps_of(call) * STEP_BYTES)
            directly(call, image, panel, row, height, own, bias)
        finish(call, image, panel, row, height)
        return 0

    @k.outline(
        "int64(call, int64, int64, int64, int64, int64, int64, int64, pointer, pointer, pointer)"
    )
    def panels(call, image, row, height, begin, stop, start, end, a, places, room):
        """Panels [start, end) of one band over the steps [begin, stop), whose pieces begin at
        `a`; their outputs where these steps are the last."""
        steps, chunk = c.steps_of(call), c.chunk_of(call)
        pixels = (height - 1) * g.columns(call) + k.output_dim(call, 0, 3)
        weights = k.packed(call, 1) if k.has_packed(call, 1) else k.workspace(call)
        held, more, odd = chunk * e.step_bytes, 1 if c.panels_held(call) > 1 else 0, 0
        bias, sums = room, offset(room, WIDTH * 4)
        now = offset(sums, c.panels_held(call) * c.sums_bytes(call))
        source = offset(weights, (start * steps + begin) * STEP_BYTES)
        for q in range(min(chunk, stop - begin) * TILE):
            e.take(now, source, WIDTH, q, steps * GROUP_OF_TWO, 0)
        for panel in range(start, end):
            to_sums = offset(sums, (panel - start) * more * c.sums_bytes(call))
            first = begin
            while first < stop:
                some = min(stop - first, chunk)
                ready, to = offset(now, odd * held), offset(now, (1 - odd) * held)
                odd = 1 - odd
                following, at = min(stop - first - some, chunk), panel * steps + first + some
                if following == 0 and panel + 1 < end:
                    following, at = min(chunk, stop - begin), (panel + 1) * steps + begin
                source = offset(weights, at * STEP_BYTES)
                add_steps(
                    call, first, some, pixels, a, places, ready, to_sums, to, source, following
                )
                first += some
            if stop == steps:
                complete(call, image, panel, row, height, to_sums, bias)
        return 0

    @inline
    def scratch_bytes(call):
        room = WIDTH * 4 + c.panels_held(call) * c.sums_bytes(call)
        return room + 2 * c.chunk_of(call) * e.step_bytes

    @inline
    def shared_at(call):
        packed = 0 if k.has_packed(call, 1) else c.packed_bytes(call)
        return offset(k.workspace(call), packed)

    @k.outline("int64(call, int64, pointer)")
    def compute(call, unit, scratch):
        bands, pieces, number = c.bands_of(call), c.parts_of(call), c.panels_of(call)
        part, place = unit % pieces, unit // pieces
        image, index = place // bands, place % bands
        row, end = index * c.rows_of(call) // bands, (index + 1) * c.rows_of(call) // bands
        places = offset(scratch, 64)
        room = offset(places, (c.steps_of(call) * 8 + 63) // 64 * 64)
        start, last = part * number // pieces, (part + 1) * number // pieces
        if c.is_shared(call):
            a = offset(shared_at(call), image * c.pieces_bytes(call) + row * g.columns(call) * ROW)
            panels(call, image, row, end - row, 0, c.steps_of(call), start, last, a, places, room)
        else:
            a, taps, step = offset(room, scratch_bytes(call)), c.taps_of(call), 0
            bytes_step = g.step_bytes(call, c.height_of(call))
            while step < g.channel_steps(call):
                stop = min(step + c.group_of(call), g.channel_steps(call))
                for s in range(step, stop):
                    to = offset(a, (s - step) * bytes_step)
                    g.split_step(call, image, s, row, c.height_of(call), to)
                x, first, behind = offset(a, -step * bytes_step), step * taps, stop * taps
                panels(call, image, row, end - row, first, behind, start, last, x, places, room)
                step = stop
        return 0

    def run(call, phase, begin, end, scratch):
        if phase == 0:
            pack_weights(call, k.workspace(call))
            return k.OK
        if phase == 1:
            steps = g.channel_steps(call)
            for unit in range(begin, end):
                at = unit // steps * c.pieces_bytes(call)
                at += unit % steps * g.step_bytes(call, c.rows_of(call))
                to = offset(shared_at(call), at)
                g.split_step(call, unit // steps, unit % steps, 0, c.rows_of(call), to)
            return k.OK
        begin_tiles(scratch)
        g.find_places(call, c.height_of(call), offset(scratch, 64))
        for unit in range(begin, end):
            compute(call, unit, scratch)
        end_tiles()
        return k.OK

    def units(call, phase):
        n, images = 0, k.output_dim(call, 0, 0)
        if phase == 0:
            n = 0 if k.has_packed(call, 1) else 1
        elif phase == 1:
            n = images * g.channel_steps(call) if c.is_shared(call) else 0
        elif k.output_size(call, 0) > 0:
            n = images * c.bands_of(call) * c.parts_of(call)
        return n

    def workspace(call):
        out = 64 if k.has_packed(call, 1) else c.packed_bytes(call)
        if c.is_shared(call):
            out += k.output_dim(call, 0, 0) * c.pieces_bytes(call)
        return out

    def scratch(call):
        own = 0 if c.is_shared(call) else c.pieces_bytes(call)
        return 128 + (c.steps_of(call) * 8 + 63) // 64 * 64 + scratch_bytes(call) + own

    def work(call):
        return k.output_size(call, 0) * k.input_dim(call, 1, 1) * c.taps_of(call) // 80 + 100

    def supports(call):
        why = 0
        if k.output_dim(call, 0, 4) != LANES:
            why = 1
        elif k.attr_int(call, GROUP) > 1 or k.input_rank(call, 0) != 5:
            why = 2
        elif pieces == 1 and k.attr_int(call, ROUNDED) != 1:
            why = 4
        elif pieces > 1 and not c.pays(call):
            why = 3
        return why

    def pack_size(call, index):
        return c.packed_bytes(call) if index == 1 else 0

    def pack(call, index, to):
        pack_weights(call, to)
        return k.OK

    return parts(
        run=run,
        phases=3,
        units=units,
        workspace=workspace,
        scratch=scratch,
        work=work,
        supports=supports,
        pack_size=pack_size,
        pack=pack,
    )


def of_pieces(pieces):
    """`conv` with numbers in `pieces`; one is rounded."""

    def build(k):
        return conv(k, pieces)

    return build


for variant, pieces, order in (("tiles", PIECES["float"], -1), ("bfloat16", 1, -4)):
    kernel(
        "ConvBlocked",
        domain="tiercel",
        types={"T": "float"},
        attributes=ATTRIBUTES,
        variant=variant,
        isa="amx",
        order=order,
        epilogue=True,
        reasons=REASONS,
    )(of_pieces(pieces))
