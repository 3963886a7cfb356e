// The k largest or smallest items of lines, and running sums.
#include "device.cuh"

// Item and place; before(a, b): a comes first.  Equal items keep their order, NaN is the largest.
template <class C>
DEVICE bool comes_before(C a, i32 at, C b, i32 bt, bool largest) {
  const bool na = a != a, nb = b != b;
  if (na || nb) return na && nb ? at < bt : na == largest;
  return a == b ? at < bt : largest ? a > b : a < b;
}

// One block a line of [outer, n, inner]; n is at most 2^p = `padded`, sorted in shared memory.
template <class T>
DEVICE void topk_sorted(const T* x, T* y, i64* places, i64 n, i64 inner, i64 k, i32 padded,
                        bool largest, u8* shared) {
  typedef compute_t<T> C;
  C* values = reinterpret_cast<C*>(shared);
  i32* at = reinterpret_cast<i32*>(values + padded);  // n: no item, comes last
  const i64 outer = divide(blockIdx.x, inner), column = blockIdx.x - outer * inner;
  x += outer * n * inner + column;
  for (i32 i = threadIdx.x; i < padded; i += blockDim.x) {
    values[i] = i < n ? (C)widen(x[i * inner]) : (C)0;
    at[i] = i < n ? i : (i32)n;
  }
  for (i32 size = 2; size <= padded; size *= 2)
    for (i32 step = size / 2; step; step /= 2) {
      __syncthreads();  // the step before is done
      for (i32 i = threadIdx.x; i < padded / 2; i += blockDim.x) {
        const i32 a = i / step * step * 2 + i % step, b = a + step;
        const bool up = (a & size) == 0;
        const bool last_a = at[a] == n, last_b = at[b] == n;
        const bool swap_ = last_a || last_b
                               ? last_a != last_b && last_a == up
                               : comes_before(values[b], at[b], values[a], at[a], largest) == up;
        if (!swap_) continue;
        const C v = values[a];
        const i32 p = at[a];
        values[a] = values[b];
        at[a] = at[b];
        values[b] = v;
        at[b] = p;
      }
    }
  __syncthreads();  // all is sorted
  for (i32 i = threadIdx.x; i < k; i += blockDim.x) {
    const i64 to = (outer * k + i) * inner + column;
    y[to] = narrow<T>(values[i]);
    places[to] = at[i];
  }
}

// Any n: finds one item after the other, each the first of those behind the one before.
template <class T>
DEVICE void topk_searched(const T* x, T* y, i64* places, i64 n, i64 inner, i64 k, bool largest) {
  typedef compute_t<T> C;
  __shared__ C values[32];
  __shared__ i32 at[32];
  const i64 outer = divide(blockIdx.x, inner), column = blockIdx.x - outer * inner;
  x += outer * n * inner + column;
  C last = 0;
  i32 last_at = -1;
  const int lane = threadIdx.x % 32, warps = blockDim.x / 32;
  for (i64 i = 0; i < k; i++) {
    C best = 0;
    i32 best_at = -1;
    auto take = [&](C v, i32 p) {
      if (p >= 0 && (best_at < 0 || comes_before(v, p, best, best_at, largest))) {
        best = v;
        best_at = p;
      }
    };
    for (i64 j = threadIdx.x; j < n; j += blockDim.x) {
      const C v = (C)widen(x[j * inner]);
      if (last_at < 0 || comes_before(last, last_at, v, (i32)j, largest)) take(v, (i32)j);
    }
    UNROLL
    for (int s = 16; s; s >>= 1) {
      const C v = __shfl_xor_sync(ALL_LANES, best, s);
      take(v, __shfl_xor_sync(ALL_LANES, best_at, s));
    }
    if (i) __syncthreads();  // all have read the item before
    if (lane == 0) {
      values[threadIdx.x / 32] = best;
      at[threadIdx.x / 32] = best_at;
    }
    __syncthreads();  // the best of each warp is there
    for (int w = 0; w < warps; w++) take(values[w], at[w]);
    last = best;
    last_at = best_at;
    if (threadIdx.x == 0) {
      y[(outer * k + i) * inner + column] = narrow<T>(best);
      places[(outer * k + i) * inner + column] = best_at;
    }
  }
}

