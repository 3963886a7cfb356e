// Upper and lower case of letters, the same in every locale.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace tiercel {

// Simple (one to one) mapping of Latin, Greek, Cyrillic and Armenian letters; others stay.
[[nodiscard]] uint32_t to_lower(uint32_t c);
[[nodiscard]] uint32_t to_upper(uint32_t c);
[[nodiscard]] std::string to_lower(std::string_view text);
[[nodiscard]] std::string to_upper(std::string_view text);

}  // namespace tiercel
