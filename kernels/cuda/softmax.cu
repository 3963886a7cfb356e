// Softmax and its logarithm, along the last axis or any other.
#include "rows.cuh"

// Largest item and sum of exp(item - largest), so far.
struct Online {
  float largest, sum;
  __device__ __forceinline__ void add(float x) {
    if (x > largest) {
      sum = sum * expf(largest - x) + 1.f;
      largest = x;
    } else if (x != -INFINITE) {
      sum += expf(x - largest);
    }
  }
  __device__ __forceinline__ Online merged(float other_largest, float other_sum) const {
    const float m = fmaxf(largest, other_largest);
    return {m, scaled(sum, largest, m) + scaled(other_sum, other_largest, m)};
  }
  static __device__ __forceinline__ float scaled(float sum, float largest, float m) {
    return largest == m ? sum : sum * expf(largest - m);
  }
};

// What is left to do for an item once its row is known.
struct Finish {
  float largest, factor;
  i32 logarithm;
  __device__ __forceinline__ Finish(float m, float sum, i32 l) : largest(m), logarithm(l) {
    sum += m - m;  // all are NaN if the largest is infinite
    factor = logarithm ? logf(sum) : 1.f / sum;
  }
  __device__ __forceinline__ float operator()(float x) const {
    return logarithm ? x - largest - factor : expf(x - largest) * factor;
  }
};

template <class T, int LANES>
DEVICE void softmax_held(const T* x, T* y, int n, i32 logarithm, float* room) {
  const bool packed = packed_rows(x, n) && aligned16(y);
  float held[HELD], largest = -INFINITE, sum = 0.f;
  read_row<T, LANES>(x, n, packed, [&](int i, float v) {
    held[i] = v;
    largest = fmaxf(largest, v);
  });
  largest = reduce_row<LANES>(largest, Largest(), -INFINITE, room);
  constexpr int E = Pack<T>::N;
  UNROLL
  for (int i = 0; i < HELD; i++) {
    const int at = (i / E * LANES + row_lane<LANES>()) * E + i % E;
    if (at >= n) continue;
    if (!logarithm) held[i] = expf(held[i] - largest);
    sum += logarithm ? expf(held[i] - largest) : held[i];
  }
  sum = reduce_row<LANES>(sum, Add(), 0.f, room + 32);
  const float factor = logarithm ? logf(sum) : 1.f / sum;
  write_row<T, LANES>(y, n, packed, [&](int i, int) {
    return logarithm ? held[i] - largest - factor : held[i] * factor;
  });
}

// Rows that do not fit in registers are read twice.
template <class T>
DEVICE void softmax_long(const T* x, T* y, i64 n, i32 logarithm, float* room) {
  constexpr int E = Pack<T>::N;
  const bool packed = packed_rows(x, n) && aligned16(y);
  Online row = {-INFINITE, 0.f};
  if (packed) {
    for (i64 i = (i64)threadIdx.x * E; i < n; i += blockDim.x * E) {
      const Pack<T> v = load16(x + i);
      UNROLL
      for (int e = 0; e < E; e++) row.add(widen(v.v[e]));
    }
  } else {
    for (i64 i = threadIdx.x; i < n; i += blockDim.x) row.add(widen(x[i]));
  }
  const float largest = reduce_block(row.largest, Largest(), -INFINITE, room);
  const float part = Online::scaled(row.sum, row.largest, largest);
  const Finish finish(largest, reduce_block(part, Add(), 0.f, room + 32), logarithm);
  if (packed) {
    for (i64 i = (i64)threadIdx.x * E; i < n; i += blockDim.x * E) {
      Pack<T> v = load16(x + i);
      UNROLL
      for (int e = 0; e < E; e++) v.v[e] = narrow<T>(finish(widen(v.v[e])));
      store16(y + i, v);
    }
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
  Online row = {-INFINITE, 0.f};
  if (column < inner)
    for (i64 i = warp; i < n; i += 8) row.add(widen(x[base + i * inner]));
  largest[warp][lane] = row.largest;
  sum[warp][lane] = row.sum;
  __syncthreads();
  row = {largest[0][lane], sum[0][lane]};
  UNROLL
  for (int w = 1; w < 8; w++) row = row.merged(largest[w][lane], sum[w][lane]);
  const Finish finish(row.largest, row.sum, logarithm);
  if (column < inner)
    for (i64 i = warp; i < n; i += 8)
      y[base + i * inner] = narrow<T>(finish(widen(x[base + i * inner])));
}

// softmax_short_*: n <= 1024; grid: ceil(rows / 8); block: 256.
// softmax_*: any n; grid: rows; block: 256.
// softmax_inner_*: [outer, n, inner]; grid: outer * ceil(inner / 32); block: 256.
// logarithm: 1 for LogSoftmax.  No dynamic shared memory.
#define SOFTMAX(suffix, T)                                                                     \
  KERNEL(256) softmax_short_##suffix(const T* x, T* y, i64 rows, i64 n, i32 logarithm) {       \
    const i64 row = row_index<32>();                                                           \
    if (row < rows) softmax_held<T, 32>(x + row * n, y + row * n, (int)n, logarithm, nullptr); \
  }                                                                                            \
  KERNEL(256) softmax_##suffix(const T* x, T* y, i64 n, i32 logarithm) {                       \
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
