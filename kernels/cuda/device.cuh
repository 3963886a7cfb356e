// Types, conversions, asynchronous copies, tensor-core products and reductions that all kernels
// share.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

typedef signed char s8;
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned u32;
typedef int i32;
typedef long long i64;
typedef unsigned long long u64;
typedef float f32;
typedef double f64;
typedef __half f16;
typedef __nv_bfloat16 bf16;

#define DEVICE static __device__ __forceinline__
#define KERNEL(...) extern "C" __global__ void __launch_bounds__(__VA_ARGS__)  // threads, blocks
#define UNROLL _Pragma("unroll")
static constexpr u32 ALL_LANES = 0xffffffffu;
#define INFINITE __int_as_float(0x7f800000)

// ---- conversions: the type that a kernel computes in, and back with one rounding

template <class T>
struct Compute {
  typedef T type;
};
template <>
struct Compute<f16> {
  typedef float type;
};
template <>
struct Compute<bf16> {
  typedef float type;
};
template <class T>
using compute_t = typename Compute<T>::type;

template <class T>
DEVICE T widen(T x) {
  return x;
}
DEVICE float widen(f16 x) { return __half2float(x); }
DEVICE float widen(bf16 x) { return __bfloat162float(x); }

template <class T, class C>
struct Narrow {
  static __device__ __forceinline__ T of(C x) { return (T)x; }
};
template <class C>
struct Narrow<f16, C> {
  static __device__ __forceinline__ f16 of(C x) { return __float2half_rn((float)x); }
};
template <class C>
struct Narrow<bf16, C> {
  static __device__ __forceinline__ bf16 of(C x) { return __float2bfloat16_rn((float)x); }
};
template <class T, class C>
DEVICE T narrow(C x) {
  return Narrow<T, C>::of(x);
}

// Item `at` of a result, where it is made. These are moves, and the host writes the program that
// follows the operator over the one in the middle; the number of the item is for it.
#define PROGRAM(C, letter, bits)                                                          \
  DEVICE C through_program(C x, i64 at) {                                                 \
    C y;                                                                                  \
    asm("{\n.reg .b64 %%program_at;\n.reg .b" bits                                        \
        " %%program_in, %%program_out;\n"                                                 \
        "mov.b64 %%program_at, %2;\nmov.b" bits                                           \
        " %%program_in, %1;\n"                                                            \
        "mov.b" bits " %%program_out, %%program_in;\nmov.b" bits " %0, %%program_out;\n}" \
        : "=" letter(y)                                                                   \
        : letter(x), "l"(at));                                                            \
    return y;                                                                             \
  }
PROGRAM(float, "f", "32")
PROGRAM(i32, "r", "32")
PROGRAM(double, "d", "64")
PROGRAM(i64, "l", "64")
// The same as it is stored, with one rounding.
template <class T, class C>
DEVICE T finished(C x, i64 at) {
  return narrow<T>(through_program(x, at));
}
// Whether results of 16 bits are stored as the floats that they were before: the host writes a 1 in
// place of the 0.
template <class T>
DEVICE bool wide_results() {
  if (sizeof(T) != 2) return false;
  i32 wide;
  asm("{\n.reg .b32 %%program_wide;\nmov.b32 %%program_wide, 0;\nmov.b32 %0, %%program_wide;\n}"
      : "=r"(wide));
  return wide != 0;
}
// Stores item `at` of the results that begin at d.
template <class T, class C>
DEVICE void put_finished(T* d, i64 at, C x) {
  const C y = through_program(x, at);
  if (wide_results<T>())
    reinterpret_cast<float*>(d)[at] = (float)y;
  else
    d[at] = narrow<T>(y);
}

// ---- sixteen bytes at once

template <class T>
struct alignas(16) Pack {
  static constexpr int N = 16 / sizeof(T);
  T v[N];
};
template <class T>
DEVICE Pack<T> load16(const T* p) {
  Pack<T> r;
  *reinterpret_cast<uint4*>(&r) = *reinterpret_cast<const uint4*>(p);
  return r;
}
template <class T>
DEVICE void store16(T* p, const Pack<T>& v) {
  *reinterpret_cast<uint4*>(p) = *reinterpret_cast<const uint4*>(&v);
}
DEVICE bool aligned16(const void* p) { return (reinterpret_cast<u64>(p) & 15) == 0; }
// Whether lines of stride `line` from p, items one beside the other, can be read 16 bytes at once.
template <class T>
DEVICE bool packed_lines(const T* p, i64 line, i64 item) {
  return item == 1 && aligned16(p) && line % Pack<T>::N == 0;
}

// Quotient of non-negative numbers: 32-bit where they fit, else bit by bit (a 64-bit division is a
// call and spills).
DEVICE i64 divide(i64 a, i64 b) {
  if ((((u64)a | (u64)b) >> 32) == 0) return (u32)a / (u32)b;
  u64 quotient = 0, rest = 0;
  _Pragma("unroll 1") for (int bit = 62; bit >= 0; bit--) {
    rest = rest << 1 | ((u64)a >> bit & 1);
    if (rest >= (u64)b) {
      rest -= (u64)b;
      quotient |= 1ull << bit;
    }
  }
  return (i64)quotient;
}
DEVICE i64 ceil_div(i64 a, i64 b) { return divide(a + b - 1, b); }
DEVICE int clamp_int(i64 x, int low, int high) { return x < low ? low : x > high ? high : (int)x; }
// x, of which the compiler knows nothing: it makes no copy of the code for each of its values, and
// keeps it rather than compute it again.
DEVICE i32 opaque(i32 x) {
  i32 r;
  asm volatile("mov.b32 %0, %1;" : "=r"(r) : "r"(x));
  return r;
}
DEVICE i64 first_item() { return (i64)blockIdx.x * blockDim.x + threadIdx.x; }
DEVICE i64 item_step() { return (i64)gridDim.x * blockDim.x; }

