// Attention by FMA: tiles of 32 queries in f32, and one query a block in any type, for few queries.
#include "attention.cuh"

static constexpr int BM = 32, BN = 64, DEEP = 32;

// Two rows and four columns of a thread: rows 2 * (tid / 16) + i, columns tid % 16 + 16 * j.
struct Spot {
  int row, column;
  __device__ __forceinline__ Spot() : row(threadIdx.x / 16 * 2), column(threadIdx.x % 16) {}
};

// A tile of `lines` lines and `items` items, transposed if line and item strides of `to` say so;
// the rest is 0.
DEVICE void fetch(float* to, int to_line, int to_item, int lines, int items, const float* from,
                  i64 line, i64 item, i64 lines_left, i64 items_left) {
  for (int c = threadIdx.x; c < lines * items; c += 256) {
    const int l = c / items, i = c % items;
    const bool valid = l < lines_left && i < items_left;
    to[l * to_line + i * to_item] = valid ? from[l * line + i * item] : 0.f;
  }
}

// What the eight threads of a row know, for one of the four rows of the warp.
DEVICE float of_row(float x, int row) { return __shfl_sync(ALL_LANES, x, row % 4 * 8); }

// Scores of 32 queries and 64 keys from key j on, into s[32][BN + 1].
DEVICE void score_tile(float* s, float* qs, float* ks, const Head<float>& head, i32 row0, i32 j,
                       i32 end) {
  const AttentionArgs& a = head.a;
  const Spot at;
  float acc[2][4] = {};
  for (i32 d = 0; d < a.size; d += DEEP) {
    if (d) __syncthreads();  // all have read the part before
    fetch(qs, DEEP + 1, 1, BM, DEEP, head.q + row0 * a.q[2] + d * a.q[3], a.q[2], a.q[3],
          a.rows - row0, a.size - d);
    fetch(ks, DEEP + 1, 1, BN, DEEP, head.k + j * a.k[2] + d * a.k[3], a.k[2], a.k[3], end - j,
          a.size - d);
    __syncthreads();  // the part is there
    _Pragma("unroll 8") for (int i = 0; i < DEEP; i++) {
      const float x = qs[at.row * (DEEP + 1) + i], z = qs[(at.row + 1) * (DEEP + 1) + i];
      UNROLL
      for (int c = 0; c < 4; c++) {
        const float y = ks[(at.column + 16 * c) * (DEEP + 1) + i];
        acc[0][c] += x * y;
        acc[1][c] += z * y;
      }
    }
  }
  UNROLL
  for (int r = 0; r < 2; r++) UNROLL
  for (int c = 0; c < 4; c++)
    s[(at.row + r) * (BN + 1) + at.column + 16 * c] =
        head.score(acc[r][c], row0 + at.row + r, j + at.column + 16 * c);
}

// grid: batch * heads * ceil(rows / 32); block: 256; no dynamic shared memory.
KERNEL(256)
attention_f32(const float* q, const float* k, const float* v, const void* mask, const i64* lengths,
              float* y, AttentionArgs a) {
  __shared__ float s[BM * (BN + 1)], qs[BM * (DEEP + 1)], ks[BN * 65];
  const u32 blocks = (a.rows + BM - 1) / BM, h = blockIdx.x / blocks;
  const Head<float> head(q, k, v, mask, lengths, y, a, h / a.heads, h % a.heads);
  const i32 row0 = blockIdx.x % blocks * BM, last = min(row0 + BM, a.rows) - 1;
  const i32 end = head.end(last);
  const Spot at;
  float o[4][2][4] = {}, largest = -INFINITE,
        sum = 0.f;  // of row tid / 8, for the eight threads of it
  const i32 first = head.first(row0) / BN * BN;
  for (i32 j = first; j < end; j += BN) {
    if (j > first) __syncthreads();  // all have read the values before
    score_tile(s, qs, ks, head, row0, j, end);
    __syncthreads();  // scores are there, all have read the keys
    float* line = s + threadIdx.x / 8 * (BN + 1) + threadIdx.x % 8;
    const float before = largest;
    UNROLL
    for (int c = 0; c < BN; c += 8) largest = fmaxf(largest, line[c]);
    UNROLL
    for (int w = 1; w < 8; w *= 2) largest = fmaxf(largest, __shfl_xor_sync(ALL_LANES, largest, w));
    const float factor = rescale(before, largest);
    sum *= factor;
    UNROLL
    for (int c = 0; c < BN; c += 8) sum += line[c] = weight(line[c], largest);
    const float factors[2] = {of_row(factor, at.row), of_row(factor, at.row + 1)};
    UNROLL
    for (int part = 0; part < 4; part++) {
      if (part * 64 >= a.value_size) break;
      if (part) __syncthreads();  // all have read the part before
      fetch(ks, 65, 1, BN, 64, head.v + j * a.v[2] + part * 64 * a.v[3], a.v[2], a.v[3], end - j,
            a.value_size - part * 64);
      __syncthreads();  // weights and values are there
      UNROLL
      for (int r = 0; r < 2; r++) UNROLL
      for (int c = 0; c < 4; c++) o[part][r][c] *= factors[r];
      _Pragma("unroll 4") for (int i = 0; i < BN; i++) {
        const float x = s[at.row * (BN + 1) + i], z = s[(at.row + 1) * (BN + 1) + i];
        UNROLL
        for (int c = 0; c < 4; c++) {
          const float value = ks[i * 65 + at.column + 16 * c];
          o[part][0][c] += x * value;
          o[part][1][c] += z * value;
        }
      }
    }
  }
  UNROLL
  for (int w = 1; w < 8; w *= 2) sum += __shfl_xor_sync(ALL_LANES, sum, w);
  const float inverse = inverse_sum(sum);
  const float ends[2] = {of_row(inverse, at.row), of_row(inverse, at.row + 1)};
  UNROLL
  for (int i = 0; i < 32; i++) {
    const int r = at.row + i / 4 % 2, c = i / 8 * 64 + at.column + 16 * (i % 4);
    if (row0 + r < a.rows && c < a.value_size)
      head.y[(row0 + r) * a.y[2] + c * a.y[3]] = o[i / 8][i / 4 % 2][i % 4] * ends[i / 4 % 2];
  }
}

