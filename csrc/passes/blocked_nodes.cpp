// Which nodes have a form over blocks of channels.
#include "passes/blocked_nodes.h"

#include <algorithm>

namespace tiercel::passes {

namespace {

constexpr size_t kRank = 4;

bool is_extent(const Dim& dim, int64_t value) { return dim.known() && dim.value() == value; }

bool is_float(const Graph& graph, ValueId id) {
  const Type& type = graph.value(id).type;
  return type.is_tensor() && type.dtype == DType::Float;
}

bool one_element(const Shape& shape) {
  return std::all_of(shape.begin(), shape.end(), [](const Dim& d) { return is_extent(d, 1); });
}

bool is_whole(int64_t channels, int64_t block) { return channels % block == 0; }

// Attributes of a pooling that the blocked kernels know.
bool pools_images(const Node& node) {
  if (is_op(node, "GlobalAveragePool")) return true;
  const std::vector<int64_t> none;
  const auto pads = node.attributes.get_or<std::vector<int64_t>>("pads", none);
  if (std::any_of(pads.begin(), pads.end(), [](int64_t pad) { return pad < 0; })) return false;
  if (is_op(node, "MaxPool")) return node.outputs.size() < 2 || node.outputs[1] == kNone;
  if (!is_op(node, "AveragePool")) return false;
  // Windows that reach beyond the padding count fewer elements.
  return attr_int(node, "count_include_pad") == 0 || attr_int(node, "ceil_mode") == 0;
}

}  // namespace

std::optional<int64_t> BlockedRules::channels(ValueId id) const {
  if (id == kNone || !is_float(graph, id)) return std::nullopt;
  const Shape* shape = shape_of(graph, id);
  if (!shape || shape->size() != kRank || !(*shape)[1].known()) return std::nullopt;
  const int64_t n = (*shape)[1].value();
  return n > 0 ? std::optional(n) : std::nullopt;
}

bool BlockedRules::is_convolution(const Node& node) const {
  if (!is_op(node, "Conv") || !channels(node.inputs[0])) return false;
  const Tensor* weight = graph.constant(node.inputs[1]);
  if (!weight || weight->dims().size() != kRank || weight->size() == 0) return false;
  if (has_input(node, 2) && !graph.constant(node.inputs[2])) return false;
  const int64_t group = attr_int(node, "group", 1);
  const int64_t outputs = weight->dims()[0], inputs = weight->dims()[1];
  if (group == 1) return true;
  if (inputs == 1 && outputs == group) return true;
  return is_whole(inputs, block) && is_whole(outputs, group * block);
}

bool BlockedRules::reads_planes(const Node& convolution) const {
  if (!is_op(convolution, "Conv") || attr_int(convolution, "group", 1) != 1) return false;
  return *channels(convolution.inputs[0]) < block;
}

Operand operand_kind(const Graph& graph, ValueId id, int64_t channels) {
  const Shape* shape = shape_of(graph, id);
  if (!shape || !is_float(graph, id) || shape->size() > kRank) return Operand::Impossible;
  if (one_element(*shape)) return Operand::AsIs;
  const size_t rank = shape->size();
  const bool no_channels = rank < 3 || is_extent((*shape)[rank - 3], 1);
  if (no_channels && channels != 1) return Operand::AllLanes;
  if (rank < 3 || !is_extent((*shape)[rank - 3], channels)) return Operand::Impossible;
  const bool per_channel = is_extent((*shape)[rank - 2], 1) && is_extent((*shape)[rank - 1], 1) &&
                           (rank == 3 || is_extent((*shape)[0], 1));
  if (per_channel && graph.constant(id)) return Operand::Constant;
  return rank == kRank ? Operand::Blocked : Operand::Impossible;
}

bool BlockedRules::elementwise(const Node& node, std::vector<ValueId>& read) const {
  if (!node.def || !node.def->has(kElementwise) || !node.domain.empty()) return false;
  if (node.outputs.size() != 1) return false;
  const std::optional<int64_t> n = channels(node.outputs[0]);
  if (!n) return false;
  for (ValueId in : node.inputs) {
    if (in == kNone) continue;
    const Operand kind = operand_kind(graph, in, *n);
    if (kind == Operand::Impossible) return false;
    if (kind == Operand::Blocked) read.push_back(in);
  }
  return true;
}

bool BlockedRules::splits_blocks(const Node& node) const {
  if (!is_op(node, "Split")) return false;
  const int64_t axis = attr_int(node, "axis");
  if (axis != 1 && axis != 1 - static_cast<int64_t>(kRank)) return false;
  return std::all_of(node.outputs.begin(), node.outputs.end(), [&](ValueId out) {
    const std::optional<int64_t> n = channels(out);
    return n && is_whole(*n, block);
  });
}

// Its windows reach over channels, so that none of the lanes may hold anything else.
bool BlockedRules::normalises(const Node& node) const {
  if (!is_op(node, "LRN")) return false;
  const std::optional<int64_t> n = channels(node.inputs[0]);
  return n && is_whole(*n, block);
}

// Few channels would be resized with more lanes that hold nothing.
bool BlockedRules::resizes_planes(const Node& node) const {
  if (!is_op(node, "Resize") || node.attributes.find("axes")) return false;
  if (attr_string(node, "coordinate_transformation_mode") == "tf_crop_and_resize") return false;
  const std::optional<int64_t> n = channels(node.inputs[0]);
  if (!n || *n * 2 < (*n + block - 1) / block * block) return false;
  const Shape* in = shape_of(graph, node.inputs[0]);
  const Shape* out = shape_of(graph, node.outputs[0]);
  if (!in || !out || !(*in)[0].same((*out)[0]) || !(*in)[1].same((*out)[1])) return false;
  if (has_input(node, 3)) return attr_string(node, "keep_aspect_ratio_policy") == "stretch";
  const Tensor* scales = has_input(node, 2) ? graph.constant(node.inputs[2]) : nullptr;
  if (!scales || scales->dtype() != DType::Float || scales->size() != kRank) return false;
  return scales->data<float>()[0] == 1 && scales->data<float>()[1] == 1;
}

std::optional<std::vector<ValueId>> BlockedRules::carried(const Node& node) const {
  if (node.outputs.empty() || node.outputs[0] == kNone || node.inputs.empty()) return std::nullopt;
  std::vector<ValueId> read;
  if (elementwise(node, read)) return read;
  if (!channels(node.inputs[0])) return std::nullopt;
  if (is_op(node, "Concat")) {
    const int64_t axis = attr_int(node, "axis");
    if (axis != 1 && axis != 1 - static_cast<int64_t>(kRank)) return std::nullopt;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const std::optional<int64_t> n = channels(node.inputs[i]);
      if (!n || (i + 1 < node.inputs.size() && !is_whole(*n, block))) return std::nullopt;
    }
    return node.inputs;
  }
  if (pools_images(node) || splits_blocks(node) || resizes_planes(node) || normalises(node)) {
    return std::vector<ValueId>{node.inputs[0]};
  }
  return std::nullopt;
}

std::vector<ValueId> BlockedRules::blocked_operands(const Node& node) const {
  if (is_convolution(node)) return {node.inputs[0]};
  return carried(node).value_or(std::vector<ValueId>{});
}

}  // namespace tiercel::passes
