// Pooling over windows of up to three axes, and resizing by tables of indices and weights.
#include "device.cuh"

// [planes, size...] to [planes, out...]; missing axes come first, with sizes 1.
struct PoolArgs {
  i64 planes;
  i32 size[3], out[3], kernel[3], stride[3], dilation[3], pad[3], pad_end[3];
  i32 include_pad;  // averages count padding
  float p;          // of Lp
};

// use(x, place) for each item of the window of an output; returns how many places count for an
// average.
template <class T, class Use>
DEVICE i32 each_of_window(const T* x, i64 at, const PoolArgs& a, Use use) {
  const u32 area = a.out[1] * a.out[2];
  const i64 points = (i64)area * a.out[0], plane = divide(at, points);
  const u32 p = (u32)(at - plane * points);
  const i32 o[3] = {(i32)(p / area), (i32)(p % area / a.out[2]), (i32)(p % a.out[2])};
  x += plane * a.size[0] * a.size[1] * a.size[2];
  i32 start[3], count = 1;
  UNROLL
  for (int i = 0; i < 3; i++) {
    start[i] = o[i] * a.stride[i] - a.pad[i];
    i32 padded = 0;
    for (i32 k = 0; k < a.kernel[i]; k++)
      padded += start[i] + k * a.dilation[i] < a.size[i] + a.pad_end[i];
    count *= padded;
  }
  i32 inside = 0;
  for (i32 kd = 0; kd < a.kernel[0]; kd++) {
    const i32 d = start[0] + kd * a.dilation[0];
    if ((u32)d >= (u32)a.size[0]) continue;
    for (i32 kh = 0; kh < a.kernel[1]; kh++) {
      const i32 h = start[1] + kh * a.dilation[1];
      if ((u32)h >= (u32)a.size[1]) continue;
      for (i32 kw = 0; kw < a.kernel[2]; kw++) {
        const i32 w = start[2] + kw * a.dilation[2];
        if ((u32)w >= (u32)a.size[2]) continue;
        const i32 place = (d * a.size[1] + h) * a.size[2] + w;
        use(widen(x[place]), place);
        inside++;
      }
    }
  }
  return a.include_pad ? count : inside;
}

// Of the type of these items.
DEVICE float least(const void*) { return -INFINITE; }
DEVICE float least(const s8*) { return -128.f; }
DEVICE float least(const u8*) { return 0.f; }

// places: null, or the place of each largest item in all of x; by_columns: counted with the last
// axis outermost. A window without items gives the least number of its type; it has no place, which
// gives `failure` to `status`.
template <class T>
DEVICE void pool_largest(const T* x, T* y, i64* places, u64* status, u64 failure, i64 total,
                         i32 by_columns, const PoolArgs& a) {
  for (i64 at = first_item(); at < total; at += item_step()) {
    float best = least(x);
    i32 where = -1;
    each_of_window(x, at, a, [&](float v, i32 place) {
      if (where < 0 || v > best || (v != v && best == best)) {
        best = v;
        where = place;
      }
    });
    y[at] = narrow<T>(best);
    if (!places) continue;
    if (where < 0) {
      atomicMax(status, failure);
      continue;
    }
    const i32 d = where / (a.size[1] * a.size[2]), h = where / a.size[2] % a.size[1];
    if (by_columns) where = (where % a.size[2] * a.size[1] + h) * a.size[0] + d;
    const i64 plane = divide(at, (i64)a.out[0] * a.out[1] * a.out[2]);
    places[at] = plane * a.size[0] * a.size[1] * a.size[2] + where;
  }
}
template <class T>
DEVICE void pool_average(const T* x, T* y, i64 total, const PoolArgs& a) {
  for (i64 at = first_item(); at < total; at += item_step()) {
    float sum = 0.f;
    const i32 count = each_of_window(x, at, a, [&](float v, i32) { sum += v; });
    y[at] = narrow<T>(sum / max(count, 1));
  }
}
template <class T>
DEVICE void pool_norm(const T* x, T* y, i64 total, const PoolArgs& a) {
  for (i64 at = first_item(); at < total; at += item_step()) {
    float sum = 0.f;
    each_of_window(x, at, a, [&](float v, i32) {
      v = fabsf(v);
      sum += a.p == 1.f ? v : a.p == 2.f ? v * v : powf(v, a.p);
    });
    y[at] = narrow<T>(a.p == 1.f ? sum : a.p == 2.f ? sqrtf(sum) : powf(sum, 1.f / a.p));
  }
}

