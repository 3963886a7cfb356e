// What products of 8-bit integers share: sums for zero points, and results as they leave.
#pragma once
#include "product.cuh"

// Sums of rows of A and of columns of B, by products with ones.
template <int MT, int NT, class TA, class TB>
struct Sums {
  int a[MT][4], b[NT][4];
  bool of_a, of_b;
  __device__ __forceinline__ Sums(bool a_, bool b_) : of_a(a_), of_b(b_) {
    UNROLL
    for (int i = 0; i < MT * 4; i++) a[i / 4][i % 4] = 0;
    UNROLL
    for (int i = 0; i < NT * 4; i++) b[i / 4][i % 4] = 0;
  }
  __device__ __forceinline__ void operator()(const u32 (&fa)[MT][4], const u32 (&fb)[NT / 2][4]) {
    const u32 one = 0x01010101u, ones[4] = {one, one, one, one};
    if (of_a) UNROLL
    for (int i = 0; i < MT; i++) Mma<TA, TB>::run(a[i], fa[i], one, one);
    if (of_b) UNROLL
    for (int j = 0; j < NT; j++)
      Mma<TA, TB>::run(b[j], ones, fb[j / 2][j % 2 * 2], fb[j / 2][j % 2 * 2 + 1]);
  }
};

// Takes zero points out of products of k items. `za(i)`, `zb(j)`: those of a row and a column of
// the tile.
template <class Tile, int MT, int NT, class TA, class TB, class ZA, class ZB>
DEVICE void subtract_zeros(Tile& tile, const Sums<MT, NT, TA, TB>& sums, int k, const ZA& za,
                           const ZB& zb) {
  const int row = Tile::warp_row() + threadIdx.x % 32 / 4;
  const int column = Tile::warp_column() + threadIdx.x % 4 * 2;
  int right[NT][2];
  UNROLL
  for (int j = 0; j < NT * 2; j++) right[j / 2][j % 2] = zb(column + j / 2 * 8 + j % 2);
  UNROLL
  for (int i = 0; i < MT; i++) {
    const int left[2] = {za(row + i * 16), za(row + i * 16 + 8)};
    UNROLL
    for (int j = 0; j < NT; j++) UNROLL
    for (int e = 0; e < 4; e++)
      tile.acc[i][j][e] +=
          right[j][e % 2] * (k * left[e / 2] - sums.a[i][e]) - left[e / 2] * sums.b[j][e];
  }
}

// A scale of one of the types that scales have.
enum ScaleType { SCALE_F32 = 0, SCALE_F16 = 1, SCALE_BF16 = 2 };
DEVICE float scale_at(const void* scales, i64 at, i32 type) {
  if (type == SCALE_F16) return widen(static_cast<const f16*>(scales)[at]);
  if (type == SCALE_BF16) return widen(static_cast<const bf16*>(scales)[at]);
  return static_cast<const float*>(scales)[at];
}

// A byte as a number.
DEVICE int byte_at(const u8* bytes, i64 at, bool is_signed) {
  return is_signed ? (int)(s8)bytes[at] : (int)bytes[at];
}

// x times scale, rounded to even, plus the zero point, as a byte.
DEVICE u8 round_byte(int x, float scale, int zero, bool is_signed) {
  const float low = is_signed ? -128.f : 0.f, high = is_signed ? 127.f : 255.f;
  const float y = rintf((float)x * scale) + (float)zero;
  return (u8)(int)fminf(fmaxf(y, low), high);
}

// Zero points of rows of a and of columns of b: null, or item [row * a_step], [column * b_step].
template <class TA, class TB>
struct Zeros {
  const TA* a;
  const TB* b;
  i64 a_step, b_step;
};

// Scales of a, b and the result, whose zero point is `y_zero`: item [row * step], or [column *
// b_step].
struct Rounding {
  const void *a_scale, *b_scale, *y_scale;
  const u8* y_zero;
  i64 a_step, b_step, y_step, zero_step;
  i32 scale_type, is_signed;
};
DEVICE u8 rounded_sum(const Rounding& r, i64 row, i64 column, int sum) {
  const float left = __fdiv_rn(scale_at(r.a_scale, row * r.a_step, r.scale_type),
                               scale_at(r.y_scale, row * r.y_step, r.scale_type));
  const float scale = __fmul_rn(left, scale_at(r.b_scale, column * r.b_step, r.scale_type));
  return round_byte(sum, scale, byte_at(r.y_zero, row * r.zero_step, r.is_signed), r.is_signed);
}
