// The arguments of matrix products and how their tiles and results are addressed.
#pragma once
#include "product.cuh"

// Strides count elements.  Blocks are numbered batch by batch; batch number = (i0 * batch[0] + i1)
// * batch[1] + i2.
struct GemmArgs {
  i64 m, n, k;
  i64 batch[2];  // sizes of the batch axes 1 and 2
  i64 a[5];      // strides of a along m, k and the batch axes 0, 1, 2
  i64 b[5];      // of b along k, n and the batch axes
  i64 c[5];      // of c along m, n and the batch axes; 0 broadcasts
  i64 d[5];      // of d along m, n and the batch axes
  float alpha, beta;
  float* sums;  // where sums of a part of k go, as they are, instead of d; null: they are whole
};

struct GemmTile {
  i64 batch, m, n;  // batch, first row and column
};
// Tiles in bands of eight rows of tiles, so that blocks that run together share operands in the L2
// cache.
template <int BM, int BN>
DEVICE GemmTile gemm_tile(const GemmArgs& g) {
  const u32 tm = (u32)ceil_div(g.m, BM), tn = (u32)ceil_div(g.n, BN);
  const u32 batch = blockIdx.x / (tm * tn), i = blockIdx.x % (tm * tn);
  const u32 band = i / (8 * tn), first = band * 8, high = min(tm - first, 8u), rest = i % (8 * tn);
  return {batch, (i64)(first + rest % high) * BM, (i64)(rest / high) * BN};
}
DEVICE i64 batch_offset(const GemmArgs& g, const i64 (&strides)[5], i64 batch) {
  const u32 b = (u32)batch, n1 = (u32)g.batch[0], n2 = (u32)g.batch[1];
  return b / n2 / n1 * strides[2] + b / n2 % n1 * strides[3] + b % n2 * strides[4];
}

template <class A, class B>
struct Same {
  static constexpr bool value = false;
};
template <class A>
struct Same<A, A> {
  static constexpr bool value = true;
};

// Writes results; T is the type of d, C of c and bias, Acc of the sums.  WITH_C: c may be there.
template <class T, class C, class Acc, bool WITH_C = true>
struct GemmOutput {
  static constexpr bool FLOATS = Same<Acc, float>::value;
  const C *c, *bias;
  T* d;
  const GemmArgs& g;
  i64 m, n, first;
  __device__ __forceinline__ GemmOutput(const C* c_, const C* bias_, T* d_, const GemmArgs& g_,
                                        const GemmTile& at)
      : c(c_), bias(bias_), d(d_), g(g_), m(at.m), n(at.n) {
    first = batch_offset(g, g.d, at.batch);
    if (c) c += batch_offset(g, g.c, at.batch);
  }
  __device__ __forceinline__ Acc value(i64 i, i64 j, Acc x) const {
    if (g.alpha != 1.f) x = (Acc)(g.alpha * x);
    if (WITH_C && opaque(c != nullptr)) {
      const Acc y = (Acc)widen(c[i * g.c[0] + j * g.c[1]]);
      x += g.beta != 1.f ? (Acc)(g.beta * y) : y;
    }
    return bias ? x + (Acc)widen(bias[j]) : x;
  }
  // Where item (r, s) of d lies.
  __device__ __forceinline__ i64 place(i64 r, i64 s) const {
    return first + r * g.d[0] + s * g.d[1];
  }
  // (i, j) in the tile
  __device__ __forceinline__ void put(int i, int j, Acc x) const {
    const i64 r = m + i, s = n + j, at = place(r, s);
    if (r >= g.m || s >= g.n) return;
    if (FLOATS && g.sums)
      g.sums[at] = (float)x;
    else
      put_finished(d, at, value(r, s, x));
  }
  // (i, j) and (i, j + 1), j even: one store of both where that is possible
  __device__ __forceinline__ void put_pair(int i, int j, Acc x, Acc y) const {
    const i64 r = m + i, s = n + j, at = place(r, s);
    if (r >= g.m || s >= g.n) return;
    const bool two = s + 1 < g.n;
    if (FLOATS && g.sums) return store_pair(g.sums + at, (float)x, (float)y, two);
    x = through_program(value(r, s, x), at);
    if (two) y = through_program(value(r, s + 1, y), at + g.d[1]);
    if (wide_results<T>())
      store_pair(reinterpret_cast<float*>(d) + at, (float)x, (float)y, two);
    else
      store_pair(d + at, narrow<T>(x), narrow<T>(y), two);
  }
  template <class D>
  __device__ __forceinline__ void store_pair(D* to, D x, D y, bool two) const {
    struct alignas(2 * sizeof(D)) Pair {
      D x, y;
    };
    if (two && g.d[1] == 1 && reinterpret_cast<u64>(to) % sizeof(Pair) == 0) {
      *reinterpret_cast<Pair*>(to) = {x, y};
      return;
    }
    to[0] = x;
    if (two) to[g.d[1]] = y;
  }
};

