// Operators that are made of others: how each becomes the nodes that it means.
#pragma once
#include <span>
#include <string_view>
#include <vector>

#include "passes/edit.h"

namespace tiercel {

// Puts the nodes that compute `id` in front of it and lets their results take the place of its
// outputs. Returns false, having changed nothing, when this node (by its types or attributes) runs
// as it is.
using ExpandFn = bool (*)(Graph& graph, NodeId id);

struct Expansion {
  std::string_view domain;
  std::string_view op;
  ExpandFn expand;
};

[[nodiscard]] std::span<const Expansion> ml_expansions();
[[nodiscard]] std::span<const Expansion> tree_expansions();
[[nodiscard]] std::span<const Expansion> contrib_expansions();
[[nodiscard]] std::span<const Expansion> einsum_expansions();
[[nodiscard]] std::span<const Expansion> elementwise_expansions();
[[nodiscard]] std::span<const Expansion> optimizer_expansions();
[[nodiscard]] std::span<const Expansion> quantized_expansions();
[[nodiscard]] std::span<const Expansion> contrib_matrix_expansions();
[[nodiscard]] std::span<const Expansion> contrib_layout_expansions();
[[nodiscard]] std::span<const Expansion> contrib_norm_expansions();
[[nodiscard]] std::span<const Expansion> contrib_tensor_expansions();
[[nodiscard]] std::span<const Expansion> contrib_attention_expansions();
[[nodiscard]] std::span<const Expansion> group_query_expansions();
[[nodiscard]] std::span<const Expansion> contrib_rotary_expansions();
[[nodiscard]] std::span<const Expansion> packed_weight_expansions();
[[nodiscard]] std::span<const Expansion> expert_expansions();
[[nodiscard]] std::span<const Expansion> contrib_recurrence_expansions();
[[nodiscard]] std::span<const Expansion> sparse_attention_expansions();
[[nodiscard]] std::span<const Expansion> delta_net_expansions();
[[nodiscard]] std::span<const Expansion> sequence_expansions();
[[nodiscard]] std::span<const Expansion> recurrent_expansions();
[[nodiscard]] std::span<const Expansion> signal_expansions();
[[nodiscard]] std::span<const Expansion> type_expansions();
[[nodiscard]] std::span<const Expansion> flex_attention_expansions();
[[nodiscard]] std::span<const Expansion> gradient_expansions();

// One attribute.
[[nodiscard]] Attributes with(std::string_view name, Attribute value);

// Makes the nodes of one expansion, inferring their types one by one.
class Expander {
 public:
  Expander(Graph& graph, NodeId id) : graph_(graph), id_(id), node_(graph.node(id)) {}

  [[nodiscard]] const Node& node() const { return node_; }
  [[nodiscard]] Graph& graph() { return graph_; }
  [[nodiscard]] bool has(size_t input) const { return has_input(node_, input); }
  [[nodiscard]] ValueId input(size_t i) const { return has(i) ? node_.inputs[i] : kNone; }
  [[nodiscard]] bool wants(size_t output) const {
    return output < node_.outputs.size() && node_.outputs[output] != kNone;
  }
  [[nodiscard]] const Type& type(ValueId id) const { return graph_.value(id).type; }
  [[nodiscard]] DType dtype(ValueId id) const { return type(id).dtype; }

  ValueId op(std::string_view name, std::vector<ValueId> inputs, Attributes attributes = {},
             std::string_view domain = "");
  // A node of several outputs.
  std::vector<ValueId> ops(std::string_view name, std::vector<ValueId> inputs, size_t outputs,
                           Attributes attributes = {}, std::string_view domain = "");
  ValueId constant(Tensor tensor);
  ValueId ints(const std::vector<int64_t>& values);  // int64 [n]
  ValueId number(DType dtype, double value);         // a scalar of dtype
  ValueId cast(ValueId value, DType dtype);          // the value itself when it has this type
  // `made[i]` takes the place of output i; the node goes.
  bool finish(const std::vector<ValueId>& made);
  [[noreturn]] void fail(const std::string& message) const;

 private:
  Graph& graph_;
  NodeId id_;
  Node node_;  // a copy: the graph's nodes move when others are added
};

}  // namespace tiercel
