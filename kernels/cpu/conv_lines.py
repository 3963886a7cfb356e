"""Conv of float32 lines with few outputs each, long steps or one channel, as matrix products: rows
are windows of any of the lines, columns output channels.
"""

from attached import epilogue_rows
from product import product
from transpose_block import transpose_block
from windows import WINDOW, window

from _lang import inline, kernel, parts

ATTRIBUTES = (*WINDOW, "group")
GROUP = len(WINDOW)
ROWS = 112  # of a block: windows of several short lines, or of a piece of one
FEW, LONG_STEP = 64, 3  # outputs of a line, step between windows
REASONS = (
    "its weights are not packed",
    "it has one spatial axis and one group only",
    "windows that overlap on long lines are gathered in panels",
)


def cuts(k, w, step):
    """How a call is cut into blocks of windows and of output channels, whose panels have `step`
    columns, and bytes of scratch memory. All depends on shapes alone.
    """
    lanes = k.lanes("T")

    @inline
    def depth_of(call):
        return k.input_dim(call, 1, 1) * k.input_dim(call, 1, 2)

    @inline
    def lines_of(call):
        """Lines of one block."""
        outputs = k.output_dim(call, 0, 2)
        return max(min(ROWS // max(outputs, 1), k.output_dim(call, 0, 0)), 1)

    @inline
    def piece_of(call):
        """Outputs of a line in one block."""
        outputs = k.output_dim(call, 0, 2)
        pieces = max((outputs + ROWS - 1) // ROWS, 1)
        return (outputs + pieces - 1) // pieces

    @inline
    def blocks_of(call):
        lines, piece = lines_of(call), max(piece_of(call), 1)
        across = (k.output_dim(call, 0, 2) + piece - 1) // piece
        return (k.output_dim(call, 0, 0) + lines - 1) // lines * across

    @inline
    def panel_count(call):
        return (k.output_dim(call, 0, 1) + step - 1) // step

    @inline
    def split_of(call):
        """Panels of one unit: fewer when there are few blocks to share out."""
        cuts = min(max(16 // max(blocks_of(call), 1), 1), panel_count(call))
        return (panel_count(call) + cuts - 1) // max(cuts, 1)

    @inline
    def reach(call, piece):
        """Positions under the windows of `piece` outputs."""
        taps, spread = k.input_dim(call, 1, 2), w.dilation(call, 0)
        return (max(piece, 1) - 1) * w.stride(call, 0) + (taps - 1) * spread + 1

    @inline
    def rows_are_copied(call, lines):
        return lines > 1 or w.dilation(call, 0) > 1

    @inline
    def line_bytes(call):
        n = (reach(call, piece_of(call)) + lanes) * k.input_dim(call, 0, 1) * 4
        return (n + 127) // 64 * 64

    @inline
    def rows_bytes(call):
        n = lines_of(call) * piece_of(call) * depth_of(call) * 4
        return (n + 127) // 64 * 64 if rows_are_copied(call, lines_of(call)) else 64

    @inline
    def sums_bytes(call):
        rows = lines_of(call) * piece_of(call) + lanes
        return rows * split_of(call) * step * 4 + 64

    names = (depth_of, lines_of, piece_of, blocks_of, panel_count, split_of, reach)
    sizes = (rows_are_copied, line_bytes, rows_bytes, sums_bytes)
    return (*names, *sizes)


@kernel(
    "Conv",
    types={"T": "float"},
    attributes=ATTRIBUTES,
    variant="lines",
    order=-2,
    epilogue=True,
    reasons=REASONS,
)
def conv(k):
    """A unit is a block of windows and a block of output channels. Scratch memory holds one line,
    turned to [position][channel] with its padding, where a window is one run; the windows of
    several lines; the sums [window][channel].
    """
    x = product(k)
    g, lanes, v = x.panels, k.lanes("T"), k.vector("T")
    step, offset, pack_b, finish = g.width, k.offset, g.pack_b, epilogue_rows()
    get, put, w = k.load("T"), k.store("T"), window(k, 1)
    turn = transpose_block("float", "float", lanes)
    depth_of, lines_of, piece_of, blocks_of, panel_count, split_of, reach, *sizes = cuts(k, w, step)
    rows_are_copied, line_bytes, rows_bytes, sums_bytes = sizes

    @inline
    def zeros(to, at, count):
        i = 0
        while i < count:
            v.store_n(to, at + i, v.zero(), count - i)
            i += lanes

    @k.outline("int64(call, int64, int64, int64, pointer)")
    def turn_line(call, image, first, count, to):
        """Positions [first, first + count) of a line as [position][channel], zeros outside."""
        channels, extent = k.input_dim(call, 0, 1), k.input_dim(call, 0, 2)
        size, line, source = k.input_size(call, 0), image * channels * extent, k.input(call, 0)
        low, high = max(-first, 0), min(extent - first, count)
        high = max(high, low)
        low = min(low, high)
        if extent == 1 or channels == 1:
            if high > low:
                bytes_each = channels * 4
                at = (line + (first + low) * channels) * 4
                k.copy(to, low * bytes_each, source, at, (high - low) * bytes_each)
        else:
            p = low
            while p < high:
                c = 0
                at = line + first + p
                # What a square reads beyond the line is overwritten or never read.
                while c + lanes <= channels and at + (c + lanes - 1) * extent + lanes <= size:
                    turn(to, p * channels + c, channels, source, at + c * extent, extent)
                    c += lanes
                while c < channels:
                    for i in range(min(high - p, lanes)):
                        put(to, (p + i) * channels + c, get(source, at + c * extent + i))
                    c += 1
                p += lanes
        zeros(to, 0, min(low, count) * channels)
        zeros(to, high * channels, (count - high) * channels)
        return 0

    @inline
    def copy_run(to, at, source, start, count):
        i = 0
        while i + lanes <= count:
            v.store(to, at + i, v.load(source, start + i))
            i += lanes
        if i < count:
            v.store_n(to, at + i, v.load_n(source, start + i, count - i), count - i)

    @inline
    def reads_plain(call, start, piece):
        """Whether the windows lie in the input as they are: one channel, nothing outside."""
        first = start * w.stride(call, 0) - w.before(call, 0)
        inside = first >= 0 and first + reach(call, piece) <= k.input_dim(call, 0, 2)
        return inside and k.input_dim(call, 0, 1) == 1 and w.dilation(call, 0) == 1

    @k.outline("int64(call, int64, int64, int64, int64, pointer, pointer)")
    def gather(call, image, lines, start, piece, line, rows):
        """Windows of `lines` lines as rows."""
        channels, taps = k.input_dim(call, 0, 1), k.input_dim(call, 1, 2)
        stride, spread = w.stride(call, 0), w.dilation(call, 0)
        first, depth = start * stride - w.before(call, 0), depth_of(call)
        for i in range(lines):
            turn_line(call, image + i, first, reach(call, piece), line)
            if rows_are_copied(call, lines):
                for p in range(piece):
                    to, at = (i * piece + p) * depth, p * stride * channels
                    if spread == 1:
                        copy_run(rows, to, line, at, depth)
                    else:
                        for t in range(taps):
                            source = at + t * spread * channels
                            copy_run(rows, to + t * channels, line, source, channels)
        return 0

    @k.outline("int64(call, pointer, int64, int64, int64, int64, int64, int64, int64)")
    def deliver(call, sums, image, lines, start, piece, channel, columns, row):
        """Sums [window][channel] into lines of outputs, with the bias."""
        outputs, channels = k.output_dim(call, 0, 2), k.output_dim(call, 0, 1)
        y = k.output(call, 0)
        if k.has_input(call, 2):
            for r in range(lines * piece):
                for j in range(0, columns, lanes):
                    b = v.load_n(k.input(call, 2), channel + j, columns - j)
                    v.store(sums, r * row + j, v.load(sums, r * row + j) + b)
        whole = piece == outputs and columns == channels
        for i in range(lines):
            base = ((image + i) * channels + channel) * outputs + start
            end = ((image + (lines if whole else i + 1)) - 1) * channels * outputs
            end += (channel + columns) * outputs  # of what this unit writes in one run
            for p in range(0, piece, lanes):
                left = min(piece - p, lanes)
                for c in range(0, columns, lanes):
                    at, of = base + c * outputs + p, (i * piece + p) * row + c
                    # Rows of whole vectors: what a short one has too much, the next overwrites.
                    fits = left == lanes or (piece == outputs and p == 0)
                    last = at + (lanes - 1) * outputs + lanes
                    if fits and c + lanes <= columns and last <= end:
                        turn(y, at, outputs, sums, of, row)
                    else:
                        for j in range(min(columns - c, lanes)):
                            for q in range(left):
                                put(y, at + j * outputs + q, get(sums, of + q * row + j))
        return 0

    @inline
    def finish_block(call, image, lines, start, piece, channel, columns):
        outputs, channels = k.output_dim(call, 0, 2), k.output_dim(call, 0, 1)
        for i in range(lines):
            at = ((image + i) * channels + channel) * outputs + start
            y = offset(k.output(call, 0), at * 4)
            if piece == outputs:
                k.epilogue(call, y, at, columns * outputs)
            else:
                finish(call, y, at, piece, columns, outputs)

    def run(call, phase, begin, end, scratch):
        channels, extent = k.input_dim(call, 0, 1), k.input_dim(call, 0, 2)
        outputs, columns_all = k.output_dim(call, 0, 2), k.output_dim(call, 0, 1)
        depth, stride, split = depth_of(call), w.stride(call, 0), split_of(call)
        cuts = (panel_count(call) + split - 1) // split
        most_lines, most_piece = lines_of(call), max(piece_of(call), 1)
        across = (outputs + most_piece - 1) // most_piece
        rows_at = offset(scratch, line_bytes(call))
        sums = offset(rows_at, rows_bytes(call))
        memory = offset(sums, sums_bytes(call))
        gathered = -1
        for unit in range(begin, end):
            block, panel = unit // cuts, unit % cuts * split
            image, start = block // across * most_lines, block % across * most_piece
            lines = min(most_lines, k.output_dim(call, 0, 0) - image)
            piece = min(most_piece, outputs - start)
            plain = lines == 1 and reads_plain(call, start, piece)
            a, a_row = rows_at, depth
            if plain:
                first = start * stride - w.before(call, 0)
                a, a_row = offset(k.input(call, 0), (image * extent + first) * 4), stride
            else:
                if block != gathered:
                    gather(call, image, lines, start, piece, scratch, rows_at)
                    gathered = block
                if not rows_are_copied(call, lines):
                    a, a_row = scratch, stride * channels
            columns = min(split * step, columns_all - panel * step)
            row = split * step
            b = offset(k.packed(call, 1), panel * step * depth * 4)
            rows = lines * piece
            x.sums(
                *(0, memory, a, 0, a_row, 1, b, step, depth * step, sums, row),
                *(rows, columns, depth, memory),
            )
            deliver(call, sums, image, lines, start, piece, panel * step, columns, row)
            finish_block(call, image, lines, start, piece, panel * step, columns)
        return k.OK

    def units(call, phase):
        split = max(split_of(call), 1)
        n = blocks_of(call) * ((panel_count(call) + split - 1) // split)
        return n if k.output_size(call, 0) > 0 else 0

    def scratch(call):
        memory = x.scratch(lines_of(call) * piece_of(call), split_of(call) * step, depth_of(call))
        return line_bytes(call) + rows_bytes(call) + sums_bytes(call) + memory

    def work(call):
        return 2 * k.output_size(call, 0) * depth_of(call) // 120 + 100

    @inline
    def panel_count_of_weight(call):
        return (k.input_dim(call, 1, 0) + step - 1) // step

    def pack_size(call, i):
        lines = i == 1 and k.input_rank(call, 1) == 3
        return panel_count_of_weight(call) * step * depth_of(call) * 4 if lines else 0

    def pack(call, i, packed):
        channels, taps = k.input_dim(call, 1, 1), k.input_dim(call, 1, 2)
        depth, columns = channels * taps, k.input_dim(call, 1, 0)
        for panel in range(panel_count_of_weight(call)):
            j = panel * step
            for t in range(taps):
                to = offset(packed, (panel * depth + t * channels) * step * 4)
                n = min(step, columns - j)
                pack_b(to, k.input(call, 1), j * depth + t, n, taps, depth, channels)
        return k.OK

    def supports(call):
        why = 0
        if k.input_rank(call, 0) != 3 or k.attr_int(call, GROUP) != 1:
            why = 2
        elif not k.has_packed(call, 1):
            why = 1
        else:
            few = k.output_dim(call, 0, 2) <= FEW or k.input_dim(call, 0, 1) == 1
            why = 0 if few or w.stride(call, 0) >= LONG_STEP else 3
        return why

    return parts(
        run=run,
        units=units,
        scratch=scratch,
        work=work,
        pack_size=pack_size,
        pack=pack,
        supports=supports,
    )
