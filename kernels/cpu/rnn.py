"""RNN of tanh in float32 over packed weights: inputs projected at once, then the steps."""

from recurrent import ROWS, panels, product
from recurrent_steps import steps

from _lang import inline, kernel, namespace

ATTRIBUTES = ("direction:forward|reverse|bidirectional", "layout", "clip")
REASONS = ("has clip",)


def cell(p):
    """One step of one panel, for one row and for ROWS rows: H = tanh of the sum."""
    start = ["a{r}_0 = v.load(wx, wx{r})"]
    finish = ["v.store(h, h_at + {r} * row, v.tanh(a{r}_0))"]
    scope = {"v": p.v, "ld": p.ld, "lanes": p.lanes}
    states = ["h", "h_at", "row"]
    places = [f"wx{r}" for r in range(ROWS)]
    one = product("step_one", 1, 1, ["wx", "wx0", *states], start, finish, scope)
    return one, product("step_four", ROWS, 1, ["wx", *places, *states], start, finish, scope)


@kernel("RNN", types={"T": "float"}, attributes=ATTRIBUTES, variant="packed", reasons=REASONS)
def rnn(k):
    p = panels(k, 1)
    step_one, step_four = cell(p)
    lanes, width = p.lanes, p.width
    blocks_of, hidden_of = p.blocks_of, p.hidden_of
    projected_at, weights_of = p.projected_at, p.weights_of
    load_state, store_state, clear_rest = p.load_state, p.store_state, p.clear_rest

    def supports(call):
        return 0 if k.attr_n(call, 2) < 0 else 1

    @inline
    def early(call):
        return 1

    # The memory of a group: the states, and the states after the step, ROWS rows each.
    @inline
    def memory(call):
        return 2 * ROWS * blocks_of(hidden_of(call)) * lanes

    @inline
    def begin(call, m, d, first, count):
        k.fill(m, 0, memory(call) * 4)
        for r in range(count):
            load_state(call, 5, d, first + r, m, r * blocks_of(hidden_of(call)) * lanes)
            clear_rest(call, d, first + r)

    @inline
    def end(call, m, d, first, count, now):
        for r in range(count):
            store_state(call, 1, d, first + r, m, now + r * blocks_of(hidden_of(call)) * lanes)

    @inline
    def passes(call):
        return 1

    @inline
    def together(call, m, d, first, count, s, now, later, block, turn):
        depth, blocks = hidden_of(call), blocks_of(hidden_of(call))
        size, last = blocks * lanes, first + count - 1
        at, o = (d * blocks + block) * depth * width, block * width
        w, wx = weights_of(call, 2), k.workspace(call)
        a, b = projected_at(call, d, first, s) + o, projected_at(call, d, first + 1, s) + o
        c = projected_at(call, d, min(first + 2, last), s) + o
        e = projected_at(call, d, last, s) + o
        step_four(m, now, size, w, at, depth, wx, a, b, c, e, m, later + o, size)

    @inline
    def alone(call, m, d, first, r, s, now, later, block, turn):
        depth, blocks = hidden_of(call), blocks_of(hidden_of(call))
        size, at, o = blocks * lanes, (d * blocks + block) * depth * width, block * width
        a, w = projected_at(call, d, first + r, s) + o, weights_of(call, 2)
        step_one(m, now + r * size, size, w, at, depth, k.workspace(call), a, m,
                 later + r * size + o, size)  # fmt: skip

    group = namespace("cell", supports=supports, early=early, memory=memory, row=0, begin=begin,
                      end=end, passes=passes, together=together, alone=alone)  # fmt: skip
    return steps(k, p, 1, group)
