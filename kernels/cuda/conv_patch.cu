// Convolutions of many channels along one or two axes by tensor cores: a block reads what the
// windows of its points reach once, and all items of the kernel multiply out of shared memory.
#include "conv.cuh"

static constexpr int ROUNDS = 3;  // of reads of a patch in a stage
template <class T>
constexpr int CHUNK = 32 / sizeof(T);  // channels at once

// A tile has BN >> bits lines of 1 << bits points of one image, whose windows reach `lines` lines
// of `places` places: the patch.  Places lie `step` apart: more than 1 where a kernel of one item
// skips what is between; stride counts places.  kernel[0] is 1.  sums: where each of gridDim.y
// parts of the channels leaves its sums, a result of their own; null: y.
struct PatchArgs {
  ConvArgs c;
  i32 bits, lines, places;
  i32 step[3];
  float* sums;
};

// Floats are multiplied as tf32.
DEVICE float as_operand(float x) { return __uint_as_float(to_tf32(x)); }
DEVICE u16 as_operand(u16 x) { return x; }
template <class T>
DEVICE void store_operands(T* to, const Pack<T>& x) {
  store16(to, x);
}
DEVICE void store_operands(float* to, const Pack<float>& x) {
  store16(to, Pack<float>{{as_operand(x.v[0]), as_operand(x.v[1]), as_operand(x.v[2]),
                           as_operand(x.v[3])}});
}

// w: [rows, channels, taps]; y: [rows, chunks, taps, CHUNK], zeros behind the last channel.
// grid: any; block: 256.
template <class T>
DEVICE void arrange_weights(const T* w, T* y, i64 total, i32 channels, i32 taps) {
  constexpr int C = CHUNK<T>;
  const u32 chunks = (channels + C - 1) / C;
  for (i64 i = first_item(); i < total; i += item_step()) {
    const i64 run = divide(i, C), line = divide(run, taps), row = divide(line, chunks);
    const i32 tap = (i32)(run - line * taps);
    const i32 channel = (i32)(line - row * chunks) * C + (i32)(i - run * C);
    y[i] = channel < channels ? as_operand(w[(row * channels + channel) * taps + tap]) : T{};
  }
}
#define CONV_PATCH_WEIGHTS(name, T)                           \
  KERNEL(256)                                                 \
  name(const T* w, T* y, i64 total, i32 channels, i32 taps) { \
    arrange_weights<T>(w, y, total, channels, taps);          \
  }
CONV_PATCH_WEIGHTS(conv_patch_weights_b16, u16)
CONV_PATCH_WEIGHTS(conv_patch_weights_tf32, float)

// Where a block stands: its filters, and its first point.
struct PatchSpot {
  ConvTile tile;
  u32 image;
  i32 y, x;
};
template <int BM, int BN>
DEVICE PatchSpot patch_spot(const PatchArgs& a) {
  const ConvArgs& c = a.c;
  const u32 width = 1 << a.bits, height = BN >> a.bits, i = blockIdx.x;
  const u32 tm = (c.filters + BM - 1) / BM, tx = (c.out[2] + width - 1) / width;
  const u32 ty = (c.out[1] + height - 1) / height, tile = i / tm % (tx * ty);
  const u32 image = i / tm / (tx * ty) % c.batch, group = i / tm / (tx * ty) / c.batch;
  return {{group, i % tm * BM, 0}, image, (i32)(tile / tx * height), (i32)(tile % tx * width)};
}

// Where the 16 bytes lie that are at item `at` of patches without gaps: so that ldmatrix meets no
// bank twice in a line.
template <class T>
DEVICE i32 swizzled(i32 at) {
  return at ^ (at >> 3 & Pack<T>::N);
}

// The patches of a block, a chunk of channels after the other.
template <class T, int THREADS>
struct Patches {
  static constexpr int E = Pack<T>::N;
  const T* image;
  const i32* offsets;  // of the places in a plane, or -1
  const ConvArgs& c;
  i32 places, plane;
  __device__ __forceinline__ Patches(const T* x, const PatchArgs& a, const PatchSpot& at, i32* room)
      : offsets(room), c(a.c), places(a.lines * a.places), plane(c.size[1] * c.size[2]) {
    image = x + ((i64)at.image * c.groups + at.tile.group) * c.channels * plane;
    const i32 y0 = at.y * c.stride[1] * a.step[1] - c.pad[1];
    const i32 x0 = at.x * c.stride[2] * a.step[2] - c.pad[2];
    for (i32 p = threadIdx.x; p < places; p += THREADS) {
      const i32 h = y0 + p / a.places * a.step[1], w = x0 + p % a.places * a.step[2];
      room[p] = (u32)h < (u32)c.size[1] && (u32)w < (u32)c.size[2] ? h * c.size[2] + w : -1;
    }
  }
  // A round of reads of chunk `chunk`: half its channels of a place each thread.
  __device__ __forceinline__ void read(int chunk, int round, Pack<T>& to) const {
    const i32 k = round * THREADS + threadIdx.x, half = k >= places;
    if (k >= 2 * places) return;
    const i32 offset = offsets[k - half * places], channel = chunk * 2 * E + half * E;
    const i32 left = offset < 0 ? 0 : c.channels - channel;
    const T* from = image + (i64)channel * plane + offset;
    to = {};
    if (left >= E) {
      UNROLL
      for (int e = 0; e < E; e++) to.v[e] = from[(i64)e * plane];
    } else {
      UNROLL
      for (int e = 0; e < E - 1; e++)
        if (e < left) to.v[e] = from[(i64)e * plane];
    }
  }
  __device__ __forceinline__ void write(T* patch, int round, const Pack<T>& from) const {
    const i32 k = round * THREADS + threadIdx.x, half = k >= places;
    const i32 at = (k - half * places) * 2 * E + half * E;
    if (k < 2 * places) store_operands(patch + swizzled<T>(at), from);
  }
};

