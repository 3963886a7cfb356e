"""Resize in every mode: a table of source elements and weights per axis, then one output row
at a time.
"""

from numba import float64, int64

from _lang import BYTES, FLOATS, inline, kernel, parts

ATTRIBUTES = (
    "mode:nearest|linear|cubic",
    "coordinate_transformation_mode:half_pixel|half_pixel_symmetric|pytorch_half_pixel"
    "|align_corners|asymmetric|tf_crop_and_resize",
    "nearest_mode:round_prefer_floor|round_prefer_ceil|floor|ceil",
    "keep_aspect_ratio_policy:stretch|not_larger|not_smaller",
    "axes",
    "antialias",
    "cubic_coeff_a",
    "exclude_outside",
    "extrapolation_value",
)
MODE, COORDINATE, NEAREST, POLICY, AXES, ANTIALIAS, CUBIC_A, EXCLUDE, EXTRAPOLATION = range(9)
SYMMETRIC, PYTORCH, ALIGN_CORNERS, ASYMMETRIC, CROP = range(1, 6)


def scaling(k):
    """Inline functions of (call, axis): position in the node's lists or -1, scale, and start
    or end of the region.
    """
    number, size_at = k.load("float"), k.load("int64")

    @k.outline("int64(call, int64)")
    def entry(call, axis):
        found = int64(axis)
        if k.attr_n(call, AXES) >= 0:
            found = int64(-1)
            for i in range(k.attr_n(call, AXES)):
                a = k.attr_ints(call, AXES, i)
                if a < 0:
                    a += k.input_rank(call, 0)
                if a == axis:
                    found = int64(i)
        return found

    @inline
    def listed(call):
        """How many axes the node's lists have."""
        return k.attr_n(call, AXES) if k.attr_n(call, AXES) >= 0 else k.input_rank(call, 0)

    @inline
    def has_sizes(call):
        out = False
        if k.has_input(call, 3):
            out = k.input_size(call, 3) > 0
        return out

    @k.outline("double(call, int64)")
    def ratio(call, i):
        """Requested size over extent for entry i of the lists."""
        axis = int64(i)
        if k.attr_n(call, AXES) >= 0:
            axis = k.attr_ints(call, AXES, i)
            if axis < 0:
                axis += k.input_rank(call, 0)
        return float64(size_at(k.input(call, 3), i)) / float64(max(k.input_dim(call, 0, axis), 1))

    @k.outline("double(call, int64)")
    def scale(call, axis):
        i = entry(call, axis)
        s = 1.0
        if i >= 0:
            if has_sizes(call):
                s = ratio(call, i)
                policy = k.attr_int(call, POLICY)
                if policy != 0:
                    for j in range(listed(call)):
                        s = min(s, ratio(call, j)) if policy == 1 else max(s, ratio(call, j))
            else:
                s = float64(number(k.input(call, 2), i))
        return s

    @k.outline("double(call, int64, int64)")
    def region(call, axis, end):
        """Start (end = 0) or end (end = 1) of the region of interest, as a part of the extent."""
        i = entry(call, axis)
        r = float64(end)
        if i >= 0 and k.attr_int(call, COORDINATE) == CROP:
            if k.has_input(call, 1):
                if k.input_size(call, 1) > 0:
                    r = float64(number(k.input(call, 1), i + end * listed(call)))
        return r

    return scale, region


