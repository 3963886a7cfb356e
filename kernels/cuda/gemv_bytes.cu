// Products of few rows of 8-bit integers, with zero points: a warp a column.
#include "bytes.cuh"
#include "gemm.cuh"

template <class T>
static constexpr bool SIGNED = (T)-1 < (T)0;

// Four products of bytes, added to c.
template <class TA, class TB>
DEVICE int dot_four(u32 a, u32 b, int c) {
  if (SIGNED<TA> && SIGNED<TB>)
    asm("dp4a.s32.s32 %0, %1, %2, %0;" : "+r"(c) : "r"(a), "r"(b));
  else if (SIGNED<TA>)
    asm("dp4a.s32.u32 %0, %1, %2, %0;" : "+r"(c) : "r"(a), "r"(b));
  else if (SIGNED<TB>)
    asm("dp4a.u32.s32 %0, %1, %2, %0;" : "+r"(c) : "r"(a), "r"(b));
  else
    asm("dp4a.u32.u32 %0, %1, %2, %0;" : "+r"(c) : "r"(a), "r"(b));
  return c;
}

// Sixteen bytes of a line, of which `left` are there; zeros behind them.
template <class T>
DEVICE void load_line(u32 (&words)[4], const T* p, i64 left) {
  if (left >= 16 && aligned16(p)) {
    const uint4 all = *reinterpret_cast<const uint4*>(p);
    words[0] = all.x, words[1] = all.y, words[2] = all.z, words[3] = all.w;
    return;
  }
  UNROLL
  for (int i = 0; i < 4; i++) {
    words[i] = 0;
    for (int e = 0; e < 4; e++)
      if (i * 4 + e < left) words[i] |= (u32)(u8)p[i * 4 + e] << (8 * e);
  }
}

// `put(row, column, sum)` takes the results of a column.
template <class TA, class TB, int ROWS, class Put>
DEVICE void column_of(const TA* a, const TB* b, const Zeros<TA, TB>& zeros, const GemmArgs& g,
                      i64 n, const Put& put) {
  const u32 one = 0x01010101u;
  const int lane = threadIdx.x % 32;
  int sum[ROWS] = {}, sum_a[ROWS] = {}, sum_b = 0;
  b += n * g.b[1];
  for (i64 k = lane * 16; k < g.k; k += 512) {
    u32 right[4], left[4];
    load_line(right, b + k, g.k - k);
    UNROLL
    for (int i = 0; i < 4; i++) sum_b = dot_four<u8, TB>(one, right[i], sum_b);
    UNROLL
    for (int r = 0; r < ROWS; r++) {
      load_line(left, a + min(r, (int)g.m - 1) * g.a[0] + k, g.k - k);
      UNROLL
      for (int i = 0; i < 4; i++) {
        sum[r] = dot_four<TA, TB>(left[i], right[i], sum[r]);
        if (zeros.b) sum_a[r] = dot_four<TA, u8>(left[i], one, sum_a[r]);
      }
    }
  }
  sum_b = reduce_warp(sum_b, Add());
  const int zb = zeros.b ? (int)zeros.b[n * zeros.b_step] : 0;
  UNROLL
  for (int r = 0; r < ROWS; r++) {
    const int total = reduce_warp(sum[r], Add()), total_a = reduce_warp(sum_a[r], Add());
    if (lane != 0 || r >= g.m) continue;
    const int za = zeros.a ? (int)zeros.a[r * zeros.a_step] : 0;
    put(r, n, total + zb * ((int)g.k * za - total_a) - za * sum_b);
  }
}

// `put(batch, row, column, sum)` takes the results.
template <class TA, class TB, class Put>
DEVICE void gemv_bytes(const TA* a, const TB* b, const Zeros<TA, TB>& zeros, const GemmArgs& g,
                       i64 columns, const Put& put) {
  const i64 at = first_item() / 32;
  if (at >= columns) return;
  const i64 batch = divide(at, g.n), n = at - batch * g.n;
  a += batch_offset(g, g.a, batch);
  b += batch_offset(g, g.b, batch);
  const auto here = [&](i64 row, i64 column, int sum) { put(batch, row, column, sum); };
  if (g.m == 1)
    column_of<TA, TB, 1>(a, b, zeros, g, n, here);
  else if (g.m <= 4)
    column_of<TA, TB, 4>(a, b, zeros, g, n, here);
  else
    column_of<TA, TB, 8>(a, b, zeros, g, n, here);
}
DEVICE i64 result_at(const GemmArgs& g, i64 batch, i64 row, i64 column) {
  return batch_offset(g, g.d, batch) + row * g.d[0] + column * g.d[1];
}

// m <= 8, a[1] = b[0] = 1, columns = n * batches.  grid: ceil(columns / 8); block: 256; no dynamic
// shared memory.
#define GEMV_BYTES(types, TA, TB)                                                             \
  KERNEL(256, 1)                                                                              \
  gemv_##types(const TA* a, const TB* b, const TA* a_zero, const TB* b_zero, const int* bias, \
               int* d, GemmArgs g, i64 a_step, i64 b_step, i64 columns) {                     \
    const Zeros<TA, TB> zeros{a_zero, b_zero, a_step, b_step};                                \
    gemv_bytes(a, b, zeros, g, columns, [&](i64 batch, i64 row, i64 column, int sum) {        \
      d[result_at(g, batch, row, column)] = bias ? sum + bias[column] : sum;                  \
    });                                                                                       \
  }                                                                                           \
  KERNEL(256, 1)                                                                              \
  gemv_rounded_##types(const TA* a, const TB* b, const TA* a_zero, const TB* b_zero, u8* d,   \
                       GemmArgs g, i64 a_step, i64 b_step, Rounding r, i64 columns) {         \
    const Zeros<TA, TB> zeros{a_zero, b_zero, a_step, b_step};                                \
    gemv_bytes(a, b, zeros, g, columns, [&](i64 batch, i64 row, i64 column, int sum) {        \
      d[result_at(g, batch, row, column)] = rounded_sum(r, row, column, sum);                 \
    });                                                                                       \
  }
GEMV_BYTES(s8_s8, s8, s8)
GEMV_BYTES(u8_s8, u8, s8)
GEMV_BYTES(s8_u8, s8, u8)
GEMV_BYTES(u8_u8, u8, u8)
