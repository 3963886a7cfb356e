"""GRU in float32 over packed weights: the whole sequence in three phases."""

from recurrent import ROWS, panels, product, walker

from _lang import inline, kernel, parts

ATTRIBUTES = ("direction:forward|reverse|bidirectional", "layout", "clip", "linear_before_reset")
REASONS = ("", "has clip")
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
    """Phase 0 packs weights that are not constant; phase 1 projects all inputs; phase 2 walks the
    steps of ROWS sequences of one direction.
    """
    p = panels(k, 3)
    whole_one, whole_four = whole_step(p)
    gates_one, gates_four, last_one, last_four = reset_steps(p)
    lanes, width = p.lanes, p.width
    blocks_of, hidden_of, batch_of = p.blocks_of, p.hidden_of, p.batch_of
    project, projected_at, project_units = p.project, p.projected_at, p.project_units
    panel_units, pack_unit, weights_of = p.panel_units, p.pack_unit, p.weights_of
    load_state, store_state, clear_rest = p.load_state, p.store_state, p.clear_rest
    groups_of, bad_length = p.groups_of, p.bad_length

    def supports(call):
        return 0 if k.attr_n(call, 2) < 0 else 1

    def units(call, phase):
        if phase == 0:
            return panel_units(call)
        return project_units(call) if phase == 1 else k.input_dim(call, 1, 0) * groups_of(call)

    def scratch(call):
        return ((4 * ROWS + 1) * blocks_of(hidden_of(call)) + 3) * lanes * 4

    @inline
    def is_after(call):
        return k.attr_int(call, 3) != 0

    # Scratch: states and those after the step, z, scaled states, ROWS rows each; the bias of h.

    @inline
    def together(call, m, d, first, s, now, later):
        """Step s of ROWS sequences that are all that long."""
        hidden, blocks = hidden_of(call), blocks_of(hidden_of(call))
        size, depth = blocks * lanes, hidden
        z, scaled, bias = 2 * ROWS * size, 3 * ROWS * size, 4 * ROWS * size
        at0, at1 = projected_at(call, d, first, s), projected_at(call, d, first + 1, s)
        at2, at3 = projected_at(call, d, first + 2, s), projected_at(call, d, first + 3, s)
        w, wx, base = weights_of(call, 2), k.workspace(call), d * blocks * hidden * width
        for block in range(blocks):
            at, o, j = base + block * hidden * width, block * width, block * lanes
            a, b, c, e = at0 + o, at1 + o, at2 + o, at3 + o
            if is_after(call):
                whole_four(m, now, size, w, at, depth, wx, a, b, c, e, m, bias + j, now + j, size,
                           later + j)  # fmt: skip
            else:
                gates_four(m, now, size, w, at, depth, wx, a, b, c, e, m, z + j, now + j, size,
                           scaled + j)  # fmt: skip
        if not is_after(call):
            for block in range(blocks):
                at, o, j = base + block * hidden * width, block * width, block * lanes
                a, b, c, e = at0 + o, at1 + o, at2 + o, at3 + o
                last_four(m, scaled, size, w, at + 2 * lanes, depth, wx, a, b, c, e, m, z + j,
                          now + j, size, later + j)  # fmt: skip

    @inline
    def alone(call, m, d, first, r, s, now, later):
        """Step s of row r of the group."""
        hidden, blocks = hidden_of(call), blocks_of(hidden_of(call))
        size, depth = blocks * lanes, hidden
        z, scaled, bias = 2 * ROWS * size, 3 * ROWS * size, 4 * ROWS * size
        at0, h, to = projected_at(call, d, first + r, s), now + r * size, later + r * size
        w, wx, base = weights_of(call, 2), k.workspace(call), d * blocks * hidden * width
        for block in range(blocks):
            at, a, j = base + block * hidden * width, at0 + block * width, block * lanes
            if is_after(call):
                whole_one(m, h, size, w, at, depth, wx, a, m, bias + j, h + j, size, to + j)
            else:
                gates_one(m, h, size, w, at, depth, wx, a, m, z + j, h + j, size, scaled + j)
        if not is_after(call):
            for block in range(blocks):
                at, a, j = base + block * hidden * width, at0 + block * width, block * lanes
                last_one(m, scaled, size, w, at + 2 * lanes, depth, wx, a, m, z + j, h + j, size,
                         to + j)  # fmt: skip

    @inline
    def load_bias(call, d, m):
        """What is added to R's product of gate h where that is scaled."""
        hidden = hidden_of(call)
        size = blocks_of(hidden) * lanes
        k.fill(m, 16 * ROWS * size, 4 * size)
        if k.has_input(call, 3):
            at = ((2 * d + 1) * 3 + 2) * hidden
            k.copy(m, 16 * ROWS * size, k.input(call, 3), 4 * at, 4 * hidden)

    steps = walker(p, together, alone)

    @inline
    def walk(call, m, d, first, count):
        """All steps of a group of sequences."""
        size = blocks_of(hidden_of(call)) * lanes
        for r in range(count):
            load_state(call, 5, d, first + r, m, r * size)
            clear_rest(call, d, first + r)
        now = steps(call, m, d, first, count, 0, ROWS * size)
        for r in range(count):
            store_state(call, 1, d, first + r, m, now + r * size)

    def run(call, phase, begin, end, scratch):
        if phase < 2:
            for unit in range(begin, end):
                if phase == 0:
                    pack_unit(call, unit)
                else:
                    project(call, unit, scratch, 2 if is_after(call) else 3)
            return k.OK
        bad = bad_length(call)
        if bad >= 0:
            k.set_error_index(call, bad)
            return k.INDEX_OUT_OF_RANGE
        for unit in range(begin, end):
            d, first = unit // groups_of(call), (unit % groups_of(call)) * ROWS
            load_bias(call, d, scratch)
            walk(call, scratch, d, first, min(batch_of(call) - first, ROWS))
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
