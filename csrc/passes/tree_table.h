// Decision trees as flat tables: what the three tree operators' attributes say, checked and in one
// form.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "passes/expand.h"

namespace tiercel {

// The comparison of a node; members of a set become a chain of equality tests.
enum class TreeMode : uint8_t { Leaf, Leq, Lt, Gte, Gt, Eq, Neq };

// One column per fact of a node, for tables may have millions of them.
struct TreeTable {
  std::vector<TreeMode> modes;
  std::vector<bool> missing_true;  // NaN goes to the true side
  std::vector<int32_t> features;
  std::vector<double> values;
  std::vector<int32_t> on_true;   // a node; of a leaf its first weight
  std::vector<int32_t> on_false;  // a node; of a leaf the number of its weights
  std::vector<int32_t> roots;
  std::vector<int32_t> weight_targets;
  std::vector<double> weights;
  int64_t targets = 1;
  std::vector<double> base;
  std::string aggregate = "SUM";

  [[nodiscard]] size_t size() const { return modes.size(); }
  void resize(size_t nodes);  // new ones are leaves without weights
};

// Both throw Error(InvalidGraph) for lists of unequal length, unknown nodes and nodes that are not
// part of a tree.
[[nodiscard]] TreeTable read_numbered_trees(const Expander& expander, const std::string& weights,
                                            int64_t targets);
[[nodiscard]] TreeTable read_linked_trees(const Expander& expander);

// tiercel.TreeEnsembleScores over `x`: [N, targets], in the type of `x` (float or double).
[[nodiscard]] ValueId tree_scores(Expander& expander, ValueId x, TreeTable&& table);

}  // namespace tiercel
