// A convolution of float16 by wmma, fed by cp.async in two stages.
#include "ptx_wrappers.cuh"
using namespace nvcuda;

// A finished tile of 64 pixels x 64 channels: bias, ReLU, half precision.
__device__ __forceinline__ void write_tile(const float* tile, const float* bias, __half* Y, int m0,
                                           int n0, int M, int OC, int relu) {
  constexpr int BN = 64, LDC = BN + 4;
  for (int i = threadIdx.x; i < 64 * BN / 2; i += 128) {
    int r = i / (BN / 2), c = i % (BN / 2) * 2;
    if (m0 + r >= M) continue;
    float u = tile[r * LDC + c] + bias[n0 + c], v = tile[r * LDC + c + 1] + bias[n0 + c + 1];
    if (relu) {
      u = fmaxf(u, 0.f);
      v = fmaxf(v, 0.f);
    }
    *reinterpret_cast<__half2*>(Y + (size_t)(m0 + r) * OC + n0 + c) = __floats2half2_rn(u, v);
  }
}

// Where the two 16-byte pieces of A that a thread copies come from.
struct Pieces {
  int n[2], h[2], w[2];
  bool inside[2];
};
__device__ __forceinline__ Pieces pieces_of(int m0, int M, int OH, int OW, int stride, int pad) {
  Pieces at;
#pragma unroll
  for (int i = 0; i < 2; i++) {
    int p = m0 + (threadIdx.x >> 2) + 32 * i;
    at.inside[i] = p < M;
    int q = at.inside[i] ? p : 0;
    at.n[i] = q / (OH * OW);
    at.h[i] = q / OW % OH * stride - pad;
    at.w[i] = q % OW * stride - pad;
  }
  return at;
}

// 32 x 32 sums of a warp, over 32 of K.
using Sums = wmma::fragment<wmma::accumulator, 16, 16, 16, float>;
__device__ __forceinline__ void multiply(Sums (&sums)[2][2], const __half* rows,
                                         const __half* columns) {
  constexpr int LDA = 32 + 8, LDB = 64 + 8;
#pragma unroll
  for (int kk = 0; kk < 32; kk += 16) {
    wmma::fragment<wmma::matrix_a, 16, 16, 16, __half, wmma::row_major> a[2];
    wmma::fragment<wmma::matrix_b, 16, 16, 16, __half, wmma::row_major> b[2];
#pragma unroll
    for (int i = 0; i < 2; i++) {
      wmma::load_matrix_sync(a[i], rows + i * 16 * LDA + kk, LDA);
      wmma::load_matrix_sync(b[i], columns + kk * LDB + i * 16, LDB);
    }
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
      for (int j = 0; j < 2; j++) wmma::mma_sync(sums[i][j], a[i], b[j], sums[i][j]);
  }
}

// Implicit product over [N, H, W, C] of float16, C % 32 == 0 and OC % 64 == 0; weights [R*S*C, OC].
// A block of four warps makes 64 pixels x 64 channels, 32 of K at a time, in two stages.
extern "C" __global__ void __launch_bounds__(128)
    conv_wmma_f16(const __half* __restrict__ X, const __half* __restrict__ W,
                  const float* __restrict__ bias, __half* __restrict__ Y, int Nb, int H, int Wd,
                  int C, int OC, int R, int S, int pad, int stride, int OH, int OW, int relu) {
  constexpr int BM = 64, BN = 64, BK = 32, LDA = BK + 8, LDB = BN + 8;
  DYN_SHARED(__half, smem);
  __half* As = smem;
  __half* Bs = smem + 2 * BM * LDA;  // then reused as the fp32 epilogue tile
  const int tid = threadIdx.x, warp = tid >> 5, wm = warp >> 1, wn = warp & 1;
  const int m0 = blockIdx.x * BM, n0 = blockIdx.y * BN, M = Nb * OH * OW, KT = R * S * C / BK;
  const Pieces at = pieces_of(m0, M, OH, OW, stride, pad);
  auto load = [&](int kt, int buf) {
    int k0 = kt * BK, rs = k0 / C, c0 = k0 % C, r = rs / S, s = rs % S;
#pragma unroll
    for (int i = 0; i < 2; i++) {
      int h = at.h[i] + r, w = at.w[i] + s;
      bool ok = at.inside[i] && h >= 0 && h < H && w >= 0 && w < Wd;
      const __half* src =
          X + ((((size_t)at.n[i] * H + (ok ? h : 0)) * Wd + (ok ? w : 0)) * C + c0 + (tid & 3) * 8);
      cp_async<16>(As + buf * BM * LDA + ((tid >> 2) + 32 * i) * LDA + (tid & 3) * 8, src, ok);
      int r2 = (tid >> 3) + 16 * i;
      cp_async<16>(Bs + buf * BK * LDB + r2 * LDB + (tid & 7) * 8,
                   W + (size_t)(k0 + r2) * OC + n0 + (tid & 7) * 8);
    }
    cp_async_commit();
  };
  Sums acc[2][2];
#pragma unroll
  for (int i = 0; i < 2; i++)
#pragma unroll
    for (int j = 0; j < 2; j++) wmma::fill_fragment(acc[i][j], 0.f);
  load(0, 0);
  for (int kt = 0; kt < KT; kt++) {
    int buf = kt & 1;
    if (kt + 1 < KT) {
      load(kt + 1, buf ^ 1);
      cp_async_wait<1>();
    } else
      cp_async_wait<0>();
    __syncthreads();
    multiply(acc, As + buf * BM * LDA + wm * 32 * LDA, Bs + buf * BK * LDB + wn * 32);
    __syncthreads();
  }
  float* Cs = reinterpret_cast<float*>(smem);
  constexpr int LDC = BN + 4;
#pragma unroll
  for (int i = 0; i < 2; i++)
#pragma unroll
    for (int j = 0; j < 2; j++)
      wmma::store_matrix_sync(Cs + (wm * 32 + i * 16) * LDC + wn * 32 + j * 16, acc[i][j], LDC,
                              wmma::mem_row_major);
  __syncthreads();
  write_tile(Cs, bias, Y, m0, n0, M, OC, relu);
}
