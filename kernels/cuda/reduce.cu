// Sums, products, extremes and their positions along the middle axis of [outer, n, inner], in a
// fixed order.
#include "device.cuh"

enum Before { ITEM = 0, ABSOLUTE = 1, SQUARE = 2 };
enum After { RESULT = 0, MEAN = 1, ROOT = 2, LOGARITHM = 3 };

template <class F, class C>
struct Identity {
  static __device__ __forceinline__ C value() { return (C)0; }  // sums
};
template <class C>
struct Identity<Multiply, C> {
  static __device__ __forceinline__ C value() { return (C)1; }
};
#define IDENTITY(F, C, V)                                     \
  template <>                                                 \
  struct Identity<F, C> {                                     \
    static __device__ __forceinline__ C value() { return V; } \
  };
IDENTITY(Largest, float, -INFINITE)
IDENTITY(Smallest, float, INFINITE)
IDENTITY(Largest, double, -(double)INFINITE)
IDENTITY(Smallest, double, (double)INFINITE)
IDENTITY(Largest, i32, (i32)0x80000000u)
IDENTITY(Smallest, i32, 0x7fffffff)
IDENTITY(Largest, i64, (i64)0x8000000000000000ull)
IDENTITY(Smallest, i64, 0x7fffffffffffffffll)

template <class C>
DEVICE C before(C x, i32 how) {
  return how == ABSOLUTE ? (x < (C)0 ? -x : x) : how == SQUARE ? x * x : x;
}
DEVICE i64 after(i64 x, i64 n, i32 how) {  // truncated
  return how != MEAN ? x : x < 0 ? -divide(-x, n) : divide(x, n);
}
DEVICE i32 after(i32 x, i64 n, i32 how) { return (i32)after((i64)x, n, how); }
DEVICE float after(float x, i64 n, i32 how) {
  return how == MEAN ? x / (float)n : how == ROOT ? sqrtf(x) : how == LOGARITHM ? logf(x) : x;
}
DEVICE double after(double x, i64 n, i32 how) {
  return how == MEAN ? x / (double)n : how == ROOT ? sqrt(x) : how == LOGARITHM ? log(x) : x;
}

// Threads along x share a row; rows of a block along y.  Equal rows give equal bits: all are read
// in packs, or none.
template <class T, class F>
DEVICE void reduce_rows(const T* x, T* y, i64 rows, i64 n, i32 first, i32 last) {
  typedef compute_t<T> C;
  constexpr int E = Pack<T>::N;
  __shared__ C room[32];
  const i64 row = (i64)blockIdx.x * blockDim.y + threadIdx.y;
  if (row >= rows) return;
  const bool packed = aligned16(x) && (rows == 1 || n % E == 0);
  x += row * n;
  const C start = Identity<F, C>::value();
  C sum = start;
  i64 i = threadIdx.x;
  if (packed) {
    for (i = (i64)threadIdx.x * E; i + E <= n; i += blockDim.x * E) {
      const Pack<T> v = load16(x + i);
      UNROLL
      for (int e = 0; e < E; e++) sum = F()(sum, before((C)widen(v.v[e]), first));
    }
    i = n / E * E + threadIdx.x;
  }
  for (; i < n; i += blockDim.x) sum = F()(sum, before((C)widen(x[i]), first));
  sum = reduce_block(sum, F(), start, room);
  if (threadIdx.x == 0) y[row] = finished<T>(after(sum, n, last), row);
}

// A block has 32 columns; its eight warps share n.
template <class T, class F>
DEVICE void reduce_columns(const T* x, T* y, i64 n, i64 inner, i32 first, i32 last) {
  typedef compute_t<T> C;
  __shared__ C room[8][32];
  const i64 blocks = ceil_div(inner, 32), outer = divide(blockIdx.x, blocks);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const i64 column = (blockIdx.x - outer * blocks) * 32 + lane;
  C sum = Identity<F, C>::value();
  if (column < inner)
    for (i64 i = warp; i < n; i += 8)
      sum = F()(sum, before((C)widen(x[(outer * n + i) * inner + column]), first));
  room[warp][lane] = sum;
  __syncthreads();
  if (warp || column >= inner) return;
  UNROLL
  for (int w = 1; w < 8; w++) sum = F()(sum, room[w][lane]);
  const i64 at = outer * inner + column;
  y[at] = finished<T>(after(sum, n, last), at);
}

// reduce_OP_*: inner is 1; block: (32, 8), grid: ceil(rows / 8), or block: (256, 1), grid: rows.
// reduce_OP_inner_*: grid: outer * ceil(inner / 32); block: 256.
// first: 0 items, 1 absolute values, 2 squares.  last: 0 result, 1 mean, 2 square root, 3 logarithm
// (floats).
#define REDUCE(op, F, suffix, T)                                                          \
  KERNEL(256)                                                                             \
  reduce_##op##_##suffix(const T* x, T* y, i64 rows, i64 n, i32 first, i32 last) {        \
    reduce_rows<T, F>(x, y, rows, n, first, last);                                        \
  }                                                                                       \
  KERNEL(256)                                                                             \
  reduce_##op##_inner_##suffix(const T* x, T* y, i64 n, i64 inner, i32 first, i32 last) { \
    reduce_columns<T, F>(x, y, n, inner, first, last);                                    \
  }
