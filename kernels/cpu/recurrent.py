"""What LSTM, GRU and RNN share: packed gate panels and matrix products over them.

Weights [gates * hidden, depth] are packed as panels of one vector of hidden units: for each k the
vectors of all gates lie together, so that a step leaves all gates of a unit in registers.
"""

from types import SimpleNamespace

from numba import int64
from transpose_block import transpose_block

from _lang import inline

# Rows of a matrix product that share the loads of a panel.
ROWS = 4


def product(name, rows, gates, arguments, start, finish, scope, stride=0):
    """A function over `rows` rows of x that computes one panel of every gate and hands it on.

    `stride`: the gates of which vectors lie together, where more than those that are computed.
    `start` and `finish` are source lines per row, in which {r} is the row; the accumulators are
    a{r}_0 … of the gates. A single row sums even and odd k apart, to keep more sums in flight.
    """
    cells = [(r, g) for r in range(rows) for g in range(gates)]
    body = [line.replace("{r}", str(r)) for r in range(rows) for line in start]
    odd = rows == 1
    if odd:
        body += [f"e{g} = v.zero()" for g in range(gates)]
    body += [f"for k in range(0, depth - {int(odd)}, {1 + odd}):"]

    def step(at, sums):
        lines = [
            f"b{g} = v.load(w, w_at + (({at}) * {stride or gates} + {g}) * {scope['lanes']})"
            for g in range(gates)
        ]
        for r in range(rows):
            lines += [f"s{r} = v.set(ld(x, x_at + {r} * x_row + {at}))"]
        return lines + [f"{sums(r, g)} = v.fma(s{r}, b{g}, {sums(r, g)})" for r, g in cells]

    def main(r, g):
        return f"a{r}_{g}"

    body += ["    " + line for line in step("k", main)]
    if odd:
        body += ["    " + line for line in step("k + 1", lambda r, g: f"e{g}")]
        body += ["if depth % 2 == 1:"]
        body += ["    " + line for line in step("depth - 1", main)]
        body += [f"a0_{g} = a0_{g} + e{g}" for g in range(gates)]
    body += [line.replace("{r}", str(r)) for r in range(rows) for line in finish]
    header = f"def {name}(x, x_at, x_row, w, w_at, depth{''.join(', ' + a for a in arguments)}):"
    text = "\n    ".join([header, *body])
    exec(text, scope)
    return inline(scope[name])


def sequences(k, hidden_axis):
    """Extents of the sequences of X, their lengths, and where their steps and states lie.

    `hidden_axis`: the axis of R whose extent is the number of hidden units.
    """
    ld32 = k.load("int32")

    @inline
    def hidden_of(call):
        return k.input_dim(call, 2, hidden_axis)

    @inline
    def batch_first(call):
        return k.attr_int(call, 1) == 1

    @inline
    def steps_of(call):
        return k.input_dim(call, 0, 1 if batch_first(call) else 0)

    @inline
    def batch_of(call):
        return k.input_dim(call, 0, 0 if batch_first(call) else 1)

    @inline
    def row_of(call, t, b):
        """The row of X, and of what was projected from it, of step t of sequence b."""
        if batch_first(call):
            return b * steps_of(call) + t
        return t * batch_of(call) + b

    @inline
    def bad_length(call):
        """The first sequence whose length is outside [0, steps]; -1 where there is none."""
        bad = int64(-1)
        if k.has_input(call, 4):
            for b in range(batch_of(call)):
                n = ld32(k.input(call, 4), b) * 1
                if bad < 0 and (n < 0 or n > steps_of(call)):
                    bad = int64(b)
        return bad

    @inline
    def length_of(call, b):
        """Steps of sequence b, kept inside [0, steps]."""
        steps = steps_of(call)
        if not k.has_input(call, 4):
            return steps
        n = ld32(k.input(call, 4), b) * 1
        return max(0, min(n, steps))

    @inline
    def is_reverse(call, d):
        """direction: forward | reverse | bidirectional"""
        return k.attr_int(call, 0) == 1 or d == 1

    @inline
    def time_of(call, d, b, s):
        """The step of sequence b that direction d takes as its number s."""
        if is_reverse(call, d):
            return length_of(call, b) - 1 - s
        return s * 1

    @inline
    def output_at(call, t, d, b):
        """Where Y holds step t."""
        directions = k.input_dim(call, 1, 0)
        hidden = hidden_of(call)
        if batch_first(call):
            return ((b * steps_of(call) + t) * directions + d) * hidden
        return ((t * directions + d) * batch_of(call) + b) * hidden

    @inline
    def state_at(call, d, b):
        """Where initial and final states hold a sequence."""
        directions = k.input_dim(call, 1, 0)
        if batch_first(call):
            return (b * directions + d) * hidden_of(call)
        return (d * batch_of(call) + b) * hidden_of(call)

    return SimpleNamespace(**{n: x for n, x in locals().items() if n not in ("k", "hidden_axis")})


