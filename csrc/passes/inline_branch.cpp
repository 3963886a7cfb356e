// The body of an If whose condition is known takes the place of the node.
#include "passes/edit.h"
#include "passes/rules.h"

namespace tiercel::passes {

namespace {

const Tensor* known_condition(const Graph& graph, const Node& node) {
  const Tensor* condition = graph.constant(node.inputs[0]);
  const bool usable =
      condition != nullptr && condition->dtype() == DType::Bool && condition->size() == 1;
  return usable ? condition : nullptr;
}

// Ids in the enclosing graph of a body's values; those that are not captured are added to it.
std::vector<ValueId> adopt_values(Graph& graph, const Graph& body) {
  std::vector<ValueId> to(body.values.size(), kNone);
  for (const Capture& capture : body.captures) {
    to[static_cast<size_t>(capture.inner)] = capture.outer;
  }
  for (size_t i = 0; i < body.values.size(); ++i) {
    if (to[i] != kNone) continue;
    to[i] = static_cast<ValueId>(graph.values.size());
    graph.values.push_back(body.values[i]);
    graph.values.back().producer = kNone;
  }
  return to;
}

Node adopted(const Node& node, const std::vector<ValueId>& to) {
  Node out = node;
  for (auto* ids : {&out.inputs, &out.outputs}) {
    for (ValueId& id : *ids) {
      if (id != kNone) id = to[static_cast<size_t>(id)];
    }
  }
  for (const std::shared_ptr<Graph>& inner : subgraphs(out)) {
    for (Capture& capture : inner->captures) {
      capture.outer = to[static_cast<size_t>(capture.outer)];
    }
  }
  return out;
}

}  // namespace

bool inline_branch(Graph& graph, NodeId id) {
  const Tensor* condition = known_condition(graph, graph.node(id));
  if (condition == nullptr) return false;
  const char* name = *condition->data<bool>() ? "then_branch" : "else_branch";
  const auto* branch = graph.node(id).attributes.get<std::shared_ptr<Graph>>(name);
  const std::vector<ValueId> outputs = graph.node(id).outputs;
  if (branch == nullptr || *branch == nullptr || (*branch)->outputs.size() < outputs.size()) {
    return false;
  }
  const Graph body = clone(**branch);
  const std::vector<ValueId> to = adopt_values(graph, body);
  for (NodeId inner : body.order) {
    if (!body.node(inner).removed) graph.add_node(adopted(body.node(inner), to), id);
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (outputs[i] == kNone) continue;
    redirect(graph, outputs[i], to[static_cast<size_t>(body.outputs[i])]);
  }
  return true;
}

}  // namespace tiercel::passes
