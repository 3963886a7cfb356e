"""Resize by nearest neighbours where the last axis keeps its extent: runs of it are copied."""

from numba import int64
from resize import ATTRIBUTES, COORDINATE, CROP, MODE, tables

from _lang import BYTES, kernel, parts

REASONS = (
    "it interpolates",
    "a region of interest needs numbers to fill its outside",
    "the last axis changes",
)


@kernel(
    "Resize",
    types={"T1": BYTES},
    attributes=ATTRIBUTES,
    variant="nearest-runs",
    order=-1,
    reasons=REASONS,
)
def resize_runs(k):
    """A unit is a run of rows along the last axis but one. Phase 0 fills a table per axis; a scale
    near one may still shift the last."""
    ld = k.load("int64")
    taps, fill, table_of, _ = tables(k)
    width = k.dtype("T1").bits // 8

    def run(call, phase, begin, end, scratch):
        if phase == 0:
            for axis in range(begin, end):
                fill(call, axis, table_of(call, axis))
            return k.OK
        last = k.output_rank(call, 0) - 1
        rows, bytes_each = k.output_dim(call, 0, last - 1), k.output_dim(call, 0, last) * width
        table, columns = table_of(call, last - 1), table_of(call, last)
        count, identity = k.output_dim(call, 0, last), True
        for i in range(count):
            identity = identity and ld(columns, 2 * i) == i
        for unit in range(begin, end):
            rest = unit
            base = int64(0)
            stride = k.input_dim(call, 0, last - 1)
            for j in range(last - 1):
                a = last - 2 - j
                base += ld(table_of(call, a), 2 * (rest % k.output_dim(call, 0, a))) * stride
                rest = rest // k.output_dim(call, 0, a)
                stride *= k.input_dim(call, 0, a)
            for i in range(rows):
                source = (base + ld(table, 2 * i)) * bytes_each
                to = (unit * rows + i) * bytes_each
                if identity:
                    k.copy(k.output(call, 0), to, k.input(call, 0), source, bytes_each)
                else:
                    for c in range(count):
                        from_byte = source + ld(columns, 2 * c) * width
                        k.copy(
                            k.output(call, 0), to + c * width, k.input(call, 0), from_byte, width
                        )
        return k.OK

    def units(call, phase):
        rank = k.output_rank(call, 0)
        size = k.output_size(call, 0)
        n = rank
        if phase == 1:
            n = 0
            if size > 0:
                n = size // (k.output_dim(call, 0, rank - 1) * k.output_dim(call, 0, rank - 2))
        return n if size > 0 and k.input_size(call, 0) > 0 else 0

    def workspace(call):
        n = int64(64)
        for a in range(k.output_rank(call, 0)):
            n += 16 * taps(call, a) * k.output_dim(call, 0, a)
        return n

    def supports(call):
        last = k.output_rank(call, 0) - 1
        why = 0
        if k.attr_int(call, MODE) != 0:
            why = 1
        elif k.attr_int(call, COORDINATE) == CROP:
            why = 2
        elif last < 1:
            why = 3
        elif k.output_dim(call, 0, last) != k.input_dim(call, 0, last):
            why = 3
        return why

    return parts(run=run, units=units, workspace=workspace, supports=supports, phases=2)
