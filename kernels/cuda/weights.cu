// Products with matrices of 4 or 8 bits, and such matrices widened.
#include "device.cuh"

// A matrix [k, n], (number ^ flip - zero point ^ flip) * scale, numbers packed low bits first. By
// columns: b [n, pitch bytes], scales [n, blocks], zeros [n, zero_pitch]; by rows: b [k, pitch],
// scales [blocks, n], zeros [blocks, zero_pitch]. Without zeros, `zero` is subtracted. A block, of
// k, is a multiple of 8, or all.
struct WeightArgs {
  i64 m, n, k, blocks, pitch, zero_pitch;
  i32 block, bits, flip, zero;
};

// Eight numbers of a line of `pitch` bytes, from item `at` on, a multiple of eight; 0 behind the
// line.
DEVICE void eight_numbers(i32 (&w)[8], const u8* line, i64 at, const WeightArgs& a) {
  const i64 first = at * a.bits / 8;
  const u8* p = line + first;
  u32 low = 0, high = 0;
  if (first + a.bits <= a.pitch && reinterpret_cast<u64>(p) % 4 == 0) {
    low = *reinterpret_cast<const u32*>(p);
    if (a.bits == 8) high = *reinterpret_cast<const u32*>(p + 4);
  } else {
    _Pragma("unroll 1") for (int e = 0; e < a.bits; e++) {
      const u32 byte = first + e < a.pitch ? p[e] : 0;
      if (e < 4)
        low |= byte << (8 * e);
      else
        high |= byte << (8 * (e - 4));
    }
  }
  UNROLL
  for (int e = 0; e < 8; e++) {
    const u32 number =
        a.bits == 4 ? low >> (4 * e) & 15 : (e < 4 ? low : high) >> (e % 4 * 8) & 255;
    w[e] = (i32)number ^ a.flip;
  }
}
DEVICE i32 zero_number(const u8* zeros, i64 line, i64 at, const WeightArgs& a) {
  if (!zeros) return a.zero;
  const u8* p = zeros + line * a.zero_pitch;
  return (a.bits == 8 ? (i32)p[at] : p[at / 2] >> (at % 2 * 4) & 15) ^ a.flip;
}

// ---- by columns: a warp a column; lanes take eight weights at a time, for ROWS rows of x

// Eight numbers of a whole line, less `zero`, as floats without conversions: 2^23 + number is the
// number in the last bits.
template <int BITS>
DEVICE void eight_differences(float (&w)[8], const u8* p, u32 flips, i32 zero) {
  u32 words[2];
  words[0] = *reinterpret_cast<const u32*>(p) ^ flips;
  if (BITS == 8) words[1] = *reinterpret_cast<const u32*>(p + 4) ^ flips;
  const float from = (float)((1 << 23) + zero);
  UNROLL
  for (int e = 0; e < 8; e++) {
    const u32 word = words[e * BITS / 32] >> e * BITS % 32;
    w[e] = __uint_as_float(0x4b000000u | (word & ((1 << BITS) - 1))) - from;
  }
}

// The part of a column's product that whole groups of eight give; `k` is behind them afterwards.
// Lines of x are packed, numbers aligned, a block is a power of two.
template <class T, int ROWS, int BITS>
DEVICE void packed_column(float (&sum)[ROWS], i32& k, const T* x, const u8* line, const T* scales,
                          const u8* zeros, i64 n, const WeightArgs& a) {
  constexpr int E = Pack<T>::N;
  const i32 shift = 31 - __clz(a.block);
  const u32 flips = a.flip * (BITS == 4 ? 0x11111111u : 0x01010101u);
  _Pragma("unroll ROWS == 1 ? 8 : 1") for (; k + 8 <= a.k; k += 256) {
    const i32 block = k >> shift;
    float w[8];
    eight_differences<BITS>(w, line + k / 8 * BITS, flips, zero_number(zeros, n, block, a));
    const float scale = widen(scales[block]);
    UNROLL
    for (int r = 0; r < ROWS; r++) {
      const T* row = x + min(r, (i32)a.m - 1) * a.k + k;
      float part = 0.f;
      UNROLL
      for (int e = 0; e < 8; e += E) {
        const Pack<T> items = load16(row + e);
        UNROLL
        for (int i = 0; i < E; i++) part += widen(items.v[i]) * w[e + i];
      }
      sum[r] += part * scale;
    }
  }
}

