// Attention with online softmax by tensor cores, for f16 and bf16.
#include "attention.cuh"

// LINES lines of D items from line j on go to shared memory; those from `end` on are zeros. Places
// are made anew of `opaque` numbers each time: registers have no room for them.
template <class T, int D, int LINES, int THREADS, bool GENERAL>
DEVICE void copy_lines(T* to, const T* lines, const i64 (&strides)[4], i32 j, i32 end, i32 size) {
  constexpr int CHUNKS = D / 8, STEP = THREADS / CHUNKS;
  if (GENERAL && !packed_lines(lines, strides[2], strides[3])) {
    copy_chunks<T, LINES, CHUNKS, THREADS>(to, lines + j * strides[2], strides[2], strides[3],
                                           end - j, size, false);
    return;
  }
  const int thread = opaque(threadIdx.x), at = thread / CHUNKS, q = thread % CHUNKS;
  const int valid = clamp_int(size - q * 8, 0, 8) * 2;
  const T* from = lines + (j + at) * strides[2] + q * 8;
  _Pragma("unroll 1") for (int i = 0; i < LINES / STEP; i++) {
    copy_async16(shared_address(to) + chunk_at<CHUNKS>(at + i * STEP, q) * 16, from,
                 j + at + i * STEP < end ? valid : 0);
    from += STEP * strides[2];
  }
}

// A warp has MT * 16 queries and goes through BN keys at once.
template <class T, int D, int MT, int BN, bool GENERAL>
struct Flash {
  static constexpr int STEPS = D / 16;
  float s[MT][BN / 8][4], o[MT][D / 8][4], largest[MT][2], sum[MT][2];

