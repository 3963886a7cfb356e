"""RoiAlign and MaxRoiPool: regions of images, pooled into bins."""

from numba import float64, int64

from _lang import WIDE_FLOATS, inline, kernel, parts


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
    samples. An average is a sum over pixels whose weights are products of a row's and a column's:
    scratch memory holds those of each bin along both axes, for all channels of a region.
    """
    get, put, index_at = k.load("T1"), k.store("T1"), k.load("int64")
    to_element, v, lanes = k.cast("T1"), k.vector("T1"), k.lanes("T1")
    size = k.dtype("T1").bits // 8
    ld, st, part_of, keep = k.load("int64"), k.store("int64"), k.load("double"), k.store("double")

    @inline
    def neighbours(p, extent):
        """The two pixels beside a position along one axis, and the weight of the second; -1 for
        the pixels of a position outside.
        """
        low, high, part = int64(-1), int64(-1), 0.0
        if p >= -1.0 and p <= float64(extent):
            p = max(p, 0.0)
            low = min(int64(p), extent - 1)
            high = min(low + 1, extent - 1)
            part = p - float64(low) if high > low else 0.0
        return low, high, part

    @inline
    def sample(call, base, row, column):
        """The largest of the four terms of the bilinear sample at (row, column)."""
        height, width = k.input_dim(call, 0, 2), k.input_dim(call, 0, 3)
        x, out = k.input(call, 0), float64(0)
        top, bottom, down = neighbours(row, height)
        left, right, across = neighbours(column, width)
        if top >= 0 and left >= 0:
            a = (1.0 - down) * (1.0 - across) * float64(get(x, base + top * width + left))
            b = (1.0 - down) * across * float64(get(x, base + top * width + right))
            c = down * (1.0 - across) * float64(get(x, base + bottom * width + left))
            d = down * across * float64(get(x, base + bottom * width + right))
            out = max(max(a, b), max(c, d))
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
    def largest(call, base, top, high, rows, left, wide, columns):
        """The bin whose corner is (top, left)."""
        out = float64(0)
        for i in range(rows * columns):
            r, c = i // columns, i % columns
            z = sample(
                call,
                base,
                top + (float64(r) + 0.5) * high / float64(rows),
                left + (float64(c) + 0.5) * wide / float64(columns),
            )
            out = z if i == 0 else max(out, z)
        return out

    @inline
    def weigh(start, wide, samples, extent, runs, weights, sums):
        """Of a bin along one axis: the first pixel, how many, and their weights."""
        first, last = extent, int64(-1)
        k.fill(sums, 0, 8 * extent)
        for i in range(samples):
            p = start + (float64(i) + 0.5) * wide / float64(samples)
            low, high, part = neighbours(p, extent)
            if low >= 0:
                keep(sums, low, part_of(sums, low) + 1.0 - part)
                keep(sums, high, part_of(sums, high) + part)
                first, last = min(first, low), max(last, high)
        st(runs, 0, first)
        st(runs, 1, max(last - first + 1, 0))
        for i in range(first, last + 1):
            put(weights, i - first, to_element(part_of(sums, i) / float64(samples)))

    @inline
    def weigh_axis(call, roi, axis, table):
        """Runs and weights of all bins along an axis; `table`: as `table_bytes` has it."""
        extent, bins = k.input_dim(call, 0, axis), k.output_dim(call, 0, axis)
        start, wide, samples = region(call, 4 * roi + 3 - axis, bins)
        sums = k.offset(table, 16 * bins)
        for i in range(bins):
            weights = k.offset(sums, 8 * extent + i * extent * size)
            runs = k.offset(table, 16 * i)
            weigh(start + float64(i) * wide, wide, samples, extent, runs, weights, sums)

    @inline
    def table_bytes(call, axis):
        """Two words per bin, a double per pixel, and weights for each bin."""
        bins, extent = k.output_dim(call, 0, axis), k.input_dim(call, 0, axis)
        return (16 * bins + 8 * extent + bins * extent * size + 63) // 64 * 64

    @inline
    def averages(call, base, unit, rows, columns):
        """All bins of one channel."""
        height, width = k.input_dim(call, 0, 2), k.input_dim(call, 0, 3)
        high, wide, x = k.output_dim(call, 0, 2), k.output_dim(call, 0, 3), k.input(call, 0)
        of_rows = k.offset(rows, 16 * high + 8 * height)
        of_columns = k.offset(columns, 16 * wide + 8 * width)
        for bin_ in range(high * wide):
            i, j = bin_ // wide, bin_ % wide
            at = base + ld(rows, 2 * i) * width + ld(columns, 2 * j)
            total, n = v.zero(), ld(columns, 2 * j + 1)
            for c in range(0, n, lanes):
                s = v.zero()
                for r in range(ld(rows, 2 * i + 1)):
                    w = get(of_rows, i * height + r)
                    if w != to_element(0.0):
                        s = v.fma(v.set(w), v.load_n(x, at + r * width + c, n - c), s)
                w = v.load_n(of_columns, j * width + c, n - c)
                total = total + v.select(v.eq(w, v.zero()), w, w * s)
            put(k.output(call, 0), unit * high * wide + bin_, v.sum(total))

    @inline
    def largest_bins(call, base, unit, roi):
        height, width = k.output_dim(call, 0, 2), k.output_dim(call, 0, 3)
        left, wide, columns = region(call, 4 * roi, width)
        top, high, rows = region(call, 4 * roi + 1, height)
        for i in range(height * width):
            down, across = top + float64(i // width) * high, left + float64(i % width) * wide
            z = largest(call, base, down, high, rows, across, wide, columns)
            put(k.output(call, 0), unit * height * width + i, to_element(z))

    def run(call, phase, begin, end, scratch):
        channels = k.input_dim(call, 0, 1)
        image = k.input_dim(call, 0, 2) * k.input_dim(call, 0, 3)
        columns = k.offset(scratch, table_bytes(call, 2))
        for unit in range(begin, end):
            roi = unit // channels
            batch = index_at(k.input(call, 2), roi)
            if batch < 0 or batch >= k.input_dim(call, 0, 0):
                k.set_error_index(call, roi)
                return k.INDEX_OUT_OF_RANGE
            base = (batch * channels + unit % channels) * image
            if k.attr_int(call, 1) == 1:
                largest_bins(call, base, unit, roi)
            else:
                if unit == begin or unit % channels == 0:
                    weigh_axis(call, roi, 2, scratch)
                    weigh_axis(call, roi, 3, columns)
                averages(call, base, unit, scratch, columns)
        return k.OK

    def units(call, phase):
        size = k.output_size(call, 0)
        return k.output_dim(call, 0, 0) * k.output_dim(call, 0, 1) if size > 0 else 0

    def scratch(call):
        return 0 if k.attr_int(call, 1) == 1 else table_bytes(call, 2) + table_bytes(call, 3)

    def work(call):
        return k.output_size(call, 0) * 32

    return parts(run=run, units=units, scratch=scratch, work=work)


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
