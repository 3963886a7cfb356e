// Attention by FMA: tiles of queries in f32.
#include "attention.cuh"

// ---- f32: D is the size of keys and values, rounded up

// Parts of keys and values, PART items of BN of them, in the order in which they are multiplied.
template <int BN, int PART, int THREADS>
struct Parts {
  const Head<float>& head;
  const i32 end;
  const bool packed_k, packed_v;
  i32 j, item = 0;  // of the part that is fetched next
  bool values = false;
  __device__ __forceinline__ Parts(const Head<float>& h, i32 first, i32 end_)
      : head(h),
        end(end_),
        packed_k(packed_lines(h.k, h.a.k[2], h.a.k[3])),
        packed_v(packed_lines(h.v, h.a.v[2], h.a.v[3])),
        j(first) {}
  __device__ __forceinline__ void fetch(float* to) {
    const AttentionArgs& a = head.a;
    const i64 line = values ? a.v[2] : a.k[2], step = values ? a.v[3] : a.k[3];
    const i32 size = values ? a.value_size : a.size;
    if (j < end)
      copy_tile<float, BN, PART, 4, THREADS>(
          to, (values ? head.v : head.k) + j * line + item * step, line, step, end - j, size - item,
          values ? packed_v : packed_k);
    commit_async();
    item += PART;
    if (item < size) return;
    item = 0;
    if (values) j += BN;
    values = !values;
  }
};

// A block has BM queries, a thread four of them: ty + i * BM / 4, with keys tx + 8 * j and runs of
// four items of values from 4 * tx + 32 * c.
template <int D>
struct Fma {
  static constexpr int BM = D == 64 ? 64 : 32, BN = 32, PART = D == 256 ? 32 : 64, THREADS = BM * 2;
  static constexpr int LQ = D + 4, LK = PART + 4, LS = BN + 8, WIDTH = PART / 32;
  float s[4][4], o[4][D / 32][4], largest[4], sum[4], factor[4];

  static __device__ __forceinline__ int row(int i) { return threadIdx.x / 8 + i * (BM / 4); }
  static __device__ __forceinline__ int tx() { return threadIdx.x % 8; }

  __device__ __forceinline__ void clear() {
    UNROLL
    for (int i = 0; i < 4; i++) {
      largest[i] = -INFINITE;
      sum[i] = 0.f;
      UNROLL
      for (int c = 0; c < D / 8; c++) o[i][c / 4][c % 4] = 0.f;
    }
  }
  __device__ __forceinline__ void clear_scores() {
    UNROLL
    for (int i = 0; i < 16; i++) s[i / 4][i % 4] = 0.f;
  }
  // s += queries times keys, PART items of each.
  __device__ __forceinline__ void score(const float* qs, const float* ks) {
    _Pragma("unroll 4") for (int d = 0; d < PART; d += 4) {
      Pack<float> q[4];
      UNROLL
      for (int i = 0; i < 4; i++) q[i] = load16(qs + row(i) * LQ + d);
      UNROLL
      for (int j = 0; j < 4; j++) {
        const Pack<float> k = load16(ks + (tx() + 8 * j) * LK + d);
        UNROLL
        for (int i = 0; i < 16; i++) s[i / 4][j] += q[i / 4].v[i % 4] * k.v[i % 4];
      }
    }
  }
  // Scores become weights, in `room`, too.
  __device__ __forceinline__ void weigh(float* room, const Head<float>& head, i32 row0, i32 key,
                                        bool plain) {
    UNROLL
    for (int i = 0; i < 4; i++) {
      const float before = largest[i];
      UNROLL
      for (int j = 0; j < 4; j++) {
        s[i][j] =
            plain ? s[i][j] * head.a.scale : head.score(s[i][j], row0 + row(i), key + tx() + 8 * j);
        largest[i] = fmaxf(largest[i], s[i][j]);
      }
      UNROLL
      for (int w = 1; w < 8; w *= 2)
        largest[i] = fmaxf(largest[i], __shfl_xor_sync(ALL_LANES, largest[i], w));
      factor[i] = rescale(before, largest[i]);
      sum[i] *= factor[i];
      UNROLL
      for (int j = 0; j < 4; j++) {
        const float w = weight(s[i][j], largest[i]);
        sum[i] += w;
        room[row(i) * LS + tx() + 8 * j] = w;
      }
    }
  }
  // PART items of the results: o = o * factor + weights times values.
  __device__ __forceinline__ void add(const float* room, const float* vs, int part) {
    UNROLL
    for (int i = 0; i < 16 * WIDTH; i++)
      o[i / (4 * WIDTH)][part * WIDTH + i / 4 % WIDTH][i % 4] *= factor[i / (4 * WIDTH)];
    _Pragma("unroll 2") for (int j = 0; j < BN; j += 4) {
      Pack<float> w[4];
      UNROLL
      for (int i = 0; i < 4; i++) w[i] = load16(room + row(i) * LS + j);
      UNROLL
      for (int e = 0; e < 4; e++) UNROLL
      for (int c = 0; c < WIDTH; c++) {
        const Pack<float> v = load16(vs + (j + e) * LK + 4 * tx() + 32 * c);
        UNROLL
        for (int i = 0; i < 16; i++)
          o[i / 4][part * WIDTH + c][i % 4] += w[i / 4].v[e] * v.v[i % 4];
      }
    }
  }
  __device__ __forceinline__ void store(const Head<float>& head, i32 row0) {
    UNROLL
    for (int i = 0; i < 4; i++) {
      UNROLL
      for (int w = 1; w < 8; w *= 2) sum[i] += __shfl_xor_sync(ALL_LANES, sum[i], w);
      const float inverse = inverse_sum(sum[i]);
      UNROLL
      for (int c = 0; c < D / 8; c++)
        head.put(row0 + row(i), c / 4 * 32 + 4 * tx() + c % 4, o[i][c / 4][c % 4] * inverse);
    }
  }
};

