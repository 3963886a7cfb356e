// Arithmetic of PTX as C++ templates: integers, roundings, saturation, half-precision floats.
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

namespace softcuda {

enum class Round : uint8_t { kNearest, kZero, kDown, kUp, kAway };

// A register read as another type: same bits where sizes agree, low bits otherwise.
template <class T, class R>
inline T as(R r) {
  if constexpr (std::is_same_v<T, R>) {
    return r;
  } else if constexpr (sizeof(T) == sizeof(R)) {
    return std::bit_cast<T>(r);
  } else if constexpr (std::is_floating_point_v<R>) {
    using U = std::conditional_t<sizeof(R) == 4, uint32_t, uint64_t>;
    return static_cast<T>(std::bit_cast<U>(r));
  } else {
    static_assert(std::is_integral_v<T>, "a float needs a register of its own size");
    return static_cast<T>(r);
  }
}

// A value put into a register, extended by the sign of its own type.
template <class R, class V>
inline void put(R& r, V v) {
  if constexpr (sizeof(R) == sizeof(V)) {
    r = std::bit_cast<R>(v);
  } else {
    static_assert(std::is_integral_v<V> && std::is_integral_v<R>);
    r = static_cast<R>(v);
  }
}

// ---- floats

// Integral part by a rounding.
template <class F>
inline F integral(F v, Round mode) {
  switch (mode) {
    case Round::kNearest:
      return std::nearbyint(v);
    case Round::kZero:
      return std::trunc(v);
    case Round::kDown:
      return std::floor(v);
    case Round::kUp:
      return std::ceil(v);
    case Round::kAway:
      return std::round(v);
  }
  return v;
}

inline double sum_error(double a, double b, double s) {
  const double t = s - a;
  return (a - (s - t)) + (b - t);
}
inline float flush(float v) {
  return std::abs(v) < std::numeric_limits<float>::min() ? std::copysign(0.0f, v) : v;
}
template <class F>
inline F saturate(F v) {
  return v > 0 ? (v < 1 ? v : F{1}) : F{0};  // NaN becomes 0
}
template <class F>
inline F minimum(F a, F b, bool nan) {
  if (std::isnan(a)) return nan ? std::numeric_limits<F>::quiet_NaN() : b;
  if (std::isnan(b)) return nan ? std::numeric_limits<F>::quiet_NaN() : a;
  if (a == b) return std::signbit(a) ? a : b;
  return a < b ? a : b;
}
template <class F>
inline F maximum(F a, F b, bool nan) {
  if (std::isnan(a)) return nan ? std::numeric_limits<F>::quiet_NaN() : b;
  if (std::isnan(b)) return nan ? std::numeric_limits<F>::quiet_NaN() : a;
  if (a == b) return std::signbit(a) ? b : a;
  return a > b ? a : b;
}

// `v + rest` (exact as a pair) as a float by a direction.
inline float directed(double v, double rest, Round mode) {
  const auto r = static_cast<float>(v);
  if (mode == Round::kNearest || !std::isfinite(v)) return r;
  const double below = (static_cast<double>(r) - v) - rest;  // > 0: r is too large
  const bool toward_zero_down = mode == Round::kZero && v > 0;
  const bool toward_zero_up = mode == Round::kZero && v < 0;
  if (below > 0 && (mode == Round::kDown || toward_zero_down)) return std::nextafter(r, -INFINITY);
  if (below < 0 && (mode == Round::kUp || toward_zero_up)) return std::nextafter(r, INFINITY);
  return r;
}
inline float add_directed(float a, float b, Round mode) {
  const double x = a, y = b, s = x + y;
  return directed(s, std::isfinite(s) ? sum_error(x, y, s) : 0, mode);
}
inline float fma_directed(float a, float b, float c, Round mode) {
  const double p = static_cast<double>(a) * b;
  const double s = p + c;
  return directed(s, std::isfinite(s) ? sum_error(p, c, s) : 0, mode);
}
inline float div_directed(float a, float b, Round mode) {
  const double q = static_cast<double>(a) / b;
  const double rest = std::isfinite(q) && b != 0 && std::isfinite(b) ? std::fma(-q, b, a) / b : 0;
  return directed(q, rest, mode);
}
inline float sqrt_directed(float a, Round mode) {
  const double q = std::sqrt(static_cast<double>(a));
  return directed(q, std::isfinite(q) && q > 0 ? std::fma(-q, q, a) / (2 * q) : 0, mode);
}

// ---- conversions

template <class F, class I>
inline F from_integer(I v, Round mode) {
  const auto exact = static_cast<long double>(v);
  auto r = static_cast<F>(v);
  const bool down = mode == Round::kDown || (mode == Round::kZero && exact > 0);
  const bool up = mode == Round::kUp || (mode == Round::kZero && exact < 0);
  if (down && static_cast<long double>(r) > exact) r = std::nextafter(r, -INFINITY);
  if (up && static_cast<long double>(r) < exact) r = std::nextafter(r, INFINITY);
  return r;
}
template <class I, class F>
inline I to_integer(F v, Round mode) {
  using L = std::numeric_limits<I>;
  if (std::isnan(v)) return sizeof(I) == 8 ? static_cast<I>(uint64_t{1} << 63) : I{0};
  const F r = integral(v, mode);
  if (r <= static_cast<F>(L::min())) return L::min();
  const F beyond = std::ldexp(F{1}, L::digits);
  return r >= beyond ? L::max() : static_cast<I>(r);
}
template <class D, class S>
inline D clamp_integer(S v) {
  const auto wide = static_cast<__int128>(v);
  const auto low = static_cast<__int128>(std::numeric_limits<D>::min());
  const auto high = static_cast<__int128>(std::numeric_limits<D>::max());
  return static_cast<D>(std::clamp(wide, low, high));
}
inline uint32_t to_tf32(float v) {
  const auto u = std::bit_cast<uint32_t>(v);
  if ((u & 0x7f800000) == 0x7f800000) return u & ~0x1fffu;
  return (u + 0x1000) & ~0x1fffu;  // nearest, halves away from zero
}

// ---- integers

template <class T>
inline T shift_left(T v, uint32_t by) {
  return by >= sizeof(T) * 8 ? T{0} : static_cast<T>(v << by);
}
template <class T>
inline T shift_right(T v, uint32_t by) {
  constexpr uint32_t kBits = sizeof(T) * 8;
  if (by >= kBits) return std::is_signed_v<T> && v < 0 ? static_cast<T>(-1) : T{0};
  return static_cast<T>(v >> by);
}
inline uint32_t funnel(uint32_t low, uint32_t high, uint32_t by, bool left, bool clamp) {
  by = clamp ? std::min(by, 32u) : by & 31;
  const uint64_t both = uint64_t{high} << 32 | low;
  return static_cast<uint32_t>(left ? (both << by) >> 32 : both >> by);
}
template <class T>
inline T multiply_high(T a, T b) {
  if constexpr (sizeof(T) == 8) {
    using W = std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>;
    return static_cast<T>((static_cast<W>(a) * static_cast<W>(b)) >> 64);
  } else {
    using W = std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>;
    return static_cast<T>((static_cast<W>(a) * static_cast<W>(b)) >> (sizeof(T) * 8));
  }
}
template <class T>
inline T divide(T a, T b) {
  if (b == 0) return static_cast<T>(-1);
  if constexpr (std::is_signed_v<T>)
    if (b == -1) return static_cast<T>(-static_cast<std::make_unsigned_t<T>>(a));
  return static_cast<T>(a / b);
}
template <class T>
inline T remainder_of(T a, T b) {
  if (b == 0) return a;
  if constexpr (std::is_signed_v<T>)
    if (b == -1) return 0;
  return static_cast<T>(a % b);
}
template <class T>
inline T field_insert(T value, T into, uint32_t at, uint32_t length) {
  at &= 255, length &= 255;
  constexpr uint32_t kBits = sizeof(T) * 8;
  if (at >= kBits || length == 0) return into;
  const T mask = length >= kBits ? ~T{0} : (T{1} << length) - 1;
  return (into & ~(mask << at)) | ((value & mask) << at);
}
template <class T>
inline T field_extract(T value, uint32_t at, uint32_t length) {
  at &= 255, length &= 255;
  using U = std::make_unsigned_t<T>;
  constexpr uint32_t kBits = sizeof(T) * 8;
  if (length == 0) return 0;
  const uint32_t last = std::min(at + length - 1, kBits - 1);
  const bool negative = std::is_signed_v<T> && (static_cast<U>(value) >> last & 1);
  U r = at >= kBits ? U{0} : static_cast<U>(value) >> at;
  const uint32_t have = at >= kBits ? 0 : std::min(length, kBits - at);
  if (have < kBits) {
    const U mask = (U{1} << have) - 1;
    r = negative ? r | ~mask : r & mask;
  }
  return static_cast<T>(r);
}
template <class T>
inline T reverse_bits(T v) {
  T r = 0;
  for (uint32_t i = 0; i < sizeof(T) * 8; i++) r |= (v >> i & 1) << (sizeof(T) * 8 - 1 - i);
  return r;
}
template <class T>
inline uint32_t find_leading(T v, bool shift) {
  using U = std::make_unsigned_t<T>;
  auto u = static_cast<U>(v);
  if (std::is_signed_v<T> && v < 0) u = ~u;
  if (u == 0) return ~0u;
  const auto at = static_cast<uint32_t>(std::bit_width(u)) - 1;
  return shift ? static_cast<uint32_t>(sizeof(T) * 8) - 1 - at : at;
}
inline uint32_t permute(uint32_t a, uint32_t b, uint32_t selector) {
  const uint64_t bytes = uint64_t{b} << 32 | a;
  uint32_t r = 0;
  for (int i = 0; i < 4; i++) {
    const uint32_t pick = selector >> (4 * i);
    uint32_t byte = static_cast<uint32_t>(bytes >> (8 * (pick & 7))) & 255;
    if (pick & 8) byte = byte & 128 ? 255 : 0;
    r |= byte << (8 * i);
  }
  return r;
}
inline uint32_t logic3(uint32_t a, uint32_t b, uint32_t c, uint32_t table) {
  uint32_t r = 0;
  for (uint32_t i = 0; i < 8; i++)
    if (table >> i & 1) r |= (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c);
  return r;
}
template <class A, class B>
inline uint32_t dot_bytes(uint32_t a, uint32_t b, uint32_t c) {
  for (int i = 0; i < 32; i += 8)
    c += static_cast<uint32_t>(static_cast<A>(a >> i) * static_cast<B>(b >> i));
  return c;
}

}  // namespace softcuda
