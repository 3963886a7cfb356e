// Numbers as text and text as numbers, the same in every locale.
#include "providers/cpu/number_text.h"

#include <charconv>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace tiercel {
namespace {

std::string formatted(double value, int digits) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-INF" : "INF";
  char buffer[40];
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::general, digits);
  return {buffer, end.ptr};
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t' || text.front() == '\n')) {
    text.remove_prefix(1);
  }
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\n')) {
    text.remove_suffix(1);
  }
  if (text.size() > 1 && text.front() == '+') text.remove_prefix(1);
  return text;
}

[[noreturn]] void fail(std::string_view where, std::string_view text) {
  throw_error(ErrorKind::InvalidArgument, std::string(where), ": \"", std::string(text),
              "\" is no number");
}

template <class T>
T parse(std::string_view where, std::string_view text) {
  const std::string_view body = trimmed(text);
  T value{};
  const auto [end, code] = std::from_chars(body.data(), body.data() + body.size(), value);
  if (code == std::errc() && end == body.data() + body.size()) return value;
  fail(where, text);
}

}  // namespace

std::string number_text(float value) { return formatted(static_cast<double>(value), 8); }
std::string number_text(double value) { return formatted(value, 17); }

double parse_number(std::string_view where, std::string_view text) {
  const std::string_view body = trimmed(text);
  double value = 0;
  const auto [end, code] = std::from_chars(body.data(), body.data() + body.size(), value);
  if (body.empty() || end != body.data() + body.size()) fail(where, text);
  if (code == std::errc::result_out_of_range) {
    // Too small or too large: the sign of the exponent tells.
    const size_t exponent = body.find_first_of("eE");
    const bool tiny = exponent != std::string_view::npos && body.substr(exponent + 1, 1) == "-";
    const double limit = tiny ? 0.0 : std::numeric_limits<double>::infinity();
    return body.front() == '-' ? -limit : limit;
  }
  return value;
}

int64_t parse_integer(std::string_view where, std::string_view text) {
  return parse<int64_t>(where, text);
}

uint64_t parse_unsigned(std::string_view where, std::string_view text) {
  return parse<uint64_t>(where, text);
}

}  // namespace tiercel
