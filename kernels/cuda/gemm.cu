// Matrix products by FMA (and tf32): d = alpha * a b + beta * c + bias, batched, any strides.
#include "gemm.cuh"

template <class T, class Tile, int BM, int BN>
DEVICE void simt_body(const T* a, const T* b, const T* c, const T* bias, T* d, const GemmArgs& g,
                      T* shared, Tile& tile, GemmTile& at) {
  constexpr int BK = Tile::LA - Tile::PA;
  at = gemm_tile<BM, BN>(g);
  a += batch_offset(g, g.a, at.batch) + at.m * g.a[0];
  b += batch_offset(g, g.b, at.batch) + at.n * g.b[1];
  const bool pa = packed_lines(a, g.a[0], g.a[1]), pb = packed_lines(b, g.b[0], g.b[1]);
  run_simt(tile, shared, (int)ceil_div(g.k, BK), [&](int i, T* as, T* bs) {
    const i64 k = (i64)i * BK, left = g.k - k;
    copy_tile<T, BM, BK, Tile::PA, Tile::THREADS>(as, a + k * g.a[1], g.a[0], g.a[1], g.m - at.m,
                                                  left, pa);
    copy_tile<T, BK, BN, Tile::PB, Tile::THREADS>(bs, b + k * g.b[0], g.b[0], g.b[1], left,
                                                  g.n - at.n, pb);
  });
}

template <class T, int BM, int BN, int TM, int TN>
DEVICE void gemm_simt(const T* a, const T* b, const T* c, const T* bias, T* d, const GemmArgs& g) {
  typedef SimtTile<T, BM, BN, 16, TM, TN> Tile;
  __shared__ __align__(16) T shared[2 * (Tile::A_ITEMS + Tile::B_ITEMS)];
  Tile tile;
  GemmTile at;
  simt_body<T, Tile, BM, BN>(a, b, c, bias, d, g, shared, tile, at);
  const GemmOutput<T, T, T> out(c, bias, d, g, at);
  store_simt(tile, shared, out);
}

template <int BM, int BN>
DEVICE void gemm_by_tf32(const float* a, const float* b, const float* c, const float* bias,
                         float* d, const GemmArgs& g) {
  typedef Tf32Tile<BM, BN, 16> Tile;
  __shared__ __align__(16) float shared[2 * (Tile::A_ITEMS + Tile::B_ITEMS)];
  Tile tile;
  GemmTile at;
  simt_body<float, Tile, BM, BN>(a, b, c, bias, d, g, shared, tile, at);
  const GemmOutput<float, float, float> out(c, bias, d, g, at);
  store_mma(tile, shared, out);
}

// grid: batches * ceil(m / BM) * ceil(n / BN); block: BM / TM * BN / TN; no dynamic shared memory.
#define GEMM(name, T, BM, BN, TM, TN)                                         \
  KERNEL(BM / TM * (BN / TN), 2)                                              \
  name(const T* a, const T* b, const T* c, const T* bias, T* d, GemmArgs g) { \
    gemm_simt<T, BM, BN, TM, TN>(a, b, c, bias, d, g);                        \
  }
GEMM(gemm_f32, float, 128, 128, 16, 8)
GEMM(gemm_small_f32, float, 64, 64, 4, 4)
GEMM(gemm_small_f64, double, 64, 64, 4, 4)
GEMM(gemm_small_i32, int, 64, 64, 4, 4)
GEMM(gemm_small_i64, i64, 64, 64, 4, 4)
KERNEL(256, 2)
gemm_tf32(const float* a, const float* b, const float* c, const float* bias, float* d, GemmArgs g) {
  gemm_by_tf32<128, 128>(a, b, c, bias, d, g);
}
