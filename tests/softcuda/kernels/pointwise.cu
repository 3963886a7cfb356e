// Functions of single elements, and kernels of a few typical operators.
#include "ptx_wrappers.cuh"
#define U(name, expr)                                                                              \
  extern "C" __global__ void u_##name(const float* __restrict__ x, float* __restrict__ y, int n) { \
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {      \
      float v = x[i];                                                                              \
      y[i] = expr;                                                                                 \
    }                                                                                              \
  }

U(exp, expf(v));
U(log, logf(v));
U(tanh, tanhf(v));
U(erf, erff(v));
U(sqrt, sqrtf(v));
U(sin, sinf(v));
U(cos, cosf(v));
U(pow, powf(v, 1.7f));
U(round, rintf(v));
U(floor, floorf(v));
U(ceil, ceilf(v));
U(sigmoid, 1.f / (1.f + expf(-v)));
U(gelu, 0.5f * v * (1.f + erff(v * 0.70710678f)));
U(log1p, log1pf(v));
U(fmod, fmodf(v, 0.7f));
U(atan, atanf(v));
U(rsqrt, rsqrtf(v));
U(fastexp, __expf(v));
U(cast_i8, (float)(signed char)(int)v);
U(isnan, isnan(v) ? 1.f : 0.f);
U(sinh, sinhf(v));
U(softplus, log1pf(expf(v)));

extern "C" __global__ void h2ops(const __half2* __restrict__ a, const __half2* __restrict__ b,
                                 __half2* __restrict__ y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = __hfma2(a[i], b[i], __hmul2(a[i], __hadd2(a[i], b[i])));
}

extern "C" __global__ void bf16_add(const __nv_bfloat16* __restrict__ a,
                                    const __nv_bfloat16* __restrict__ b,
                                    __nv_bfloat16* __restrict__ y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = __float2bfloat16(__bfloat162float(a[i]) + __bfloat162float(b[i]));
}

extern "C" __global__ void gather_i64(const float* __restrict__ x,
                                      const long long* __restrict__ idx, float* __restrict__ y,
                                      long long rows, int cols, int nidx) {
  long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i < (long long)nidx * cols) {
    long long r = idx[i / cols];
    if (r < 0) r += rows;
    y[i] = x[r * cols + i % cols];
  }
}

extern "C" __global__ void quant_u8(const float* __restrict__ x, unsigned char* __restrict__ y,
                                    float scale, int zp, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) {
    int q = __float2int_rn(x[i] / scale) + zp;
    y[i] = (unsigned char)min(max(q, 0), 255);
  }
}

extern "C" __global__ void igemm_dp4a(const int* __restrict__ a, const int* __restrict__ b,
                                      int* __restrict__ c, int M, int N, int K4) {
  int j = blockIdx.x * blockDim.x + threadIdx.x, i = blockIdx.y;
  if (j < N) {
    int s = 0;
    for (int k = 0; k < K4; k++) s = __dp4a(a[i * K4 + k], b[j * K4 + k], s);
    c[i * N + j] = s;
  }
}

extern "C" __global__ void argmax_row(const float* __restrict__ x, int* __restrict__ y, int cols) {
  int lane = threadIdx.x;
  float bv = -3.4e38f;
  int bi = 0;
  for (int i = lane; i < cols; i += 32) {
    float v = x[(size_t)blockIdx.x * cols + i];
    if (v > bv) {
      bv = v;
      bi = i;
    }
  }
  for (int o = 16; o; o >>= 1) {
    float ov = __shfl_down_sync(FULL_MASK, bv, o);
    int oi = __shfl_down_sync(FULL_MASK, bi, o);
    if (ov > bv || (ov == bv && oi < bi)) {
      bv = ov;
      bi = oi;
    }
  }
  if (lane == 0) y[blockIdx.x] = bi;
}

struct Shape {
  int d[6];
  int s[6];
  int rank;
};
extern "C" __global__ void transpose_nd(const float* __restrict__ x, float* __restrict__ y,
                                        Shape sh, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) {
    int r = i, off = 0;
    for (int k = sh.rank - 1; k >= 0; k--) {
      off += r % sh.d[k] * sh.s[k];
      r /= sh.d[k];
    }
    y[i] = x[off];
  }
}

extern "C" __global__ void nonzero_count(const float* __restrict__ x, int* __restrict__ c, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  unsigned m = __ballot_sync(FULL_MASK, i < n && x[i < n ? i : 0] != 0.f);
  if ((threadIdx.x & 31) == 0) atomicAdd(c, __popc(m));
}

extern "C" __global__ void atomic_max_f(const float* __restrict__ x, unsigned* __restrict__ m,
                                        int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) atomicMax(m, __float_as_uint(x[i] * x[i]));
  if (i < n) atomicAdd((float*)(m + 1), x[i]);
}