  __device__ __forceinline__ void clear() {
    UNROLL
    for (int i = 0; i < MT; i++) {
      UNROLL
      for (int e = 0; e < 2; e++) largest[i][e] = -INFINITE, sum[i][e] = 0.f;
      UNROLL
      for (int e = 0; e < D / 2; e++) o[i][e / 4][e % 4] = 0.f;
    }
  }
  // The first query of a lane.
  static __device__ __forceinline__ i32 row(i32 row0) {
    const int thread = opaque(threadIdx.x);
    return row0 + thread / 32 * (MT * 16) + thread % 32 / 4;
  }
  // Addresses of what a lane reads first; the chunk of step k lies at address ^ (k * 32).
  static __device__ __forceinline__ u32 place(const T* tile, int line, int half) {
    return shared_address(tile) + line * (D * 2) + (half ^ (line & 7)) * 16;
  }
  static __device__ __forceinline__ u32 query_place(const T* queries) {
    const int thread = opaque(threadIdx.x), lane = thread % 32;
    return place(queries, thread / 32 * (MT * 16) + lane % 16, lane / 16);
  }
  static __device__ __forceinline__ void load_queries(u32 (&a)[MT][4], u32 at, int k) {
    UNROLL
    for (int i = 0; i < MT; i++) load_matrices<false>(a[i], (at ^ (k * 32)) + i * 16 * D * 2);
  }
  // s = queries times keys
  __device__ __forceinline__ void scores(const T* queries, const T* keys) {
    const int lane = opaque(threadIdx.x) % 32;
    const u32 mine = query_place(queries);
    const u32 at = place(keys, lane % 8 + lane / 16 * 8, lane / 8 % 2);
    UNROLL
    for (int i = 0; i < MT * BN / 2; i++) s[i / (BN / 2)][i / 4 % (BN / 8)][i % 4] = 0.f;
    UNROLL
    for (int k = 0; k < STEPS; k++) {
      u32 a[MT][4];
      load_queries(a, mine, k);
      UNROLL
      for (int j = 0; j < BN / 16; j++) {
        u32 b[4];
        load_matrices<false>(b, (at ^ (k * 32)) + j * 16 * D * 2);
        UNROLL
        for (int i = 0; i < MT; i++) {
          Mma<T, T>::run(s[i][j * 2], a[i], b[0], b[1]);
          Mma<T, T>::run(s[i][j * 2 + 1], a[i], b[2], b[3]);
        }
      }
    }
  }
  // What a mask makes of the scores of lines of 8 from `x` on; `from` and `to` are what is seen.
  template <class M>
  static __device__ __forceinline__ void add_mask(float (&x)[BN / 8][4], int half, const M* mask,
                                                  i64 step, i32 from, i32 to) {
    UNROLL
    for (int e = 0; e < BN / 4; e++) {
      const i32 c = e / 2 * 8 + e % 2;
      if (c >= from && c < to)
        x[e / 2][half * 2 + e % 2] = masked_score(x[e / 2][half * 2 + e % 2], mask[c * step]);
    }
  }
  template <class M>
  __device__ __forceinline__ void add_mask(const Head<T>& head, int i, i32 r, i32 key, i32 from,
                                           i32 to) {
    const i64 step = head.a.mask[3];
    const M* mask = reinterpret_cast<const M*>(head.mask) + r * head.a.mask[2] + key * step;
    if (step == 1)
      add_mask(s[i / 2], i % 2, mask, 1, from, to);
    else
      add_mask(s[i / 2], i % 2, mask, step, from, to);
  }
  // Scores times LOG2_E, from products: scaled, capped, masked. `whole`: all keys are seen.
  __device__ __forceinline__ void mask(const Head<T>& head, i32 row, i32 key, bool whole) {
    const AttentionArgs& a = head.a;
    const float scale = a.scale * LOG2_E, cap = a.softcap * LOG2_E;
    UNROLL
    for (int i = 0; i < MT * BN / 2; i++) s[i / (BN / 2)][i / 4 % (BN / 8)][i % 4] *= scale;
    if (GENERAL && a.softcap != 0.f) {
      UNROLL
      for (int i = 0; i < MT * BN / 2; i++) {
        float& x = s[i / (BN / 2)][i / 4 % (BN / 8)][i % 4];
        x = cap * hyperbolic_tangent(__fdividef(x, cap));
      }
    }
    const i32 t = key + opaque(threadIdx.x) % 4 * 2;
    UNROLL
    for (int i = 0; i < MT * 2; i++) {
      const i32 r = row + i * 8, from = head.first(r) - t, to = r < a.rows ? head.end(r) - t : -t;
      if (GENERAL && a.mask_kind == MASK_OF_TYPE) add_mask<T>(head, i, r, t, from, to);
      if (GENERAL && a.mask_kind == MASK_OF_BYTES) add_mask<u8>(head, i, r, t, from, to);
      if (GENERAL && a.mask_kind == MASK_OF_FLOATS) add_mask<float>(head, i, r, t, from, to);
      if (whole) continue;
      UNROLL
      for (int e = 0; e < BN / 4; e++) {
        const i32 c = e / 2 * 8 + e % 2;
        if (c < from || c >= to) s[i / 2][e / 2][i % 2 * 2 + e % 2] = -INFINITE;
      }
    }
  }
  // The largest scores so far, of scores that are s * scale; results are rescaled to them.
  __device__ __forceinline__ void raise(float scale) {
    float factor[MT][2];
    bool raised = false;
    UNROLL
    for (int i = 0; i < MT; i++) UNROLL
    for (int e = 0; e < 2; e++) {
      float top = fmaxf(s[i][0][e * 2], s[i][0][e * 2 + 1]);
      UNROLL
      for (int j = 1; j < BN / 8; j++) top = fmaxf(top, fmaxf(s[i][j][e * 2], s[i][j][e * 2 + 1]));
      top = fmaxf(top, __shfl_xor_sync(ALL_LANES, top, 1));
      top = fmaxf(top, __shfl_xor_sync(ALL_LANES, top, 2));
      const float before = largest[i][e];
      largest[i][e] = fmaxf(before, top * scale);
      factor[i][e] = power_of_2(before - finite(largest[i][e]));
      raised = raised || largest[i][e] != before;
    }
    if (!__any_sync(ALL_LANES, raised)) return;
    UNROLL
    for (int i = 0; i < MT; i++) UNROLL
    for (int e = 0; e < 2; e++) {
      sum[i][e] *= factor[i][e];
      UNROLL
      for (int j = 0; j < D / 8; j++) {
        o[i][j][e * 2] *= factor[i][e];
        o[i][j][e * 2 + 1] *= factor[i][e];
      }
    }
  }
  // o += weights times values
  __device__ __forceinline__ void weigh(const T* values, float scale) {
    const int lane = opaque(threadIdx.x) % 32;
    const u32 at = place(values, lane % 16, lane / 16);
    float base[MT][2];
    UNROLL
    for (int i = 0; i < MT * 2; i++) base[i / 2][i % 2] = -finite(largest[i / 2][i % 2]);
    UNROLL
    for (int k = 0; k < BN / 16; k++) {
      u32 a[MT][4];
      UNROLL
      for (int i = 0; i < MT; i++) UNROLL
      for (int e = 0; e < 4; e++) {
        float* x = s[i][k * 2 + e / 2] + e % 2 * 2;
        x[0] = power_of_2(fmaf(x[0], scale, base[i][e % 2]));
        x[1] = power_of_2(fmaf(x[1], scale, base[i][e % 2]));
        sum[i][e % 2] += x[0] + x[1];
        a[i][e] = pack_pair<T>(x[0], x[1]);
      }
      UNROLL
      for (int j = 0; j < D / 16; j++) {
        u32 b[4];
        load_matrices<true>(b, (at ^ (j * 32)) + k * 16 * D * 2);
        UNROLL
        for (int i = 0; i < MT; i++) {
          Mma<T, T>::run(o[i][j * 2], a[i], b[0], b[1]);
          Mma<T, T>::run(o[i][j * 2 + 1], a[i], b[2], b[3]);
        }
      }
    }
  }
  __device__ __forceinline__ void store(const Head<T>& head, i32 row) {
    UNROLL
    for (int i = 0; i < MT; i++) UNROLL
    for (int e = 0; e < 2; e++) {
      float total = sum[i][e];
      total += __shfl_xor_sync(ALL_LANES, total, 1);
      total = inverse_sum(total + __shfl_xor_sync(ALL_LANES, total, 2));
      UNROLL
      for (int j = 0; j < D / 8; j++)
        head.put_pair(row + i * 16 + e * 8, j * 8 + threadIdx.x % 4 * 2, o[i][j][e * 2] * total,
                      o[i][j][e * 2 + 1] * total);
    }
  }
};

