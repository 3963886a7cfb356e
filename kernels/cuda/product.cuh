// Block tiles of matrix products: SIMT tiles, tensor-core tiles, and how their operands get to
// shared memory.
#pragma once
#include "device.cuh"

// A warp's share of results, LINES x COLUMNS in `room`, goes to `out` in pairs of columns. Lines
// are rows from `row` on, in runs of RUN that are STEP rows apart.
template <int LINES, int COLUMNS, int RUN, int STEP, class Acc, class Out>
DEVICE void store_warp(const Acc* room, int row, int column, const Out& out) {
  __syncwarp();  // the results are there
  _Pragma("unroll 1") for (int e = threadIdx.x % 32 * 2; e < LINES * COLUMNS; e += 64) {
    const int line = e / COLUMNS;
    out.put_pair(row + line / RUN * STEP + line % RUN, column + e % COLUMNS, room[e], room[e + 1]);
  }
}
// How many of `parts`, a power of two, of so many bytes have room at once: few copies of what
// follows a result make a short program.
constexpr int parts_at_once(int parts, int bytes, int room) {
  return parts == 1 || parts * bytes <= room ? parts : parts_at_once(parts / 2, bytes, room);
}

// ---- SIMT (and tf32): A as lines of k in shared memory, B as lines of n; two stages

// One operand tile, LINES lines of ITEMS items, each line ITEMS + PAD long in shared memory.
// `lines` and `items` count what is left of the matrix.
template <class T, int LINES, int ITEMS, int PAD, int THREADS>
DEVICE void copy_tile(T* to, const T* from, i64 line_stride, i64 item_stride, i64 lines, i64 items,
                      bool packed) {
  constexpr int V = Pack<T>::N, S = sizeof(T);
  if (packed) {
    _Pragma("unroll 1") for (int c = threadIdx.x; c < LINES * ITEMS / V; c += THREADS) {
      const int line = c / (ITEMS / V), item = c % (ITEMS / V) * V;
      const int valid = line < lines ? clamp_int(items - item, 0, V) : 0;
      const T* source = valid ? from + line * line_stride + item : from;
      copy_async<16>(to + line * (ITEMS + PAD) + item, source, valid * S);
    }
    return;
  }
  const bool across = line_stride == 1;  // neighbours in memory are neighbours among the threads
  _Pragma("unroll 1") for (int c = threadIdx.x; c < LINES * ITEMS; c += THREADS) {
    const int line = across ? c % LINES : c / ITEMS, item = across ? c / LINES : c % ITEMS;
    const bool valid = line < lines && item < items;
    const T* source = valid ? from + line * line_stride + item * item_stride : from;
    copy_async<S>(to + line * (ITEMS + PAD) + item, source, valid ? S : 0);
  }
}

// Tile of BM x BN, TM x TN of it a thread; thread (ty, tx) has rows ty + i * (BM / TM).
template <class T, int BM, int BN, int BK, int TM, int TN>
struct SimtTile {
  static constexpr int V = Pack<T>::N, PA = V, PB = 2 * V, LA = BK + PA, LB = BN + PB;
  static constexpr int NX = BN / TN, NY = BM / TM, THREADS = NX * NY;
  static constexpr int A_ITEMS = BM * LA, B_ITEMS = BK * LB;
  static constexpr int BYTES = 2 * (A_ITEMS + B_ITEMS) * sizeof(T);
  T acc[TM][TN];

  __device__ __forceinline__ void clear() {
    UNROLL
    for (int i = 0; i < TM; i++) UNROLL
    for (int j = 0; j < TN; j++) acc[i][j] = (T)0;
  }
  static_assert(NX == 16, "a warp has two rows");
  static __device__ __forceinline__ int row(int i) { return threadIdx.x / NX + i * NY; }
  static __device__ __forceinline__ int column(int j) {  // runs of V columns
    return j / V * (NX * V) + threadIdx.x % NX * V + j % V;
  }
  __device__ __forceinline__ void multiply(const T* as, const T* bs) {
    constexpr int W = V / 2;  // items of a row of A at once: fewer registers than 16 bytes
    struct alignas(8) Half {
      T v[W];
    };
    _Pragma("unroll 1") for (int k = 0; k < BK; k += W) {
      Half a[TM];
      UNROLL
      for (int i = 0; i < TM; i++) a[i] = *reinterpret_cast<const Half*>(as + row(i) * LA + k);
      UNROLL
      for (int kk = 0; kk < W; kk++) {
        Pack<T> b[TN / V];
        UNROLL
        for (int j = 0; j < TN / V; j++) b[j] = load16(bs + (k + kk) * LB + column(j * V));
        UNROLL
        for (int i = 0; i < TM; i++) UNROLL
        for (int j = 0; j < TN; j++) acc[i][j] += a[i].v[kk] * b[j / V].v[j % V];
      }
    }
  }
};

