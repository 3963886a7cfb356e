// Rows held in registers: how softmax and normalizations read and write them, by a warp or a block
// a row.
#pragma once
#include "device.cuh"

static constexpr int HELD = 32;  // items of a row a thread holds

// LANES threads share a row: 32 (a warp, several rows a block) or all of a larger block.
template <int LANES>
DEVICE int row_lane() {
  return LANES == 32 ? threadIdx.x % 32 : threadIdx.x;
}
// The row of this thread; LANES == 32: as many rows a block as it has warps.
template <int LANES>
DEVICE i64 row_index() {
  return LANES == 32 ? ((i64)blockIdx.x * blockDim.x + threadIdx.x) / 32 : blockIdx.x;
}
template <int LANES, class T, class F>
DEVICE T reduce_row(T v, F f, T identity, T* room) {
  return LANES == 32 ? reduce_warp(v, f) : reduce_block(v, f, identity, room);
}

// `put(i, x)` for every item of a row of n at p, in packs of E items: item i is number i of the
// thread.
template <class T, int LANES, class Put>
DEVICE void read_row(const T* p, int n, bool packed, Put put) {
  constexpr int E = Pack<T>::N;
  UNROLL
  for (int q = 0; q < HELD / E; q++) {
    const int first = (q * LANES + row_lane<LANES>()) * E;
    Pack<T> v;
    if (packed) {
      if (first < n) v = load16(p + first);
    } else {
      UNROLL
      for (int e = 0; e < E; e++)
        if (first + e < n) v.v[e] = p[first + e];
    }
    UNROLL
    for (int e = 0; e < E; e++)
      if (first + e < n) put(q * E + e, widen(v.v[e]));
  }
}
// The other way; `get(i, at)` gives item i of the thread, which is item `at` of the row.
template <class T, int LANES, class Get>
DEVICE void write_row(T* p, int n, bool packed, Get get) {
  constexpr int E = Pack<T>::N;
  UNROLL
  for (int q = 0; q < HELD / E; q++) {
    const int first = (q * LANES + row_lane<LANES>()) * E;
    Pack<T> v;
    UNROLL
    for (int e = 0; e < E; e++)
      if (first + e < n) v.v[e] = narrow<T>(get(q * E + e, first + e));
    if (packed) {
      if (first < n) store16(p + first, v);
    } else {
      UNROLL
      for (int e = 0; e < E; e++)
        if (first + e < n) p[first + e] = v.v[e];
    }
  }
}
// Whether rows of n at p can be read in packs: all of them begin and end at a multiple of 16 bytes.
template <class T>
DEVICE bool packed_rows(const T* p, i64 n) {
  return aligned16(p) && n % Pack<T>::N == 0;
}
