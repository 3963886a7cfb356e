"""ai.onnx.ml Normalizer: rows scaled by their maximum, sum or length."""

from _lang import kernel, parts


@kernel(
    "Normalizer",
    domain="ai.onnx.ml",
    types={"T": "float double int32 int64"},
    attributes=("norm:MAX|L1|L2",),
)
def normalizer(k):
    """A row whose norm is zero stays as it is. [C] is one row."""
    ld, st = k.load("T"), k.store("float")
    wide, narrow = k.cast("double"), k.cast("float")

    def units(call, phase):
        return k.input_dim(call, 0, 0) if k.input_rank(call, 0) > 1 else 1

    def run(call, phase, begin, end, scratch):
        x, y, kind = k.input(call, 0), k.output(call, 0), k.attr_int(call, 0)
        n = k.input_dim(call, 0, k.input_rank(call, 0) - 1)
        for row in range(begin, end):
            at = row * n
            norm = wide(0)
            for i in range(n):
                v = wide(ld(x, at + i))
                if kind == 0:
                    norm = v if i == 0 else max(norm, v)
                elif kind == 1:
                    norm += k.math.abs(v)
                else:
                    norm += v * v
            if kind == 2:
                norm = k.math.sqrt(norm)
            if norm == wide(0):
                norm = wide(1)
            for i in range(n):
                st(y, at + i, narrow(wide(ld(x, at + i)) / norm))
        return k.OK

    return parts(run=run, units=units)
