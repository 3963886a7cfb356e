// Numbers as text and text as numbers, the same in every locale.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace tiercel {

// The shortest of `%.8g` (float) or `%.17g` (double); "NaN", "INF" and "-INF".
[[nodiscard]] std::string number_text(float value);
[[nodiscard]] std::string number_text(double value);
// Throws Error(InvalidArgument), prefixed by `where`, when the whole text is no number.
[[nodiscard]] double parse_number(std::string_view where, std::string_view text);
[[nodiscard]] int64_t parse_integer(std::string_view where, std::string_view text);
[[nodiscard]] uint64_t parse_unsigned(std::string_view where, std::string_view text);

}  // namespace tiercel
