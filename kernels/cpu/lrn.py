"""LRN: each element over a power of the squares in a window of channels, in both layouts."""

from numba import float32

from _lang import WIDE_FLOATS, inline, kernel, namespace, parts

ATTRIBUTES = ("alpha", "beta", "bias", "size")
REASONS = ("the blocks are not as wide as this instruction set's vectors",)
PIXELS = 16  # whose squares lie in scratch memory at once


def local_response(k):
    """`over(call, x, squares)`: vectors of elements, divided; `before` and `after`, the neighbours
    in a window; `work`.
    """
    v, cast, lanes = k.vector("T"), k.cast("T"), k.lanes("T")

    @inline
    def before(call):
        return (k.attr_int(call, 3) - 1) // 2

    @inline
    def after(call):
        return k.attr_int(call, 3) // 2

    @inline
    def over(call, x, squares):
        alpha = v.set(cast(k.attr_float(call, 0)) / cast(k.attr_int(call, 3)))
        bias, power = v.set(cast(k.attr_float(call, 2))), v.set(-cast(k.attr_float(call, 1)))
        return x * v.exp(power * v.log(v.fma(alpha, squares, bias)))

    def work(call):
        return k.output_size(call, 0) * (30 + k.attr_int(call, 3)) // (4 * lanes)

    return namespace("local_response", before=before, after=after, over=over, work=work)


@kernel("LRN", types={"T": WIDE_FLOATS}, attributes=ATTRIBUTES)
def lrn(k):
    """A unit is one channel of one image."""
    v, lanes = k.vector("T"), k.lanes("T")
    f = local_response(k)
    before, after, over = f.before, f.after, f.over

    def run(call, phase, begin, end, scratch):
        n, channels = 1, k.input_dim(call, 0, 1)
        for axis in range(2, k.input_rank(call, 0)):
            n *= k.input_dim(call, 0, axis)
        x, y = k.input(call, 0), k.output(call, 0)
        for unit in range(begin, end):
            c = unit % channels
            first = unit - min(before(call), c)
            last = unit + min(after(call), channels - 1 - c)
            for i in range(0, n, lanes):
                left = min(n - i, lanes)
                squares = v.zero()
                for other in range(first, last + 1):
                    z = v.load_n(x, other * n + i, left)
                    squares = v.fma(z, z, squares)
                z = v.load_n(x, unit * n + i, left)
                v.store_n(y, unit * n + i, over(call, z, squares), left)
        return k.OK

    def units(call, phase):
        return k.input_dim(call, 0, 0) * k.input_dim(call, 0, 1)

    return parts(run=run, units=units, work=f.work)


@kernel(
    "LRNBlocked",
    domain="tiercel",
    types={"T": "float"},
    attributes=ATTRIBUTES,
    variant="lanes",
    reasons=REASONS,
)
def lrn_blocked(k):
    """A unit is PIXELS pixels of one image. Their squares lie in scratch memory as [pixel][zeros,
    channels, zeros], where a window is a vector from any element on.
    """
    v, lanes, zero = k.vector("T"), k.lanes("T"), float32(0)
    put = k.store("T")
    f = local_response(k)
    before, after, over = f.before, f.after, f.over

    @inline
    def pixels(call):
        return k.input_dim(call, 0, 2) * k.input_dim(call, 0, 3)

    @inline
    def groups(call):
        return (pixels(call) + PIXELS - 1) // PIXELS

    @inline
    def line(call):
        """Elements of one pixel in scratch memory."""
        return k.input_dim(call, 0, 1) * lanes + k.attr_int(call, 3) - 1

    def run(call, phase, begin, end, scratch):
        blocks, n, size = k.input_dim(call, 0, 1), pixels(call), k.attr_int(call, 3)
        x, y, step, low = k.input(call, 0), k.output(call, 0), line(call), before(call)
        for p in range(PIXELS):
            for i in range(low):
                put(scratch, p * step + i, zero)
            for i in range(after(call)):
                put(scratch, p * step + low + blocks * lanes + i, zero)
        for unit in range(begin, end):
            image = unit // groups(call) * blocks * n
            start = unit % groups(call) * PIXELS
            count = min(n - start, PIXELS)
            for b in range(blocks):
                for p in range(count):
                    z = v.load(x, (image + b * n + start + p) * lanes)
                    v.store(scratch, p * step + low + b * lanes, z * z)
            for b in range(blocks):
                for p in range(count):
                    squares = v.zero()
                    for i in range(size):
                        squares = squares + v.load(scratch, p * step + b * lanes + i)
                    at = (image + b * n + start + p) * lanes
                    v.store(y, at, over(call, v.load(x, at), squares))
        return k.OK

    def units(call, phase):
        return k.input_dim(call, 0, 0) * groups(call) if k.output_size(call, 0) > 0 else 0

    def scratch(call):
        return PIXELS * line(call) * 4

    def supports(call):
        return 0 if k.input_dim(call, 0, 4) == lanes else 1

    return parts(run=run, units=units, scratch=scratch, supports=supports, work=f.work)
