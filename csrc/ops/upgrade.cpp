// Walks the graph, applies the upgrade of each node's operator, binds its definition and infers its
// types.
#include "ops/upgrade.h"

#include "ops/op_def.h"
#include "ops/upgrade_rules.h"

namespace tiercel {

namespace {

std::string unknown_text(const Graph& graph, const Node& node) {
  std::string types;
  for (ValueId id : node.inputs) {
    if (id == kNone || graph.value(id).type.kind == Type::Kind::Unknown) continue;
    types += concat(types.empty() ? " (inputs: " : ", ", graph.value(id).type.text());
  }
  return concat(where(node), ": operator ", node.op_type, " of domain \"",
                node.domain.empty() ? "ai.onnx" : node.domain, "\", version ", node.version,
                types.empty() ? "" : types + ")", ", is not known to this runtime");
}

void bind(const Graph& graph, Node& node) {
  node.def = find_op(node.domain, node.op_type);
  if (!node.def) throw_error(ErrorKind::NotImplemented, unknown_text(graph, node));
}

void check_arity(const Node& node) {
  const OpDef& def = *node.def;
  const bool variadic = !def.inputs.empty() && def.inputs.back().kind == Param::Variadic;
  size_t required = 0;
  for (const Param& param : def.inputs) {
    if (param.kind == Param::Single) ++required;
    if (param.kind == Param::Variadic) required += static_cast<size_t>(param.min_arity);
  }
  if (node.inputs.size() < required || (!variadic && node.inputs.size() > def.inputs.size())) {
    throw_error(ErrorKind::InvalidGraph, where(node), ": has ", node.inputs.size(),
                " inputs; expected ", required, variadic ? " or more" : " to ",
                variadic ? "" : std::to_string(def.inputs.size()));
  }
  const bool many = !def.outputs.empty() && def.outputs.back().kind == Param::Variadic;
  if (!many && node.outputs.size() > def.outputs.size()) {
    throw_error(ErrorKind::InvalidGraph, where(node), ": has ", node.outputs.size(),
                " outputs; expected at most ", def.outputs.size());
  }
  for (size_t i = 0; i < def.inputs.size() && i < node.inputs.size(); ++i) {
    if (def.inputs[i].kind == Param::Single && node.inputs[i] == kNone) {
      throw_error(ErrorKind::InvalidGraph, where(node), ": input ", i, " (",
                  std::string(def.inputs[i].name), ") is required and absent");
    }
  }
  for (const AttrDef& attribute : def.attributes) {
    if (attribute.required && !node.attributes.has(attribute.name)) {
      throw_error(ErrorKind::InvalidGraph, where(node), ": attribute ", std::string(attribute.name),
                  " is required and absent");
    }
  }
}

// Kernels write every output that the standard does not call optional: those that the file leaves
// out get a value that nothing reads.
void complete_outputs(Graph& graph, NodeId id) {
  const OpDef* def = find_op(graph.node(id).domain, graph.node(id).op_type);
  if (def == nullptr) return;
  for (size_t i = 0; i < def->outputs.size(); ++i) {
    if (def->outputs[i].kind != Param::Single) continue;
    std::vector<ValueId>& outputs = graph.node(id).outputs;
    if (outputs.size() <= i) outputs.resize(i + 1, kNone);
    if (outputs[i] != kNone) continue;
    const ValueId made = graph.add_value("");
    ValueInfo& value = graph.value(made);
    value.producer = id;
    value.producer_output = static_cast<int32_t>(i);
    outputs[i] = made;
  }
}

void upgrade_graph(Graph& graph, bool top);

// What a body may know already of the values that it captures.
void seed_captures(Graph& graph, const Node& node) {
  for (const std::shared_ptr<Graph>& body : subgraphs(node)) {
    for (const Capture& capture : body->captures) {
      ValueInfo& inner = body->value(capture.inner);
      const ValueInfo& outer = graph.value(capture.outer);
      inner.type = outer.type;
      if (const Tensor* constant = graph.constant(capture.outer)) inner.constant = *constant;
    }
    upgrade_graph(*body, false);
  }
}

// All nodes from `first` on whose operators are not known, one a line. Nodes behind an unknown one
// have no types, so that their own rewrites may fail: names alone count here.
[[noreturn]] void throw_unknown(Graph& graph, const std::vector<NodeId>& order, size_t first) {
  std::string text;
  for (size_t i = first; i < order.size(); ++i) {
    const NodeId id = order[i];
    try {
      if (i > first) apply_upgrade(graph, id, [](Graph& g, NodeId made) { bind(g, g.node(made)); });
    } catch (const Error&) {
      continue;
    }
    const Node& node = graph.node(id);
    if (node.removed || find_op(node.domain, node.op_type) != nullptr) continue;
    text += concat(text.empty() ? "" : "\n", unknown_text(graph, node));
  }
  throw_error(ErrorKind::NotImplemented, text);
}

void upgrade_graph(Graph& graph, bool top) {
  const std::vector<NodeId> order = graph.order;
  for (size_t i = 0; i < order.size(); ++i) {
    const NodeId id = order[i];
    complete_outputs(graph, id);
    apply_upgrade(graph, id, [](Graph& g, NodeId made) {
      bind(g, g.node(made));
      infer_node(g, g.node(made));
    });
    Node& node = graph.node(id);
    if (node.removed) continue;
    node.def = find_op(node.domain, node.op_type);
    if (node.def == nullptr) throw_unknown(graph, order, i);
    check_arity(node);
    seed_captures(graph, node);
    // The inputs of a body are typed by the node that runs it: inference of that node comes back
    // here.
    if (top) infer_node(graph, node);
  }
  graph.sort();
}

}  // namespace

void upgrade(Model& model) { upgrade_graph(model.graph, true); }

}  // namespace tiercel
