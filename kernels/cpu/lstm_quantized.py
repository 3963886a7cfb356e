"""com.microsoft DynamicQuantizeLSTM: 8-bit weights, inputs and states quantised while it runs.

Inputs are quantised as one tensor, the state of a sequence anew in every step, to uint8 with a
zero point. Products of 8-bit numbers are summed in float32, which is exact up to a depth of 512
(2^8 * 2^7 * 2^9 = 2^24) and rounds like any float32 sum beyond.
"""

from recurrent import panels, product

from _lang import inline, kernel, parts

ATTRIBUTES = ("direction:forward|reverse|bidirectional", "layout", "clip", "input_forget")
REASONS = ("", "weights are not constant", "has clip, peepholes or input_forget")


def products(p):
    """One panel of a projection, and one step of one panel, both scaled back to real numbers."""
    lanes = p.lanes
    scope = {"v": p.v, "ld": p.ld, "lanes": lanes}
    zero = [f"a{{r}}_{g} = v.zero()" for g in range(4)]
    scaled = [
        f"a{{r}}_{g} = v.fma(a{{r}}_{g} * v.set(unit), v.load(scale, scale_at + {g * lanes}), "
        f"v.load(add, add_at + {g * lanes}))"
        for g in range(4)
    ]
    out = [f"v.store(out, out_at + {g * lanes}, a{{r}}_{g})" for g in range(4)]
    cell = [
        "c{r} = v.sigmoid(a{r}_0) * v.tanh(a{r}_3)",
        "c{r} = v.fma(v.sigmoid(a{r}_2), v.load(states, c_at), c{r})",
        "v.store(states, c_at, c{r})",
        "v.store(states, h_at, v.sigmoid(a{r}_1) * v.tanh(c{r}))",
    ]
    names = ["unit", "scale", "scale_at", "add", "add_at"]
    places = ["out", "out_at"]
    project = product("project", 1, 4, [*names, *places], zero, scaled + out, scope)
    names += ["states", "c_at", "h_at"]
    return project, product("step", 1, 4, names, zero, scaled + cell, scope)


def quantizer(k, p):
    """`find(x, at, n, to)` stores scale and zero point of n numbers; `apply` what they become."""
    v, lanes, ld, st = p.v, p.lanes, p.ld, p.st
    real = k.cast("float")

    @inline
    def find(x, at, n, to):
        low, high = v.zero(), v.zero()
        for i in range(0, n - n % lanes, lanes):
            low, high = v.min(low, v.load(x, at + i)), v.max(high, v.load(x, at + i))
        least, most = v.hmin(low), v.hmax(high)
        for i in range(n - n % lanes, n):
            least, most = min(least, ld(x, at + i)), max(most, ld(x, at + i))
        scale = (most - least) / real(255)
        if scale == real(0):
            scale = real(1)
        st(to, 0, scale)
        st(to, 1, k.math.rint(max(real(0), min(real(255), -least / scale))))

    @inline
    def apply(x, at, n, scale, zero, to, to_at):
        """Quantised numbers less their zero point, as float."""
        low, high = v.set(-zero), v.set(real(255) - zero)
        for i in range(0, n, lanes):
            count = min(n - i, lanes)
            q = v.rint(v.load_n(x, at + i, count) / v.set(scale))
            v.store_n(to, to_at + i, v.max(low, v.min(high, q)), count)

    return find, apply


