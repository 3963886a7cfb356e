// Convolutions and transposed convolutions as implicit matrix products, and convolutions of single
// channels.
#include "conv.cuh"

// Fills the table of taps.  grid: any; block: 256.  Entries count `entries`, a multiple of 32.
KERNEL(256) conv_table(Tap* table, ConvArgs c, i64 entries, i32 transposed) {
  const i32 volume = c.kernel[0] * c.kernel[1] * c.kernel[2], plane = c.size[1] * c.size[2];
  for (i64 k = first_item(); k < entries; k += item_step()) {
    const i32 channel = (i32)k / volume, v = (i32)k % volume;
    const i32 d = v / (c.kernel[1] * c.kernel[2]) * c.dilation[0];
    const i32 h = v / c.kernel[2] % c.kernel[1] * c.dilation[1],
              w = v % c.kernel[2] * c.dilation[2];
    const i32 start = channel * c.size[0] * plane;
    table[k] = channel >= c.channels ? make_int4(0, OUTSIDE, OUTSIDE, OUTSIDE)
               : transposed          ? make_int4(start, d, h, w)
                                     : make_int4(start + d * plane + h * c.size[2] + w, d, h, w);
  }
}

// ---- f32 by FMA or tf32

template <class Tile, int BM, int BN, bool FORWARD>
DEVICE ConvTile conv_simt(const float* x, const float* w, const Tap* table, const ConvArgs& c,
                          float* shared, Tile& tile) {
  constexpr int BK = 16, STEP = Tile::THREADS / BN;
  const ConvTile at = conv_tile<BM, BN>(c);
  const i64 k = (i64)c.channels * c.kernel[0] * c.kernel[1] * c.kernel[2];
  const i64 rows = c.filters - (i64)at.m;
  w += ((i64)at.group * c.filters + at.m) * k;
  const bool packed = packed_lines(w, k, 1);
  const int n = threadIdx.x % BN;
  const ConvColumn<float, FORWARD> column(x, c, at.group, at.n + n);
  const ConvPart<BK> part(k);
  run_simt(tile, shared, part.tiles, [&](int number, float* as, float* bs) {
    const int i = part.first + number;
    copy_tile<float, BM, BK, Tile::PA, Tile::THREADS>(as, w + (i64)i * BK, k, 1, rows,
                                                      k - (i64)i * BK, packed);
    _Pragma("unroll 4") for (int j = threadIdx.x / BN; j < BK; j += STEP) {
      const float* item = column.item(c, table[i * BK + j]);
      copy_async<4>(bs + j * Tile::LB + n, item ? item : x, item ? 4 : 0);
    }
  });
  return at;
}

template <int BM, int BN, int TM, int TN, bool FORWARD>
DEVICE void conv_by_fma(const float* x, const float* w, const float* bias, float* y,
                        const Tap* table, const ConvArgs& c) {
  typedef SimtTile<float, BM, BN, 16, TM, TN> Tile;
  __shared__ __align__(16) float shared[2 * (Tile::A_ITEMS + Tile::B_ITEMS)];
  Tile tile;
  const ConvTile at = conv_simt<Tile, BM, BN, FORWARD>(x, w, table, c, shared, tile);
  store_simt(tile, shared, ConvOutput<float>(ConvPart<16>::result(y, c), {bias}, c, at));
}

template <int BM, int BN, bool FORWARD>
DEVICE void conv_by_tf32(const float* x, const float* w, const float* bias, float* y,
                         const Tap* table, const ConvArgs& c) {
  typedef Tf32Tile<BM, BN, 16> Tile;
  __shared__ __align__(16) float shared[2 * (Tile::A_ITEMS + Tile::B_ITEMS)];
  Tile tile;
  const ConvTile at = conv_simt<Tile, BM, BN, FORWARD>(x, w, table, c, shared, tile);
  store_mma(tile, shared, ConvOutput<float>(ConvPart<16>::result(y, c), {bias}, c, at));
}

// ---- f16 and bf16: items are read to registers while the tile before is multiplied

template <class T, int BM, int BN, int WM, int WN, bool FORWARD>
DEVICE void conv_half(const T* x, const T* w, const T* bias, T* y, const Tap* table,
                      const ConvArgs& c) {
  typedef MmaTile<T, T, float, BM, BN, WM, WN, false, true> Tile;
  constexpr int BK = Tile::BK, ITEMS = BK * BN / Tile::THREADS;
  __shared__ __align__(16) u8 shared[Tile::BYTES];
  T *as = reinterpret_cast<T*>(shared), *bs = as + Tile::STAGES * Tile::A_ITEMS;
  const ConvTile at = conv_tile<BM, BN>(c);
  const i64 k = (i64)c.channels * c.kernel[0] * c.kernel[1] * c.kernel[2];
  w += ((i64)at.group * c.filters + at.m) * k;
  const i64 rows = c.filters - (i64)at.m;
  const bool packed = packed_lines(w, k, 1);
  const int n = threadIdx.x % BN, first = threadIdx.x / BN * ITEMS;
  const ConvColumn<T, FORWARD> column(x, c, at.group, at.n + n);
  T held[ITEMS];
  Tile tile;
  run_mma(
      tile, as, bs, (int)ceil_div(k, BK),
      [&](int i, T* a, T*) {
        copy_chunks<T, BM, 4, Tile::THREADS>(a, w + (i64)i * BK, k, 1, rows, k - (i64)i * BK,
                                             packed);
        UNROLL
        for (int j = 0; j < ITEMS; j++) {
          const T* item = column.item(c, table[i * BK + first + j]);
          held[j] = item ? *item : narrow<T>(0.f);
        }
      },
      [&](int, T*, T* b) {
        UNROLL
        for (int q = 0; q < ITEMS / 8; q++) {
          Pack<T> v;
          UNROLL
          for (int e = 0; e < 8; e++) v.v[e] = held[q * 8 + e];
          store16(b + chunk_at<4>(n, first / 8 + q) * 8, v);
        }
      },
      Nothing());
  store_mma(tile, reinterpret_cast<float*>(shared), ConvOutput<T>(y, {bias}, c, at));
}

