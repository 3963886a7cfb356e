// Runs one node on constants, for constant folding.
#include "ops/op_def.h"
#include "runtime/executor.h"

namespace tiercel {
namespace {

// A graph of this node alone; nullopt when an input is not constant.
std::optional<Graph> lone_graph(const Graph& graph, const Node& node) {
  Graph lone;
  Node copy = node;
  copy.provider.clear();
  for (ValueId& id : copy.inputs) {
    if (id == kNone) continue;
    const Tensor* constant = graph.constant(id);
    if (constant == nullptr) return std::nullopt;
    id = lone.add_constant(graph.value(id).name, *constant);
  }
  // Attached programs and bodies: their captures are constants of the lone graph too.
  for (Attributes::Entry& entry : copy.attributes) {
    auto* body = std::get_if<std::shared_ptr<Graph>>(&entry.value);
    if (body == nullptr) continue;
    *body = std::make_shared<Graph>(clone(**body));
    for (Capture& capture : (*body)->captures) {
      const Tensor* constant = graph.constant(capture.outer);
      if (constant == nullptr) return std::nullopt;
      capture.outer = lone.add_constant(graph.value(capture.outer).name, *constant);
    }
  }
  for (ValueId& id : copy.outputs) {
    if (id == kNone) continue;
    id = lone.add_value(graph.value(id).name, graph.value(id).type);
    lone.outputs.push_back(id);
  }
  const NodeId made = lone.add_node(std::move(copy));
  infer_node(lone, lone.node(made));
  return lone;
}

}  // namespace

std::optional<std::vector<Tensor>> evaluate_node(const Graph& graph, const Node& node,
                                                 const CompileOptions& options) {
  if (!node.def || node.def->has(kControlFlow)) return std::nullopt;
  try {
    std::optional<Graph> lone = lone_graph(graph, node);
    if (!lone) return std::nullopt;
    assign(*lone, options);
    RunContext context(make_plan(*lone, {}, options));
    std::vector<int> wanted;
    for (size_t i = 0; i < lone->outputs.size(); ++i) wanted.push_back(static_cast<int>(i));
    ValueSink sink(wanted.size());
    context.run({}, wanted, RunEnvironment{}, sink);
    std::vector<Tensor> out;
    size_t next = 0;
    for (ValueId id : node.outputs) {
      if (id == kNone) {
        out.emplace_back();
        continue;
      }
      const Tensor* tensor = sink.values[next++].tensor();
      if (tensor == nullptr) return std::nullopt;
      out.push_back(*tensor);
    }
    return out;
  } catch (const Error&) {
    return std::nullopt;  // the node stays, and says what is wrong when it runs
  }
}

}  // namespace tiercel
