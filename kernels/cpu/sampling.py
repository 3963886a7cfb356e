"""GridSample, AffineGrid, RoiAlign and MaxRoiPool: images read at computed positions."""

from numba import float32, float64, int64

from _lang import FLOATS, WIDE_FLOATS, inline, kernel, parts


def same_or_float(k):
    """Grids come in the type of the image or in float."""
    return k.dtype("T2").name in (k.dtype("T1").name, "float")


@kernel(
    "GridSample",
    types={"T1": FLOATS, "T2": FLOATS},
    where=same_or_float,
    attributes=(
        "align_corners",
        "mode:linear|nearest|cubic",
        "padding_mode:zeros|border|reflection",
    ),
)
def grid_sample(k):
    """A unit is one output position of one batch for all channels. Scratch memory holds, per
    spatial axis, the first element that the position touches and four weights; each
    combination of taps adds to every channel.
    """
    get, put, grid_at = k.load("T1"), k.store("T1"), k.load("T2")
    ld, st = k.load("int64"), k.store("int64")
    weight_at, set_weight = k.load("double"), k.store("double")
    to_element = k.cast("T1")
    floor = k.math.floor

    @inline
    def reflect(p, low, high):
        """p folded back into [low, high] by reflection at both."""
        span = high - low
        out = low
        if span > 0.0:
            d = p - low if p > low else low - p
            turns = floor(d / span)
            rest = d - turns * span
            out = low + rest if int64(turns) % 2 == 0 else high - rest
        return out

    @inline
    def position(call, axis, g):
        """Source position on spatial axis `axis` for grid coordinate g, padded by the mode."""
        extent = float64(k.input_dim(call, 0, axis + 2))
        corners = k.attr_int(call, 0) != 0
        p = (g + 1.0) / 2.0 * (extent - 1.0) if corners else ((g + 1.0) * extent - 1.0) / 2.0
        p = float64(float32(p))
        if not (p > -1e15 and p < 1e15):
            p = -1e15
        if k.attr_int(call, 1) == 1:
            p = k.math.rint(p)
        low, high = (0.0, extent - 1.0) if corners else (-0.5, extent - 0.5)
        if p < low or p > high:
            if k.attr_int(call, 2) == 1:
                p = min(max(p, 0.0), extent - 1.0)
            elif k.attr_int(call, 2) == 2:
                p = reflect(p, low, high)
        return p

    @inline
    def element(call, axis, at):
        """The element of the axis that position `at` shows, or -1 for zero."""
        extent = k.input_dim(call, 0, axis + 2)
        out = at
        if at < 0 or at >= extent:
            if k.attr_int(call, 2) == 0:
                out = int64(-1)
            elif k.attr_int(call, 2) == 1:
                out = min(max(at, 0), extent - 1)
            else:
                corners = k.attr_int(call, 0) != 0
                low = 0.0 if corners else -0.5
                high = float64(extent) - 1.0 if corners else float64(extent) - 0.5
                out = min(max(int64(reflect(float64(at), low, high)), 0), extent - 1)
        return out

    @inline
    def cubic(x):
        """Keys' kernel with a = -0.75."""
        x = -x if x < 0.0 else x
        out = 0.0
        if x <= 1.0:
            out = (1.25 * x - 2.25) * x * x + 1.0
        elif x < 2.0:
            out = ((-0.75 * x + 3.75) * x - 6.0) * x + 3.0
        return out

    @inline
    def taps(call):
        mode = k.attr_int(call, 1)
        return 2 if mode == 0 else (1 if mode == 1 else 4)

    @inline
    def prepare(call, unit, spatial, table):
        """Per axis: the first tap, then its weights."""
        mode = k.attr_int(call, 1)
        for axis in range(spatial):
            p = position(
                call, axis, float64(grid_at(k.input(call, 1), unit * spatial + spatial - 1 - axis))
            )
            base = floor(p)
            part = p - base
            first = int64(base)
            if mode == 0:
                set_weight(table, 5 * axis + 1, 1.0 - part)
                set_weight(table, 5 * axis + 2, part)
            elif mode == 1:
                set_weight(table, 5 * axis + 1, 1.0)
            else:
                first -= 1
                for t in range(4):
                    set_weight(table, 5 * axis + 1 + t, cubic(float64(t) - 1.0 - part))
            st(table, 5 * axis, first)

    @inline
    def value(call, base, spatial, combinations, table):
        """The image that starts at element `base`, mixed as the table says."""
        n = taps(call)
        s = float64(0)
        for c in range(combinations):
            rest = int64(c)
            at, stride = int64(0), int64(1)
            w = 1.0
            for j in range(spatial):
                axis = spatial - 1 - j
                t = rest % n
                rest = rest // n
                e = element(call, axis, ld(table, 5 * axis) + t)
                w *= weight_at(table, 5 * axis + 1 + t)
                if e < 0:
                    at = int64(-1)
                if at >= 0:
                    at += e * stride
                stride *= k.input_dim(call, 0, axis + 2)
            if at >= 0:
                s += w * float64(get(k.input(call, 0), base + at))
        return s

    def run(call, phase, begin, end, scratch):
        spatial = k.input_rank(call, 0) - 2
        channels = k.input_dim(call, 0, 1)
        image, positions, combinations = int64(1), int64(1), int64(1)
        for i in range(spatial):
            image *= k.input_dim(call, 0, i + 2)
            positions *= k.output_dim(call, 0, i + 2)
            combinations *= taps(call)
        for unit in range(begin, end):
            prepare(call, unit, spatial, scratch)
            batch = unit // positions
            for c in range(channels):
                plane = batch * channels + c
                s = value(call, plane * image, spatial, combinations, scratch)
                put(k.output(call, 0), plane * positions + unit % positions, to_element(s))
        return k.OK

    def units(call, phase):
        size = k.output_size(call, 0)
        return size // k.output_dim(call, 0, 1) if size > 0 and k.input_size(call, 0) > 0 else 0

    def scratch(call):
        return 40 * k.input_rank(call, 0)

    return parts(run=run, units=units, scratch=scratch)


