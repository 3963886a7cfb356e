// Layer, RMS, group, instance and batch normalization; sums in f32.
#include "rows.cuh"

// y = (v - mean) / sqrt(variance + epsilon) * scale + bias with v = x + residual + add; all but x
// and y may be null. rms: neither mean nor its subtraction.  Row r of residual is r %
// residual_rows.  T: of what is added up, V: of the rest, no wider.
template <class T, class V>
struct NormArgs {
  const T *x, *residual, *add;
  const V *scale, *bias;
  V* y;
  T* sum;                 // receives v
  float *mean, *inverse;  // one a row
  i64 rows, n, residual_rows;
  float epsilon;
  i32 rms;
};

template <class T>
struct NormRow {
  const T *x, *residual, *add;
  template <class V>
  __device__ __forceinline__ NormRow(const NormArgs<T, V>& a, i64 row)
      : x(a.x + row * a.n), residual(nullptr), add(a.add) {
    if (a.residual)
      residual = a.residual + (row - divide(row, a.residual_rows) * a.residual_rows) * a.n;
  }
};

// Whether all arrays can be read and written in packs.
template <class T, class V>
DEVICE bool packed_norm(const NormArgs<T, V>& a) {
  bool packed = packed_rows(a.y, a.n);
  const void* others[] = {a.x, a.residual, a.add, a.scale, a.bias, a.sum};  // null is aligned
  UNROLL
  for (const void* one : others) packed = packed && aligned16(one);
  return packed;
}

// What is left to do for items of a row once its mean and spread are known.
template <int E, class T, class V>
DEVICE void finish_items(const NormArgs<T, V>& a, i64 row, i64 i, float (&v)[E], float mean,
                         float inverse) {
  float scale[E], bias[E];
  if (a.scale) read_items<E>(a.scale + i, scale);
  if (a.bias) read_items<E>(a.bias + i, bias);
  UNROLL
  for (int e = 0; e < E; e++) {
    v[e] = (v[e] - mean) * inverse;
    if (a.scale) v[e] *= scale[e];
    if (a.bias) v[e] += bias[e];
  }
  write_items<E>(a.y + row * a.n + i, v);
}
template <class T, class V>
DEVICE void keep_statistics(const NormArgs<T, V>& a, i64 row, float mean, float inverse) {
  if (a.mean) a.mean[row] = mean;
  if (a.inverse) a.inverse[row] = inverse;
}

// Rows of x alone, of which a thread holds PACKS times what makes a pack of y; n = 0: no row.
template <int LANES, int PACKS, class T, class V>
DEVICE void norm_held(const NormArgs<T, V>& a, i64 row, int n, float* room) {
  constexpr int E = Pack<V>::N, EACH = Pack<T>::N;
  const int first = row_lane<LANES>() * E, step = LANES * E;
  Pack<T> held[PACKS][E / EACH];
  UNROLL
  for (int q = 0; q < PACKS; q++) {
    if (first + q * step >= n) continue;
    UNROLL
    for (int p = 0; p < E / EACH; p++)
      held[q][p] = load16(a.x + row * a.n + first + q * step + p * EACH);
  }
  auto each = [&](auto use) {  // use(v) for each item
    UNROLL
    for (int q = 0; q < PACKS; q++) {
      if (first + q * step >= n) continue;
      UNROLL
      for (int e = 0; e < E; e++) use(widen(held[q][e / EACH].v[e % EACH]));
    }
  };
  float total = 0.f, squares = 0.f;
  each([&](float v) { total += v; });
  const float mean = a.rms ? 0.f : reduce_row<LANES>(total, Add(), 0.f, room) / a.n;
  each([&](float v) { squares += (v - mean) * (v - mean); });
  const float variance = reduce_row<LANES>(squares, Add(), 0.f, room + 32) / a.n;
  const float inverse = 1.f / sqrtf(variance + a.epsilon);
  if (first == 0 && n > 0) keep_statistics(a, row, mean, inverse);
  UNROLL
  for (int q = 0; q < PACKS; q++) {
    if (first + q * step >= n) continue;
    float v[E];
    UNROLL
    for (int e = 0; e < E; e++) v[e] = widen(held[q][e / EACH].v[e % EACH]);
    finish_items(a, row, first + q * step, v, mean, inverse);
  }
}

