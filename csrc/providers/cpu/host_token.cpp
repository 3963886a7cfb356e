// Text to tokens (com.microsoft Tokenizer) and tokens to counted n-grams (TfIdfVectorizer).
#include <algorithm>
#include <cmath>
#include <map>
#include <unordered_map>

#include "base/regex.h"
#include "providers/cpu/host_call.h"

namespace tiercel {
namespace {

struct TokenRule {
  std::optional<Regex> token;      // what a token looks like
  std::optional<Regex> separator;  // or what lies between tokens
  bool characters = false;         // or every character is one
};

std::shared_ptr<const void> compile_tokens(const Graph&, const Node& node) {
  auto rule = std::make_shared<TokenRule>();
  const auto expression = attribute<std::string>(node, "tokenexp", "");
  const auto* separators = list<std::string>(node, "separators");
  if (!expression.empty()) {
    rule->token.emplace(expression);
  } else if (separators && !(separators->size() == 1 && separators->front().empty())) {
    std::string any;
    for (const std::string& separator : *separators) {
      if (!any.empty()) any += '|';
      any += concat("(?:", separator, ")");
    }
    rule->separator.emplace(any);
  } else if (separators) {
    rule->characters = true;
  } else {
    throw_error(ErrorKind::InvalidGraph, where(node), ": has neither tokenexp nor separators");
  }
  return rule;
}

int64_t length_of(std::string_view text) {
  int64_t n = 0;
  for (size_t at = 0; at < text.size(); ++n) static_cast<void>(next_code_point(text, at));
  return n;
}

std::vector<std::string> tokens_of(const TokenRule& rule, const std::string& text) {
  std::vector<std::string> out;
  size_t at = 0;
  if (rule.characters) {
    while (at < text.size()) {
      const size_t begin = at;
      static_cast<void>(next_code_point(text, at));
      out.push_back(text.substr(begin, at - begin));
    }
    return out;
  }
  const Regex& regex = rule.token ? *rule.token : *rule.separator;
  for (size_t from = 0; from <= text.size();) {
    const auto found = regex.search(text, from);
    if (!found) break;
    if (rule.token && found->end > found->begin) {
      out.push_back(text.substr(found->begin, found->end - found->begin));
    } else if (!rule.token && found->end > found->begin) {
      out.push_back(text.substr(at, found->begin - at));
      at = found->end;
    }
    from = found->end;
    if (found->end == found->begin) {  // an empty match moves on by one character
      if (from == text.size()) break;
      static_cast<void>(next_code_point(text, from));
    }
  }
  if (!rule.token) out.push_back(text.substr(at));
  return out;
}

void tokenizer(HostCall& call) {
  const auto& rule = *static_cast<const TokenRule*>(call.state);
  const auto texts = strings(call, 0);
  const auto pad = attribute<std::string>(call.node, "pad_value", "");
  const bool mark = attribute<int64_t>(call.node, "mark", 0) != 0;
  const int64_t shortest = attribute<int64_t>(call.node, "mincharnum", 1);
  std::vector<std::vector<std::string>> rows;
  size_t longest = 0;
  for (const std::string& text : texts) {
    std::vector<std::string> row = tokens_of(rule, text);
    std::erase_if(
        row, [&](const std::string& t) { return length_of(t) < std::max<int64_t>(shortest, 1); });
    if (mark) {
      row.insert(row.begin(), "\x02");
      row.emplace_back("\x03");
    }
    longest = std::max(longest, row.size());
    rows.push_back(std::move(row));
  }
  Dims dims = tensor(call, 0).dims();
  dims.push_back(static_cast<int64_t>(longest));
  Tensor y(DType::String, dims);
  for (size_t i = 0; i < rows.size(); ++i) {
    auto* out = y.data<std::string>() + i * longest;
    std::fill(std::move(rows[i].begin(), rows[i].end(), out), out + longest, pad);
  }
  give(call, 0, std::move(y));
}

// The n-grams of the pool as a tree: one step per item.
struct GramTree {
  struct Place {
    std::unordered_map<int64_t, int32_t> next;  // item to place
    int64_t column = -1;                        // of the n-gram that ends here
  };
  std::vector<Place> places = {{}};
  std::unordered_map<std::string, int64_t> words;  // string items are numbered
  std::vector<double> weights;                     // per n-gram, by its column
  int64_t columns = 0;
  int64_t shortest = 1, longest = 1, skips = 0;
  enum class Mode { Tf, Idf, TfIdf } mode = Mode::Tf;
};

std::vector<int64_t> pool_items(const Node& node, GramTree& tree) {
  std::vector<int64_t> items;
  if (const auto* numbers = list<int64_t>(node, "pool_int64s")) return *numbers;
  const auto* texts = list<std::string>(node, "pool_strings");
  if (!texts) throw_error(ErrorKind::InvalidGraph, where(node), ": the pool is empty");
  for (const std::string& text : *texts) {
    const auto fresh = static_cast<int64_t>(tree.words.size());
    items.push_back(tree.words.emplace(text, fresh).first->second);
  }
  return items;
}

void add_gram(GramTree& tree, std::span<const int64_t> items, int64_t column) {
  int32_t at = 0;
  for (int64_t item : items) {
    const auto fresh = static_cast<int32_t>(tree.places.size());
    const auto [next, added] = tree.places[static_cast<size_t>(at)].next.emplace(item, fresh);
    at = next->second;
    if (added) tree.places.emplace_back();
  }
  tree.places[static_cast<size_t>(at)].column = column;
}

// ngram_counts[n - 1] is where the pool's n-grams begin.
void read_pool(const Node& node, GramTree& tree) {
  const auto fail = [&](const std::string& what) {
    throw_error(ErrorKind::InvalidGraph, where(node), ": ", what);
  };
  const std::vector<int64_t> items = pool_items(node, tree);
  const auto* counts = list<int64_t>(node, "ngram_counts");
  const auto* indexes = list<int64_t>(node, "ngram_indexes");
  const auto* weights = list<double>(node, "weights");
  if (!counts || !indexes) return fail("ngram_counts or ngram_indexes is empty");
  const auto total = static_cast<int64_t>(items.size());
  for (int64_t index : *indexes) {
    if (index < 0 || index > (int64_t{1} << 28)) fail(concat("ngram_indexes holds ", index));
    tree.columns = std::max(tree.columns, index + 1);
  }
  tree.weights.assign(static_cast<size_t>(tree.columns), 1.0);
  if (weights && weights->size() != indexes->size()) {
    fail(concat("weights has ", weights->size(), " entries; expected ", indexes->size()));
  }
  size_t gram = 0;
  for (size_t n = 1; n <= counts->size(); ++n) {
    const int64_t begin = (*counts)[n - 1];
    const int64_t end = n < counts->size() ? (*counts)[n] : total;
    const auto width = static_cast<int64_t>(n);
    if (begin < 0 || end < begin || end > total || (end - begin) % width != 0) {
      fail(concat("ngram_counts do not cut the pool of ", total, " items into n-grams"));
    }
    for (int64_t at = begin; at < end; at += width, ++gram) {
      if (gram >= indexes->size()) fail("the pool has more n-grams than ngram_indexes");
      const int64_t column = (*indexes)[gram];
      if (weights) tree.weights[static_cast<size_t>(column)] = (*weights)[gram];
      if (width < tree.shortest || width > tree.longest) continue;
      add_gram(tree, std::span(items).subspan(static_cast<size_t>(at), n), column);
    }
  }
}

std::shared_ptr<const void> prepare_grams(const Graph&, const Node& node) {
  auto tree = std::make_shared<GramTree>();
  const auto mode = attribute<std::string>(node, "mode", "TF");
  if (mode != "TF" && mode != "IDF" && mode != "TFIDF") {
    throw_error(ErrorKind::InvalidGraph, where(node), ": mode is \"", mode,
                "\"; expected TF, IDF or TFIDF");
  }
  tree->mode = mode == "TF"    ? GramTree::Mode::Tf
               : mode == "IDF" ? GramTree::Mode::Idf
                               : GramTree::Mode::TfIdf;
  tree->shortest = attribute<int64_t>(node, "min_gram_length", 1);
  tree->longest = attribute<int64_t>(node, "max_gram_length", 1);
  tree->skips = attribute<int64_t>(node, "max_skip_count", 0);
  if (tree->shortest < 1 || tree->longest < tree->shortest || tree->skips < 0) {
    throw_error(ErrorKind::InvalidGraph, where(node), ": min_gram_length ", tree->shortest,
                ", max_gram_length ", tree->longest, ", max_skip_count ", tree->skips);
  }
  read_pool(node, *tree);
  return tree;
}

// Counts every n-gram of the row whose items lie `distance` apart. Single items have no distance.
void count_grams(const GramTree& tree, std::span<const int64_t> row, int64_t distance,
                 bool with_single, float* counts) {
  const auto length = static_cast<int64_t>(row.size());
  for (int64_t begin = 0; begin < length; ++begin) {
    int32_t at = 0;
    int64_t n = 1;
    for (int64_t i = begin; i < length && n <= tree.longest; i += distance, ++n) {
      const auto& next = tree.places[static_cast<size_t>(at)].next;
      const auto found = next.find(row[static_cast<size_t>(i)]);
      if (found == next.end()) break;
      at = found->second;
      const int64_t column = tree.places[static_cast<size_t>(at)].column;
      if (column >= 0 && (n > 1 || with_single)) counts[column] += 1;
    }
  }
}

std::vector<int64_t> items_of(const HostCall& call, const GramTree& tree) {
  const Tensor& x = tensor(call, 0);
  if (x.dtype() != DType::String) return x.as_i64();
  std::vector<int64_t> items;
  for (const std::string& text : strings(call, 0)) {
    const auto found = tree.words.find(text);
    items.push_back(found == tree.words.end() ? -1 : found->second);
  }
  return items;
}

void tf_idf_vectorizer(HostCall& call) {
  const auto& tree = *static_cast<const GramTree*>(call.state);
  const Tensor& x = tensor(call, 0);
  if (x.rank() > 2) host_fail(call, concat("X has rank ", x.rank(), "; expected 1 or 2"));
  const std::vector<int64_t> items = items_of(call, tree);
  const int64_t rows = x.rank() == 2 ? x.dims()[0] : 1;
  const int64_t width = rows == 0 ? 0 : x.size() / rows;
  Tensor y(DType::Float, x.rank() == 2 ? Dims{rows, tree.columns} : Dims{tree.columns});
  std::fill_n(y.data<float>(), y.size(), 0.0F);
  for (int64_t r = 0; r < rows; ++r) {
    float* out = y.data<float>() + r * tree.columns;
    const auto row =
        std::span(items).subspan(static_cast<size_t>(r * width), static_cast<size_t>(width));
    for (int64_t skip = 0; skip <= std::min(tree.skips, width); ++skip) {
      count_grams(tree, row, skip + 1, skip == 0, out);
    }
    for (int64_t c = 0; c < tree.columns; ++c) {
      const auto weight = static_cast<float>(tree.weights[static_cast<size_t>(c)]);
      if (tree.mode == GramTree::Mode::Idf) out[c] = out[c] > 0 ? weight : 0;
      if (tree.mode == GramTree::Mode::TfIdf) out[c] *= weight;
    }
  }
  give(call, 0, std::move(y));
}

constexpr HostOp kToken[] = {
    {"com.microsoft", "Tokenizer", tokenizer, "", compile_tokens},
    {"", "TfIdfVectorizer", tf_idf_vectorizer, "", prepare_grams},
};

}  // namespace

std::span<const HostOp> host_token_ops() { return kToken; }

}  // namespace tiercel
