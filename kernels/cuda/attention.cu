// Attention with online softmax: tiles of queries by tensor cores or FMA, and few queries a key at
// a time.
#include "attention.cuh"

// ---- f16 and bf16: a warp has 16 queries; D: sizes of keys and values, rounded up

template <class T, int BN>
DEVICE void softmax_tile(float (&s)[BN / 8][4], float (&largest)[2], float (&sum)[2],
                         float (&factor)[2], const Head<T>& head, i32 row, i32 key, bool plain) {
  const int t = threadIdx.x % 4 * 2;
  const float before[2] = {largest[0], largest[1]};
  UNROLL
  for (int j = 0; j < BN / 8; j++) UNROLL
  for (int e = 0; e < 4; e++)
    s[j][e] = plain ? s[j][e] * head.a.scale
                    : head.score(s[j][e], row + e / 2 * 8, key + j * 8 + t + e % 2);
  UNROLL
  for (int j = 0; j < BN / 8; j++) UNROLL
  for (int e = 0; e < 4; e++) largest[e / 2] = fmaxf(largest[e / 2], s[j][e]);
  UNROLL
  for (int h = 0; h < 2; h++) {
    largest[h] = fmaxf(largest[h], __shfl_xor_sync(ALL_LANES, largest[h], 1));
    largest[h] = fmaxf(largest[h], __shfl_xor_sync(ALL_LANES, largest[h], 2));
    factor[h] = rescale(before[h], largest[h]);
    sum[h] *= factor[h];
  }
  UNROLL
  for (int j = 0; j < BN / 8; j++) UNROLL
  for (int e = 0; e < 4; e++) {
    s[j][e] = weight(s[j][e], largest[e / 2]);
    sum[e / 2] += s[j][e];
  }
}

template <class T, int D, int BM, int BN>
struct Flash {
  static constexpr int CHUNKS = D / 8, THREADS = BM * 2;
  // s = 16 queries times BN keys
  static __device__ __forceinline__ void scores(float (&s)[BN / 8][4], const T* qs, const T* ks) {
    const int lane = threadIdx.x % 32, m = threadIdx.x / 32 * 16;
    UNROLL
    for (int i = 0; i < BN / 2; i++) s[i / 4][i % 4] = 0.f;
    _Pragma("unroll 2") for (int k = 0; k < D / 16; k++) {
      u32 a[4];
      load_matrices<false>(a, qs + chunk_at<CHUNKS>(m + lane % 16, k * 2 + lane / 16) * 8);
      UNROLL
      for (int j = 0; j < BN / 16; j++) {
        u32 b[4];
        const int line = j * 16 + lane % 8 + lane / 16 * 8;
        load_matrices<false>(b, ks + chunk_at<CHUNKS>(line, k * 2 + lane / 8 % 2) * 8);
        Mma<T, T>::run(s[j * 2], a, b[0], b[1]);
        Mma<T, T>::run(s[j * 2 + 1], a, b[2], b[3]);
      }
    }
  }
  // o = o * factor + weights times values
  static __device__ __forceinline__ void weigh(float (&o)[D / 8][4], const float (&s)[BN / 8][4],
                                               const float (&factor)[2], const T* vs) {
    const int lane = threadIdx.x % 32;
    UNROLL
    for (int i = 0; i < D / 2; i++) o[i / 4][i % 4] *= factor[i / 2 % 2];
    UNROLL
    for (int k = 0; k < BN / 16; k++) {
      const float *x = s[k * 2], *z = s[k * 2 + 1];
      const u32 a[4] = {pack_pair<T>(x[0], x[1]), pack_pair<T>(x[2], x[3]),
                        pack_pair<T>(z[0], z[1]), pack_pair<T>(z[2], z[3])};
      UNROLL
      for (int j = 0; j < D / 16; j++) {
        u32 b[4];
        load_matrices<true>(b, vs + chunk_at<CHUNKS>(k * 16 + lane % 16, j * 2 + lane / 16) * 8);
        Mma<T, T>::run(o[j * 2], a, b[0], b[1]);
        Mma<T, T>::run(o[j * 2 + 1], a, b[2], b[3]);
      }
    }
  }
};