@kernel("AffineGrid", types={"T1": FLOATS}, attributes=("align_corners",))
def affine_grid(k):
    """A unit is one position: theta times its homogeneous coordinates, which lie in [-1, 1]."""
    get, put, to_element = k.load("T1"), k.store("T1"), k.cast("T1")

    @inline
    def coordinate(call, i, extent):
        out = (2.0 * float64(i) + 1.0) / float64(extent) - 1.0
        if k.attr_int(call, 0) != 0:
            out = 2.0 * float64(i) / float64(max(extent - 1, 1)) - 1.0
        return out

    def run(call, phase, begin, end, scratch):
        theta, y = k.input(call, 0), k.output(call, 0)
        spatial = k.output_rank(call, 0) - 2
        positions = int64(1)
        for a in range(spatial):
            positions *= k.output_dim(call, 0, a + 1)
        for unit in range(begin, end):
            matrix = unit // positions * spatial * (spatial + 1)
            for row in range(spatial):
                s = float64(get(theta, matrix + row * (spatial + 1) + spatial))
                rest = unit % positions
                for j in range(spatial):
                    extent = k.output_dim(call, 0, spatial - j)
                    s += float64(get(theta, matrix + row * (spatial + 1) + j)) * coordinate(
                        call, rest % extent, extent
                    )
                    rest = rest // extent
                put(y, unit * spatial + row, to_element(s))
        return k.OK

    def units(call, phase):
        size = k.output_size(call, 0)
        return size // (k.output_rank(call, 0) - 2) if size > 0 else 0

    return parts(run=run, units=units)


