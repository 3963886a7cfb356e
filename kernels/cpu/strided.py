"""Copies between strided views and dense tensors, shared by every kernel that only moves
elements.

A view lies in int64 words of scratch memory: its rank, then (extent, stride, coordinate) of
each axis, outermost first.
"""

from _lang import inline

CHUNK = 4096  # elements of one unit of a copy


@inline
def view_bytes(rank):
    """Bytes of a view of at most `rank` axes."""
    return 8 + 24 * rank


def views(k, name):
    """The inline functions `start(view)`, `push(view, extent, stride)` and `copy(view, y, x,
    base, begin, end)` for elements of type parameter `name`.
    """
    ld, st = k.load("int64"), k.store("int64")
    get, put = k.load(name), k.store(name)
    width = k.dtype(name).bits // 8
    move = k.copy

    @inline
    def start(view):
        st(view, 0, 0)

    @inline
    def push(view, extent, stride):
        """Append an axis; axes of extent 1 vanish and axes that continue the one before merge
        with it.
        """
        rank = ld(view, 0)
        if extent != 1:
            at = 1 + 3 * rank
            merges = False
            if rank > 0:
                merges = ld(view, at - 2) == stride * extent
            if merges:
                st(view, at - 3, ld(view, at - 3) * extent)
                st(view, at - 2, stride)
            else:
                st(view, at, extent)
                st(view, at + 1, stride)
                st(view, 0, rank + 1)

    @inline
    def seek(view, base, element):
        """Set the coordinates to those of flat `element`; its offset in the source."""
        offset = base
        rest = element
        for i in range(ld(view, 0)):
            at = 1 + 3 * (ld(view, 0) - 1 - i)
            extent = ld(view, at)
            coordinate = rest % extent
            rest = rest // extent
            st(view, at + 2, coordinate)
            offset += coordinate * ld(view, at + 1)
        return offset

    @inline
    def next_row(view, offset):
        """The offset of the next row, given the offset of the start of this one."""
        axis = ld(view, 0) - 2
        while axis >= 0:
            at = 1 + 3 * axis
            coordinate = ld(view, at + 2) + 1
            offset += ld(view, at + 1)
            if coordinate < ld(view, at):
                st(view, at + 2, coordinate)
                axis = -1
            else:
                offset -= coordinate * ld(view, at + 1)
                st(view, at + 2, 0)
                axis -= 1
        return offset

    @inline
    def copy(view, y, x, base, begin, end):
        """Dense elements [begin, end) of `y` from the view of `x` that starts at element `base`."""
        rank = ld(view, 0)
        if rank == 0:
            if begin < end:
                put(y, begin, get(x, base))
        else:
            offset = seek(view, base, begin)
            at = 1 + 3 * (rank - 1)
            extent = ld(view, at)
            stride = ld(view, at + 1)
            column = ld(view, at + 2)
            element = begin
            while element < end:
                n = min(extent - column, end - element)
                if stride == 1:
                    move(y, element * width, x, offset * width, n * width)
                elif stride == 0:
                    value = get(x, offset)
                    for i in range(n):
                        put(y, element + i, value)
                else:
                    for i in range(n):
                        put(y, element + i, get(x, offset + i * stride))
                element += n
                offset = next_row(view, offset - column * stride)
                column = 0

    return start, push, copy
