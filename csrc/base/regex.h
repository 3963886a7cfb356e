// Regular expressions in linear time: the syntax of RE2 without captures, over UTF-8 text.
#pragma once
#include <bitset>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/unicode.h"

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

  // One step of the machine. Set: a code point inside the sorted ranges [a, b) (or outside, when
  // negated) goes on to the next step; Split: go on at `a` and at `b`.
  struct Step {
    enum class Kind : uint8_t {
      Set,
      Split,
      Jump,
      Begin,
      End,
      BeginLine,
      EndLine,
      WordEdge,
      NoWordEdge,
      Match
    } kind;
    bool negated = false;
    int32_t a = 0;
    int32_t b = 0;
  };

 private:
  class Threads;
  // What the table says of a match at one place.
  struct Quick {
    bool decided = false;  // else the text has what the table does not know
    std::optional<size_t> end;
  };
  void find_first();
  void make_table();
  [[nodiscard]] Quick quick(std::string_view text, size_t begin) const;
  [[nodiscard]] std::optional<size_t> longest(std::string_view text, size_t begin, Threads& now,
                                              Threads& next) const;
  [[nodiscard]] bool in_set(const Step& step, uint32_t c) const;

  std::vector<Step> steps_;
  std::vector<CodeRange> ranges_;
  std::bitset<128> first_;  // the ASCII characters with which a match may begin
  // Sets of threads as states, where they are few and nothing asks about edges: per state and ASCII
  // character the next one, and whether a match ends there.
  std::vector<uint8_t> next_;
  std::vector<bool> ends_;
};

}  // namespace tiercel
