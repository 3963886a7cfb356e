// Lays a table of trees out for the kernel: every child behind its parent, so that a walk ends.
#include <algorithm>
#include <limits>

#include "passes/tree_table.h"

namespace tiercel {
namespace {

class TreeLayout {
 public:
  TreeLayout(const Expander& e, const TreeTable& table)
      : e_(e), table_(table), place_(table.nodes.size(), -1) {}

  // Depth first, the branch taken on false first.
  void add_tree(int64_t root) {
    roots.push_back(static_cast<int32_t>(values.size()));
    std::vector<std::pair<int64_t, int64_t>> open = {{root, -1}};  // node, link to patch
    while (!open.empty()) {
      const auto [id, link] = open.back();
      open.pop_back();
      auto& place = place_[static_cast<size_t>(id)];
      // Leaves may be shared; a branch reached twice would make the trees a graph.
      const TreeNode& node = table_.nodes[static_cast<size_t>(id)];
      if (place >= 0 && node.mode != TreeMode::Leaf) {
        e_.fail("a tree node has two parents or is its own ancestor");
      }
      place = static_cast<int64_t>(values.size());
      if (place >= std::numeric_limits<int32_t>::max() / 4) e_.fail("has too many tree nodes");
      if (link >= 0) links[static_cast<size_t>(link)] = static_cast<int32_t>(place);
      emit(node);
      if (node.mode == TreeMode::Leaf) continue;
      open.push_back({node.on_true, place * 4 + 1});
      open.push_back({node.on_false, place * 4 + 2});
    }
  }

  std::vector<double> values, weights;
  std::vector<int32_t> links, roots, targets;
  int64_t max_feature = 0;
  int64_t mode = 0;  // of every branch; -1: they differ

 private:
  // A branch: feature, true child, false child, mode + 16·missing. A leaf: first weight, how many
  // weights, 0, 0.
  void emit(const TreeNode& node) {
    values.push_back(node.value);
    if (node.mode == TreeMode::Leaf) {
      const auto first = static_cast<int32_t>(weights.size());
      links.insert(links.end(), {first, static_cast<int32_t>(node.weights.size()), 0, 0});
      for (const auto& [target, weight] : node.weights) {
        targets.push_back(static_cast<int32_t>(target));
        weights.push_back(weight);
      }
      return;
    }
    if (node.feature < 0 || node.feature > std::numeric_limits<int32_t>::max()) {
      e_.fail(concat("a tree node tests feature ", node.feature));
    }
    max_feature = std::max(max_feature, node.feature);
    const int64_t kind = static_cast<int64_t>(node.mode) + (node.missing_true ? 16 : 0);
    mode = mode == 0 || mode == kind ? kind : -1;
    links.insert(links.end(),
                 {static_cast<int32_t>(node.feature), 0, 0, static_cast<int32_t>(kind)});
  }

  const Expander& e_;
  const TreeTable& table_;
  std::vector<int64_t> place_;
};

Tensor int32_tensor(const std::vector<int32_t>& values, Dims dims) {
  return Tensor::of<int32_t>(DType::Int32, std::move(dims), std::span(values));
}

}  // namespace

ValueId tree_scores(Expander& e, ValueId x, const TreeTable& table) {
  TreeLayout layout(e, table);
  for (int64_t root : table.roots) layout.add_tree(root);
  if (layout.roots.empty()) e.fail("has no tree: no node is free of a parent");
  const std::string& aggregate = table.aggregate;
  if (aggregate != "SUM" && aggregate != "AVERAGE" && aggregate != "MIN" && aggregate != "MAX") {
    e.fail(concat("aggregate_function is \"", aggregate, "\""));
  }
  if (!table.base.empty() && table.base.size() != static_cast<size_t>(table.targets)) {
    e.fail(
        concat("base_values has ", table.base.size(), " entries for ", table.targets, " targets"));
  }
  const DType dtype = e.dtype(x);
  const auto real = [&](const std::vector<double>& values) {
    const auto n = static_cast<int64_t>(values.size());
    return e.constant(make_tensor(dtype, {n}, values));
  };
  const auto n = static_cast<int64_t>(layout.values.size());
  Attributes attributes;
  attributes.set("aggregate_function", aggregate);
  attributes.set("n_targets", table.targets);
  attributes.set("max_feature", layout.max_feature);
  attributes.set("mode", layout.mode);
  const std::vector<double> base =
      table.base.empty() ? std::vector<double>(static_cast<size_t>(table.targets)) : table.base;
  const auto trees = static_cast<int64_t>(layout.roots.size());
  const auto leaves = static_cast<int64_t>(layout.targets.size());
  return e.op(
      "TreeEnsembleScores",
      {x, real(layout.values), e.constant(int32_tensor(layout.links, {n, 4})),
       e.constant(int32_tensor(layout.roots, {trees})),
       e.constant(int32_tensor(layout.targets, {leaves})), real(layout.weights), real(base)},
      std::move(attributes), "tiercel");
}

}  // namespace tiercel
