"""Det: determinants of square matrices."""

from _lang import WIDE_FLOATS, kernel, parts


@kernel("Det", types={"T": WIDE_FLOATS})
def determinant(k):
    """Gaussian elimination with partial pivoting, in double; a unit is one matrix."""
    ld, st = k.load("T"), k.store("T")
    ld64, st64 = k.load("double"), k.store("double")
    wide, narrow = k.cast("double"), k.cast("T")

    def units(call, phase):
        return k.output_size(call, 0)

    def scratch(call):
        n = k.input_dim(call, 0, k.input_rank(call, 0) - 1)
        return 8 * n * n

    def run(call, phase, begin, end, scratch):
        x, y = k.input(call, 0), k.output(call, 0)
        n = k.input_dim(call, 0, k.input_rank(call, 0) - 1)
        for unit in range(begin, end):
            for i in range(n * n):
                st64(scratch, i, wide(ld(x, unit * n * n + i)))
            product = wide(1)
            for c in range(n):
                best = c * 1
                for i in range(c + 1, n):
                    here, there = ld64(scratch, i * n + c), ld64(scratch, best * n + c)
                    if k.math.abs(here) > k.math.abs(there):
                        best = i * 1
                pivot = ld64(scratch, best * n + c)
                product = product * pivot
                if best != c:
                    product = wide(0) - product
                    for j in range(c, n):
                        held = ld64(scratch, c * n + j)
                        st64(scratch, c * n + j, ld64(scratch, best * n + j))
                        st64(scratch, best * n + j, held)
                if pivot == wide(0):
                    break
                for i in range(c + 1, n):
                    factor = ld64(scratch, i * n + c) / pivot
                    for j in range(c + 1, n):
                        change = factor * ld64(scratch, c * n + j)
                        st64(scratch, i * n + j, ld64(scratch, i * n + j) - change)
            st(y, unit, narrow(product))
        return k.OK

    return parts(run=run, units=units, scratch=scratch)
