"""com.microsoft DynamicQuantizeLSTM: 8-bit weights, inputs and states quantised while it runs.

Inputs are quantised as one tensor, the state of a sequence anew in every step, to uint8 with a
zero point. Products of 8-bit numbers are summed in int32 by the dot product of the instruction set.
"""

from llvmlite import ir
from numba import int64
from recurrent import ROWS, panels

from _lang import dot, inline, kernel, namespace, parts
from _lang.emit import intrinsic_of
from _lang.simd import Vec

ATTRIBUTES = (
    "direction:forward|reverse|bidirectional",
    "layout",
    "clip",
    "input_forget",
    "activations:sigmoid|tanh",
)
REASONS = (
    "weights are not constant",
    "has clip, peepholes or input_forget",
    "has other activations than Sigmoid, Tanh and Tanh",
)
GATES = 4


def as_floats(lanes):
    """Words as floats."""
    kind = ir.VectorType(ir.FloatType(), lanes)
    made = intrinsic_of(
        Vec("float", lanes)(Vec("int32", lanes)), lambda ctx, b, _, args: b.sitofp(args[0], kind)
    )
    return made


def product(name, rows, arguments, finish, scope):
    """A function over `rows` rows of words of x that computes one panel of every gate.

    A panel is [words][gates][lanes] words, then of each column the sum and the zero point z. x has
    the zero point `zero`, and row r the sum of its numbers less their zero points at `rest_at` + r.
    `finish`: source lines per row, in which a{r}_0 … are the products as real numbers. A single
    row sums even and odd words apart, to keep more sums in flight.
    """
    lanes, odd = scope["lanes"], rows == 1
    cells = [(r, g) for r in range(rows) for g in range(GATES)]
    body = [f"t{r}_{g} = u.zero()" for r, g in cells]
    if odd:
        body += [f"e0_{g} = u.zero()" for g in range(GATES)]

    def step(at, sums):
        lines = [
            f"b{g} = u.load(w, w_at + (({at}) * {GATES} + {g}) * {lanes})" for g in range(GATES)
        ]
        lines += [f"s{r} = u.set(word(x, x_at + {r} * x_row + {at}))" for r in range(rows)]
        return lines + [f"{sums}{r}_{g} = add({sums}{r}_{g}, s{r}, b{g})" for r, g in cells]

    body += [f"for i in range(0, words - {int(odd)}, {1 + odd}):"]
    body += ["    " + line for line in step("i", "t")]
    if odd:
        body += ["    " + line for line in step("i + 1", "e")]
        body += ["if words % 2 == 1:"]
        body += ["    " + line for line in step("words - 1", "t")]
        body += [f"t0_{g} = t0_{g} + e0_{g}" for g in range(GATES)]
    body += [f"sums_at = w_at + words * {GATES * lanes}", f"zeros_at = sums_at + {GATES * lanes}"]
    for r, g in cells:
        body += [
            f"a{r}_{g} = real(t{r}_{g}) - v.set(zero) * v.load(w, sums_at + {g * lanes})",
            f"z = v.load(w, zeros_at + {g * lanes})",
            f"a{r}_{g} = a{r}_{g} - v.set(ld(rest, rest_at + {r})) * z",
            f"a{r}_{g} = v.fma(a{r}_{g} * v.set(unit), v.load(scale, scale_at + {g * lanes}), "
            f"v.load(add_to, add_at + {g * lanes}))",
        ]
    body += [line.replace("{r}", str(r)) for r in range(rows) for line in finish]
    given = (
        "x, x_at, x_row, w, w_at, words, unit, zero, rest, rest_at, scale, scale_at, add_to, add_at"
    )
    exec(f"def {name}({', '.join([given, *arguments])}):\n    " + "\n    ".join(body), scope)
    return inline(scope[name])


def products(k, p):
    """One panel of a projection of one row and of ROWS rows, and one step of one panel."""
    lanes = p.lanes
    scope = {"v": p.v, "u": k.vector("int32"), "ld": p.ld, "word": k.load("int32"), "lanes": lanes}
    scope |= {"add": dot(k.isa).add, "real": as_floats(lanes)}
    out = [
        f"v.store(out, out_at + {{r}} * out_row + {g * lanes}, a{{r}}_{g})" for g in range(GATES)
    ]
    cell = [
        "c{r} = v.sigmoid(a{r}_0) * v.tanh(a{r}_3)",
        "c{r} = v.fma(v.sigmoid(a{r}_2), v.load(states, c_at), c{r})",
        "v.store(states, c_at, c{r})",
        "v.store(states, h_at, v.sigmoid(a{r}_1) * v.tanh(c{r}))",
    ]
    places = ["out", "out_at", "out_row"]
    one = product("project_one", 1, places, out, scope)
    several = product("project_rows", ROWS, places, out, scope)
    return one, several, product("step", 1, ["states", "c_at", "h_at"], cell, scope)


