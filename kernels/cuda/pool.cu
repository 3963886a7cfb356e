// Pooling over windows of up to three axes, and resizing by tables of indices and weights.
#include "device.cuh"

// [planes, size...] to [planes, out...]; missing axes come first, with sizes 1.
struct PoolArgs {
  i64 planes;
  i32 size[3], out[3], kernel[3], stride[3], dilation[3], pad[3], pad_end[3];
  i32 include_pad;  // averages count padding
  float p;          // of Lp
};

// Where the window of a point of the result begins: in x that of its plane, in the plane.
struct Window {
  i64 first;
  i32 start[3];
  __device__ __forceinline__ Window(i64 at, const PoolArgs& a) {
    const u32 area = a.out[1] * a.out[2], points = area * a.out[0];
    const i64 plane = divide(at, points);
    const u32 p = (u32)(at - plane * points), depth = p / area;
    const u32 in_area = p - depth * area, line = in_area / a.out[2];
    const i32 o[3] = {(i32)depth, (i32)line, (i32)(in_area - line * a.out[2])};
    UNROLL
    for (int i = 0; i < 3; i++) start[i] = o[i] * a.stride[i] - a.pad[i];
    first = plane * a.size[0] * a.size[1] * a.size[2];
  }
};

// The number of steps of a window from `start` on that lie before `end`.
DEVICE i32 steps_before(i32 end, i32 start, i32 step) {
  const i32 span = max(end - start, 0);
  return step == 1 ? span : (span + step - 1) / step;
}

// How many places count for an average, of `inside` within x.
DEVICE i32 counted(const PoolArgs& a, const Window& window, i32 inside) {
  if (!a.include_pad) return inside;
  i32 count = 1;
  UNROLL
  for (int i = 0; i < 3; i++)
    count *=
        min(a.kernel[i], steps_before(a.size[i] + a.pad_end[i], window.start[i], a.dilation[i]));
  return count;
}

// use(x, place) for each item of a window; returns how many there are.
template <class T, class Use>
DEVICE i32 each_of_any(const T* x, const Window& window, const PoolArgs& a, Use use) {
  i32 first[3], end[3];
  UNROLL
  for (int i = 0; i < 3; i++) {
    first[i] = steps_before(0, window.start[i], a.dilation[i]);
    end[i] = min(a.kernel[i], steps_before(a.size[i], window.start[i], a.dilation[i]));
  }
  i32 inside = 0;
  for (i32 kd = first[0]; kd < end[0]; kd++)
    for (i32 kh = first[1]; kh < end[1]; kh++) {
      const i32 d = window.start[0] + kd * a.dilation[0], h = window.start[1] + kh * a.dilation[1];
      const i32 line = (d * a.size[1] + h) * a.size[2] + window.start[2];
      for (i32 kw = first[2]; kw < end[2]; kw++, inside++) {
        const i32 place = line + kw * a.dilation[2];
        use(widen(x[window.first + place]), place);
      }
    }
  return inside;
}
// The same for squares of K, whose items outside x are `outside`: all loads are under way at once.
template <int K, class T, class Use>
DEVICE i32 each_of_square(const T* x, const Window& window, const PoolArgs& a, float outside,
                          Use use) {
  const i32 h = window.start[1], w = window.start[2], corner = h * a.size[2] + w;
  float items[K][K];
  i32 inside = 0;
  UNROLL
  for (int i = 0; i < K; i++) UNROLL
  for (int k = 0; k < K; k++) {
    const bool in = (u32)(h + i) < (u32)a.size[1] && (u32)(w + k) < (u32)a.size[2];
    items[i][k] = in ? widen(x[window.first + (corner + i * a.size[2] + k)]) : outside;
    inside += in;
  }
  UNROLL
  for (int i = 0; i < K; i++) UNROLL
  for (int k = 0; k < K; k++) use(items[i][k]);
  return inside;
}
template <int SIDE, class T, class Use>
DEVICE i32 each_of_window(const T* x, const Window& window, const PoolArgs& a, float outside,
                          Use use) {
  if constexpr (SIDE != 0)
    return each_of_square<SIDE>(x, window, a, outside, use);
  else
    return each_of_any(x, window, a, [&](float v, i32) { use(v); });
}
template <int SIDE>
struct Side {
  static constexpr int COUNT = SIDE;  // 0: windows are no such squares
};
DEVICE bool of_squares(const PoolArgs& a, i32 side) {
  return a.size[0] == 1 && a.out[0] == 1 && a.kernel[0] == 1 && a.pad[0] == 0 &&
         a.kernel[1] == side && a.kernel[2] == side && a.dilation[1] == 1 && a.dilation[2] == 1;
}
template <class Run>
DEVICE void with_side(const PoolArgs& a, Run run) {
  if (of_squares(a, 3))
    run(Side<3>());
  else if (of_squares(a, 2))
    run(Side<2>());
  else
    run(Side<0>());
}

// Of the type of these items.
DEVICE float least(const void*) { return -INFINITE; }
DEVICE float least(const s8*) { return -128.f; }
DEVICE float least(const u8*) { return 0.f; }

// A window without items gives the least number of its type.
template <class T>
DEVICE void pool_largest(const T* x, T* y, i64 total, const PoolArgs& a) {
  with_side(a, [&](auto side) {
    for (i64 at = first_item(); at < total; at += item_step()) {
      float best = least(x);
      each_of_window<decltype(side)::COUNT>(x, Window(at, a), a, best,
                                            [&](float v) { best = Largest()(v, best); });
      y[at] = narrow<T>(best);
    }
  });
}
// places: of each largest item in all of x; by_columns: counted with the last axis outermost. A
// window without items has none, which gives `failure` to `status`.
template <class T>
DEVICE void pool_places(const T* x, T* y, i64* places, u64* status, u64 failure, i64 total,
                        i32 by_columns, const PoolArgs& a) {
  for (i64 at = first_item(); at < total; at += item_step()) {
    const Window window(at, a);
    float best = least(x);
    i32 where = -1;
    each_of_any(x, window, a, [&](float v, i32 place) {
      if (where < 0 || v > best || (v != v && best == best)) {
        best = v;
        where = place;
      }
    });
    y[at] = narrow<T>(best);
    if (where < 0) {
      atomicMax(status, failure);
      continue;
    }
    const i32 d = where / (a.size[1] * a.size[2]), h = where / a.size[2] % a.size[1];
    if (by_columns) where = (where % a.size[2] * a.size[1] + h) * a.size[0] + d;
    places[at] = window.first + where;
  }
}
template <class T>
DEVICE void pool_average(const T* x, T* y, i64 total, const PoolArgs& a) {
  with_side(a, [&](auto side) {
    for (i64 at = first_item(); at < total; at += item_step()) {
      const Window window(at, a);
      float sum = 0.f;
      const i32 inside =
          each_of_window<decltype(side)::COUNT>(x, window, a, 0.f, [&](float v) { sum += v; });
      y[at] = narrow<T>(sum / max(counted(a, window, inside), 1));
    }
  });
}
template <class T>
DEVICE void pool_norm(const T* x, T* y, i64 total, const PoolArgs& a) {
  for (i64 at = first_item(); at < total; at += item_step()) {
    float sum = 0.f;
    each_of_any(x, Window(at, a), a, [&](float v, i32) {
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
    if (places)                                                                         \
      pool_places<T>(x, y, places, status, failure, total, by_columns, a);              \
    else                                                                                \
      pool_largest<T>(x, y, total, a);                                                  \
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
