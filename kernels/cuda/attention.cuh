// The arguments of attention, which keys a query sees, and how scores are scaled, capped and
// masked.
#pragma once
#include "product.cuh"

enum MaskKind { NO_MASK = 0, MASK_OF_TYPE = 1, MASK_OF_BYTES = 2, MASK_OF_FLOATS = 3 };

// Strides count items: batch, head, row, item; of mask: batch, head, query, key (0 broadcasts).
// Query i sees key j if position(i) - left <= j <= position(i) + right, with position(i) = i +
// offset; a negative left or right sets no limit, so causal is left = -1, right = 0.  Queries that
// see nothing get zeros.
struct AttentionArgs {
  i64 q[4], k[4], v[4], y[4], mask[4];
  i32 batch, heads, kv_heads, rows, keys, size, value_size;
  i32 mask_kind;  // a byte of 0 hides, floats are added
  i32 left, right, offset;
  i32 from_lengths;      // 1: offset is lengths[batch] - rows
  float scale, softcap;  // softcap 0: none
};

static constexpr float LOG2_E = 1.44269504f;  // the logarithm of e to base 2
DEVICE float power_of_2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
DEVICE float finite(float largest) { return largest == -INFINITE ? 0.f : largest; }

// With an absolute error of about 1e-7, in few instructions; NaN stays.
DEVICE float hyperbolic_tangent(float x) {
  return 1.f - __fdividef(2.f, 1.f + __expf(fminf(2.f * x, 80.f) + (x - x)));
}

// A score with its mask, both times LOG2_E; the bytes of a mask hide where they are 0.
template <class M>
DEVICE float masked_score(float x, M mask) {
  return fmaf(widen(mask), LOG2_E, x);
}
DEVICE float masked_score(float x, u8 mask) { return mask ? x : -INFINITE; }

// What a block knows about its head.
template <class T>
struct Head {
  const T *q, *k, *v, *mask;
  T* y;
  const AttentionArgs& a;
  i32 keys, offset;
  __device__ __forceinline__ Head(const T* q_, const T* k_, const T* v_, const void* mask_,
                                  const i64* lengths, T* y_, const AttentionArgs& a_, u32 b, u32 h)
      : a(a_) {
    const u32 kv = h / (a.heads / a.kv_heads);
    q = q_ + b * a.q[0] + h * a.q[1];
    k = k_ + b * a.k[0] + kv * a.k[1];
    v = v_ + b * a.v[0] + kv * a.v[1];
    y = y_ + b * a.y[0] + h * a.y[1];
    const i64 m = b * a.mask[0] + h * a.mask[1];
    const int bytes = a.mask_kind == MASK_OF_BYTES    ? 1
                      : a.mask_kind == MASK_OF_FLOATS ? 4
                                                      : sizeof(T);
    mask = reinterpret_cast<const T*>(reinterpret_cast<const u8*>(mask_) + m * bytes);
    keys = a.keys;
    offset = a.offset;
    if (lengths) keys = (i32)min((i64)keys, lengths[b]);
    if (lengths && a.from_lengths) offset = (i32)lengths[b] - a.rows;
  }
  // Keys that query i sees: from first(i) to before end(i).
  __device__ __forceinline__ i32 first(i32 i) const {
    return a.left < 0 ? 0 : max(i + offset - a.left, 0);
  }
  __device__ __forceinline__ i32 end(i32 i) const {
    return a.right < 0 ? keys : min(keys, i + offset + a.right + 1);
  }
  // Whether queries `row` to `last` see all keys from j to before `to`, by scores that are products
  // times the scale.
  __device__ __forceinline__ bool plain(i32 row, i32 last, i32 j, i32 to) const {
    return a.mask_kind == NO_MASK && a.softcap == 0.f && j >= first(last) && to <= end(row);
  }
  // Item c of the result of query i, of the head that comes `further` behind.
  __device__ __forceinline__ void put(i32 i, i32 c, float x, i32 further = 0) const {
    if (i < a.rows && c < a.value_size)
      y[further * a.y[1] + i * a.y[2] + c * a.y[3]] = narrow<T>(x);
  }
  // The same of two items, c even.
  __device__ __forceinline__ void put_pair(i32 i, i32 c, float x, float z) const {
    if (i >= a.rows || c >= a.value_size) return;
    T* const to = y + i * a.y[2] + c * a.y[3];
    if (a.y[3] == 1 && c + 1 < a.value_size && (reinterpret_cast<u64>(to) & 3) == 0) {
      *reinterpret_cast<u32*>(to) = pack_pair<T>(x, z);
      return;
    }
    to[0] = narrow<T>(x);
    if (c + 1 < a.value_size) to[a.y[3]] = narrow<T>(z);
  }
  // The score of query i and key j, whose product is x, of the head that comes `further` behind.
  __device__ __forceinline__ float score(float x, i32 i, i32 j, i32 further = 0) const {
    x *= a.scale;
    if (opaque(a.softcap != 0.f)) x = a.softcap * hyperbolic_tangent(__fdividef(x, a.softcap));
    const bool seen = i < a.rows && j < end(i) && j >= first(i);
    const i32 kind = opaque(seen ? a.mask_kind : NO_MASK);
    if (kind != NO_MASK) {
      const i64 at = further * a.mask[1] + i * a.mask[2] + j * a.mask[3];
      if (kind == MASK_OF_TYPE)
        x += widen(mask[at]);
      else if (kind == MASK_OF_FLOATS)
        x += reinterpret_cast<const float*>(mask)[at];
      else if (reinterpret_cast<const u8*>(mask)[at] == 0)
        x = -INFINITE;
    }
    return seen ? x : -INFINITE;
  }
};

// exp(x - largest); 0 for all of a row that has no largest yet.
DEVICE float weight(float x, float largest) {
  return __expf(x - (largest == -INFINITE ? 0.f : largest));
}
// What sums that go with an earlier largest score are to be multiplied by.
DEVICE float rescale(float before, float now) { return before == now ? 1.f : __expf(before - now); }
DEVICE float inverse_sum(float sum) { return sum == 0.f ? 0.f : 1.f / sum; }
