"""How a Winograd convolution in the blocked layout is cut into bands of tiles, and whether it pays."""

from windows import WINDOW

from _lang import inline, namespace

GROUP, WINOGRAD = len(WINDOW), len(WINDOW) + 1
HEAVY = 1 << 20  # bytes of transformed weights that come from further away for every band
SHARED = 4 << 20  # bytes of transformed inputs that are made first, for all parts of the outputs
SHARED_LIGHT = 1 << 20  # the same where weights are light
ROOM = 1 << 19  # bytes of transformed inputs of a band: what stays in the L2 cache
TILES = 24  # of a band, at least: the products read weights once for all of them
MOST_TILES = 96  # of a band, where the inputs are transformed first
FEWEST_TILES = 8
UNITS = 8  # of work, at least, where bands are not too small
VECTORS = 2  # of outputs of one product


def cuts(k, w):
    """Functions of a call: facts of its shapes. All depend on shapes and attributes alone."""
    lanes = k.lanes("T")

    @k.outline("int64(call)")
    def size_of(call):
        """Rows and columns of the outputs of one tile."""
        return 2 if k.attr_int(call, WINOGRAD) == 2 else 4

    @inline
    def elements(call):
        return (size_of(call) + 2) * (size_of(call) + 2)

    @inline
    def down(call):
        """Rows of tiles of one image."""
        return (k.output_dim(call, 0, 2) + size_of(call) - 1) // size_of(call)

    @inline
    def across(call):
        """Tiles of one row."""
        return (k.output_dim(call, 0, 3) + size_of(call) - 1) // size_of(call)

    @inline
    def rows_of(call):
        """Rows of tiles of all images."""
        return k.output_dim(call, 0, 0) * down(call)

    @inline
    def depth(call):
        """Input channels that fill blocks."""
        return k.input_dim(call, 0, 1) * lanes

    @inline
    def packed_bytes(call):
        return elements(call) * depth(call) * k.output_dim(call, 0, 1) * lanes * 4

    @inline
    def panels_of(call):
        return (k.output_dim(call, 0, 1) + VECTORS - 1) // VECTORS

    @k.outline("int64(call)")
    def is_shared(call):
        """Whether the inputs are transformed first, for all panels of outputs."""
        bytes_all = rows_of(call) * across(call) * elements(call) * depth(call) * 4
        most = SHARED if packed_bytes(call) > HEAVY else SHARED_LIGHT
        return 1 if bytes_all <= most else 0

    @k.outline("int64(call)")
    def segments_of(call):
        """Parts of every row of tiles."""
        bytes_row = across(call) * elements(call) * depth(call) * 4
        n = (bytes_row + 2 * ROOM - 1) // (2 * ROOM)
        return 1 if is_shared(call) == 1 else min(n, across(call))

    @k.outline("int64(call)")
    def bands_of(call):
        """Bands of rows of tiles."""
        rows, columns = rows_of(call), max(across(call), 1)
        if is_shared(call) == 1:
            few = (UNITS // 2 + panels_of(call) - 1) // panels_of(call)
            few = min(few, max(rows * columns // FEWEST_TILES, 1))
            return max(min(max(few, (rows * columns + MOST_TILES - 1) // MOST_TILES), rows), 1)
        if segments_of(call) > 1:
            return rows
        room = 2 * ROOM if packed_bytes(call) > HEAVY else ROOM
        most = max(room // max(columns * elements(call) * depth(call) * 4, 1), 1)
        least = (TILES + columns - 1) // columns
        held = min(most, max(rows // UNITS, least))
        return (rows + held - 1) // held

    @inline
    def most_tiles(call):
        """Tiles of the largest band."""
        rows = (rows_of(call) + bands_of(call) - 1) // bands_of(call)
        return rows * ((across(call) + segments_of(call) - 1) // segments_of(call))

    @inline
    def input_step(call, tiles):
        """Floats between two elements of transformed inputs; not a power of two."""
        return (tiles * k.input_dim(call, 0, 1) + 1) * lanes

    return namespace(
        "cuts",
        size_of=size_of,
        elements=elements,
        down=down,
        across=across,
        rows_of=rows_of,
        depth=depth,
        packed_bytes=packed_bytes,
        panels_of=panels_of,
        is_shared=is_shared,
        segments_of=segments_of,
        bands_of=bands_of,
        most_tiles=most_tiles,
        input_step=input_step,
    )
