"""Matrix products of float32: a register-blocked kernel over B in panels, packed once if
constant.
"""

from _lang.micro import micro


def panel_width(k):
    """Columns of one panel: two vectors."""
    return 2 * k.lanes("float")


def block_product(k):
    """`block(m, n, depth, a, a_row, a_step, b, b_row, b_panel, c, c_row, first)`: C[m, n] = A B, or
    += when `first` is 0.

    B is `depth` rows of `b_row` elements; panel p of its columns starts p · b_panel elements on.
    The register block is 12 rows × 2 vectors of the 32 registers of AVX-512, 6 × 2 of 16.
    """
    tall = k.isa in ("v4", "vnni", "bf16")
    lanes, width = k.lanes("float"), panel_width(k)
    heights = (12, 8, 4, 2, 1) if tall else (6, 4, 2, 1, 1)
    whole_a, whole_b, whole_c, whole_d, whole_e = (micro(h, 2, lanes, False) for h in heights)
    edge_a, edge_b, edge_c, edge_d, edge_e = (micro(h, 2, lanes, True) for h in heights)
    half_a, half_b, half_c, half_d, half_e = (micro(h, 1, lanes, True) for h in heights)
    first_height, second, third, fourth, _ = heights

    @k.outline(
        "int64(int64, int64, int64, pointer, int64, int64, pointer, int64, int64, pointer, int64,"
        "int64)"
    )
    def block(m, n, depth, a, a_row, a_step, b, b_row, b_panel, c, c_row, first):
        for j in range(0, n, width):
            bp = k.offset(b, j // width * b_panel * 4)
            left = n - j
            i = 0
            while i < m:
                ap = k.offset(a, i * a_row * 4)
                cp = k.offset(c, (i * c_row + j) * 4)
                rows = m - i
                if rows >= first_height:
                    rows = first_height
                    if left >= width:
                        whole_a(depth, ap, a_row, a_step, bp, b_row, cp, c_row, left, first)
                    elif left <= lanes:
                        half_a(depth, ap, a_row, a_step, bp, b_row, cp, c_row, left, first)
                    else:
                        edge_a(depth, ap, a_row, a_step, bp, b_row, cp, c_row, left, first)
                elif rows >= second:
                    rows = second
                    if left >= width:
                        whole_b(depth, ap, a_row, a_step, bp, b_row, cp, c_row, left, first)
                    elif left <= lanes:
                        half_b(depth, ap, a_row, a_step, bp, b_row, cp, c_row, left, first)
                    else:
                        edge_b(depth, ap, a_row, a_step, bp, b_row, cp, c_row, left, first)
                elif rows >= third:
                    rows = third
                    if left >= width:
                        whole_c(depth, ap, a_row, a_step, bp, b_row, cp, c_row, left, first)
                    elif left <= lanes:
                        half_c(depth, ap, a_row, a_step, bp, b_row, cp, c_row, left, first)
                    else:
                        edge_c(depth, ap, a_row, a_step, bp, b_row, cp, c_row, left, first)
                elif rows >= fourth:
                    rows = fourth
                    if left >= width:
                        whole_d(depth, ap, a_row, a_step, bp, b_row, cp, c_row, left, first)
                    elif left <= lanes:
                        half_d(depth, ap, a_row, a_step, bp, b_row, cp, c_row, left, first)
                    else:
                        edge_d(depth, ap, a_row, a_step, bp, b_row, cp, c_row, left, first)
                else:
                    rows = 1
                    if left >= width:
                        whole_e(depth, ap, a_row, a_step, bp, b_row, cp, c_row, left, first)
                    elif left <= lanes:
                        half_e(depth, ap, a_row, a_step, bp, b_row, cp, c_row, left, first)
                    else:
                        edge_e(depth, ap, a_row, a_step, bp, b_row, cp, c_row, left, first)
                i += rows
        return 0

    return block
