// Convolutions of 8-bit integers by tensor cores: images and weights are laid out with channels
// last first, padded by the zero point, so that windows are runs of bytes without bounds.
#include "bytes.cuh"
#include "conv.cuh"

// `room`: extents of an image with its padding; `held`: channels of a group with theirs, a multiple
// of 4; `pitch`: bytes of a row of weights, a multiple of 16.
struct ByteConvArgs {
  ConvArgs c;
  i32 room[3], held;
  i64 pitch;
};

// What becomes of sums: whole numbers (kind 0), or bytes with a sign (1) or without (2), of scales
// of x, of the weights and of the result.  bias: null, or one for each filter.
struct ByteResult {
  const i32* bias;
  const float *x_scale, *w_scale, *y_scale;
  const u8* y_zero;
  i32 w_step, kind;
};

// x [batch, groups * channels, size...] as [batch, groups, room..., held]; what is added is `zero`,
// or 0 where that is null.  A tile is 64 places of 32 channels.  c.pad: room before the first item.
KERNEL(256) conv_lay_out(const u8* x, u8* y, const u8* zero, ByteConvArgs a) {
  __shared__ __align__(4) u8 tile[64][36];
  const ConvArgs& c = a.c;
  const u32 area = a.room[1] * a.room[2], places = area * a.room[0];
  const u32 tp = (u32)ceil_div(places, 64), tc = (u32)ceil_div(a.held, 32);
  const u32 image = blockIdx.x / (tp * tc), rest = blockIdx.x % (tp * tc);
  const u32 p0 = rest / tc * 64, c0 = rest % tc * 32, p = p0 + threadIdx.x % 64;
  const i32 d = (i32)(p / area) - c.pad[0], h = (i32)(p % area / a.room[2]) - c.pad[1];
  const i32 w = (i32)(p % a.room[2]) - c.pad[2];
  const bool inside =
      p < places && (u32)d < (u32)c.size[0] && (u32)h < (u32)c.size[1] && (u32)w < (u32)c.size[2];
  const i64 size = (i64)c.size[0] * c.size[1] * c.size[2];
  const u8* from =
      x + (i64)image * c.channels * size + (inside ? ((i64)d * c.size[1] + h) * c.size[2] + w : 0);
  const u8 added = zero ? *zero : (u8)0;
  UNROLL
  for (u32 i = threadIdx.x / 64; i < 32; i += 4)
    tile[threadIdx.x % 64][i] = inside && c0 + i < (u32)c.channels ? from[(c0 + i) * size] : added;
  __syncthreads();
  const u32 words = min(a.held - (i32)c0, 32) / 4;
  u8* to = y + ((i64)image * places + p0) * a.held + c0;
  for (u32 i = threadIdx.x; i < 64 * words; i += 256) {
    const u32 place = i / words, word = i % words;
    if (p0 + place < places)
      *reinterpret_cast<u32*>(to + (i64)place * a.held + word * 4) =
          *reinterpret_cast<const u32*>(&tile[place][word * 4]);
  }
}

// Where runs of `run` bytes of a window begin, from its first byte on.
KERNEL(256) conv_runs(i32* table, ByteConvArgs a, i32 run, i64 entries) {
  const ConvArgs& c = a.c;
  const i32 volume = c.kernel[0] * c.kernel[1] * c.kernel[2];
  for (i64 i = first_item(); i < entries; i += item_step()) {
    const i32 byte = (i32)i * run, tap = byte / a.held;
    const i32 d = tap / (c.kernel[1] * c.kernel[2]) * c.dilation[0];
    const i32 h = tap / c.kernel[2] % c.kernel[1] * c.dilation[1];
    const i32 w = tap % c.kernel[2] * c.dilation[2];
    table[i] = tap < volume ? ((d * a.room[1] + h) * a.room[2] + w) * a.held + byte % a.held : 0;
  }
}

