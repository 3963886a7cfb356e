// Runs a regular expression as a set of threads that step over the text together.
#include "base/regex.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/regex_parser.h"

namespace tiercel {

namespace {

constexpr size_t kAscii = 128;
constexpr size_t kMostStates = 64;
constexpr uint8_t kNowhere = 255;

bool is_word(uint32_t c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

// Whether a word begins or ends between the bytes before and behind `at`.
bool word_edge(std::string_view text, size_t at) {
  const bool before = at > 0 && is_word(static_cast<unsigned char>(text[at - 1]));
  const bool behind = at < text.size() && is_word(static_cast<unsigned char>(text[at]));
  return before != behind;
}

}  // namespace

// The steps that wait for a code point at one place of the text.
class Regex::Threads {
 public:
  explicit Threads(const Regex& regex) : regex_(regex), seen_(regex.steps_.size(), 0) {}

  void clear() {
    waiting.clear();
    matched = false;
    ++mark_;
  }

  // Follows splits, jumps and assertions from `step`.
  void add(int32_t step, std::string_view text, size_t at) {
    open_.push_back(step);
    while (!open_.empty()) {
      const int32_t id = open_.back();
      open_.pop_back();
      if (std::exchange(seen_[static_cast<size_t>(id)], mark_) == mark_) continue;
      const Step& s = regex_.steps_[static_cast<size_t>(id)];
      bool passes = true;
      switch (s.kind) {
        case Step::Kind::Set:
          waiting.push_back(id);
          continue;
        case Step::Kind::Match:
          matched = true;
          continue;
        case Step::Kind::Split:
          open_.push_back(s.b);
          open_.push_back(s.a);
          continue;
        case Step::Kind::Jump:
          open_.push_back(s.a);
          continue;
        case Step::Kind::Begin:
          passes = at == 0;
          break;
        case Step::Kind::End:
          passes = at == text.size();
          break;
        case Step::Kind::BeginLine:
          passes = at == 0 || text[at - 1] == '\n';
          break;
        case Step::Kind::EndLine:
          passes = at == text.size() || text[at] == '\n';
          break;
        case Step::Kind::WordEdge:
          passes = word_edge(text, at);
          break;
        case Step::Kind::NoWordEdge:
          passes = !word_edge(text, at);
          break;
      }
      if (passes) open_.push_back(id + 1);
    }
  }

  std::vector<int32_t> waiting;
  bool matched = false;