// Weights of BM filters, two taps of a chunk a stage; filters that are missing repeat the last one.
template <class T, int BM, int THREADS>
struct PatchWeights {
  static constexpr int LINES = BM * 4 / THREADS, E = Pack<T>::N;
  const T* lines[LINES];  // this thread's 16 bytes of each
  const i32 taps, at = opaque(chunk_at<4>(threadIdx.x / 4, threadIdx.x % 4) * E);
  i32 tap = 0;  // of the stage that is copied next
  __device__ __forceinline__ PatchWeights(const T* w, i64 k, i32 rows, i32 taps_) : taps(taps_) {
    UNROLL
    for (int n = 0; n < LINES; n++)
      lines[n] =
          w + min((i32)threadIdx.x / 4 + n * (THREADS / 4), rows - 1) * k + threadIdx.x % 4 * E;
  }
  __device__ __forceinline__ void copy(T* to) {
    const bool two = tap + 1 < taps;
    UNROLL
    for (int n = 0; n < LINES; n++) {
      if (two || threadIdx.x % 4 < 2) copy_async<16>(to + at + n * (THREADS * E), lines[n], 16);
      lines[n] += two ? 4 * E : 2 * E;
    }
    tap = tap + 2 < taps ? tap + 2 : 0;
  }
};

// The taps of a kernel, one after the other, as shifts in the patch.
template <int CHUNK>
struct Taps {
  const i32 width, step, line;  // items of a line of the kernel; shifts to the next item and line
  i32 at = 0, shift = 0;
  __device__ __forceinline__ Taps(const PatchArgs& a)
      : width(a.c.kernel[2]),
        step(a.c.dilation[2] * CHUNK),
        line((a.c.dilation[1] * a.places - (a.c.kernel[2] - 1) * a.c.dilation[2]) * CHUNK) {}
  __device__ __forceinline__ i32 next() {
    const i32 now = shift;
    const bool last = ++at == width;
    shift += last ? line : step;
    if (last) at = 0;
    return now;
  }
  __device__ __forceinline__ void restart() { at = shift = 0; }
};

// A stage is two taps of a chunk: their weights, and the patch behind them.  Meanwhile the patch of
// the next chunk is read, a part each stage.
template <class T, int BM, int BN>
struct PatchTile : MmaTile<T, T, float, BM, BN, 64, 32, false, true> {
  static constexpr int E = Pack<T>::N, C = CHUNK<T>;
  typedef MmaTile<T, T, float, BM, BN, 64, 32, false, true> Base;
  static constexpr int MT = Base::MT, NT = Base::NT, THREADS = Base::THREADS;
  static constexpr int B_ITEMS = 0, BYTES = Base::STAGES * Base::A_ITEMS * sizeof(T);  // of stages
  static constexpr int PLACES = (48 * 1024 - BYTES) / (2 * 32 + 4);
  const Patches<T, THREADS> patches;
  Taps<C> shifts;
  const i32 taps, steps;
  i32 chunk, stop, step = 0;  // of this block's part: from chunk to stop
  T *patch, *then;            // of this chunk and the next
  i32 line, points[NT / 2];   // what this lane reads of weights, and of points for the first tap

