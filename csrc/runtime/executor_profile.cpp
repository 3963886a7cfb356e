// What a profile says of one step of a run.
#include "runtime/executor.h"
#include "runtime/kernel_call.h"

namespace tiercel {
namespace {

std::string shapes_json(const std::vector<ValueId>& ids, const Graph& graph, RunContext& context) {
  std::string out = "[";
  for (ValueId id : ids) {
    if (id == kNone || !graph.value(id).type.is_tensor()) continue;
    const TclTensor& t = *context.tensor(id);
    if (out.size() > 1) out += ",";
    out += concat("{", json_text(dtype_name(static_cast<DType>(t.dtype))), ":[");
    for (int64_t axis = 0; axis < t.rank; ++axis) {
      out += concat(axis == 0 ? "" : ",", t.dims[axis]);
    }
    out += "]}";
  }
  return out + "]";
}

// Attributes that are whole numbers or short lists of them, such as axes and windows.
std::string numbers_json(const Attributes& attributes) {
  constexpr size_t kLongest = 16;
  std::string out = "{";
  for (const Attributes::Entry& entry : attributes) {
    const auto* list = std::get_if<std::vector<int64_t>>(&entry.value);
    const auto* one = std::get_if<int64_t>(&entry.value);
    if (one == nullptr && (list == nullptr || list->size() > kLongest)) continue;
    out += concat(out.size() > 1 ? "," : "", json_text(entry.name), ":");
    if (one != nullptr) {
      out += concat(*one);
      continue;
    }
    out += "[";
    for (size_t i = 0; i < list->size(); ++i) out += concat(i == 0 ? "" : ",", (*list)[i]);
    out += "]";
  }
  return out + "}";
}

}  // namespace

// In the form of ONNX Runtime's profiles; sizes are bytes.
void RunContext::profile_step(size_t index, int64_t start, int64_t took) {
  const Step& step = plan_->steps[index];
  const Node& n = node(step);
  int64_t activations = 0, parameters = 0, results = 0;
  for (ValueId id : n.inputs) {
    if (id == kNone) continue;
    (plan_->graph.constant(id) != nullptr ? parameters : activations) += traced_bytes(id);
  }
  for (ValueId id : n.outputs) results += id == kNone ? 0 : traced_bytes(id);
  const auto number = [](int64_t value) { return json_text(std::to_string(value)); };
  environment_->profiler->add(
      {"Node",
       n.name + "_kernel_time",
       start,
       took,
       {{"op_name", json_text(n.op_type)},
        {"provider", json_text(n.provider)},
        {"kernel", json_text(step.kernel)},
        {"node_index", number(step.node)},
        {"activation_size", number(activations)},
        {"parameter_size", number(parameters)},
        {"output_size", number(results)},
        {"attributes", numbers_json(n.attributes)},
        {"input_type_shape", shapes_json(n.inputs, plan_->graph, *this)},
        {"output_type_shape", shapes_json(n.outputs, plan_->graph, *this)}}});
}

int64_t RunContext::traced_bytes(ValueId id) {
  const TclTensor& view = *tensor(id);
  const bool counts = view.rank >= 0 && static_cast<DType>(view.dtype) != DType::String;
  return counts ? tensor_bytes(view) : 0;
}

}  // namespace tiercel