 private:
  const Regex& regex_;
  std::vector<uint64_t> seen_;  // the mark of the last visit
  std::vector<int32_t> open_;
  uint64_t mark_ = 0;
};

Regex::Regex(std::string_view pattern) {
  RegexProgram program = parse_regex(pattern);
  steps_ = std::move(program.steps);
  ranges_ = std::move(program.ranges);
  find_first();
  make_table();
}

void Regex::make_table() {
  const auto plain = [](const Step& step) {
    using enum Step::Kind;
    return step.kind == Set || step.kind == Split || step.kind == Jump || step.kind == Match;
  };
  if (!std::ranges::all_of(steps_, plain)) return;
  Threads threads(*this);
  std::vector<std::vector<int32_t>> states;  // sorted; -1 in front: a match ends there
  const auto number = [&] {
    std::vector<int32_t> state = std::move(threads.waiting);
    std::ranges::sort(state);
    if (threads.matched) state.insert(state.begin(), -1);
    if (state.empty()) return kNowhere;
    const auto found = std::ranges::find(states, state);
    if (found != states.end()) return static_cast<uint8_t>(found - states.begin());
    states.push_back(std::move(state));
    return static_cast<uint8_t>(states.size() - 1);
  };
  threads.clear();
  threads.add(0, {}, 0);
  if (number() == kNowhere) return;
  std::vector<uint8_t> next;
  for (size_t i = 0; i < states.size(); ++i) {
    for (uint32_t c = 0; c < kAscii; ++c) {
      threads.clear();
      for (int32_t id : std::vector<int32_t>(states[i])) {
        if (id >= 0 && in_set(steps_[static_cast<size_t>(id)], c)) threads.add(id + 1, {}, 0);
      }
      next.push_back(number());
      if (states.size() > kMostStates) return;
    }
  }
  next_ = std::move(next);
  for (const auto& state : states) ends_.push_back(state.front() < 0);
}

Regex::Quick Regex::quick(std::string_view text, size_t begin) const {
  if (next_.empty()) return {};
  Quick out{.decided = true, .end = std::nullopt};
  if (ends_[0]) out.end = begin;
  size_t state = 0;
  for (size_t at = begin; at < text.size();) {
    const auto c = static_cast<unsigned char>(text[at]);
    if (c >= kAscii) return {};
    const uint8_t to = next_[state * kAscii + c];
    if (to == kNowhere) break;
    state = to;
    ++at;
    if (ends_[state]) out.end = at;
  }
  return out;
}

void Regex::find_first() {
  std::vector<int32_t> open = {0};
  std::vector<bool> seen(steps_.size(), false);
  while (!open.empty()) {
    const int32_t id = open.back();
    open.pop_back();
    if (seen[static_cast<size_t>(id)]) continue;
    seen[static_cast<size_t>(id)] = true;
    const Step& step = steps_[static_cast<size_t>(id)];
    switch (step.kind) {
      case Step::Kind::Set:
        for (uint32_t c = 0; c < first_.size(); ++c) {
          if (in_set(step, c)) first_.set(c);
        }
        break;
      case Step::Kind::Match:
        first_.set();
        break;
      case Step::Kind::Split:
        open.push_back(step.b);
        [[fallthrough]];
      case Step::Kind::Jump:
        open.push_back(step.a);
        break;
      default:  // an assertion may hold
        open.push_back(id + 1);
    }
  }
}

bool Regex::in_set(const Step& step, uint32_t c) const {
  const auto first = ranges_.begin() + step.a, last = ranges_.begin() + step.b;
  const auto behind = std::upper_bound(
      first, last, c, [](uint32_t at, const CodeRange& range) { return at < range.low; });
  const bool inside = behind != first && c <= std::prev(behind)->high;
  return inside != step.negated;
}

std::optional<size_t> Regex::longest(std::string_view text, size_t begin, Threads& now,
                                     Threads& next) const {
  now.clear();
  now.add(0, text, begin);
  std::optional<size_t> end;
  if (now.matched) end = begin;
  for (size_t at = begin; at < text.size() && !now.waiting.empty();) {
    const uint32_t c = next_code_point(text, at);
    next.clear();
    for (int32_t id : now.waiting) {
      if (in_set(steps_[static_cast<size_t>(id)], c)) next.add(id + 1, text, at);
    }
    if (next.matched) end = at;
    std::swap(now.waiting, next.waiting);
  }
  return end;
}

bool Regex::matches(std::string_view text) const {
  if (const Quick found = quick(text, 0); found.decided) return found.end == text.size();
  Threads now(*this), next(*this);
  const auto end = longest(text, 0, now, next);
  return end && *end == text.size();
}

std::optional<Regex::Match> Regex::search(std::string_view text, size_t from) const {
  std::optional<Threads> now, next;  // made when the table does not do
  for (size_t begin = from; begin <= text.size();) {
    const size_t byte = begin < text.size() ? static_cast<unsigned char>(text[begin]) : 0;
    if (begin < text.size() && byte < first_.size() && !first_[byte]) {
      ++begin;
      continue;
    }
    Quick found = quick(text, begin);
    if (!found.decided) {
      if (!now) now.emplace(*this), next.emplace(*this);
      found.end = longest(text, begin, *now, *next);
    }
    if (found.end) return Match{begin, *found.end};
    if (begin == text.size()) break;
    static_cast<void>(next_code_point(text, begin));
  }
  return std::nullopt;
}

}  // namespace tiercel
