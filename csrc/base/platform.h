// The only file that asks the preprocessor about the platform.
#pragma once
#include <cstdint>
#include <string_view>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace tiercel {

#if defined(__x86_64__)
inline constexpr std::string_view kIsas[] = {"bf16", "vnni", "v4", "v3"};

// What a spinning thread executes.
inline void cpu_relax() { __builtin_ia32_pause(); }

// How this thread rounds and what it does with denormal numbers; the flags in MXCSR that say what
// happened are not part of it.
inline constexpr uint64_t kFlushDenormals = 0x8040;
inline uint64_t float_mode() { return _mm_getcsr() & ~uint64_t{0x3f}; }
inline void set_float_mode(uint64_t mode) { _mm_setcsr(static_cast<unsigned>(mode)); }

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
  return isa == "bf16" && vnni && __builtin_cpu_supports("avx512bf16");
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

inline bool cpu_has_isa(std::string_view isa) { return isa == "neon"; }
#else
#error "tiercel has kernels for x86-64 and aarch64"
#endif

}  // namespace tiercel
