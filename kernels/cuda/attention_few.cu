// Attention of few queries: a block has some that share keys and values, and a run of keys; lanes
// share the items of a key. What the blocks of a query found is joined afterwards.
#include "attention.cuh"

static constexpr int WARPS = 8;

// Each query has `parts` blocks, with `keys` keys each. `found` gets for each of them the weighted
// sum of values, then the largest score and the sum of weights.
struct Parts {
  float* found;
  i32 parts, keys;
};

// Items `item` to the next sixteen bytes of line j, zeros behind the ends of lines and items.
template <class T, bool PACKED>
DEVICE Pack<T> load_items(const T* lines, const i64 (&strides)[4], i32 j, i32 lines_end, i32 item,
                          i32 size) {
  Pack<T> p{};
  const T* from = lines + j * strides[2] + item * strides[3];
  if (PACKED) {
    if (j < lines_end && item < size) p = load16(from);
    return p;
  }
  UNROLL
  for (int e = 0; e < Pack<T>::N; e++)
    if (j < lines_end && item + e < size) p.v[e] = from[e * strides[3]];
  return p;
}

// The queries of a block: up to N of those of all heads that share one of keys, head by head.
struct Queries {
  i32 first, count;
  __device__ __forceinline__ i32 head(i32 n, const AttentionArgs& a) const {
    return (first + n) / a.rows;
  }
  __device__ __forceinline__ i32 row(i32 n, const AttentionArgs& a) const {
    return (first + n) % a.rows;
  }
};

// N queries; a lane has CHUNKS times 16 bytes of items. Scores are to base 2.
template <class T, int LANES, int CHUNKS, int N>
struct Few {
  static constexpr int E = Pack<T>::N, D = LANES * CHUNKS * E, GROUPS = WARPS * 32 / LANES;
  const Head<T>& head;  // the first of those that share keys
  const Queries queries;
  float query[N][CHUNKS][E], o[N][CHUNKS][E], top[N], sum[N];

  static __device__ __forceinline__ i32 item(int c) {
    return (threadIdx.x % LANES + c * LANES) * E;
  }
  __device__ __forceinline__ Few(const Head<T>& head_, const Queries& queries_)
      : head(head_), queries(queries_) {
    const AttentionArgs& a = head.a;
    UNROLL
    for (int n = 0; n < N; n++) {
      top[n] = -INFINITE;
      sum[n] = 0.f;
      UNROLL
      for (int c = 0; c < CHUNKS; c++) {
        const i32 i = queries.row(n, a);
        const Pack<T> p = load_items<T, false>(head.q + queries.head(n, a) * a.q[1], a.q, i,
                                               n < queries.count ? i + 1 : 0, item(c), a.size);
        UNROLL
        for (int e = 0; e < E; e++) {
          query[n][c][e] = widen(p.v[e]);
          o[n][c][e] = 0.f;
        }
      }
    }
  }
  __device__ __forceinline__ void raise(int n, float to) {
    const float factor = power_of_2(top[n] - finite(to));
    top[n] = to;
    sum[n] *= factor;
    UNROLL
    for (int e = 0; e < CHUNKS * E; e++) o[n][e / E][e % E] *= factor;
  }
  // The score of query n and key j of a product.
  __device__ __forceinline__ float score(float x, int n, i32 j, i32 to) const {
    if (n >= queries.count || j >= to) return -INFINITE;
    return LOG2_E * head.score(x, queries.row(n, head.a), j, queries.head(n, head.a));
  }
  // Goes through keys, AHEAD of them at once.
  template <bool PACKED, int AHEAD>
  __device__ __forceinline__ void look(i32 from, i32 to) {
    static_assert(N * AHEAD <= LANES, "a lane makes one score");
    const AttentionArgs& a = head.a;
    _Pragma("unroll 1") for (i32 j0 = from; j0 < to; j0 += GROUPS * AHEAD) {
      const i32 j = j0 + threadIdx.x / LANES;
      Pack<T> keys[AHEAD][CHUNKS], values[AHEAD][CHUNKS];
      UNROLL
      for (int u = 0; u < AHEAD * CHUNKS; u++)
        keys[u / CHUNKS][u % CHUNKS] = load_items<T, PACKED>(head.k, a.k, j + u / CHUNKS * GROUPS,
                                                             to, item(u % CHUNKS), a.size);
      UNROLL
      for (int u = 0; u < AHEAD * CHUNKS; u++)
        values[u / CHUNKS][u % CHUNKS] = load_items<T, PACKED>(head.v, a.v, j + u / CHUNKS * GROUPS,
                                                               to, item(u % CHUNKS), a.value_size);
      const int own = threadIdx.x % (N * AHEAD);  // the lane makes the score of one key and query
      float mine = 0.f;
      UNROLL
      for (int u = 0; u < AHEAD * N; u++) {
        float x = 0.f;
        UNROLL
        for (int e = 0; e < CHUNKS * E; e++)
          x += query[u / AHEAD][e / E][e % E] * widen(keys[u % AHEAD][e / E].v[e % E]);
        UNROLL
        for (int w = LANES / 2; w; w >>= 1) x += __shfl_xor_sync(ALL_LANES, x, w);
        if (u == own) mine = x;
      }
      mine = score(mine, own / AHEAD, j + own % AHEAD * GROUPS, to);
      float largest = mine;
      UNROLL
      for (int w = 1; w < AHEAD; w *= 2)
        largest = fmaxf(largest, __shfl_xor_sync(ALL_LANES, largest, w));
      UNROLL
      for (int n = 0; n < N; n++) {
        raise(n, fmaxf(top[n], __shfl_sync(ALL_LANES, largest, n * AHEAD, N * AHEAD)));
        UNROLL
        for (int u = 0; u < AHEAD; u++) {
          const float x = __shfl_sync(ALL_LANES, mine, n * AHEAD + u, N * AHEAD);
          const float w = power_of_2(x - finite(top[n]));
          sum[n] += w;
          UNROLL
          for (int e = 0; e < CHUNKS * E; e++)
            o[n][e / E][e % E] += w * widen(values[u][e / E].v[e % E]);
        }
      }
    }
  }
  // What the lanes of a warp have found, in those of its first group of lanes.
  __device__ __forceinline__ void gather() {
    UNROLL
    for (int n = 0; n < N; n++) UNROLL
    for (int w = LANES; w < 32; w *= 2) {
      raise(n, fmaxf(top[n], __shfl_xor_sync(ALL_LANES, top[n], w)));
      sum[n] += __shfl_xor_sync(ALL_LANES, sum[n], w);
      UNROLL
      for (int e = 0; e < CHUNKS * E; e++)
        o[n][e / E][e % E] += __shfl_xor_sync(ALL_LANES, o[n][e / E][e % E], w);
    }
  }
};

