// Matrix products by tensor cores: f16, bf16 (sums in f32) and 8-bit integers (sums in s32, zero
// points).
#include "gemm.cuh"

// Starts the copies of the operand tiles at k.
template <class Tile, class TA, class TB, int BM, int BN, bool AT, bool BT>
struct GemmLoad {
  const TA* a;
  const TB* b;
  const GemmArgs& g;
  i64 m, n;  // rows of a and columns of b that are left
  bool pa, pb;
  __device__ __forceinline__ GemmLoad(const TA* a_, const TB* b_, const GemmArgs& g_,
                                      const GemmTile& at)
      : a(a_), b(b_), g(g_), m(g_.m - at.m), n(g_.n - at.n) {
    a += batch_offset(g, g.a, at.batch) + at.m * g.a[0];
    b += batch_offset(g, g.b, at.batch) + at.n * g.b[1];
    pa = AT ? packed_lines(a, g.a[1], g.a[0]) : packed_lines(a, g.a[0], g.a[1]);
    pb = BT ? packed_lines(b, g.b[1], g.b[0]) : packed_lines(b, g.b[0], g.b[1]);
  }
  __device__ __forceinline__ void operator()(int i, TA* as, TB* bs) const {
    constexpr int BK = Tile::BK, E = Tile::E, TH = Tile::THREADS;
    const i64 k = (i64)i * BK, left = g.k - k;
    const TA* from = a + k * g.a[1];
    if (AT)
      copy_chunks<TA, BK, BM / E, TH>(as, from, g.a[1], g.a[0], left, m, pa);
    else
      copy_chunks<TA, BM, 4, TH>(as, from, g.a[0], g.a[1], m, left, pa);
    const TB* from_b = b + k * g.b[0];
    if (BT)
      copy_chunks<TB, BN, 4, TH>(bs, from_b, g.b[1], g.b[0], n, left, pb);
    else
      copy_chunks<TB, BK, BN / E, TH>(bs, from_b, g.b[0], g.b[1], left, n, pb);
  }
};

template <class T, int BM, int BN, int WM, int WN, bool AT, bool BT>
DEVICE void gemm_half(const T* a, const T* b, const T* c, const T* bias, T* d, const GemmArgs& g,
                      u8* shared) {
  typedef MmaTile<T, T, float, BM, BN, WM, WN, AT, BT> Tile;
  T *as = reinterpret_cast<T*>(shared), *bs = as + Tile::STAGES * Tile::A_ITEMS;
  Tile tile;
  const GemmTile at = gemm_tile<BM, BN>(g);
  const GemmLoad<Tile, T, T, BM, BN, AT, BT> load(a, b, g, at);
  run_mma(tile, as, bs, (int)ceil_div(g.k, Tile::BK), load, [](int, T*, T*) {}, Nothing());
  const GemmOutput<T, T, float> out(c, bias, d, g, at);
  __syncthreads();  // no one reads operands any more
  UNROLL
  for (int i = 0; i < Tile::MT; i++)
    store_mma(tile.acc[i], reinterpret_cast<float*>(shared), Tile::warp_row() + i * 16,
              Tile::warp_column(), out);
}

template <class T, int BM, int BN, int WM, int WN>
DEVICE void gemm_any(const T* a, const T* b, const T* c, const T* bias, T* d, const GemmArgs& g) {
  __shared__ __align__(16) u8 shared[3 * (BM + BN) * 64];
  const bool at = g.a[1] != 1 && g.a[0] == 1, bt = g.b[1] != 1 && g.b[0] == 1;
  if (at && bt)
    gemm_half<T, BM, BN, WM, WN, true, true>(a, b, c, bias, d, g, shared);
  else if (at)
    gemm_half<T, BM, BN, WM, WN, true, false>(a, b, c, bias, d, g, shared);
  else if (bt)
    gemm_half<T, BM, BN, WM, WN, false, true>(a, b, c, bias, d, g, shared);
  else
    gemm_half<T, BM, BN, WM, WN, false, false>(a, b, c, bias, d, g, shared);
}

