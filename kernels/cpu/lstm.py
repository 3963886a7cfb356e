"""LSTM in float32 over packed weights: inputs projected at once, then the steps."""

from recurrent import ROWS, panels, product
from recurrent_steps import steps

from _lang import inline, kernel, namespace

ATTRIBUTES = ("direction:forward|reverse|bidirectional", "layout", "clip", "input_forget")
REASONS = ("has clip, peepholes or input_forget",)


def cell(p):
    """One step of one panel, for one row and for ROWS rows.

    Gates i, o, f, c: C = f * C' + i * c and H = o * tanh(C).
    """
    lanes = p.lanes
    start = [f"a{{r}}_{g} = v.load(wx, wx{{r}} + {g * lanes})" for g in range(4)]
    finish = [
        "c{r} = v.sigmoid(a{r}_0) * v.tanh(a{r}_3)",
        "c{r} = v.fma(v.sigmoid(a{r}_2), v.load(c, c_at + {r} * c_row), c{r})",
        "v.store(c, c_at + {r} * c_row, c{r})",
        "v.store(h, h_at + {r} * c_row, v.sigmoid(a{r}_1) * v.tanh(c{r}))",
    ]
    scope = {"v": p.v, "ld": p.ld, "lanes": lanes}
    states = ["c", "c_at", "c_row", "h", "h_at"]
    places = [f"wx{r}" for r in range(ROWS)]
    one = product("step_one", 1, 4, ["wx", "wx0", *states], start, finish, scope)
    four = product("step_four", ROWS, 4, ["wx", *places, *states], start, finish, scope)
    return one, four


@kernel("LSTM", types={"T": "float"}, attributes=ATTRIBUTES, variant="packed", reasons=REASONS)
def lstm(k):
    p = panels(k, 4)
    step_one, step_four = cell(p)
    lanes, width = p.lanes, p.width
    blocks_of, hidden_of = p.blocks_of, p.hidden_of
    projected_at, weights_of = p.projected_at, p.weights_of
    load_state, store_state, clear_rest = p.load_state, p.store_state, p.clear_rest

    def supports(call):
        if k.has_input(call, 7) or k.attr_n(call, 2) >= 0 or k.attr_int(call, 3) != 0:
            return 1
        return 0

    @inline
    def early(call):
        return 4

    # The memory of a group: cells, states, and the states after the step, ROWS rows each.
    @inline
    def memory(call):
        return 3 * ROWS * blocks_of(hidden_of(call)) * lanes

    @inline
    def begin(call, m, d, first, count):
        size = blocks_of(hidden_of(call)) * lanes
        k.fill(m, 0, memory(call) * 4)
        for r in range(count):
            load_state(call, 6, d, first + r, m, r * size)
            load_state(call, 5, d, first + r, m, (ROWS + r) * size)
            clear_rest(call, d, first + r)

    @inline
    def end(call, m, d, first, count, now):
        size = blocks_of(hidden_of(call)) * lanes
        for r in range(count):
            store_state(call, 1, d, first + r, m, now + r * size)
            store_state(call, 2, d, first + r, m, r * size)

    @inline
    def passes(call):
        return 1

    @inline
    def together(call, m, d, first, count, s, now, later, block, turn):
        hidden = hidden_of(call)
        size = blocks_of(hidden) * lanes
        last, o, j = first + count - 1, block * width, block * lanes
        at0, at1 = projected_at(call, d, first, s), projected_at(call, d, first + 1, s)
        at2 = projected_at(call, d, min(first + 2, last), s)
        at3 = projected_at(call, d, last, s)
        w, wx = weights_of(call, 2), k.workspace(call)
        w_at = (d * blocks_of(hidden) + block) * hidden * width
        step_four(m, now, size, w, w_at, hidden, wx, at0 + o, at1 + o, at2 + o, at3 + o,
                  m, j, size, m, later + j)  # fmt: skip

    @inline
    def alone(call, m, d, first, r, s, now, later, block, turn):
        hidden = hidden_of(call)
        size = blocks_of(hidden) * lanes
        at = projected_at(call, d, first + r, s) + block * width
        w, wx = weights_of(call, 2), k.workspace(call)
        w_at, j = (d * blocks_of(hidden) + block) * hidden * width, r * size + block * lanes
        step_one(m, now + r * size, size, w, w_at, hidden, wx, at, m, j, size, m, later + j)

    group = namespace("cell", supports=supports, early=early, memory=memory, row=1, begin=begin,
                      end=end, passes=passes, together=together, alone=alone)  # fmt: skip
    return steps(k, p, 4, group)
