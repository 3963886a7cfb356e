// Reads the attributes of the tree operators into one table and lays the table out for the kernel.
#include "passes/tree_table.h"

#include <algorithm>
#include <cmath>

namespace tiercel {
namespace {

std::vector<int64_t> ints(const Expander& e, std::string_view name) {
  const auto* list = e.node().attributes.get<std::vector<int64_t>>(name);
  return list ? *list : std::vector<int64_t>{};
}

std::vector<double> tensor_numbers(const Expander& e, std::string_view name) {
  std::vector<double> out;
  const Tensor* tensor = e.node().attributes.get<Tensor>(name);
  if (!tensor) return out;
  for (int64_t i = 0; i < tensor->size(); ++i) {
    const auto value = element(*tensor, i);
    if (!value) e.fail(concat("attribute ", std::string(name), " holds no real numbers"));
    out.push_back(*value);
  }
  return out;
}

// `name` as floats, or `name`_as_tensor as doubles.
std::vector<double> numbers(const Expander& e, const std::string& name) {
  const auto* list = e.node().attributes.get<std::vector<double>>(name);
  if (list && !list->empty()) return *list;
  return tensor_numbers(e, name + "_as_tensor");
}

template <class List>
void expect_length(const Expander& e, const List& list, size_t wanted, std::string_view name) {
  if (list.size() == wanted) return;
  e.fail(
      concat("attribute ", std::string(name), " has ", list.size(), " entries; expected ", wanted));
}

TreeMode mode_of(const Expander& e, const std::string& name) {
  static constexpr std::string_view kNames[] = {
      "LEAF", "BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"};
  const auto* found = std::find(std::begin(kNames), std::end(kNames), name);
  if (found == std::end(kNames)) e.fail(concat("unknown node mode \"", name, "\""));
  return static_cast<TreeMode>(found - std::begin(kNames));
}

// Positions of nodes by tree id and node id. Files list them in that order, mostly.
class NodeIndex {
 public:
  NodeIndex(const Expander& e, const std::vector<int64_t>& trees, const std::vector<int64_t>& ids)
      : e_(e) {
    entries_.reserve(ids.size());
    for (size_t i = 0; i < ids.size(); ++i) {
      entries_.push_back({{trees[i], ids[i]}, static_cast<int64_t>(i)});
    }
    if (!std::is_sorted(entries_.begin(), entries_.end(), before)) {
      std::sort(entries_.begin(), entries_.end(), before);
    }
    for (size_t i = 1; i < entries_.size(); ++i) {
      if (entries_[i - 1].key != entries_[i].key) continue;
      e.fail(concat("tree ", entries_[i].key.first, " has two nodes ", entries_[i].key.second));
    }
  }

  // The position of a node that exists. `near`: one whose tree mostly has all ids in order.
  [[nodiscard]] int64_t find(int64_t tree, int64_t id, size_t near) const {
    const Entry wanted{{tree, id}, 0};
    if (near < entries_.size()) {
      const auto step =
          static_cast<uint64_t>(id) - static_cast<uint64_t>(entries_[near].key.second);
      const uint64_t guess = near + step;
      if (guess < entries_.size() && entries_[guess].key == wanted.key) {
        return entries_[guess].position;
      }
    }
    const auto found = std::lower_bound(entries_.begin(), entries_.end(), wanted, before);
    if (found == entries_.end() || found->key != wanted.key) {
      e_.fail(concat("tree ", tree, " has no node ", id));
    }
    return found->position;
  }

 private:
  struct Entry {
    std::pair<int64_t, int64_t> key;  // tree id, node id
    int64_t position;
  };
  static bool before(const Entry& a, const Entry& b) { return a.key < b.key; }

