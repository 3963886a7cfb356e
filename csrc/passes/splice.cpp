// Puts the nodes of a body in place, where nothing has to run it as a whole.
#include "passes/splice.h"

#include <algorithm>

namespace tiercel {

std::vector<ValueId> splice(Graph& graph, NodeId before, const Graph& body,
                            const std::vector<ValueId>& inputs, const std::string& name) {
  const Graph copy = clone(body);
  std::vector<ValueId> here(copy.values.size(), kNone);  // what each value of the body became
  const auto place = [&](ValueId id) -> ValueId& { return here[static_cast<size_t>(id)]; };
  for (size_t i = 0; i < copy.inputs.size(); ++i) place(copy.inputs[i]) = inputs.at(i);
  for (const Capture& capture : copy.captures) place(capture.inner) = capture.outer;
  for (size_t i = 0; i < copy.values.size(); ++i) {
    const ValueInfo& value = copy.values[i];
    if (here[i] == kNone && value.constant) {
      here[i] = graph.add_constant(concat(name, "/", value.name), *value.constant);
    }
  }
  for (NodeId id : copy.order) {
    if (copy.node(id).removed) continue;
    Node made = copy.node(id);
    made.name = concat(name, "/", made.name);
    for (ValueId& in : made.inputs) in = in == kNone ? kNone : place(in);
    for (ValueId& out : made.outputs) {
      if (out == kNone) continue;
      place(out) = graph.add_value(concat(name, "/", copy.value(out).name));
      out = place(out);
    }
    for (const std::shared_ptr<Graph>& inner : subgraphs(made)) {
      for (Capture& capture : inner->captures) capture.outer = place(capture.outer);
    }
    infer_node(graph, graph.node(graph.add_node(std::move(made), before)));
  }
  std::vector<ValueId> outputs;
  for (ValueId out : copy.outputs) outputs.push_back(place(out));
  return outputs;
}

}  // namespace tiercel