// topk_*: lines of at most `padded` items, a power of two of at most 4096; grid: outer * inner;
// block: 256; dynamic shared memory: padded * (size of the compute type + 4) bytes. topk_long_*: n
// below 2^31, cost n * k; grid: outer * inner; block: 256; no dynamic shared memory.
#define TOPK(suffix, T)                                                                            \
  KERNEL(256)                                                                                      \
  topk_##suffix(const T* x, T* y, i64* places, i64 n, i64 inner, i64 k, i32 padded, i32 largest) { \
    extern __shared__ __align__(16) u8 shared[];                                                   \
    topk_sorted<T>(x, y, places, n, inner, k, padded, largest, shared);                            \
  }                                                                                                \
  KERNEL(256)                                                                                      \
  topk_long_##suffix(const T* x, T* y, i64* places, i64 n, i64 inner, i64 k, i32 largest) {        \
    topk_searched<T>(x, y, places, n, inner, k, largest);                                          \
  }
TOPK(f32, float)
TOPK(f16, f16)
TOPK(bf16, bf16)
TOPK(i32, i32)
TOPK(i64, i64)

// ---- running sums along the middle axis of [outer, n, inner]

// A block a line, for inner = 1: 256 items at a time.
template <class T>
DEVICE void sum_line(const T* x, T* y, i64 n, bool exclusive, bool reverse) {
  typedef compute_t<T> C;
  __shared__ C sums[8];
  x += blockIdx.x * n;
  y += blockIdx.x * n;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  C carry = 0;
  for (i64 first = 0; first < n; first += 256) {
    const i64 i = first + threadIdx.x, at = reverse ? n - 1 - i : i;
    const C item = i < n ? (C)widen(x[at]) : (C)0;
    C sum = item;
    UNROLL
    for (int s = 1; s < 32; s *= 2) {
      const C other = __shfl_up_sync(ALL_LANES, sum, s);
      if (lane >= s) sum += other;
    }
    C before = __shfl_up_sync(ALL_LANES, sum, 1);  // not sum - item: infinite items
    if (lane == 0) before = 0;
    if (first) __syncthreads();  // all have read the sums before
    if (lane == 31) sums[warp] = sum;
    __syncthreads();  // the sums of all warps are there
    C start = carry;
    for (int w = 0; w < 8; w++) {
      if (w == warp && i < n) y[at] = narrow<T>(start + (exclusive ? before : sum));
      start += sums[w];
    }
    carry = start;
  }
}
template <class T>
DEVICE void sum_columns(const T* x, T* y, i64 outer, i64 n, i64 inner, bool exclusive,
                        bool reverse) {
  typedef compute_t<T> C;
  for (i64 i = first_item(); i < outer * inner; i += item_step()) {
    const i64 o = divide(i, inner), base = o * n * inner + (i - o * inner);
    C sum = 0;
    for (i64 j = 0; j < n; j++) {
      const i64 at = base + (reverse ? n - 1 - j : j) * inner;
      const C v = (C)widen(x[at]);
      if (exclusive) y[at] = narrow<T>(sum);
      sum += v;
      if (!exclusive) y[at] = narrow<T>(sum);
    }
  }
}
// cumsum_*: inner = 1; grid: outer; block: 256.  cumsum_inner_*: grid: any; block: 256.  No dynamic
// shared memory.
#define CUMSUM(suffix, T)                                                             \
  KERNEL(256) cumsum_##suffix(const T* x, T* y, i64 n, i32 exclusive, i32 reverse) {  \
    sum_line<T>(x, y, n, exclusive, reverse);                                         \
  }                                                                                   \
  KERNEL(256)                                                                         \
  cumsum_inner_##suffix(const T* x, T* y, i64 outer, i64 n, i64 inner, i32 exclusive, \
                        i32 reverse) {                                                \
    sum_columns<T>(x, y, outer, n, inner, exclusive, reverse);                        \
  }
CUMSUM(f32, float)
CUMSUM(f64, double)
CUMSUM(f16, f16)
CUMSUM(bf16, bf16)
CUMSUM(i32, i32)
CUMSUM(i64, i64)
