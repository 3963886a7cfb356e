// Products with weights of 4 or 8 bits in blocks, and rotary embeddings.
#include "device.cuh"

// Weights of MatMulNBits: b [n, blocks, block * bits / 8], scales [n, blocks], zeros null or packed
// [n, ceil(blocks * bits / 8)]; low bits first; without zeros 2^(bits - 1) is subtracted.  block: a
// power of two of at least 16.
struct NbitsArgs {
  i64 m, n, k;
  i32 block, bits;
};
struct Weights {
  const u8 *b, *zeros;
  i32 bits, blocks, bytes;  // blocks a column, bytes a block
  __device__ __forceinline__ Weights(const u8* b_, const u8* zeros_, const NbitsArgs& a)
      : b(b_), zeros(zeros_), bits(a.bits) {
    blocks = (i32)ceil_div(a.k, a.block);
    bytes = a.block * bits / 8;
  }
  __device__ __forceinline__ i32 zero(i64 n, i32 block) const {
    if (!zeros) return 1 << (bits - 1);
    if (bits == 8) return zeros[n * blocks + block];
    return zeros[n * ((blocks + 1) / 2) + block / 2] >> (block % 2 * 4) & 15;
  }
  // Eight weights of column n from k on, k a multiple of eight.
  __device__ __forceinline__ void eight(i32 (&w)[8], i64 n, i32 k) const {
    const u8* p = b + n * blocks * bytes + (i64)k * bits / 8;
    if (bits == 4) {
      const u32 word = *reinterpret_cast<const u32*>(p);
      UNROLL
      for (int e = 0; e < 8; e++) w[e] = word >> (4 * e) & 15;
    } else {
      const uint2 words = *reinterpret_cast<const uint2*>(p);
      UNROLL
      for (int e = 0; e < 8; e++) w[e] = (e < 4 ? words.x : words.y) >> (e % 4 * 8) & 255;
    }
  }
};

// A warp a column; lanes take eight weights at a time, for ROWS rows of a.
template <class T, int ROWS>
DEVICE void nbits_rows(const T* a, const u8* b, const T* scales, const u8* zeros, const T* bias,
                       T* y, const NbitsArgs& args) {
  const i64 n = first_item() / 32;
  if (n >= args.n) return;
  const int lane = threadIdx.x % 32;
  const Weights weights(b, zeros, args);
  float sum[ROWS] = {};
  for (i32 k = lane * 8; k < args.k; k += 256) {
    i32 w[8];
    weights.eight(w, n, k);
    const i32 block = k / args.block, zero = weights.zero(n, block);
    const float scale = widen(scales[n * weights.blocks + block]);
    UNROLL
    for (int r = 0; r < ROWS; r++) {
      const T* row = a + min(r, (i32)args.m - 1) * args.k + k;
      float part = 0.f;
      UNROLL
      for (int e = 0; e < 8; e++)
        if (k + e < args.k) part += widen(row[e]) * (float)(w[e] - zero);
      sum[r] += part * scale;
    }
  }
  UNROLL
  for (int r = 0; r < ROWS; r++) {
    const float s = reduce_warp(sum[r], Add());
    if (lane == 0 && r < args.m) y[r * args.n + n] = narrow<T>(bias ? s + widen(bias[n]) : s);
  }
}
template <class T>
DEVICE void nbits_product(const T* a, const u8* b, const T* scales, const u8* zeros, const T* bias,
                          T* y, const NbitsArgs& args) {
  if (args.m == 1)
    nbits_rows<T, 1>(a, b, scales, zeros, bias, y, args);
  else if (args.m <= 4)
    nbits_rows<T, 4>(a, b, scales, zeros, bias, y, args);
  else
    nbits_rows<T, 8>(a, b, scales, zeros, bias, y, args);
}
// All weights as [n, k], for products of many rows by gemm with b[0] = 1.
template <class T>
DEVICE void nbits_widen(const u8* b, const T* scales, const u8* zeros, T* y,
                        const NbitsArgs& args) {
  const Weights weights(b, zeros, args);
  const i64 pieces = ceil_div(args.k, 8);
  for (i64 i = first_item(); i < pieces * args.n; i += item_step()) {
    const i64 n = divide(i, pieces);
    const i32 k = (i32)(i - n * pieces) * 8, block = k / args.block;
    i32 w[8];
    weights.eight(w, n, k);
    const float scale = widen(scales[n * weights.blocks + block]);
    const i32 zero = weights.zero(n, block);
    UNROLL
    for (int e = 0; e < 8; e++)
      if (k + e < args.k) y[n * args.k + k + e] = narrow<T>((float)(w[e] - zero) * scale);
  }
}

