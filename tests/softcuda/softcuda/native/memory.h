// Loads, stores and atomic operations of translated kernels.
#pragma once
#include <bit>
#include <cstring>
#include <type_traits>

#include "device.h"
#include "halves.h"

namespace softcuda {

// Where the bytes of a device address stand on the host; a kernel built with checks asks the
// runtime, others only for alignment and the end of shared memory.
template <bool Checked>
inline char* reach(Thread& t, const Where& w, Space space, uint64_t address, uint32_t bytes,
                   Access access) {
  const Block& b = *t.block;
  if (address % bytes) b.services->fail(t, w, Fault::kMisaligned, "misaligned address");
  if (Checked) return b.services->access(t, w, space, address, bytes, access);
  if (space == Space::kShared) {
    if (address + bytes > b.shared_bytes)
      b.services->fail(t, w, Fault::kAddress, "outside of shared memory");
    return b.shared + address;
  }
  const bool global = address - b.window.base < b.window.size;
  return reinterpret_cast<char*>(address + (global ? b.window.delta : 0));
}

template <class T>
inline T load(const char* p) {
  T v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
template <class T>
inline void store(char* p, T v) {
  std::memcpy(p, &v, sizeof v);
}
// Blocks run one after the other, so an atomic operation needs no more than this.
template <class T, class F>
inline T exchange(char* p, F f) {
  const T old = load<T>(p);
  store<T>(p, f(old));
  return old;
}

inline uint64_t to_generic(const Thread& t, Space from, uint64_t address) {
  if (from != Space::kShared) return address;
  return reinterpret_cast<uint64_t>(t.block->shared) + address;
}
inline uint64_t from_generic(const Thread& t, Space to, uint64_t address) {
  if (to != Space::kShared) return address;
  return address - reinterpret_cast<uint64_t>(t.block->shared);
}
inline bool is_in(const Thread& t, Space space, uint64_t address) {
  const Block& b = *t.block;
  const bool shared = address - reinterpret_cast<uint64_t>(b.shared) < b.shared_bytes;
  const bool global = address - b.window.base < b.window.size;
  if (space == Space::kShared) return shared;
  return space == Space::kGlobal ? global : !shared && !global;
}

}  // namespace softcuda
