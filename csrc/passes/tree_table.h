// Decision trees as flat tables: what the three tree operators' attributes say, checked and in one
// form.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "passes/expand.h"

namespace tiercel {

// The comparison of a node; members of a set become a chain of equality tests.
enum class TreeMode : int32_t { Leaf, Leq, Lt, Gte, Gt, Eq, Neq };

struct TreeNode {
  TreeMode mode = TreeMode::Leaf;
  bool missing_true = false;
  int64_t feature = 0;
  double value = 0;
  int64_t on_true = -1;  // node indices
  int64_t on_false = -1;
  std::vector<std::pair<int64_t, double>> weights;  // of a leaf: target and weight
};

struct TreeTable {
  std::vector<TreeNode> nodes;
  std::vector<int64_t> roots;
  int64_t targets = 1;
  std::vector<double> base;
  std::string aggregate = "SUM";
};

// Both throw Error(InvalidGraph) for lists of unequal length, unknown nodes and nodes that are not
// part of a tree.
[[nodiscard]] TreeTable read_numbered_trees(const Expander& expander, std::string_view weights,
                                            int64_t targets);
[[nodiscard]] TreeTable read_linked_trees(const Expander& expander);

// tiercel.TreeEnsembleScores over `x`: [N, targets], in the type of `x` (float or double).
[[nodiscard]] ValueId tree_scores(Expander& expander, ValueId x, const TreeTable& table);

}  // namespace tiercel
