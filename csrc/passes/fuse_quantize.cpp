// QuantizeLinear into DequantizeLinear rounds to a grid: divide, round, clip, multiply.
#include "passes/edit.h"
#include "passes/passes.h"

namespace tiercel::passes {

namespace {

struct Range {
  double low, high;
};

std::optional<Range> range_of(DType dtype) {
  switch (dtype) {
    case DType::Int8:
      return Range{-128, 127};
    case DType::UInt8:
      return Range{0, 255};
    case DType::Int16:
      return Range{-32768, 32767};
    case DType::UInt16:
      return Range{0, 65535};
    default:
      return std::nullopt;
  }
}

// 0 when there is no zero point.
std::optional<double> zero_point(const Graph& graph, const Node& node) {
  if (!has_input(node, 2)) return 0.0;
  const Tensor* constant = graph.constant(node.inputs[2]);
  if (!constant || constant->size() != 1) return std::nullopt;
  switch (constant->dtype()) {
    case DType::UInt16:
      return constant->data<uint16_t>()[0];
    case DType::Int16:
      return constant->data<int16_t>()[0];
    default:
      return element(*constant, 0);
  }
}

bool to_grid(Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  const Node* quantize = producer(graph, node.inputs[0], "QuantizeLinear");
  if (!quantize) return false;
  const ValueId x = quantize->inputs[0];
  const ValueId out = node.outputs[0];
  const std::optional<double> scale = scalar(graph, node.inputs[1]);
  const std::optional<double> zero = zero_point(graph, node);
  const std::optional<Range> range = range_of(graph.value(node.inputs[0]).type.dtype);
  const Type type = graph.value(out).type;
  if (!scale || !zero || !range || scalar(graph, quantize->inputs[1]) != scale) return false;
  if (zero_point(graph, *quantize) != zero || type.dtype != DType::Float) return false;
  if (graph.value(x).type.dtype != DType::Float || !same_shape(graph, x, out)) return false;
  const ValueId step = node.inputs[1];
  const std::string name = node.name;
  const double low = range->low - *zero;
  const double high = range->high - *zero;
  const ValueId least = graph.add_constant(name + "_low", make_tensor(type.dtype, {}, {&low, 1}));
  const ValueId most = graph.add_constant(name + "_high", make_tensor(type.dtype, {}, {&high, 1}));
  const ValueId steps = insert_node(graph, id, {"Div", {x, step}}, type, name + "_div");
  const ValueId whole = insert_node(graph, id, {"Round", {steps}}, type, name + "_round");
  const ValueId inside =
      insert_node(graph, id, {"Clip", {whole, least, most}}, type, name + "_clip");
  const ValueId made = insert_node(graph, id, {"Mul", {inside, step}}, type, name);
  redirect(graph, out, made);
  return true;
}

}  // namespace

bool fuse_quantize(Graph& graph, PassContext&) {
  return each_graph(graph, [](Graph& g) {
    bool changed = false;
    const std::vector<NodeId> order = g.order;
    for (NodeId id : order) {
      if (is_op(g.node(id), "DequantizeLinear")) changed = to_grid(g, id) || changed;
    }
    return changed;
  });
}

}  // namespace tiercel::passes