  const Expander& e_;
  std::vector<Entry> entries_;
};

NodeIndex read_nodes(const Expander& e, TreeTable& table) {
  const auto trees = ints(e, "nodes_treeids"), ids = ints(e, "nodes_nodeids");
  const auto features = ints(e, "nodes_featureids");
  const auto on_true = ints(e, "nodes_truenodeids"), on_false = ints(e, "nodes_falsenodeids");
  const auto missing = ints(e, "nodes_missing_value_tracks_true");
  const auto values = numbers(e, "nodes_values");
  const auto* modes = e.node().attributes.get<std::vector<std::string>>("nodes_modes");
  const size_t n = ids.size();
  if (n == 0 || !modes) e.fail("has no tree nodes");
  expect_length(e, trees, n, "nodes_treeids");
  expect_length(e, features, n, "nodes_featureids");
  expect_length(e, on_true, n, "nodes_truenodeids");
  expect_length(e, on_false, n, "nodes_falsenodeids");
  expect_length(e, values, n, "nodes_values");
  expect_length(e, *modes, n, "nodes_modes");
  if (!missing.empty()) expect_length(e, missing, n, "nodes_missing_value_tracks_true");
  NodeIndex index(e, trees, ids);
  table.nodes.resize(n);
  for (size_t i = 0; i < n; ++i) {
    TreeNode& node = table.nodes[i];
    node.mode = mode_of(e, (*modes)[i]);
    if (node.mode == TreeMode::Leaf) continue;
    node.feature = features[i];
    node.value = values[i];
    node.missing_true = !missing.empty() && missing[i] != 0;
    node.on_true = index.find(trees[i], on_true[i], i);
    node.on_false = index.find(trees[i], on_false[i], i);
  }
  std::vector<bool> is_child(n);
  for (const TreeNode& node : table.nodes) {
    if (node.mode == TreeMode::Leaf) continue;
    is_child[static_cast<size_t>(node.on_true)] = true;
    is_child[static_cast<size_t>(node.on_false)] = true;
  }
  for (size_t i = 0; i < n; ++i) {
    if (!is_child[i]) table.roots.push_back(static_cast<int64_t>(i));
  }
  return index;
}

void read_weights(const Expander& e, TreeTable& table, const std::string& prefix,
                  const NodeIndex& index) {
  const auto trees = ints(e, prefix + "_treeids"), ids = ints(e, prefix + "_nodeids");
  const auto targets = ints(e, prefix + "_ids");
  const auto weights = numbers(e, prefix + "_weights");
  expect_length(e, trees, ids.size(), prefix + "_treeids");
  expect_length(e, targets, ids.size(), prefix + "_ids");
  expect_length(e, weights, ids.size(), prefix + "_weights");
  int64_t last = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    last = index.find(trees[i], ids[i], static_cast<size_t>(last));
    TreeNode& node = table.nodes[static_cast<size_t>(last)];
    if (targets[i] < 0 || targets[i] >= table.targets) {
      e.fail(concat(prefix, "_ids holds ", targets[i], "; expected less than ", table.targets));
    }
    if (node.mode == TreeMode::Leaf) node.weights.push_back({targets[i], weights[i]});
  }
}

// The nodes of one linked ensemble: a child index counts leaves where the matching flag says so.
class LinkedTrees {
 public:
  LinkedTrees(const Expander& e, TreeTable& table) : e_(e), table_(table) {
    features_ = ints(e, "nodes_featureids");
    splits_ = tensor_numbers(e, "nodes_splits");
    on_true_ = ints(e, "nodes_truenodeids");
    on_false_ = ints(e, "nodes_falsenodeids");
    true_leaf_ = ints(e, "nodes_trueleafs");
    false_leaf_ = ints(e, "nodes_falseleafs");
    missing_ = ints(e, "nodes_missing_value_tracks_true");
    targets_ = ints(e, "leaf_targetids");
    weights_ = tensor_numbers(e, "leaf_weights");
    members_ = tensor_numbers(e, "membership_values");
    for (double mode : tensor_numbers(e, "nodes_modes")) modes_.push_back(static_cast<int>(mode));
    const size_t n = splits_.size();
    expect_length(e, features_, n, "nodes_featureids");
    expect_length(e, on_true_, n, "nodes_truenodeids");
    expect_length(e, on_false_, n, "nodes_falsenodeids");
    expect_length(e, true_leaf_, n, "nodes_trueleafs");
    expect_length(e, false_leaf_, n, "nodes_falseleafs");
    expect_length(e, modes_, n, "nodes_modes");
    if (!missing_.empty()) expect_length(e, missing_, n, "nodes_missing_value_tracks_true");
    expect_length(e, weights_, targets_.size(), "leaf_weights");
    split_members();
  }