  __device__ __forceinline__ PatchTile(const T* x, const PatchArgs& a, const PatchSpot& at, T* room,
                                       i32* offsets)
      : patches(x, a, at, offsets),
        shifts(a),
        taps(a.c.kernel[1] * a.c.kernel[2]),
        steps((taps + 1) / 2),
        patch(room),
        then(room + PLACES * C) {
    const ConvPart<C> part(a.c.channels);
    chunk = part.first;
    stop = part.first + part.tiles;
    const int lane = threadIdx.x % 32;
    line = opaque(chunk_at<4>(Base::warp_row() + lane % 16, lane / 16) * E);
    UNROLL
    for (int j = 0; j < NT / 2; j++) {
      const int n = Base::warp_column() + j * 16 + lane % 8 + lane / 16 * 8;
      const i32 place =
          (n >> a.bits) * a.c.stride[1] * a.places + (n & ((1 << a.bits) - 1)) * a.c.stride[2];
      points[j] = place * C + lane / 8 % 2 * E;
    }
    __syncthreads();  // offsets are there
    Pack<T> held;
    for (int round = 0; round * THREADS < 2 * patches.places; round++) {
      patches.read(chunk, round, held);
      patches.write(patch, round, held);
    }
  }
  __device__ __forceinline__ void multiply_tap(const T* as, int tap) {
    const i32 shift = shifts.next();
    u32 a[MT][4], b[NT / 2][4];
    UNROLL
    for (int i = 0; i < MT; i++)
      load_matrices<false>(a[i], as + (line ^ tap * C) + i * 16 * Base::BK);
    UNROLL
    for (int j = 0; j < NT / 2; j++)
      load_matrices<false>(b[j], patch + swizzled<T>(points[j] + shift));
    UNROLL
    for (int i = 0; i < MT; i++) UNROLL
    for (int j = 0; j < NT; j++)
      Mma<T, T>::run(this->acc[i][j], a[i], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
  }
  __device__ __forceinline__ void multiply(const T* as, const T*, Nothing) {
    const i32 round = step * ROUNDS;
    const bool more = chunk + 1 < stop && round * THREADS < 2 * patches.places;
    Pack<T> held[ROUNDS];
    UNROLL
    for (int r = 0; r < ROUNDS; r++)
      if (more) patches.read(chunk + 1, round + r, held[r]);
    multiply_tap(as, 0);
    if (2 * step + 1 < taps) multiply_tap(as, 1);
    UNROLL
    for (int r = 0; r < ROUNDS; r++)
      if (more) patches.write(then, round + r, held[r]);
    if (++step < steps) return;
    step = 0;
    chunk++;
    shifts.restart();
    T* const before = patch;
    patch = then;
    then = before;
  }
};

template <class Out>
struct PatchOutput {
  const Out out;
  const PatchSpot& at;
  const i32 bits;
  __device__ __forceinline__ void put_pair(int i, int j, float a, float b) const {
    const u32 r = out.m + i;
    const i32 y = at.y + (j >> bits), x = at.x + (j & ((1 << bits) - 1));
    const ConvArgs& c = out.c;
    if (r >= (u32)c.filters || y >= c.out[1] || x >= c.out[2]) return;
    const i64 place = out.place(r, at.image, y * c.out[2] + x);
    out.put_two(r, place, a, x + 1 < c.out[2], place + 1, b);
  }
};

template <class T, int BM, int BN>
DEVICE void conv_by_patches(const T* x, const T* w, const T* bias, T* y, const PatchArgs& a) {
  typedef PatchTile<T, BM, BN> Tile;
  __shared__ __align__(16) T stages[Tile::BYTES / sizeof(T)], room[2 * Tile::PLACES * Tile::C];
  __shared__ i32 offsets[Tile::PLACES];
  const ConvArgs& c = a.c;
  const PatchSpot at = patch_spot<BM, BN>(a);
  Tile tile(x, a, at, room, offsets);
  const i64 chunk = tile.taps * Tile::C, k = ceil_div(c.channels, Tile::C) * chunk;
  w += ((i64)at.tile.group * c.filters + at.tile.m) * k + tile.chunk * chunk;
  PatchWeights<T, BM, Tile::THREADS> weights(w, k, c.filters - at.tile.m, tile.taps);
  run_mma(
      tile, stages, stages, (tile.stop - tile.chunk) * tile.steps,
      [&](int, T* to, T*) { weights.copy(to); }, [](int, T*, T*) {}, Nothing());
  const auto store = [&](const auto& out) {
    store_mma(tile, reinterpret_cast<float*>(stages), PatchOutput<decltype(out)>{out, at, a.bits});
  };
  if (a.sums)
    store(ConvOutput<float, KeepSum>(ConvPart<1>::result(a.sums, c), {}, c, at.tile));
  else
    store(ConvOutput<T>(y, {bias}, c, at.tile));
}

// grid: groups * batch * tiles * ceil(filters / BM), parts; block: THREADS; no dynamic shared
// memory.
#define CONV_PATCH(name, T, THREADS, BM, BN)                       \
  KERNEL(THREADS)                                                  \
  name(const T* x, const T* w, const T* bias, T* y, PatchArgs a) { \
    conv_by_patches<T, BM, BN>(x, w, bias, y, a);                  \
  }
#define CONV_PATCHES(suffix, T)                             \
  CONV_PATCH(conv_patch_128_128_##suffix, T, 256, 128, 128) \
  CONV_PATCH(conv_patch_64_128_##suffix, T, 128, 64, 128)   \
  CONV_PATCH(conv_patch_128_64_##suffix, T, 128, 128, 64)   \
  CONV_PATCH(conv_patch_64_64_##suffix, T, 64, 64, 64)
CONV_PATCHES(f16, f16)
CONV_PATCHES(bf16, bf16)
CONV_PATCHES(tf32, float)
