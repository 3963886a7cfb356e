// Matrix products of 8-bit integers by tensor cores, sums in s32, with zero points; and the same
// rounded to bytes.
#include "bytes.cuh"
#include "gemm.cuh"

// Sums rounded to bytes.
struct RoundedOutput {
  u8* d;
  const GemmArgs& g;
  const Rounding& r;
  i64 m, n;
  __device__ __forceinline__ RoundedOutput(u8* d_, const GemmArgs& g_, const Rounding& r_,
                                           const GemmTile& at)
      : d(d_), g(g_), r(r_), m(at.m), n(at.n) {
    d += batch_offset(g, g.d, at.batch);
  }
  __device__ __forceinline__ void put_pair(int i, int j, int x, int y) const {
    const i64 row = m + i, column = n + j;
    if (row >= g.m || column >= g.n) return;
    u8* p = d + row * g.d[0] + column * g.d[1];
    p[0] = rounded_sum(r, row, column, x);
    if (column + 1 < g.n) p[g.d[1]] = rounded_sum(r, row, column + 1, y);
  }
};

template <class TA, class TB, int BM, int BN, int WM, int WN, class MakeOutput>
DEVICE void gemm_bytes(const TA* a, const TB* b, const Zeros<TA, TB>& zeros, const GemmArgs& g,
                       const MakeOutput& output) {
  typedef MmaTile<TA, TB, int, BM, BN, WM, WN, false, true> Tile;
  __shared__ __align__(16) u8 shared[Tile::BYTES];
  TA* as = reinterpret_cast<TA*>(shared);
  TB* bs = reinterpret_cast<TB*>(shared + Tile::STAGES * Tile::A_ITEMS);
  Tile tile;
  const GemmTile at = gemm_tile<BM, BN>(g);
  const GemmLoad<Tile, TA, TB, BM, BN, false, true> load(a, b, g, at);
  Sums<Tile::MT, Tile::NT, TA, TB> sums(zeros.b != nullptr, zeros.a != nullptr);
  run_mma(
      tile, as, bs, (int)ceil_div(g.k, Tile::BK), load, [](int, TA*, TB*) {},
      [&](const auto& fa, const auto& fb) { sums(fa, fb); });
  subtract_zeros(
      tile, sums, (int)g.k,
      [&](int i) {
        return zeros.a && at.m + i < g.m ? (int)zeros.a[(at.m + i) * zeros.a_step] : 0;
      },
      [&](int j) {
        return zeros.b && at.n + j < g.n ? (int)zeros.b[(at.n + j) * zeros.b_step] : 0;
      });
  store_mma(tile, reinterpret_cast<int*>(shared), output(at));
}

// alpha is 1; c is not read.  grid: batches * ceil(m / 128) * ceil(n / 64); block: 256; no dynamic
// shared memory.
#define GEMM_BYTES(types, TA, TB)                                                             \
  KERNEL(256)                                                                                 \
  gemm_##types(const TA* a, const TB* b, const TA* a_zero, const TB* b_zero, const int* bias, \
               int* d, GemmArgs g, i64 a_step, i64 b_step) {                                  \
    const Zeros<TA, TB> zeros{a_zero, b_zero, a_step, b_step};                                \
    gemm_bytes<TA, TB, 128, 64, 32, 32>(a, b, zeros, g, [&](const GemmTile& at) {             \
      return GemmOutput<int, int, int, false>(nullptr, bias, d, g, at);                       \
    });                                                                                       \
  }                                                                                           \
  KERNEL(256)                                                                                 \
  gemm_rounded_##types(const TA* a, const TB* b, const TA* a_zero, const TB* b_zero, u8* d,   \
                       GemmArgs g, i64 a_step, i64 b_step, Rounding r) {                      \
    const Zeros<TA, TB> zeros{a_zero, b_zero, a_step, b_step};                                \
    gemm_bytes<TA, TB, 128, 64, 32, 32>(                                                      \
        a, b, zeros, g, [&](const GemmTile& at) { return RoundedOutput(d, g, r, at); });      \
  }
GEMM_BYTES(s8_s8, s8, s8)
GEMM_BYTES(u8_s8, u8, s8)
GEMM_BYTES(s8_u8, s8, u8)
GEMM_BYTES(u8_u8, u8, u8)