// What the warps of a block have found.
template <int N, int D>
struct Room {
  float results[WARPS][N][D], tops[WARPS][N], sums[WARPS][N];
};

// The result of query n, from all warps.
template <class T, int N, int D>
DEVICE void finish_query(const Room<N, D>& room, int n, const Head<T>& head, const Queries& queries,
                         const Parts& parts, u32 kv_head, u32 part) {
  const AttentionArgs& a = head.a;
  float top = room.tops[0][n], sum = 0.f, result = 0.f;
  UNROLL
  for (int w = 1; w < WARPS; w++) top = fmaxf(top, room.tops[w][n]);
  UNROLL
  for (int w = 0; w < WARPS; w++) {
    const float factor = power_of_2(room.tops[w][n] - finite(top));
    sum += room.sums[w][n] * factor;
    if (threadIdx.x < D) result += room.results[w][n][threadIdx.x] * factor;
  }
  if (parts.parts == 1) {
    head.put(queries.row(n, a), threadIdx.x, result * inverse_sum(sum), queries.head(n, a));
    return;
  }
  const i64 line = (i64)kv_head * (a.heads / a.kv_heads) * a.rows + queries.first + n;
  float* const found = parts.found + (line * parts.parts + part) * (a.value_size + 2);
  if (threadIdx.x < a.value_size) found[threadIdx.x] = result;
  if (threadIdx.x == 0) found[a.value_size] = top, found[a.value_size + 1] = sum;
}

template <class T, int LANES, int CHUNKS, int N, int AHEAD>
DEVICE void attention_few(const T* q, const T* k, const T* v, const void* mask, const i64* lengths,
                          T* y, const AttentionArgs& a, const Parts& parts) {
  typedef Few<T, LANES, CHUNKS, N> F;
  __shared__ Room<N, F::D> room;
  const i32 sharing = a.heads / a.kv_heads, all = sharing * a.rows, runs = (all + N - 1) / N;
  const u32 part = blockIdx.x % parts.parts, run = blockIdx.x / parts.parts % runs;
  const u32 kv_head = blockIdx.x / parts.parts / runs;
  const Queries queries{(i32)run * N, min(N, all - (i32)run * N)};
  const Head<T> head(q, k, v, mask, lengths, y, a, kv_head / a.kv_heads,
                     kv_head % a.kv_heads * sharing);
  // Keys that one of the queries sees; others are left out by their scores.
  const bool whole = queries.head(0, a) != queries.head(queries.count - 1, a);
  const i32 low = whole ? 0 : queries.row(0, a);
  const i32 high = whole ? a.rows - 1 : queries.row(queries.count - 1, a);
  const i32 from = max(head.first(low), (i32)part * parts.keys);
  const i32 to = min(head.end(high), (i32)(part + 1) * parts.keys);
  F few(head, queries);
  if (packed_lines(head.k, a.k[2], a.k[3]) && packed_lines(head.v, a.v[2], a.v[3]) &&
      a.size % F::E == 0 && a.value_size % F::E == 0)
    few.template look<true, AHEAD>(from, to);
  else
    few.template look<false, 1>(from, to);
  few.gather();
  const int warp = threadIdx.x / 32;
  UNROLL
  for (int n = 0; n < N; n++) {
    if (threadIdx.x % 32 < LANES) UNROLL
    for (int e = 0; e < CHUNKS * F::E; e++)
      room.results[warp][n][F::item(e / F::E) + e % F::E] = few.o[n][e / F::E][e % F::E];
    if (threadIdx.x % 32 == 0) room.tops[warp][n] = few.top[n], room.sums[warp][n] = few.sum[n];
  }
  __syncthreads();  // what all warps have found is there
  _Pragma("unroll 1") for (int n = 0; n < queries.count; n++)
      finish_query(room, n, head, queries, parts, kv_head, part);
}