@kernel(
    "RoiAlign",
    types={"T1": WIDE_FLOATS},
    attributes=(
        "coordinate_transformation_mode:output_half_pixel|half_pixel",
        "mode:avg|max",
        "sampling_ratio",
        "spatial_scale",
    ),
)
def roi_align(k):
    """A unit is one region and channel. Each bin averages, or takes the largest of, bilinear
    samples.
    """
    get, put, index_at = k.load("T1"), k.store("T1"), k.load("int64")
    to_element = k.cast("T1")

    @inline
    def sample(call, base, row, column, largest):
        """The bilinear sample at (row, column) of the image at `base`; with `largest` the
        largest of its four terms.
        """
        height, width = k.input_dim(call, 0, 2), k.input_dim(call, 0, 3)
        x = k.input(call, 0)
        out = float64(0)
        inside = (
            row >= -1.0 and row <= float64(height) and column >= -1.0 and column <= float64(width)
        )
        if inside:
            row, column = max(row, 0.0), max(column, 0.0)
            top, left = int64(row), int64(column)
            if top >= height - 1:
                top = height - 1
                row = float64(top)
            if left >= width - 1:
                left = width - 1
                column = float64(left)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            down, across = row - float64(top), column - float64(left)
            a = (1.0 - down) * (1.0 - across) * float64(get(x, base + top * width + left))
            b = (1.0 - down) * across * float64(get(x, base + top * width + right))
            c = down * (1.0 - across) * float64(get(x, base + bottom * width + left))
            d = down * across * float64(get(x, base + bottom * width + right))
            out = max(max(a, b), max(c, d)) if largest else a + b + c + d
        return out

    @inline
    def region(call, at, extent):
        """Start, bin size and samples per bin along one axis of a region; `at`: its start
        among the coordinates.
        """
        shift = 0.5 if k.attr_int(call, 0) == 1 else 0.0
        scale = k.attr_float(call, 3)
        start = float64(get(k.input(call, 1), at)) * scale - shift
        length = float64(get(k.input(call, 1), at + 2)) * scale - shift - start
        if k.attr_int(call, 0) == 0:
            length = max(length, 1.0)
        bin_size = length / float64(extent)
        samples = k.attr_int(call, 2)
        if samples <= 0:
            samples = int64(min(max(k.math.ceil(bin_size), 0.0), 1e6))
        return start, bin_size, samples

    @inline
    def pooled(call, base, top, high, rows, left, wide, columns):
        """The bin whose corner is (top, left)."""
        largest = k.attr_int(call, 1) == 1
        out = float64(0)
        for i in range(rows * columns):
            r, c = i // columns, i % columns
            v = sample(
                call,
                base,
                top + (float64(r) + 0.5) * high / float64(rows),
                left + (float64(c) + 0.5) * wide / float64(columns),
                largest,
            )
            if largest:
                out = v if i == 0 else max(out, v)
            else:
                out += v
        return out if largest else out / float64(max(rows * columns, 1))

    def run(call, phase, begin, end, scratch):
        y = k.output(call, 0)
        channels = k.input_dim(call, 0, 1)
        image = k.input_dim(call, 0, 2) * k.input_dim(call, 0, 3)
        height, width = k.output_dim(call, 0, 2), k.output_dim(call, 0, 3)
        for unit in range(begin, end):
            roi = unit // channels
            batch = index_at(k.input(call, 2), roi)
            if batch < 0 or batch >= k.input_dim(call, 0, 0):
                k.set_error_index(call, roi)
                return k.INDEX_OUT_OF_RANGE
            base = (batch * channels + unit % channels) * image
            left, wide, columns = region(call, 4 * roi, width)
            top, high, rows = region(call, 4 * roi + 1, height)
            for i in range(height * width):
                v = pooled(
                    call,
                    base,
                    top + float64(i // width) * high,
                    high,
                    rows,
                    left + float64(i % width) * wide,
                    wide,
                    columns,
                )
                put(y, unit * height * width + i, to_element(v))
        return k.OK

    def units(call, phase):
        size = k.output_size(call, 0)
        return k.output_dim(call, 0, 0) * k.output_dim(call, 0, 1) if size > 0 else 0

    return parts(run=run, units=units)


@kernel("MaxRoiPool", types={"T": WIDE_FLOATS}, attributes=("spatial_scale",))
def max_roi_pool(k):
    """A unit is one region and channel; an empty bin gives 0."""
    get, put, cast = k.load("T"), k.store("T"), k.cast("T")
    floor, ceil = k.math.floor, k.math.ceil

    @inline
    def corner(call, at):
        """A coordinate of a region in pixels, rounded half away from zero."""
        v = float64(get(k.input(call, 1), at)) * k.attr_float(call, 0)
        if not (v > -1e9 and v < 1e9):
            v = -1e9
        return int64(floor(v + 0.5)) if v >= 0.0 else int64(ceil(v - 0.5))

    @inline
    def span(start, length, i, bins, extent):
        """First and end pixel of bin i."""
        size = float64(length) / float64(bins)
        low = int64(floor(float64(i) * size)) + start
        high = int64(ceil(float64(i + 1) * size)) + start
        return min(max(low, 0), extent), min(max(high, 0), extent)

    @inline
    def largest(x, base, width, top, bottom, left, right):
        out = cast(0)
        first = True
        for r in range(top, bottom):
            for c in range(left, right):
                v = get(x, base + r * width + c)
                if first or v > out:
                    out = v
                first = False
        return out

    def run(call, phase, begin, end, scratch):
        x, y = k.input(call, 0), k.output(call, 0)
        channels = k.input_dim(call, 0, 1)
        rows, columns = k.input_dim(call, 0, 2), k.input_dim(call, 0, 3)
        height, width = k.output_dim(call, 0, 2), k.output_dim(call, 0, 3)
        for unit in range(begin, end):
            roi = unit // channels
            batch = int64(get(k.input(call, 1), 5 * roi))
            if batch < 0 or batch >= k.input_dim(call, 0, 0):
                k.set_error_index(call, roi)
                return k.INDEX_OUT_OF_RANGE
            left, top = corner(call, 5 * roi + 1), corner(call, 5 * roi + 2)
            wide = max(corner(call, 5 * roi + 3) - left + 1, 1)
            high = max(corner(call, 5 * roi + 4) - top + 1, 1)
            base = (batch * channels + unit % channels) * rows * columns
            for i in range(height * width):
                first_row, end_row = span(top, high, i // width, height, rows)
                first_column, end_column = span(left, wide, i % width, width, columns)
                v = largest(x, base, columns, first_row, end_row, first_column, end_column)
                put(y, unit * height * width + i, v)
        return k.OK

    def units(call, phase):
        size = k.output_size(call, 0)
        return k.output_dim(call, 0, 0) * k.output_dim(call, 0, 1) if size > 0 else 0

    return parts(run=run, units=units)