// y[plane, d, h, w] = sum over taps of the three axes; axis i has out[i] * taps[i] indices and
// weights. A first index below 0: the position is outside, and y is `outside` there.
struct ResizeArgs {
  i32 size[3], out[3], taps[3];
  float outside;
};
struct ResizePoint {
  i64 plane;
  u32 d, h, w;  // among the positions of each axis
};
DEVICE ResizePoint resize_point(i64 at, const ResizeArgs& a) {
  const u32 area = a.out[1] * a.out[2];
  const i64 points = (i64)area * a.out[0], plane = divide(at, points);
  const u32 p = (u32)(at - plane * points);
  return {plane, p / area, p % area / a.out[2], p % a.out[2]};
}
// Results in integers are rounded to even and kept in range.
template <class T>
struct Resized {
  static __device__ __forceinline__ T of(float x) { return narrow<T>(x); }
};
template <int LEAST, int MOST>
DEVICE int rounded(double x) {
  return (int)fmin(fmax(rint(x), (double)LEAST), (double)MOST);
}
template <>
struct Resized<s8> {
  static __device__ __forceinline__ s8 of(double x) { return (s8)rounded<-128, 127>(x); }
};
template <>
struct Resized<u8> {
  static __device__ __forceinline__ u8 of(double x) { return (u8)rounded<0, 255>(x); }
};
// W: of weights and sums.
template <class T, class W>
DEVICE void resize_items(const T* x, const i32* id, const W* wd, const i32* ih, const W* wh,
                         const i32* iw, const W* ww, T* y, i64 total, const ResizeArgs& a) {
  for (i64 at = first_item(); at < total; at += item_step()) {
    const ResizePoint p = resize_point(at, a);
    const u32 od = p.d * a.taps[0], oh = p.h * a.taps[1], ow = p.w * a.taps[2];
    if ((id[od] | ih[oh] | iw[ow]) < 0) {
      y[at] = Resized<T>::of(a.outside);
      continue;
    }
    const T* from = x + p.plane * a.size[0] * a.size[1] * a.size[2];
    W sum = 0;
    for (i32 d = 0; d < a.taps[0]; d++)
      for (i32 h = 0; h < a.taps[1]; h++) {
        const T* line = from + ((i64)id[od + d] * a.size[1] + ih[oh + h]) * a.size[2];
        W part = 0;
        for (i32 w = 0; w < a.taps[2]; w++) {
          const W weight = ww[ow + w];
          if (weight != 0) part += widen(line[iw[ow + w]]) * weight;
        }
        const W weight = wd[od + d] * wh[oh + h];
        if (weight != 0) sum += part * weight;
      }
    y[at] = Resized<T>::of(sum);
  }
}
// One tap an axis: items of any type.
template <class T>
DEVICE void resize_words(const T* x, const i32* id, const i32* ih, const i32* iw, T* y, i64 total,
                         const ResizeArgs& a) {
  for (i64 at = first_item(); at < total; at += item_step()) {
    const ResizePoint p = resize_point(at, a);
    y[at] = x[((p.plane * a.size[0] + id[p.d]) * a.size[1] + ih[p.h]) * a.size[2] + iw[p.w]];
  }
}

// total: items of y.  grid: any; block: 256; no dynamic shared memory.
#define MAX_POOL(suffix, T)                                                             \
  KERNEL(256, 1)                                                                        \
  max_pool_##suffix(const T* x, T* y, i64* places, u64* status, u64 failure, i64 total, \
                    i32 by_columns, PoolArgs a) {                                       \
    pool_largest<T>(x, y, places, status, failure, total, by_columns, a);               \
  }
#define RESIZE(suffix, T, W)                                                          \
  KERNEL(256, 1)                                                                      \
  resize_##suffix(const T* x, const i32* id, const W* wd, const i32* ih, const W* wh, \
                  const i32* iw, const W* ww, T* y, i64 total, ResizeArgs a) {        \
    resize_items<T, W>(x, id, wd, ih, wh, iw, ww, y, total, a);                       \
  }
#define POOL(suffix, T)                                                           \
  MAX_POOL(suffix, T)                                                             \
  KERNEL(256, 1) average_pool_##suffix(const T* x, T* y, i64 total, PoolArgs a) { \
    pool_average<T>(x, y, total, a);                                              \
  }                                                                               \
  KERNEL(256, 1) lp_pool_##suffix(const T* x, T* y, i64 total, PoolArgs a) {      \
    pool_norm<T>(x, y, total, a);                                                 \
  }                                                                               \
  RESIZE(suffix, T, float)
POOL(f32, float)
POOL(f16, f16)
POOL(bf16, bf16)
MAX_POOL(s8, s8)
MAX_POOL(u8, u8)
RESIZE(s8, s8, double)
RESIZE(u8, u8, double)
#define RESIZE_WORDS(name, T)                                                                     \
  KERNEL(256, 1)                                                                                  \
  resize_nearest_##name(const T* x, const i32* id, const i32* ih, const i32* iw, T* y, i64 total, \
                        ResizeArgs a) {                                                           \
    resize_words<T>(x, id, ih, iw, y, total, a);                                                  \
  }
RESIZE_WORDS(b8, u8)
RESIZE_WORDS(b16, u16)
RESIZE_WORDS(b32, u32)
RESIZE_WORDS(b64, u64)
