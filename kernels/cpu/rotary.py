"""RotaryEmbedding: pairs of each head turned by the angle of their position."""

from __future__ import annotations

from _lang import kernel, parts


@kernel(
    "RotaryEmbedding",
    types={"T": "float float16 bfloat16"},
    attributes=("interleaved", "num_heads", "rotary_embedding_dim"),
)
def rotary(k):
    """A unit is one position of one batch entry, all heads."""
    get, put = k.load("T"), k.store("T")
    ld64 = k.load("int64")

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
                for d in range(half):
                    first = at + (2 * d if interleaved else d)
                    second = first + (1 if interleaved else half)
                    cosine = get(k.input(call, 1), angle + d)
                    sine = get(k.input(call, 2), angle + d)
                    p, q = get(x, first), get(x, second)
                    put(y, first, cosine * p - sine * q)
                    put(y, second, sine * p + cosine * q)
                for d in range(turned, size):
                    put(y, at + d, get(x, at + d))
        return k.OK

    def units(call, phase):
        return k.input_dim(call, 0, 0) * k.input_dim(
            call, 0, 1 if k.input_rank(call, 0) == 3 else 2
        )

    return parts(run=run, units=units)