def tables(k):
    """Inline functions: `taps(call, axis)`; `fill(call, axis, table)`; `table_of(call,
    axis)`, its place in the workspace; `unchanged(call, axis)`.
    """
    scale, region = scaling(k)
    st, put = k.store("int64"), k.store("double")
    floor = k.math.floor

    @k.outline("int64(call, int64)")
    def unchanged(call, axis):
        s = scale(call, axis)
        same = k.input_dim(call, 0, axis) == k.output_dim(call, 0, axis)
        same = same and s > 1.0 - 1e-9 and s < 1.0 + 1e-9
        same = same and region(call, axis, 0) == 0.0 and region(call, axis, 1) == 1.0
        return 1 if same else 0

    @inline
    def first_tap(call, axis):
        """The first of the antialiasing taps relative to the element left of the source
        position.
        """
        s = min(scale(call, axis), 1.0)
        reach = 1.0 if k.attr_int(call, MODE) == 1 else 2.0
        return int64(floor(-reach / s)) + 1

    @k.outline("int64(call, int64)")
    def taps(call, axis):
        n = int64(1)
        mode = k.attr_int(call, MODE)
        if mode > 0 and unchanged(call, axis) == 0:
            n = 2 * mode
            if k.attr_int(call, ANTIALIAS) != 0:
                n = 2 - 2 * first_tap(call, axis)
        return n

    @k.outline("int64(call, int64)")
    def table_start(call, axis):
        at = int64(0)
        for a in range(axis):
            at += 16 * taps(call, a) * k.output_dim(call, 0, a)
        return at

    @inline
    def table_of(call, axis):
        return k.offset(k.workspace(call), table_start(call, axis))

    @k.outline("double(call, int64, int64, double)")
    def position(call, axis, i, s):
        """The source position of output element i at a scale."""
        extent = float64(k.input_dim(call, 0, axis))
        width = s * extent
        mode = k.attr_int(call, COORDINATE)
        p = (float64(i) + 0.5) / s - 0.5
        if mode == SYMMETRIC:
            p += extent / 2.0 * (1.0 - float64(k.output_dim(call, 0, axis)) / width)
        elif mode == PYTORCH:
            if width == 1.0:
                p = -0.5
        elif mode == ALIGN_CORNERS:
            p = float64(0)
            if width != 1.0:
                p = float64(i) * (extent - 1.0) / (width - 1.0)
        elif mode == ASYMMETRIC:
            p = float64(i) / s
        elif mode == CROP:
            start, end = region(call, axis, 0), region(call, axis, 1)
            if width == 1.0:
                p = (end - start) * (extent - 1.0) / 2.0
            else:
                p = float64(i) * (end - start) * (extent - 1.0) / (width - 1.0)
            p += start * (extent - 1.0)
        return p

    @inline
    def cubic(x, a):
        """Keys' kernel."""
        x = -x if x < 0.0 else x
        out = 0.0
        if x <= 1.0:
            out = ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
        elif x < 2.0:
            out = ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
        return out

    @k.outline("double(call, double)")
    def weight(call, distance):
        x = -distance if distance < 0.0 else distance
        out = max(1.0 - x, 0.0)
        if k.attr_int(call, MODE) == 2:
            out = cubic(x, k.attr_float(call, CUBIC_A))
        return out

    @k.outline("int64(call, double)")
    def nearest(call, p):
        base = floor(p)
        part = p - base
        mode = k.attr_int(call, NEAREST)
        up = part > 0.5
        if mode == 1:
            up = part >= 0.5
        elif mode == 2:
            up = False
        elif mode == 3:
            up = part > 0.0
        return int64(base) + (1 if up else 0)

    @k.outline("int64(call, int64, pointer, int64, int64, double)")
    def fill_element(call, axis, table, i, n, s):
        """The taps of output element i: the source element nearest to each, and its weight."""
        extent = k.input_dim(call, 0, axis)
        p = position(call, axis, i, s)
        base = floor(p)
        part = p - base
        # An element on a source position counts as right of its neighbour, with a distance of 1.
        if part == 0.0:
            base -= 1.0
            part = 1.0
        shrink, first = 1.0, 1 - n // 2
        if k.attr_int(call, ANTIALIAS) != 0:
            shrink = min(s, 1.0)
        total = 0.0
        for t in range(n):
            w = weight(call, (float64(first + t) - part) * shrink)
            at = int64(base) + first + t
            if k.attr_int(call, EXCLUDE) != 0 and (at < 0 or at >= extent):
                w = 0.0
            put(table, 2 * (i * n + t) + 1, w)
            st(table, 2 * (i * n + t), min(max(at, 0), extent - 1))
            total += w
        if total != 0.0 and (k.attr_int(call, EXCLUDE) != 0 or k.attr_int(call, ANTIALIAS) != 0):
            for t in range(n):
                at = int64(base) + first + t
                w = weight(call, (float64(first + t) - part) * shrink)
                if k.attr_int(call, EXCLUDE) != 0 and (at < 0 or at >= extent):
                    w = 0.0
                put(table, 2 * (i * n + t) + 1, w / total)
        return 0

    @k.outline("int64(call, int64, pointer)")
    def fill(call, axis, table):
        n = taps(call, axis)
        extent = k.input_dim(call, 0, axis)
        plain = unchanged(call, axis) != 0
        crop = k.attr_int(call, COORDINATE) == CROP
        s = scale(call, axis)
        for i in range(k.output_dim(call, 0, axis)):
            if plain:
                st(table, 2 * i, i)
                put(table, 2 * i + 1, 1.0)
            elif k.attr_int(call, MODE) == 0:
                st(table, 2 * i, min(max(nearest(call, position(call, axis, i, s)), 0), extent - 1))
                put(table, 2 * i + 1, 1.0)
            else:
                fill_element(call, axis, table, i, n, s)
            if crop and not plain:
                p = position(call, axis, i, s)
                if p < 0.0 or p > float64(extent - 1):
                    st(table, 2 * i * n, -1)
        return 0

    return taps, fill, table_of, unchanged