// w: [groups * filters, channels * kernel], also for transposed convolutions (whose weights are
// permuted first). grid: groups * ceil(filters / BM) * ceil(batch * out / BN), parts of k (of
// floats: each writes a result, to be added up); block: THREADS; no dynamic shared memory.
#define CONV(name, T, THREADS, BLOCKS, BODY)                                        \
  KERNEL(THREADS, BLOCKS)                                                           \
  name(const T* x, const T* w, const T* bias, T* y, const Tap* table, ConvArgs c) { \
    BODY(x, w, bias, y, table, c);                                                  \
  }
CONV(conv_f32, float, 256, 2, (conv_by_fma<128, 128, 8, 8, true>))
CONV(conv_small_f32, float, 256, 2, (conv_by_fma<64, 64, 4, 4, true>))
CONV(conv_tf32, float, 256, 2, (conv_by_tf32<128, 128, true>))
CONV(conv_f16, f16, 256, 1, (conv_half<f16, 128, 128, 64, 32, true>))
CONV(conv_bf16, bf16, 256, 1, (conv_half<bf16, 128, 128, 64, 32, true>))
CONV(conv_small_f16, f16, 128, 1, (conv_half<f16, 64, 64, 32, 32, true>))
CONV(conv_small_bf16, bf16, 128, 1, (conv_half<bf16, 64, 64, 32, 32, true>))
CONV(conv_transpose_f32, float, 256, 2, (conv_by_fma<64, 64, 4, 4, false>))
CONV(conv_transpose_f16, f16, 128, 1, (conv_half<f16, 64, 64, 32, 32, false>))
CONV(conv_transpose_bf16, bf16, 128, 1, (conv_half<bf16, 64, 64, 32, 32, false>))

// ---- one channel a group (depthwise): w is [groups * filters, kernel]; a thread makes one item

template <class T>
DEVICE void conv_of_channels(const T* x, const T* w, const T* bias, T* y, const ConvArgs& c) {
  const u32 points = c.out[0] * c.out[1] * c.out[2], area = c.out[1] * c.out[2];
  const i32 volume = c.kernel[0] * c.kernel[1] * c.kernel[2], filters = c.groups * c.filters;
  const i64 size = (i64)c.size[0] * c.size[1] * c.size[2], total = (i64)c.batch * filters * points;
  for (i64 i = first_item(); i < total; i += item_step()) {
    const i64 plane = divide(i, points);
    const u32 p = (u32)(i - plane * points);
    const i64 b = divide(plane, filters), f = plane - b * filters;
    const T* image = x + (b * c.groups + divide(f, c.filters)) * size;
    const T* weights = w + f * volume;
    const i32 d0 = (i32)(p / area) * c.stride[0] - c.pad[0];
    const i32 h0 = (i32)(p % area / c.out[2]) * c.stride[1] - c.pad[1];
    const i32 w0 = (i32)(p % c.out[2]) * c.stride[2] - c.pad[2];
    float sum = bias ? widen(bias[f]) : 0.f;
    for (i32 kd = 0; kd < c.kernel[0]; kd++) {
      const i32 d = d0 + kd * c.dilation[0];
      if ((u32)d >= (u32)c.size[0]) continue;
      for (i32 kh = 0; kh < c.kernel[1]; kh++) {
        const i32 h = h0 + kh * c.dilation[1];
        if ((u32)h >= (u32)c.size[1]) continue;
        const T* line = image + ((i64)d * c.size[1] + h) * c.size[2];
        const T* taps = weights + (kd * c.kernel[1] + kh) * c.kernel[2];
        for (i32 kw = 0; kw < c.kernel[2]; kw++) {
          const i32 at = w0 + kw * c.dilation[2];
          if ((u32)at < (u32)c.size[2]) sum += widen(line[at]) * widen(taps[kw]);
        }
      }
    }
    y[i] = finished<T>(sum, i);
  }
}

// grid: any (ceil(items / 256)); block: 256; no dynamic shared memory.
#define CONV_DEPTHWISE(suffix, T)                                                    \
  KERNEL(256, 1)                                                                     \
  conv_depthwise_##suffix(const T* x, const T* w, const T* bias, T* y, ConvArgs c) { \
    conv_of_channels<T>(x, w, bias, y, c);                                           \
  }
CONV_DEPTHWISE(f32, float)
CONV_DEPTHWISE(f16, f16)
CONV_DEPTHWISE(bf16, bf16)
