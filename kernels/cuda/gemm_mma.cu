// Matrix products by tensor cores: f16 and bf16, sums in f32.
#include "gemm.cuh"

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
  store_mma(tile, reinterpret_cast<float*>(shared), out);
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
  KERNEL(BM / WM * (BN / WN) * 32, 2)                                         \
  name(const T* a, const T* b, const T* c, const T* bias, T* d, GemmArgs g) { \
    gemm_any<T, BM, BN, WM, WN>(a, b, c, bias, d, g);                         \
  }
GEMM(gemm_f16, f16, 128, 128, 64, 64)
GEMM(gemm_bf16, bf16, 128, 128, 64, 64)
GEMM(gemm_small_f16, f16, 64, 64, 32, 32)
GEMM(gemm_small_bf16, bf16, 64, 64, 32, 32)