// Results of a SIMT tile, by way of shared memory.
template <class T, int BM, int BN, int BK, int TM, int TN, class Out>
DEVICE void store_simt(const SimtTile<T, BM, BN, BK, TM, TN>& tile, T* shared, const Out& out) {
  typedef SimtTile<T, BM, BN, BK, TM, TN> Tile;
  constexpr int PART = 2 * BN * Tile::THREADS / 32 * sizeof(T);
  constexpr int ONCE = parts_at_once(TM, PART, Tile::BYTES);
  T* room = shared + threadIdx.x / 32 * (ONCE * 2 * BN);
  __syncthreads();  // no one reads operands any more
  UNROLL
  for (int first = 0; first < TM; first += ONCE) {
    if (first) __syncwarp();  // the room is free again
    UNROLL
    for (int i = 0; i < ONCE; i++) UNROLL
    for (int j = 0; j < TN; j++)
      room[(i * 2 + threadIdx.x / 16 % 2) * BN + Tile::column(j)] = tile.acc[first + i][j];
    store_warp<ONCE * 2, BN, 2, Tile::NY>(room, threadIdx.x / 32 * 2 + first * Tile::NY, 0, out);
  }
}

// The same shared memory, multiplied by m16n8k8 tf32; 8 warps in 2 x 4, each (BM / 2) x (BN / 4).
template <int BM, int BN, int BK>
struct Tf32Tile {
  static constexpr int V = 4, PA = 4, PB = 8, LA = BK + PA, LB = BN + PB, THREADS = 256;
  static constexpr int A_ITEMS = BM * LA, B_ITEMS = BK * LB, MT = BM / 32, NT = BN / 32;
  static constexpr int BYTES = 2 * (A_ITEMS + B_ITEMS) * sizeof(float);
  float acc[MT][NT][4];

  __device__ __forceinline__ void clear() {
    UNROLL
    for (int i = 0; i < MT * NT * 4; i++) acc[i / (NT * 4)][i / 4 % NT][i % 4] = 0.f;
  }
  static __device__ __forceinline__ int warp_row() { return threadIdx.x / 128 * (BM / 2); }
  static __device__ __forceinline__ int warp_column() { return threadIdx.x / 32 % 4 * (BN / 4); }
  __device__ __forceinline__ void multiply(const float* as, const float* bs) {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    UNROLL
    for (int k = 0; k < BK; k += 8) {
      u32 a[MT][4];
      UNROLL
      for (int i = 0; i < MT; i++) UNROLL
      for (int e = 0; e < 4; e++)
        a[i][e] = to_tf32(as[(warp_row() + i * 16 + g + e % 2 * 8) * LA + k + t + e / 2 * 4]);
      UNROLL
      for (int j = 0; j < NT; j++) {
        const int n = warp_column() + j * 8 + g;
        const u32 b0 = to_tf32(bs[(k + t) * LB + n]), b1 = to_tf32(bs[(k + t + 4) * LB + n]);
        UNROLL
        for (int i = 0; i < MT; i++) Mma<float, float>::run(acc[i][j], a[i], b0, b1);
      }
    }
  }
};

// Runs `load(tile, a, b)` and `tile.multiply(a, b)` over all tiles of k; `load` issues cp.async.
template <class Tile, class T, class Load>
DEVICE void run_simt(Tile& tile, T* shared, int tiles, Load load) {
  T *a = shared, *b = shared + 2 * Tile::A_ITEMS;
  tile.clear();
  _Pragma("unroll 1") for (int i = -1; i < tiles; i++) {
    const int now = i & 1, next = now ^ 1;
    if (i >= 0) {
      wait_async<0>();
      __syncthreads();  // tile i is there for all, and tile i - 1 has been read by all
    }
    if (i + 1 < tiles) load(i + 1, a + next * Tile::A_ITEMS, b + next * Tile::B_ITEMS);
    commit_async();
    if (i >= 0) tile.multiply(a + now * Tile::A_ITEMS, b + now * Tile::B_ITEMS);
  }
}

// Results of a tile that tensor cores have made, by way of shared memory.
template <class Tile, class Acc, class Out>
DEVICE void store_mma(const Tile& tile, Acc* shared, const Out& out) {
  constexpr int W = Tile::NT * 8, PART = 16 * W * Tile::THREADS / 32 * sizeof(Acc);
  constexpr int ONCE = parts_at_once(Tile::MT, PART, Tile::BYTES);
  Acc* room = shared + threadIdx.x / 32 * (ONCE * 16 * W);
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  __syncthreads();  // no one reads operands any more
  UNROLL
  for (int first = 0; first < Tile::MT; first += ONCE) {
    if (first) __syncwarp();  // the room is free again
    UNROLL
    for (int i = 0; i < ONCE; i++) UNROLL
    for (int j = 0; j < Tile::NT; j++) UNROLL
    for (int e = 0; e < 4; e++)
      room[(i * 16 + g + e / 2 * 8) * W + j * 8 + t * 2 + e % 2] = tile.acc[first + i][j][e];
    store_warp<ONCE * 16, W, 1, 1>(room, Tile::warp_row() + first * 16, Tile::warp_column(), out);
  }
}

