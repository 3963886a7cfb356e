"""LinearAttention: a matrix of state per head, decayed, corrected and read token by token."""

from __future__ import annotations

from numba import int64

from _lang import kernel, parts

RULES = "update_rule:linear|gated|delta|gated_delta"


@kernel(
    "LinearAttention",
    types={"T": "float", "S": "float"},
    attributes=("q_num_heads", "kv_num_heads", "scale", RULES),
    reasons=("heads, decay or beta do not fit the sequence",),
)
def linear_attention(k):
    """The state S [d_k, d_v] of one head is kept in float scratch; a unit is one state. Each token
    does S *= exp(decay); S += key ⊗ (beta (value - Sᵀ key)); output = scale Sᵀ query.
    """
    get, put = k.load("T"), k.store("T")
    get_state, put_state = k.load("S"), k.store("S")
    ld, st = k.load("float"), k.store("float")
    number = k.cast("float")

    def supports(call):
        q_heads, heads = k.attr_int(call, 0), k.attr_int(call, 1)
        rule = k.attr_int(call, 3)
        gated, corrected = rule == 1 or rule == 3, rule >= 2
        if heads < 1 or q_heads < 1 or q_heads % heads != 0:
            return 1
        size, width = k.input_dim(call, 0, 2) // q_heads, k.input_dim(call, 2, 2)
        if k.input_dim(call, 0, 2) != size * q_heads or k.input_dim(call, 1, 2) != size * heads:
            return 1
        if width % heads != 0 or gated != k.has_input(call, 4) or corrected != k.has_input(call, 5):
            return 1
        if gated:
            n = k.input_dim(call, 4, 2)
            if n != heads and n != heads * size:
                return 1
        if corrected:
            n = k.input_dim(call, 5, 2)
            if n != heads and n != 1:
                return 1
        return 0

    def units(call, phase):
        return k.input_dim(call, 0, 0) * k.attr_int(call, 1)

    def scratch(call):
        width = k.input_dim(call, 2, 2) // k.attr_int(call, 1)
        return 4 * (k.input_dim(call, 0, 2) // k.attr_int(call, 0) + 2) * width

    def run(call, phase, begin, end, scratch):
        q_heads, heads = k.attr_int(call, 0), k.attr_int(call, 1)
        group, steps = q_heads // heads, k.input_dim(call, 0, 1)
        n, m = k.input_dim(call, 0, 2) // q_heads, k.input_dim(call, 2, 2) // heads
        row = n * m  # of the scratch: a token's value; then the sum of an output
        scale = number(k.attr_float(call, 2))
        if scale == number(0):
            scale = number(1) / k.math.sqrt(number(n))
        rates = k.input_dim(call, 5, 2) if k.has_input(call, 5) else int64(1)
        decays = k.input_dim(call, 4, 2) // heads if k.has_input(call, 4) else int64(1)
        for unit in range(begin, end):
            batch, head = unit // heads, unit % heads
            for i in range(n * m):
                if k.has_input(call, 3):
                    st(scratch, i, number(get_state(k.input(call, 3), unit * n * m + i)))
                else:
                    st(scratch, i, number(0))
            for t in range(steps):
                token = batch * steps + t
                if k.has_input(call, 4):
                    for i in range(n):
                        at = (token * heads + head) * decays + (i if decays > 1 else 0)
                        kept = k.math.exp(number(get(k.input(call, 4), at)))
                        for j in range(m):
                            st(scratch, i * m + j, ld(scratch, i * m + j) * kept)
                for j in range(m):
                    st(scratch, row + j, get(k.input(call, 2), (token * heads + head) * m + j))
                keys = (token * heads + head) * n
                if k.has_input(call, 5):
                    for i in range(n):
                        key = number(get(k.input(call, 1), keys + i))
                        for j in range(m):
                            told = ld(scratch, row + j) - key * ld(scratch, i * m + j)
                            st(scratch, row + j, told)
                    at = token * rates + (head if rates > 1 else 0)
                    rate = number(get(k.input(call, 5), at))
                    for j in range(m):
                        st(scratch, row + j, ld(scratch, row + j) * rate)
                for i in range(n):
                    key = number(get(k.input(call, 1), keys + i))
                    for j in range(m):
                        change = key * ld(scratch, row + j)
                        st(scratch, i * m + j, ld(scratch, i * m + j) + change)
                for g in range(group):
                    place = token * q_heads + head * group + g
                    for j in range(m):
                        st(scratch, row + m + j, number(0))
                    for i in range(n):
                        query = number(get(k.input(call, 0), place * n + i))
                        for j in range(m):
                            change = query * ld(scratch, i * m + j)
                            st(scratch, row + m + j, ld(scratch, row + m + j) + change)
                    for j in range(m):
                        put(k.output(call, 0), place * m + j, ld(scratch, row + m + j) * scale)
            if k.n_outputs(call) > 1:
                for i in range(n * m):
                    put_state(k.output(call, 1), unit * n * m + i, ld(scratch, i))
        return k.OK

    return parts(run=run, units=units, scratch=scratch, supports=supports)
