// Reads the attributes of the tree operators into one table.
#include "passes/tree_table.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "passes/attribute_column.h"

namespace tiercel {
namespace {

constexpr int64_t kMostNodes = std::numeric_limits<int32_t>::max() / 4;
constexpr int64_t kMostFeatures = int64_t{1} << 27;

template <class List>
void expect_length(const Expander& e, const List& list, size_t wanted, std::string_view name) {
  if (list.size() == wanted) return;
  e.fail(
      concat("attribute ", std::string(name), " has ", list.size(), " entries; expected ", wanted));
}

TreeMode mode_of(const Expander& e, std::string_view name) {
  static constexpr std::string_view kNames[] = {
      "LEAF", "BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"};
  const auto* found = std::find(std::begin(kNames), std::end(kNames), name);
  if (found == std::end(kNames)) e.fail(concat("unknown node mode \"", std::string(name), "\""));
  return static_cast<TreeMode>(found - std::begin(kNames));
}

int32_t feature_of(const Expander& e, int64_t feature) {
  if (feature < 0 || feature >= kMostFeatures)
    e.fail(concat("a tree node tests feature ", feature));
  return static_cast<int32_t>(feature);
}

// Positions of nodes by tree id and node id. Most files list trees one after the other, and the
// nodes of each by consecutive ids; then only the trees are kept.
class NodeIndex {
 public:
  NodeIndex(const Expander& e, const IntColumn& trees, const IntColumn& ids)
      : e_(e), count_(static_cast<int64_t>(ids.size())) {
    if (!find_runs(trees, ids)) sort_nodes(trees, ids);
  }

  // The position of a node that exists; `near` says where the last one was found.
  [[nodiscard]] int64_t find(int64_t tree, int64_t id, size_t& near) const {
    const int64_t found = entries_.empty() ? find_in_run(tree, id, near) : find_entry(tree, id);
    if (found < 0) e_.fail(concat("tree ", tree, " has no node ", id));
    return found;
  }

 private:
  struct Run {
    int64_t tree, first_id, begin;
  };
  struct Entry {
    std::pair<int64_t, int64_t> key;  // tree id, node id
    int64_t position;
  };
  static bool before(const Entry& a, const Entry& b) { return a.key < b.key; }

  bool find_runs(IntColumn trees, IntColumn ids) {
    int64_t last_id = 0;
    for (int64_t i = 0; i < count_; ++i) {
      const int64_t tree = trees.next(), id = ids.next();
      if (runs_.empty() || tree > runs_.back().tree) {
        runs_.push_back({tree, id, i});
      } else if (tree < runs_.back().tree || last_id == std::numeric_limits<int64_t>::max() ||
                 id != last_id + 1) {
        return false;
      }
      last_id = id;
    }
    return true;
  }

  void sort_nodes(IntColumn trees, IntColumn ids) {
    for (int64_t i = 0; i < count_; ++i) {
      const int64_t tree = trees.next();
      entries_.push_back({{tree, ids.next()}, i});
    }
    std::sort(entries_.begin(), entries_.end(), before);
    for (size_t i = 1; i < entries_.size(); ++i) {
      if (entries_[i - 1].key != entries_[i].key) continue;
      e_.fail(concat("tree ", entries_[i].key.first, " has two nodes ", entries_[i].key.second));
    }
  }

  int64_t find_in_run(int64_t tree, int64_t id, size_t& near) const {
    if (runs_[near].tree != tree) {
      const auto found = std::lower_bound(runs_.begin(), runs_.end(), tree,
                                          [](const Run& run, int64_t t) { return run.tree < t; });
      if (found == runs_.end() || found->tree != tree) return -1;
      near = static_cast<size_t>(found - runs_.begin());
    }
    const Run& run = runs_[near];
    const int64_t end = near + 1 < runs_.size() ? runs_[near + 1].begin : count_;
    const uint64_t step = static_cast<uint64_t>(id) - static_cast<uint64_t>(run.first_id);
    if (step >= static_cast<uint64_t>(end - run.begin)) return -1;
    return run.begin + static_cast<int64_t>(step);
  }

  int64_t find_entry(int64_t tree, int64_t id) const {
    const Entry wanted{{tree, id}, 0};
    const auto found = std::lower_bound(entries_.begin(), entries_.end(), wanted, before);
    return found == entries_.end() || found->key != wanted.key ? -1 : found->position;
  }