// Results of all parts of a query.
template <class T>
DEVICE void join_parts(T* y, const AttentionArgs& a, const float* found, i32 parts) {
  const i32 i = blockIdx.x % a.rows, pitch = a.value_size + 2;
  const u32 h = blockIdx.x / a.rows;
  const Head<T> head(nullptr, nullptr, nullptr, nullptr, nullptr, y, a, h / a.heads, h % a.heads);
  found += (i64)blockIdx.x * parts * pitch;
  const i32 c = min((i32)threadIdx.x, a.value_size - 1);
  float top = -INFINITE, sum = 0.f, result = 0.f;
  _Pragma("unroll 4") for (i32 p = 0; p < parts; p++) top =
      fmaxf(top, found[p * pitch + a.value_size]);
  _Pragma("unroll 4") for (i32 p = 0; p < parts; p++) {
    const float factor = power_of_2(found[p * pitch + a.value_size] - finite(top));
    sum += found[p * pitch + a.value_size + 1] * factor;
    result += found[p * pitch + c] * factor;
  }
  head.put(i, threadIdx.x, result * inverse_sum(sum));
}

// grid: batch * kv_heads * ceil(heads / kv_heads * rows / N) * parts; block: 256; no dynamic shared
// memory.
#define ATTENTION_FEW(name, T, LANES, CHUNKS, N, AHEAD)                                            \
  KERNEL(256, N == 1 ? 2 : 1)                                                                      \
  name(const T* q, const T* k, const T* v, const void* mask, const i64* lengths, T* y,             \
       AttentionArgs a, float* found, i32 parts, i32 keys) {                                       \
    attention_few<T, LANES, CHUNKS, N, AHEAD>(q, k, v, mask, lengths, y, a, {found, parts, keys}); \
  }
ATTENTION_FEW(attention_few_64_f32, float, 16, 1, 1, 4)
ATTENTION_FEW(attention_few_128_f32, float, 32, 1, 1, 4)
ATTENTION_FEW(attention_few_256_f32, float, 32, 2, 1, 4)
ATTENTION_FEW(attention_few_64_f16, f16, 8, 1, 1, 4)
ATTENTION_FEW(attention_few_128_f16, f16, 16, 1, 1, 4)
ATTENTION_FEW(attention_few_256_f16, f16, 32, 1, 1, 4)
ATTENTION_FEW(attention_few_64_bf16, bf16, 8, 1, 1, 4)
ATTENTION_FEW(attention_few_128_bf16, bf16, 16, 1, 1, 4)
ATTENTION_FEW(attention_few_256_bf16, bf16, 32, 1, 1, 4)
ATTENTION_FEW(attention_shared_64_f32, float, 16, 1, 4, 2)
ATTENTION_FEW(attention_shared_128_f32, float, 32, 1, 4, 2)
ATTENTION_FEW(attention_shared_256_f32, float, 32, 2, 4, 1)
ATTENTION_FEW(attention_shared_64_f16, f16, 8, 1, 4, 2)
ATTENTION_FEW(attention_shared_128_f16, f16, 16, 1, 4, 2)
ATTENTION_FEW(attention_shared_256_f16, f16, 32, 1, 4, 2)
ATTENTION_FEW(attention_shared_64_bf16, bf16, 8, 1, 4, 2)
ATTENTION_FEW(attention_shared_128_bf16, bf16, 16, 1, 4, 2)
ATTENTION_FEW(attention_shared_256_bf16, bf16, 32, 1, 4, 2)

// grid: batch * heads * rows; block: 256; no dynamic shared memory.
#define ATTENTION_JOIN(suffix, T)                                                             \
  KERNEL(256) attention_join_##suffix(T* y, AttentionArgs a, const float* found, i32 parts) { \
    join_parts<T>(y, a, found, parts);                                                        \
  }
ATTENTION_JOIN(f32, float)
ATTENTION_JOIN(f16, f16)
ATTENTION_JOIN(bf16, bf16)