// ---- tensor cores: chunks of 16 bytes, swizzled so that ldmatrix meets no bank twice; three
// stages

// Where chunk q of a line of CHUNKS chunks lies, in chunks.
template <int CHUNKS>
DEVICE int chunk_at(int line, int q) {
  return line * CHUNKS + (q ^ (CHUNKS == 4 ? line >> 1 & 3 : line & 7));
}

// One operand tile of LINES lines of CHUNKS chunks.
template <class T, int LINES, int CHUNKS, int THREADS>
DEVICE void copy_chunks(T* to, const T* from, i64 line_stride, i64 item_stride, i64 lines,
                        i64 items, bool packed) {
  constexpr int E = Pack<T>::N;
  if (packed) {
    _Pragma("unroll 4") for (int c0 = 0; c0 < LINES * CHUNKS; c0 += THREADS) {
      const int c = c0 + threadIdx.x;
      if (LINES * CHUNKS % THREADS && c >= LINES * CHUNKS) break;
      const int line = c / CHUNKS, q = c % CHUNKS;
      const int valid = line < lines ? clamp_int(items - q * E, 0, E) : 0;
      const T* source = valid ? from + line * line_stride + q * E : from;
      copy_async<16>(to + chunk_at<CHUNKS>(line, q) * E, source, valid * (int)sizeof(T));
    }
    return;
  }
  const bool across = line_stride == 1;
  for (int c = threadIdx.x; c < LINES * CHUNKS; c += THREADS) {
    const int line = across ? c % LINES : c / CHUNKS, q = across ? c / LINES : c % CHUNKS;
    T* chunk = to + chunk_at<CHUNKS>(line, q) * E;
    store16(chunk, Pack<T>{});
    const int valid = line < lines ? clamp_int(items - q * E, 0, E) : 0;
    const T* source = from + line * line_stride + q * E * item_stride;
    _Pragma("unroll 1") for (int e = 0; e < valid; e++) chunk[e] = source[e * item_stride];
  }
}

// Where a lane reads the fragments of a warp, COUNT of 16 lines (or, ACROSS, of 16 items of each
// line) for two steps of k, in a tile of lines of CHUNKS chunks.
template <bool ACROSS, int COUNT, int CHUNKS>
struct FragmentPlaces {
  i32 at[ACROSS ? COUNT : 2];  // bytes
  // Of fragment 0 and step 0: a line, and a chunk in it. Steps and fragments change bits of it.
  __device__ __forceinline__ void set(int line, int q) {
    UNROLL
    for (int i = 0; i < (ACROSS ? COUNT : 2); i++)
      at[i] = opaque(chunk_at<CHUNKS>(line, q ^ (i * 2)) * 16);
  }
  __device__ __forceinline__ i32 of(int i, int step) const {
    return ACROSS ? at[i] + step * 16 * CHUNKS * 16 : at[step] + i * 16 * CHUNKS * 16;
  }
};

// The copies of a thread for whole tiles of lines that are packed: their addresses lie a constant
// apart, so that a tile costs little more than the copies.
template <class T, int LINES, int CHUNKS, int THREADS>
struct ChunkCopies {
  static constexpr int E = Pack<T>::N, STEP = THREADS / CHUNKS, COUNT = LINES / STEP;
  static_assert(THREADS % CHUNKS == 0 && LINES % STEP == 0 && STEP % 8 == 0, "one swizzle each");
  const T* from;  // of the first tile
  i64 between;    // items from a copy to the next
  int to;         // bytes in the tile
  int lines;      // that are there, from the thread's first one on
  int bytes;      // of a copy that are there
  // `lines_` and `items` count what is left of the matrix.
  __device__ __forceinline__ ChunkCopies(const T* from_, i64 line_stride, i64 lines_, i64 items) {
    const int line = threadIdx.x / CHUNKS, q = threadIdx.x % CHUNKS;
    from = from_ + line * line_stride + q * E;
    between = STEP * line_stride;
    to = opaque(chunk_at<CHUNKS>(line, q) * 16);
    lines = opaque(clamp_int(lines_ - line, 0, LINES));
    bytes = opaque(clamp_int(items - q * E, 0, E) * (int)sizeof(T));
  }
  // Of the tile `offset` items on.
  __device__ __forceinline__ void operator()(T* tile, i64 offset) const {
    const T* p = from + offset;
    u8* place = reinterpret_cast<u8*>(tile) + to;
    if (lines > LINES - STEP && bytes == 16) {
      const u32 at = shared_address(place);
      UNROLL
      for (int c = 0; c < COUNT; c++, p += between) copy_async16(at + c * STEP * CHUNKS * 16, p);
      return;
    }
    _Pragma("unroll 1") for (int c = 0; c < COUNT; c++, p += between)
        copy_async<16>(place + c * STEP * CHUNKS * 16, p, c * STEP < lines ? bytes : 0);
  }
};