def quantizer(k, p):
    """`find(x, at, n, to)` stores scale and zero point of n numbers; `apply` what they become."""
    v, lanes, ld, st = p.v, p.lanes, p.ld, p.st
    real, put, put_half = k.cast("float"), k.store("uint8"), k.store("int16")
    group = dot(k.isa).group
    by_bytes = group == 4

    @inline
    def words_of(depth):
        return (depth + group - 1) // group

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
    def apply(x, at, n, scale, zero, to, to_at, rest_at):
        """n numbers quantised to words from word `to_at` on, and their sum less n zero points."""
        out, total = k.offset(to, to_at * 4), v.zero()
        done = 0
        if by_bytes:
            done = n - n % lanes
            for i in range(0, done, lanes):
                q = v.rint(v.load(x, at + i) / v.set(scale)) + v.set(zero)
                q = v.max(v.zero(), v.min(v.set(real(255)), q))
                v.store_bytes(out, i, q)
                total = total + q
        rest = v.sum(total)
        for i in range(done, n):
            q = k.math.rint(ld(x, at + i) / scale) + zero
            q = max(real(0), min(real(255), q))
            if by_bytes:
                put(out, i, int64(q))
            else:
                put_half(out, i, int64(q))
            rest += q
        size = 1 if by_bytes else 2
        k.fill(out, n * size, words_of(n) * 4 - n * size)
        st(to, rest_at, rest - real(n) * zero)

    return namespace("quantizer", find=find, apply=apply, words_of=words_of)