// x, y: [batch, heads, rows, size] by strides; tables: [positions, half]; positions: null (row
// number + first), [1] (the first, flat = 1) or [batch, rows]. A position that is not
// below `limit` gives `failure` to `status`, unless that is null.
struct RotaryArgs {
  i64 x[4], y[4];  // batch, head, row, item
  i64 batch, heads, rows, size, half;
  i32 interleaved, flat;
  i64 limit, failure;
};
template <class T>
DEVICE void rotate(const T* x, const T* cosines, const T* sines, const i64* positions, T* y,
                   i64* status, const RotaryArgs& a) {
  const i64 rest = a.size - a.half, total = a.batch * a.heads * a.rows * rest;
  for (i64 i = first_item(); i < total; i += item_step()) {
    const i64 line = divide(i, rest), plane = divide(line, a.rows), b = divide(plane, a.heads);
    const i64 item = i - line * rest, row = line - plane * a.rows, h = plane - b * a.heads;
    const T* from = x + b * a.x[0] + h * a.x[1] + row * a.x[2];
    T* to = y + b * a.y[0] + h * a.y[1] + row * a.y[2];
    if (item >= a.half) {  // behind the pairs nothing is rotated
      to[(item + a.half) * a.y[3]] = from[(item + a.half) * a.x[3]];
      continue;
    }
    const i64 p = !positions ? row : a.flat ? positions[0] + row : positions[b * a.rows + row];
    if (status && (p < 0 || p >= a.limit)) {
      atomicMax(reinterpret_cast<u64*>(status), (u64)a.failure);
      continue;
    }
    const float c = widen(cosines[p * a.half + item]), s = widen(sines[p * a.half + item]);
    const i64 u = a.interleaved ? 2 * item : item, v = a.interleaved ? u + 1 : item + a.half;
    const float xu = widen(from[u * a.x[3]]), xv = widen(from[v * a.x[3]]);
    to[u * a.y[3]] = narrow<T>(xu * c - xv * s);
    to[v * a.y[3]] = narrow<T>(xv * c + xu * s);
  }
}

// matmul_nbits_*: m <= 8, b and zeros aligned to 8 bytes; grid: ceil(n / 8); block: 256.
// widen_nbits_*, rotary_embedding_*: grid: any; block: 256.  No dynamic shared memory.
#define DECODE(suffix, T)                                                                         \
  KERNEL(256, 1)                                                                                  \
  matmul_nbits_##suffix(const T* a, const u8* b, const T* scales, const u8* zeros, const T* bias, \
                        T* y, NbitsArgs args) {                                                   \
    nbits_product<T>(a, b, scales, zeros, bias, y, args);                                         \
  }                                                                                               \
  KERNEL(256)                                                                                     \
  widen_nbits_##suffix(const u8* b, const T* scales, const u8* zeros, T* y, NbitsArgs args) {     \
    nbits_widen<T>(b, scales, zeros, y, args);                                                    \
  }                                                                                               \
  KERNEL(256)                                                                                     \
  rotary_embedding_##suffix(const T* x, const T* cosines, const T* sines, const i64* positions,   \
                            T* y, i64* status, RotaryArgs a) {                                    \
    rotate<T>(x, cosines, sines, positions, y, status, a);                                        \
  }
DECODE(f32, float)
DECODE(f16, f16)
DECODE(bf16, bf16)
