// Parses a regular expression by descent; limits keep machines small and the descent shallow.
#include "base/regex_parser.h"

#include <algorithm>
#include <string>

#include "base/error.h"

namespace tiercel {
namespace {

using Step = Regex::Step;
using Range = CodeRange;
using Ranges = std::vector<CodeRange>;
using Kind = Step::Kind;

constexpr int kMaxDepth = 200;
constexpr int kMaxRepeat = 1000;
constexpr size_t kMaxSteps = 100'000;
constexpr uint32_t kLast = 0x10ffff;

class Parser {
 public:
  explicit Parser(std::string_view pattern) : text_(pattern) {}

  RegexProgram parse() {
    alternatives();
    if (!done()) fail("unexpected )");
    emit({Kind::Match});
    return std::move(out_);
  }

 private:
  [[noreturn]] void fail(std::string_view what) const {
    throw_error(ErrorKind::InvalidArgument, "regular expression \"", std::string(text_),
                "\", byte ", at_, ": ", std::string(what));
  }
  [[nodiscard]] bool done() const { return at_ >= text_.size(); }
  [[nodiscard]] char peek() const { return done() ? '\0' : text_[at_]; }
  bool take(char c) {
    if (done() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  [[nodiscard]] int32_t here() const { return static_cast<int32_t>(out_.steps.size()); }
  int32_t emit(Step step) {
    if (out_.steps.size() >= kMaxSteps) fail("the expression is too large");
    out_.steps.push_back(step);
    return here() - 1;
  }
  // Steps from `from` on move by one: a step is put in front of them.
  void insert(int32_t from, Step step) {
    emit({});
    std::move_backward(out_.steps.begin() + from, out_.steps.end() - 1, out_.steps.end());
    for (auto i = static_cast<size_t>(from) + 1; i < out_.steps.size(); ++i) {
      Step& moved = out_.steps[i];
      if (moved.kind != Kind::Split && moved.kind != Kind::Jump) continue;
      if (moved.a >= from) ++moved.a;
      if (moved.kind == Kind::Split && moved.b >= from) ++moved.b;
    }
    out_.steps[static_cast<size_t>(from)] = step;
  }

  void alternatives() {
    if (++depth_ > kMaxDepth) fail("groups are nested too deeply");
    const int32_t begin = here();
    sequence();
    std::vector<int32_t> ends;
    while (take('|')) {
      insert(begin, {Kind::Split});
      for (int32_t& end : ends) ++end;
      ends.push_back(emit({Kind::Jump}));
      out_.steps[static_cast<size_t>(begin)].a = begin + 1;
      out_.steps[static_cast<size_t>(begin)].b = here();
      sequence();
    }
    for (int32_t end : ends) out_.steps[static_cast<size_t>(end)].a = here();
    --depth_;
  }

  void sequence() {
    while (!done() && (quoting_ || (peek() != '|' && peek() != ')'))) {
      if (begin_quote() || end_quote()) continue;
      const int32_t begin = here();
      if (quoting_) {
        literal();
      } else {
        atom();
      }
      end_quote();
      while (!quoting_ && repeat(begin)) {
      }
    }
  }

  // \Q…\E: literal text.
  bool begin_quote() {
    if (quoting_ || !text_.substr(at_).starts_with("\\Q")) return false;
    at_ += 2;
    return quoting_ = true;
  }
  bool end_quote() {
    if (!quoting_ || !text_.substr(at_).starts_with("\\E")) return false;
    at_ += 2;
    quoting_ = false;
    return true;
  }
  void literal() {
    const uint32_t c = next_code_point(text_, at_);
    emit_set({{c, c}}, false);
  }

  // A repetition of what was made since `begin`; a trailing ? (lazy) changes nothing for matching.
  bool repeat(int32_t begin) {
    int low = 0, high = -1;
    const size_t start = at_;
    if (take('*')) {
    } else if (take('+')) {
      low = 1;
    } else if (take('?')) {
      high = 1;
    } else if (peek() != '{' || !counts(low, high)) {
      at_ = start;
      return false;
    }
    take('?');
    const std::vector<Step> body(out_.steps.begin() + begin, out_.steps.end());
    out_.steps.resize(static_cast<size_t>(begin));
    for (int i = 0; i < low; ++i) copy(body, begin);
    if (high < 0) {
      const int32_t split = emit({Kind::Split});
      copy(body, begin);
      emit({Kind::Jump, false, split});
      out_.steps[static_cast<size_t>(split)].a = split + 1;
      out_.steps[static_cast<size_t>(split)].b = here();
    }
    std::vector<int32_t> exits;
    for (int i = low; i < high; ++i) {
      exits.push_back(emit({Kind::Split, false, here() + 1}));
      copy(body, begin);
    }
    for (int32_t exit : exits) out_.steps[static_cast<size_t>(exit)].b = here();
    return true;
  }

  void copy(const std::vector<Step>& body, int32_t was_at) {
    const int32_t shift = here() - was_at;
    for (Step step : body) {
      if (step.kind == Kind::Split || step.kind == Kind::Jump) step.a += shift;
      if (step.kind == Kind::Split) step.b += shift;
      emit(step);
    }
  }

  // {n}, {n,} or {n,m}; anything else is a literal brace.
  bool counts(int& low, int& high) {
    take('{');
    const auto number = [&](int& value) {
      const size_t start = at_;
      value = 0;
      while (peek() >= '0' && peek() <= '9') {
        value = std::min(value * 10 + (text_[at_++] - '0'), kMaxRepeat + 1);
      }
      return at_ > start;
    };
    if (!number(low)) return false;
    high = low;
    if (take(',') && !number(high)) high = -1;
    if (!take('}')) return false;
    if (low > kMaxRepeat || high > kMaxRepeat) fail("a repetition counts more than 1000");
    if (high >= 0 && high < low) fail("a repetition counts backwards");
    return true;
  }

  void atom() {
    const char c = text_[at_];
    if (c == '(') return group();
    if (c == '[') return set();
    if (c == '*' || c == '+' || c == '?') fail("nothing to repeat");
    if (take('^')) return static_cast<void>(emit({flags_.lines ? Kind::BeginLine : Kind::Begin}));
    if (take('$')) return static_cast<void>(emit({flags_.lines ? Kind::EndLine : Kind::End}));
    if (take('.')) return emit_set(flags_.dot_all ? Ranges{} : Ranges{{'\n', '\n'}}, true);
    if (c == '\\') return escape();
    literal();
  }

  void group() {
    take('(');
    const Flags outside = flags_;
    if (take('?')) {
      const bool named = take('P');
      if (named || peek() == '<') {
        if (!take('<')) fail("expected (?P<name>");
        if (peek() == '=' || peek() == '!') fail("look-around is not known");
        while (!done() && peek() != '>') ++at_;
        if (!take('>')) fail("expected > after a group's name");
      } else {
        flags();
        if (take(')')) return;  // from here to the end of the group around
        if (!take(':')) fail("look-around is not known");
      }
    }
    alternatives();
    if (!take(')')) fail("a group is not closed");
    flags_ = outside;
  }

  // i: case does not matter; s: . is any character; m: ^ and $ stand at lines, too; U: nothing
  // here.
  void flags() {
    bool on = true;
    for (; !done() && peek() != ')' && peek() != ':'; ++at_) {
      switch (peek()) {
        case '-':
          on = false;
          break;
        case 'i':
          flags_.fold = on;
          break;
        case 's':
          flags_.dot_all = on;
          break;
        case 'm':
          flags_.lines = on;
          break;
        case 'U':
          break;
        default:
          fail("look-around and this flag are not known; flags are i, m, s and U");
      }
    }
  }

  // Sorted, without overlaps.
  static Ranges tidy(Ranges ranges) {
    std::ranges::sort(ranges, {}, &Range::low);
    Ranges out;
    for (const Range& range : ranges) {
      if (!out.empty() && range.low <= out.back().high + 1) {
        out.back().high = std::max(out.back().high, range.high);
      } else {
        out.push_back(range);
      }
    }
    return out;
  }

  static void add_outside(const Ranges& ranges, Ranges& out) {
    uint32_t next = 0;
    for (const Range& range : tidy(ranges)) {
      if (range.low > next) out.push_back({next, range.low - 1});
      next = range.high + 1;
    }
    if (next <= kLast) out.push_back({next, kLast});
  }

  void emit_set(Ranges ranges, bool negated) {
    if (flags_.fold) add_other_case(ranges);
    ranges = tidy(std::move(ranges));
    if (out_.ranges.size() + ranges.size() > kMaxSteps) fail("the expression is too large");
    const auto begin = static_cast<int32_t>(out_.ranges.size());
    out_.ranges.insert(out_.ranges.end(), ranges.begin(), ranges.end());
    emit({Kind::Set, negated, begin, static_cast<int32_t>(out_.ranges.size())});
  }

  // The ranges of \d, \w, \s and their complements; false when `c` is none of them.
  static bool class_ranges(char c, Ranges& out) {
    static const Ranges digits = {{'0', '9'}};
    static const Ranges words = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
    static const Ranges spaces = {{'\t', '\n'}, {'\f', '\r'}, {' ', ' '}};
    const char lower = static_cast<char>(c | 0x20);
    if (lower != 'd' && lower != 'w' && lower != 's') return false;
    const auto& named = lower == 'd' ? digits : lower == 'w' ? words : spaces;
    if (c == lower) {
      out.insert(out.end(), named.begin(), named.end());
      return true;
    }
    add_outside(named, out);
    return true;
  }

  // Behind a backslash: \pL, \p{Lu}, \p{^Lu}, \P{Lu}; false when there is none.
  bool category(Ranges& out) {
    if (peek() != 'p' && peek() != 'P') return false;
    bool negated = text_[at_++] == 'P';
    const bool braces = take('{');
    if (braces && take('^')) negated = !negated;
    const size_t begin = at_;
    while (!done() && (braces ? peek() != '}' : at_ == begin)) ++at_;
    const std::string_view name = text_.substr(begin, at_ - begin);
    Ranges found;
    if (name == "Any") {
      found = {{0, kLast}};
    } else if (!add_category(name, found)) {
      fail(concat("\"", std::string(name), "\" is no general category of Unicode, as L or Lu"));
    }
    if (braces && !take('}')) fail("expected } behind a category");
    if (negated) {
      add_outside(found, out);
    } else {
      out.insert(out.end(), found.begin(), found.end());
    }
    return true;
  }

  void escape() {
    ++at_;
    if (done()) fail("ends with a backslash");
    if (take('b')) return static_cast<void>(emit({Kind::WordEdge}));
    if (take('B')) return static_cast<void>(emit({Kind::NoWordEdge}));
    if (take('A')) return static_cast<void>(emit({Kind::Begin}));
    if (take('z')) return static_cast<void>(emit({Kind::End}));
    Ranges ranges;
    if (class_ranges(peek(), ranges)) {
      ++at_;
      return emit_set(std::move(ranges), false);
    }
    if (category(ranges)) return emit_set(std::move(ranges), false);
    const uint32_t c = escaped();
    emit_set({{c, c}}, false);
  }

  // The character behind a backslash.
  uint32_t escaped() {
    static constexpr std::string_view kNames = "ntrfva", kValues = "\n\t\r\f\v\a";
    const size_t named = kNames.find(peek());
    if (named != std::string_view::npos) {
      ++at_;
      return static_cast<unsigned char>(kValues[named]);
    }
    if (take('x')) return hex();
    const char c = peek();
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
      fail(std::string("the escape \\") + c + " is not known");
    }
    return next_code_point(text_, at_);
  }

  // \x41 or \x{1F600}
  uint32_t hex() {
    const bool braces = take('{');
    uint32_t value = 0;
    int digits = 0;
    while (digits < (braces ? 6 : 2) && std::isxdigit(static_cast<unsigned char>(peek())) != 0) {
      const char c = text_[at_++];
      value = value * 16 + static_cast<uint32_t>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
      ++digits;
    }
    if (digits == 0 || (braces && !take('}')) || value > kLast)
      fail("expected \\x41 or \\x{1F600}");
    return value;
  }

  void set() {
    take('[');
    const bool negated = take('^');
    Ranges ranges;
    for (bool first = true; first || peek() != ']'; first = false) {
      if (done()) fail("a set is not closed");
      if (posix_class(ranges)) continue;
      if (peek() == '\\' && at_ + 1 < text_.size() && class_ranges(text_[at_ + 1], ranges)) {
        at_ += 2;
        continue;
      }
      if (set_category(ranges)) continue;
      const uint32_t low = set_member();
      uint32_t high = low;
      if (peek() == '-' && at_ + 1 < text_.size() && text_[at_ + 1] != ']') {
        ++at_;
        high = set_member();
      }
      if (high < low) fail("a range runs backwards");
      ranges.push_back({low, high});
    }
    take(']');
    emit_set(std::move(ranges), negated);
  }

  bool set_category(Ranges& ranges) {
    if (!text_.substr(at_).starts_with("\\p") && !text_.substr(at_).starts_with("\\P"))
      return false;
    ++at_;
    return category(ranges);
  }

  uint32_t set_member() {
    if (done()) fail("a set is not closed");
    if (!take('\\')) return next_code_point(text_, at_);
    if (done()) fail("ends with a backslash");
    return take('b') ? '\b' : escaped();
  }

  // [:alpha:] or [:^alpha:]
  bool posix_class(Ranges& out) {
    static const std::pair<std::string_view, Ranges> kNamed[] = {
        {"alpha", {{'A', 'Z'}, {'a', 'z'}}},
        {"digit", {{'0', '9'}}},
        {"alnum", {{'0', '9'}, {'A', 'Z'}, {'a', 'z'}}},
        {"ascii", {{0, 0x7f}}},
        {"blank", {{'\t', '\t'}, {' ', ' '}}},
        {"cntrl", {{0, 0x1f}, {0x7f, 0x7f}}},
        {"graph", {{'!', '~'}}},
        {"print", {{' ', '~'}}},
        {"space", {{'\t', '\r'}, {' ', ' '}}},
        {"upper", {{'A', 'Z'}}},
        {"lower", {{'a', 'z'}}},
        {"punct", {{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}}},
        {"word", {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}},
        {"xdigit", {{'0', '9'}, {'A', 'F'}, {'a', 'f'}}},
    };
    const std::string_view rest = text_.substr(at_);
    if (!rest.starts_with("[:")) return false;
    const bool negated = rest.starts_with("[:^");
    const size_t begin = negated ? 3 : 2;
    for (const auto& [name, ranges] : kNamed) {
      if (!rest.substr(begin).starts_with(concat(std::string(name), ":]"))) continue;
      if (negated) {
        add_outside(ranges, out);
      } else {
        out.insert(out.end(), ranges.begin(), ranges.end());
      }
      at_ += begin + name.size() + 2;
      return true;
    }
    return false;
  }

  struct Flags {
    bool fold = false, dot_all = false, lines = false;
  };
  std::string_view text_;
  size_t at_ = 0;
  int depth_ = 0;
  Flags flags_;
  bool quoting_ = false;
  RegexProgram out_;
};

}  // namespace

RegexProgram parse_regex(std::string_view pattern) {
  if (pattern.size() > 10'000) {
    throw_error(ErrorKind::InvalidArgument, "a regular expression of ", pattern.size(),
                " bytes is too long; at most 10000 are taken");
  }
  return Parser(pattern).parse();
}

}  // namespace tiercel