def rows_of(k):
    """`units` and `workspace` of both kernels: phase 0 fills a table per axis, phase 1 makes
    output rows.
    """
    taps, _, _, _ = tables(k)

    def units(call, phase):
        rank = k.output_rank(call, 0)
        size = k.output_size(call, 0)
        n = rank
        if phase == 1:
            n = size // k.output_dim(call, 0, rank - 1) if size > 0 else 0
        return n if size > 0 and k.input_size(call, 0) > 0 else 0

    def workspace(call):
        n = int64(64)
        for a in range(k.output_rank(call, 0)):
            n += 16 * taps(call, a) * k.output_dim(call, 0, a)
        return n

    return units, workspace


@kernel(
    "Resize",
    types={"T1": BYTES},
    attributes=ATTRIBUTES,
    variant="nearest",
    reasons=("it interpolates", "a region of interest needs numbers to fill its outside"),
)
def resize_nearest(k):
    """Rows of picked elements."""
    get, put, ld = k.load("T1"), k.store("T1"), k.load("int64")
    taps, fill, table_of, _ = tables(k)
    units, workspace = rows_of(k)

    def run(call, phase, begin, end, scratch):
        if phase == 0:
            for axis in range(begin, end):
                fill(call, axis, table_of(call, axis))
            return k.OK
        x, y = k.input(call, 0), k.output(call, 0)
        last = k.output_rank(call, 0) - 1
        columns = k.output_dim(call, 0, last)
        table = table_of(call, last)
        for unit in range(begin, end):
            rest = unit
            base = int64(0)
            stride = k.input_dim(call, 0, last)
            for j in range(last):
                a = last - 1 - j
                base += ld(table_of(call, a), 2 * (rest % k.output_dim(call, 0, a))) * stride
                rest = rest // k.output_dim(call, 0, a)
                stride *= k.input_dim(call, 0, a)
            for i in range(columns):
                put(y, unit * columns + i, get(x, base + ld(table, 2 * i)))
        return k.OK

    def supports(call):
        why = 0 if k.attr_int(call, MODE) == 0 else 1
        if k.attr_int(call, COORDINATE) == CROP:
            why = 2
        return why

    return parts(run=run, units=units, workspace=workspace, supports=supports, phases=2)


