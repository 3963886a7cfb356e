"""Weights and bias of a convolution as panels: rows of some channels of output."""

from __future__ import annotations

from transpose_block import transpose_block

from _lang import inline


def weight_rows(k, width, deep):
    """`rows(to, weight, channels, inputs, taps, m, d)`: [taps][deep][width] of the channels of
    output from m on and those of input from d on; zeros where there are none. Weights are
    [channels][inputs][taps] floats.
    """
    lanes = k.lanes("float")
    get, put, turn = k.load("float"), k.store("float"), transpose_block("float", "float", lanes)

    @k.outline("int64(pointer, pointer, int64, int64, int64, int64, int64)")
    def rows(to, weight, channels, inputs, taps, m, d):
        wide, tall = min(channels - m, width), min(inputs - d, deep)
        step, first = inputs * taps, (m * inputs + d) * taps
        if wide == width and tall == deep and taps == 1:
            for i in range(0, deep, lanes):
                for j in range(0, width, lanes):
                    turn(to, i * width + j, width, weight, first + j * step + i, step)
        else:
            k.fill(to, 0, taps * deep * width * 4)
            for j in range(wide):
                line = first + j * step
                for i in range(tall):
                    for t in range(taps):
                        put(to, (t * deep + i) * width + j, get(weight, line + i * taps + t))
        return 0

    return rows


def bias_row(k):
    """`row(call, channel, width, to)`: the bias of `width` channels of output from `channel` on,
    zeros where there are none.
    """

    @inline
    def row(call, channel, width, to):
        k.fill(to, 0, width * 4)
        if k.has_input(call, 2):
            count = min(k.input_dim(call, 1, 0) - channel, width)
            k.copy(to, 0, k.input(call, 2), channel * 4, count * 4)

    return row
