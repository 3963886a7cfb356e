// The arguments of convolutions, how implicit products address images, and how results are written.
#pragma once
#include "product.cuh"

// Images are [batch, groups * channels, size...], results [batch, groups * filters, out...];
// missing spatial axes come first, with sizes 1.  An image must have less than 2^31 elements, and
// so must batch * out.
struct ConvArgs {
  i32 batch, groups, channels, filters;  // channels and filters of one group
  i32 size[3], out[3], kernel[3], stride[3], dilation[3], pad[3];  // pad: before the first item
};

// The part of k that a block sums up, of gridDim.y, in tiles of BK: its sums are a result of their
// own.
template <int BK>
struct ConvPart {
  int first, tiles;
  __device__ __forceinline__ explicit ConvPart(i64 k) {
    const int all = (int)ceil_div(k, BK), each = (all + gridDim.y - 1) / gridDim.y;
    first = min(all, each * (int)blockIdx.y);
    tiles = min(each, all - first);
  }
  static __device__ __forceinline__ float* result(float* y, const ConvArgs& c) {
    return y + (i64)blockIdx.y * c.batch * c.groups * c.filters * c.out[0] * c.out[1] * c.out[2];
  }
};

// Where an item of the kernel (one k of the product) lies: offset in the image, and shifts along
// the axes. The table of a convolution has ceil(channels * kernel / 32) * 32 entries, made by
// conv_table.
typedef int4 Tap;
static constexpr i32 OUTSIDE = 1 << 30;

// The column of the product that a thread reads: one point of the result.  FORWARD: of Conv, else
// of ConvTranspose.
template <class T, bool FORWARD>
struct ConvColumn {
  const T* image;
  i32 at[3];
  __device__ __forceinline__ ConvColumn(const T* x, const ConvArgs& c, u32 group, u32 n) {
    const u32 area = c.out[1] * c.out[2], points = area * c.out[0], b = n / points;
    const u32 p = n % points;
    const i32 o[3] = {(i32)(p / area), (i32)(p % area / c.out[2]), (i32)(p % c.out[2])};
    const i32 plane = c.size[1] * c.size[2];
    image = x + ((i64)b * c.groups + group) * c.channels * c.size[0] * plane;
    const bool valid = b < c.batch;
    const i32 nowhere = FORWARD ? -OUTSIDE / 2 * 3 : -OUTSIDE;  // outside with every tap
    UNROLL
    for (int i = 0; i < 3; i++)
      at[i] = !valid ? nowhere : FORWARD ? o[i] * c.stride[i] - c.pad[i] : o[i] + c.pad[i];
    if (FORWARD && valid) image += (i64)at[0] * plane + at[1] * c.size[2] + at[2];
  }
  // The item of the image for a tap, or null where the tap falls outside.
  __device__ __forceinline__ const T* item(const ConvArgs& c, const Tap& tap) const {
    if (FORWARD) {
      const bool in = (u32)(at[0] + tap.y) < (u32)c.size[0] &&
                      (u32)(at[1] + tap.z) < (u32)c.size[1] &&
                      (u32)(at[2] + tap.w) < (u32)c.size[2];
      return in ? image + tap.x : nullptr;
    }
    const i32 t[3] = {at[0] - tap.y, at[1] - tap.z, at[2] - tap.w};
    i32 offset = 0;
    UNROLL
    for (int i = 0; i < 3; i++) {
      if (t[i] < 0) return nullptr;
      const u32 q = (u32)t[i] / (u32)c.stride[i];
      if (q * c.stride[i] != (u32)t[i] || q >= (u32)c.size[i]) return nullptr;
      offset = offset * c.size[i] + q;
    }
    return image + tap.x + offset;
  }
};

struct ConvTile {
  u32 group, m, n;
};
template <int BM, int BN>
DEVICE ConvTile conv_tile(const ConvArgs& c) {
  const u32 points = c.batch * c.out[0] * c.out[1] * c.out[2];
  const u32 tm = (u32)ceil_div(c.filters, BM), tn = (u32)ceil_div(points, BN), i = blockIdx.x;
  return {i / (tm * tn), i % tm * BM, i / tm % tn * BN};
}

// The sum of a row and its bias, rounded once.
template <class T>
struct AddBias {
  const T* bias;
  __device__ __forceinline__ T operator()(u32 row, i64 at, float x) const {
    return finished<T>(bias ? x + widen(bias[row]) : x, at);
  }
};

// A sum of a part of k stays as it is.
struct KeepSum {
  __device__ __forceinline__ float operator()(u32, i64, float x) const { return x; }
};

// Writes results; finish(row, at, sum) makes item `at` of a sum, rows counting over all groups.
template <class T, class Finish = AddBias<T>>
struct ConvOutput {
  T* y;
  const ConvArgs& c;
  const Finish finish;
  u32 first, m, n, points, columns;
  __device__ __forceinline__ ConvOutput(T* y_, const Finish& finish_, const ConvArgs& c_,
                                        const ConvTile& at)
      : y(y_), c(c_), finish(finish_), m(at.m), n(at.n) {
    points = c.out[0] * c.out[1] * c.out[2];
    columns = points * c.batch;
    first = at.group * c.filters;
  }
  // Where the item of row r of the group and of a point of an image lies.
  __device__ __forceinline__ i64 place(u32 r, u32 image, u32 point) const {
    return ((i64)image * c.groups * c.filters + first + r) * points + point;
  }
  // Two items of row r, or one: with one store where they are neighbours.
  template <class Acc>
  __device__ __forceinline__ void put_two(u32 r, i64 at, Acc a, bool two, i64 next, Acc b) const {
    struct alignas(2 * sizeof(T)) Pair {
      T a, b;
    };
    Pair made{finish(first + r, at, a), {}};
    if (two) made.b = finish(first + r, next, b);
    if (two && next == at + 1 && reinterpret_cast<u64>(y + at) % sizeof(Pair) == 0) {
      *reinterpret_cast<Pair*>(y + at) = made;
      return;
    }
    y[at] = made.a;
    if (two) y[next] = made.b;
  }
  template <class Acc>
  __device__ __forceinline__ void put_pair(int i, int j, Acc a, Acc b) const {
    const u32 r = m + i, s = n + j;
    if (r >= (u32)c.filters || s >= columns) return;
    const u32 image = s / points, point = s % points;
    const i64 at = place(r, image, point);
    const i64 between = ((i64)c.groups * c.filters - 1) * points;  // a row of two images
    const i64 next = at + 1 + (point + 1 < points ? 0 : between);
    put_two(r, at, a, s + 1 < columns, next, b);
  }
};
