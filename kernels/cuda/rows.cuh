// Rows held in registers: how softmax and normalizations read and write them, by a warp or a block
// a row.
#pragma once
#include "device.cuh"

static constexpr int HELD = 32;  // items of a row that a thread holds at most

// LANES threads share a row: those of a warp or fewer (several rows a block), or all of a larger
// block.
template <int LANES>
DEVICE int row_lane() {
  return LANES <= 32 ? threadIdx.x % LANES : threadIdx.x;
}
// The row of this thread; LANES <= 32: as many rows a block as it has groups of lanes.
template <int LANES>
DEVICE i64 row_index() {
  return LANES <= 32 ? first_item() / LANES : blockIdx.x;
}
template <int LANES, class T, class F>
DEVICE T reduce_row(T v, F f, T identity, T* room) {
  return LANES <= 32 ? reduce_warp<LANES>(v, f) : reduce_block(v, f, identity, room);
}
template <int LANES>
struct Lanes {
  static constexpr int COUNT = LANES;
};
// `run(lanes)` with as many lanes a row as have at most eight items each of a row of up to 256.
template <class Run>
DEVICE void with_few_lanes(i64 n, Run run) {
  if (n <= 32)
    run(Lanes<4>());
  else if (n <= 64)
    run(Lanes<8>());
  else if (n <= 128)
    run(Lanes<16>());
  else
    run(Lanes<32>());
}

// E items at p: in packs, or one alone.
template <int E, class T>
DEVICE void read_items(const T* p, float (&v)[E]) {
  if constexpr (E == 1) {
    v[0] = widen(*p);
  } else {
    UNROLL
    for (int at = 0; at < E; at += Pack<T>::N) {
      const Pack<T> pack = load16(p + at);
      UNROLL
      for (int e = 0; e < Pack<T>::N; e++) v[at + e] = widen(pack.v[e]);
    }
  }
}
template <int E, class T>
DEVICE void write_items(T* p, const float (&v)[E]) {
  if constexpr (E == 1) {
    *p = narrow<T>(v[0]);
  } else {
    UNROLL
    for (int at = 0; at < E; at += Pack<T>::N) {
      Pack<T> pack;
      UNROLL
      for (int e = 0; e < Pack<T>::N; e++) pack.v[e] = narrow<T>(v[at + e]);
      store16(p + at, pack);
    }
  }
}

// The H items of a row of n that a thread holds: packs of 16 bytes where the row allows, else every
// LANES-th item.
template <class T, int LANES, int H, bool PACKED>
struct HeldRow {
  static constexpr int E = PACKED ? Pack<T>::N : 1, PACKS = H / E;
  static __device__ __forceinline__ int first(int q) { return (q * LANES + row_lane<LANES>()) * E; }

  // `use(i, at)`: item i of the thread is item `at` of the row.
  template <class Use>
  static __device__ __forceinline__ void each(int n, Use use) {
    UNROLL
    for (int q = 0; q < PACKS; q++) {
      if (first(q) >= n) continue;
      UNROLL
      for (int e = 0; e < E; e++) use(q * E + e, first(q) + e);
    }
  }
  // `use(i, x)` for the items at p, which may be wider than T; it may point to a line that all rows
  // share.
  template <class I, class Use>
  static __device__ __forceinline__ void read(const I* p, int n, Use use) {
    UNROLL
    for (int q = 0; q < PACKS; q++) {
      if (first(q) >= n) continue;
      float v[E];
      read_items<E>(p + first(q), v);
      UNROLL
      for (int e = 0; e < E; e++) use(q * E + e, v[e]);
    }
  }
  template <class I, class Get>
  static __device__ __forceinline__ void write(I* p, int n, Get get) {
    UNROLL
    for (int q = 0; q < PACKS; q++) {
      if (first(q) >= n) continue;
      float v[E];
      UNROLL
      for (int e = 0; e < E; e++) v[e] = get(q * E + e);
      write_items<E>(p + first(q), v);
    }
  }
};
// Whether rows of n at p can be read in packs: all of them begin and end at a multiple of 16 bytes.
template <class T>
DEVICE bool packed_rows(const T* p, i64 n) {
  return aligned16(p) && n % Pack<T>::N == 0;
}
// `run(row)` with the HeldRow for rows of n.
template <class T, int LANES, class Run>
DEVICE void with_held_row(int n, bool packed, Run run) {
  if (packed && n <= 8 * LANES)
    run(HeldRow<T, LANES, 8, true>());
  else if (packed && n <= 16 * LANES)
    run(HeldRow<T, LANES, 16, true>());
  else if (packed)
    run(HeldRow<T, LANES, HELD, true>());
  else if (n <= 8 * LANES)
    run(HeldRow<T, LANES, 8, false>());
  else
    run(HeldRow<T, LANES, HELD, false>());
}