#define REDUCE_ALL(suffix, T)       \
  REDUCE(sum, Add, suffix, T)       \
  REDUCE(prod, Multiply, suffix, T) \
  REDUCE(max, Largest, suffix, T)   \
  REDUCE(min, Smallest, suffix, T)
REDUCE_ALL(f32, float)
REDUCE_ALL(f64, double)
REDUCE_ALL(f16, f16)
REDUCE_ALL(bf16, bf16)
REDUCE_ALL(i32, i32)
REDUCE_ALL(i64, i64)

// ---- log(sum(exp)) by way of the largest item

// Lanes of a warp share a result; any inner.
template <class T>
DEVICE void reduce_exponents(const T* x, T* y, i64 outer, i64 n, i64 inner) {
  const i64 row = first_item() / 32;
  if (row >= outer * inner) return;
  const i64 o = divide(row, inner);
  x += o * n * inner + (row - o * inner);
  const int lane = threadIdx.x % 32;
  float largest = -INFINITE, sum = 0.f;
  for (i64 i = lane; i < n; i += 32) largest = Largest()(largest, widen(x[i * inner]));
  largest = reduce_warp(largest, Largest());
  const float shift = fabsf(largest) < INFINITE ? largest : 0.f;
  for (i64 i = lane; i < n; i += 32) sum += expf(widen(x[i * inner]) - shift);
  sum = reduce_warp(sum, Add());
  if (lane == 0) y[row] = finished<T>(logf(sum) + shift, row);
}

// ---- positions of extremes; a NaN is the extreme, as in numpy

template <class C>
struct Best {
  C value;
  i64 at;  // -1: none yet
  __device__ __forceinline__ void take(C v, i64 i, bool largest, bool last) {
    if (i < 0) return;
    const bool nan = v != v, had = value != value;
    const bool better = nan ? !had : !had && (largest ? v > value : v < value);
    const bool equal = nan ? had : v == value;
    if (at < 0 || better || (equal && (last ? i > at : i < at))) {
      value = v;
      at = i;
    }
  }
};

template <class T>
DEVICE void arg_rows(const T* x, i64* y, i64 outer, i64 n, i64 inner, i32 largest, i32 last) {
  typedef compute_t<T> C;
  const i64 row = first_item() / 32;
  if (row >= outer * inner) return;
  const i64 o = divide(row, inner);
  x += o * n * inner + (row - o * inner);
  Best<C> best = {(C)0, -1};
  for (i64 i = threadIdx.x % 32; i < n; i += 32)
    best.take((C)widen(x[i * inner]), i, largest, last);
  UNROLL
  for (int s = 16; s; s >>= 1) {
    const C v = __shfl_xor_sync(ALL_LANES, best.value, s);
    const i64 at = __shfl_xor_sync(ALL_LANES, best.at, s);
    best.take(v, at, largest, last);
  }
  if (threadIdx.x % 32 == 0) y[row] = best.at;
}
template <class T>
DEVICE void arg_columns(const T* x, i64* y, i64 outer, i64 n, i64 inner, i32 largest, i32 last) {
  typedef compute_t<T> C;
  for (i64 i = first_item(); i < outer * inner; i += item_step()) {
    const i64 o = divide(i, inner);
    Best<C> best = {(C)0, -1};
    for (i64 k = 0; k < n; k++)
      best.take((C)widen(x[(o * n + k) * inner + (i - o * inner)]), k, largest, last);
    y[i] = best.at;
  }
}

// reduce_logsumexp_*, arg_*: a warp a result; grid: ceil(outer * inner / 8); block: 256.
// arg_inner_*: a thread a result, for a large inner; grid: any; block: 256.
// largest: 1 for ArgMax, 0 for ArgMin; last: select_last_index.
#define ARG(suffix, T)                                                                         \
  KERNEL(256)                                                                                  \
  arg_##suffix(const T* x, i64* y, i64 outer, i64 n, i64 inner, i32 largest, i32 last) {       \
    arg_rows<T>(x, y, outer, n, inner, largest, last);                                         \
  }                                                                                            \
  KERNEL(256)                                                                                  \
  arg_inner_##suffix(const T* x, i64* y, i64 outer, i64 n, i64 inner, i32 largest, i32 last) { \
    arg_columns<T>(x, y, outer, n, inner, largest, last);                                      \
  }
#define LOGSUMEXP(suffix, T)                                                             \
  KERNEL(256) reduce_logsumexp_##suffix(const T* x, T* y, i64 outer, i64 n, i64 inner) { \
    reduce_exponents<T>(x, y, outer, n, inner);                                          \
  }
LOGSUMEXP(f32, float)
LOGSUMEXP(f16, f16)
LOGSUMEXP(bf16, bf16)
ARG(f32, float)
ARG(f64, double)
ARG(f16, f16)
ARG(bf16, bf16)
ARG(i32, i32)
ARG(i64, i64)
ARG(s8, s8)
ARG(u8, u8)
