// Layer, RMS, group, instance and batch normalization; sums in f32.
#include "rows.cuh"

// y = (v - mean) / sqrt(variance + epsilon) * scale + bias with v = x + residual + add; all but x
// and y may be null. rms: neither mean nor its subtraction.  Row r of residual is r %
// residual_rows.
template <class T>
struct NormArgs {
  const T *x, *residual, *add, *scale, *bias;
  T *y, *sum;             // sum: receives v
  float *mean, *inverse;  // one a row
  i64 rows, n, residual_rows;
  float epsilon;
  i32 rms;
};

template <class T>
struct NormRow {
  const T *x, *residual, *add;
  __device__ __forceinline__ NormRow(const NormArgs<T>& a, i64 row)
      : x(a.x + row * a.n), residual(nullptr), add(a.add) {
    if (a.residual)
      residual = a.residual + (row - divide(row, a.residual_rows) * a.residual_rows) * a.n;
  }
  __device__ __forceinline__ float operator()(i64 i) const {
    float v = widen(x[i]);
    if (residual) v += widen(residual[i]);
    return add ? v + widen(add[i]) : v;
  }
};

template <class T>
DEVICE float normal(const NormArgs<T>& a, float v, i64 i, float mean, float inverse) {
  v = (v - mean) * inverse;
  if (a.scale) v *= widen(a.scale[i]);
  return a.bias ? v + widen(a.bias[i]) : v;
}

template <class T, int LANES>
DEVICE void norm_held(const NormArgs<T>& a, i64 row, float* room) {
  const int n = (int)a.n;
  const NormRow<T> items(a, row);
  bool packed = packed_rows(a.x, n) && aligned16(a.y);
  float held[HELD], total = 0.f, squares = 0.f;
  read_row<T, LANES>(items.x, n, packed, [&](int i, float v) { held[i] = v; });
  constexpr int E = Pack<T>::N;
  auto item = [&](int i) { return (i / E * LANES + row_lane<LANES>()) * E + i % E; };
  if (items.residual || items.add) UNROLL
  for (int i = 0; i < HELD; i++) {
    if (item(i) >= n) continue;
    if (items.residual) held[i] += widen(items.residual[item(i)]);
    if (items.add) held[i] += widen(items.add[item(i)]);
  }
  UNROLL
  for (int i = 0; i < HELD; i++)
    if (item(i) < n) total += held[i];
  const float mean = a.rms ? 0.f : reduce_row<LANES>(total, Add(), 0.f, room) / n;
  UNROLL
  for (int i = 0; i < HELD; i++)
    if (item(i) < n) squares += (held[i] - mean) * (held[i] - mean);
  const float variance = reduce_row<LANES>(squares, Add(), 0.f, room + 32) / n;
  const float inverse = 1.f / sqrtf(variance + a.epsilon);
  if (row_lane<LANES>() == 0 && a.mean) a.mean[row] = mean;
  if (row_lane<LANES>() == 0 && a.inverse) a.inverse[row] = inverse;
  if (a.sum)
    write_row<T, LANES>(a.sum + row * a.n, n, packed && aligned16(a.sum),
                        [&](int i, int) { return held[i]; });
  write_row<T, LANES>(a.y + row * a.n, n, packed,
                      [&](int i, int at) { return normal(a, held[i], at, mean, inverse); });
}

template <class T>
DEVICE void norm_long(const NormArgs<T>& a, i64 row, float* room) {
  const NormRow<T> items(a, row);
  float total = 0.f, squares = 0.f;
  if (!a.rms)
    for (i64 i = threadIdx.x; i < a.n; i += blockDim.x) total += items(i);
  const float mean = a.rms ? 0.f : reduce_block(total, Add(), 0.f, room) / a.n;
  for (i64 i = threadIdx.x; i < a.n; i += blockDim.x) {
    const float v = items(i) - mean;
    squares += v * v;
  }
  const float variance = reduce_block(squares, Add(), 0.f, room + 32) / a.n;
  const float inverse = 1.f / sqrtf(variance + a.epsilon);
  if (threadIdx.x == 0 && a.mean) a.mean[row] = mean;
  if (threadIdx.x == 0 && a.inverse) a.inverse[row] = inverse;
  for (i64 i = threadIdx.x; i < a.n; i += blockDim.x) {
    const float v = items(i);
    if (a.sum) a.sum[row * a.n + i] = narrow<T>(v);
    a.y[row * a.n + i] = narrow<T>(normal(a, v, i, mean, inverse));
  }
}

// Arguments as in NormArgs, one by one.
// norm_short_*: n <= 1024; grid: ceil(rows / 8); block: 256.
// norm_*: any n; grid: rows; block: 256.  No dynamic shared memory.
#define NORM_PARAMETERS(T)                                                                  \
  const T *x, const T *residual, const T *add, const T *scale, const T *bias, T *y, T *sum, \
      float *mean, float *inverse, i64 rows, i64 n, i64 residual_rows, float epsilon, i32 rms
#define NORM_ARGS(T)                                                                           \
  NormArgs<T> {                                                                                \
    x, residual, add, scale, bias, y, sum, mean, inverse, rows, n, residual_rows, epsilon, rms \
  }
#define NORM(suffix, T)                                           \
  KERNEL(256) norm_short_##suffix(NORM_PARAMETERS(T)) {           \
    const i64 row = row_index<32>();                              \
    if (row < rows) norm_held<T, 32>(NORM_ARGS(T), row, nullptr); \
  }                                                               \
  KERNEL(256) norm_##suffix(NORM_PARAMETERS(T)) {                 \
    __shared__ float room[64];                                    \
    if (n <= HELD * 256)                                          \
      norm_held<T, 256>(NORM_ARGS(T), blockIdx.x, room);          \
    else                                                          \
      norm_long<T>(NORM_ARGS(T), blockIdx.x, room);               \
  }
NORM(f32, float)
NORM(f16, f16)
NORM(bf16, bf16)

// ---- [batch, groups, channels, inner]: one mean a group, one scale and bias a channel

template <class T>
DEVICE void norm_group(const T* x, const T* scale, const T* bias, T* y, i64 groups, i64 channels,
                       i64 inner, float epsilon) {
  __shared__ float room[64];
  constexpr int E = Pack<T>::N;
  const i64 n = channels * inner,
            first = (blockIdx.x - divide(blockIdx.x, groups) * groups) * channels;
  x += blockIdx.x * n;
  y += blockIdx.x * n;
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
    for (int e = 0; e < E; e++) v.v[e] = narrow<T>((widen(v.v[e]) - mean) * factor + add);
    if (count == E)
      store16(y + i, v);
    else
      y[i] = v.v[0];
  });
}

// y = (x - mean) / sqrt(variance + epsilon) * scale + bias for [batch, channels, inner].
template <class T>
DEVICE void norm_batch(const T* x, const T* scale, const T* bias, const T* mean, const T* variance,
                       T* y, i64 total, i64 channels, i64 inner, float epsilon) {
  for (i64 i = first_item(); i < total; i += item_step()) {
    const i64 line = divide(i, inner), c = line - divide(line, channels) * channels;
    const float factor = widen(scale[c]) / sqrtf(widen(variance[c]) + epsilon);
    y[i] = narrow<T>((widen(x[i]) - widen(mean[c])) * factor + widen(bias[c]));
  }
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
