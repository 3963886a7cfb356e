// Tree ensembles: one table of trees makes the scores; classifiers pick labels from them.
#include <algorithm>
#include <set>

#include "passes/tree_table.h"

namespace tiercel {
namespace {

// The kernel walks float and double features; X of rank 1 is one row.
ValueId features(Expander& e) {
  ValueId x = e.input(0);
  const DType dtype = e.dtype(x);
  if (dtype != DType::Float && dtype != DType::Double) x = e.cast(x, DType::Float);
  if (e.type(x).shape && e.type(x).shape->size() == 1) x = e.op("Unsqueeze", {x, e.ints({0})});
  return x;
}

ValueId transformed(Expander& e, ValueId scores, const std::string& post_transform) {
  if (post_transform == "NONE") return scores;
  Attributes attributes;
  attributes.set("post_transform", post_transform);
  return e.op("PostTransform", {scores}, std::move(attributes), "tiercel");
}

bool tree_regressor(Graph& graph, NodeId id) {
  Expander e(graph, id);
  const int64_t targets = attr_int(e.node(), "n_targets", 1);
  const ValueId scores = tree_scores(e, features(e), read_numbered_trees(e, "target", targets));
  const std::string post = attr_string(e.node(), "post_transform", "NONE");
  return e.finish({transformed(e, e.cast(scores, DType::Float), post)});
}

bool tree_ensemble(Graph& graph, NodeId id) {
  static constexpr std::string_view kTransforms[] = {"NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO",
                                                     "PROBIT"};
  Expander e(graph, id);
  const int64_t post = attr_int(e.node(), "post_transform");
  if (post < 0 || post > 4) e.fail(concat("post_transform is ", post, "; expected 0 to 4"));
  const DType dtype = e.dtype(e.input(0));
  const ValueId scores = tree_scores(e, features(e), read_linked_trees(e));
  if (post == 0) return e.finish({e.cast(scores, dtype)});
  const ValueId shown =
      transformed(e, e.cast(scores, DType::Float), std::string(kTransforms[post]));
  return e.finish({e.cast(shown, dtype)});
}

// How two classes are told apart. Weights for one class alone are a single score against a
// threshold: half when they are probabilities (none negative), else zero.
void decide_binary(const TreeTable& table, bool two_bases, Attributes& attributes) {
  std::set<int64_t> scored;
  bool positive = true;
  for (int32_t target : table.weight_targets) scored.insert(target);
  for (double weight : table.weights) positive = positive && weight >= 0;
  if (scored.size() != 1) return;
  const int64_t column = *scored.begin();
  attributes.set("column", column);
  attributes.set("threshold", positive ? 0.5 : 0.0);
  attributes.set("complement", int64_t{positive});
  attributes.set("rule", std::string(column == 0 && !two_bases ? "pair" : "threshold"));
}

bool tree_classifier(Graph& graph, NodeId id) {
  Expander e(graph, id);
  const Attributes& given = e.node().attributes;
  const auto* numbers = given.get<std::vector<int64_t>>("classlabels_int64s");
  const auto* names = given.get<std::vector<std::string>>("classlabels_strings");
  const bool text = names && !names->empty();
  if (!text && (!numbers || numbers->empty())) e.fail("has no class labels");
  const auto classes = static_cast<int64_t>(text ? names->size() : numbers->size());
  TreeTable table = read_numbered_trees(e, "class", classes);
  Attributes attributes;
  if (text) attributes.set("classlabels_strings", *names);
  if (!text) attributes.set("classlabels_int64s", *numbers);
  attributes.set("post_transform", attr_string(e.node(), "post_transform", "NONE"));
  attributes.set("rule", std::string("argmax"));
  const bool two_bases = table.base.size() == 2;
  if (classes == 2) decide_binary(table, two_bases, attributes);
  // One base value for two classes is that of the first.
  if (classes == 2 && table.base.size() == 1) table.base.push_back(0);
  const ValueId scores = e.cast(tree_scores(e, features(e), std::move(table)), DType::Float);
  return e.finish(e.ops("ClassScores", {scores}, 2, std::move(attributes), "tiercel"));
}

constexpr Expansion kTrees[] = {
    {"ai.onnx.ml", "TreeEnsembleClassifier", tree_classifier},
    {"ai.onnx.ml", "TreeEnsembleRegressor", tree_regressor},
    {"ai.onnx.ml", "TreeEnsemble", tree_ensemble},
};

}  // namespace

std::span<const Expansion> tree_expansions() { return kTrees; }

}  // namespace tiercel
