// Softmax and its logarithm, along the last axis or any other.
#include "rows.cuh"

// exp as exactly as results of a type can show.
template <class T>
DEVICE float exponential(float x) {
  return sizeof(T) == 2 ? __expf(x) : expf(x);
}

// Largest item and sum of exp(item - largest), so far.
template <class T>
struct Online {
  float largest, sum;
  // N items at once; those of no weight are -infinity.
  template <int N>
  __device__ __forceinline__ void add(const float (&x)[N]) {
    float m = largest;
    UNROLL
    for (int i = 0; i < N; i++) m = fmaxf(m, x[i]);
    const float base = m == -INFINITE ? 0.f : m;  // nothing has weight so far
    sum *= exponential<T>(largest - base);
    UNROLL
    for (int i = 0; i < N; i++) sum += exponential<T>(x[i] - base);
    largest = m;
  }
  __device__ __forceinline__ Online merged(float other_largest, float other_sum) const {
    const float m = fmaxf(largest, other_largest);
    return {m, scaled(sum, largest, m) + scaled(other_sum, other_largest, m)};
  }
  static __device__ __forceinline__ float scaled(float sum, float largest, float m) {
    return largest == m ? sum : sum * exponential<T>(largest - m);
  }
};

// What is left to do for an item once its row is known.
template <class T>
struct Finish {
  float largest, factor;
  i32 logarithm;
  __device__ __forceinline__ Finish(float m, float sum, i32 l) : largest(m), logarithm(l) {
    sum += m - m;  // all are NaN if the largest is infinite
    factor = logarithm ? logf(sum) : 1.f / sum;
  }
  __device__ __forceinline__ float operator()(float x) const {
    return logarithm ? x - largest - factor : exponential<T>(x - largest) * factor;
  }
};

