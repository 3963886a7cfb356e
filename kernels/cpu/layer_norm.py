"""LayerNormalization and RMSNormalization of rows in vectors, with programs on either side."""

from __future__ import annotations

from attached import has_prologue, input_rows
from numba import int64

from _lang import kernel, parts

CHUNK = 4096  # elements of input 0 that a prologue computes at once
REASONS = (
    "scale or bias has not one element for each of the normalised axes",
    "the statistics are wanted too",
)


def rows_builder(centred, weight):
    """A row is read three times from the L1 cache: for its mean, its spread, and the result.

    `weight`: the type parameter of scale, bias and y.
    """

    def build(k):
        v, lanes, cast = k.vector("T"), k.lanes("T"), k.cast("T")
        w, of_weight = k.vector(weight, lanes), k.load(weight)
        get, put = k.load("T"), k.store(weight)
        take, has, offset = input_rows(k), has_prologue(), k.offset
        size, out_size = k.dtype("T").bits // 8, k.dtype(weight).bits // 8

        @k.outline("int64(call)")
        def row_size(call):
            axis = k.attr_int(call, 0)
            axis = axis + k.input_rank(call, 0) if axis < 0 else axis
            n = int64(1)
            for a in range(axis, k.input_rank(call, 0)):
                n *= k.input_dim(call, 0, a)
            return n

        @k.outline("int64(call, pointer, pointer, int64)")
        def row(call, x, y, n):
            pairs, whole = n // (2 * lanes) * (2 * lanes), n // lanes * lanes
            mean, a, b = cast(0), v.zero(), v.zero()
            if centred:
                for i in range(0, pairs, 2 * lanes):
                    a = a + v.load(x, i)
                    b = b + v.load(x, i + lanes)
                total = v.sum(a + b)
                for i in range(pairs, n):
                    total += get(x, i)
                mean = total / cast(n)
            a, b, m = v.zero(), v.zero(), v.set(mean)
            for i in range(0, pairs, 2 * lanes):
                p, q = v.load(x, i) - m, v.load(x, i + lanes) - m
                a = v.fma(p, p, a)
                b = v.fma(q, q, b)
            total = v.sum(a + b)
            for i in range(pairs, n):
                total += (get(x, i) - mean) * (get(x, i) - mean)
            factor = cast(1) / k.math.sqrt(total / cast(n) + cast(k.attr_float(call, 1)))
            f, scale = v.set(factor), k.input(call, 1)
            if k.has_input(call, 2):
                bias = k.input(call, 2)
                for i in range(0, whole, lanes):
                    z = (v.load(x, i) - m) * f
                    w.store(y, i, v.fma(z, w.load(scale, i), w.load(bias, i)))
                for i in range(whole, n):
                    z = (get(x, i) - mean) * factor
                    put(y, i, k.math.fma(z, of_weight(scale, i), of_weight(bias, i)))
            else:
                for i in range(0, whole, lanes):
                    w.store(y, i, (v.load(x, i) - m) * f * w.load(scale, i))
                for i in range(whole, n):
                    put(y, i, (get(x, i) - mean) * factor * of_weight(scale, i))
            return 0

        def run(call, phase, begin, end, scratch):
            n, unit = row_size(call), begin
            most = max(CHUNK // max(n, 1), 1)
            while unit < end:
                count, at = min(end - unit, most), unit * n
                x = take(call, at, count * n, scratch)
                y = offset(k.output(call, 0), at * out_size)
                for r in range(count):
                    row(call, offset(x, r * n * size), offset(y, r * n * out_size), n)
                k.epilogue(call, y, at, count * n)
                unit += count
            return k.OK

        def units(call, phase):
            n = row_size(call)
            return k.output_size(call, 0) // n if n > 0 else 0

        def scratch(call):
            return max(int64(CHUNK), row_size(call)) * size if has(call) != 0 else 0

        def supports(call):
            n = row_size(call)
            odd = k.input_size(call, 1) != n
            if k.has_input(call, 2):
                odd = odd or k.input_size(call, 2) != n
            reason = 1 if odd else 0
            for i in range(1, k.n_outputs(call)):
                reason = 2 if k.output_rank(call, i) >= 0 else reason
            return reason

        def work(call):
            return k.output_size(call, 0) // 2

        return parts(run=run, units=units, scratch=scratch, supports=supports, work=work)

    return build


def one_type(k):
    return k.dtype("T") == k.dtype("V")


def wide_input(k):
    """Sums that stay float32 between nodes of 16-bit floats."""
    return one_type(k) or (k.dtype("T").name == "float" and k.dtype("V").bits == 16)


ROWS = {
    "attributes": ("axis", "epsilon", "stash_type"),
    "variant": "rows",
    "order": -1,
    "epilogue": True,
    "reasons": REASONS,
}
REAL = "float double float16"
kernel("LayerNormalization", types={"T": REAL}, **ROWS)(rows_builder(True, "T"))
kernel(
    "LayerNormalization",
    domain="tiercel",
    types={"T": "float", "V": "float16 bfloat16"},
    **ROWS,
)(rows_builder(True, "V"))
kernel(
    "RMSNormalization",
    types={"T": REAL, "V": REAL + " bfloat16"},
    where=wide_input,
    **ROWS,
)(rows_builder(False, "V"))
