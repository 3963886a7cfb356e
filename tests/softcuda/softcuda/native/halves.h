// Half-precision numbers of PTX (f16, bf16), held as their bits, and their arithmetic.
#pragma once
#include "arithmetic.h"

namespace softcuda {

struct Half {
  uint16_t bits;
  static constexpr int kMantissa = 10, kMinExponent = -14, kMaxExponent = 15;
  static constexpr uint16_t kInfinity = 0x7c00, kNan = 0x7fff, kMax = 0x7bff;
};
struct Bfloat {
  uint16_t bits;
  static constexpr int kMantissa = 7, kMinExponent = -126, kMaxExponent = 127;
  static constexpr uint16_t kInfinity = 0x7f80, kNan = 0x7fff, kMax = 0x7f7f;
};
// The processor's own conversions; their usual header takes a second to compile.
using Floats [[gnu::vector_size(16)]] = float;
using Halves [[gnu::vector_size(16)]] = short;
inline float widen(Half h) {
  return __builtin_ia32_vcvtph2ps(Halves{static_cast<short>(h.bits)})[0];
}
inline float widen(Bfloat b) { return std::bit_cast<float>(uint32_t{b.bits} << 16); }
inline float widen(float f) { return f; }
inline double widen(double f) { return f; }

// One rounding from a double; `rest` is what the double itself lost (its sign suffices).
template <class H>
inline H narrow(double v, double rest = 0, Round mode = Round::kNearest) {
  if (std::isnan(v)) return {H::kNan};
  const uint16_t sign = std::signbit(v) ? 0x8000 : 0;
  if (std::isinf(v)) return {static_cast<uint16_t>(sign | H::kInfinity)};
  if (rest != 0 && (std::bit_cast<uint64_t>(v) & 1) == 0)  // to odd: keeps what lies below
    v = std::nextafter(v, rest > 0 ? INFINITY : -INFINITY);
  int exponent = 0;
  (void)std::frexp(v, &exponent);
  exponent = std::max(exponent - 1, H::kMinExponent);
  const double unit = std::ldexp(1.0, exponent - H::kMantissa);
  const double rounded = integral(v / unit, mode) * unit;
  const double limit = std::ldexp(2.0 - std::ldexp(1.0, -H::kMantissa), H::kMaxExponent);
  if (std::abs(rounded) > limit) {
    const bool to_max = mode == Round::kZero || (mode == Round::kDown && sign == 0) ||
                        (mode == Round::kUp && sign != 0);
    return {static_cast<uint16_t>(sign | (to_max ? H::kMax : H::kInfinity))};
  }
  if (rounded == 0) return {sign};
  (void)std::frexp(rounded, &exponent);
  exponent = std::max(exponent - 1, H::kMinExponent);
  const auto digits = static_cast<uint32_t>(
      std::ldexp(std::abs(rounded), H::kMantissa - exponent));  // with the leading one
  const bool normal = digits >> H::kMantissa;
  const uint32_t field = normal ? static_cast<uint32_t>(exponent - H::kMinExponent + 1) : 0;
  const uint32_t low = digits & ((1u << H::kMantissa) - 1);
  return {static_cast<uint16_t>(sign | field << H::kMantissa | low)};
}

inline Half to_half(float v) {
  return std::isnan(v) ? Half{Half::kNan}
                       : Half{static_cast<uint16_t>(__builtin_ia32_vcvtps2ph(Floats{v}, 0)[0])};
}
inline Bfloat to_bfloat(float v) {
  if (std::isnan(v)) return {Bfloat::kNan};
  const auto u = std::bit_cast<uint32_t>(v);
  return {static_cast<uint16_t>((u + 0x7fff + ((u >> 16) & 1)) >> 16)};
}
template <class H>
inline H from_float(float v) {
  if constexpr (std::is_same_v<H, Half>) return to_half(v);
  if constexpr (std::is_same_v<H, Bfloat>) return to_bfloat(v);
}

// float has more than twice the digits of a half and two more: rounding twice rounds once.
template <class H>
inline H add(H a, H b) {
  return from_float<H>(widen(a) + widen(b));
}
template <class H>
inline H sub(H a, H b) {
  return from_float<H>(widen(a) - widen(b));
}
template <class H>
inline H mul(H a, H b) {
  return from_float<H>(widen(a) * widen(b));
}
template <class H>
inline H fma_half(H a, H b, H c) {
  const double product = static_cast<double>(widen(a)) * widen(b), d = widen(c);
  const double s = product + d;
  return narrow<H>(s, std::isfinite(s) ? sum_error(product, d, s) : 0);
}
template <class H>
inline H min_half(H a, H b, bool nan) {
  return from_float<H>(minimum(widen(a), widen(b), nan));
}
template <class H>
inline H max_half(H a, H b, bool nan) {
  return from_float<H>(maximum(widen(a), widen(b), nan));
}
template <class H>
inline H negate(H a) {
  return {static_cast<uint16_t>(a.bits ^ 0x8000)};
}
template <class H>
inline H absolute(H a) {
  return {static_cast<uint16_t>(a.bits & 0x7fff)};
}
template <class H>
inline H saturate_half(H a) {
  return from_float<H>(saturate(widen(a)));
}
template <class H>
inline H relu(H a) {
  return std::isnan(widen(a)) ? H{H::kNan} : (a.bits & 0x8000) ? H{0} : a;
}

// The two halves of a packed register, each through the same function.
template <class H, class F, class... R>
inline uint32_t packed(F f, R... r) {
  const uint16_t low = f(H{static_cast<uint16_t>(r)}...).bits;
  const uint16_t high = f(H{static_cast<uint16_t>(r >> 16)}...).bits;
  return uint32_t{high} << 16 | low;
}

}  // namespace softcuda
