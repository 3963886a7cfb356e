"""Conv of one tap over blocked images by AMX tiles: all weights in pieces, pixels in passing."""

from __future__ import annotations

from conv_pieces import GROUP_OF_TWO
from split_tiles import LANES, PIECES, ROW, TILE, split_parts, tiles_of
from weight_panels import bias_row, weight_rows
from windows import WINDOW, window

from _lang import amx, inline, kernel, namespace, parts

ATTRIBUTES = (*WINDOW, "group")
GROUP = len(WINDOW)
WIDTH = 32  # channels of a panel of weights
MOST = 512 << 10  # bytes of weights in pieces: what leaves room in the L2 cache
PIXELS = 512  # of a unit, where a plane has as many
UNITS = 16
PLANE = TILE * ROW  # bytes of one piece of a step: 32 pixels, or two halves of weights
STEP_BYTES = PIECES["float"] * PLANE
REASONS = (
    "the blocks are not as wide as this instruction set's vectors",
    "its windows have several elements or gaps, or it has groups",
    "too many weights to keep in pieces, or none that are constant",
    "too few channels or pixels for tiles",
)


def cuts(k):
    """How the work is cut, by shapes alone."""

    @inline
    def area_of(call):
        return k.output_dim(call, 0, 2) * k.output_dim(call, 0, 3)

    @inline
    def steps_of(call):
        return (k.input_dim(call, 1, 1) + GROUP_OF_TWO - 1) // GROUP_OF_TWO

    @inline
    def panels_of(call):
        return (k.input_dim(call, 1, 0) + WIDTH - 1) // WIDTH

    @inline
    def places_bytes(call):
        return (steps_of(call) * 8 + 63) // 64 * 64

    @inline
    def pieces_bytes(call):
        return panels_of(call) * steps_of(call) * STEP_BYTES

    @inline
    def runs_of(call):
        """Runs of pixels of one image."""
        blocks, images = (area_of(call) + TILE - 1) // TILE, max(k.output_dim(call, 0, 0), 1)
        wanted = max((area_of(call) + PIXELS - 1) // PIXELS, (UNITS + images - 1) // images)
        return min(wanted, blocks)

    return namespace(
        *("cuts",),
        area_of=area_of,
        steps_of=steps_of,
        panels_of=panels_of,
        places_bytes=places_bytes,
        pieces_bytes=pieces_bytes,
        runs_of=runs_of,
    )


@kernel(
    "ConvBlocked",
    domain="tiercel",
    types={"T": "float"},
    attributes=ATTRIBUTES,
    variant="pixels",
    isa="amx",
    order=-2,
    epilogue=True,
    reasons=REASONS,
)
def conv(k):
    """X is [N, C / 16, H, W, 16], Y is [N, M / 16, H, W, 16], W as in Conv.

    Weights are packed as pieces, in panels of 32 channels of output. A unit is a run of pixels: 32
    at a time become pieces while those before them are multiplied.
    """
    w, e = window(k, 1), split_parts(k, "float")
    v, offset, put_pair = k.vector("float", LANES), k.offset, e.put
    get, put, put_place = k.load("float"), k.store("float"), k.store("int64")
    panel_rows, fill_bias = weight_rows(k, WIDTH, GROUP_OF_TWO), bias_row(k)
    begin_tiles, end_tiles = amx.begin(), amx.end()

    @inline
    def take(to, source, area, q, channels, count):
        """Pair q of 32 pixels of input: what two blocks have of pixel q % 32 in step q // 32;
        `count` of the pixels are there."""
        step, pixel = q // TILE, q % TILE
        at = (2 * step * area + pixel) * LANES
        place = offset(to, step * STEP_BYTES + pixel * ROW)
        left = channels - step * GROUP_OF_TWO
        if pixel < count:
            if left >= GROUP_OF_TWO:
                put_pair(place, PLANE, v.load(source, at), v.load(source, at + area * LANES))
            else:
                rest = max(left - LANES, 0)
                second = v.load_n(source, at + (area * LANES if rest > 0 else 0), rest)
                put_pair(place, PLANE, v.load_n(source, at, left), second)

    tiles = tiles_of(k, (e.count, e.count), take)

    c = cuts(k)
    area_of, steps_of, panels_of, runs_of = c.area_of, c.steps_of, c.panels_of, c.runs_of
    pieces_bytes, places_bytes = c.pieces_bytes, c.places_bytes

    @inline
    def pack_weights(call, to):
        """A step of a panel at a time, by way of 32 rows of floats behind the pieces."""
        channels, inputs = k.input_dim(call, 1, 0), k.input_dim(call, 1, 1)
        rows = offset(to, pieces_bytes(call))
        for panel in range(panels_of(call)):
            for s in range(steps_of(call)):
                m, d = panel * WIDTH, s * GROUP_OF_TWO
                panel_rows(rows, k.input(call, 1), channels, inputs, 1, m, d)
                place = offset(to, (panel * steps_of(call) + s) * STEP_BYTES)
                for q in range(TILE):
                    e.take(place, rows, WIDTH, q, GROUP_OF_TWO, 0)

    @k.outline("int64(pointer, pointer, pointer, int64, int64, int64)")
    def deliver(sums, bias, y, area, count, halves):
        """Sums and bias into one or two blocks of output; 1 when there is a NaN or infinity."""
        low, high, check = v.load(bias, 0), v.load(bias, LANES), v.zero()
        for p in range(count):
            value = v.load(sums, p * WIDTH) + low
            check = check + (value - value)
            v.store(y, p * LANES, value)
        if halves > 1:
            for p in range(count):
                value = v.load(sums, p * WIDTH + LANES) + high
                check = check + (value - value)
                v.store(y, (area + p) * LANES, value)
        total = v.sum(check)
        return 0 if total == total else 1

    @k.outline("int64(call, int64, int64, int64)")
    def directly(call, image, first, last):
        """A run of pixels without pieces."""
        area, inputs, channels = area_of(call), k.input_dim(call, 1, 1), k.input_dim(call, 1, 0)
        x, y, weight = k.input(call, 0), k.output(call, 0), k.input(call, 1)
        for m in range(channels):
            to = (image * k.output_dim(call, 0, 1) + m // LANES) * area
            start = 0
            if k.has_input(call, 2):
                start = get(k.input(call, 2), m)
            for p in range(first, last):
                total = start
                for d in range(inputs):
                    at = (image * k.input_dim(call, 0, 1) + d // LANES) * area + p
                    value = get(x, at * LANES + d % LANES)
                    total = k.math.fma(value, get(weight, m * inputs + d), total)
                put(y, (to + p) * LANES + m % LANES, total)
        return 0

    @k.outline("int64(call, pointer, pointer, pointer, pointer, int64, int64, int64)")
    def multiply(call, ready, x, to, memory, image, p, last):
        """32 pixels from p on, whose pieces are `ready`, by all channels; meanwhile the pixels at
        `x` become pieces at `to`. 1 when there is a NaN or infinity."""
        area, blocks, channels = area_of(call), k.output_dim(call, 0, 1), k.input_dim(call, 1, 1)
        steps, number, bad, left = steps_of(call), panels_of(call), 0, last - p - TILE
        pairs, per = steps * TILE if left > 0 else 0, (TILE + number - 1) // number
        places, sums = memory, offset(memory, places_bytes(call))
        bias, tall = offset(sums, TILE * WIDTH * 4), TILE if left > 16 - TILE else 16
        for panel in range(number):
            q = panel * steps * per
            end = min(q + steps * per, pairs)
            b = offset(k.packed(call, 1), panel * steps * STEP_BYTES)
            tiles(
                steps,
                ready,
                places,
                PLANE,
                b,
                sums,
                WIDTH,
                1,
                tall,
                WIDTH,
                sums,
                to,
                x,
                area,
                channels,
                q,
                end,
                per,
                left,
            )
            y = offset(k.output(call, 0), ((image * blocks + 2 * panel) * area + p) * LANES * 4)
            part = offset(bias, panel * WIDTH * 4)
            bad |= deliver(sums, part, y, area, min(last - p, TILE), min(blocks - 2 * panel, 2))
        return bad

    @k.outline("int64(call, int64, int64, int64, pointer)")
    def pixels(call, image, first, last, memory):
        """A run of pixels of all channels; 1 when there is a NaN or infinity."""
        area, steps, channels = area_of(call), steps_of(call), k.input_dim(call, 1, 1)
        ready = offset(memory, places_bytes(call) + (TILE + panels_of(call)) * WIDTH * 4)
        to, bad = offset(ready, steps * STEP_BYTES), 0
        at = (image * k.input_dim(call, 0, 1) * area + first) * LANES
        x = offset(k.input(call, 0), at * 4)
        for q in range(steps * TILE):
            take(ready, x, area, q, channels, last - first)
        for p in range(first, last, TILE):
            x = offset(x, TILE * LANES * 4)
            bad |= multiply(call, ready, x, to, memory, image, p, last)
            ready, to = to, ready
        return bad

    def run(call, phase, begin, end, scratch):
        begin_tiles(scratch)
        room = offset(scratch, 64)
        area, steps, runs = area_of(call), steps_of(call), runs_of(call)
        for s in range(steps):
            put_place(room, s, s * STEP_BYTES)
        bias = offset(room, places_bytes(call) + TILE * WIDTH * 4)
        fill_bias(call, 0, panels_of(call) * WIDTH, bias)
        for unit in range(begin, end):
            image, part, tiles = unit // runs, unit % runs, (area + TILE - 1) // TILE
            first = part * tiles // runs * TILE
            last = min((part + 1) * tiles // runs * TILE, area)
            if pixels(call, image, first, last, room) == 1:
                directly(call, image, first, last)
            for block in range(k.output_dim(call, 0, 1)):
                at = ((image * k.output_dim(call, 0, 1) + block) * area + first) * LANES
                k.epilogue(call, offset(k.output(call, 0), at * 4), at, (last - first) * LANES)
        end_tiles()
        return k.OK

    def units(call, phase):
        out = k.output_dim(call, 0, 0) * runs_of(call)
        return out if k.output_size(call, 0) > 0 else 0

    def scratch(call):
        room = places_bytes(call) + (TILE + panels_of(call)) * WIDTH * 4 + 64
        return room + 2 * steps_of(call) * STEP_BYTES

    def work(call):
        return k.output_size(call, 0) * k.input_dim(call, 1, 1) // 80 + 100

    def supports(call):
        """Cycles of a pixel by tiles, and without."""
        why, panels = 0, panels_of(call)
        plain = k.input_dim(call, 1, 0) * k.input_dim(call, 1, 1) // 26
        high = (area_of(call) + 15) // 16 * 16
        tiled = (steps_of(call) * panels * 18 + panels * 6 + 6) * high // max(area_of(call), 1)
        whole = k.input_rank(call, 0) == 5 and k.attr_int(call, GROUP) == 1
        for i in range(2):
            whole = whole and k.input_dim(call, 1, i + 2) == 1 and w.stride(call, i) == 1
            whole = whole and w.before(call, i) == 0
            whole = whole and k.input_dim(call, 0, i + 2) == k.output_dim(call, 0, i + 2)
        if k.output_dim(call, 0, 4) != LANES:
            why = 1
        elif not whole:
            why = 2
        elif pieces_bytes(call) > MOST or not k.has_packed(call, 1):
            why = 3
        elif tiled > plain:
            why = 4
        return why

    def pack_size(call, index):
        fits = pieces_bytes(call) <= MOST and k.input_dim(call, 1, 2) * k.input_dim(call, 1, 3) == 1
        return pieces_bytes(call) + GROUP_OF_TWO * WIDTH * 4 if index == 1 and fits else 0

    def pack(call, index, to):
        pack_weights(call, to)
        return k.OK

    return parts(
        run=run,
        units=units,
        scratch=scratch,
        work=work,
        supports=supports,
        pack_size=pack_size,
        pack=pack,
    )