// Mean of items, or zero, and the sum of their squared distances from it.
struct Moments {
  float count, mean, squares;
  __device__ __forceinline__ Moments merged(const Moments& other) const {
    const float all = count + other.count;
    const float part = all > 0.f ? __fdividef(other.count, all) : 0.f;
    const float apart = other.mean - mean;
    return {all, mean + apart * part, squares + other.squares + apart * (apart * (count * part))};
  }
};
template <int E>
DEVICE Moments moments_of(const float (&v)[E], bool from_zero = false) {
  Moments m = {(float)E, 0.f, 0.f};
  UNROLL
  for (int e = 0; e < E; e++) m.mean += v[e];
  m.mean = from_zero ? 0.f : m.mean / E;
  UNROLL
  for (int e = 0; e < E; e++) m.squares += (v[e] - m.mean) * (v[e] - m.mean);
  return m;
}
template <int LANES>
DEVICE Moments merge_lanes(Moments m) {
  UNROLL
  for (int o = LANES / 2; o; o >>= 1)
    m = m.merged({__shfl_xor_sync(ALL_LANES, m.count, o), __shfl_xor_sync(ALL_LANES, m.mean, o),
                  __shfl_xor_sync(ALL_LANES, m.squares, o)});
  return m;
}
// Of the LANES threads of a row; `room`: three lines of 32.
template <int LANES>
DEVICE Moments merge_row(Moments m, float* room) {
  m = merge_lanes<(LANES < 32 ? LANES : 32)>(m);
  if (LANES <= 32) return m;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  if (lane == 0) {
    room[warp] = m.count;
    room[32 + warp] = m.mean;
    room[64 + warp] = m.squares;
  }
  __syncthreads();
  Moments of_warp = {0.f, 0.f, 0.f};
  if (lane < warps) of_warp = {room[lane], room[32 + lane], room[64 + lane]};
  return merge_lanes<32>(of_warp);
}

// Rows of any length, with all that is added to them, are read twice.
template <int LANES, int E, class T, class V>
DEVICE void norm_long(const NormArgs<T, V>& a, i64 row, i64 n, float* room) {
  constexpr int AT_ONCE = E > Pack<T>::N ? 1 : 2;
  const NormRow<T> items(a, row);
  auto each = [&](auto use) {
    _Pragma("unroll AT_ONCE") for (i64 i = row_lane<LANES>() * E; i < n; i += LANES * E) {
      float v[E], other[E];
      read_items<E>(items.x + i, v);
      if (items.residual) {
        read_items<E>(items.residual + i, other);
        UNROLL
        for (int e = 0; e < E; e++) v[e] += other[e];
      }
      if (items.add) {
        read_items<E>(items.add + i, other);
        UNROLL
        for (int e = 0; e < E; e++) v[e] += other[e];
      }
      use(v, i);
    }
  };
  Moments m = {0.f, 0.f, 0.f};
  each([&](const float (&v)[E], i64) { m = m.merged(moments_of(v, a.rms)); });
  m = merge_row<LANES>(m, room);
  const float inverse = 1.f / sqrtf(m.squares / a.n + a.epsilon);
  if (row_lane<LANES>() == 0 && n > 0) keep_statistics(a, row, m.mean, inverse);
  each([&](float (&v)[E], i64 i) {
    if (a.sum) write_items<E>(a.sum + row * a.n + i, v);
    finish_items(a, row, i, v, m.mean, inverse);
  });
}