  const Expander& e_;
  int64_t count_;
  std::vector<Run> runs_;
  std::vector<Entry> entries_;
};

NodeIndex read_nodes(const Expander& e, TreeTable& table) {
  IntColumn trees(e, "nodes_treeids"), ids(e, "nodes_nodeids"), features(e, "nodes_featureids");
  IntColumn on_true(e, "nodes_truenodeids"), on_false(e, "nodes_falsenodeids");
  IntColumn missing(e, "nodes_missing_value_tracks_true");
  RealColumn values(e, "nodes_values");
  TextColumn modes(e, "nodes_modes");
  const size_t n = ids.size();
  if (n == 0 || !e.node().attributes.has("nodes_modes")) e.fail("has no tree nodes");
  if (n > static_cast<size_t>(kMostNodes)) e.fail("has too many tree nodes");
  expect_length(e, trees, n, "nodes_treeids");
  expect_length(e, features, n, "nodes_featureids");
  expect_length(e, on_true, n, "nodes_truenodeids");
  expect_length(e, on_false, n, "nodes_falsenodeids");
  expect_length(e, values, n, "nodes_values");
  expect_length(e, modes, n, "nodes_modes");
  if (missing.size() != 0) expect_length(e, missing, n, "nodes_missing_value_tracks_true");
  NodeIndex index(e, trees, ids);
  table.resize(n);
  std::vector<bool> is_child(n);
  size_t near = 0;
  std::string_view known = "LEAF";
  TreeMode known_mode = TreeMode::Leaf;
  for (size_t i = 0; i < n; ++i) {
    const std::string_view mode = modes.next();
    if (mode != known) {
      known_mode = mode_of(e, mode);
      known = mode;
    }
    const int64_t tree = trees.next(), feature = features.next();
    const int64_t yes = on_true.next(), no = on_false.next();
    const double value = values.next();
    const bool nan = missing.next() != 0;
    table.modes[i] = known_mode;
    if (known_mode == TreeMode::Leaf) continue;
    table.features[i] = feature_of(e, feature);
    table.values[i] = value;
    table.missing_true[i] = nan;
    table.on_true[i] = static_cast<int32_t>(index.find(tree, yes, near));
    table.on_false[i] = static_cast<int32_t>(index.find(tree, no, near));
    is_child[static_cast<size_t>(table.on_true[i])] = true;
    is_child[static_cast<size_t>(table.on_false[i])] = true;
  }
  for (size_t i = 0; i < n; ++i) {
    if (!is_child[i]) table.roots.push_back(static_cast<int32_t>(i));
  }
  return index;
}

// Puts the weights of each leaf together; `leaves` are those of the weights, in their order.
void assign_weights(TreeTable& table, const std::vector<int32_t>& leaves) {
  if (!std::is_sorted(leaves.begin(), leaves.end())) {
    std::vector<size_t> order(leaves.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return leaves[a] < leaves[b]; });
    std::vector<int32_t> targets, sorted;
    std::vector<double> weights;
    for (size_t at : order) {
      targets.push_back(table.weight_targets[at]);
      weights.push_back(table.weights[at]);
      sorted.push_back(leaves[at]);
    }
    table.weight_targets = std::move(targets);
    table.weights = std::move(weights);
    assign_weights(table, sorted);
    return;
  }
  for (size_t i = 0; i < leaves.size(); ++i) {
    const auto leaf = static_cast<size_t>(leaves[i]);
    if (table.on_false[leaf]++ == 0) table.on_true[leaf] = static_cast<int32_t>(i);
  }
}

void read_weights(const Expander& e, TreeTable& table, const std::string& prefix,
                  const NodeIndex& index) {
  IntColumn trees(e, prefix + "_treeids"), ids(e, prefix + "_nodeids"), targets(e, prefix + "_ids");
  RealColumn weights(e, prefix + "_weights");
  expect_length(e, trees, ids.size(), prefix + "_treeids");
  expect_length(e, targets, ids.size(), prefix + "_ids");
  expect_length(e, weights, ids.size(), prefix + "_weights");
  if (ids.size() > static_cast<size_t>(kMostNodes)) e.fail("has too many weights");
  std::vector<int32_t> leaves;
  size_t near = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    const int64_t tree = trees.next(), target = targets.next();
    const int64_t node = index.find(tree, ids.next(), near);
    const double weight = weights.next();
    if (target < 0 || target >= table.targets) {
      e.fail(concat(prefix, "_ids holds ", target, "; expected less than ", table.targets));
    }
    if (table.modes[static_cast<size_t>(node)] != TreeMode::Leaf) continue;
    leaves.push_back(static_cast<int32_t>(node));
    table.weight_targets.push_back(static_cast<int32_t>(target));
    table.weights.push_back(weight);
  }
  assign_weights(table, leaves);
}

// The nodes of one linked ensemble: a child index counts leaves where the matching flag says so.
class LinkedTrees {
 public:
  LinkedTrees(const Expander& e, TreeTable& table) : e_(e), table_(table) {
    splits_ = RealColumn(e, "nodes_splits").size();
    leaves_ = IntColumn(e, "leaf_targetids").size();
    if (splits_ > kMostNodes || leaves_ > kMostNodes) e.fail("has too many tree nodes");
    split_members(RealColumn(e, "membership_values").rest());
  }