// WARPS warps share tiles of BN keys and values.
template <class T, int D, int MT, int WARPS, int BN, bool GENERAL>
struct Block {
  typedef Flash<T, D, MT, BN, GENERAL> F;
  static constexpr int THREADS = WARPS * 32, BM = WARPS * MT * 16, ITEMS = (BM + 2 * BN) * D;

  // What a warp has to do with keys j to j + BN.
  struct Sight {
    bool seen = true, whole = true;
    __device__ __forceinline__ Sight(const Head<T>& head, i32 row0, i32 j) {
      const i32 first = row0 + opaque(threadIdx.x) / 32 * (MT * 16);
      const i32 last = min(first + MT * 16, head.a.rows) - 1;
      seen = first <= last && j + BN > head.first(first) && j < head.end(last);
      whole = j >= head.first(last) && j + BN <= head.end(first);
    }
    __device__ __forceinline__ Sight() {}
  };

  static __device__ __forceinline__ void run(T* queries, const Head<T>& head) {
    const AttentionArgs& a = head.a;
    const u32 blocks = (a.rows + BM - 1) / BM;
    const i32 row0 = (blocks - 1 - blockIdx.x % blocks) * BM, last = min(row0 + BM, a.rows) - 1;
    const i32 first = head.first(row0) / BN * BN, end = head.end(last);
    const i32 plain_from = head.first(last), plain_to = GENERAL ? 0 : head.end(row0);
    T *const keys = queries + BM * D, *const values = keys + BN * D;
    auto fetch_keys = [&](i32 j) {
      if (j < end) copy_lines<T, D, BN, THREADS, GENERAL>(keys, head.k, a.k, j, end, a.size);
      commit_async();
    };
    if (first < end)
      copy_lines<T, D, BM, THREADS, GENERAL>(queries, head.q, a.q, row0, a.rows, a.size);
    fetch_keys(first);
    F f;
    f.clear();
    _Pragma("unroll 1") for (i32 j = first; j < end; j += BN) {
      wait_async<0>();
      __syncthreads();  // queries and keys are there, all have read the values before
      copy_lines<T, D, BN, THREADS, GENERAL>(values, head.v, a.v, j, end, a.value_size);
      commit_async();
      const bool plain = j >= plain_from && j + BN <= plain_to;
      const Sight sight = plain ? Sight() : Sight(head, row0, j);
      float scale = a.scale * LOG2_E;
      if (sight.seen) {
        f.scores(queries, keys);
        if (GENERAL || !sight.whole) {
          f.mask(head, F::row(row0), j, GENERAL && sight.whole);
          scale = 1.f;
        }
        f.raise(scale);
      }
      wait_async<0>();
      __syncthreads();  // the values are there, all have read the keys
      fetch_keys(j + BN);
      if (sight.seen) f.weigh(values, scale);
    }
    f.store(head, F::row(row0));
  }
};

// Shared memory of a block: dynamic where it is more than a kernel may declare.
template <class T, int ITEMS>
DEVICE T* shared_room() {
  if constexpr (ITEMS * sizeof(T) > 48 * 1024) {
    extern __shared__ __align__(512) u8 bytes[];
    return reinterpret_cast<T*>(bytes);
  } else {
    __shared__ __align__(512) T room[ITEMS];
    return room;
  }
}

// grid: batch * heads * ceil(rows / B::BM); block: WARPS * 32; dynamic shared memory:
// B::ITEMS * 2 bytes where these are more than 48 KiB, else none.
#define ATTENTION(name, T, D, MT, WARPS, BN, GENERAL, BLOCKS)                          \
  KERNEL(WARPS * 32, BLOCKS)                                                           \
  name(const T* q, const T* k, const T* v, const void* mask, const i64* lengths, T* y, \
       AttentionArgs a) {                                                              \
    typedef Block<T, D, MT, WARPS, BN, GENERAL> B;                                     \
    const u32 h = blockIdx.x / ((a.rows + B::BM - 1) / B::BM);                         \
    B::run(shared_room<T, B::ITEMS>(),                                                 \
           Head<T>(q, k, v, mask, lengths, y, a, h / a.heads, h % a.heads));           \
  }
#define ATTENTIONS(T)                                             \
  ATTENTION(attention_64_##T, T, 64, 2, 4, 112, false, 2)         \
  ATTENTION(attention_general_64_##T, T, 64, 1, 8, 32, true, 1)   \
  ATTENTION(attention_128_##T, T, 128, 2, 4, 48, false, 2)        \
  ATTENTION(attention_general_128_##T, T, 128, 1, 8, 64, true, 1) \
  ATTENTION(attention_256_##T, T, 256, 1, 2, 32, false, 2)        \
  ATTENTION(attention_general_256_##T, T, 256, 1, 2, 32, true, 2)
ATTENTIONS(f16)
ATTENTIONS(bf16)
