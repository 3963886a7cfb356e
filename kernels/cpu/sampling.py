"""GridSample and AffineGrid: images read at computed positions."""

from numba import float32, float64, int64

from _lang import FLOATS, inline, kernel, parts

POSITIONS = 64  # of an output that are done together


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
    spatial axis, the first element that the position touches and four weights; and of POSITIONS
    positions, the elements and weights of the taps, which every channel adds up.
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
    def mix(call, spatial, table, to):
        """The taps of one position that lie in the image: their number, elements and weights."""
        bits = taps(call) // 2  # 1, 2 or 4 taps
        found = int64(0)
        for c in range(int64(1) << bits * spatial):
            at, stride, w = int64(0), int64(1), 1.0
            for j in range(spatial):
                axis = spatial - 1 - j
                t = (c >> bits * j) & ((1 << bits) - 1)
                e = element(call, axis, ld(table, 5 * axis) + t)
                w *= weight_at(table, 5 * axis + 1 + t)
                at = at + e * stride if at >= 0 and e >= 0 else int64(-1)
                stride *= k.input_dim(call, 0, axis + 2)
            if at >= 0:
                st(to, 1 + 2 * found, at)
                set_weight(to, 2 + 2 * found, w)
                found += 1
        st(to, 0, found)

    @inline
    def words(call):
        """Of scratch memory for one position: `mix`."""
        return 1 + 2 * (int64(1) << taps(call) // 2 * (k.input_rank(call, 0) - 2))

    @inline
    def show(call, base, to, count, mixed):
        """One channel, whose image starts at element `base`, at `count` positions."""
        x, y, step = k.input(call, 0), k.output(call, 0), words(call)
        for i in range(count):
            s, at = float64(0), i * step
            for j in range(at + 1, at + 1 + 2 * ld(mixed, at), 2):
                s += weight_at(mixed, j + 1) * float64(get(x, base + ld(mixed, j)))
            put(y, to + i, to_element(s))

    @inline
    def show_four(call, base, image, to, positions, count, mixed):
        """As `show`, of four channels at once, whose elements have their places in common."""
        x, y, step = k.input(call, 0), k.output(call, 0), words(call)
        for i in range(count):
            p, q, r, s, at = float64(0), float64(0), float64(0), float64(0), i * step
            for j in range(at + 1, at + 1 + 2 * ld(mixed, at), 2):
                w, e = weight_at(mixed, j + 1), base + ld(mixed, j)
                p += w * float64(get(x, e))
                q += w * float64(get(x, e + image))
                r += w * float64(get(x, e + 2 * image))
                s += w * float64(get(x, e + 3 * image))
            put(y, to + i, to_element(p))
            put(y, to + i + positions, to_element(q))
            put(y, to + i + 2 * positions, to_element(r))
            put(y, to + i + 3 * positions, to_element(s))

    def run(call, phase, begin, end, scratch):
        spatial = k.input_rank(call, 0) - 2
        channels = k.input_dim(call, 0, 1)
        image, positions, unit = int64(1), int64(1), begin
        for i in range(spatial):
            image *= k.input_dim(call, 0, i + 2)
            positions *= k.output_dim(call, 0, i + 2)
        mixed = k.offset(scratch, 40 * spatial)
        while unit < end:
            batch, first = unit // positions, unit % positions
            count = min(min(positions - first, end - unit), int64(POSITIONS))
            for i in range(count):
                prepare(call, unit + i, spatial, scratch)
                mix(call, spatial, scratch, k.offset(mixed, 8 * i * words(call)))
            c, last = batch * channels, (batch + 1) * channels
            while c + 4 <= last:
                to = c * positions + first
                show_four(call, c * image, image, to, positions, count, mixed)
                c += 4
            while c < last:
                show(call, c * image, c * positions + first, count, mixed)
                c += 1
            unit += count
        return k.OK

    def units(call, phase):
        size = k.output_size(call, 0)
        return size // k.output_dim(call, 0, 1) if size > 0 and k.input_size(call, 0) > 0 else 0

    def scratch(call):
        return 40 * k.input_rank(call, 0) + 8 * POSITIONS * words(call)

    def work(call):
        return k.output_size(call, 0) * taps(call) * 2

    return parts(run=run, units=units, scratch=scratch, work=work)


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