// grid: batches * ceil(m / BM) * ceil(n / BN); block: BM / WM * BN / WN * 32; no dynamic shared
// memory.
#define GEMM(name, T, BM, BN, WM, WN)                                         \
  KERNEL(BM / WM * (BN / WN) * 32)                                            \
  name(const T* a, const T* b, const T* c, const T* bias, T* d, GemmArgs g) { \
    gemm_any<T, BM, BN, WM, WN>(a, b, c, bias, d, g);                         \
  }
GEMM(gemm_f16, f16, 128, 128, 64, 32)
GEMM(gemm_bf16, bf16, 128, 128, 64, 32)
GEMM(gemm_small_f16, f16, 64, 64, 32, 32)
GEMM(gemm_small_bf16, bf16, 64, 64, 32, 32)

// ---- 8 bits: d = (a - a_zero) (b - b_zero) + bias; row and column sums come from products with
// ones

template <int BM, int BN, int MT, int NT, class TA, class TB>
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

template <class TA, class TB, int BM, int BN, int WM, int WN>
DEVICE void gemm_bytes(const TA* a, const TB* b, const TA* a_zero, const TB* b_zero,
                       const int* bias, int* d, const GemmArgs& g, i64 a_step, i64 b_step) {
  typedef MmaTile<TA, TB, int, BM, BN, WM, WN, false, true> Tile;
  __shared__ __align__(16) u8 shared[Tile::BYTES];
  TA* as = reinterpret_cast<TA*>(shared);
  TB* bs = reinterpret_cast<TB*>(shared + Tile::STAGES * Tile::A_ITEMS);
  Tile tile;
  const GemmTile at = gemm_tile<BM, BN>(g);
  const GemmLoad<Tile, TA, TB, BM, BN, false, true> load(a, b, g, at);
  Sums<BM, BN, Tile::MT, Tile::NT, TA, TB> sums(b_zero != nullptr, a_zero != nullptr);
  run_mma(
      tile, as, bs, (int)ceil_div(g.k, Tile::BK), load, [](int, TA*, TB*) {},
      [&](const auto& fa, const auto& fb) { sums(fa, fb); });
  const GemmOutput<int, int, int> out(nullptr, bias, d, g, at);
  int zb[Tile::NT][2];
  const i64 row = at.m + Tile::warp_row() + threadIdx.x % 32 / 4;
  const i64 column = at.n + Tile::warp_column() + threadIdx.x % 4 * 2;
  UNROLL
  for (int j = 0; j < Tile::NT * 2; j++) {
    const i64 n = column + j / 2 * 8 + j % 2;
    zb[j / 2][j % 2] = b_zero && n < g.n ? b_zero[n * b_step] : 0;
  }
  __syncthreads();  // no one reads operands any more
  UNROLL
  for (int i = 0; i < Tile::MT; i++) {
    int za[2];
    UNROLL
    for (int h = 0; h < 2; h++) {
      const i64 m = row + i * 16 + h * 8;
      za[h] = a_zero && m < g.m ? a_zero[m * a_step] : 0;
    }
    UNROLL
    for (int j = 0; j < Tile::NT; j++) UNROLL
    for (int e = 0; e < 4; e++)
      tile.acc[i][j][e] +=
          zb[j][e % 2] * ((int)g.k * za[e / 2] - sums.a[i][e]) - za[e / 2] * sums.b[j][e];
    store_mma(tile.acc[i], reinterpret_cast<int*>(shared), Tile::warp_row() + i * 16,
              Tile::warp_column(), out);
  }
}

// a_zero[row * a_step], b_zero[column * b_step], bias: null where there is none.  alpha is 1; c is
// not read. grid: batches * ceil(m / 128) * ceil(n / 64); block: 256; no dynamic shared memory.
#define GEMM_BYTES(name, TA, TB)                                                              \
  KERNEL(256)                                                                                 \
  name(const TA* a, const TB* b, const TA* a_zero, const TB* b_zero, const int* bias, int* d, \
       GemmArgs g, i64 a_step, i64 b_step) {                                                  \
    gemm_bytes<TA, TB, 128, 64, 32, 32>(a, b, a_zero, b_zero, bias, d, g, a_step, b_step);    \
  }
GEMM_BYTES(gemm_s8_s8, s8, s8)
GEMM_BYTES(gemm_u8_s8, u8, s8)
GEMM_BYTES(gemm_s8_u8, s8, u8)
GEMM_BYTES(gemm_u8_u8, u8, u8)
