// Walks the graph, applies the upgrade of each node's operator, binds its definition and infers its
// types.
#include "ops/upgrade.h"

#include "ops/op_def.h"
#include "ops/upgrade_rules.h"

namespace tiercel {

namespace {

void bind(Node& node) {
  node.def = find_op(node.domain, node.op_type);
  if (!node.def) {
    throw_error(ErrorKind::NotImplemented, where(node), ": operator ", node.op_type,
                " of domain \"", node.domain.empty() ? "ai.onnx" : node.domain, "\", version ",
                node.version, ", is not known to this runtime");
  }
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
    if (attribute.required && !node.attributes.find(attribute.name)) {
      throw_error(ErrorKind::InvalidGraph, where(node), ": attribute ", std::string(attribute.name),
                  " is required and absent");
    }
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

void upgrade_graph(Graph& graph, bool top) {
  const std::vector<NodeId> order = graph.order;
  for (NodeId id : order) {
    apply_upgrade(graph, id, [](Graph& g, NodeId made) {
      bind(g.node(made));
      infer_node(g, g.node(made));
    });
    if (graph.node(id).removed) continue;
    bind(graph.node(id));
    check_arity(graph.node(id));
    seed_captures(graph, graph.node(id));
    // The inputs of a body are typed by the node that runs it: inference of that node comes back
    // here.
    if (top) infer_node(graph, graph.node(id));
  }
  graph.sort();
}

}  // namespace

void upgrade(Model& model) { upgrade_graph(model.graph, true); }

}  // namespace tiercel
