// Convolutions of single channels by square windows: planes of the image, or bands of their lines,
// lie in shared memory as floats.
#include "conv.cuh"

// A block has `planes` whole planes (bands = 1), or `lines` lines of the result of one plane.
struct DepthwiseArgs {
  ConvArgs c;
  i32 planes, lines, bands;
};

static constexpr int PLANE_ROOM = 6400;  // items of an image that a block holds

// Copies `items` from p: four packs under way at once where they begin at 16 bytes.
template <class T>
DEVICE void hold_items(float* held, const T* p, i32 items) {
  constexpr int E = Pack<T>::N, AT_ONCE = 4;
  i32 done = 0;
  if (aligned16(p)) {
    const i32 packs = items / E, step = blockDim.x;
    for (i32 i = threadIdx.x; i < packs; i += AT_ONCE * step) {
      Pack<T> v[AT_ONCE];
      UNROLL
      for (int k = 0; k < AT_ONCE; k++)
        if (i + k * step < packs) v[k] = load16(p + (i + k * step) * E);
      UNROLL
      for (int k = 0; k < AT_ONCE; k++) {
        if (i + k * step >= packs) continue;
        UNROLL
        for (int q = 0; q < E; q += 4) {
          Pack<float> wide;
          UNROLL
          for (int e = 0; e < 4; e++) wide.v[e] = widen(v[k].v[q + e]);
          store16(held + (i + k * step) * E + q, wide);
        }
      }
    }
    done = packs * E;
  }
  _Pragma("unroll 4") for (i32 i = done + threadIdx.x; i < items; i += blockDim.x) held[i] =
      widen(p[i]);
}

// STRIP: lines of the result, one below the other, that a thread makes.
template <class T, int K, int S, int STRIP>
DEVICE void conv_planes(const T* x, const T* w, const T* bias, T* y, const DepthwiseArgs& a,
                        float* held) {
  const ConvArgs& c = a.c;
  const i32 height = c.size[1], width = c.size[2], columns = c.out[2];
  const i32 part = blockIdx.x / a.bands, top = (blockIdx.x - part * a.bands) * a.lines;
  const i32 first = part * a.planes, planes = min(a.planes, c.batch * c.groups - first);
  const i32 lines = min(a.lines, c.out[1] - top);
  const i32 reach = top * S - c.pad[1];  // the line that the first window begins at
  const i32 low = a.bands == 1 ? 0 : max(reach, 0);
  const i32 high = a.bands == 1 ? height : min(reach + (lines - 1) * S + K, height);
  const i32 kept = max(high - low, 0);
  hold_items(held, x + ((i64)first * height + low) * width, planes * kept * width);
  __syncthreads();
  const u32 strips = (u32)(lines + STRIP - 1) / STRIP;
  for (u32 task = threadIdx.x; task < planes * strips * columns; task += blockDim.x) {
    const u32 line = task / columns, plane = line / strips;
    const i32 column = task - line * columns, from = (line - plane * strips) * STRIP;
    const u32 channel = (first + plane) % c.groups;
    const i32 left = column * S - c.pad[2], start = reach + from * S - low;
    bool in[K];
    UNROLL
    for (int k = 0; k < K; k++) in[k] = (u32)(left + k) < (u32)width;
    float weights[K][K], sums[STRIP];
    UNROLL
    for (int i = 0; i < K; i++) UNROLL
    for (int k = 0; k < K; k++) weights[i][k] = in[k] ? widen(w[(channel * K + i) * K + k]) : 0.f;
    const float before = bias ? widen(bias[channel]) : 0.f;
    UNROLL
    for (int r = 0; r < STRIP; r++) sums[r] = before;
    const float* at = held + (i32)(plane * kept + start) * width + left;
    UNROLL
    for (int i = 0; i < (STRIP - 1) * S + K; i++, at += width) {
      if ((u32)(start + i) >= (u32)kept) continue;
      float items[K];
      UNROLL
      for (int k = 0; k < K; k++) items[k] = in[k] ? at[k] : 0.f;
      UNROLL
      for (int r = 0; r < STRIP; r++) {
        const int tap = i - r * S;
        if (tap < 0 || tap >= K) continue;
        UNROLL
        for (int k = 0; k < K; k++) sums[r] += items[k] * weights[tap % K][k];
      }
    }
    i64 place = ((i64)(first + plane) * c.out[1] + top + from) * columns + column;
    UNROLL
    for (int r = 0; r < STRIP; r++, place += columns)
      if (from + r < lines) y[place] = finished<T>(sums[r], place);
  }
}

// conv_depthwise_K_*: strides 1 or 2, no dilation, one filter a channel.
// grid: ceil(batch * groups / planes) * bands; block: 256; no dynamic shared memory.
#define DEPTHWISE(suffix, T, K, STRIP, BLOCKS)                                                  \
  KERNEL(256, BLOCKS)                                                                           \
  conv_depthwise_##K##_##suffix(const T* x, const T* w, const T* bias, T* y, DepthwiseArgs a) { \
    __shared__ __align__(16) float held[PLANE_ROOM];                                            \
    if (a.c.stride[1] == 1)                                                                     \
      conv_planes<T, K, 1, STRIP>(x, w, bias, y, a, held);                                      \
    else                                                                                        \
      conv_planes<T, K, 2, STRIP>(x, w, bias, y, a, held);                                      \
  }
#define DEPTHWISE_ALL(suffix, T) \
  DEPTHWISE(suffix, T, 3, 7, 4)  \
  DEPTHWISE(suffix, T, 5, 14, 3) \
  DEPTHWISE(suffix, T, 7, 7, 3)
DEPTHWISE_ALL(f32, float)
DEPTHWISE_ALL(f16, f16)
DEPTHWISE_ALL(bf16, bf16)