def packing(k, gates, lie):
    """Panels of weights, packed when the model is loaded or, of weights that are not constant, in
    every run; the workspace holds what was projected, then those panels of W and R.
    """
    v, lanes = k.vector("float"), k.lanes("float")
    ld, st = k.load("float"), k.store("float")
    width = gates * lanes  # columns of a panel
    hidden_of, steps_of, batch_of = lie.hidden_of, lie.steps_of, lie.batch_of
    turn = transpose_block("float", "float", lanes)

    @inline
    def blocks_of(hidden):
        return (hidden + lanes - 1) // lanes

    @inline
    def projected_row(hidden):
        return blocks_of(hidden) * width

    @inline
    def projected_bytes(call):
        rows = steps_of(call) * batch_of(call)
        return k.input_dim(call, 1, 0) * rows * projected_row(hidden_of(call)) * 4

    @inline
    def pack_panel(call, i, unit, to):
        """One panel of weights `i`, of panel `unit` of all directions, to its place in `to`."""
        hidden, depth = k.input_dim(call, i, 1) // gates, k.input_dim(call, i, 2)
        d, first = unit // blocks_of(hidden), unit % blocks_of(hidden) * lanes
        source, base, n = k.input(call, i), unit * depth * width, min(hidden - first, lanes)
        for g in range(gates):
            at, c = ((d * gates + g) * hidden + first) * depth, 0
            while n == lanes and c + lanes <= depth:
                turn(to, base + c * width + g * lanes, width, source, at + c, depth)
                c += lanes
            while c < depth:
                to_at = base + c * width + g * lanes
                v.store(to, to_at, v.zero())
                for lane in range(n):
                    st(to, to_at + lane, ld(source, at + lane * depth + c))
                c += 1

    @inline
    def packed_bytes(call, i):
        blocks = blocks_of(k.input_dim(call, i, 1) // gates)
        return k.input_dim(call, i, 0) * blocks * k.input_dim(call, i, 2) * width * 4

    def pack_size(call, i):
        return packed_bytes(call, i) if i == 1 or i == 2 else 0

    def pack(call, i, packed):
        blocks = blocks_of(k.input_dim(call, i, 1) // gates)
        for unit in range(k.input_dim(call, i, 0) * blocks):
            pack_panel(call, i, unit, packed)
        return k.OK

    @inline
    def panel_units(call):
        """Panels of weights that are packed in every run, since they are not constant."""
        panels = k.input_dim(call, 1, 0) * blocks_of(hidden_of(call))
        return panels * (int64(not k.has_packed(call, 1)) + int64(not k.has_packed(call, 2)))

    @inline
    def weights_of(call, i):
        """The panels of weights `i`: packed when the model was loaded, or in the workspace."""
        if k.has_packed(call, i):
            return k.packed(call, i)
        behind = projected_bytes(call)
        if i == 2 and not k.has_packed(call, 1):
            behind += packed_bytes(call, 1)
        return k.offset(k.workspace(call), behind)

    @inline
    def pack_unit(call, unit):
        """Unit `unit` of `panel_units`."""
        panels = k.input_dim(call, 1, 0) * blocks_of(hidden_of(call))
        i = 2 if k.has_packed(call, 1) or unit >= panels else 1
        pack_panel(call, i, unit % panels, weights_of(call, i))

    @inline
    def workspace(call):
        total = projected_bytes(call)
        for i in range(1, 3):
            total += 0 if k.has_packed(call, i) else packed_bytes(call, i)
        return total

    hidden = {"k", "gates", "lie", "turn"}
    return SimpleNamespace(**{n: x for n, x in locals().items() if n not in hidden})


def panels(k, gates, hidden_axis=2):
    """Packing and projection of inputs for a cell of `gates`, over `sequences`."""
    lie = sequences(k, hidden_axis)
    held = packing(k, gates, lie)
    v, ld, lanes, width = held.v, held.ld, held.lanes, held.width
    blocks_of, projected_row, weights_of = held.blocks_of, held.projected_row, held.weights_of
    hidden_of, steps_of, batch_of = lie.hidden_of, lie.steps_of, lie.batch_of
    length_of, time_of, row_of = lie.length_of, lie.time_of, lie.row_of
    output_at, state_at = lie.output_at, lie.state_at

    @inline
    def projected_at(call, d, b, s):
        """Where the projection of that step begins."""
        rows = steps_of(call) * batch_of(call)
        row = d * rows + row_of(call, time_of(call, d, b, s), b)
        return row * blocks_of(hidden_of(call)) * width

    @inline
    def project_units(call):
        rows = steps_of(call) * batch_of(call)
        return k.input_dim(call, 1, 0) * ((rows + 15) // 16)

    def work(call):
        """Two multiplications of a row by all gates, at about 20 GFLOP/s."""
        rows = steps_of(call) * batch_of(call) * k.input_dim(call, 1, 0)
        inputs = k.input_dim(call, 0, 2) + hidden_of(call)
        return rows * gates * hidden_of(call) * inputs // 10

    start = [f"a{{r}}_{g} = v.load(bias, {g * lanes})" for g in range(gates)]
    finish = [
        f"v.store(out, out_at + {{r}} * out_row + {g * lanes}, a{{r}}_{g})" for g in range(gates)
    ]
    names = ["bias", "out", "out_at", "out_row"]
    scope = {"v": v, "ld": ld, "lanes": lanes}
    project_one = product("project_one", 1, gates, names, start, finish, scope)
    project_four = product("project_four", ROWS, gates, names, start, finish, scope)

    @inline
    def add_bias(bias, call, d, block, g, part):
        """Row `part` (0: of W, 1: of R) of B for one gate and panel, into scratch."""
        hidden = hidden_of(call)
        n = min(hidden - block * lanes, lanes)
        at = (d * 2 + part) * gates * hidden + g * hidden + block * lanes
        before = v.load(bias, g * lanes)
        v.store(bias, g * lanes, before + v.load_n(k.input(call, 3), at, n))

    @inline
    def project(call, unit, bias, recurrent_gates):
        """Sixteen rows of X by the gates of W, plus both biases (of R only for its first gates)."""
        hidden, depth = hidden_of(call), k.input_dim(call, 0, 2)
        rows = steps_of(call) * batch_of(call)
        groups = (rows + 15) // 16
        d, first = unit // groups, (unit % groups) * 16
        last = min(first + 16, rows)
        x, w, out = k.input(call, 0), weights_of(call, 1), k.workspace(call)
        row_size = projected_row(hidden)
        for block in range(blocks_of(hidden)):
            for g in range(gates):
                v.store(bias, g * lanes, v.zero())
                if k.has_input(call, 3):
                    add_bias(bias, call, d, block, g, 0)
                    if g < recurrent_gates:
                        add_bias(bias, call, d, block, g, 1)
            w_at = (d * blocks_of(hidden) + block) * depth * width
            r = first
            while r < last:
                at = (d * rows + r) * row_size + block * width
                if r + ROWS <= last:
                    project_four(x, r * depth, depth, w, w_at, depth, bias, out, at, row_size)
                    r += ROWS
                else:
                    project_one(x, r * depth, depth, w, w_at, depth, bias, out, at, row_size)
                    r += 1

    @inline
    def load_state(call, i, d, b, to, at):
        """An initial state, or zeros, with zeros behind it up to whole vectors."""
        hidden = hidden_of(call)
        k.fill(to, at * 4, blocks_of(hidden) * lanes * 4)
        if k.has_input(call, i):
            k.copy(to, at * 4, k.input(call, i), state_at(call, d, b) * 4, hidden * 4)

    @inline
    def store_state(call, i, d, b, source, at):
        if i < k.n_outputs(call):
            if k.output_rank(call, i) >= 0:
                k.copy(
                    k.output(call, i), state_at(call, d, b) * 4, source, at * 4, hidden_of(call) * 4
                )

    @inline
    def wants(call, i):
        if i < k.n_outputs(call):
            return k.output_rank(call, i) >= 0
        return False

    @inline
    def clear_rest(call, d, b):
        """Steps behind a sequence's end are zero."""
        if wants(call, 0):
            for t in range(length_of(call, b), steps_of(call)):
                k.fill(k.output(call, 0), output_at(call, t, d, b) * 4, hidden_of(call) * 4)

    @inline
    def emit_step(call, d, b, s, states, now, later):
        """Writes the state after step s to Y; that of a sequence which has ended stays."""
        hidden = hidden_of(call)
        if s < length_of(call, b):
            if wants(call, 0):
                to = output_at(call, time_of(call, d, b, s), d, b) * 4
                k.copy(k.output(call, 0), to, states, later * 4, hidden * 4)
        else:
            k.copy(states, later * 4, states, now * 4, blocks_of(hidden) * lanes * 4)

    @inline
    def shortest_of(call, first, count):
        n = length_of(call, first)
        for r in range(1, count):
            n = min(n, length_of(call, first + r))
        return n

    @inline
    def groups_of(call):
        return (batch_of(call) + ROWS - 1) // ROWS

    hidden = {"k", "gates", "hidden_axis", "lie", "held"}
    own = {n: x for n, x in locals().items() if n not in hidden}
    return SimpleNamespace(**{**vars(lie), **vars(held), **own})
