"""CausalConvWithState: each channel convolved with its own past, which is handed on."""

from _lang import inline, kernel, parts


@kernel(
    "CausalConvWithState",
    types={"T": "float float16 bfloat16"},
    attributes=("activation:none|silu|swish",),
)
def causal_conv(k):
    """A unit is one channel of one sequence. The line is the past state, or zeros, then the
    input.
    """
    get, put = k.load("T"), k.store("T")
    single = k.cast("float")

    @inline
    def line(call, unit, length, past, i):
        """Element i of the line, counted from the start of the past."""
        out = single(0)
        if i >= past:
            out = get(k.input(call, 0), unit * length + i - past)
        elif k.has_input(call, 3):
            out = get(k.input(call, 3), unit * past + i)
        return out

    def run(call, phase, begin, end, scratch):
        length, taps = k.input_dim(call, 0, 2), k.input_dim(call, 1, 2)
        channels, past = k.input_dim(call, 0, 1), k.input_dim(call, 1, 2) - 1
        weight = k.input(call, 1)
        for unit in range(begin, end):
            channel = unit % channels
            bias = single(0)
            if k.has_input(call, 2):
                bias = get(k.input(call, 2), channel)
            for i in range(length):
                s = bias
                for t in range(taps):
                    s += get(weight, channel * taps + t) * line(call, unit, length, past, i + t)
                if k.attr_int(call, 0) != 0:
                    s = s * k.math.sigmoid(s)
                put(k.output(call, 0), unit * length + i, s)
            if k.n_outputs(call) > 1:
                if k.output_rank(call, 1) >= 0:
                    for i in range(past):
                        value = line(call, unit, length, past, length + i)
                        put(k.output(call, 1), unit * past + i, value)
        return k.OK

    def units(call, phase):
        return k.input_dim(call, 0, 0) * k.input_dim(call, 0, 1)

    return parts(run=run, units=units)
