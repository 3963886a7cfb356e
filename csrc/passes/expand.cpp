// Replaces operators that are made of others by the nodes that they mean.
#include "passes/expand.h"

#include <array>

#include "passes/passes.h"

namespace tiercel {

Attributes with(std::string_view name, Attribute value) {
  Attributes attributes;
  attributes.set(name, std::move(value));
  return attributes;
}

ValueId Expander::op(std::string_view name, std::vector<ValueId> inputs, Attributes attributes,
                     std::string_view domain) {
  const NewNode made{name, std::move(inputs), std::move(attributes), domain};
  const ValueId out = insert_node(graph_, id_, made, {}, node_.name);
  graph_.value(out).name = concat(node_.name, "/", std::string(name), "/", out);
  infer_node(graph_, graph_.node(graph_.value(out).producer));
  return out;
}

std::vector<ValueId> Expander::ops(std::string_view name, std::vector<ValueId> inputs,
                                   size_t outputs, Attributes attributes, std::string_view domain) {
  Node made;
  made.name = node_.name;
  made.op_type = name;
  made.domain = domain;
  made.def = find_op(domain, name);
  if (!made.def) fail(concat("expands to the unknown operator ", std::string(name)));
  made.version = made.def->since;
  made.inputs = std::move(inputs);
  made.attributes = std::move(attributes);
  for (size_t i = 0; i < outputs; ++i) {
    const std::string label = concat(node_.name, "/", std::string(name), "/", graph_.values.size());
    made.outputs.push_back(graph_.add_value(label));
  }
  const std::vector<ValueId> out = made.outputs;
  const NodeId made_id = graph_.add_node(std::move(made), id_);
  infer_node(graph_, graph_.node(made_id));
  return out;
}

ValueId Expander::constant(Tensor tensor) {
  const std::string label = concat(node_.name, "/constant/", graph_.values.size());
  return graph_.add_constant(label, std::move(tensor));
}

ValueId Expander::ints(const std::vector<int64_t>& values) {
  return constant(Tensor::vector_i64(values));
}

ValueId Expander::number(DType dtype, double value) {
  return constant(make_tensor(dtype, {}, std::array{value}));
}

ValueId Expander::cast(ValueId value, DType dtype) {
  if (this->dtype(value) == dtype) return value;
  Attributes to;
  to.set("to", static_cast<int64_t>(dtype));
  return op("Cast", {value}, std::move(to));
}

bool Expander::finish(const std::vector<ValueId>& made) {
  for (size_t i = 0; i < made.size(); ++i) {
    if (wants(i) && made[i] != kNone) redirect(graph_, node_.outputs[i], made[i]);
  }
  if (!graph_.node(id_).removed) graph_.remove_node(id_);
  return true;
}

void Expander::fail(const std::string& message) const {
  throw_error(ErrorKind::InvalidGraph, where(node_), ": ", message);
}

namespace {

ExpandFn find_expansion(const Node& node) {
  for (std::span<const Expansion> family : {ml_expansions(),
                                            tree_expansions(),
                                            contrib_expansions(),
                                            quantized_expansions(),
                                            contrib_matrix_expansions(),
                                            contrib_layout_expansions(),
                                            contrib_norm_expansions(),
                                            contrib_tensor_expansions(),
                                            contrib_attention_expansions(),
                                            group_query_expansions(),
                                            contrib_rotary_expansions(),
                                            packed_weight_expansions(),
                                            expert_expansions(),
                                            contrib_recurrence_expansions(),
                                            sparse_attention_expansions(),
                                            delta_net_expansions(),
                                            sequence_expansions(),
                                            recurrent_expansions(),
                                            optimizer_expansions(),
                                            einsum_expansions(),
                                            elementwise_expansions(),
                                            signal_expansions(),
                                            type_expansions(),
                                            flex_attention_expansions(),
                                            gradient_expansions()}) {
    for (const Expansion& row : family) {
      if (row.op == node.op_type && row.domain == node.domain) return row.expand;
    }
  }
  return nullptr;
}

bool expand_nodes(Graph& graph);

// The bodies of a node in their place among the others: they know their captures by then, and who
// reads their results knows those.
bool expand_bodies(Graph& graph, NodeId id) {
  const OpDef* def = graph.node(id).def;
  if (!def || !def->has(kControlFlow)) return false;
  bool changed = false;
  for (const std::shared_ptr<Graph>& body : subgraphs(graph.node(id))) {
    changed = expand_nodes(*body) || changed;
  }
  if (changed) infer_node(graph, graph.node(id));
  return changed;
}

bool expand_nodes(Graph& graph) {
  bool changed = false;
  // An expansion may make nodes that expand in turn: these lie before its place and are found in
  // the next round.
  for (bool again = true; again;) {
    again = false;
    const std::vector<NodeId> order = graph.order;
    for (NodeId id : order) {
      if (graph.node(id).removed) continue;
      if (again) infer_node(graph, graph.node(id));  // what stands before it knows its shape now
      if (expand_bodies(graph, id)) again = true;
      const ExpandFn expand = find_expansion(graph.node(id));
      if (expand && expand(graph, id)) again = true;
    }
    changed = changed || again;
  }
  return changed;
}

}  // namespace

namespace passes {

bool expand(Graph& graph, PassContext&) { return expand_nodes(graph); }

}  // namespace passes
}  // namespace tiercel
