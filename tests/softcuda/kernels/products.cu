// Matrix products in float32: a simple tile, and one with double-buffered shared memory.
#include "ptx_wrappers.cuh"
// classic 16x16 tile, one output per thread
extern "C" __global__ void __launch_bounds__(256)
    sgemm_tile16(const float* __restrict__ A, const float* __restrict__ B, float* __restrict__ C,
                 int M, int N, int K) {
  __shared__ float As[16][17];
  __shared__ float Bs[16][17];
  int tx = threadIdx.x, ty = threadIdx.y, row = blockIdx.y * 16 + ty, col = blockIdx.x * 16 + tx;
  float acc = 0.f;
  for (int k0 = 0; k0 < K; k0 += 16) {
    As[ty][tx] = (row < M && k0 + tx < K) ? A[row * K + k0 + tx] : 0.f;
    Bs[ty][tx] = (k0 + ty < K && col < N) ? B[(k0 + ty) * N + col] : 0.f;
    __syncthreads();
#pragma unroll
    for (int k = 0; k < 16; k++) acc += As[ty][k] * Bs[k][tx];
    __syncthreads();
  }
  if (row < M && col < N) C[row * N + col] = acc;
}

// 64x64 block tile, 4x4 register tile, 256 threads, double-buffered shared memory; K % 16 == 0 and
// N % 4 == 0
template <int BM, int BN, int BK, int TM, int TN>
__device__ __forceinline__ void sgemm_body(const float* __restrict__ A, const float* __restrict__ B,
                                           float* __restrict__ C, int M, int N, int K, float* As,
                                           float* Bs) {
  constexpr int T = (BM / TM) * (BN / TN);
  const int tid = threadIdx.x, tx = tid % (BN / TN), ty = tid / (BN / TN);
  const int bm = blockIdx.y * BM, bn = blockIdx.x * BN;
  float acc[TM][TN] = {};
  for (int k0 = 0, buf = 0; k0 < K; k0 += BK, buf ^= 1) {
    float* as = As + buf * BM * BK;
    float* bs = Bs + buf * BK * BN;
    for (int i = tid; i < BM * BK / 4; i += T) {
      int r = i / (BK / 4), c = i % (BK / 4) * 4;
      float4 v = make_float4(0.f, 0.f, 0.f, 0.f);
      if (bm + r < M) v = *reinterpret_cast<const float4*>(A + (size_t)(bm + r) * K + k0 + c);
      as[(c + 0) * BM + r] = v.x;
      as[(c + 1) * BM + r] = v.y;
      as[(c + 2) * BM + r] = v.z;
      as[(c + 3) * BM + r] = v.w;
    }
    for (int i = tid; i < BK * BN / 4; i += T) {
      int r = i / (BN / 4), c = i % (BN / 4) * 4;
      float4 v = make_float4(0.f, 0.f, 0.f, 0.f);
      if (bn + c < N) v = *reinterpret_cast<const float4*>(B + (size_t)(k0 + r) * N + bn + c);
      *reinterpret_cast<float4*>(bs + r * BN + c) = v;
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < BK; k++) {
      float a[TM], b[TN];
#pragma unroll
      for (int i = 0; i < TM; i++) a[i] = as[k * BM + ty * TM + i];
#pragma unroll
      for (int j = 0; j < TN; j++) b[j] = bs[k * BN + tx * TN + j];
#pragma unroll
      for (int i = 0; i < TM; i++)
#pragma unroll
        for (int j = 0; j < TN; j++) acc[i][j] += a[i] * b[j];
    }
  }
  for (int i = 0; i < TM; i++)
    for (int j = 0; j < TN; j++) {
      int r = bm + ty * TM + i, c = bn + tx * TN + j;
      if (r < M && c < N) C[(size_t)r * N + c] = acc[i][j];
    }
}
extern "C" __global__ void __launch_bounds__(256)
    sgemm_64x64(const float* __restrict__ A, const float* __restrict__ B, float* __restrict__ C,
                int M, int N, int K) {
  __shared__ __align__(16) float As[2 * 64 * 16];
  __shared__ __align__(16) float Bs[2 * 16 * 64];
  sgemm_body<64, 64, 16, 4, 4>(A, B, C, M, N, K, As, Bs);
}
