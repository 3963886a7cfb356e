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

template <int LANES, class T, class V, int H, class Row>
DEVICE void norm_items(Row row, const NormArgs<T, V>& a, i64 index, float* room) {
  const int n = (int)a.n;
  const NormRow<T> items(a, index);
  float held[H], total = 0.f, squares = 0.f;
  row.read(items.x, n, [&](int i, float v) { held[i] = v; });
  if (items.residual) row.read(items.residual, n, [&](int i, float v) { held[i] += v; });
  if (items.add) row.read(items.add, n, [&](int i, float v) { held[i] += v; });
  row.each(n, [&](int i, int) { total += held[i]; });
  const float mean = a.rms ? 0.f : reduce_row<LANES>(total, Add(), 0.f, room) / n;
  row.each(n, [&](int i, int) { squares += (held[i] - mean) * (held[i] - mean); });
  const float variance = reduce_row<LANES>(squares, Add(), 0.f, room + 32) / n;
  const float inverse = 1.f / sqrtf(variance + a.epsilon);
  if (row_lane<LANES>() == 0 && a.mean) a.mean[index] = mean;
  if (row_lane<LANES>() == 0 && a.inverse) a.inverse[index] = inverse;
  if (a.sum) row.write(a.sum + index * n, n, [&](int i) { return held[i]; });
  row.each(n, [&](int i, int) { held[i] = (held[i] - mean) * inverse; });
  if (a.scale) row.read(a.scale, n, [&](int i, float v) { held[i] *= v; });
  if (a.bias) row.read(a.bias, n, [&](int i, float v) { held[i] += v; });
  row.write(a.y + index * n, n, [&](int i) { return held[i]; });
}
template <class T, class V, int LANES>
DEVICE void norm_held(const NormArgs<T, V>& a, i64 index, float* room) {
  with_held_row<V, LANES>((int)a.n, packed_norm(a), [&](auto row) {
    typedef decltype(row) Row;
    norm_items<LANES, T, V, Row::PACKS * Row::E>(row, a, index, room);
  });
}

template <class T, class V, int E>
DEVICE void norm_long(const NormArgs<T, V>& a, i64 row, float* room) {
  const NormRow<T> items(a, row);
  float total = 0.f, squares = 0.f;
  auto each = [&](auto use) {
    _Pragma("unroll 2") for (i64 i = threadIdx.x * E; i < a.n; i += blockDim.x * E) {
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
  if (!a.rms)
    each([&](const float (&v)[E], i64) {
      UNROLL
      for (int e = 0; e < E; e++) total += v[e];
    });
  const float mean = a.rms ? 0.f : reduce_block(total, Add(), 0.f, room) / a.n;
  each([&](const float (&v)[E], i64) {
    UNROLL
    for (int e = 0; e < E; e++) squares += (v[e] - mean) * (v[e] - mean);
  });
  const float variance = reduce_block(squares, Add(), 0.f, room + 32) / a.n;
  const float inverse = 1.f / sqrtf(variance + a.epsilon);
  if (threadIdx.x == 0 && a.mean) a.mean[row] = mean;
  if (threadIdx.x == 0 && a.inverse) a.inverse[row] = inverse;
  each([&](float (&v)[E], i64 i) {
    if (a.sum) write_items<E>(a.sum + row * a.n + i, v);
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
  });
}
// Arguments as in NormArgs, one by one.
// norm_short_*: n <= 1024; grid: ceil(rows / 8); block: 256.
// norm_*: any n; grid: rows; block: 256.  No dynamic shared memory.
#define NORM_PARAMETERS(T, V)                                                               \
  const T *x, const T *residual, const T *add, const V *scale, const V *bias, V *y, T *sum, \
      float *mean, float *inverse, i64 rows, i64 n, i64 residual_rows, float epsilon, i32 rms
#define NORM_ARGS(T, V)                                                                        \
  NormArgs<T, V> {                                                                             \
    x, residual, add, scale, bias, y, sum, mean, inverse, rows, n, residual_rows, epsilon, rms \
  }
#define NORM(suffix, T, V)                                              \
  KERNEL(256) norm_short_##suffix(NORM_PARAMETERS(T, V)) {              \
    const i64 row = row_index<32>();                                    \
    if (row < rows) norm_held<T, V, 32>(NORM_ARGS(T, V), row, nullptr); \
  }                                                                     \
  KERNEL(256) norm_##suffix(NORM_PARAMETERS(T, V)) {                    \
    __shared__ float room[64];                                          \
    if (n <= HELD * 256)                                                \
      norm_held<T, V, 256>(NORM_ARGS(T, V), blockIdx.x, room);          \
    else if (packed_norm(NORM_ARGS(T, V)))                              \
      norm_long<T, V, Pack<V>::N>(NORM_ARGS(T, V), blockIdx.x, room);   \
    else                                                                \
      norm_long<T, V, 1>(NORM_ARGS(T, V), blockIdx.x, room);            \
  }
NORM(f32, float, float)
NORM(f16, f16, f16)
NORM(bf16, bf16, bf16)
NORM(f32_f16, float, f16)
NORM(f32_bf16, float, bf16)

// ---- [batch, groups, channels, inner]: one mean a group, one scale and bias a channel

template <class T>
DEVICE void norm_group(const T* x, const T* scale, const T* bias, T* y, i64 groups, i64 channels,
                       i64 inner, float epsilon) {
  __shared__ float room[64];
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
  float total = 0.f, squares = 0.f;
  each([&](const Pack<T>& v, i64, int count) {
    UNROLL
    for (int e = 0; e < E; e++)
      if (e < count) total += widen(v.v[e]);
  });
  const float mean = reduce_block(total, Add(), 0.f, room) / n;
  each([&](const Pack<T>& v, i64, int count) {
    UNROLL
    for (int e = 0; e < E; e++)
      if (e < count) squares += (widen(v.v[e]) - mean) * (widen(v.v[e]) - mean);
  });
  const float variance = reduce_block(squares, Add(), 0.f, room + 32) / n;
  const float inverse = 1.f / sqrtf(variance + epsilon);
  each([&](Pack<T> v, i64 i, int count) {
    const i64 channel = first + divide(i, inner);
    const float factor = inverse * (scale ? widen(scale[channel]) : 1.f);
    const float add = bias ? widen(bias[channel]) : 0.f;
    UNROLL
    for (int e = 0; e < E; e++)
      if (e < count) v.v[e] = finished<T>((widen(v.v[e]) - mean) * factor + add, start + i + e);
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