// ---- one query a block: eight warps share the keys, lanes the items of a key

static constexpr int WARPS = 8, ITEMS = 8;  // items a lane, at most 256 in all

template <class T>
DEVICE void attention_one(const T* q, const T* k, const T* v, const void* mask, const i64* lengths,
                          T* y, const AttentionArgs& a) {
  __shared__ float parts[WARPS][32 * ITEMS], tops[WARPS], sums[WARPS];
  const i32 i = blockIdx.x % a.rows;
  const u32 h = blockIdx.x / a.rows;
  const Head<T> head(q, k, v, mask, lengths, y, a, h / a.heads, h % a.heads);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  float query[ITEMS], o[ITEMS] = {}, largest = -INFINITE, sum = 0.f;
  UNROLL
  for (int e = 0; e < ITEMS; e++)
    query[e] = lane + 32 * e < a.size ? widen(head.q[i * a.q[2] + (lane + 32 * e) * a.q[3]]) : 0.f;
  const i32 end = head.end(i);
  for (i32 j = head.first(i) + warp; j < end; j += WARPS) {
    float x = 0.f;
    UNROLL
    for (int e = 0; e < ITEMS; e++)
      if (lane + 32 * e < a.size)
        x += query[e] * widen(head.k[j * a.k[2] + (lane + 32 * e) * a.k[3]]);
    x = head.score(reduce_warp(x, Add()), i, j);
    const float before = largest;
    largest = fmaxf(largest, x);
    const float factor = rescale(before, largest), w = weight(x, largest);
    sum = sum * factor + w;
    UNROLL
    for (int e = 0; e < ITEMS; e++)
      if (lane + 32 * e < a.value_size)
        o[e] = o[e] * factor + w * widen(head.v[j * a.v[2] + (lane + 32 * e) * a.v[3]]);
  }
  UNROLL
  for (int e = 0; e < ITEMS; e++) parts[warp][lane + 32 * e] = o[e];
  if (lane == 0) {
    tops[warp] = largest;
    sums[warp] = sum;
  }
  __syncthreads();  // the parts of all warps are there
  largest = tops[0];
  UNROLL
  for (int w = 1; w < WARPS; w++) largest = fmaxf(largest, tops[w]);
  float total = 0.f, result = 0.f;
  UNROLL
  for (int w = 0; w < WARPS; w++) {
    const float factor = rescale(tops[w], largest);
    total += sums[w] * factor;
    result += parts[w][threadIdx.x] * factor;
  }
  if ((i32)threadIdx.x < a.value_size)
    head.y[i * a.y[2] + threadIdx.x * a.y[3]] = narrow<T>(result * inverse_sum(total));
}

// grid: batch * heads * rows; block: 256; no dynamic shared memory.
#define ATTENTION_ONE(suffix, T)                                                                   \
  KERNEL(256)                                                                                      \
  attention_one_##suffix(const T* q, const T* k, const T* v, const void* mask, const i64* lengths, \
                         T* y, AttentionArgs a) {                                                  \
    attention_one<T>(q, k, v, mask, lengths, y, a);                                                \
  }
ATTENTION_ONE(f32, float)
ATTENTION_ONE(f16, f16)
ATTENTION_ONE(bf16, bf16)