struct FinishBytes {
  const ByteResult& r;
  __device__ __forceinline__ u8 operator()(u32 row, i64, int x) const {
    const float scale = __fdiv_rn(__fmul_rn(*r.x_scale, r.w_scale[row * r.w_step]), *r.y_scale);
    const int sum = r.bias ? (int)((u32)x + (u32)r.bias[row]) : x;
    return round_byte(sum, scale, byte_at(r.y_zero, 0, r.kind == 1), r.kind == 1);
  }
};
struct FinishWhole {
  __device__ __forceinline__ int operator()(u32, i64, int x) const { return x; }
};

// Starts the copies of 64 bytes of the windows of BN points; a thread has 16 bytes of each of two.
template <int BN>
struct WindowLoad {
  const u8* at[2];
  const i32* table;
  i32 bytes;
  bool wide;  // runs of 16 bytes, else of 4
  __device__ __forceinline__ WindowLoad(const u8* x, const i32* table_, const ByteConvArgs& a,
                                        const ConvTile& tile)
      : table(table_), wide(a.held % 16 == 0) {
    const ConvArgs& c = a.c;
    const u32 area = c.out[1] * c.out[2], points = area * c.out[0];
    const i64 image = (i64)a.room[0] * a.room[1] * a.room[2] * a.held;
    bytes = c.kernel[0] * c.kernel[1] * c.kernel[2] * a.held;
    UNROLL
    for (int i = 0; i < 2; i++) {
      const u32 n = min(tile.n + threadIdx.x / 4 + i * (BN / 2), points * c.batch - 1);
      const u32 b = n / points, p = n % points;
      const i64 place =
          ((i64)(p / area) * c.stride[0] * a.room[1] + (i64)(p % area / c.out[2]) * c.stride[1]) *
              a.room[2] +
          (i64)(p % c.out[2]) * c.stride[2];
      at[i] = x + ((i64)b * c.groups + tile.group) * image + place * a.held;
    }
  }
  __device__ __forceinline__ void operator()(int i, u8* b) const {
    const int q = threadIdx.x % 4, k = i * 64 + q * 16, left = bytes - k;
    UNROLL
    for (int e = 0; e < 2; e++) {
      u8* to = b + chunk_at<4>(threadIdx.x / 4 + e * (BN / 2), q) * 16;
      if (wide) {
        copy_async<16>(to, left > 0 ? at[e] + table[k / 16] : at[e], left > 0 ? 16 : 0);
      } else {
        UNROLL
        for (int j = 0; j < 4; j++) {
          const bool valid = left > j * 4;
          copy_async<4>(to + j * 4, valid ? at[e] + table[k / 4 + j] : at[e], valid ? 4 : 0);
        }
      }
    }
  }
};

// A: weights, B: windows.
template <class TX, class TW, int BM, int BN>
DEVICE void conv_bytes(const u8* x, const u8* w, const u8* x_zero, const u8* w_zero, i32 zero_step,
                       void* y, const i32* table, const ByteConvArgs& a, const ByteResult& r) {
  typedef MmaTile<TW, TX, int, BM, BN, 32, 32, false, true> Tile;
  __shared__ __align__(16) u8 shared[Tile::BYTES];
  TW* as = reinterpret_cast<TW*>(shared);
  TX* bs = reinterpret_cast<TX*>(shared + Tile::STAGES * Tile::A_ITEMS);
  const ConvArgs& c = a.c;
  const ConvTile at = conv_tile<BM, BN>(c);
  const i64 first = (i64)at.group * c.filters + at.m, rows = c.filters - (i64)at.m;
  const TW* weights = reinterpret_cast<const TW*>(w) + first * a.pitch;
  const WindowLoad<BN> windows(x, table, a, at);
  Tile tile;
  Sums<Tile::MT, Tile::NT, TW, TX> sums(x_zero != nullptr, w_zero != nullptr);
  run_mma(
      tile, as, bs, (windows.bytes + 63) / 64,
      [&](int i, TW* to, TX* b) {
        copy_chunks<TW, BM, 4, Tile::THREADS>(to, weights + i * 64, a.pitch, 1, rows,
                                              windows.bytes - i * 64, true);
        windows(i, reinterpret_cast<u8*>(b));
      },
      [](int, TW*, TX*) {}, [&](const auto& fa, const auto& fb) { sums(fa, fb); });
  const int zx = x_zero ? (int)*reinterpret_cast<const TX*>(x_zero) : 0;
  const TW* zw = reinterpret_cast<const TW*>(w_zero);
  subtract_zeros(
      tile, sums, windows.bytes,
      [&](int i) { return zw && i < rows ? (int)zw[(first + i) * zero_step] : 0; },
      [&](int) { return zx; });
  int* room = reinterpret_cast<int*>(shared);
  if (r.kind == 0)
    store_mma(tile, room, ConvOutput<int, FinishWhole>(static_cast<int*>(y), {}, c, at));
  else
    store_mma(tile, room, ConvOutput<u8, FinishBytes>(static_cast<u8*>(y), {r}, c, at));
}