@kernel(
    "DynamicQuantizeLSTM",
    domain="com.microsoft",
    types={"T2": "int8 uint8"},
    attributes=ATTRIBUTES,
    reasons=REASONS,
)
def dynamic_quantize_lstm(k):
    """Inputs: X, W [directions, depth, 4 hidden], R, B, lengths, h, c, P, then scale and zero point
    of W and of R. Phases: the range of X, the projection of X, the steps.
    """
    p = panels(k, 4, hidden_axis=1)
    project_panel, step_panel = products(p)
    find, apply = quantizer(k, p)
    v, lanes, width, ld, st, byte = p.v, p.lanes, p.width, p.ld, p.st, k.load("T2")
    blocks_of, hidden_of, batch_of, steps_of = p.blocks_of, p.hidden_of, p.batch_of, p.steps_of
    projected_at, add_bias, length_of = p.projected_at, p.add_bias, p.length_of
    load_state, store_state, clear_rest, emit_step = (
        *(p.load_state, p.store_state, p.clear_rest, p.emit_step),
    )
    real = k.cast("float")

    def supports(call):
        if k.has_input(call, 7) or k.attr_n(call, 2) >= 0 or k.attr_int(call, 3) != 0:
            return 2
        return 0 if k.has_packed(call, 1) and k.has_packed(call, 2) else 1

    def pack_size(call, i):
        if i != 1 and i != 2:
            return 0
        blocks = blocks_of(k.input_dim(call, i, 2) // 4)
        return k.input_dim(call, i, 0) * blocks * k.input_dim(call, i, 1) * width * 4

    @inline
    def zero_point(call, i, d, column, columns):
        """Input i: one number per direction or one per column, or absent."""
        at = d * 1
        if k.has_input(call, i):
            if k.input_size(call, i) > k.input_dim(call, 1, 0):
                at = d * columns + column
            return real(byte(k.input(call, i), at))
        return real(0)

    def pack(call, i, packed):
        hidden = k.input_dim(call, i, 2) // 4
        depth, at = k.input_dim(call, i, 1), 0
        for d in range(k.input_dim(call, i, 0)):
            for block in range(blocks_of(hidden)):
                for c in range(depth):
                    for g in range(4):
                        for lane in range(lanes):
                            j = block * lanes + lane
                            value = real(0)
                            if j < hidden:
                                column = g * hidden + j
                                place = (d * depth + c) * 4 * hidden + column
                                value = real(byte(k.input(call, i), place))
                                value = value - zero_point(call, 7 + 2 * i, d, column, 4 * hidden)
                            st(packed, at, value)
                            at += 1
        return k.OK

    @inline
    def scales(call, i, d, block, to, at):
        """The scales of one panel: input i holds one per direction or one per column."""
        hidden = hidden_of(call)
        n = min(hidden - block * lanes, lanes)
        for g in range(4):
            if k.input_size(call, i) > k.input_dim(call, 1, 0):
                place = (d * 4 + g) * hidden + block * lanes
                v.store(to, at + g * lanes, v.load_n(k.input(call, i), place, n))
            else:
                v.store(to, at + g * lanes, v.set(ld(k.input(call, i), d)))

    @inline
    def projected_size(call):
        rows = steps_of(call) * batch_of(call)
        return k.input_dim(call, 1, 0) * rows * blocks_of(hidden_of(call)) * width

    def workspace(call):
        return (projected_size(call) + 2) * 4

    @inline
    def row_groups(call):
        return (steps_of(call) * batch_of(call) + 15) // 16

    def units(call, phase):
        n = 1
        if phase == 1:
            n = k.input_dim(call, 1, 0) * row_groups(call)
        elif phase == 2:
            n = k.input_dim(call, 1, 0) * batch_of(call)
        return n

    @inline
    def states_size(call):
        return 4 * blocks_of(hidden_of(call)) * lanes

    def scratch(call):
        """Quantised rows and one panel's bias and scale; or states, and the scales of R."""
        rows = 16 * k.input_dim(call, 0, 2) + 2 * width
        steps = states_size(call) + blocks_of(hidden_of(call)) * width + 2
        return (max(rows, steps) + 16) * 4

    @inline
    def project(call, unit, memory):
        hidden, depth = hidden_of(call), k.input_dim(call, 0, 2)
        rows, blocks = steps_of(call) * batch_of(call), blocks_of(hidden)
        d, first = unit // row_groups(call), (unit % row_groups(call)) * 16
        count = min(rows - first, 16)
        found, out = k.offset(k.workspace(call), projected_size(call) * 4), k.workspace(call)
        bias_at, scale_at, x_at = 0, width, 2 * width
        apply(k.input(call, 0), first * depth, count * depth, ld(found, 0), ld(found, 1),
              memory, x_at)  # fmt: skip
        for block in range(blocks):
            scales(call, 8, d, block, memory, scale_at)
            for g in range(4):
                v.store(memory, bias_at + g * lanes, v.zero())
                if k.has_input(call, 3):
                    add_bias(memory, call, d, block, g, 0)
                    add_bias(memory, call, d, block, g, 1)
            w_at = (d * blocks + block) * depth * width
            for r in range(count):
                at = ((d * rows + first + r) * blocks + block) * width
                project_panel(memory, x_at + r * depth, depth, k.packed(call, 1), w_at, depth,
                              ld(found, 0), memory, scale_at, memory, bias_at, out, at)  # fmt: skip

    @inline
    def walk(call, unit, memory):
        hidden = hidden_of(call)
        blocks = blocks_of(hidden)
        size = blocks * lanes
        d, b = unit // batch_of(call), unit % batch_of(call)
        # States: cells, the state, the next state, the quantised state; then the scales of R.
        cells, now, later, q, scale_at = 0, size * 1, 2 * size, 3 * size, 4 * size
        found = k.offset(memory, (scale_at + blocks * width) * 4)
        for block in range(blocks):
            scales(call, 10, d, block, memory, scale_at + block * width)
        load_state(call, 6, d, b, memory, cells)
        load_state(call, 5, d, b, memory, now)
        clear_rest(call, d, b)
        for s in range(length_of(call, b)):
            find(memory, now, hidden, found)
            apply(memory, now, hidden, ld(found, 0), ld(found, 1), memory, q)
            wx = projected_at(call, d, b, s)
            for block in range(blocks):
                o, j = block * width, block * lanes
                w_at = (d * blocks + block) * hidden * width
                step_panel(memory, q, size, k.packed(call, 2), w_at, hidden, ld(found, 0), memory,
                           scale_at + o, k.workspace(call), wx + o, memory, cells + j,
                           later + j)  # fmt: skip
            emit_step(call, d, b, s, memory, now, later)
            now, later = later, now
        store_state(call, 1, d, b, memory, now)
        store_state(call, 2, d, b, memory, cells)

    def run(call, phase, begin, end, scratch):
        for unit in range(begin, end):
            if phase == 0:
                found = k.offset(k.workspace(call), projected_size(call) * 4)
                find(k.input(call, 0), 0, k.input_size(call, 0), found)
            elif phase == 1:
                project(call, unit, scratch)
            else:
                walk(call, unit, scratch)
        return k.OK

    return parts(
        run=run,
        units=units,
        scratch=scratch,
        workspace=workspace,
        work=p.work,
        supports=supports,
        pack_size=pack_size,
        pack=pack,
        phases=3,
    )
