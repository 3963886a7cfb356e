"""How Winograd convolutions in the blocked layout are cut into bands, and whether they pay."""

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
TAPS = 9
# Vectors of scratch: zeros, a bias, what lies outside the output, whether a tile was repaired.
BIAS, JUNK, FLAG, HEAD = VECTORS, VECTORS + 1, VECTORS + 2, VECTORS + 3
# Measured in models: products of floats a cycle, also those of the form that would run otherwise.
RATE = {"amx": 27, "v4": 27, "v3": 14}
OTHER_RATE = {**RATE, "amx": 44}
OTHER_DEPTH = {"amx": 32}  # input channels that it multiplies at once
BYTES = 4  # of weights that arrive in a cycle
START = 20000  # cycles for two phases of work


def cuts(k, w):
    """Functions of a call: facts of its shapes. All depend on shapes and attributes alone."""
    lanes = k.lanes("T")
    rate, other_rate = RATE.get(k.isa, 7), OTHER_RATE.get(k.isa, 7)
    other_depth = OTHER_DEPTH.get(k.isa, 1)

    @k.outline("int64(call, int64)")
    def cycles(call, size):
        """Of tiles of size × size outputs; 0: of the form that would run otherwise."""
        inputs, outputs = k.input_dim(call, 0, 1) * lanes, k.output_dim(call, 0, 1) * lanes
        rows, columns = k.output_dim(call, 0, 2), k.output_dim(call, 0, 3)
        images = k.output_dim(call, 0, 0)
        if size == 0:
            deep = (k.input_dim(call, 1, 1) + other_depth - 1) // other_depth * other_depth
            sums = images * rows * columns * deep * outputs * TAPS
            return sums // other_rate + inputs * outputs * TAPS * 4 // BYTES
        elements = (size + 2) * (size + 2)
        tiles = images * ((rows + size - 1) // size) * ((columns + size - 1) // size)
        sums = elements * tiles * inputs * outputs // rate
        read = elements * inputs * outputs * 4 // BYTES
        # The more channels, the further the elements of a tile are from one another.
        each = 20 + min(inputs, 128) // 10 if size == 4 else 6 + min(inputs, 128) // 32
        turned = tiles * (inputs + outputs) * each
        return max(sums, read) + min(sums, read) // 2 + turned + START

    @k.outline("int64(call)")
    def size_of(call):
        """Rows and columns of the outputs of one tile; 0: the other form is faster."""
        size = k.attr_int(call, WINOGRAD)
        if size == 1:
            size = 4 if cycles(call, 4) < cycles(call, 2) else 2
            if cycles(call, 0) <= cycles(call, size):
                size = 0
        return size

    @inline
    def elements(call, size):
        return (size + 2) * (size + 2)

    @inline
    def down(call, size):
        """Rows of tiles of one image."""
        return (k.output_dim(call, 0, 2) + size - 1) // size

    @inline
    def across(call, size):
        """Tiles of one row."""
        return (k.output_dim(call, 0, 3) + size - 1) // size

    @inline
    def rows_of(call, size):
        """Rows of tiles of all images."""
        return k.output_dim(call, 0, 0) * down(call, size)

    @inline
    def depth(call):
        """Input channels that fill blocks."""
        return k.input_dim(call, 0, 1) * lanes

    @inline
    def packed_bytes(call, size):
        return elements(call, size) * depth(call) * k.output_dim(call, 0, 1) * lanes * 4

    @inline
    def panels_of(call):
        return (k.output_dim(call, 0, 1) + VECTORS - 1) // VECTORS

    @k.outline("int64(call, int64)")
    def is_shared(call, size):
        """Whether the inputs are transformed first, for all panels of outputs."""
        bytes_all = (
            rows_of(call, size) * across(call, size) * elements(call, size) * depth(call) * 4
        )
        most = SHARED if packed_bytes(call, size) > HEAVY else SHARED_LIGHT
        return 1 if bytes_all <= most and panels_of(call) > 1 else 0

    @k.outline("int64(call, int64)")
    def segments_of(call, size):
        """Parts of every row of tiles."""
        bytes_row = across(call, size) * elements(call, size) * depth(call) * 4
        n = (bytes_row + 2 * ROOM - 1) // (2 * ROOM)
        return 1 if is_shared(call, size) == 1 else max(min(n, across(call, size)), 1)

    @k.outline("int64(call, int64)")
    def bands_of(call, size):
        """Bands of rows of tiles."""
        rows, columns = rows_of(call, size), max(across(call, size), 1)
        if is_shared(call, size) == 1:
            few = (UNITS // 2 + panels_of(call) - 1) // panels_of(call)
            few = min(few, max(rows * columns // FEWEST_TILES, 1))
            return max(min(max(few, (rows * columns + MOST_TILES - 1) // MOST_TILES), rows), 1)
        if segments_of(call, size) > 1:
            return rows
        room = 2 * ROOM if packed_bytes(call, size) > HEAVY else ROOM
        most = max(room // max(columns * elements(call, size) * depth(call) * 4, 1), 1)
        least = min(TILES, max(rows * columns // 2, FEWEST_TILES))
        least = (least + columns - 1) // columns
        held = min(most, max(rows // UNITS, least))
        return max((rows + held - 1) // held, 1)

    @inline
    def most_tiles(call, size):
        """Tiles of the largest band."""
        rows = (rows_of(call, size) + bands_of(call, size) - 1) // bands_of(call, size)
        return rows * (
            (across(call, size) + segments_of(call, size) - 1) // segments_of(call, size)
        )

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