@kernel("Resize", types={"T1": FLOATS + " uint8 int8 int32"}, attributes=ATTRIBUTES)
def resize(k):
    """The outer axes are mixed into one row of the input's length first, then that row is
    resampled.
    """
    sums = "float" if k.dtype("T1").is_float and k.dtype("T1").name != "double" else "double"
    get, put = k.load("T1"), k.store("T1")
    ld, weight_at = k.load("int64"), k.load("double")
    row_get, row_put, cast = k.load(sums), k.store(sums), k.cast(sums)
    to_element = k.cast("T1")
    bytes_each = 8 if sums == "double" else 4
    taps, fill, table_of, _ = tables(k)
    units, workspace = rows_of(k)
    is_float = k.dtype("T1").is_float
    bits, signed = k.dtype("T1").bits, k.dtype("T1").is_signed
    low = -float(2 ** (bits - 1)) if signed else 0.0
    high = float(2 ** (bits - 1) - 1) if signed else float(2**bits - 1)

    @inline
    def emit(y, i, value):
        if is_float:
            put(y, i, to_element(value))
        else:
            put(y, i, to_element(int64(min(max(k.math.rint(float64(value)), low), high))))

    @inline
    def mixed(call, unit, combination, row, width):
        """Add one combination of outer taps to the row; whether the position lies inside the
        region.
        """
        x = k.input(call, 0)
        last = k.output_rank(call, 0) - 1
        rest = unit
        base = int64(0)
        stride = width
        factor = 1.0
        inside = True
        for j in range(last):
            a = last - 1 - j
            n = taps(call, a)
            i = rest % k.output_dim(call, 0, a)
            at = i * n + combination % n
            table = table_of(call, a)
            inside = inside and ld(table, 2 * i * n) >= 0
            base += max(ld(table, 2 * at), 0) * stride
            factor *= weight_at(table, 2 * at + 1)
            rest = rest // k.output_dim(call, 0, a)
            combination = combination // n
            stride *= k.input_dim(call, 0, a)
        if factor != 0.0:
            f = cast(factor)
            for i in range(width):
                row_put(row, i, row_get(row, i) + f * cast(get(x, base + i)))
        return inside

    @k.outline("int64(pointer, int64, pointer, pointer, int64)")
    def between(y, start, row, table, columns):
        """Each output between two elements of the row."""
        for i in range(columns):
            s = cast(weight_at(table, 4 * i + 1)) * row_get(row, ld(table, 4 * i))
            s += cast(weight_at(table, 4 * i + 3)) * row_get(row, ld(table, 4 * i + 2))
            emit(y, start + i, s)
        return 0

    @inline
    def resample(call, unit, row, inside):
        y = k.output(call, 0)
        last = k.output_rank(call, 0) - 1
        columns = k.output_dim(call, 0, last)
        table, n = table_of(call, last), taps(call, last)
        outside = cast(k.attr_float(call, EXTRAPOLATION))
        if n == 2 and k.attr_int(call, COORDINATE) != CROP:
            between(y, unit * columns, row, table, columns)
            columns = int64(0)
        for i in range(columns):
            s = outside
            if inside and ld(table, 2 * i * n) >= 0:
                s = cast(0)
                for t in range(n):
                    at = 2 * (i * n + t)
                    s += cast(weight_at(table, at + 1)) * row_get(row, ld(table, at))
            emit(y, unit * columns + i, s)

    def run(call, phase, begin, end, scratch):
        if phase == 0:
            for axis in range(begin, end):
                fill(call, axis, table_of(call, axis))
            return k.OK
        last = k.output_rank(call, 0) - 1
        width = k.input_dim(call, 0, last)
        combinations = int64(1)
        for a in range(last):
            combinations *= taps(call, a)
        for unit in range(begin, end):
            k.fill(scratch, 0, width * bytes_each)
            inside = True
            for c in range(combinations):
                inside = mixed(call, unit, c, scratch, width) and inside
            resample(call, unit, scratch, inside)
        return k.OK

    def scratch(call):
        return bytes_each * k.input_dim(call, 0, k.input_rank(call, 0) - 1) + 64

    return parts(run=run, units=units, workspace=workspace, scratch=scratch, phases=2)
