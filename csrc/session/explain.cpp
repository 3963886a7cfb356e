// Text for people on what was made of a model.
#include "session/explain.h"

#include <algorithm>

namespace tiercel {
namespace {

std::string padded(std::string text, size_t width) {
  if (text.size() < width) text.append(width - text.size(), ' ');
  return text;
}

std::string value_text(const Graph& graph, ValueId id) {
  const Type& type = graph.value(id).type;
  return concat(type.text(), type.shape ? shape_text(*type.shape) : "");
}

std::string nodes_text(const Graph& graph) {
  std::string out;
  for (NodeId id : graph.order) {
    const Node& node = graph.node(id);
    if (node.removed) continue;
    out += concat("  ", padded(concat(node.op_type, " \"", node.name, "\""), 48), " ",
                  node.provider, node.reason.empty() ? "" : " (" + node.reason + ")", "\n");
  }
  return out;
}

// Bytes of a copy between memories; empty: no copy, or its shape is found at run.
std::string copied_text(const Graph& graph, const Node& node) {
  if (node.domain != "tiercel" || node.op_type != "Copy") return "";
  const Type& type = graph.value(node.outputs[0]).type;
  const auto dims = type.shape ? concrete(*type.shape) : std::nullopt;
  return dims ? concat(", ", dtype_bytes(type.dtype, element_count(*dims)), " bytes") : "";
}

// Constants that were copied to another memory when the plan was made.
std::string residents_text(const Plan& plan) {
  std::string out;
  for (const auto& [id, tensor] : plan.residents) {
    const Node& node = plan.graph.node(plan.graph.value(id).producer);
    out += concat("  once ", padded(concat(node.op_type, " \"", node.name, "\""), 44), " ",
                  node.provider, copied_text(plan.graph, node), ", ", node.reason, " -> ",
                  value_text(plan.graph, id), "\n");
  }
  return out;
}

std::string segments_text(const Plan& plan) {
  std::string out;
  for (const Segment& segment : plan.segments) {
    const Provider& provider = *plan.memories[static_cast<size_t>(segment.memory)].provider;
    out += concat("  steps ", segment.first, " to ", segment.last - 1, " go to ", provider.name(),
                  " as one graph from the second run on\n");
  }
  return out;
}

std::string steps_text(const Plan& plan) {
  std::string out;
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const Step& step = plan.steps[i];
    const Node& node = plan.graph.node(step.node);
    std::string line = concat("  ", padded(std::to_string(i), 5),
                              padded(concat(node.op_type, " \"", node.name, "\""), 44), " ",
                              node.provider, ", ", step.kernel, copied_text(plan.graph, node));
    if (plan.dynamic[i]) line += ", shapes found at run";
    if (!node.reason.empty()) line += ", " + node.reason;
    for (ValueId out_id : step.outputs) {
      if (out_id != kNone) line += concat(" -> ", value_text(plan.graph, out_id));
    }
    out += line + "\n";
  }
  return out;
}

}  // namespace

std::string explain_session(const Model& model, std::span<const PassReport> passes,
                            const Plan* plan, int threads) {
  std::string out = concat("model ", model.path.empty() ? "(from memory)" : model.path, ", IR ",
                           model.ir_version, ", ", threads, " threads\n\npasses\n");
  for (const PassReport& pass : passes) {
    out += concat("  ", padded(pass.name, 24), pass.changed ? " changed " : "         ",
                  static_cast<int64_t>(pass.microseconds), " us, ", pass.nodes_before, " to ",
                  pass.nodes_after, " nodes\n");
  }
  if (plan == nullptr) {
    return out + "\nnodes (no plan yet: input shapes are not known before the first run)\n" +
           nodes_text(model.graph);
  }
  out += concat("\nplan: ", plan->steps.size(), " steps");
  for (const Memory& memory : plan->memories) {
    const std::string where = memory.provider ? concat(" in ", memory.provider->memory()) : "";
    out += concat(", arena", where, " ", memory.arena_bytes, " bytes, lower bound ",
                  memory.lower_bound, " bytes");
  }
  out += "\n";
  return out + residents_text(*plan) + segments_text(*plan) + steps_text(*plan);
}

}  // namespace tiercel
