// Turns a regular expression into the steps of its machine.
#pragma once
#include <string_view>
#include <vector>

#include "base/regex.h"

namespace tiercel {

struct RegexProgram {
  std::vector<Regex::Step> steps;
  std::vector<CodeRange> ranges;
};

[[nodiscard]] RegexProgram parse_regex(std::string_view pattern);

}  // namespace tiercel
