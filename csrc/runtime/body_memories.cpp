// Chooses memories for what enters and leaves bodies. Everything else is copied where it is read.
#include "runtime/body_memories.h"

#include <algorithm>

#include "ops/op_def.h"
#include "runtime/body.h"

namespace tiercel {
namespace {

constexpr std::string_view kHost = "cpu";

std::string_view memory_of_provider(std::string_view name, const CompileOptions& options) {
  for (const auto& provider : options.providers) {
    if (provider->name() == name) return provider->memory();
  }
  return kHost;
}

std::string_view entry(const std::vector<std::string>& memories, size_t index) {
  return index < memories.size() ? std::string_view(memories[index]) : kHost;
}

// Outputs of a Loop's body begin with its condition.
size_t first_output(const Node& node) { return node.op_type == "Loop" ? 1 : 0; }

// Who makes the bytes of a value.
ValueId root_of(const Graph& graph, ValueId id) {
  for (;;) {
    const NodeId maker = graph.value(id).producer;
    if (maker == kNone) return id;
    const Node& node = graph.node(maker);
    if (!node.def->has(kAlias) || node.inputs.empty() || node.inputs[0] == kNone) return id;
    id = node.inputs[0];
  }
}

bool axis_is_first(const Node& node, std::string_view name, size_t index) {
  const auto* list = node.attributes.get<std::vector<int64_t>>(name);
  return list == nullptr || index >= list->size() || (*list)[index] == 0;
}

// The bodies of one control flow node.
class BodyMemories {
 public:
  BodyMemories(const Graph& outer, const Node& node, std::string_view device,
               const CompileOptions& options)
      : outer_(outer), node_(node), device_(device), options_(options) {}

  void place() {
    const auto bodies = subgraphs(node_);
    for (const auto& body : bodies) {
      body->input_memories.assign(run_inputs(*body).size(), std::string(kHost));
      body->output_memories.assign(body->outputs.size(), std::string(kHost));
    }
    if (node_.op_type == "If") {
      for (const auto& body : bodies) place_captures(*body, false);
      place_branches(bodies);
    } else if (node_.op_type == "Loop" || node_.op_type == "Scan") {
      place_captures(*bodies[0], true);
      place_turns(*bodies[0]);
    }
  }

 private:
  bool may_move(const Graph& body, ValueId id) const {
    const Type& type = body.value(id).type;
    return type.is_tensor() && type.dtype != DType::Undefined && type.dtype != DType::String;
  }

  // Whether a node of the device reads the value, or another that has its bytes.
  bool is_read_there(const Graph& body, ValueId id) const {
    for (const NodeId reader : body.order) {
      const Node& node = body.node(reader);
      if (node.removed) continue;
      for (size_t i = 0; i < node.inputs.size(); ++i) {
        if (node.inputs[i] != id || node.def->has(kReadsDims) || node.def->reads_value(i)) continue;
        if (node.def->has(kAlias) && i == 0) {
          if (is_read_there(body, node.outputs[0])) return true;
        } else if ((node.def->has(kControlFlow)
                        ? memory_of_input(node, i)
                        : memory_of_provider(node.provider, options_)) == device_) {
          return true;
        }
      }
      const auto inside = subgraphs(node);
      for (const auto& nested : inside) {
        for (size_t i = 0; i < nested->captures.size(); ++i) {
          if (nested->captures[i].outer != id) continue;
          const auto there = node.def->has(kControlFlow)
                                 ? memory_of_capture(*nested, i)
                                 : memory_of_provider(node.provider, options_);
          if (there == device_) return true;
        }
      }
    }
    return false;
  }

  // A loop takes them where its nodes read them, once for all runs; a branch that may not be taken
  // where they are.
  void place_captures(Graph& body, bool all_runs) {
    const size_t before = body.input_memories.size() - body.captures.size();
    for (size_t i = 0; i < body.captures.size(); ++i) {
      const Capture& capture = body.captures[i];
      if (!may_move(body, capture.inner)) continue;
      const bool once = all_runs || outer_.constant(capture.outer) != nullptr;
      const bool there = once ? is_read_there(body, capture.inner)
                              : memory_of_value(outer_, capture.outer, options_) == device_;
      if (there) body.input_memories[before + i] = device_;
    }
  }

  enum class Made : uint8_t { OnHost, OnDevice, Anywhere };
  Made made(const Graph& body, ValueId out) const {
    if (!may_move(body, out)) return Made::OnHost;
    const ValueId root = root_of(body, out);
    if (body.constant(root) != nullptr) return Made::Anywhere;
    return memory_of_value(body, root, options_) == device_ ? Made::OnDevice : Made::OnHost;
  }

