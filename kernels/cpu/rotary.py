"""RotaryEmbedding: pairs of each head turned by the angle of their position."""

from __future__ import annotations

from _lang import inline, kernel, parts


@kernel(
    "RotaryEmbedding",
    types={"T": "float float16 bfloat16"},
    attributes=("interleaved", "num_heads", "rotary_embedding_dim"),
)
def rotary(k):
    """A unit is one position of one batch entry, all heads."""
    get, put = k.load("T"), k.store("T")
    ld64 = k.load("int64")
    v, lanes, width = k.vector("T"), k.lanes("float"), k.dtype("T").bits // 8

    @inline
    def turn_halves(x, y, at, half, cosines, sines, angle):
        """The first half of the numbers with the second; a vector at a time."""
        for d in range(0, half, lanes):
            n = min(half - d, lanes)
            c, s = v.load_n(cosines, angle + d, n), v.load_n(sines, angle + d, n)
            p, q = v.load_n(x, at + d, n), v.load_n(x, at + half + d, n)
            v.store_n(y, at + d, c * p - s * q, n)
            v.store_n(y, at + half + d, s * p + c * q, n)

    def run(call, phase, begin, end, scratch):
        three = k.input_rank(call, 0) == 3
        count = k.attr_int(call, 1) if three else k.input_dim(call, 0, 1)
        length = k.input_dim(call, 0, 1 if three else 2)
        size = k.input_dim(call, 0, 2) // max(count, 1) if three else k.input_dim(call, 0, 3)
        turned = k.attr_int(call, 2)
        turned = size if turned <= 0 else turned
        half = turned // 2
        interleaved = k.attr_int(call, 0) != 0
        x, y = k.input(call, 0), k.output(call, 0)
        for unit in range(begin, end):
            b, t = unit // length, unit % length
            angle = unit * half
            if k.has_input(call, 3):
                position = ld64(k.input(call, 3), unit)
                if position < 0 or position >= k.input_dim(call, 1, 0):
                    k.set_error_index(call, unit)
                    return k.INDEX_OUT_OF_RANGE
                angle = position * half
            for head in range(count):
                at = ((b * length + t) * count + head) * size
                if not three:
                    at = ((b * count + head) * length + t) * size
                if not interleaved:
                    turn_halves(x, y, at, half, k.input(call, 1), k.input(call, 2), angle)
                else:
                    for d in range(half):
                        cosine = get(k.input(call, 1), angle + d)
                        sine = get(k.input(call, 2), angle + d)
                        p, q = get(x, at + 2 * d), get(x, at + 2 * d + 1)
                        put(y, at + 2 * d, cosine * p - sine * q)
                        put(y, at + 2 * d + 1, sine * p + cosine * q)
                rest = (at + turned) * width
                k.copy(y, rest, x, rest, (size - turned) * width)
        return k.OK

    def units(call, phase):
        return k.input_dim(call, 0, 0) * k.input_dim(
            call, 0, 1 if k.input_rank(call, 0) == 3 else 2
        )

    return parts(run=run, units=units)
