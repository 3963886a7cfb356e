"""The geometry of a window that slides over spatial axes: strides, dilations and padding of a
node.
"""

from _lang import inline, namespace

# In this order, first among the attributes of every kernel that uses `window`.
WINDOW = (
    "kernel_shape",
    "strides",
    "dilations",
    "pads",
    "auto_pad:NOTSET|SAME_UPPER|SAME_LOWER|VALID",
)


def window(k, weight=-1):
    """Inline functions of (call, spatial axis). The extents of the window come from input
    `weight`, or from kernel_shape.
    """

    @inline
    def stride(call, i):
        return k.attr_ints(call, 1, i) if k.attr_n(call, 1) > 0 else 1

    @inline
    def dilation(call, i):
        return k.attr_ints(call, 2, i) if k.attr_n(call, 2) > 0 else 1

    @inline
    def extent(call, i):
        return k.input_dim(call, weight, i + 2) if weight >= 0 else k.attr_ints(call, 0, i)

    @inline
    def padding(call, i):
        """Elements of padding on both sides together when the sides follow from the output."""
        reach = (extent(call, i) - 1) * dilation(call, i) + 1
        total = (k.output_dim(call, 0, i + 2) - 1) * stride(call, i) + reach
        return max(total - k.input_dim(call, 0, i + 2), 0)

    @inline
    def before(call, i):
        auto = k.attr_int(call, 4)
        pad = 0
        if auto == 0:
            if k.attr_n(call, 3) > 0:
                pad = k.attr_ints(call, 3, i)
        elif auto == 1:
            pad = padding(call, i) // 2
        elif auto == 2:
            pad = (padding(call, i) + 1) // 2
        return pad

    @inline
    def after(call, i):
        auto = k.attr_int(call, 4)
        pad = 0
        if auto == 0:
            if k.attr_n(call, 3) > 0:
                pad = k.attr_ints(call, 3, i + k.input_rank(call, 0) - 2)
        elif auto == 1:
            pad = (padding(call, i) + 1) // 2
        elif auto == 2:
            pad = padding(call, i) // 2
        return pad

    @inline
    def outer_taps(call):
        """Positions of the window without its last axis."""
        n = 1
        for i in range(k.input_rank(call, 0) - 3):
            n *= extent(call, i)
        return n

    @inline
    def source_row(call, tap, row):
        """The input row (flat, within one channel) under outer tap `tap` for output row
        `row`, or -1 in the padding.
        """
        at = 0
        size = 1
        for j in range(k.input_rank(call, 0) - 3):
            i = k.input_rank(call, 0) - 4 - j
            position = row % k.output_dim(call, 0, i + 2) * stride(call, i)
            position += tap % extent(call, i) * dilation(call, i) - before(call, i)
            row = row // k.output_dim(call, 0, i + 2)
            tap = tap // extent(call, i)
            if position < 0 or position >= k.input_dim(call, 0, i + 2):
                at = -1
            if at >= 0:
                at += position * size
            size *= k.input_dim(call, 0, i + 2)
        return at

    @inline
    def first_column(shift, step):
        """The first output column whose input column `column * step + shift` is not left of
        the input.
        """
        return max((step - 1 - shift) // step, 0)

    @inline
    def end_column(shift, step, columns, width):
        """The end of the output columns whose input column lies left of the end of the input."""
        return min(max((width - 1 - shift) // step + 1, 0), columns)

    return namespace(
        "window",
        stride=stride,
        dilation=dilation,
        extent=extent,
        before=before,
        after=after,
        outer_taps=outer_taps,
        source_row=source_row,
        first_column=first_column,
        end_column=end_column,
    )
