// The graph: values and nodes by index, in topological order, copyable as a plain value. Everything
// after the reader works on it.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/tensor.h"
#include "ir/attribute.h"
#include "ir/type.h"

namespace tiercel {

struct OpDef;

using ValueId = int32_t;
using NodeId = int32_t;
inline constexpr int32_t kNone = -1;

// One value (edge) of the graph.
struct ValueInfo {
  std::string name;
  Type type;
  std::optional<Tensor> constant;  // initialiser or folded constant
  std::shared_ptr<SparseTensor>
      sparse;  // sparse initialiser that must stay sparse (an operator takes it so)
  std::optional<std::vector<Dim>>
      known;  // propagated elements of a small integer tensor (rank 0 or 1), possibly symbolic
  NodeId producer = kNone;  // kNone: graph input, constant or capture
  int32_t producer_output = 0;
};

struct Node {
  std::string name;
  std::string domain;  // "" is ai.onnx
  std::string op_type;
  int version =
      0;  // opset version of the domain when read; after upgrade, the meaning is def->since
  const OpDef* def = nullptr;
  std::vector<ValueId> inputs;   // kNone: absent optional input
  std::vector<ValueId> outputs;  // kNone: output not wanted
  Attributes attributes;
  bool removed = false;
  std::string provider;  // set by the partitioner
  std::string reason;    // why that provider, and who refused
};

// A subgraph's view of a value of the enclosing graph: `inner` stands for `outer`.
struct Capture {
  ValueId outer;
  ValueId inner;
};

struct Graph {
  std::string name;
  std::string doc;
  std::vector<ValueInfo> values;
  std::vector<Node> nodes;    // by id; removed ones stay as holes until compact()
  std::vector<NodeId> order;  // topological
  std::vector<ValueId>
      inputs;  // graph inputs proper (an initialiser of the same name is in `overridable`)
  std::vector<ValueId> overridable;  // inputs with a default: constants that a run may replace
  std::vector<ValueId> outputs;
  std::vector<Capture> captures;  // of a subgraph
  // Names of the memories that the first inputs (and captures) and outputs of a run lie in; the
  // rest: "cpu".
  std::vector<std::string> input_memories, output_memories;

  [[nodiscard]] ValueInfo& value(ValueId id) { return values[static_cast<size_t>(id)]; }
  [[nodiscard]] const ValueInfo& value(ValueId id) const { return values[static_cast<size_t>(id)]; }
  [[nodiscard]] Node& node(NodeId id) { return nodes[static_cast<size_t>(id)]; }
  [[nodiscard]] const Node& node(NodeId id) const { return nodes[static_cast<size_t>(id)]; }

  ValueId add_value(std::string name, Type type = {});
  ValueId add_constant(std::string name, Tensor tensor);
  // Appends (or inserts before `before`) a node whose outputs are set as produced by it.
  NodeId add_node(Node node, NodeId before = kNone);
  void remove_node(NodeId id);  // its outputs lose their producer
  // Every consumer of `from` (nodes, captures of their subgraphs, graph outputs) takes `to`
  // instead.
  void replace_uses(ValueId from, ValueId to);
  // Nodes that consume each value; captures of subgraphs count. Index = ValueId. Graph outputs are
  // not in it.
  [[nodiscard]] std::vector<std::vector<NodeId>> consumers() const;
  [[nodiscard]] bool is_output(ValueId id) const;
  [[nodiscard]] bool is_overridable(ValueId id) const;
  // Constant tensor of a value, if it has one that a run cannot replace.
  [[nodiscard]] const Tensor* constant(ValueId id) const;
  // Restores topological order after insertions; throws Error(InvalidGraph) on a cycle.
  void sort();
  // Drops removed nodes and unused values, renumbers.
  void compact();
};

// Subgraphs of a node (attributes of kind graph and graphs), in attribute order.
[[nodiscard]] std::vector<std::shared_ptr<Graph>> subgraphs(const Node& node);

// Deep copy: subgraphs are copied too (a plain copy shares them).
[[nodiscard]] Graph clone(const Graph& graph);

// A whole model: what the reader makes and the session keeps.
struct Model {
  int64_t ir_version = 0;
  std::string producer_name, producer_version, domain, doc;
  int64_t model_version = 0;
  std::map<std::string, int64_t> opset_imports;  // "" is ai.onnx
  std::vector<std::pair<std::string, std::string>> metadata;
  std::map<std::string, std::vector<std::string>> denotations;  // of inputs' dims, by input name
  Graph graph;
  std::string path;                  // "" for a model from memory
  std::shared_ptr<void> keep_alive;  // the mapping that constants point into
};

// "model.onnx: node \"conv1\" (Conv)" for messages; path may be "".
[[nodiscard]] std::string where(const Model& model, const Node& node);
[[nodiscard]] std::string where(const Node& node);

}  // namespace tiercel