struct Greater {  // a NaN is found by the sum
  __device__ __forceinline__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

template <int LANES, class T, int H, class Row>
DEVICE void softmax_items(Row row, const T* x, T* y, int n, i32 logarithm, float* room) {
  float held[H], largest = -INFINITE, sum = 0.f;
  UNROLL
  for (int i = 0; i < H; i++) held[i] = -INFINITE;  // of no weight
  row.read(x, n, [&](int i, float v) { held[i] = v; });
  UNROLL
  for (int i = 0; i < H; i++) largest = fmaxf(largest, held[i]);
  largest = reduce_row<LANES>(largest, Greater(), -INFINITE, room);
  if (logarithm) {
    UNROLL
    for (int i = 0; i < H; i++) sum += exponential<T>(held[i] - largest);
    const float log_sum = logf(reduce_row<LANES>(sum, Add(), 0.f, room + 32));
    row.write(y, n, [&](int i) { return held[i] - largest - log_sum; });
  } else {
    UNROLL
    for (int i = 0; i < H; i++) sum += held[i] = exponential<T>(held[i] - largest);
    const float factor = 1.f / reduce_row<LANES>(sum, Add(), 0.f, room + 32);
    row.write(y, n, [&](int i) { return held[i] * factor; });
  }
}
template <class T, int LANES>
DEVICE void softmax_held(const T* x, T* y, int n, i32 logarithm, float* room) {
  with_held_row<T, LANES>(n, packed_rows(x, n) && aligned16(y), [&](auto row) {
    typedef decltype(row) Row;
    softmax_items<LANES, T, Row::PACKS * Row::E>(row, x, y, n, logarithm, room);
  });
}

// Rows that do not fit in registers are read twice.
template <class T>
DEVICE void softmax_long(const T* x, T* y, i64 n, i32 logarithm, float* room) {
  constexpr int E = Pack<T>::N;
  const bool packed = packed_rows(x, n) && aligned16(y);
  Online<T> row = {-INFINITE, 0.f};
  const i64 step = blockDim.x * E;
  auto two_packs = [&](auto use) {  // two loads under way at once
    for (i64 i = (i64)threadIdx.x * E; i < n; i += 2 * step) {
      const bool both = i + step < n;
      const Pack<T> v = load16(x + i), w = load16(x + (both ? i + step : i));
      use(i, v);
      if (both) use(i + step, w);
    }
  };
  if (packed) {
    two_packs([&](i64, const Pack<T>& v) {
      float items[E];
      UNROLL
      for (int e = 0; e < E; e++) items[e] = widen(v.v[e]);
      row.add(items);
    });
  } else {
    for (i64 i = threadIdx.x; i < n; i += blockDim.x) {
      const float item[1] = {widen(x[i])};
      row.add(item);
    }
  }
  const float largest = reduce_block(row.largest, Greater(), -INFINITE, room);
  const float part = Online<T>::scaled(row.sum, row.largest, largest);
  const Finish<T> finish(largest, reduce_block(part, Add(), 0.f, room + 32), logarithm);
  if (packed) {
    two_packs([&](i64 i, Pack<T> v) {
      UNROLL
      for (int e = 0; e < E; e++) v.v[e] = narrow<T>(finish(widen(v.v[e])));
      store16(y + i, v);
    });
  } else {
    for (i64 i = threadIdx.x; i < n; i += blockDim.x) y[i] = narrow<T>(finish(widen(x[i])));
  }
}

// [outer, n, inner]: a block has 32 columns, its eight warps share n.
template <class T>
DEVICE void softmax_columns(const T* x, T* y, i64 n, i64 inner, i32 logarithm) {
  __shared__ float largest[8][32], sum[8][32];
  const i64 blocks = ceil_div(inner, 32), outer = divide(blockIdx.x, blocks);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const i64 column = (blockIdx.x - outer * blocks) * 32 + lane;
  const i64 base = outer * n * inner + column;
  Online<T> row = {-INFINITE, 0.f};
  const i64 step = 8 * inner;
  auto four = [&](auto use) {  // four loads under way at once
    if (column >= inner) return;
    i64 at = base + warp * inner;
    for (i32 left = (i32)n - warp; left > 0; left -= 32, at += 4 * step) {
      float items[4];
      UNROLL
      for (int k = 0; k < 4; k++) items[k] = left > 8 * k ? widen(x[at + k * step]) : -INFINITE;
      use(at, left, items);
    }
  };
  four([&](i64, i32, const float (&items)[4]) { row.add(items); });
  largest[warp][lane] = row.largest;
  sum[warp][lane] = row.sum;
  __syncthreads();
  row = {largest[0][lane], sum[0][lane]};
  UNROLL
  for (int w = 1; w < 8; w++) row = row.merged(largest[w][lane], sum[w][lane]);
  const Finish<T> finish(row.largest, row.sum, logarithm);
  four([&](i64 at, i32 left, const float (&items)[4]) {
    UNROLL
    for (int k = 0; k < 4; k++)
      if (left > 8 * k) y[at + k * step] = narrow<T>(finish(items[k]));
  });
}

// Rows of at most 256 items, several a warp.
template <class T>
DEVICE void softmax_few(const T* x, T* y, i64 rows, i64 n, i32 logarithm) {
  with_few_lanes(n, [&](auto lanes) {
    constexpr int L = decltype(lanes)::COUNT;
    const i64 row = row_index<L>();
    const int items = row < rows ? (int)n : 0;  // all lanes of a warp take part in its shuffles
    if (packed_rows(x, n) && aligned16(y))
      softmax_items<L, T, 8>(HeldRow<T, L, 8, true>(), x + row * n, y + row * n, items, logarithm,
                             nullptr);
    else
      softmax_items<L, T, 8>(HeldRow<T, L, 8, false>(), x + row * n, y + row * n, items, logarithm,
                             nullptr);
  });
}

// softmax_few_*: n <= 256; grid: ceil(rows * lanes / 256), lanes 4, 8, 16, 32 for n <= 32, 64, 128,
// 256; block: 256.
// softmax_short_*: n <= 1024; grid: ceil(rows / 8); block: 256.
// softmax_*: any n; grid: rows; block: 256.
// softmax_inner_*: [outer, n, inner]; grid: outer * ceil(inner / 32); block: 256.
// logarithm: 1 for LogSoftmax.  No dynamic shared memory.
#define SOFTMAX(suffix, T)                                                                     \
  KERNEL(256, 6) softmax_few_##suffix(const T* x, T* y, i64 rows, i64 n, i32 logarithm) {      \
    softmax_few<T>(x, y, rows, n, logarithm);                                                  \
  }                                                                                            \
  KERNEL(256, 3) softmax_short_##suffix(const T* x, T* y, i64 rows, i64 n, i32 logarithm) {    \
    const i64 row = row_index<32>();                                                           \
    if (row < rows) softmax_held<T, 32>(x + row * n, y + row * n, (int)n, logarithm, nullptr); \
  }                                                                                            \
  KERNEL(256, 3) softmax_##suffix(const T* x, T* y, i64 n, i32 logarithm) {                    \
    __shared__ float room[64];                                                                 \
    x += blockIdx.x * n;                                                                       \
    y += blockIdx.x * n;                                                                       \
    if (n <= HELD * 256)                                                                       \
      softmax_held<T, 256>(x, y, (int)n, logarithm, room);                                     \
    else                                                                                       \
      softmax_long<T>(x, y, n, logarithm, room);                                               \
  }                                                                                            \
  KERNEL(256) softmax_inner_##suffix(const T* x, T* y, i64 n, i64 inner, i32 logarithm) {      \
    softmax_columns<T>(x, y, n, inner, logarithm);                                             \
  }
SOFTMAX(f32, float)
SOFTMAX(f16, f16)
SOFTMAX(bf16, bf16)