// Rows that can be held, of x alone.
template <int LANES, class T, class V>
DEVICE void norm_row(const NormArgs<T, V>& a, i64 row, float* room) {
  constexpr int E = Pack<V>::N;
  const int n = (int)a.n;
  if (!packed_norm(a))
    norm_long<LANES, 1>(a, row, n, room);
  else if (n <= 8 * LANES)
    norm_held<LANES, 8 / E>(a, row, n, room);
  else if (n <= 16 * LANES)
    norm_held<LANES, 16 / E>(a, row, n, room);
  else
    norm_held<LANES, HELD / E>(a, row, n, room);
}
// Rows of at most 256 items, several a warp.
template <class T, class V>
DEVICE void norm_few(const NormArgs<T, V>& a) {
  constexpr int E = Pack<V>::N;
  with_few_lanes(a.n, [&](auto lanes) {
    constexpr int L = decltype(lanes)::COUNT;
    const i64 row = row_index<L>();
    const int n = row < a.rows ? (int)a.n : 0;  // all lanes of a warp take part in its shuffles
    if (packed_norm(a))
      norm_held<L, 8 / E>(a, row, n, nullptr);
    else
      norm_long<L, 1>(a, row, n, nullptr);
  });
}

// Arguments as in NormArgs, one by one.
// norm_few_*, norm_short_*, norm_*: neither residual, add nor sum.
// norm_few_*: n <= 256; grid: ceil(rows * lanes / 256), lanes 4, 8, 16, 32 for n <= 32, 64, 128,
// 256; block: 256.
// norm_short_*: n <= 1024; grid: ceil(rows / 8); block: 256.
// norm_*: n <= 8192; grid: rows; block: 256.
// norm_long_*: any n; grid: rows; block: 512.  No dynamic shared memory.
#define NORM_PARAMETERS(T, V)                                                               \
  const T *x, const T *residual, const T *add, const V *scale, const V *bias, V *y, T *sum, \
      float *mean, float *inverse, i64 rows, i64 n, i64 residual_rows, float epsilon, i32 rms
#define NORM_ARGS(T, V)                                                                        \
  NormArgs<T, V> {                                                                             \
    x, residual, add, scale, bias, y, sum, mean, inverse, rows, n, residual_rows, epsilon, rms \
  }
#define NORM(suffix, T, V, BLOCKS)                                                            \
  KERNEL(256, BLOCKS) norm_few_##suffix(NORM_PARAMETERS(T, V)) { norm_few(NORM_ARGS(T, V)); } \
  KERNEL(256, BLOCKS) norm_short_##suffix(NORM_PARAMETERS(T, V)) {                            \
    const i64 row = row_index<32>();                                                          \
    if (row < rows) norm_row<32>(NORM_ARGS(T, V), row, nullptr);                              \
  }                                                                                           \
  KERNEL(256, BLOCKS) norm_##suffix(NORM_PARAMETERS(T, V)) {                                  \
    __shared__ float room[96];                                                                \
    norm_row<256>(NORM_ARGS(T, V), blockIdx.x, room);                                         \
  }                                                                                           \
  KERNEL(512, 2) norm_long_##suffix(NORM_PARAMETERS(T, V)) {                                  \
    __shared__ float room[96];                                                                \
    if (packed_norm(NORM_ARGS(T, V)))                                                         \
      norm_long<512, Pack<V>::N>(NORM_ARGS(T, V), blockIdx.x, n, room);                       \
    else                                                                                      \
      norm_long<512, 1>(NORM_ARGS(T, V), blockIdx.x, n, room);                                \
  }
NORM(f32, float, float, 4)
NORM(f16, f16, f16, 4)
NORM(bf16, bf16, bf16, 4)
NORM(f32_f16, float, f16, 3)
NORM(f32_bf16, float, bf16, 3)

// ---- [batch, groups, channels, inner]: one mean a group, one scale and bias a channel

