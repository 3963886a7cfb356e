"""LSTM in float32 over packed weights: the whole sequence in three phases."""

from recurrent import ROWS, panels, product, walker

from _lang import inline, kernel, parts

ATTRIBUTES = ("direction:forward|reverse|bidirectional", "layout", "clip", "input_forget")
REASONS = ("", "has clip, peepholes or input_forget")


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
    """Phase 0 packs weights that are not constant; phase 1 projects all inputs; phase 2 walks the
    steps of ROWS sequences of one direction.
    """
    p = panels(k, 4)
    step_one, step_four = cell(p)
    lanes, width = p.lanes, p.width
    blocks_of, hidden_of, batch_of = p.blocks_of, p.hidden_of, p.batch_of
    project, projected_at, project_units = p.project, p.projected_at, p.project_units
    load_state, store_state, clear_rest = p.load_state, p.store_state, p.clear_rest
    groups_of, bad_length = p.groups_of, p.bad_length
    panel_units, pack_unit, weights_of = p.panel_units, p.pack_unit, p.weights_of

    def supports(call):
        if k.has_input(call, 7) or k.attr_n(call, 2) >= 0 or k.attr_int(call, 3) != 0:
            return 1
        return 0

    def units(call, phase):
        if phase == 0:
            return panel_units(call)
        return project_units(call) if phase == 1 else k.input_dim(call, 1, 0) * groups_of(call)

    def scratch(call):
        return (3 * ROWS * blocks_of(hidden_of(call)) + 4) * lanes * 4

    @inline
    def together(call, states, d, first, s, now, later):
        """Step s of ROWS sequences that are all that long."""
        hidden = hidden_of(call)
        blocks = blocks_of(hidden)
        size = blocks * lanes
        at0, at1 = projected_at(call, d, first, s), projected_at(call, d, first + 1, s)
        at2, at3 = projected_at(call, d, first + 2, s), projected_at(call, d, first + 3, s)
        for block in range(blocks):
            w_at, o, j = (d * blocks + block) * hidden * width, block * width, block * lanes
            w, wx = weights_of(call, 2), k.workspace(call)
            step_four(states, now, size, w, w_at, hidden, wx, at0 + o, at1 + o, at2 + o, at3 + o,
                      states, j, size, states, later + j)  # fmt: skip

    @inline
    def alone(call, states, d, first, r, s, now, later):
        """Step s of row r of the group."""
        hidden = hidden_of(call)
        blocks = blocks_of(hidden)
        size = blocks * lanes
        at = projected_at(call, d, first + r, s)
        for block in range(blocks):
            w_at, j = (d * blocks + block) * hidden * width, r * size + block * lanes
            w, wx = weights_of(call, 2), k.workspace(call)
            step_one(states, now + r * size, size, w, w_at, hidden, wx, at + block * width,
                     states, j, size, states, later + j)  # fmt: skip

    steps = walker(p, together, alone)

    def run(call, phase, begin, end, scratch):
        if phase < 2:
            for unit in range(begin, end):
                if phase == 0:
                    pack_unit(call, unit)
                else:
                    project(call, unit, scratch, 4)
            return k.OK
        bad = bad_length(call)
        if bad >= 0:
            k.set_error_index(call, bad)
            return k.INDEX_OUT_OF_RANGE
        size = blocks_of(hidden_of(call)) * lanes
        for unit in range(begin, end):
            d, first = unit // groups_of(call), (unit % groups_of(call)) * ROWS
            count = min(batch_of(call) - first, ROWS)
            # Scratch: cells, states, and the states after the step, ROWS rows each.
            now, later = ROWS * size, 2 * ROWS * size
            for r in range(count):
                load_state(call, 6, d, first + r, scratch, r * size)
                load_state(call, 5, d, first + r, scratch, now + r * size)
                clear_rest(call, d, first + r)
            now = steps(call, scratch, d, first, count, now, later)
            for r in range(count):
                store_state(call, 1, d, first + r, scratch, now + r * size)
                store_state(call, 2, d, first + r, scratch, r * size)
        return k.OK

    return parts(
        run=run,
        units=units,
        scratch=scratch,
        workspace=p.workspace,
        work=p.work,
        supports=supports,
        pack_size=p.pack_size,
        pack=p.pack,
        phases=3,
    )
