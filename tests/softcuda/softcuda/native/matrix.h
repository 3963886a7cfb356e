// Warp-wide matrix instructions: mma, wmma, ldmatrix, with the fragments the PTX ISA documents.
#pragma once
#include "memory.h"

namespace softcuda {

struct Tf32 {
  float value;
};

// Element `e` of a 32-bit register of a fragment.
template <class T>
inline auto element(uint32_t reg, int e) {
  if constexpr (std::is_same_v<T, Tf32>) {
    return std::bit_cast<float>(reg & ~0x1fffu);
  } else if constexpr (std::is_same_v<T, float> || std::is_same_v<T, int32_t>) {
    return std::bit_cast<T>(reg);
  } else if constexpr (sizeof(T) == 2) {
    return widen(T{static_cast<uint16_t>(reg >> (16 * e))});
  } else {
    return static_cast<int32_t>(static_cast<T>(reg >> (8 * e)));
  }
}
template <class T>
constexpr int kPerRegister = 4 / static_cast<int>(sizeof(T));

template <class T, class V>
inline void set_element(uint32_t& reg, int e, V v) {
  if constexpr (sizeof(T) == 4) {
    reg = std::bit_cast<uint32_t>(v);
  } else {
    const uint32_t bits = from_float<T>(v).bits;
    reg = (reg & ~(0xffffu << (16 * e))) | bits << (16 * e);
  }
}

struct Fragments {
  uint32_t* d;
  const uint32_t *a, *b, *c;
};

// c += a * b. Modules are compiled for a short compile time; these loops are worth more.
template <class Acc, int M, int N, int K>
[[gnu::optimize("O3")]] void multiply(const Acc* a, const Acc* b, Acc* c, bool saturate) {
  using Sum = std::conditional_t<std::is_same_v<Acc, float>, float, int64_t>;
  for (int i = 0; i < M; i++) {
    Sum row[N];
    for (int j = 0; j < N; j++) row[j] = c[i * N + j];
    for (int k = 0; k < K; k++)
      for (int j = 0; j < N; j++) row[j] += static_cast<Sum>(a[i * K + k]) * b[k * N + j];
    for (int j = 0; j < N; j++) {
      if constexpr (std::is_same_v<Acc, int32_t>)
        c[i * N + j] = saturate ? clamp_integer<int32_t>(row[j]) : static_cast<Acc>(row[j]);
      else
        c[i * N + j] = row[j];
    }
  }
}

// mma.sync of one shape: lane = 4 * group + member; a register holds neighbours along K.
template <class A, class B, class C, class D, int M, int N, int K, bool Saturate>
void mma(Thread& t, const Where& w, void** lanes) {
  using Acc = std::conditional_t<sizeof(A) == 1, int32_t, float>;
  constexpr int kE = kPerRegister<A>, kRows = M / 8, kAregs = kRows * K / (4 * kE);
  constexpr int kBregs = K / (4 * kE), kCper = kPerRegister<C>, kDper = kPerRegister<D>;
  Acc a[M * K], b[K * N], c[M * N];
  for (int lane = 0; lane < 32; lane++) {
    const auto& f = *static_cast<Fragments*>(lanes[lane]);
    const int group = lane >> 2, member = lane & 3;
    for (int r = 0; r < kAregs; r++)
      for (int e = 0; e < kE; e++) {
        const int row = group + 8 * (r % kRows), col = r / kRows * 4 * kE + member * kE + e;
        a[row * K + col] = element<A>(f.a[r], e);
      }
    for (int r = 0; r < kBregs; r++)
      for (int e = 0; e < kE; e++)
        b[(r * 4 * kE + member * kE + e) * N + group] = element<B>(f.b[r], e);
    for (int i = 0; i < 2 * kRows; i++) {
      const int at = (group + 8 * (i >> 1)) * N + member * 2 + (i & 1);
      c[at] = element<C>(f.c[i / kCper], i % kCper);
    }
  }
  multiply<Acc, M, N, K>(a, b, c, Saturate);
  for (int lane = 0; lane < 32; lane++) {
    const auto& f = *static_cast<Fragments*>(lanes[lane]);
    const int group = lane >> 2, member = lane & 3;
    for (int i = 0; i < 2 * kRows; i++) {
      const int at = (group + 8 * (i >> 1)) * N + member * 2 + (i & 1);
      set_element<D>(f.d[i / kDper], i % kDper, c[at]);
    }
  }
  (void)t, (void)w;
}

// wmma: which lane holds which element is nobody's business, so this map is not NVIDIA's.
template <class T, class Acc, int Rows, int Cols>
inline void gather_fragment(const uint32_t* regs, int lane, Acc* out) {
  constexpr int kCount = Rows * Cols / 32, kE = kPerRegister<T>;
  for (int e = 0; e < kCount; e++) out[lane * kCount + e] = element<T>(regs[e / kE], e % kE);
}
template <class A, class B, class C, class D, int M, int N, int K, bool Saturate>
void wmma(Thread& t, const Where& w, void** lanes) {
  using Acc = std::conditional_t<sizeof(A) == 1, int32_t, float>;
  Acc a[M * K], b[K * N], c[M * N];
  for (int lane = 0; lane < 32; lane++) {
    const auto& f = *static_cast<Fragments*>(lanes[lane]);
    gather_fragment<A, Acc, M, K>(f.a, lane, a);
    gather_fragment<B, Acc, K, N>(f.b, lane, b);
    gather_fragment<C, Acc, M, N>(f.c, lane, c);
  }
  multiply<Acc, M, N, K>(a, b, c, Saturate);
  constexpr int kCount = M * N / 32, kE = kPerRegister<D>;
  for (int lane = 0; lane < 32; lane++)
    for (int e = 0; e < kCount; e++) {
      auto& f = *static_cast<Fragments*>(lanes[lane]);
      set_element<D>(f.d[e / kE], e % kE, c[lane * kCount + e]);
    }
  (void)t, (void)w;
}
struct FragmentPlace {
  Space space;
  uint64_t address;
  uint32_t stride;
  bool columns;  // column-major
};
template <bool Checked, class T, int Rows, int Cols, class F>
inline void each_element(Thread& t, const Where& w, const FragmentPlace& p, Access access, F f) {
  constexpr int kCount = Rows * Cols / 32, kE = kPerRegister<T>;
  if (p.address % 32 || p.stride * sizeof(T) % 16)
    t.block->services->fail(t, w, Fault::kMisaligned,
                            "wmma needs 32-byte addresses and strides of 16");
  for (int e = 0; e < kCount; e++) {
    const uint32_t i = t.lane * kCount + e, row = i / Cols, col = i % Cols;
    const uint64_t at = p.columns ? uint64_t{col} * p.stride + row : uint64_t{row} * p.stride + col;
    f(reach<Checked>(t, w, p.space, p.address + at * sizeof(T), sizeof(T), access), e / kE, e % kE);
  }
}
template <bool Checked, class T, int Rows, int Cols>
inline void wmma_load(Thread& t, const Where& w, const FragmentPlace& p, uint32_t* regs) {
  each_element<Checked, T, Rows, Cols>(t, w, p, Access::kRead, [&](const char* at, int reg, int e) {
    uint32_t bits = 0;
    std::memcpy(&bits, at, sizeof(T));
    const uint32_t shift = 8 * sizeof(T) * e;
    regs[reg] = (e ? regs[reg] : 0) | bits << shift;
  });
}
template <bool Checked, class T, int Rows, int Cols>
inline void wmma_store(Thread& t, const Where& w, const FragmentPlace& p, const uint32_t* regs) {
  each_element<Checked, T, Rows, Cols>(t, w, p, Access::kWrite, [&](char* at, int reg, int e) {
    const uint32_t bits = regs[reg] >> (8 * sizeof(T) * e);
    std::memcpy(at, &bits, sizeof(T));
  });
}

struct MatrixRows {
  uint32_t* regs;
  const char* row;  // of 8 16-bit elements; lane 8m + r gives row r of matrix m
};
template <int Count, bool Transposed>
void ldmatrix(Thread&, const Where&, void** lanes) {
  for (int m = 0; m < Count; m++)
    for (int lane = 0; lane < 32; lane++) {
      uint32_t packed_pair = 0;
      for (int half = 0; half < 2; half++) {
        const int along = (lane % 4) * 2 + half, across = lane / 4;
        const int r = Transposed ? along : across, c = Transposed ? across : along;
        const char* row = static_cast<MatrixRows*>(lanes[m * 8 + r])->row;
        packed_pair |= uint32_t{load<uint16_t>(row + 2 * c)} << (16 * half);
      }
      static_cast<MatrixRows*>(lanes[lane])->regs[m] = packed_pair;
    }
}

}  // namespace softcuda
