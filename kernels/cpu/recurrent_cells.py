"""Parts of the recurrent kernels that take every form: activations, gate sums, the steps."""

from types import SimpleNamespace

from recurrent import sequences as layout

from _lang import inline, parts


def activations(k, usual):
    """`apply(call, d, which, x)` for direction d; `usual`: the codes of a node that names none.

    Codes: 0 Affine, 1 Relu, 2 LeakyRelu, 3 ThresholdedRelu, 4 Tanh, 5 ScaledTanh, 6 Sigmoid,
    7 HardSigmoid, 8 Elu, 9 Softsign, 10 Softplus; two parameters each.
    """
    first, second, third = usual
    wide = k.cast("T")

    @inline
    def value(code, x, alpha, beta):
        zero, one = wide(0), wide(1)
        y = x
        if code == 6:
            y = k.math.sigmoid(x)
        elif code == 4:
            y = k.math.tanh(x)
        elif code == 1:
            y = max(x, zero)
        elif code == 0:
            y = alpha * x + beta
        elif code == 2:
            y = alpha * x if x < zero else x
        elif code == 3:
            y = x if x > alpha else zero
        elif code == 5:
            y = alpha * k.math.tanh(beta * x)
        elif code == 7:
            y = max(zero, min(one, alpha * x + beta))
        elif code == 8:
            y = alpha * (k.math.exp(x) - one) if x < zero else x
        elif code == 9:
            y = x / (one + k.math.abs(x))
        elif code == 10:
            y = max(x, zero) + k.math.log(one + k.math.exp(-k.math.abs(x)))
        return y

    @inline
    def apply(call, d, which, x):
        code = first
        if which == 1:
            code = second
        elif which == 2:
            code = third
        alpha, beta = wide(0), wide(0)
        if k.attr_n(call, 3) > 0:
            at = d * 3 + which
            code = k.attr_ints(call, 3, at)
            alpha, beta = (
                wide(k.attr_floats(call, 4, 2 * at)),
                wide(k.attr_floats(call, 4, 2 * at + 1)),
            )
        return value(code, x, alpha, beta)

    @inline
    def clipped(call, x):
        y = x
        if k.attr_n(call, 2) > 0:
            bound = wide(k.attr_float(call, 2))
            y = max(-bound, min(bound, x))
        return y

    return SimpleNamespace(apply=apply, clipped=clipped)


def sequences(k, gates, states):
    """Sums of gates, and the functions of a kernel whose unit is one sequence in one direction.

    `states`: outputs Y_h … that the cell keeps at the front of its scratch memory.
    """
    wide, size_of = k.cast("T"), k.dtype("T").bits // 8
    lanes = 32 // size_of  # the same on every instruction set: lowered once
    v = k.vector("T", lanes)
    ld, st = k.load("T"), k.store("T")
    lie = layout(k, 2)
    hidden_of, batch_first, batch_of = lie.hidden_of, lie.batch_first, lie.batch_of
    steps_of, length_of, bad_length = lie.steps_of, lie.length_of, lie.bad_length
    state_at, output_at = lie.state_at, lie.output_at

    @inline
    def dot(a, a_at, b, b_at, n):
        total = v.zero()
        for i in range(0, n - n % lanes, lanes):
            total = v.fma(v.load(a, a_at + i), v.load(b, b_at + i), total)
        rest = n % lanes
        if rest > 0:
            at = n - rest
            total = v.fma(v.load_n(a, a_at + at, rest), v.load_n(b, b_at + at, rest), total)
        return v.sum(total)

    @inline
    def bias(call, d, part, g, j):
        y = wide(0)
        if k.has_input(call, 3):
            y = ld(k.input(call, 3), ((d * 2 + part) * gates + g) * hidden_of(call) + j)
        return y

    @inline
    def from_input(call, d, x_at, g, j):
        """Row j of gate g of W by one row of X, plus its bias."""
        depth = k.input_dim(call, 0, 2)
        row = (d * gates + g) * hidden_of(call) + j
        y = dot(k.input(call, 0), x_at, k.input(call, 1), row * depth, depth)
        return y + bias(call, d, 0, g, j)

    @inline
    def from_state(call, state, at, d, g, j):
        """Row j of gate g of R by a state, plus its bias."""
        hidden = hidden_of(call)
        row = (d * gates + g) * hidden + j
        return dot(state, at, k.input(call, 2), row * hidden, hidden) + bias(call, d, 1, g, j)

    @inline
    def gate_sum(call, state, at, d, x_at, g, j):
        return from_input(call, d, x_at, g, j) + from_state(call, state, at, d, g, j)

    @inline
    def peephole(call, d, which, j):
        y = wide(0)
        if k.has_input(call, 7):
            y = ld(k.input(call, 7), (d * 3 + which) * hidden_of(call) + j)
        return y

    @inline
    def wants(call, i):
        if i < k.n_outputs(call):
            return k.output_rank(call, i) >= 0
        return False

    @inline
    def begin_states(call, d, b, memory):
        bytes_ = hidden_of(call) * size_of
        for i in range(states):
            k.fill(memory, i * bytes_, bytes_)
            if k.has_input(call, 5 + i):
                k.copy(
                    memory, i * bytes_, k.input(call, 5 + i), state_at(call, d, b) * size_of, bytes_
                )

    @inline
    def end_states(call, d, b, memory):
        bytes_ = hidden_of(call) * size_of
        for i in range(states):
            if wants(call, 1 + i):
                k.copy(
                    k.output(call, 1 + i),
                    state_at(call, d, b) * size_of,
                    memory,
                    i * bytes_,
                    bytes_,
                )

    def kernel_parts(step):
        def units(call, phase):
            return k.input_dim(call, 1, 0) * batch_of(call)

        def scratch(call):
            return 4 * hidden_of(call) * size_of

        def run(call, phase, begin, end, scratch):
            bytes_ = hidden_of(call) * size_of
            bad = bad_length(call)
            if bad >= 0:
                k.set_error_index(call, bad)
                return k.INDEX_OUT_OF_RANGE
            for unit in range(begin, end):
                d, b = unit // batch_of(call), unit % batch_of(call)
                length = length_of(call, b)
                begin_states(call, d, b, scratch)
                for s in range(steps_of(call)):
                    t = s * 1
                    if s < length:
                        if k.attr_int(call, 0) == 1 or d == 1:
                            t = length - 1 - s
                        row = t * batch_of(call) + b
                        if batch_first(call):
                            row = b * steps_of(call) + t
                        step(call, scratch, d, row * k.input_dim(call, 0, 2))
                    if wants(call, 0):
                        to = output_at(call, t, d, b) * size_of
                        if s < length:
                            k.copy(k.output(call, 0), to, scratch, 0, bytes_)
                        else:
                            k.fill(k.output(call, 0), to, bytes_)
                end_states(call, d, b, scratch)
            return k.OK

        def work(call):
            rows = steps_of(call) * batch_of(call) * k.input_dim(call, 1, 0)
            return rows * gates * hidden_of(call) * (k.input_dim(call, 0, 2) + hidden_of(call)) // 4

        return parts(run=run, units=units, scratch=scratch, work=work)

    return SimpleNamespace(
        **{n: x for n, x in locals().items() if n not in ("k", "gates", "states", "lie")},
        bytes=size_of,
        parts=kernel_parts,
    )
