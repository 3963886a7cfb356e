"""MatMulInteger and QLinearMatMul: 8-bit operands, sums in int32, zero points per tensor, row or
column.
"""

from __future__ import annotations

from matmul_shapes import blocks, shapes
from numba import int64
from panels_int8 import UNSIGNED, panels_int8

from _lang import inline, kernel, namespace, parts

ISAS = "amx vnni v4 v3 neon"
BYTE_TYPES = 3  # UINT8 and INT8 are 2 and 3 of onnx.TensorProto.DataType; float8 types are above


def product(k, right, zeros):
    """Inline functions of a product of inputs 0 and `right`, whose zero points are inputs
    `zeros`.
    """
    s, g = shapes(k, right), panels_int8(k)
    cut = blocks(g.height, g.width, 96, 4_000_000 if k.isa == "amx" else 1_000_000)
    step, group, shift, spare = g.width, g.group, g.shift, g.spare
    pack_a, pack_b, pitch, multiply = g.pack_a, g.pack_b, g.pitch, g.multiply
    get, put, word = k.load("uint8"), k.store("int32"), k.cast("int32")
    get_word, offset = k.load("int32"), k.offset
    left_zero, right_zero = zeros

    @inline
    def words(call):
        return (s.depth(call) + group - 1) // group

    @inline
    def panel_count(call):
        return (s.columns(call) + step - 1) // step

    @inline
    def panel_bytes(call):
        return (pitch(s.depth(call)) + 1) * step * 4

    @inline
    def packed_bytes(call):
        return s.matrices(call, right) * panel_count(call) * panel_bytes(call)

    @inline
    def pack_panel(call, unit, to):
        count, depth, n = panel_count(call), s.depth(call), s.columns(call)
        matrix, j = unit // count, unit % count * step
        kind = 1 if k.input_dtype(call, right) == UNSIGNED else 0
        at = matrix * depth * n + j
        to = offset(to, unit * panel_bytes(call))
        pack_b(to, k.input(call, right), at, min(step, n - j), n, depth, kind)

    @inline
    def zero_point(call, i, operand, at):
        """Element `at` of the zero points of an operand, as packing shifts them."""
        is_unsigned = k.input_dtype(call, operand) == UNSIGNED
        zero = 0
        if k.has_input(call, i):
            size = k.input_size(call, i)
            zero = int64(get(k.input(call, i), at % size if size > 1 else 0))
            zero -= 256 if zero > 127 and not is_unsigned else 0
        if operand == 0:
            return zero if is_unsigned else zero + shift
        return zero - shift if is_unsigned else zero

    @inline
    def needs_sums(call):
        """Whether a column of B has a zero point, as packing shifts it."""
        size = k.input_size(call, right_zero) if k.has_input(call, right_zero) else 0
        return size > 1 or zero_point(call, right_zero, right, 0) != 0

    @inline
    def extents(call):
        m, n, depth = s.rows(call), s.columns(call), s.depth(call)
        return m, n, depth, cut.height(m), cut.width(m, n, depth)

    @inline
    def place(call, unit):
        """Batch, row and column where block `unit` begins, and its rows and columns."""
        m, n, depth, high, wide = extents(call)
        down, across = (m + high - 1) // high, (n + wide - 1) // wide
        batch, rest = unit // (down * across), unit % (down * across)
        i, j = rest // across * high, rest % across * wide
        return batch, i, j, min(high, m - i), min(wide, n - j)

    @inline
    def block(call, packed, batch, i, j, rows, columns, c, stride, scratch):
        """One block of the product as int32 to element 0 of `c`."""
        m, n, depth, high, wide = extents(call)
        length = pitch(depth)
        sums, left = scratch, offset(scratch, spare)
        right_part, a = offset(left, high * 8), offset(left, high * 8 + step * 8)
        source = s.source(call, 0, batch) * m + i
        kind = 0 if k.input_dtype(call, 0) == UNSIGNED else 1
        # Tiles read whole groups of rows.
        inside = (source + (rows + 15) // 16 * 16) * depth <= k.input_size(call, 0)
        if inside and g.as_it_lies(depth, kind):
            a = offset(k.input(call, 0), source * depth)
            if needs_sums(call):
                g.sum_rows(left, a, 0, rows, depth)
        else:
            pack_a(a, left, k.input(call, 0), source * depth, rows, depth, kind)
        for r in range(rows):
            put(left, 2 * r, word(zero_point(call, left_zero, 0, source + r)))
        matrix = s.source(call, right, batch)
        first = matrix * panel_count(call) + j // step
        for x in range(0, columns, step):
            panel = offset(packed, (first + x // step) * panel_bytes(call))
            for y in range(step):
                zero = zero_point(call, right_zero, right, matrix * n + j + x + y)
                total = get_word(panel, length * step + y) - depth * zero
                put(right_part, y, word(total))
                put(right_part, step + y, word(zero))
            to = offset(c, x * 4)
            left_over = columns - x
            multiply(
                words(call), length, a, panel, to, rows, stride, left_over, left, right_part, sums
            )

    @inline
    def packed_b(call):
        return k.packed(call, right) if k.has_packed(call, right) else k.workspace(call)

    @inline
    def scratch_bytes(call):
        m, n, depth, high, wide = extents(call)
        return spare + high * 8 + step * 8 + high * pitch(depth) * 4 + 64

    def units(call, phase):
        if phase == 0:
            packed = k.has_packed(call, right)
            return 0 if packed else s.matrices(call, right) * panel_count(call)
        m, n, depth, high, wide = extents(call)
        if m == 0 or n == 0:
            return 0
        return s.batches(call) * ((m + high - 1) // high) * ((n + wide - 1) // wide)

    def workspace(call):
        return 0 if k.has_packed(call, right) else packed_bytes(call)

    def work(call):
        return k.output_size(call, 0) * s.depth(call) // 100

    def pack_size(call, i):
        return packed_bytes(call) if i == right else 0

    def pack(call, i, packed):
        for unit in range(s.matrices(call, right) * panel_count(call)):
            pack_panel(call, unit, packed)
        return k.OK

    inner = namespace(
        *("product",),
        block=block,
        place=place,
        extents=extents,
        pack_panel=pack_panel,
        packed_b=packed_b,
        scratch_bytes=scratch_bytes,
        source=s.source,
        begin=g.begin,
        end=g.end,
    )
    functions = {"units": units, "workspace": workspace, "work": work}
    return inner, functions | {"pack_size": pack_size, "pack": pack}


@kernel("MatMulInteger", types={"T1": "b8", "T2": "b8"}, isa=ISAS)
def matmul_integer(k):
    """Phase 0 packs B where it is not constant; a unit of phase 1 is a block of one matrix."""
    p, functions = product(k, 1, (2, 3))

    def run(call, phase, begin, end, scratch):
        p.begin(scratch)
        for unit in range(begin, end):
            if phase == 0:
                p.pack_panel(call, unit, k.workspace(call))
            else:
                m, n, depth, high, wide = p.extents(call)
                batch, i, j, rows, columns = p.place(call, unit)
                c = k.offset(k.output(call, 0), ((batch * m + i) * n + j) * 4)
                p.block(call, p.packed_b(call), batch, i, j, rows, columns, c, n, scratch)
        p.end()
        return k.OK

    def scratch(call):
        return p.scratch_bytes(call)

    return parts(run=run, phases=2, scratch=scratch, **functions)


@kernel(
    "QLinearMatMul",
    types={"T1": "b8", "T2": "b8", "T3": "b8", "TS": "float float16 bfloat16"},
    reasons=("operands of 8-bit floats are not quantised by integers",),
    isa=ISAS,
)
def qlinear_matmul(k):
    """As MatMulInteger, then scaled and rounded to the output's zero point."""
    p, functions = product(k, 3, (2, 5))
    scale, get_zero, put = k.load("TS"), k.load("uint8"), k.store("uint8")
    get, real, byte = k.load("int32"), k.cast("float"), k.cast("uint8")
    rint = k.math.rint

    @inline
    def scale_at(call, i, at):
        size = k.input_size(call, i)
        return scale(k.input(call, i), at % size if size > 1 else 0)

    @inline
    def finish(call, c, batch, i, j, rows, columns):
        """Rounds the int32 block `c` into the output."""
        m, n, depth, high, wide = p.extents(call)
        left, right = p.source(call, 0, batch) * m, p.source(call, 3, batch) * n
        is_unsigned = k.output_dtype(call, 0) == UNSIGNED
        low, top = real(0 if is_unsigned else -128), real(255 if is_unsigned else 127)
        zeros = k.input_size(call, 7)
        for r in range(rows):
            row = batch * m + i + r
            factor = scale_at(call, 1, left + i + r) / scale_at(call, 6, row)
            zero = int64(get_zero(k.input(call, 7), row % zeros if zeros > 1 else 0))
            zero -= 256 if zero > 127 and not is_unsigned else 0
            for x in range(columns):
                y = real(get(c, r * columns + x)) * (factor * scale_at(call, 4, right + j + x))
                y = min(max(rint(y) + real(zero), low), top)
                put(k.output(call, 0), row * n + j + x, byte(int64(y)))

    def run(call, phase, begin, end, scratch):
        p.begin(scratch)
        for unit in range(begin, end):
            if phase == 0:
                p.pack_panel(call, unit, k.workspace(call))
            else:
                batch, i, j, rows, columns = p.place(call, unit)
                m, n, depth, high, wide = p.extents(call)
                rest = k.offset(scratch, high * wide * 4)
                packed = p.packed_b(call)
                p.block(call, packed, batch, i, j, rows, columns, scratch, columns, rest)
                finish(call, scratch, batch, i, j, rows, columns)
        p.end()
        return k.OK

    def scratch(call):
        m, n, depth, high, wide = p.extents(call)
        return high * wide * 4 + p.scratch_bytes(call)

    def supports(call):
        whole = k.input_dtype(call, 0) <= BYTE_TYPES and k.input_dtype(call, 3) <= BYTE_TYPES
        return 0 if whole and k.input_dtype(call, 7) <= BYTE_TYPES else 1

    return parts(run=run, phases=2, scratch=scratch, supports=supports, **functions)
