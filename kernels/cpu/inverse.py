"""com.microsoft Inverse: square matrices inverted."""

from _lang import kernel, parts


@kernel("Inverse", domain="com.microsoft", types={"T": "float double"})
def inverse(k):
    """Gauss-Jordan elimination with partial pivoting, in double; a unit is one matrix."""
    ld, st = k.load("T"), k.store("T")
    ld64, st64 = k.load("double"), k.store("double")
    wide, narrow = k.cast("double"), k.cast("T")

    def units(call, phase):
        n = k.input_dim(call, 0, k.input_rank(call, 0) - 1)
        return k.input_size(call, 0) // (n * n) if n > 0 else 0

    def scratch(call):
        n = k.input_dim(call, 0, k.input_rank(call, 0) - 1)
        return 16 * n * n

    def run(call, phase, begin, end, scratch):
        x, y = k.input(call, 0), k.output(call, 0)
        n = k.input_dim(call, 0, k.input_rank(call, 0) - 1)
        row = 2 * n  # the matrix and, beside it, what becomes its inverse
        for unit in range(begin, end):
            for i in range(n):
                for j in range(n):
                    st64(scratch, i * row + j, wide(ld(x, (unit * n + i) * n + j)))
                    st64(scratch, i * row + n + j, wide(1) if i == j else wide(0))
            for c in range(n):
                best = c * 1
                for i in range(c + 1, n):
                    here, there = ld64(scratch, i * row + c), ld64(scratch, best * row + c)
                    if k.math.abs(here) > k.math.abs(there):
                        best = i * 1
                for j in range(row):
                    held = ld64(scratch, c * row + j)
                    st64(scratch, c * row + j, ld64(scratch, best * row + j))
                    st64(scratch, best * row + j, held)
                pivot = ld64(scratch, c * row + c)
                for j in range(row):
                    st64(scratch, c * row + j, ld64(scratch, c * row + j) / pivot)
                for i in range(n):
                    factor = ld64(scratch, i * row + c)
                    if i != c:
                        for j in range(row):
                            change = factor * ld64(scratch, c * row + j)
                            st64(scratch, i * row + j, ld64(scratch, i * row + j) - change)
            for i in range(n):
                for j in range(n):
                    st(y, (unit * n + i) * n + j, narrow(ld64(scratch, i * row + n + j)))
        return k.OK

    return parts(run=run, units=units, scratch=scratch)
