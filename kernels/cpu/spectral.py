"""DFT, STFT, windows and mel filters. Sizes are int64 and half types float when they come here."""

from fourier import TAU, fourier

from _lang import inline, kernel, parts


@kernel("DFT", types={"T1": "float double", "T2": "int64"}, attributes=("inverse", "onesided"))
def dft(k):
    """A unit is one line along the axis; the last axis holds real and imaginary parts."""
    ld, st, ld64 = k.load("T1"), k.store("T1"), k.load("int64")
    get, put = k.load("double"), k.store("double")
    wide, narrow = k.cast("double"), k.cast("T1")
    f = fourier(k)
    table, transform = f.table, f.transform

    @inline
    def axis_of(call):
        axis = -2
        if k.has_input(call, 2):
            axis = ld64(k.input(call, 2), 0) * 1
        return axis + k.input_rank(call, 0) if axis < 0 else axis

    @inline
    def inner_of(call):
        n = 1
        for axis in range(axis_of(call) + 1, k.input_rank(call, 0) - 1):
            n *= k.input_dim(call, 0, axis)
        return n

    @inline
    def length_of(call):
        """How many points are transformed."""
        if k.has_input(call, 1):
            return ld64(k.input(call, 1), 0) * 1
        n = k.input_dim(call, 0, axis_of(call)) * 1
        if k.attr_int(call, 0) != 0 and k.attr_int(call, 1) != 0:
            n = k.output_dim(call, 0, axis_of(call)) * 1
        return n

    def units(call, phase):
        line = k.output_dim(call, 0, axis_of(call)) * k.output_dim(
            call, 0, k.output_rank(call, 0) - 1
        )
        return k.output_size(call, 0) // line if line > 0 else 0

    def scratch(call):
        return 48 * length_of(call) + 64

    @inline
    def read_line(call, unit, n, memory):
        """Real and imaginary parts, cut or padded with zeros; half a spectrum is completed."""
        parts_, length = (
            k.input_dim(call, 0, k.input_rank(call, 0) - 1),
            k.input_dim(call, 0, axis_of(call)),
        )
        inner = inner_of(call)
        half = k.attr_int(call, 0) != 0 and k.attr_int(call, 1) != 0
        base = (unit // inner) * length * inner + unit % inner
        for i in range(n):
            mirrored = half and i > n // 2
            j = n - i if mirrored else i
            re, im = wide(0), wide(0)
            if j < length:
                at = (base + j * inner) * parts_
                re = wide(ld(k.input(call, 0), at))
                if parts_ == 2:
                    im = wide(ld(k.input(call, 0), at + 1))
            put(memory, 2 * i, re)
            put(memory, 2 * i + 1, -im if mirrored else im)

    def run(call, phase, begin, end, scratch):
        n, inner = length_of(call), inner_of(call)
        axis = axis_of(call)
        if n < 1 or axis < 0 or axis >= k.input_rank(call, 0) - 1:
            return k.INVALID_VALUE
        inverse = k.attr_int(call, 0) != 0
        scale = wide(1) / wide(n) if inverse else wide(1)
        table(scratch, 4 * n, n, wide(1) if inverse else wide(-1))
        bins, parts_ = (
            k.output_dim(call, 0, axis),
            k.output_dim(call, 0, k.output_rank(call, 0) - 1),
        )
        if bins > n:
            return k.SHAPE_MISMATCH
        for unit in range(begin, end):
            read_line(call, unit, n, scratch)
            x = transform(scratch, 0, 2 * n, 4 * n, n)
            base = (unit // inner) * bins * inner + unit % inner
            for i in range(bins):
                for part in range(parts_):
                    value = get(scratch, x + 2 * i + part) * scale
                    st(k.output(call, 0), (base + i * inner) * parts_ + part, narrow(value))
        return k.OK

    return parts(run=run, units=units, scratch=scratch)


@kernel("STFT", types={"T1": "float double", "T2": "int64"}, attributes=("onesided",))
def stft(k):
    """A unit is one frame of one signal."""
    ld, st, ld64 = k.load("T1"), k.store("T1"), k.load("int64")
    get, put = k.load("double"), k.store("double")
    wide, narrow = k.cast("double"), k.cast("T1")
    f = fourier(k)
    table, transform = f.table, f.transform

    @inline
    def length_of(call):
        n = 0
        if k.has_input(call, 3):
            n = ld64(k.input(call, 3), 0) * 1
        elif k.has_input(call, 2):
            n = k.input_dim(call, 2, 0) * 1
        return n

    def units(call, phase):
        return k.output_dim(call, 0, 0) * k.output_dim(call, 0, 1)

    def scratch(call):
        return 48 * length_of(call) + 64

    @inline
    def read_frame(call, unit, n, memory):
        frames, samples = k.output_dim(call, 0, 1), k.input_dim(call, 0, 1)
        parts_ = 1
        if k.input_rank(call, 0) == 3:
            parts_ = k.input_dim(call, 0, 2) * 1
        first = (unit % frames) * ld64(k.input(call, 1), 0)
        base = (unit // frames) * samples + first
        for i in range(n):
            weight = wide(1)
            if k.has_input(call, 2):
                weight = wide(ld(k.input(call, 2), i))
            re, im = wide(0), wide(0)
            if first + i < samples:
                re = wide(ld(k.input(call, 0), (base + i) * parts_)) * weight
                if parts_ == 2:
                    im = wide(ld(k.input(call, 0), (base + i) * 2 + 1)) * weight
            put(memory, 2 * i, re)
            put(memory, 2 * i + 1, im)

    def run(call, phase, begin, end, scratch):
        n, bins = length_of(call), k.output_dim(call, 0, 2)
        if n < 1 or bins > n or (k.has_input(call, 2) and k.input_size(call, 2) != n):
            return k.SHAPE_MISMATCH
        table(scratch, 4 * n, n, wide(-1))
        for unit in range(begin, end):
            read_frame(call, unit, n, scratch)
            x = transform(scratch, 0, 2 * n, 4 * n, n)
            for i in range(2 * bins):
                st(k.output(call, 0), unit * 2 * bins + i, narrow(get(scratch, x + i)))
        return k.OK

    return parts(run=run, units=units, scratch=scratch)


def window(op, constant, first, second):
    """`constant` - `first` cos t + `second` cos 2t, t once around over the window."""

    @kernel(op, types={"T2": "float double"}, attributes=("periodic",))
    def build(k):
        st = k.store("T2")
        wide, narrow = k.cast("double"), k.cast("T2")

        def run(call, phase, begin, end, scratch):
            n = k.output_size(call, 0)
            around = n if k.attr_int(call, 0) != 0 else max(n - 1, 1)
            for i in range(n):
                t = wide(TAU) * wide(i) / wide(around)
                value = constant - first * k.math.cos(t) + second * k.math.cos(t + t)
                st(k.output(call, 0), i, narrow(value))
            return k.OK

        return parts(run=run)


window("HannWindow", 0.5, 0.5, 0.0)
window("HammingWindow", 25 / 46, 21 / 46, 0.0)
window("BlackmanWindow", 0.42, 0.5, 0.08)


@kernel("MelWeightMatrix", types={"T1": "int64", "T2": "float", "T3": "float"})
def mel_weight_matrix(k):
    """Triangles between neighbouring points that lie evenly on the mel scale, 2595 lg(1 + f / 700).

    Inputs: num_mel_bins, dft_length, sample_rate, lower and upper edge. Output [bins of the
    spectrum, mel bins].
    """
    ld, ld64, st = k.load("float"), k.load("int64"), k.store("float")
    wide, narrow, whole = k.cast("double"), k.cast("float"), k.cast("int64")

    @inline
    def mel(f):
        return wide(2595) * k.math.log10(wide(1) + f / wide(700))

    @inline
    def bin_of(call, point):
        """The bin of the spectrum in which a point on the mel scale lies."""
        low, high = mel(wide(ld(k.input(call, 3), 0))), mel(wide(ld(k.input(call, 4), 0)))
        points = ld64(k.input(call, 0), 0) + 2
        at = low + wide(point) * (high - low) / wide(points)
        hertz = wide(700) * (k.math.exp(at * wide(2.302585092994046) / wide(2595)) - wide(1))
        length, rate = ld64(k.input(call, 1), 0), ld64(k.input(call, 2), 0)
        return whole(k.math.floor((wide(length) + wide(1)) * hertz / wide(rate)))

    def run(call, phase, begin, end, scratch):
        bins, mels = k.output_dim(call, 0, 0), k.output_dim(call, 0, 1)
        y = k.output(call, 0)
        k.fill(y, 0, k.output_size(call, 0) * 4)
        for m in range(mels):
            low, centre, high = bin_of(call, m), bin_of(call, m + 1), bin_of(call, m + 2)
            if low < 0 or centre >= bins or high > bins:
                return k.INVALID_VALUE
            if low == centre:
                st(y, centre * mels + m, narrow(1))
            for i in range(low, centre + 1 if centre > low else low):
                st(y, i * mels + m, narrow(wide(i - low) / wide(centre - low)))
            for i in range(centre, high):
                st(y, i * mels + m, narrow(wide(high - i) / wide(high - centre)))
        return k.OK

    return parts(run=run)