template <class T>
DEVICE void norm_group(const T* x, const T* scale, const T* bias, T* y, i64 groups, i64 channels,
                       i64 inner, float epsilon) {
  __shared__ float room[96];
  constexpr int E = Pack<T>::N;
  const i64 n = channels * inner,
            first = (blockIdx.x - divide(blockIdx.x, groups) * groups) * channels;
  const i64 start = blockIdx.x * n;
  x += start;
  y += start;
  const bool packed = aligned16(x) && aligned16(y) && inner % E == 0;
  auto each = [&](auto use) {  // items from i on, as many as a pack or one
    if (packed)
      for (i64 i = (i64)threadIdx.x * E; i < n; i += blockDim.x * E) use(load16(x + i), i, E);
    else
      for (i64 i = threadIdx.x; i < n; i += blockDim.x) {
        Pack<T> v;
        v.v[0] = x[i];
        use(v, i, 1);
      }
  };
  Moments m = {0.f, 0.f, 0.f};
  each([&](const Pack<T>& v, i64, int count) {
    float items[E];
    UNROLL
    for (int e = 0; e < E; e++) items[e] = e < count ? widen(v.v[e]) : 0.f;
    m = count == E ? m.merged(moments_of(items)) : m.merged({1.f, items[0], 0.f});
  });
  m = merge_row<512>(m, room);
  const float inverse = 1.f / sqrtf(m.squares / n + epsilon);
  each([&](Pack<T> v, i64 i, int count) {
    const i64 channel = first + divide(i, inner);
    const float factor = inverse * (scale ? widen(scale[channel]) : 1.f);
    const float add = bias ? widen(bias[channel]) : 0.f;
    UNROLL
    for (int e = 0; e < E; e++)
      if (e < count) v.v[e] = finished<T>((widen(v.v[e]) - m.mean) * factor + add, start + i + e);
    if (count == E)
      store16(y + i, v);
    else
      y[i] = v.v[0];
  });
}

// y = (x - mean) / sqrt(variance + epsilon) * scale + bias for [batch, channels, inner], E items of
// a channel at once.
template <int E, class T>
DEVICE void norm_channels(const T* x, const T* scale, const T* bias, const T* mean,
                          const T* variance, T* y, i64 total, i64 channels, i64 inner,
                          float epsilon) {
  for (i64 i = first_item() * E; i < total; i += item_step() * E) {
    const i64 line = divide(i, inner), c = line - divide(line, channels) * channels;
    const float factor = widen(scale[c]) / sqrtf(widen(variance[c]) + epsilon);
    const float middle = widen(mean[c]), add = widen(bias[c]);
    float v[E];
    read_items<E>(x + i, v);
    UNROLL
    for (int e = 0; e < E; e++) v[e] = (v[e] - middle) * factor + add;
    write_items<E>(y + i, v);
  }
}
template <class T>
DEVICE void norm_batch(const T* x, const T* scale, const T* bias, const T* mean, const T* variance,
                       T* y, i64 total, i64 channels, i64 inner, float epsilon) {
  constexpr int E = Pack<T>::N;
  if (inner % E == 0 && aligned16(x) && aligned16(y))
    norm_channels<E>(x, scale, bias, mean, variance, y, total, channels, inner, epsilon);
  else
    norm_channels<1>(x, scale, bias, mean, variance, y, total, channels, inner, epsilon);
}

// group_norm_*: also InstanceNormalization (channels = 1); grid: batch * groups; block: 512.
// batch_norm_*: total = batch * channels * inner; grid: any; block: 256.  No dynamic shared memory.
#define GROUP_NORM(suffix, T)                                                                      \
  KERNEL(512)                                                                                      \
  group_norm_##suffix(const T* x, const T* scale, const T* bias, T* y, i64 groups, i64 channels,   \
                      i64 inner, float epsilon) {                                                  \
    norm_group<T>(x, scale, bias, y, groups, channels, inner, epsilon);                            \
  }                                                                                                \
  KERNEL(256)                                                                                      \
  batch_norm_##suffix(const T* x, const T* scale, const T* bias, const T* mean, const T* variance, \
                      T* y, i64 total, i64 channels, i64 inner, float epsilon) {                   \
    norm_batch<T>(x, scale, bias, mean, variance, y, total, channels, inner, epsilon);             \
  }
GROUP_NORM(f32, float)
GROUP_NORM(f16, f16)
GROUP_NORM(bf16, bf16)
