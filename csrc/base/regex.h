// Regular expressions in linear time: the syntax of RE2 without captures, over UTF-8 text.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tiercel {

class Regex {
 public:
  // Throws Error(InvalidArgument) that shows the pattern and the place of the fault; patterns that
  // would need backtracking (back-references, look-around) are faults.
  explicit Regex(std::string_view pattern);

  [[nodiscard]] bool matches(std::string_view text) const;  // the whole text
  struct Match {
    size_t begin, end;  // byte offsets
  };
  // The leftmost match at or behind `from`, and of these the longest.
  [[nodiscard]] std::optional<Match> search(std::string_view text, size_t from = 0) const;

  // One step of the machine. Set: a code point inside `ranges` [first, last) (or outside, when
  // negated) goes on to the next step; Split: go on at `a` and at `b`.
  struct Step {
    enum class Kind : uint8_t { Set, Split, Jump, Begin, End, WordEdge, NoWordEdge, Match } kind;
    bool negated = false;
    int32_t a = 0;
    int32_t b = 0;
  };
  struct Range {
    uint32_t low, high;
  };

 private:
  class Threads;
  [[nodiscard]] std::optional<size_t> longest(std::string_view text, size_t begin) const;
  [[nodiscard]] bool in_set(const Step& step, uint32_t c) const;

  std::vector<Step> steps_;
  std::vector<Range> ranges_;
};

// The code point at `at`, which moves behind it; a byte that is no UTF-8 counts as itself.
[[nodiscard]] uint32_t next_code_point(std::string_view text, size_t& at);
void append_code_point(std::string& text, uint32_t c);

}  // namespace tiercel
