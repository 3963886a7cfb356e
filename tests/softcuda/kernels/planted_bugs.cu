// Kernels with one bug each, and one without: x and y have 256 floats, blocks 256 threads.
#include "ptx_wrappers.cuh"

// no barrier between write and read: of a lower thread, which an ascending order hides
extern "C" __global__ void race_raw_lower(const float* x, float* y) {
  __shared__ float s[256];
  int t = threadIdx.x;
  s[t] = x[t];
  y[t] = s[t > 0 ? t - 1 : 0];
}

// same, reads a HIGHER thread's element
extern "C" __global__ void race_raw_higher(const float* x, float* y) {
  __shared__ float s[256];
  int t = threadIdx.x;
  s[t] = x[t];
  y[t] = s[t < 255 ? t + 1 : 255];
}

// WAR: tile loop without the second barrier
extern "C" __global__ void race_war_tile(const float* x, float* y) {
  __shared__ float s[256];
  int t = threadIdx.x;
  float a = 0;
  for (int k = 0; k < 4; k++) {
    s[t] = x[(t + k) & 255];
    __syncthreads();
    a += s[255 - t];
  }
  y[t] = a;
}

// a reduction that trusts the threads of a warp to run in step
extern "C" __global__ void race_warpsync(const float* x, float* y) {
  __shared__ float s[256];
  int t = threadIdx.x;
  s[t] = x[t];
  __syncthreads();
  if (t < 32)
    for (int o = 16; o; o >>= 1) s[t] += s[t + o];
  __syncthreads();
  y[t] = s[0];
}

// global out of bounds by one (reads x[256])
extern "C" __global__ void oob_global_read(const float* x, float* y) {
  int t = threadIdx.x;
  y[t] = x[t] + x[t + 1] * 0.f;
}

extern "C" __global__ void oob_global_write(const float* x, float* y) {
  int t = threadIdx.x;
  y[t] = x[t];
  if (t == 255) y[t + 1] = 1.f;
}

// static shared out of bounds
extern "C" __global__ void oob_shared(const float* x, float* y) {
  __shared__ float s[256];
  int t = threadIdx.x;
  s[t + 1] = x[t];
  if (t == 0) s[0] = 0;
  __syncthreads();
  y[t] = s[t];
}

// dynamic shared out of bounds (launched with 256*4 bytes)
extern "C" __global__ void oob_dyn_shared(const float* x, float* y) {
  DYN_SHARED(float, s);
  int t = threadIdx.x;
  s[t + 1] = x[t];
  if (t == 0) s[0] = 0;
  __syncthreads();
  y[t] = s[t];
}

// misaligned float4 load
extern "C" __global__ void misaligned(const float* x, float* y) {
  int t = threadIdx.x;
  if (t < 32) {
    float4 v = *reinterpret_cast<const float4*>(x + 1 + t * 4);
    y[t] = v.x + v.y + v.z + v.w;
  } else {
    y[t] = 0;
  }
}

// divergent barrier
extern "C" __global__ void divergent(const float* x, float* y) {
  int t = threadIdx.x;
  if (t < 128) {
    __syncthreads();
    y[t] = x[t];
  } else {
    y[t] = x[t];
    __syncthreads();
  }
}

// early exit before a barrier
extern "C" __global__ void early_exit(const float* x, float* y) {
  __shared__ float s[256];
  int t = threadIdx.x;
  if (t >= 200) return;
  s[t] = x[t];
  __syncthreads();
  y[t] = s[199 - t];
}

// uninitialised shared read
extern "C" __global__ void uninit_shared(const float* x, float* y) {
  __shared__ float s[256];
  int t = threadIdx.x;
  if (t < 255) s[t] = x[t];
  __syncthreads();
  y[t] = s[t];
}

// two blocks write the same output (grid 2)
extern "C" __global__ void race_blocks(const float* x, float* y) {
  int t = threadIdx.x;
  y[(t + blockIdx.x * 128) & 255] = x[t] + blockIdx.x;
}

// atomic missing
extern "C" __global__ void race_no_atomic(const float* x, float* y) {
  int t = threadIdx.x;
  __shared__ float s;
  if (t == 0) s = 0;
  __syncthreads();
  s += x[t];
  __syncthreads();
  y[t] = s;
}

// cp.async without wait
extern "C" __global__ void async_nowait(const float* x, float* y) {
  __shared__ __align__(16) float s[256];
  int t = threadIdx.x;
  if (t < 64) {
    cp_async<16>(s + t * 4, x + t * 4);
    cp_async_commit();
  }
  __syncthreads();
  y[t] = s[t];
  cp_async_wait<0>();
}

// cp.async waited for, but no barrier before other threads read
extern "C" __global__ void async_nobar(const float* x, float* y) {
  __shared__ __align__(16) float s[256];
  int t = threadIdx.x;
  if (t < 64) {
    cp_async<16>(s + t * 4, x + t * 4);
    cp_async_commit();
    cp_async_wait<0>();
  }
  y[t] = s[t];
}

// shuffle with a full mask inside a divergent branch
extern "C" __global__ void shfl_divergent(const float* x, float* y) {
  int t = threadIdx.x;
  float v = x[t];
  if (t & 1)
    v += __shfl_xor_sync(FULL_MASK, v, 2);
  else
    v -= __shfl_xor_sync(FULL_MASK, v, 4);
  y[t] = v;
}

// dead lanes: row guard kills part of a warp, the rest shuffles over all 32
extern "C" __global__ void shfl_exited(const float* x, float* y) {
  int t = threadIdx.x;
  if ((t & 31) >= 20) return;
  float v = x[t];
  for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(FULL_MASK, v, o);
  y[t] = v;
}

// an index that leaves 32 bits
extern "C" __global__ void int_overflow(const float* x, float* y) {
  int t = threadIdx.x;
  int n = 70000 + t;
  int i = n * n;
  y[t] = x[i];
}

// a plain read of what others change by atomic operations
extern "C" __global__ void read_beside_atomics(const float* x, float* y) {
  int t = threadIdx.x;
  if (!(y[0] > 9.f)) atomicAdd(y, x[t]);
}

// a correct one
extern "C" __global__ void good(const float* x, float* y) {
  __shared__ float s[256];
  int t = threadIdx.x;
  s[t] = x[t];
  __syncthreads();
  float v = s[255 - t];
  __syncthreads();
  s[t] = v;
  __syncwarp();
  v += __shfl_xor_sync(FULL_MASK, v, 1);
  __syncthreads();
  y[t] = v + s[t ^ 33] * 0;
}
