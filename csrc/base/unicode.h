// Letters, white space and categories of Unicode, the same in every locale.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tiercel {

struct CodeRange {
  uint32_t low, high;
};

// Full mapping, as str.lower and str.upper of Python: ß becomes SS, a Σ that ends a word ς. Bytes
// that are no UTF-8 stay.
[[nodiscard]] std::string to_lower(std::string_view text);
[[nodiscard]] std::string to_upper(std::string_view text);

[[nodiscard]] bool is_space(uint32_t c);

// Adds the code points of a general category ("Lu") or a group of them ("L"); false: no such name.
[[nodiscard]] bool add_category(std::string_view name, std::vector<CodeRange>& out);
// Adds what differs from the ranges in case alone.
void add_other_case(std::vector<CodeRange>& ranges);

// The code point at `at`, which moves behind it; a byte that is no UTF-8 counts as itself.
[[nodiscard]] uint32_t next_code_point(std::string_view text, size_t& at);
void append_code_point(std::string& text, uint32_t c);

}  // namespace tiercel