template <class T, int D, int BM, int BN>
DEVICE void attention_tiles(const T* q, const T* k, const T* v, const void* mask,
                            const i64* lengths, T* y, const AttentionArgs& a) {
  typedef Flash<T, D, BM, BN> F;
  __shared__ __align__(16) T room[(BM + 2 * BN) * D];
  T *qs = room, *ks = room + BM * D, *vs = ks + BN * D;
  const u32 blocks = (a.rows + BM - 1) / BM, h = blockIdx.x / blocks;
  const Head<T> head(q, k, v, mask, lengths, y, a, h / a.heads, h % a.heads);
  const i32 row0 = blockIdx.x % blocks * BM, last = min(row0 + BM, a.rows) - 1;
  const i32 first = head.first(row0) / BN * BN, end = head.end(last);
  const T* from = head.q + row0 * a.q[2];
  const bool packed_k = packed_lines(head.k, a.k[2], a.k[3]);
  const bool packed_v = packed_lines(head.v, a.v[2], a.v[3]);
  if (first < end)
    copy_chunks<T, BM, F::CHUNKS, F::THREADS>(qs, from, a.q[2], a.q[3], a.rows - row0, a.size,
                                              packed_lines(from, a.q[2], a.q[3]));
  float o[D / 8][4] = {}, largest[2] = {-INFINITE, -INFINITE}, sum[2] = {};
  const i32 row = row0 + threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4;
  auto fetch_keys = [&](i32 j) {
    if (j < end)
      copy_chunks<T, BN, F::CHUNKS, F::THREADS>(ks, head.k + j * a.k[2], a.k[2], a.k[3], end - j,
                                                a.size, packed_k);
    commit_async();
  };
  _Pragma("unroll 1") for (i32 j = first - BN; j < end; j += BN) {
    float s[BN / 8][4], factor[2];
    if (j >= first) {
      wait_async<0>();
      __syncthreads();  // queries and keys are there, all have read the values before
      copy_chunks<T, BN, F::CHUNKS, F::THREADS>(vs, head.v + j * a.v[2], a.v[2], a.v[3], end - j,
                                                a.value_size, packed_v);
      commit_async();
      F::scores(s, qs, ks);
      softmax_tile<T, BN>(s, largest, sum, factor, head, row, j, head.plain(row0, last, j, j + BN));
      wait_async<0>();
      __syncthreads();  // values are there, all have read the keys
    }
    fetch_keys(j + BN);
    if (j >= first) F::weigh(o, s, factor, vs);
  }
  UNROLL
  for (int e = 0; e < 2; e++) {
    sum[e] += __shfl_xor_sync(ALL_LANES, sum[e], 1);
    sum[e] = inverse_sum(sum[e] + __shfl_xor_sync(ALL_LANES, sum[e], 2));
  }
  UNROLL
  for (int i = 0; i < D / 2; i++) {
    const i32 r = row + i % 4 / 2 * 8, c = i / 4 * 8 + threadIdx.x % 4 * 2 + i % 2;
    head.put(r, c, o[i / 4][i % 4] * sum[i / 2 % 2]);
  }
}

// grid: batch * heads * ceil(rows / BM); block: BM * 2 threads; no dynamic shared memory.
#define ATTENTION(name, T, D, BM, BN)                                                  \
  KERNEL(BM * 2)                                                                       \
  name(const T* q, const T* k, const T* v, const void* mask, const i64* lengths, T* y, \
       AttentionArgs a) {                                                              \
    attention_tiles<T, D, BM, BN>(q, k, v, mask, lengths, y, a);                       \
  }
ATTENTION(attention_64_f16, f16, 64, 64, 64)
ATTENTION(attention_64_bf16, bf16, 64, 64, 64)
ATTENTION(attention_128_f16, f16, 128, 64, 64)
ATTENTION(attention_128_bf16, bf16, 128, 64, 64)
ATTENTION(attention_256_f16, f16, 256, 32, 32)
ATTENTION(attention_256_bf16, bf16, 256, 32, 32)
