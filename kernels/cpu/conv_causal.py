"""CausalConvWithState: each channel convolved with its own past, which is handed on."""

from _lang import inline, kernel, parts


@kernel(
    "CausalConvWithState",
    types={"T": "float float16 bfloat16"},
    attributes=("activation:none|silu|swish",),
)
def causal_conv(k):
    """A unit is one channel of one sequence. The line is the past state, or zeros, then the
    input; scratch memory holds it as float.
    """
    get, put = k.load("T"), k.store("T")
    lanes, ld, st = k.lanes("float"), k.load("float"), k.store("float")
    v, w, single = k.vector("float"), k.vector("T", k.lanes("float")), k.cast("float")

    @inline
    def fill_line(call, unit, length, past, line):
        for i in range(past):
            out = single(0)
            if k.has_input(call, 3):
                out = get(k.input(call, 3), unit * past + i)
            st(line, i, out)
        for i in range(0, length, lanes):
            x = w.load_n(k.input(call, 0), unit * length + i, length - i)
            v.store_n(line, past + i, x, length - i)

    @inline
    def convolve(call, unit, length, taps, line):
        channel = unit % k.input_dim(call, 0, 1)
        bias = single(0)
        if k.has_input(call, 2):
            bias = get(k.input(call, 2), channel)
        for i in range(0, length, lanes):
            s = v.set(bias)
            for t in range(taps):
                weight = v.set(get(k.input(call, 1), channel * taps + t))
                s = v.fma(weight, v.load_n(line, i + t, length - i), s)
            if k.attr_int(call, 0) != 0:
                s = s * v.sigmoid(s)
            w.store_n(k.output(call, 0), unit * length + i, s, length - i)

    def run(call, phase, begin, end, scratch):
        length, taps = k.input_dim(call, 0, 2), k.input_dim(call, 1, 2)
        past = taps - 1
        for unit in range(begin, end):
            fill_line(call, unit, length, past, scratch)
            convolve(call, unit, length, taps, scratch)
            if k.n_outputs(call) > 1:
                if k.output_rank(call, 1) >= 0:
                    for i in range(past):
                        put(k.output(call, 1), unit * past + i, ld(scratch, length + i))
        return k.OK

    def scratch(call):
        return 4 * (k.input_dim(call, 0, 2) + k.input_dim(call, 1, 2))

    def work(call):
        return k.input_size(call, 0) * (k.input_dim(call, 1, 2) + 4) // 4

    def units(call, phase):
        return k.input_dim(call, 0, 0) * k.input_dim(call, 0, 1)

    return parts(run=run, units=units, scratch=scratch, work=work)
