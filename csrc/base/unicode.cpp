// Letters, white space and categories of Unicode, by tables that are generated from Python's own.
#include "base/unicode.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <span>

namespace tiercel {
namespace {

// Code points first, first + stride … last become others `distance` away.
struct CaseStep {
  uint32_t first, last, stride;
  int32_t distance;
};
// A code point that becomes several.
struct CaseText {
  uint32_t c;
  const char* text;
};
struct CategoryRange {
  uint32_t low, high;
  char name[2];
};

#include "unicode_tables.h"

std::optional<uint32_t> mapped(std::span<const CaseStep> table, uint32_t c) {
  auto row = std::upper_bound(table.begin(), table.end(), c,
                              [](uint32_t at, const CaseStep& step) { return at < step.first; });
  // Stretches of every second code point may lie inside each other.
  for (int tries = 0; tries < 2 && row != table.begin(); ++tries) {
    --row;
    if (c <= row->last && (c - row->first) % row->stride == 0) {
      return static_cast<uint32_t>(static_cast<int32_t>(c) + row->distance);
    }
  }
  return std::nullopt;
}

const char* many(std::span<const CaseText> table, uint32_t c) {
  for (const CaseText& row : table) {
    if (row.c == c) return row.text;
  }
  return nullptr;
}

bool within(std::span<const CodeRange> table, uint32_t c) {
  const auto row = std::upper_bound(table.begin(), table.end(), c,
                                    [](uint32_t at, const CodeRange& r) { return at < r.low; });
  return row != table.begin() && c <= std::prev(row)->high;
}

constexpr uint32_t kSigma = 0x3a3, kFinalSigma = 0x3c2;

// Says of the sigmas of a text, one after another, whether they end a word.
class WordEnds {
 public:
  explicit WordEnds(std::string_view text) : text_(text) {}

  // Of the one at [begin, end): a letter before it, none behind.
  bool operator()(size_t begin, size_t end) {
    while (at_ < begin) {
      const uint32_t c = next_code_point(text_, at_);
      if (!within(kCaseIgnorable, c)) after_letter_ = within(kCased, c);
    }
    if (!after_letter_) return false;
    while (end < text_.size()) {
      const uint32_t c = next_code_point(text_, end);
      if (!within(kCaseIgnorable, c)) return !within(kCased, c);
    }
    return true;
  }

 private:
  std::string_view text_;
  size_t at_ = 0;
  bool after_letter_ = false;  // before `at_`, but for what a word may hold besides letters
};

// How one code point changes: itself, another, or several.
struct Change {
  std::span<const CaseStep> one;
  std::span<const CaseText> several;
  char first, last;  // ASCII letters that change
};

template <class Special>
std::string changed(std::string_view text, const Change& change, Special special) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    if (static_cast<unsigned char>(text[at]) < 0x80) {
      const char c = text[at++];
      out.push_back(c >= change.first && c <= change.last ? static_cast<char>(c ^ 0x20) : c);
      continue;
    }
    const uint32_t c = next_code_point(text, at);
    const bool broken = at == begin + 1;
    if (const char* to = broken ? nullptr : many(change.several, c)) {
      out += to;
    } else if (const auto other = broken ? std::nullopt : special(c, begin, at)) {
      append_code_point(out, *other);
    } else if (const auto other = broken ? std::nullopt : mapped(change.one, c)) {
      append_code_point(out, *other);
    } else {
      out.append(text.substr(begin, at - begin));
    }
  }
  return out;
}

}  // namespace

std::string to_lower(std::string_view text) {
  WordEnds ends_word(text);
  return changed(text, {kLower, kLowerMany, 'A', 'Z'}, [&](uint32_t c, size_t begin, size_t end) {
    return c == kSigma && ends_word(begin, end) ? std::optional(kFinalSigma) : std::nullopt;
  });
}

std::string to_upper(std::string_view text) {
  return changed(text, {kUpper, kUpperMany, 'a', 'z'},
                 [](uint32_t, size_t, size_t) { return std::optional<uint32_t>(); });
}

bool is_space(uint32_t c) {
  return c < 0x80 ? c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1c && c <= 0x1f)
                  : within(kSpace, c);
}

bool add_category(std::string_view name, std::vector<CodeRange>& out) {
  bool found = false;
  for (const CategoryRange& row : kCategories) {
    if (!std::string_view(row.name, 2).starts_with(name)) continue;
    out.push_back({row.low, row.high});
    found = true;
  }
  return found && !name.empty();
}

void add_other_case(std::vector<CodeRange>& ranges) {
  // Twice: K is the upper case of k, whose other upper case is the sign of kelvin.
  for (int round = 0; round < 2; ++round) {
    const std::vector<CodeRange> given = ranges;
    const auto inside = [&](uint32_t c) {
      return std::ranges::any_of(given, [&](auto& r) { return c >= r.low && c <= r.high; });
    };
    for (const std::span<const CaseStep> table : {std::span<const CaseStep>(kLower), {kUpper}}) {
      for (const CaseStep& row : table) {
        for (uint32_t c = row.first; c <= row.last; c += row.stride) {
          const auto to = static_cast<uint32_t>(static_cast<int32_t>(c) + row.distance);
          if (inside(c)) ranges.push_back({to, to});
          if (inside(to)) ranges.push_back({c, c});
        }
      }
    }
  }
}

uint32_t next_code_point(std::string_view text, size_t& at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const uint32_t first = byte(at++);
  const int more = first >= 0xf0 && first < 0xf8 ? 3 : first >= 0xe0 ? 2 : first >= 0xc2 ? 1 : 0;
  if (first < 0xc2 || first >= 0xf8 || at + static_cast<size_t>(more) > text.size()) return first;
  uint32_t c = first & (0x3fU >> more);
  for (int i = 0; i < more; ++i) {
    if ((byte(at + static_cast<size_t>(i)) & 0xc0) != 0x80) return first;
    c = c << 6 | (byte(at + static_cast<size_t>(i)) & 0x3f);
  }
  at += static_cast<size_t>(more);
  return c;
}

void append_code_point(std::string& text, uint32_t c) {
  const auto put = [&](uint32_t byte) { text.push_back(static_cast<char>(byte)); };
  if (c < 0x80) return put(c);
  if (c < 0x800) {
    put(0xc0 | c >> 6);
  } else if (c < 0x10000) {
    put(0xe0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3f));
  } else {
    put(0xf0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3f));
    put(0x80 | (c >> 6 & 0x3f));
  }
  put(0x80 | (c & 0x3f));
}

}  // namespace tiercel