template <int D>
DEVICE void attention_fma(const float* q, const float* k, const float* v, const void* mask,
                          const i64* lengths, float* y, const AttentionArgs& a) {
  typedef Fma<D> F;
  constexpr int BM = F::BM, BN = F::BN, PART = F::PART, STAGE = BN * F::LK;
  __shared__ __align__(16) float qs[BM * F::LQ], stages[2 * STAGE], room[BM * F::LS];
  const u32 blocks = (a.rows + BM - 1) / BM, h = blockIdx.x / blocks;
  const Head<float> head(q, k, v, mask, lengths, y, a, h / a.heads, h % a.heads);
  const i32 row0 = blockIdx.x % blocks * BM, last = min(row0 + BM, a.rows) - 1;
  const i32 first = head.first(row0) / BN * BN, end = head.end(last);
  const float* from = head.q + row0 * a.q[2];
  if (first < end)
    copy_tile<float, BM, D, 4, F::THREADS>(qs, from, a.q[2], a.q[3], a.rows - row0, a.size,
                                           packed_lines(from, a.q[2], a.q[3]));
  Parts<BN, PART, F::THREADS> parts(head, first, end);
  int now = 1;
  parts.fetch(stages);
  auto next = [&]() -> const float* {
    now ^= 1;
    wait_async<0>();
    __syncthreads();  // a part is there, weights as well, and all have read the part before
    parts.fetch(stages + (now ^ 1) * STAGE);
    return stages + now * STAGE;
  };
  F tile;
  tile.clear();
  _Pragma("unroll 1") for (i32 j = first; j < end; j += BN) {
    tile.clear_scores();
    i32 d = 0;
    do tile.score(qs + d, next());
    while ((d += PART) < a.size);
    tile.weigh(room, head, row0, j, head.plain(row0, last, j, j + BN));
    UNROLL
    for (int part = 0; part < D / PART; part++) {
      if (part * PART >= a.value_size) break;
      tile.add(room, next(), part);
    }
  }
  tile.store(head, row0);
}

// grid: batch * heads * ceil(rows / BM); block: BM * 2 threads; no dynamic shared memory.
#define ATTENTION_FMA(D)                                                                \
  KERNEL(Fma<D>::THREADS, 3)                                                            \
  attention_##D##_f32(const float* q, const float* k, const float* v, const void* mask, \
                      const i64* lengths, float* y, AttentionArgs a) {                  \
    attention_fma<D>(q, k, v, mask, lengths, y, a);                                     \
  }
ATTENTION_FMA(64)
ATTENTION_FMA(128)
ATTENTION_FMA(256)
