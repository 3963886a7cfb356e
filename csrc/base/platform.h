// The only file that asks the preprocessor about the platform.
#pragma once
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace tiercel {

#if defined(__x86_64__)
inline constexpr std::string_view kIsas[] = {"amx", "bf16", "vnni", "v4", "v3"};

// What a spinning thread executes.
inline void cpu_relax() { __builtin_ia32_pause(); }

// How this thread rounds and what it does with denormal numbers; the flags in MXCSR that say what
// happened are not part of it.
inline constexpr uint64_t kFlushDenormals = 0x8040;
inline uint64_t float_mode() { return _mm_getcsr() & ~uint64_t{0x3f}; }
inline void set_float_mode(uint64_t mode) { _mm_setcsr(static_cast<unsigned>(mode)); }

// Whether the processor has tiles of bytes and of bfloat16, and the kernel lets this process use
// them.
inline bool cpu_has_tiles() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  constexpr unsigned kTiles = 1U << 24, kBytes = 1U << 25, kBfloat16 = 1U << 22;
  constexpr unsigned kAll = kTiles | kBytes | kBfloat16;
  if ((d & kAll) != kAll) return false;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // of Linux' arch_prctl
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

// Whether `look_up_bytes` is there and fast: tables in registers.
inline bool looks_up_bytes() {
  static const bool has =
      __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512bw");
  return has;
}

// to[i] = table[from[i]] for i in [0, n), with 256 values.
__attribute__((target("avx512f,avx512bw,avx512vbmi"))) inline void look_up_bytes(
    const uint8_t* table, const uint8_t* from, uint8_t* to, int64_t n) {
  const __m512i a = _mm512_loadu_si512(table), b = _mm512_loadu_si512(table + 64);
  const __m512i c = _mm512_loadu_si512(table + 128), d = _mm512_loadu_si512(table + 192);
  for (int64_t i = 0; i < n; i += 64) {
    const __mmask64 tail = n - i < 64 ? (uint64_t{1} << (n - i)) - 1 : ~uint64_t{0};
    const __m512i at = _mm512_maskz_loadu_epi8(tail, from + i);
    const __m512i low = _mm512_permutex2var_epi8(a, at, b);
    const __m512i high = _mm512_permutex2var_epi8(c, at, d);
    const __m512i out = _mm512_mask_blend_epi8(_mm512_movepi8_mask(at), low, high);
    _mm512_mask_storeu_epi8(to + i, tail, out);
  }
}

inline bool cpu_has_isa(std::string_view isa) {
  __builtin_cpu_init();
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                  __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("f16c");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  const bool vnni = v4 && __builtin_cpu_supports("avx512vnni");
  if (isa == "v3") return v3;
  if (isa == "v4") return v4;
  if (isa == "vnni") return vnni;
  const bool bf16 = vnni && __builtin_cpu_supports("avx512bf16");
  return isa == "bf16" ? bf16 : isa == "amx" && bf16 && cpu_has_tiles();
}
#elif defined(__aarch64__)
inline constexpr std::string_view kIsas[] = {"neon"};

inline void cpu_relax() { asm volatile("yield"); }

// FPCR: bit 24 flushes denormal inputs and results.
inline constexpr uint64_t kFlushDenormals = uint64_t{1} << 24;
inline uint64_t float_mode() {
  uint64_t mode;
  asm volatile("mrs %0, fpcr" : "=r"(mode));
  return mode;
}
inline void set_float_mode(uint64_t mode) { asm volatile("msr fpcr, %0" : : "r"(mode)); }

inline bool looks_up_bytes() { return false; }
inline void look_up_bytes(const uint8_t* table, const uint8_t* from, uint8_t* to, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] = table[from[i]];
}

inline bool cpu_has_isa(std::string_view isa) { return isa == "neon"; }
#else
#error "tiercel has kernels for x86-64 and aarch64"
#endif

// Asks for large pages under [memory, memory + size): fewer misses when it is read from end to end.
inline void want_large_pages(void* memory, size_t size) {
#if defined(MADV_HUGEPAGE)
  constexpr uintptr_t kPage = uintptr_t{2} << 20;
  const auto begin = (reinterpret_cast<uintptr_t>(memory) + kPage - 1) / kPage * kPage;
  const auto end = (reinterpret_cast<uintptr_t>(memory) + size) / kPage * kPage;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#else
  static_cast<void>(memory), static_cast<void>(size);
#endif
}

}  // namespace tiercel
