// Moves of items of 1 to 16 bytes: strided copies, transposes, padding.
#include "device.cuh"

static constexpr int AXES = 8;
typedef u8 b8;
typedef u16 b16;
typedef u32 b32;
typedef u64 b64;
typedef uint4 b128;

// Sizes and strides in items, outermost axis first.
struct CopyArgs {
  i64 shape[AXES], from[AXES], to[AXES];
  i64 rank;
};

// y[sum(i * to)] = x[sum(i * from)]: Transpose, Expand, Slice (negative strides), Split, Concat
// (one part at a time).
template <class T>
DEVICE void copy_items(const T* x, T* y, i64 total, const CopyArgs& a) {
  for (i64 i = first_item(); i < total; i += item_step()) {
    i64 rest = i, from = 0, to = 0;
    for (int axis = (int)a.rank - 1; axis > 0; axis--) {
      const i64 q = divide(rest, a.shape[axis]), r = rest - q * a.shape[axis];
      from += r * a.from[axis];
      to += r * a.to[axis];
      rest = q;
    }
    y[to + rest * a.to[0]] = x[from + rest * a.from[0]];
  }
}

// Tiles of two axes: row r and column c at r * from + c in x, at c * to + r in y; batch: the other
// axes.
struct TransposeArgs {
  i64 rows, columns, from, to;
  CopyArgs batch;
};

// One block moves a tile of 32 x 32.
template <class T>
DEVICE void transpose_tiles(const T* x, T* y, const TransposeArgs& a) {
  __shared__ T tile[32][33];
  const i64 tr = ceil_div(a.rows, 32), tc = ceil_div(a.columns, 32), lines = divide(blockIdx.x, tc);
  const i64 batch = divide(lines, tr), c0 = (blockIdx.x - lines * tc) * 32,
            r0 = (lines - batch * tr) * 32;
  i64 rest = batch;
  for (int axis = (int)a.batch.rank - 1; axis >= 0; axis--) {
    const i64 q = divide(rest, a.batch.shape[axis]), r = rest - q * a.batch.shape[axis];
    x += r * a.batch.from[axis];
    y += r * a.batch.to[axis];
    rest = q;
  }
  const int tx = threadIdx.x, ty = threadIdx.y;
  UNROLL
  for (int i = 0; i < 32; i += 8)
    if (r0 + ty + i < a.rows && c0 + tx < a.columns)
      tile[ty + i][tx] = x[(r0 + ty + i) * a.from + c0 + tx];
  __syncthreads();
  UNROLL
  for (int i = 0; i < 32; i += 8)
    if (c0 + ty + i < a.columns && r0 + tx < a.rows)
      y[(c0 + ty + i) * a.to + r0 + tx] = tile[tx][ty + i];
}

enum PadMode { CONSTANT = 0, EDGE = 1, REFLECT = 2, WRAP = 3 };
// size: of x; before: items added before each axis, negative to cut; shape: of y.
struct PadArgs {
  i64 shape[AXES], size[AXES], before[AXES];
  i64 rank, mode;
};

// Where position p lies in n items; -1: nowhere.
DEVICE i64 pad_source(i64 p, i64 n, i64 mode) {
  if (p >= 0 && p < n) return p;
  if (mode == CONSTANT) return -1;
  if (mode == EDGE) return p < 0 ? 0 : n - 1;
  if (n == 1) return 0;
  const i64 period = mode == WRAP ? n : 2 * (n - 1);
  const i64 r = p < 0 ? -p : p, over = r - divide(r, period) * period;
  const i64 q = p < 0 && over ? period - over : over;
  return q < n ? q : period - q;
}
template <class T>
DEVICE void pad_items(const T* x, const T* value, T* y, i64 total, const PadArgs& a) {
  for (i64 i = first_item(); i < total; i += item_step()) {
    i64 rest = i, from = 0, stride = 1;
    bool inside = true;
    for (int axis = (int)a.rank - 1; axis >= 0; axis--) {
      const i64 q = divide(rest, a.shape[axis]), r = rest - q * a.shape[axis];
      const i64 p = pad_source(r - a.before[axis], a.size[axis], a.mode);
      inside = inside && p >= 0;
      from += p * stride;
      stride *= a.size[axis];
      rest = q;
    }
    y[i] = inside ? x[from] : value ? *value : T();
  }
}

// copy_*, pad_* (value: null for zero, or one item on the device, for mode constant), fill: grid:
// any; block: 256.  transpose_*: grid: batch * ceil(rows / 32) * ceil(columns / 32); block: (32,
// 8). No dynamic shared memory.
#define COPY(T)                                                                                    \
  KERNEL(256) copy_##T(const T* x, T* y, i64 total, CopyArgs a) { copy_items<T>(x, y, total, a); } \
  KERNEL(256) pad_##T(const T* x, const T* value, T* y, i64 total, PadArgs a) {                    \
    pad_items<T>(x, value, y, total, a);                                                           \
  }                                                                                                \
  KERNEL(256) transpose_##T(const T* x, T* y, TransposeArgs a) { transpose_tiles<T>(x, y, a); }
COPY(b8)
COPY(b16)
COPY(b32)
COPY(b64)
COPY(b128)
// Items of 1 to 8 bytes, of which `pattern` has eight bytes; y is aligned to eight.
KERNEL(256) fill(u64* y, u64 pattern, i64 bytes) {
  const i64 words = bytes >> 3;
  for (i64 i = first_item(); i < words; i += item_step()) y[i] = pattern;
  if (first_item() == 0)
    for (i64 i = words * 8; i < bytes; i++)
      reinterpret_cast<u8*>(y)[i] = (u8)(pattern >> (i & 7) * 8);
}