// Starts the copies of the tiles that tensor cores multiply.
template <class Tile, class TA, class TB, int BM, int BN, bool AT, bool BT>
struct GemmLoad {
  static constexpr int BK = Tile::BK, E = Tile::E, TH = Tile::THREADS;
  typedef ChunkCopies<TA, AT ? BK : BM, AT ? BM / E : 4, TH> CopiesA;
  typedef ChunkCopies<TB, BT ? BN : BK, BT ? 4 : BN / E, TH> CopiesB;
  const TA* a;
  const TB* b;
  const GemmArgs& g;
  i64 m, n;  // rows of a and columns of b that are left
  bool pa, pb;
  CopiesA copies_a;
  CopiesB copies_b;
  static __device__ __forceinline__ const TA* start_a(const TA* a, const GemmArgs& g,
                                                      const GemmTile& at) {
    return a + batch_offset(g, g.a, at.batch) + at.m * g.a[0];
  }
  static __device__ __forceinline__ const TB* start_b(const TB* b, const GemmArgs& g,
                                                      const GemmTile& at) {
    return b + batch_offset(g, g.b, at.batch) + at.n * g.b[1];
  }
  __device__ __forceinline__ GemmLoad(const TA* a_, const TB* b_, const GemmArgs& g_,
                                      const GemmTile& at)
      : a(start_a(a_, g_, at)),
        b(start_b(b_, g_, at)),
        g(g_),
        m(g_.m - at.m),
        n(g_.n - at.n),
        copies_a(a, AT ? g_.a[1] : g_.a[0], AT ? BK : m, AT ? m : BK),
        copies_b(b, BT ? g_.b[1] : g_.b[0], BT ? n : BK, BT ? BK : n) {
    pa = AT ? packed_lines(a, g.a[1], g.a[0]) : packed_lines(a, g.a[0], g.a[1]);
    pb = BT ? packed_lines(b, g.b[1], g.b[0]) : packed_lines(b, g.b[0], g.b[1]);
  }
  __device__ __forceinline__ void operator()(int i, TA* as, TB* bs) const {
    const i64 k = (i64)i * BK, left = g.k - k;
    if (pa && left >= BK)
      copies_a(as, k * g.a[1]);
    else if (AT)
      copy_chunks<TA, BK, BM / E, TH>(as, a + k * g.a[1], g.a[1], g.a[0], left, m, pa);
    else
      copy_chunks<TA, BM, 4, TH>(as, a + k * g.a[1], g.a[0], g.a[1], m, left, pa);
    if (pb && left >= BK)
      copies_b(bs, k * g.b[0]);
    else if (BT)
      copy_chunks<TB, BN, 4, TH>(bs, b + k * g.b[0], g.b[1], g.b[0], n, left, pb);
    else
      copy_chunks<TB, BK, BN / E, TH>(bs, b + k * g.b[0], g.b[0], g.b[1], left, n, pb);
  }
};
