// Softmax, layer normalisation and a histogram: shuffles, barriers, atomics.
#include "ptx_wrappers.cuh"
template <class F>
__device__ __forceinline__ float warp_all(float v, F f) {
#pragma unroll
  for (int o = 16; o; o >>= 1) v = f(v, __shfl_xor_sync(FULL_MASK, v, o));
  return v;
}
struct Sum {
  __device__ float operator()(float a, float b) const { return a + b; }
};
struct Max {
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};
template <class F>
__device__ __forceinline__ float block_all(float v, F f, float id, float* red) {
  int lane = threadIdx.x & 31, w = threadIdx.x >> 5, nw = blockDim.x >> 5;
  v = warp_all(v, f);
  if (lane == 0) red[w] = v;
  __syncthreads();
  v = lane < nw ? red[lane] : id;
  v = warp_all(v, f);
  __syncthreads();
  return v;
}
// one block per row
extern "C" __global__ void __launch_bounds__(256)
    softmax_rows(const float* __restrict__ x, float* __restrict__ y, int cols) {
  __shared__ float red[32];
  const float* r = x + (size_t)blockIdx.x * cols;
  float* o = y + (size_t)blockIdx.x * cols;
  float m = -3.402823466e38f;
  for (int i = threadIdx.x; i < cols; i += blockDim.x) m = fmaxf(m, r[i]);
  m = block_all(m, Max(), -3.402823466e38f, red);
  float s = 0.f;
  for (int i = threadIdx.x; i < cols; i += blockDim.x) {
    float e = expf(r[i] - m);
    o[i] = e;
    s += e;
  }
  s = block_all(s, Sum(), 0.f, red);
  float inv = 1.f / s;
  for (int i = threadIdx.x; i < cols; i += blockDim.x) o[i] *= inv;
}

// one warp per row, half in/out, fp32 accumulate
extern "C" __global__ void __launch_bounds__(128)
    layernorm_h(const __half* __restrict__ x, const __half* __restrict__ g,
                const __half* __restrict__ b, __half* __restrict__ y, int rows, int cols,
                float eps) {
  int row = blockIdx.x * (blockDim.x >> 5) + (threadIdx.x >> 5), lane = threadIdx.x & 31;
  if (row >= rows) return;
  const __half2* r = reinterpret_cast<const __half2*>(x + (size_t)row * cols);
  float s = 0.f;
  for (int i = lane; i < cols / 2; i += 32) {
    float2 v = __half22float2(r[i]);
    s += v.x + v.y;
  }
  float mean = warp_all(s, Sum()) / cols, q = 0.f;
  for (int i = lane; i < cols / 2; i += 32) {
    float2 v = __half22float2(r[i]);
    v.x -= mean;
    v.y -= mean;
    q += v.x * v.x + v.y * v.y;
  }
  float inv = rsqrtf(warp_all(q, Sum()) / cols + eps);
  const __half2* g2 = reinterpret_cast<const __half2*>(g);
  const __half2* b2 = reinterpret_cast<const __half2*>(b);
  __half2* o = reinterpret_cast<__half2*>(y + (size_t)row * cols);
  for (int i = lane; i < cols / 2; i += 32) {
    float2 v = __half22float2(r[i]), gg = __half22float2(g2[i]), bb = __half22float2(b2[i]);
    o[i] = __floats2half2_rn((v.x - mean) * inv * gg.x + bb.x, (v.y - mean) * inv * gg.y + bb.y);
  }
}

extern "C" __global__ void relu_add(const float* __restrict__ a, const float* __restrict__ b,
                                    float* __restrict__ y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = fmaxf(a[i] + b[i], 0.f);
}

extern "C" __global__ void histogram256(const unsigned char* __restrict__ x,
                                        unsigned* __restrict__ h, int n) {
  __shared__ unsigned loc[256];
  loc[threadIdx.x] = 0;
  __syncthreads();
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
    atomicAdd(&loc[x[i]], 1u);
  __syncthreads();
  atomicAdd(&h[threadIdx.x], loc[threadIdx.x]);
}
