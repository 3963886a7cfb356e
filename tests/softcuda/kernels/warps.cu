// What threads of a warp or block do together, and what NVRTC leaves of C++: calls, tables,
// switches.
#include <cuda_pipeline.h>

#include "ptx_wrappers.cuh"

// y has 32 columns, one row a result
extern "C" __global__ void shuffles(const int* x, int* y) {
  int t = threadIdx.x, v = x[t];
  y[0 * 32 + t] = __shfl_sync(FULL_MASK, v, t * 7);
  y[1 * 32 + t] = __shfl_sync(FULL_MASK, v, 5, 8);
  y[2 * 32 + t] = __shfl_up_sync(FULL_MASK, v, 3);
  y[3 * 32 + t] = __shfl_up_sync(FULL_MASK, v, 3, 8);
  y[4 * 32 + t] = __shfl_down_sync(FULL_MASK, v, 5);
  y[5 * 32 + t] = __shfl_down_sync(FULL_MASK, v, 5, 16);
  y[6 * 32 + t] = __shfl_xor_sync(FULL_MASK, v, 9);
  y[7 * 32 + t] = __shfl_xor_sync(FULL_MASK, v, 12, 8);
  // half of the warp on its own
  y[8 * 32 + t] = t < 16 ? __shfl_sync(0xffffu, v, t ^ 1) : __shfl_sync(0xffff0000u, v, 16);
}

extern "C" __global__ void votes(const int* x, int* y) {
  int t = threadIdx.x, v = x[t];
  y[0 * 32 + t] = __ballot_sync(FULL_MASK, v > 0);
  y[1 * 32 + t] = __any_sync(FULL_MASK, v > 100);
  y[2 * 32 + t] = __all_sync(FULL_MASK, v > -100);
  y[3 * 32 + t] = __match_any_sync(FULL_MASK, v & 3);
  int same;
  y[4 * 32 + t] = __match_all_sync(FULL_MASK, v, &same);
  y[5 * 32 + t] = same;
  y[6 * 32 + t] = __reduce_add_sync(FULL_MASK, v);
  y[7 * 32 + t] = __reduce_min_sync(FULL_MASK, v);
  y[8 * 32 + t] = __reduce_max_sync(FULL_MASK, v);
  y[9 * 32 + t] = __reduce_max_sync(FULL_MASK, (unsigned)v);
  y[10 * 32 + t] = __reduce_xor_sync(FULL_MASK, (unsigned)v);
  y[11 * 32 + t] = __reduce_and_sync(FULL_MASK, (unsigned)v | 0xf0);
  y[12 * 32 + t] = __activemask() >> t & 1;
}

extern "C" __global__ void block_votes(const int* x, int* y) {
  int v = x[threadIdx.x];
  int some = __syncthreads_count(v > 0);
  int every = __syncthreads_and(v > -100);
  int any = __syncthreads_or(v > 100);
  y[threadIdx.x] = some * 4 + (every != 0) * 2 + (any != 0);
}

// two halves of a block of 128 threads meet on their own
extern "C" __global__ void named_barriers(const int* x, int* y) {
  __shared__ int s[128];
  int t = threadIdx.x, half = t / 64;
  s[t] = x[t];
  asm volatile("bar.sync %0, 64;" ::"r"(half + 1) : "memory");
  y[t] = s[half * 64 + 63 - t % 64];
}

// the last block to finish adds up what all blocks wrote
__device__ unsigned finished;
extern "C" __global__ void last_block_sums(const float* x, float* part, float* total, int n) {
  __shared__ float s[64];
  __shared__ bool last;
  int t = threadIdx.x;
  s[t] = x[blockIdx.x * 64 + t];
  for (int o = 32; o; o >>= 1) {
    __syncthreads();
    if (t < o) s[t] += s[t + o];
  }
  if (t == 0) {
    part[blockIdx.x] = s[0];
    __threadfence();
    last = atomicAdd(&finished, 1u) == gridDim.x - 1;
  }
  __syncthreads();
  if (last && t == 0) {
    float sum = 0;
    for (int i = 0; i < n; i++) sum += part[i];
    *total = sum;
    finished = 0;
  }
}

__constant__ float table[8] = {1.f, 2.f, 4.f, 8.f, 16.f, 32.f, 64.f, 128.f};
__device__ __noinline__ float pick(const float* from, int i, float by) { return from[i & 7] * by; }
extern "C" __global__ void language(const int* x, float* y) {
  int t = threadIdx.x, v = x[t];
  float own[8];
#pragma unroll 1
  for (int i = 0; i < 8; i++) own[i] = pick(table, i + v, 2.f);
  float r = own[v & 7];
  switch (v & 7) {
    case 0:
      r += 1;
      break;
    case 1:
      r *= 3;
      break;
    case 2:
      r -= 5;
      break;
    case 3:
      r = -r;
      break;
    case 4:
      r += own[(v >> 3) & 7];
      break;
    case 5:
      r /= 7;
      break;
    case 6:
      r = r * r;
      break;
    default:
      r = sqrtf(r);
  }
  y[t] = r;
}

extern "C" __global__ void atomics(int* i, float* f, double* d, __half2* h, unsigned* u) {
  int t = threadIdx.x;
  atomicMax(i, t * 3);
  atomicMin(i + 1, -t);
  atomicXor(i + 2, t);
  atomicInc(u, 9);
  atomicDec(u + 1, 9);
  atomicExch(u + 2, 7u);
  atomicAdd(f, 0.5f);
  atomicAdd(d, 0.25);
  atomicAdd(h, __floats2half2_rn(1.f, 2.f));
  float old = *(volatile float*)(f + 1), seen;
  do {
    seen = old;
    old = __int_as_float(
        atomicCAS((int*)(f + 1), __float_as_int(seen), __float_as_int(fmaxf(seen, (float)t))));
  } while (old != seen);
}

// the copies of <cuda_pipeline.h>, two stages
extern "C" __global__ void pipeline(const float4* x, float4* y, int stages) {
  __shared__ float4 s[2][32];
  int t = threadIdx.x;
  __pipeline_memcpy_async(&s[0][t], x + t, 16);
  __pipeline_commit();
  for (int i = 0; i < stages; i++) {
    if (i + 1 < stages) __pipeline_memcpy_async(&s[(i + 1) & 1][t], x + (i + 1) * 32 + t, 16);
    __pipeline_commit();
    __pipeline_wait_prior(1);
    __syncthreads();
    y[i * 32 + t] = s[i & 1][31 - t];
    __syncthreads();
  }
  __pipeline_wait_prior(0);
}

extern "C" __global__ void asserts(const int* x) {
  if (x[threadIdx.x] < 0) asm volatile("trap;");
}