template <class T, int ROWS>
DEVICE void columns_product(const T* x, const u8* b, const T* scales, const u8* zeros, T* y,
                            const WeightArgs& a) {
  const i64 n = first_item() / 32;
  if (n >= a.n) return;
  const int lane = threadIdx.x % 32;
  float sum[ROWS] = {};
  b += n * a.pitch;
  scales += n * a.blocks;
  i32 k = lane * 8;
  if ((a.block & (a.block - 1)) == 0 && reinterpret_cast<u64>(b) % 4 == 0 &&
      packed_lines(x, a.m > 1 ? a.k : 0, 1)) {
    if (a.bits == 4)
      packed_column<T, ROWS, 4>(sum, k, x, b, scales, zeros, n, a);
    else
      packed_column<T, ROWS, 8>(sum, k, x, b, scales, zeros, n, a);
  }
  _Pragma("unroll 1") for (; k < a.k; k += 256) {
    i32 w[8];
    eight_numbers(w, b, k, a);
    const i32 block = k / a.block, zero = zero_number(zeros, n, block, a);
    const float scale = widen(scales[block]);
    UNROLL
    for (int r = 0; r < ROWS; r++) {
      const T* row = x + min(r, (i32)a.m - 1) * a.k + k;
      float part = 0.f;
      UNROLL
      for (int e = 0; e < 8; e++)
        if (k + e < a.k) part += widen(row[e]) * (float)(w[e] - zero);
      sum[r] += part * scale;
    }
  }
  UNROLL
  for (int r = 0; r < ROWS; r++) {
    const float s = reduce_warp(sum[r], Add());
    if (lane == 0 && r < a.m) put_finished(y, r * a.n + n, s);
  }
}

// ---- by rows: eight columns a thread; 32 threads, four of each warp, share the rows of 64 columns

template <class T, int ROWS>
DEVICE void rows_product(const T* x, const u8* b, const T* scales, const u8* zeros, T* y,
                         const WeightArgs& a) {
  __shared__ float room[8][64];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, slot = warp * 4 + lane / 8;
  const i64 n = (i64)blockIdx.x * 64 + lane % 8 * 8;
  float sum[ROWS][8] = {};
  for (i32 k0 = slot * 8; n < a.n && k0 < a.k; k0 += 256) {
    const i32 block = k0 / a.block, stop = min(k0 + 8, (i32)a.k);
    float scale[8], zero[8];
    UNROLL
    for (int e = 0; e < 8; e++) {
      scale[e] = n + e < a.n ? widen(scales[block * a.n + n + e]) : 0.f;
      zero[e] = n + e < a.n ? (float)zero_number(zeros, block, n + e, a) : 0.f;
    }
    _Pragma("unroll 1") for (i32 k = k0; k < stop; k++) {
      i32 w[8];
      eight_numbers(w, b + k * a.pitch, n, a);
      UNROLL
      for (int r = 0; r < ROWS; r++) {
        const float item = widen(x[min(r, (i32)a.m - 1) * a.k + k]);
        UNROLL
        for (int e = 0; e < 8; e++) sum[r][e] += item * (((float)w[e] - zero[e]) * scale[e]);
      }
    }
  }
  UNROLL
  for (int r = 0; r < ROWS; r++) {
    if (r) __syncthreads();  // all have read the row before
    UNROLL
    for (int e = 0; e < 8; e++) {
      float s = sum[r][e];
      s += __shfl_xor_sync(ALL_LANES, s, 8);
      s += __shfl_xor_sync(ALL_LANES, s, 16);
      if (lane < 8) room[warp][lane * 8 + e] = s;
    }
    __syncthreads();
    const i64 column = (i64)blockIdx.x * 64 + threadIdx.x;
    if (threadIdx.x < 64 && column < a.n && r < a.m) {
      float s = 0.f;
      UNROLL
      for (int i = 0; i < 8; i++) s += room[i][threadIdx.x];
      put_finished(y, r * a.n + column, s);
    }
  }
}

