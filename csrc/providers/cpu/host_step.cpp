// Steps that call host operators: plain C++ functions on Values.
#include <algorithm>

#include "ops/op_def.h"
#include "providers/cpu/host_op.h"
#include "providers/cpu/kernel_step.h"
#include "runtime/executor.h"
#include "runtime/kernel_table.h"

namespace tiercel {
namespace {

const HostOp* find_host(const Graph& graph, const Node& node) {
  const std::string_view domain = node.domain == "ai.onnx" ? "" : std::string_view(node.domain);
  for (const HostOp& op : host_ops()) {
    if (op.name == node.op_type && op.domain == domain && types_match(op.types, graph, node)) {
      return &op;
    }
  }
  return added_host_op(domain, node.op_type);
}

struct HostState {
  const HostOp* op;
  std::shared_ptr<const void> prepared;
};

void run_host(const Step& step, RunContext& context) {
  const auto& state = *static_cast<const HostState*>(step.state.get());
  const Node& node = context.node(step);
  std::vector<Value> values(step.inputs.size());
  std::vector<const Value*> inputs(step.inputs.size(), nullptr);
  for (size_t i = 0; i < step.inputs.size(); ++i) {
    if (step.inputs[i] == kNone) continue;
    values[i] = context.value(step.inputs[i]);
    inputs[i] = &values[i];
  }
  std::vector<Value> outputs(step.outputs.size());
  HostCall call{node, inputs, outputs, state.prepared.get()};
  state.op->run(call);
  for (size_t i = 0; i < outputs.size(); ++i) {
    context.set_value(step.outputs[i], std::move(outputs[i]));
  }
}

}  // namespace

bool has_host(const Graph& graph, const Node& node) { return find_host(graph, node) != nullptr; }

std::optional<std::string> host_refuses(const Graph& graph, const Node& node) {
  const HostOp* op = find_host(graph, node);
  if (op == nullptr) return "no host operator";
  return op->refuses != nullptr ? op->refuses(graph, node) : std::nullopt;
}

Step compile_host(const Graph& graph, const Node& node) {
  auto state = std::make_shared<HostState>();
  state->op = find_host(graph, node);
  if (state->op == nullptr) {
    throw_error(ErrorKind::NotImplemented, where(node), ": no kernel and no host operator runs it");
  }
  if (state->op->prepare != nullptr) state->prepared = state->op->prepare(graph, node);
  Step step{.run = run_host, .inputs = node.inputs, .outputs = node.outputs};
  step.takes_values = true;
  step.kernel = "host";
  step.state = std::move(state);
  return step;
}

}  // namespace tiercel