  void read() {
    RealColumn weights(e_, "leaf_weights");
    expect_length(e_, weights, leaves_, "leaf_weights");
    table_.resize(splits_ + leaves_);
    IntColumn targets(e_, "leaf_targetids");
    for (size_t j = 0; j < leaves_; ++j) {
      const int64_t target = targets.next();
      if (target < 0 || target >= table_.targets) {
        e_.fail(concat("leaf_targetids holds ", target, "; expected less than ", table_.targets));
      }
      table_.on_true[splits_ + j] = static_cast<int32_t>(j);
      table_.on_false[splits_ + j] = 1;
      table_.weight_targets.push_back(static_cast<int32_t>(target));
      table_.weights.push_back(weights.next());
    }
    read_nodes();
    IntColumn roots(e_, "tree_roots");
    for (size_t i = 0; i < roots.size(); ++i) {
      table_.roots.push_back(link(roots.next(), splits_ == 0));
    }
  }

 private:
  int32_t link(int64_t id, bool leaf) const {
    const size_t limit = leaf ? leaves_ : splits_;
    if (id < 0 || static_cast<size_t>(id) >= limit) {
      e_.fail(concat(leaf ? "leaf " : "node ", id, " does not exist; there are ", limit));
    }
    return static_cast<int32_t>(leaf ? id + static_cast<int64_t>(splits_) : id);
  }

  // NaN ends the set of one node.
  void split_members(const std::vector<double>& members) {
    sets_.emplace_back();
    for (double value : members) {
      if (std::isnan(value)) {
        sets_.emplace_back();
      } else {
        sets_.back().push_back(value);
      }
    }
  }

  void read_nodes() {
    static constexpr TreeMode kModes[] = {TreeMode::Leq, TreeMode::Lt, TreeMode::Gte,
                                          TreeMode::Gt,  TreeMode::Eq, TreeMode::Neq};
    IntColumn features(e_, "nodes_featureids"), missing(e_, "nodes_missing_value_tracks_true");
    IntColumn yes(e_, "nodes_truenodeids"), no(e_, "nodes_falsenodeids");
    IntColumn yes_leaf(e_, "nodes_trueleafs"), no_leaf(e_, "nodes_falseleafs");
    RealColumn splits(e_, "nodes_splits"), modes(e_, "nodes_modes");
    expect_length(e_, features, splits_, "nodes_featureids");
    expect_length(e_, yes, splits_, "nodes_truenodeids");
    expect_length(e_, no, splits_, "nodes_falsenodeids");
    expect_length(e_, yes_leaf, splits_, "nodes_trueleafs");
    expect_length(e_, no_leaf, splits_, "nodes_falseleafs");
    expect_length(e_, modes, splits_, "nodes_modes");
    if (missing.size() != 0) {
      expect_length(e_, missing, splits_, "nodes_missing_value_tracks_true");
    }
    for (size_t i = 0; i < splits_; ++i) {
      const int64_t on_true = yes.next(), on_false = no.next();
      table_.on_true[i] = link(on_true, yes_leaf.next() != 0);
      table_.on_false[i] = link(on_false, no_leaf.next() != 0);
      table_.features[i] = feature_of(e_, features.next());
      table_.values[i] = splits.next();
      table_.missing_true[i] = missing.next() != 0;
      const auto mode = static_cast<int>(modes.next());
      if (mode < 0 || mode > 6) e_.fail(concat("unknown node mode ", mode));
      if (mode == 6) {
        add_members(i);
      } else {
        table_.modes[i] = kModes[mode];
      }
    }
  }

  // A test for a set becomes one test after the other.
  void add_members(size_t i) {
    if (next_set_ >= sets_.size()) e_.fail("membership_values holds fewer sets than nodes ask for");
    const std::vector<double>& set = sets_[next_set_++];
    const int32_t on_true = table_.on_true[i], on_false = table_.on_false[i];
    size_t at = i;
    for (size_t m = 0; m < std::max<size_t>(set.size(), 1); ++m) {
      const bool last = m + 1 >= set.size();
      const size_t next = table_.size();
      if (next > static_cast<size_t>(kMostNodes)) e_.fail("has too many tree nodes");
      table_.modes[at] = TreeMode::Eq;
      table_.features[at] = table_.features[i];
      table_.missing_true[at] = table_.missing_true[i];
      table_.values[at] = set.empty() ? std::nan("") : set[m];
      table_.on_true[at] = set.empty() ? on_false : on_true;
      table_.on_false[at] = last ? on_false : static_cast<int32_t>(next);
      if (!last) table_.resize(next + 1);
      at = next;
    }
  }

  const Expander& e_;
  TreeTable& table_;
  size_t splits_ = 0, leaves_ = 0;
  std::vector<std::vector<double>> sets_;
  size_t next_set_ = 0;
};

}  // namespace

void TreeTable::resize(size_t nodes) {
  modes.resize(nodes, TreeMode::Leaf);
  missing_true.resize(nodes);
  features.resize(nodes);
  values.resize(nodes);
  on_true.resize(nodes);
  on_false.resize(nodes);
}

TreeTable read_numbered_trees(const Expander& e, const std::string& weights, int64_t targets) {
  TreeTable table;
  table.targets = targets;
  if (targets < 1) e.fail(concat("has ", targets, " targets; expected 1 or more"));
  const NodeIndex index = read_nodes(e, table);
  read_weights(e, table, weights, index);
  table.base = RealColumn(e, "base_values").rest();
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