// ---- widened: lines as they lie, [n, k] or [k, n]

template <class T>
DEVICE void widen_lines(const u8* b, const T* scales, const u8* zeros, T* y, const WeightArgs& a,
                        bool by_rows) {
  const i64 lines = by_rows ? a.k : a.n, items = by_rows ? a.n : a.k, pieces = ceil_div(items, 8);
  for (i64 i = first_item(); i < pieces * lines; i += item_step()) {
    const i64 line = divide(i, pieces), at = (i - line * pieces) * 8;
    i32 w[8];
    eight_numbers(w, b + line * a.pitch, at, a);
    const i64 block = divide(by_rows ? line : at, a.block);
    UNROLL
    for (int e = 0; e < 8; e++) {
      if (at + e >= items) break;
      const i64 place = by_rows ? block * a.n + at + e : line * a.blocks + block;
      const i32 zero =
          by_rows ? zero_number(zeros, block, at + e, a) : zero_number(zeros, line, block, a);
      y[line * items + at + e] = narrow<T>((float)(w[e] - zero) * widen(scales[place]));
    }
  }
}

template <class T>
DEVICE void weight_product(const T* x, const u8* b, const T* scales, const u8* zeros, T* y,
                           const WeightArgs& a, bool by_rows) {
  if (a.m == 1)
    by_rows ? rows_product<T, 1>(x, b, scales, zeros, y, a)
            : columns_product<T, 1>(x, b, scales, zeros, y, a);
  else if (a.m <= 4)
    by_rows ? rows_product<T, 4>(x, b, scales, zeros, y, a)
            : columns_product<T, 4>(x, b, scales, zeros, y, a);
  else
    by_rows ? rows_product<T, 8>(x, b, scales, zeros, y, a)
            : columns_product<T, 8>(x, b, scales, zeros, y, a);
}

// weights_columns_*, m <= 8: grid: ceil(n / 8); weights_rows_*, m <= 8: ceil(n / 64); widen_*: any;
// block: 256.  No dynamic shared memory.
#define WEIGHTS(suffix, T)                                                                    \
  KERNEL(256, 2)                                                                              \
  weights_columns_##suffix(const T* x, const u8* b, const T* scales, const u8* zeros, T* y,   \
                           WeightArgs a) {                                                    \
    weight_product<T>(x, b, scales, zeros, y, a, false);                                      \
  }                                                                                           \
  KERNEL(256, 1)                                                                              \
  weights_rows_##suffix(const T* x, const u8* b, const T* scales, const u8* zeros, T* y,      \
                        WeightArgs a) {                                                       \
    weight_product<T>(x, b, scales, zeros, y, a, true);                                       \
  }                                                                                           \
  KERNEL(256, 1)                                                                              \
  widen_columns_##suffix(const u8* b, const T* scales, const u8* zeros, T* y, WeightArgs a) { \
    widen_lines<T>(b, scales, zeros, y, a, false);                                            \
  }                                                                                           \
  KERNEL(256, 1)                                                                              \
  widen_rows_##suffix(const u8* b, const T* scales, const u8* zeros, T* y, WeightArgs a) {    \
    widen_lines<T>(b, scales, zeros, y, a, true);                                             \
  }
WEIGHTS(f32, float)
WEIGHTS(f16, f16)
WEIGHTS(bf16, bf16)
