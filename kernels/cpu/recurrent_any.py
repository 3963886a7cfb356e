"""LSTM, GRU and RNN in every form: any activation, clipping, peepholes, weights of any kind.

A unit is one sequence in one direction. Nodes with other activations than the usual come in the
domain "tiercel", which names them by number.
"""

from recurrent_cells import activations, sequences

from _lang import inline, kernel

COMMON = (
    "direction:forward|reverse|bidirectional",
    "layout",
    "clip",
    "activation_codes",
    "activation_params",
)


@kernel("LSTM", types={"T": "float double"}, attributes=(*COMMON, "input_forget"), order=1)
@kernel("LSTM", types={"T": "float"}, attributes=(*COMMON, "input_forget"), domain="tiercel")
def lstm(k):
    """Gates i, o, f, c; P holds the peepholes of i, o, f."""
    act = activations(k, (6, 4, 4))
    s = sequences(k, 4, 2)
    ld, st, s_bytes = s.ld, s.st, s.bytes
    apply, clipped, gate_sum, wide = act.apply, act.clipped, s.gate_sum, s.wide
    hidden_of, peephole = s.hidden_of, s.peephole

    @inline
    def step(call, states, d, x_at):
        hidden = hidden_of(call)
        h, c, later = 0, hidden, 2 * hidden
        for j in range(hidden):
            c0 = ld(states, c + j)
            i = gate_sum(call, states, h, d, x_at, 0, j) + peephole(call, d, 0, j) * c0
            i = apply(call, d, 0, clipped(call, i))
            f = wide(1) - i
            if k.attr_int(call, 5) == 0:
                f = gate_sum(call, states, h, d, x_at, 2, j) + peephole(call, d, 2, j) * c0
                f = apply(call, d, 0, clipped(call, f))
            g = apply(call, d, 1, clipped(call, gate_sum(call, states, h, d, x_at, 3, j)))
            c1 = f * c0 + i * g
            o = gate_sum(call, states, h, d, x_at, 1, j) + peephole(call, d, 1, j) * c1
            o = apply(call, d, 0, clipped(call, o))
            st(states, later + j, o * apply(call, d, 2, c1))
            st(states, c + j, c1)
        k.copy(states, 0, states, later * s_bytes, hidden * s_bytes)

    return s.parts(step)


@kernel("GRU", types={"T": "float double"}, attributes=(*COMMON, "linear_before_reset"), order=1)
@kernel("GRU", types={"T": "float"}, attributes=(*COMMON, "linear_before_reset"), domain="tiercel")
def gru(k):
    """Gates z, r, h. The reset gate scales the state before or after its product with R."""
    act = activations(k, (6, 4, 4))
    s = sequences(k, 3, 1)
    ld, st, s_bytes = s.ld, s.st, s.bytes
    apply, clipped, gate_sum, wide = act.apply, act.clipped, s.gate_sum, s.wide
    hidden_of, from_input, from_state = s.hidden_of, s.from_input, s.from_state

    @inline
    def step(call, states, d, x_at):
        hidden = hidden_of(call)
        h, later, scaled, reset = 0, hidden, 2 * hidden, 3 * hidden
        for j in range(hidden):
            r = apply(call, d, 0, clipped(call, gate_sum(call, states, h, d, x_at, 1, j)))
            st(states, reset + j, r)
            st(states, scaled + j, r * ld(states, h + j))
        for j in range(hidden):
            z = apply(call, d, 0, clipped(call, gate_sum(call, states, h, d, x_at, 0, j)))
            g = from_input(call, d, x_at, 2, j)
            if k.attr_int(call, 5) != 0:
                g = g + ld(states, reset + j) * from_state(call, states, h, d, 2, j)
            else:
                g = g + from_state(call, states, scaled, d, 2, j)
            g = apply(call, d, 1, clipped(call, g))
            st(states, later + j, (wide(1) - z) * g + z * ld(states, h + j))
        k.copy(states, 0, states, later * s_bytes, hidden * s_bytes)

    return s.parts(step)


@kernel("RNN", types={"T": "float double"}, attributes=COMMON, order=1)
@kernel("RNN", types={"T": "float"}, attributes=COMMON, domain="tiercel")
def rnn(k):
    act = activations(k, (4, 4, 4))
    s = sequences(k, 1, 1)
    st, s_bytes = s.st, s.bytes
    apply, clipped, gate_sum, hidden_of = act.apply, act.clipped, s.gate_sum, s.hidden_of

    @inline
    def step(call, states, d, x_at):
        hidden = hidden_of(call)
        for j in range(hidden):
            g = apply(call, d, 0, clipped(call, gate_sum(call, states, 0, d, x_at, 0, j)))
            st(states, hidden + j, g)
        k.copy(states, 0, states, hidden * s_bytes, hidden * s_bytes)

    return s.parts(step)
