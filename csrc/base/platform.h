// The only file that asks the preprocessor about the platform.
#pragma once
#include <string_view>

namespace tiercel {

#if defined(__x86_64__)
inline constexpr std::string_view kIsas[] = {"bf16", "vnni", "v4", "v3"};

// What a spinning thread executes.
inline void cpu_relax() { __builtin_ia32_pause(); }

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

inline bool cpu_has_isa(std::string_view isa) { return isa == "neon"; }
#else
#error "tiercel has kernels for x86-64 and aarch64"
#endif

}  // namespace tiercel