// Tile of BM x BN, in warps of WM x WN.  AT: A lies as lines of m (else of k); BT: B as lines of k
// (else of n).
template <class TA, class TB, class Acc, int BM, int BN, int WM, int WN, bool AT, bool BT>
struct MmaTile {
  static constexpr int E = Pack<TA>::N, BK = 4 * E, STAGES = 3;
  static constexpr int THREADS = BM / WM * (BN / WN) * 32, MT = WM / 16, NT = WN / 8;
  static constexpr int A_ITEMS = BM * BK, B_ITEMS = BN * BK;
  static constexpr int BYTES = STAGES * (A_ITEMS + B_ITEMS) * sizeof(TA);
  Acc acc[MT][NT][4];
  FragmentPlaces<AT, MT, AT ? BM / 8 : 4> a_at;
  FragmentPlaces<!BT, NT / 2, BT ? 4 : BN / 8> b_at;

  __device__ __forceinline__ void clear() {
    UNROLL
    for (int i = 0; i < MT * NT * 4; i++) acc[i / (NT * 4)][i / 4 % NT][i % 4] = 0;
    find_fragments();
  }
  static __device__ __forceinline__ int warp_row() { return threadIdx.x / 32 / (BN / WN) * WM; }
  static __device__ __forceinline__ int warp_column() { return threadIdx.x / 32 % (BN / WN) * WN; }
  __device__ __forceinline__ void find_fragments() {
    const int lane = threadIdx.x % 32, m = warp_row(), n = warp_column();
    const int low = lane % 8, upper = lane / 16, middle = lane / 8 % 2;
    if (AT)
      a_at.set(low + upper * 8, m / 8 + middle);
    else
      a_at.set(m + lane % 16, upper);
    if (BT)
      b_at.set(n + low + upper * 8, middle);
    else
      b_at.set(lane % 16, n / 8 + upper);
  }
  // `also(a, b, step)` sees each fragment, for sums of rows and columns.
  template <class Also>
  __device__ __forceinline__ void multiply(const TA* as, const TB* bs, Also also) {
    const u32 a_from = shared_address(as), b_from = shared_address(bs);
    UNROLL
    for (int step = 0; step < 2; step++) {
      u32 a[MT][4], b[NT / 2][4];
      UNROLL
      for (int i = 0; i < MT; i++) load_matrices<AT>(a[i], a_from + a_at.of(i, step));
      UNROLL
      for (int j = 0; j < NT / 2; j++) load_matrices<!BT>(b[j], b_from + b_at.of(j, step));
      UNROLL
      for (int i = 0; i < MT; i++) UNROLL
      for (int j = 0; j < NT; j++)
        Mma<TA, TB>::run(acc[i][j], a[i], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
      also(a, b);
    }
  }
};
struct Nothing {
  template <class A, class B>
  __device__ __forceinline__ void operator()(const A&, const B&) const {}
};

// `load(tile, a, b)` starts the copies of a tile, `finish(tile, a, b)` stores what it keeps in
// registers.
template <class Tile, class TA, class TB, class Load, class Finish, class Also>
DEVICE void run_mma(Tile& tile, TA* a, TB* b, int tiles, Load load, Finish finish, Also also) {
  constexpr int S = Tile::STAGES, A = Tile::A_ITEMS, B = Tile::B_ITEMS;
  tile.clear();
  int now = S - 2, next = 0;  // stages of tile i and of tile i + S - 1
  _Pragma("unroll 1") for (int i = 1 - S; i < tiles; i++) {
    if (i >= 0) {
      wait_async<S - 2>();
      __syncthreads();  // tile i is there for all, and tile i - 1 has been read by all
    }
    const bool more = i + S - 1 < tiles;
    if (more) load(i + S - 1, a + next * A, b + next * B);
    if (i >= 0) tile.multiply(a + now * A, b + now * B, also);
    if (more) finish(i + S - 1, a + next * A, b + next * B);
    commit_async();
    now = now + 1 == S ? 0 : now + 1;
    next = next + 1 == S ? 0 : next + 1;
  }
}
