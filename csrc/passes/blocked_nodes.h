// Which nodes have a form over blocks of channels, and how they are put into it.
#pragma once
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "passes/edit.h"

namespace tiercel::passes {

// What can be blocked, into blocks of `block` channels, for one provider.
struct BlockedRules {
  const Graph& graph;
  int64_t block;
  std::string provider;
  int64_t winograd;  // of ConvBlocked nodes

  // A convolution of images with constant weights, whose groups do not cut through blocks.
  [[nodiscard]] bool is_convolution(const Node& node) const;
  // Inputs [N, C, H, W] that a node reads in blocks when it runs over blocks itself at no cost:
  // elementwise nodes, poolings, LRN, joining and splitting at block boundaries, resizing; else
  // nullopt.
  [[nodiscard]] std::optional<std::vector<ValueId>> carried(const Node& node) const;
  // The inputs that a node in its blocked form reads in blocks.
  [[nodiscard]] std::vector<ValueId> blocked_operands(const Node& node) const;

  // Extent of axis 1 of a float tensor of rank 4, where it is known.
  [[nodiscard]] std::optional<int64_t> channels(ValueId id) const;
  // Few channels are read as they lie.
  [[nodiscard]] bool reads_planes(const Node& convolution) const;

 private:
  [[nodiscard]] bool elementwise(const Node& node, std::vector<ValueId>& read) const;
  [[nodiscard]] bool splits_blocks(const Node& node) const;
  [[nodiscard]] bool resizes_planes(const Node& node) const;
  [[nodiscard]] bool normalises(const Node& node) const;
};

// How an operand of an elementwise node of `channels` channels is read over blocks.
enum class Operand {
  Blocked,    // [N, C, H, W]: in blocks
  Constant,   // [1, C, 1, 1] or [C, 1, 1]: a constant in blocks
  AllLanes,   // one channel for all: with a dim of 1 behind
  AsIs,       // one element
  Impossible  // anything else
};
[[nodiscard]] Operand operand_kind(const Graph& graph, ValueId id, int64_t channels);

// Replaces chosen nodes, in topological order, by their blocked forms.
class Rewriter {
 public:
  Rewriter(Graph& graph, const BlockedRules& rules, const std::set<NodeId>& chosen)
      : graph_(graph), rules_(rules), chosen_(chosen) {}

  void replace(NodeId id);
  // Gives readers of blocked values outside the chosen nodes their plain form.
  void finish();

 private:
  void convolution(NodeId id);
  void pooling(NodeId id);
  void elementwise(NodeId id);
  void concat(NodeId id);
  void split(NodeId id);
  void resize(NodeId id);

  // The value in blocks, converted once.
  ValueId blocked(ValueId id, NodeId before);
  ValueId elementwise_operand(ValueId id, int64_t channels, NodeId before);
  ValueId all_lanes(ValueId id, NodeId before);
  ValueId blocked_constant(ValueId id);
  // The value [N, C, H, W] for a node that replaces another.
  ValueId plain(ValueId id);
  // The node in its new form; output i is the blocked form of output i of the old one.
  void put(NodeId old, Node made);
  [[nodiscard]] Node like(NodeId id, std::string_view domain, std::string_view op) const;
  [[nodiscard]] Type blocked_type(ValueId id) const;

  Graph& graph_;
  const BlockedRules& rules_;
  const std::set<NodeId>& chosen_;
  std::map<ValueId, ValueId> blocked_;  // plain value: its blocked form
  std::vector<ValueId> made_;           // plain values whose producer now makes blocks
};

}  // namespace tiercel::passes
