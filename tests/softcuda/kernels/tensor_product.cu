// A product of float16 by mma.sync and ldmatrix, fed by cp.async.
#include "ptx_wrappers.cuh"

// C[M,N] float32 = A[M,K] float16 * B[K,N] float16; M and N multiples of 64, K of 32.
extern "C" __global__ void __launch_bounds__(128)
    hgemm_mma(const __half* __restrict__ A, const __half* __restrict__ B, float* __restrict__ C,
              int M, int N, int K) {
  constexpr int BK = 32, LDA = BK + 8, LDB = 64 + 8;
  __shared__ __align__(128) __half As[64 * LDA];
  __shared__ __align__(128) __half Bs[BK * LDB];
  const int tid = threadIdx.x, lane = tid & 31, warp = tid >> 5, wm = (warp >> 1) * 32,
            wn = (warp & 1) * 32, m0 = blockIdx.y * 64, n0 = blockIdx.x * 64;
  float acc[2][4][4] = {};
  for (int k0 = 0; k0 < K; k0 += BK) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      int r = (tid >> 2) + 32 * i;
      cp_async<16>(As + r * LDA + (tid & 3) * 8, A + (size_t)(m0 + r) * K + k0 + (tid & 3) * 8);
    }
#pragma unroll
    for (int i = 0; i < 2; i++) {
      int r = (tid >> 3) + 16 * i;
      cp_async<16>(Bs + r * LDB + (tid & 7) * 8, B + (size_t)(k0 + r) * N + n0 + (tid & 7) * 8);
    }
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();
#pragma unroll
    for (int kk = 0; kk < BK; kk += 16) {
      unsigned a[2][4], b[4][2];
#pragma unroll
      for (int i = 0; i < 2; i++)
        ldmatrix_x4(a[i], As + (wm + i * 16 + (lane & 15)) * LDA + kk + (lane >> 4) * 8);
#pragma unroll
      for (int j = 0; j < 4; j++)
        ldmatrix_x2_trans(b[j], Bs + (kk + (lane & 15)) * LDB + wn + j * 8);
#pragma unroll
      for (int i = 0; i < 2; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) mma_m16n8k16_f16(acc[i][j], a[i], b[j]);
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < 2; i++)
#pragma unroll
    for (int j = 0; j < 4; j++)
#pragma unroll
      for (int e = 0; e < 4; e++)
        C[(size_t)(m0 + wm + i * 16 + (lane >> 2) + (e >> 1) * 8) * N + n0 + wn + j * 8 +
          (lane & 3) * 2 + (e & 1)] = acc[i][j][e];
}