// ---- cp.async, ldmatrix, mma.sync

DEVICE u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }
// Copies `valid` bytes (0 to BYTES) and fills the rest with zeros.
template <int BYTES>
DEVICE void copy_async(void* to, const void* from, int valid) {
  if (BYTES == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)),
                 "l"(from), "r"(valid)
                 : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %3, %2;" ::"r"(shared_address(to)),
                 "l"(from), "r"(valid), "n"(BYTES)
                 : "memory");
}
DEVICE void copy_async16(u32 to, const void* from, int valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(valid)
               : "memory");
}
DEVICE void copy_async16(u32 to, const void* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}
DEVICE void commit_async() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int PENDING>
DEVICE void wait_async() {
  asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

// Four 8x8 matrices of 16-bit items; lane i gives the address of row i % 8 of matrix i / 8.
template <bool TRANSPOSED>
DEVICE void load_matrices(u32 (&r)[4], u32 shared) {
  if (TRANSPOSED)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared)
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared)
                 : "memory");
}
template <bool TRANSPOSED>
DEVICE void load_matrices(u32 (&r)[4], const void* p) {
  load_matrices<TRANSPOSED>(r, shared_address(p));
}

#define MMA_FLOAT(shape_types)                                          \
  asm volatile("mma.sync.aligned." shape_types                          \
               " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};" \
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])         \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1))
#define MMA_INT(shape_types)                                            \
  asm volatile("mma.sync.aligned." shape_types                          \
               " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};" \
               : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])         \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1))

// d[16x8] += a[16xK] b[Kx8]; K is 32 bytes of A and B.  Lane 4g + t holds d at rows g, g + 8 and
// columns 2t, 2t + 1.
template <class A, class B>
struct Mma;
template <>
struct Mma<f16, f16> {
  static __device__ __forceinline__ void run(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    MMA_FLOAT("m16n8k16.row.col.f32.f16.f16.f32");
  }
};
template <>
struct Mma<bf16, bf16> {
  static __device__ __forceinline__ void run(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    MMA_FLOAT("m16n8k16.row.col.f32.bf16.bf16.f32");
  }
};
template <>
struct Mma<float, float> {  // tf32
  static __device__ __forceinline__ void run(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    MMA_FLOAT("m16n8k8.row.col.f32.tf32.tf32.f32");
  }
};
template <>
struct Mma<s8, s8> {
  static __device__ __forceinline__ void run(int (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    MMA_INT("m16n8k32.row.col.s32.s8.s8.s32");
  }
};
template <>
struct Mma<u8, s8> {
  static __device__ __forceinline__ void run(int (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    MMA_INT("m16n8k32.row.col.s32.u8.s8.s32");
  }
};
template <>
struct Mma<s8, u8> {
  static __device__ __forceinline__ void run(int (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    MMA_INT("m16n8k32.row.col.s32.s8.u8.s32");
  }
};
template <>
struct Mma<u8, u8> {
  static __device__ __forceinline__ void run(int (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    MMA_INT("m16n8k32.row.col.s32.u8.u8.s32");
  }
};
DEVICE u32 to_tf32(float x) {
  u32 r;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(x));
  return r;
}

// Two floats as two 16-bit values in one word, the first one low.
template <class T>
DEVICE u32 pack_pair(float a, float b) {
  T x = narrow<T>(a), y = narrow<T>(b);
  return (u32) * reinterpret_cast<u16*>(&x) | (u32) * reinterpret_cast<u16*>(&y) << 16;
}

// ---- reductions over a warp or a block; every thread gets the result, in a fixed order of
// operations

struct Add {
  template <class T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Multiply {
  template <class T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return a * b;
  }
};
struct Largest {  // NaN if one is
  template <class T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return a > b || a != a ? a : b;
  }
};
struct Smallest {
  template <class T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return a < b || a != a ? a : b;
  }
};
template <int LANES = 32, class T, class F>  // LANES: neighbours that share a result
DEVICE T reduce_warp(T v, F f) {
  UNROLL
  for (int o = LANES / 2; o; o >>= 1) v = f(v, __shfl_xor_sync(ALL_LANES, v, o));
  return v;
}
// `room`: one item for each warp, at most 32; free to be used again after the next barrier.
template <class T, class F>
DEVICE T reduce_block(T v, F f, T identity, T* room) {
  const int lane = threadIdx.x & 31, warps = (blockDim.x + 31) >> 5;
  v = reduce_warp(v, f);
  if (warps == 1) return v;
  if (lane == 0) room[threadIdx.x >> 5] = v;
  __syncthreads();
  return reduce_warp(lane < warps ? room[lane] : identity, f);
}
