// One mma.sync or wmma tile of each element type, fragments laid out as the PTX ISA documents them.
#include "ptx_wrappers.cuh"
using namespace nvcuda;

// Register r of a lane holds E neighbours along K, as raw bits.
template <class T, int E>
__device__ unsigned along_k(const T* p, int stride) {
  unsigned bits = 0;
  for (int e = 0; e < E; e++) {
    unsigned one = 0;
    memcpy(&one, p + e * stride, sizeof(T));
    bits |= one << (32 / E * e);
  }
  return bits;
}
template <class T, int E, int K, int AREGS>
__device__ void load_a(const T* a, unsigned (&r)[AREGS]) {
  int lane = threadIdx.x, row = lane / 4, col = lane % 4 * E;
  for (int i = 0; i < AREGS; i++)
    r[i] = along_k<T, E>(a + (row + i % 2 * 8) * K + i / 2 * 4 * E + col, 1);
}
template <class T, int E, int BREGS>
__device__ void load_b(const T* b, unsigned (&r)[BREGS]) {
  int lane = threadIdx.x, n = lane / 4, k = lane % 4 * E;
  for (int i = 0; i < BREGS; i++) r[i] = along_k<T, E>(b + (i * 4 * E + k) * 8 + n, 8);
}
template <class T>
__device__ T* place_c(T* c, int i) {
  int lane = threadIdx.x;
  return c + (lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2;
}
#define MMA4(NAME, INSTRUCTION, T, E, K, ACC, R)                                      \
  extern "C" __global__ void NAME(const T* a, const T* b, ACC* c) {                   \
    unsigned x[4], y[2];                                                              \
    load_a<T, E, K>(a, x);                                                            \
    load_b<T, E>(b, y);                                                               \
    ACC d[4];                                                                         \
    for (int i = 0; i < 4; i++) d[i] = *place_c(c, i);                                \
    asm volatile(INSTRUCTION " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};" \
                 : "+" R(d[0]), "+" R(d[1]), "+" R(d[2]), "+" R(d[3])                 \
                 : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]), "r"(y[1])); \
    for (int i = 0; i < 4; i++) *place_c(c, i) = d[i];                                \
  }
#define MMA2(NAME, INSTRUCTION, T, E, K, ACC, R)                             \
  extern "C" __global__ void NAME(const T* a, const T* b, ACC* c) {          \
    unsigned x[2], y[1];                                                     \
    load_a<T, E, K>(a, x);                                                   \
    load_b<T, E>(b, y);                                                      \
    ACC d[4];                                                                \
    for (int i = 0; i < 4; i++) d[i] = *place_c(c, i);                       \
    asm volatile(INSTRUCTION " {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};" \
                 : "+" R(d[0]), "+" R(d[1]), "+" R(d[2]), "+" R(d[3])        \
                 : "r"(x[0]), "r"(x[1]), "r"(y[0]));                         \
    for (int i = 0; i < 4; i++) *place_c(c, i) = d[i];                       \
  }
#define SHAPE(S) "mma.sync.aligned." S ".row.col."
MMA4(f16_k16, SHAPE("m16n8k16") "f32.f16.f16.f32", __half, 2, 16, float, "f")
MMA2(f16_k8, SHAPE("m16n8k8") "f32.f16.f16.f32", __half, 2, 8, float, "f")
MMA4(bf16_k16, SHAPE("m16n8k16") "f32.bf16.bf16.f32", __nv_bfloat16, 2, 16, float, "f")
MMA2(bf16_k8, SHAPE("m16n8k8") "f32.bf16.bf16.f32", __nv_bfloat16, 2, 8, float, "f")
MMA4(tf32_k8, SHAPE("m16n8k8") "f32.tf32.tf32.f32", float, 1, 8, float, "f")
MMA2(tf32_k4, SHAPE("m16n8k4") "f32.tf32.tf32.f32", float, 1, 4, float, "f")
MMA4(s8_k32, SHAPE("m16n8k32") "s32.s8.s8.s32", signed char, 4, 32, int, "r")
MMA2(s8_k16, SHAPE("m16n8k16") "s32.s8.s8.s32", signed char, 4, 16, int, "r")
MMA4(u8_k32, SHAPE("m16n8k32") "s32.u8.u8.s32", unsigned char, 4, 32, int, "r")

extern "C" __global__ void f16_adds_f16(const __half* a, const __half* b, __half* c) {
  unsigned x[4], y[2], d[2];
  load_a<__half, 2, 16>(a, x);
  load_b<__half, 2>(b, y);
  for (int i = 0; i < 2; i++) d[i] = *(unsigned*)place_c(c, 2 * i);
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {%0,%1}, {%2,%3,%4,%5}, {%6,%7}, {%0,%1};"
      : "+r"(d[0]), "+r"(d[1])
      : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]), "r"(y[1]));
  for (int i = 0; i < 2; i++) *(unsigned*)place_c(c, 2 * i) = d[i];
}

template <class T, class ACC, int K, class LB>
__device__ void tile(const T* a, const T* b, ACC* c) {
  wmma::fragment<wmma::matrix_a, 16, 16, K, T, wmma::row_major> x;
  wmma::fragment<wmma::matrix_b, 16, 16, K, T, LB> y;
  wmma::fragment<wmma::accumulator, 16, 16, K, ACC> z;
  wmma::load_matrix_sync(x, a, K);
  wmma::load_matrix_sync(y, b, 16);
  wmma::load_matrix_sync(z, c, 16, wmma::mem_row_major);
  wmma::mma_sync(z, x, y, z);
  wmma::store_matrix_sync(c, z, 16, wmma::mem_row_major);
}
extern "C" __global__ void wmma_bf16(const __nv_bfloat16* a, const __nv_bfloat16* b, float* c) {
  tile<__nv_bfloat16, float, 16, wmma::row_major>(a, b, c);
}
extern "C" __global__ void wmma_f16_columns(const __half* a, const __half* b, __half* c) {
  tile<__half, __half, 16, wmma::col_major>(a, b, c);
}
extern "C" __global__ void wmma_s8(const signed char* a, const signed char* b, int* c) {
  tile<signed char, int, 16, wmma::row_major>(a, b, c);
}
