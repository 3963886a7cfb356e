// Text operators of ai.onnx: normalise, join, split, match.
#include <algorithm>
#include <unordered_set>

#include "base/regex.h"
#include "providers/cpu/host_call.h"

namespace tiercel {
namespace {

std::string changed(const std::string& action, const std::string& text) {
  if (action == "LOWER") return to_lower(text);
  if (action == "UPPER") return to_upper(text);
  return text;
}

void string_normalizer(HostCall& call) {
  const Tensor& x = tensor(call, 0);
  const bool row = x.rank() == 2 && x.dims()[0] == 1;
  if (x.rank() != 1 && !row) {
    host_fail(call, concat("X has shape ", dims_text(x.dims()), "; expected [C] or [1, C]"));
  }
  const bool exact = attribute<int64_t>(call.node, "is_case_sensitive", 0) != 0;
  const std::string action = attribute<std::string>(call.node, "case_change_action", "NONE");
  std::unordered_set<std::string> stopwords;
  if (const auto* words = list<std::string>(call.node, "stopwords")) {
    for (const std::string& word : *words) stopwords.insert(exact ? word : to_lower(word));
  }
  std::vector<std::string> kept;
  for (const std::string& word : strings(call, 0)) {
    if (stopwords.contains(exact ? word : to_lower(word))) continue;
    kept.push_back(changed(action, word));
  }
  if (kept.empty()) kept.emplace_back();  // nothing left is one empty string
  const auto n = static_cast<int64_t>(kept.size());
  Tensor y(DType::String, row ? Dims{1, n} : Dims{n});
  std::move(kept.begin(), kept.end(), y.data<std::string>());
  give(call, 0, std::move(y));
}

// For every element of `out`, the index of the element of `from` that broadcasts to it.
std::vector<int64_t> broadcast_indices(const Dims& out, const Dims& from) {
  std::vector<int64_t> strides(out.size(), 0);
  int64_t stride = 1;
  for (size_t i = 0; i < from.size(); ++i) {
    const size_t axis = from.size() - 1 - i;
    strides[out.size() - 1 - i] = from[axis] == 1 ? 0 : stride;
    stride *= from[axis];
  }
  std::vector<int64_t> indices(static_cast<size_t>(element_count(out)), 0);
  for (size_t flat = 0; flat < indices.size(); ++flat) {
    auto rest = static_cast<int64_t>(flat);
    for (size_t axis = out.size(); axis-- > 0;) {
      indices[flat] += rest % out[axis] * strides[axis];
      rest /= out[axis];
    }
  }
  return indices;
}

void string_concat(HostCall& call) {
  const auto a = strings(call, 0), b = strings(call, 1);
  const Dims& left = tensor(call, 0).dims();
  const Dims& right = tensor(call, 1).dims();
  Tensor z(DType::String, broadcast(left, right));
  const auto out = strings_of(z);
  const auto i = broadcast_indices(z.dims(), left), j = broadcast_indices(z.dims(), right);
  for (size_t k = 0; k < out.size(); ++k) {
    out[k] = a[static_cast<size_t>(i[k])] + b[static_cast<size_t>(j[k])];
  }
  give(call, 0, std::move(z));
}

// The first place from `at` on that is white space, or that is none.
size_t find_space(const std::string& text, size_t at, bool space) {
  while (at < text.size()) {
    size_t behind = at;
    if (is_space(next_code_point(text, behind)) == space) return at;
    at = behind;
  }
  return text.size();
}

std::string without_trailing_space(const std::string& text) {
  size_t end = 0;
  for (size_t at = 0; at < text.size();) {
    if (!is_space(next_code_point(text, at))) end = at;
  }
  return text.substr(0, end);
}

// Without a delimiter, runs of white space split and none is kept at the ends.
std::vector<std::string> split_words(const std::string& text, int64_t limit) {
  std::vector<std::string> parts;
  size_t at = find_space(text, 0, false);
  while (at < text.size()) {
    if (static_cast<int64_t>(parts.size()) == limit) {
      parts.push_back(without_trailing_space(text.substr(at)));
      break;
    }
    const size_t end = find_space(text, at, true);
    parts.push_back(text.substr(at, end - at));
    at = find_space(text, end, false);
  }
  return parts;
}

std::vector<std::string> split_at(const std::string& text, const std::string& delimiter,
                                  int64_t limit) {
  std::vector<std::string> parts;
  if (text.empty()) return parts;
  size_t at = 0;
  while (static_cast<int64_t>(parts.size()) != limit) {
    const size_t end = text.find(delimiter, at);
    if (end == std::string::npos) break;
    parts.push_back(text.substr(at, end - at));
    at = end + delimiter.size();
  }
  parts.push_back(text.substr(at));
  return parts;
}

void string_split(HostCall& call) {
  const auto texts = strings(call, 0);
  const std::string delimiter = attribute<std::string>(call.node, "delimiter", "");
  const int64_t limit = attribute<int64_t>(call.node, "maxsplit", -1);
  std::vector<std::vector<std::string>> parts;
  size_t longest = 0;
  for (const std::string& text : texts) {
    parts.push_back(delimiter.empty() ? split_words(text, limit)
                                      : split_at(text, delimiter, limit));
    longest = std::max(longest, parts.back().size());
  }
  const Dims& dims = tensor(call, 0).dims();
  Dims wide = dims;
  wide.push_back(static_cast<int64_t>(longest));
  Tensor y(DType::String, wide), z(DType::Int64, dims);
  for (size_t i = 0; i < parts.size(); ++i) {
    std::move(parts[i].begin(), parts[i].end(), y.data<std::string>() + i * longest);
    z.data<int64_t>()[i] = static_cast<int64_t>(parts[i].size());
  }
  give(call, 0, std::move(y));
  give(call, 1, std::move(z));
}

std::shared_ptr<const void> compile_pattern(const Graph&, const Node& node) {
  return std::make_shared<const Regex>(attribute<std::string>(node, "pattern", ""));
}

void regex_full_match(HostCall& call) {
  const auto& regex = *static_cast<const Regex*>(call.state);
  const auto texts = strings(call, 0);
  Tensor y(DType::Bool, tensor(call, 0).dims());
  for (size_t i = 0; i < texts.size(); ++i) y.data<bool>()[i] = regex.matches(texts[i]);
  give(call, 0, std::move(y));
}

constexpr HostOp kString[] = {
    {"", "StringNormalizer", string_normalizer},
    {"", "StringConcat", string_concat},
    {"", "StringSplit", string_split},
    {"", "RegexFullMatch", regex_full_match, "", compile_pattern},
};

}  // namespace

std::span<const HostOp> host_string_ops() { return kString; }

}  // namespace tiercel
