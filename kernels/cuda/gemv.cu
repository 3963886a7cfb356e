// Matrix products of at most eight rows: d = alpha * a b + beta * c + bias, bound by the reading of
// b.
#include "gemm.cuh"

// Batch b of the operands; m is at most ROWS, rows that are not there repeat the last one.
template <class T, int ROWS>
struct Rows {
  const T* a;
  const GemmArgs& g;
  __device__ __forceinline__ Rows(const T* a_, const GemmArgs& g_, i64 batch)
      : a(a_ + batch_offset(g_, g_.a, batch)), g(g_) {}
  __device__ __forceinline__ const T* operator[](int i) const {
    return a + min(i, (int)g.m - 1) * g.a[0];
  }
};

// b with neighbours along k: one warp a column.
template <class T, int ROWS>
DEVICE void along_k(const T* a, const T* b, const T* c, const T* bias, T* d, const GemmArgs& g,
                    i64 columns) {
  typedef compute_t<T> C;
  constexpr int E = Pack<T>::N;
  const i64 index = (i64)blockIdx.x * 8 + threadIdx.x / 32;
  if (index >= columns) return;
  const i64 batch = divide(index, g.n), n = index - batch * g.n;
  const int lane = threadIdx.x % 32;
  const Rows<T, ROWS> rows(a, g, batch);
  b += batch_offset(g, g.b, batch);
  const T* column = b + n * g.b[1];
  C sum[ROWS] = {};
  const bool packed = packed_lines(b, g.n > 1 ? g.b[1] : 0, g.b[0]) &&  // of all columns, or none
                      packed_lines(rows.a, ROWS > 1 ? g.a[0] : 0, g.a[1]);
  i64 k = 0;
  if (packed) {
    _Pragma("unroll 4") for (k = lane * E; k + E <= g.k; k += 32 * E) {
      const Pack<T> y = load16(column + k);
      UNROLL
      for (int i = 0; i < ROWS; i++) {
        const Pack<T> x = load16(rows[i] + k);
        UNROLL
        for (int e = 0; e < E; e++) sum[i] += widen(x.v[e]) * widen(y.v[e]);
      }
    }
    k = g.k / E * E;
  }
  for (k += lane; k < g.k; k += 32) UNROLL
  for (int i = 0; i < ROWS; i++) sum[i] += widen(rows[i][k * g.a[1]]) * widen(column[k * g.b[0]]);
  const GemmOutput<T, T, C> out(c, bias, d, g, {batch, 0, n});
  UNROLL
  for (int i = 0; i < ROWS; i++) {
    const C s = reduce_warp(sum[i], Add());
    if (lane == 0) out.put(i, 0, s);
  }
}

// b with neighbours along n: a block has 32 * V columns, V a lane; its eight warps share k, and a
// thread reads AT_ONCE rows of b before it uses them.
template <class T, int ROWS>
DEVICE void along_n(const T* a, const T* b, const T* c, const T* bias, T* d, const GemmArgs& g,
                    float* room) {
  typedef compute_t<T> C;
  constexpr int V = Pack<T>::N, LINE = 32 * V + 1, AT_ONCE = 8 / ROWS;
  const u32 blocks = (u32)ceil_div(g.n, 32 * V), batch = blockIdx.x / blocks;
  const i64 first = (i64)(blockIdx.x % blocks) * (32 * V);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const i64 n = first + lane * V;
  const Rows<T, ROWS> rows(a, g, batch);
  b += batch_offset(g, g.b, batch) + n * g.b[1];
  const bool packed = packed_lines(b, g.b[0], g.b[1]) && n + V <= g.n;
  C sum[ROWS][V] = {};
  const auto multiply = [&](i64 k, const Pack<T>& y) {
    UNROLL
    for (int i = 0; i < ROWS; i++) {
      const C x = widen(rows[i][k * g.a[1]]);
      UNROLL
      for (int v = 0; v < V; v++) sum[i][v] += x * widen(y.v[v]);
    }
  };
  i64 k = warp;
  if (packed) {
    for (; k + 8 * (AT_ONCE - 1) < g.k; k += 8 * AT_ONCE) {
      Pack<T> y[AT_ONCE];
      UNROLL
      for (int u = 0; u < AT_ONCE; u++) y[u] = load16(b + (k + 8 * u) * g.b[0]);
      UNROLL
      for (int u = 0; u < AT_ONCE; u++) multiply(k + 8 * u, y[u]);
    }
  }
  _Pragma("unroll 1") for (; k < g.k; k += 8) {
    Pack<T> y;
    UNROLL
    for (int v = 0; v < V; v++) y.v[v] = n + v < g.n ? b[k * g.b[0] + v * g.b[1]] : narrow<T>(0.f);
    multiply(k, y);
  }
  const GemmOutput<T, T, C> out(c, bias, d, g, {batch, 0, first});
  UNROLL
  for (int i = 0; i < ROWS; i++) {
    if (i) __syncthreads();  // all have read the row before
    UNROLL
    for (int v = 0; v < V; v++) room[warp * LINE + lane * V + v] = sum[i][v];
    __syncthreads();
    const int j = threadIdx.x;
    if (j >= 32 * V) continue;
    C s = 0;
    UNROLL
    for (int w = 0; w < 8; w++) s += room[w * LINE + j];
    out.put(i, j, s);
  }
}

// m is at most 8; `columns` is n times the number of batches.
template <class T>
DEVICE void rows_along_k(const T* a, const T* b, const T* c, const T* bias, T* d, const GemmArgs& g,
                         i64 columns) {
  if (g.m == 1)
    along_k<T, 1>(a, b, c, bias, d, g, columns);
  else if (g.m <= 4)
    along_k<T, 4>(a, b, c, bias, d, g, columns);
  else
    along_k<T, 8>(a, b, c, bias, d, g, columns);
}
template <class T>
DEVICE void rows_along_n(const T* a, const T* b, const T* c, const T* bias, T* d,
                         const GemmArgs& g) {
  __shared__ float room[8 * (32 * Pack<T>::N + 1)];
  if (g.m == 1)
    along_n<T, 1>(a, b, c, bias, d, g, room);
  else if (g.m <= 4)
    along_n<T, 4>(a, b, c, bias, d, g, room);
  else
    along_n<T, 8>(a, b, c, bias, d, g, room);
}

// gemv_k_*: fast where b[0] is 1; grid: ceil(columns / 8); block: 256; no dynamic shared memory.
// gemv_n_*: fast where b[1] is 1; grid: batches * ceil(n / columns of 512 bytes); block: 256; no
// dynamic shared memory.
#define GEMV(suffix, T)                                                                  \
  KERNEL(256, 2)                                                                         \
  gemv_k_##suffix(const T* a, const T* b, const T* c, const T* bias, T* d, GemmArgs g,   \
                  i64 columns) {                                                         \
    rows_along_k<T>(a, b, c, bias, d, g, columns);                                       \
  }                                                                                      \
  KERNEL(256, 2)                                                                         \
  gemv_n_##suffix(const T* a, const T* b, const T* c, const T* bias, T* d, GemmArgs g) { \
    rows_along_n<T>(a, b, c, bias, d, g);                                                \
  }
GEMV(f32, float)
GEMV(f16, f16)
GEMV(bf16, bf16)