  void place_branches(const std::vector<std::shared_ptr<Graph>>& bodies) {
    for (size_t i = 0; i < node_.outputs.size(); ++i) {
      const auto is = [&](Made how) {
        return [this, i, how](const auto& body) { return made(*body, body->outputs[i]) == how; };
      };
      if (std::ranges::any_of(bodies, is(Made::OnHost)) ||
          std::ranges::none_of(bodies, is(Made::OnDevice)))
        continue;
      for (const auto& body : bodies) body->output_memories[i] = device_;
    }
  }

  // Where a state is one that the body was given, or a constant, its readers decide.
  bool is_state_there(const Graph& body, size_t in, size_t out) const {
    if (!may_move(body, body.inputs[in])) return false;
    const Made how = made(body, body.outputs[out]);
    if (how == Made::OnDevice) return true;
    const ValueId root = root_of(body, body.outputs[out]);
    const bool open = how == Made::Anywhere || std::ranges::count(body.inputs, root) > 0;
    return open && is_read_there(body, body.inputs[in]);
  }

  // States have one memory as input and as output of the body; slices are those of axis 0 where
  // they are to lie on a device.
  void place_turns(Graph& body) {
    const bool loop = node_.op_type == "Loop";
    const auto slices =
        loop ? 0 : static_cast<size_t>(node_.attributes.get_or<int64_t>("num_scan_inputs", 1));
    const size_t first_state = loop ? 2 : 0, past_states = body.inputs.size() - slices;
    bool more = true;
    while (more) {  // a state may become another
      more = false;
      for (size_t i = first_state; i < past_states; ++i) {
        const size_t out = i - first_state + first_output(node_);
        if (body.input_memories[i] != kHost || !is_state_there(body, i, out)) continue;
        body.input_memories[i] = body.output_memories[out] = device_;
        more = true;
      }
    }
    for (size_t i = past_states; i < body.inputs.size(); ++i) {
      const ValueId in = body.inputs[i];
      if (axis_is_first(node_, "scan_input_axes", i - past_states) && may_move(body, in) &&
          Slices::takes(body.value(in).type.dtype) && is_read_there(body, in))
        body.input_memories[i] = device_;
    }
    const size_t first_slices = past_states - first_state + first_output(node_);
    for (size_t i = first_slices; i < body.outputs.size(); ++i) {
      const size_t number = i - first_slices;
      if (axis_is_first(node_, "scan_output_axes", number) &&
          axis_is_first(node_, "scan_output_directions", number) &&
          made(body, body.outputs[i]) == Made::OnDevice &&
          Slices::takes(body.value(body.outputs[i]).type.dtype))
        body.output_memories[i] = device_;
    }
  }

  const Graph& outer_;
  const Node& node_;
  const std::string device_;
  const CompileOptions& options_;
};

}  // namespace

std::string_view memory_of_value(const Graph& graph, ValueId id, const CompileOptions& options) {
  const NodeId maker = graph.value(id).producer;
  if (maker == kNone) {
    if (graph.input_memories.empty()) return kHost;
    const std::vector<ValueId> inputs = run_inputs(graph);
    const auto at = std::ranges::find(inputs, id) - inputs.begin();
    return entry(graph.input_memories, static_cast<size_t>(at));
  }
  const Node& node = graph.node(maker);
  if (node.domain == "tiercel" && node.op_type == "Copy") {
    return *node.attributes.get<std::string>("to");
  }
  if (node.def == nullptr || !node.def->has(kControlFlow))
    return memory_of_provider(node.provider, options);
  const auto at = std::ranges::find(node.outputs, id) - node.outputs.begin();
  return entry(subgraphs(node)[0]->output_memories, static_cast<size_t>(at) + first_output(node));
}

std::string_view memory_of_input(const Node& node, size_t index) {
  if (node.op_type == "If") return kHost;
  const Graph& body = *subgraphs(node)[0];
  return index < body.inputs.size() ? entry(body.input_memories, index) : kHost;
}

std::string_view memory_of_capture(const Graph& body, size_t index) {
  return entry(body.input_memories, run_inputs(body).size() - body.captures.size() + index);
}

void place_bodies(Graph& graph, const CompileOptions& options) {
  std::string_view device = kHost;
  for (const auto& provider : options.providers) {
    if (device == kHost) device = provider->memory();
  }
  for (const NodeId id : graph.order) {
    const Node& node = graph.node(id);
    if (node.removed || node.def == nullptr || !node.def->has(kControlFlow)) continue;
    for (const auto& body : subgraphs(node)) place_bodies(*body, options);
    BodyMemories(graph, node, device, options).place();
  }
}

}  // namespace tiercel
