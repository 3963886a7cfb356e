// One extent of a shape: an integer, a symbol ("batch", "batch*12"), or unknown.
#pragma once
#include <cstdint>
#include <string>
#include <utility>

namespace tiercel {

class Dim {
 public:
  Dim() = default;                       // unknown
  Dim(int64_t value) : value_(value) {}  // NOLINT: numbers are dims
  static Dim symbol(std::string name) {
    Dim d;
    d.symbol_ = std::move(name);
    return d;
  }
  [[nodiscard]] bool known() const { return value_ != kNone; }
  [[nodiscard]] bool symbolic() const { return !known() && !symbol_.empty(); }
  [[nodiscard]] bool unknown() const { return !known() && symbol_.empty(); }
  [[nodiscard]] int64_t value() const {
    return value_;
  }  // only if known(); may be negative in propagated values
  [[nodiscard]] const std::string& name() const { return symbol_; }
  // True only when both are certainly the same extent.
  [[nodiscard]] bool same(const Dim& other) const {
    return known() ? value_ == other.value_ && other.known()
                   : symbolic() && symbol_ == other.symbol_;
  }
  // The integer, the symbol, or "?".
  [[nodiscard]] std::string text() const;

 private:
  static constexpr int64_t kNone = INT64_MIN;
  int64_t value_ = kNone;
  std::string symbol_;
};

// Arithmetic folds integers, keeps x*1, x+0, x/1, and otherwise builds a canonical symbol
// ("batch*12"); unknown is contagious. Integer overflow throws Error(InvalidArgument).
[[nodiscard]] Dim operator+(const Dim& a, const Dim& b);
[[nodiscard]] Dim operator-(const Dim& a, const Dim& b);
[[nodiscard]] Dim operator*(const Dim& a, const Dim& b);
// Floor division. (batch*12)/12 = batch.
[[nodiscard]] Dim floor_div(const Dim& a, const Dim& b);
[[nodiscard]] Dim ceil_div(const Dim& a, const Dim& b);

}  // namespace tiercel
