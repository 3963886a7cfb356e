// Transposed convolutions whose windows do not overlap, as 1×1 convolutions and DepthToSpace.
#include "passes/lower_conv_transpose.h"

#include <algorithm>

#include "passes/edit.h"

namespace tiercel::passes {

namespace {

using Ints = std::vector<int64_t>;

Ints list(const Node& node, std::string_view name) {
  return node.attributes.get_or<Ints>(name, Ints{});
}

bool all(const Ints& values, int64_t value) {
  return std::all_of(values.begin(), values.end(), [&](int64_t v) { return v == value; });
}

// The extent of a square window that moves by its own extent over unpadded images; 0: another one.
int64_t square(const Graph& graph, const Node& node) {
  const Tensor* weight = graph.constant(node.inputs[1]);
  if (!weight || weight->dtype() != DType::Float || weight->dims().size() != 4) return 0;
  if (has_input(node, 2) && !graph.constant(node.inputs[2])) return 0;
  const int64_t b = weight->dims()[2];
  const Ints strides = list(node, "strides");
  const bool steps = strides.size() == 2 && all(strides, b) && weight->dims()[3] == b && b > 1;
  const bool plain = all(list(node, "pads"), 0) && all(list(node, "output_padding"), 0) &&
                     all(list(node, "dilations"), 1) && list(node, "output_shape").empty();
  const std::string pad = attr_string(node, "auto_pad", "NOTSET");
  const bool unpadded = pad.empty() || pad == "NOTSET" || pad == "VALID";
  return steps && plain && unpadded && attr_int(node, "group", 1) == 1 ? b : 0;
}

// [C, M, b, b] as the weights [M · b · b, C, 1, 1] of a convolution.
Tensor turned(const Tensor& weight) {
  const int64_t inputs = weight.dims()[0], outputs = weight.size() / std::max<int64_t>(inputs, 1);
  Tensor made(DType::Float, {outputs, inputs, 1, 1});
  const float* from = weight.data<float>();
  for (int64_t c = 0; c < inputs; ++c) {
    for (int64_t m = 0; m < outputs; ++m) {
      made.data<float>()[m * inputs + c] = from[c * outputs + m];
    }
  }
  return made;
}

Tensor repeated(const Tensor& bias, int64_t times) {
  Tensor made(DType::Float, {bias.size() * times});
  for (int64_t i = 0; i < made.size(); ++i) {
    made.data<float>()[i] = bias.data<float>()[i / times];
  }
  return made;
}

}  // namespace

bool lower_conv_transpose(Graph& graph, NodeId id) {
  const Node node = graph.node(id);
  const int64_t b = square(graph, node);
  const Shape* in = shape_of(graph, node.inputs[0]);
  if (b == 0 || !in || in->size() != 4 || node.attributes.find("epilogue")) return false;
  const ValueId out = node.outputs[0];
  std::vector<ValueId> inputs{node.inputs[0]};
  inputs.push_back(
      graph.add_constant(node.name + " weights", turned(*graph.constant(node.inputs[1]))));
  const int64_t channels = graph.constant(node.inputs[1])->dims()[1];
  if (has_input(node, 2)) {
    const Tensor& bias = *graph.constant(node.inputs[2]);
    inputs.push_back(graph.add_constant(node.name + " bias", repeated(bias, b * b)));
  }
  const Shape middle{(*in)[0], channels * b * b, (*in)[2], (*in)[3]};
  const ValueId deep = insert_node(graph, id, {"Conv", inputs}, Type::tensor(DType::Float, middle),
                                   node.name + " convolution");
  Attributes attributes;
  attributes.set("blocksize", b);
  attributes.set("mode", std::string("CRD"));
  const Type type = graph.value(out).type;
  redirect(graph, out,
           insert_node(graph, id, {"DepthToSpace", {deep}, attributes}, type, node.name));
  return true;
}

}  // namespace tiercel::passes