@kernel(
    "DynamicQuantizeLSTM",
    domain="com.microsoft",
    types={"T2": "int8 uint8"},
    attributes=ATTRIBUTES,
    reasons=REASONS,
    isa="vnni v4 v3 neon",
)
def dynamic_quantize_lstm(k):
    """Inputs: X, W [directions, depth, 4 hidden], R, B, lengths, h, c, P, then scale and zero point
    of W and of R. Phases: the range of X, the projection of X, the steps.
    """
    p = panels(k, 4, hidden_axis=1)
    project_one, project_rows, step_panel = products(k, p)
    numbers = quantizer(k, p)
    find, apply, words_of = numbers.find, numbers.apply, numbers.words_of
    group, real = dot(k.isa).group, k.cast("float")
    v, lanes, width, ld, st, byte = p.v, p.lanes, p.width, p.ld, p.st, k.load("T2")
    blocks_of, hidden_of, batch_of, steps_of = p.blocks_of, p.hidden_of, p.batch_of, p.steps_of
    projected_at, add_bias, length_of = p.projected_at, p.add_bias, p.length_of
    load_state, store_state, clear_rest, emit_step = (
        *(p.load_state, p.store_state, p.clear_rest, p.emit_step),
    )

    def supports(call):
        if k.has_input(call, 7) or k.attr_n(call, 2) >= 0 or k.attr_int(call, 3) != 0:
            return 2
        for i in range(k.attr_n(call, 4)):
            if k.attr_ints(call, 4, i) != min(i % 3, 1):
                return 3
        return 0 if k.has_packed(call, 1) and k.has_packed(call, 2) else 1

    put_byte, put_half = k.store("int8"), k.store("int16")
    shift = 128 if k.dtype("T2").name == "uint8" else 0  # weights become signed

    @inline
    def panel_of(depth):
        """Words of a panel: the weights, sums and zero points."""
        return (words_of(depth) + 2) * width

    def pack_size(call, i):
        if i != 1 and i != 2:
            return 0
        blocks = blocks_of(k.input_dim(call, i, 2) // 4)
        return k.input_dim(call, i, 0) * blocks * panel_of(k.input_dim(call, i, 1)) * 4

    @inline
    def zero_point(call, i, d, column, columns):
        """Input i: one number per direction or one per column, or absent."""
        at = d * 1
        if k.has_input(call, i):
            if k.input_size(call, i) > k.input_dim(call, 1, 0):
                at = d * columns + column
            return real(byte(k.input(call, i), at))
        return real(0)

    @inline
    def pack_column(call, i, d, column, columns, panel, slot):
        """One column of the weights as slot `slot` of a panel."""
        depth, total = k.input_dim(call, i, 1), real(0)
        words = words_of(depth)
        for c in range(depth):
            value = real(byte(k.input(call, i), (d * depth + c) * columns + column)) - real(shift)
            total += value
            place = (c // group * width + slot) * group + c % group
            if group == 4:
                put_byte(panel, place, int64(value))
            else:
                put_half(panel, place, int64(value))
        st(panel, words * width + slot, total)
        zero = zero_point(call, 7 + 2 * i, d, column, columns) - real(shift)
        st(panel, (words + 1) * width + slot, zero)

    def pack(call, i, packed):
        columns, panel = k.input_dim(call, i, 2), packed
        hidden, size = columns // 4, panel_of(k.input_dim(call, i, 1)) * 4
        for d in range(k.input_dim(call, i, 0)):
            for block in range(blocks_of(hidden)):
                k.fill(panel, 0, size)
                for g in range(4):
                    for lane in range(min(lanes, hidden - block * lanes)):
                        column = g * hidden + block * lanes + lane
                        pack_column(call, i, d, column, columns, panel, g * lanes + lane)
                panel = k.offset(panel, size)
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
        """One panel's bias and scale, sums of rows, quantised rows; or states, and scales of R."""
        rows = 16 * (words_of(k.input_dim(call, 0, 2)) + 1) + 2 * width
        steps = states_size(call) + blocks_of(hidden_of(call)) * width + 3
        return (max(rows, steps) + 16) * 4

    @inline
    def project(call, unit, memory):
        hidden, depth = hidden_of(call), k.input_dim(call, 0, 2)
        rows, blocks, words = steps_of(call) * batch_of(call), blocks_of(hidden), words_of(depth)
        d, first = unit // row_groups(call), (unit % row_groups(call)) * 16
        count = min(rows - first, 16)
        found, out = k.offset(k.workspace(call), projected_size(call) * 4), k.workspace(call)
        scale, zero = ld(found, 0), ld(found, 1)
        bias_at, scale_at, rest_at, x_at = 0, width, 2 * width, 2 * width + 16
        for r in range(count):
            at = x_at + r * words
            apply(
                k.input(call, 0), (first + r) * depth, depth, scale, zero, memory, at, rest_at + r
            )
        for block in range(blocks):
            scales(call, 8, d, block, memory, scale_at)
            for g in range(4):
                v.store(memory, bias_at + g * lanes, v.zero())
                if k.has_input(call, 3):
                    add_bias(memory, call, d, block, g, 0)
                    add_bias(memory, call, d, block, g, 1)
            w, w_at, r = k.packed(call, 1), (d * blocks + block) * panel_of(depth), 0
            row = blocks * width
            while r < count:
                at, x = ((d * rows + first + r) * blocks + block) * width, x_at + r * words
                if r + ROWS <= count:
                    project_rows(memory, x, words, w, w_at, words, scale, zero, memory, rest_at + r,
                                 memory, scale_at, memory, bias_at, out, at, row)  # fmt: skip
                    r += ROWS
                else:
                    project_one(memory, x, words, w, w_at, words, scale, zero, memory, rest_at + r,
                                memory, scale_at, memory, bias_at, out, at, row)  # fmt: skip
                    r += 1

    @inline
    def walk(call, unit, memory):
        hidden = hidden_of(call)
        blocks = blocks_of(hidden)
        size = blocks * lanes
        d, b = unit // batch_of(call), unit % batch_of(call)
        # States: cells, the state, the next state, the quantised state; then the scales of R.
        cells, now, later, q, scale_at = 0, size * 1, 2 * size, 3 * size, 4 * size
        rest_at = scale_at + blocks * width
        found = k.offset(memory, (rest_at + 1) * 4)
        for block in range(blocks):
            scales(call, 10, d, block, memory, scale_at + block * width)
        load_state(call, 6, d, b, memory, cells)
        load_state(call, 5, d, b, memory, now)
        clear_rest(call, d, b)
        for s in range(length_of(call, b)):
            find(memory, now, hidden, found)
            apply(memory, now, hidden, ld(found, 0), ld(found, 1), memory, q, rest_at)
            wx = projected_at(call, d, b, s)
            for block in range(blocks):
                o, j = block * width, block * lanes
                w_at = (d * blocks + block) * panel_of(hidden)
                step_panel(memory, q, 0, k.packed(call, 2), w_at, words_of(hidden), ld(found, 0),
                           ld(found, 1), memory, rest_at, memory, scale_at + o, k.workspace(call),
                           wx + o, memory, cells + j, later + j)  # fmt: skip
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
