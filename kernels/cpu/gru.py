"""GRU in float32 over packed weights: inputs projected at once, then the steps."""

from recurrent import ROWS, panels, product
from recurrent_steps import steps

from _lang import inline, kernel, namespace

ATTRIBUTES = ("direction:forward|reverse|bidirectional", "layout", "clip", "linear_before_reset")
REASONS = ("has clip",)
PLACES = [f"wx{r}" for r in range(ROWS)]


def whole_step(p):
    """One panel of a step whose reset gate scales what R made of the state (after the product).

    Gates z, r, h: H = (1 - z) * h + z * H'.
    """
    lanes = p.lanes
    start = [
        "a{r}_0 = v.load(wx, wx{r})",
        f"a{{r}}_1 = v.load(wx, wx{{r}} + {lanes})",
        "a{r}_2 = v.load(c, bias)",
    ]
    finish = [
        f"n{{r}} = v.fma(v.sigmoid(a{{r}}_1), a{{r}}_2, v.load(wx, wx{{r}} + {2 * lanes}))",
        "n{r} = v.tanh(n{r})",
        "n{r} = v.fma(v.sigmoid(a{r}_0), v.load(c, h_at + {r} * row) - n{r}, n{r})",
        "v.store(c, to + {r} * row, n{r})",
    ]
    scope = {"v": p.v, "ld": p.ld, "lanes": lanes}
    states = ["c", "bias", "h_at", "row", "to"]
    one = product("whole_one", 1, 3, ["wx", "wx0", *states], start, finish, scope)
    return one, product("whole_four", ROWS, 3, ["wx", *PLACES, *states], start, finish, scope)


def reset_steps(p):
    """One panel of a step whose reset gate scales the state before the product: first z and r,
    which leave z and the scaled state; then h.
    """
    lanes, scope = p.lanes, {"v": p.v, "ld": p.ld, "lanes": p.lanes}
    start = ["a{r}_0 = v.load(wx, wx{r})", f"a{{r}}_1 = v.load(wx, wx{{r}} + {lanes})"]
    finish = [
        "v.store(c, z_at + {r} * row, v.sigmoid(a{r}_0))",
        "v.store(c, to + {r} * row, v.sigmoid(a{r}_1) * v.load(c, h_at + {r} * row))",
    ]
    states = ["c", "z_at", "h_at", "row", "to"]
    one = product("gates_one", 1, 2, ["wx", "wx0", *states], start, finish, scope, 3)
    four = product("gates_four", ROWS, 2, ["wx", *PLACES, *states], start, finish, scope, 3)
    start = [f"a{{r}}_0 = v.load(wx, wx{{r}} + {2 * lanes})"]
    finish = [
        "n{r} = v.tanh(a{r}_0)",
        "n{r} = v.fma(v.load(c, z_at + {r} * row), v.load(c, h_at + {r} * row) - n{r}, n{r})",
        "v.store(c, to + {r} * row, n{r})",
    ]
    last = product("last_one", 1, 1, ["wx", "wx0", *states], start, finish, scope, 3)
    last_four = product("last_four", ROWS, 1, ["wx", *PLACES, *states], start, finish, scope, 3)
    return one, four, last, last_four


@kernel("GRU", types={"T": "float"}, attributes=ATTRIBUTES, variant="packed", reasons=REASONS)
def gru(k):
    p = panels(k, 3)
    whole_one, whole_four = whole_step(p)
    gates_one, gates_four, last_one, last_four = reset_steps(p)
    lanes, width = p.lanes, p.width
    blocks_of, hidden_of = p.blocks_of, p.hidden_of
    projected_at, weights_of = p.projected_at, p.weights_of
    load_state, store_state, clear_rest = p.load_state, p.store_state, p.clear_rest

    def supports(call):
        return 0 if k.attr_n(call, 2) < 0 else 1

    @inline
    def is_after(call):
        return k.attr_int(call, 3) != 0

    @inline
    def early(call):
        return 2 if is_after(call) else 3

    # The memory of a group: states and those after the step, z, scaled states, ROWS rows each; the
    # bias of h, which is added to R's product where that is scaled.
    @inline
    def memory(call):
        return (4 * ROWS + 1) * blocks_of(hidden_of(call)) * lanes

    @inline
    def begin(call, m, d, first, count):
        hidden = hidden_of(call)
        size = blocks_of(hidden) * lanes
        k.fill(m, 0, memory(call) * 4)
        for r in range(count):
            load_state(call, 5, d, first + r, m, r * size)
            clear_rest(call, d, first + r)
        if k.has_input(call, 3):
            at = ((2 * d + 1) * 3 + 2) * hidden
            k.copy(m, 16 * ROWS * size, k.input(call, 3), 4 * at, 4 * hidden)

    @inline
    def end(call, m, d, first, count, now):
        for r in range(count):
            store_state(call, 1, d, first + r, m, now + r * blocks_of(hidden_of(call)) * lanes)

    @inline
    def passes(call):
        return 1 if is_after(call) else 2

    @inline
    def together(call, m, d, first, count, s, now, later, block, turn):
        depth, blocks = hidden_of(call), blocks_of(hidden_of(call))
        size, last = blocks * lanes, first + count - 1
        z, scaled, bias = 2 * ROWS * size, 3 * ROWS * size, 4 * ROWS * size
        at, o, j = (d * blocks + block) * depth * width, block * width, block * lanes
        w, wx = weights_of(call, 2), k.workspace(call)
        a, b = projected_at(call, d, first, s) + o, projected_at(call, d, first + 1, s) + o
        c = projected_at(call, d, min(first + 2, last), s) + o
        e = projected_at(call, d, last, s) + o
        if is_after(call):
            whole_four(m, now, size, w, at, depth, wx, a, b, c, e, m, bias + j, now + j, size,
                       later + j)  # fmt: skip
        elif turn == 0:
            gates_four(m, now, size, w, at, depth, wx, a, b, c, e, m, z + j, now + j, size,
                       scaled + j)  # fmt: skip
        else:
            last_four(m, scaled, size, w, at + 2 * lanes, depth, wx, a, b, c, e, m, z + j,
                      now + j, size, later + j)  # fmt: skip

    @inline
    def alone(call, m, d, first, r, s, now, later, block, turn):
        depth, blocks = hidden_of(call), blocks_of(hidden_of(call))
        size = blocks * lanes
        at, j = (d * blocks + block) * depth * width, r * size + block * lanes
        z, scaled, bias = 2 * ROWS * size, 3 * ROWS * size, 4 * ROWS * size + block * lanes
        a = projected_at(call, d, first + r, s) + block * width
        w, wx, row = weights_of(call, 2), k.workspace(call), r * size
        if is_after(call):
            whole_one(m, now + row, size, w, at, depth, wx, a, m, bias, now + j, size, later + j)
        elif turn == 0:
            gates_one(m, now + row, size, w, at, depth, wx, a, m, z + j, now + j, size, scaled + j)
        else:
            last_one(m, scaled + row, size, w, at + 2 * lanes, depth, wx, a, m, z + j, now + j,
                     size, later + j)  # fmt: skip

    group = namespace("cell", supports=supports, early=early, memory=memory, row=0, begin=begin,
                      end=end, passes=passes, together=together, alone=alone)  # fmt: skip
    return steps(k, p, 3, group)