  void read() {
    const size_t n = splits_.size();
    for (size_t i = 0; i < n; ++i) table_.nodes.emplace_back();
    for (size_t j = 0; j < targets_.size(); ++j) {
      if (targets_[j] < 0 || targets_[j] >= table_.targets) {
        e_.fail(
            concat("leaf_targetids holds ", targets_[j], "; expected less than ", table_.targets));
      }
      table_.nodes.emplace_back().weights.push_back({targets_[j], weights_[j]});
    }
    for (size_t i = 0; i < n; ++i) read_node(i);
    for (int64_t root : ints(e_, "tree_roots")) {
      table_.roots.push_back(n == 0 ? link(root, true) : link(root, false));
    }
  }

 private:
  int64_t link(int64_t id, bool leaf) const {
    const size_t limit = leaf ? targets_.size() : splits_.size();
    if (id < 0 || static_cast<size_t>(id) >= limit) {
      e_.fail(concat(leaf ? "leaf " : "node ", id, " does not exist; there are ", limit));
    }
    return leaf ? id + static_cast<int64_t>(splits_.size()) : id;
  }

  // NaN ends the set of one node.
  void split_members() {
    sets_.emplace_back();
    for (double value : members_) {
      if (std::isnan(value)) {
        sets_.emplace_back();
      } else {
        sets_.back().push_back(value);
      }
    }
  }

  void read_node(size_t i) {
    static constexpr TreeMode kModes[] = {TreeMode::Leq, TreeMode::Lt, TreeMode::Gte,
                                          TreeMode::Gt,  TreeMode::Eq, TreeMode::Neq};
    const int64_t on_true = link(on_true_[i], true_leaf_[i] != 0);
    const int64_t on_false = link(on_false_[i], false_leaf_[i] != 0);
    const bool missing = !missing_.empty() && missing_[i] != 0;
    if (modes_[i] < 0 || modes_[i] > 6) e_.fail(concat("unknown node mode ", modes_[i]));
    if (modes_[i] < 6) {
      table_.nodes[i] = {.mode = kModes[modes_[i]],
                         .missing_true = missing,
                         .feature = features_[i],
                         .value = splits_[i],
                         .on_true = on_true,
                         .on_false = on_false};
      return;
    }
    if (next_set_ >= sets_.size()) e_.fail("membership_values holds fewer sets than nodes ask for");
    const std::vector<double> set = sets_[next_set_++];
    size_t at = i;
    for (size_t m = 0; m < std::max<size_t>(set.size(), 1); ++m) {
      const bool last = m + 1 >= set.size();
      const auto next = static_cast<int64_t>(table_.nodes.size());
      table_.nodes[at] = {.mode = TreeMode::Eq,
                          .missing_true = missing,
                          .feature = features_[i],
                          .value = set.empty() ? std::nan("") : set[m],
                          .on_true = set.empty() ? on_false : on_true,
                          .on_false = last ? on_false : next};
      if (!last) table_.nodes.emplace_back();
      at = static_cast<size_t>(next);
    }
  }

  const Expander& e_;
  TreeTable& table_;
  std::vector<int64_t> features_, on_true_, on_false_, true_leaf_, false_leaf_, missing_, targets_;
  std::vector<double> splits_, weights_, members_;
  std::vector<int> modes_;
  std::vector<std::vector<double>> sets_;
  size_t next_set_ = 0;
};

}  // namespace

TreeTable read_numbered_trees(const Expander& e, std::string_view weights, int64_t targets) {
  TreeTable table;
  table.targets = targets;
  if (targets < 1) e.fail(concat("has ", targets, " targets; expected 1 or more"));
  const NodeIndex index = read_nodes(e, table);
  read_weights(e, table, std::string(weights), index);
  table.base = numbers(e, "base_values");
  table.aggregate = attr_string(e.node(), "aggregate_function", "SUM");
  return table;
}

TreeTable read_linked_trees(const Expander& e) {
  static constexpr std::string_view kAggregates[] = {"AVERAGE", "SUM", "MIN", "MAX"};
  TreeTable table;
  table.targets = attr_int(e.node(), "n_targets", 1);
  if (table.targets < 1) e.fail(concat("n_targets is ", table.targets, "; expected 1 or more"));
  LinkedTrees(e, table).read();
  const int64_t aggregate = attr_int(e.node(), "aggregate_function", 1);
  if (aggregate < 0 || aggregate > 3) e.fail(concat("aggregate_function is ", aggregate));
  table.aggregate = kAggregates[aggregate];
  return table;
}

}  // namespace tiercel
