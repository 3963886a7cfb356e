// Lays a table of trees out for the kernel: every child behind its parent, so that a walk ends, and
// the two children of a node next to each other.
#include <algorithm>
#include <limits>

#include "passes/tree_table.h"

namespace tiercel {
namespace {

// A tensor of the numbers, whose memory it takes.
template <class Element>
Tensor over(DType dtype, Dims dims, std::vector<Element>&& numbers) {
  const auto owner = std::make_shared<std::vector<Element>>(std::move(numbers));
  if (owner->empty()) return Tensor(dtype, std::move(dims));
  const auto bytes = static_cast<int64_t>(owner->size() * sizeof(Element));
  return {dtype, std::move(dims), Buffer::wrap(owner->data(), bytes, [owner] {}), owner->data()};
}

template <class Real>
class TreeLayout {
 public:
  TreeLayout(const Expander& e, const TreeTable& table)
      : e_(e), table_(table), direct_(all_single(table)), seen_(table.size()) {
    values.reserve(table.size());
    links.reserve(2 * table.size());
  }

  void add_tree(int32_t root) {
    const auto place = static_cast<int32_t>(values.size());
    roots.push_back(place);
    grow(1);
    std::vector<std::pair<int32_t, int32_t>> open = {{root, place}};  // a node and its place
    target_ = -1;
    while (!open.empty()) {
      const auto [node, at] = open.back();
      open.pop_back();
      const auto id = static_cast<size_t>(node);
      if (table_.modes[id] == TreeMode::Leaf) {
        put_leaf(id, static_cast<size_t>(at));
        continue;
      }
      // Leaves may be shared; a branch reached twice would make the trees a graph.
      if (seen_[id]) e_.fail("a tree node has two parents or is its own ancestor");
      seen_[id] = true;
      const auto child = static_cast<int32_t>(values.size());
      grow(2);
      put_branch(id, static_cast<size_t>(at), child);
      open.emplace_back(table_.on_false[id], child + 1);
      open.emplace_back(table_.on_true[id], child);
    }
    tree_targets.push_back(std::max(target_, 0));
  }

  // All leaves of a tree have one weight, for the same target.
  [[nodiscard]] bool direct() const { return direct_; }

  std::vector<Real> values;
  std::vector<int32_t> links, roots, tree_targets;
  int64_t max_feature = 0, reach = 0;
  int64_t mode = 0;  // of every branch; -1: they differ
  bool missing = false;

 private:
  static bool all_single(const TreeTable& table) {
    for (size_t i = 0; i < table.size(); ++i) {
      if (table.modes[i] == TreeMode::Leaf && table.on_false[i] != 1) return false;
    }
    return true;
  }

  void grow(size_t nodes) {
    if (values.size() + nodes >= std::numeric_limits<int32_t>::max() / 4) {
      e_.fail("has too many tree nodes");
    }
    values.resize(values.size() + nodes);
    links.resize(links.size() + 2 * nodes);
  }

  void put_branch(size_t id, size_t at, int32_t child) {
    const int64_t kind = static_cast<int64_t>(table_.modes[id]);
    max_feature = std::max<int64_t>(max_feature, table_.features[id]);
    reach = std::max(reach, child - static_cast<int64_t>(at));
    mode = mode == 0 || mode == kind ? kind : -1;
    missing = missing || table_.missing_true[id];
    values[at] = static_cast<Real>(table_.values[id]);
    links[2 * at] = child;
    const int64_t what = int64_t{table_.features[id]} * 16 + (table_.missing_true[id] ? 8 : 0);
    links[2 * at + 1] = static_cast<int32_t>(what + kind);
  }

  void put_leaf(size_t id, size_t at) {
    const int32_t first = table_.on_true[id], count = table_.on_false[id];
    links[2 * at] = first;
    if (count >= 1 << 27) e_.fail(concat("a leaf has ", count, " weights"));
    links[2 * at + 1] = count * 16;
    if (!direct_) return;
    const int32_t target = table_.weight_targets[static_cast<size_t>(first)];
    direct_ = target_ < 0 || target == target_;
    target_ = target;
    values[at] = static_cast<Real>(table_.weights[static_cast<size_t>(first)]);
  }

  const Expander& e_;
  const TreeTable& table_;
  bool direct_;
  int32_t target_ = -1;  // of the tree at hand
  std::vector<bool> seen_;
};

template <class Real>
std::vector<Real> reals(const std::vector<double>& numbers) {
  std::vector<Real> out(numbers.size());
  std::transform(numbers.begin(), numbers.end(), out.begin(),
                 [](double x) { return static_cast<Real>(x); });
  return out;
}

template <class Real>
ValueId scores_node(Expander& e, ValueId x, TreeTable&& table) {
  TreeLayout<Real> layout(e, table);
  for (int32_t root : table.roots) layout.add_tree(root);
  if (layout.roots.empty()) e.fail("has no tree: no node is free of a parent");
  Attributes attributes;
  attributes.set("aggregate_function", table.aggregate);
  attributes.set("n_targets", table.targets);
  attributes.set("max_feature", layout.max_feature);
  attributes.set("mode", layout.mode);
  attributes.set("reach", layout.reach);
  attributes.set("direct", int64_t{layout.direct()});
  attributes.set("missing", int64_t{layout.missing});
  std::vector<int32_t>& targets = layout.direct() ? layout.tree_targets : table.weight_targets;
  if (layout.direct()) table.weights.clear();
  table.base.resize(static_cast<size_t>(table.targets));
  const DType dtype = e.dtype(x);
  const auto constant = [&]<class Element>(DType type, std::vector<Element>&& numbers) {
    const auto n = static_cast<int64_t>(numbers.size());
    return e.constant(over(type, {n}, std::move(numbers)));
  };
  const auto n = static_cast<int64_t>(layout.values.size());
  const ValueId links = e.constant(over(DType::Int32, {n, 2}, std::move(layout.links)));
  return e.op(
      "TreeEnsembleScores",
      {x, constant(dtype, std::move(layout.values)), links,
       constant(DType::Int32, std::move(layout.roots)), constant(DType::Int32, std::move(targets)),
       constant(dtype, reals<Real>(table.weights)), constant(dtype, reals<Real>(table.base))},
      std::move(attributes), "tiercel");
}

}  // namespace

ValueId tree_scores(Expander& e, ValueId x, TreeTable&& table) {
  const std::string& aggregate = table.aggregate;
  if (aggregate != "SUM" && aggregate != "AVERAGE" && aggregate != "MIN" && aggregate != "MAX") {
    e.fail(concat("aggregate_function is \"", aggregate, "\""));
  }
  if (!table.base.empty() && table.base.size() != static_cast<size_t>(table.targets)) {
    e.fail(
        concat("base_values has ", table.base.size(), " entries for ", table.targets, " targets"));
  }
  return e.dtype(x) == DType::Double ? scores_node<double>(e, x, std::move(table))
                                     : scores_node<float>(e, x, std::move(table));
}

}  // namespace tiercel