// x, w: as conv_lay_out has them; y: i32 or bytes.  grid: groups * ceil(filters / 64) * ceil(batch
// * out / 128); block: 256; no dynamic shared memory.
#define CONV_BYTES(types, TX, TW)                                                     \
  KERNEL(256)                                                                         \
  conv_##types(const u8* x, const u8* w, const u8* x_zero, const u8* w_zero, void* y, \
               const i32* table, ByteConvArgs a, ByteResult r, i32 zero_step) {       \
    conv_bytes<TX, TW, 64, 128>(x, w, x_zero, w_zero, zero_step, y, table, a, r);     \
  }
CONV_BYTES(s8_s8, s8, s8)
CONV_BYTES(u8_s8, u8, s8)
CONV_BYTES(s8_u8, s8, u8)
CONV_BYTES(u8_u8, u8, u8)

// One channel a group: x and w as they lie, a thread makes one item.  `signs`: 1 x has signs, 2 the
// weights have.  grid: any; block: 256.
KERNEL(256)
conv_depthwise_bytes(const u8* x, const u8* w, const u8* x_zero, const u8* w_zero, void* y,
                     ConvArgs c, ByteResult r, i32 zero_step, i32 signs) {
  const u32 points = c.out[0] * c.out[1] * c.out[2], area = c.out[1] * c.out[2];
  const i32 volume = c.kernel[0] * c.kernel[1] * c.kernel[2], filters = c.groups * c.filters;
  const i64 size = (i64)c.size[0] * c.size[1] * c.size[2], total = (i64)c.batch * filters * points;
  const bool xs = signs & 1, ws = signs & 2;
  const int zx = x_zero ? byte_at(x_zero, 0, xs) : 0;
  for (i64 i = first_item(); i < total; i += item_step()) {
    const i64 plane = divide(i, points);
    const u32 p = (u32)(i - plane * points);
    const i64 b = divide(plane, filters), f = plane - b * filters;
    const u8* image = x + (b * c.groups + divide(f, c.filters)) * size;
    const i32 at[3] = {(i32)(p / area) * c.stride[0] - c.pad[0],
                       (i32)(p % area / c.out[2]) * c.stride[1] - c.pad[1],
                       (i32)(p % c.out[2]) * c.stride[2] - c.pad[2]};
    const int zw = w_zero ? byte_at(w_zero, f * zero_step, ws) : 0;
    int sum = 0;
    for (i32 kd = 0; kd < c.kernel[0]; kd++) {
      const i32 d = at[0] + kd * c.dilation[0];
      if ((u32)d >= (u32)c.size[0]) continue;
      for (i32 kh = 0; kh < c.kernel[1]; kh++) {
        const i32 h = at[1] + kh * c.dilation[1];
        if ((u32)h >= (u32)c.size[1]) continue;
        const i64 line = ((i64)d * c.size[1] + h) * c.size[2];
        const i64 taps = f * volume + (kd * c.kernel[1] + kh) * c.kernel[2];
        for (i32 kw = 0; kw < c.kernel[2]; kw++) {
          const i32 q = at[2] + kw * c.dilation[2];
          if ((u32)q < (u32)c.size[2])
            sum += (byte_at(image, line + q, xs) - zx) * (byte_at(w, taps + kw, ws) - zw);
        }
      }
    }
    if (r.kind == 0)
      static_cast<int*>(y)[i] = sum;
    else
      static_cast<u8*>(y)[i] = FinishBytes{r}((u32)f, i, sum);
  }
}
