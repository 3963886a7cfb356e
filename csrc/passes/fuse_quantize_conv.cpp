// Convolutions between DequantizeLinear and QuantizeLinear as QLinearConv, where the processor
// multiplies bytes faster than floats.
#include <algorithm>
#include <cmath>
#include <limits>

#include "passes/edit.h"
#include "passes/passes.h"

namespace tiercel::passes {

namespace {

constexpr int64_t kFewest = 4;  // output channels of a group: fewer make no matrix product
// Channels that stand alone have a kernel of their own, for windows of so many elements.
constexpr int64_t kMostTaps = 128;

// What becomes one node: the convolution, its neighbours and its bias in units of both scales.
struct QuantizedConv {
  NodeId conv = kNone;
  Node x, weight, y;  // copies: DequantizeLinear twice, QuantizeLinear
  std::optional<Tensor> bias;
};

bool is_8_bit(DType dtype) { return dtype == DType::Int8 || dtype == DType::UInt8; }

// The zero point, or zeros for each of the constant scales.
ValueId zero_points(Graph& graph, const Node& node, DType dtype) {
  if (has_input(node, 2)) return node.inputs[2];
  Tensor zeros(dtype, graph.constant(node.inputs[1])->dims());
  std::fill_n(zeros.data<uint8_t>(), zeros.size(), uint8_t{0});
  return graph.add_constant(node.name + "_zero", std::move(zeros));
}

// Scale and zero point are one constant number each.
bool has_one_scale(const Graph& graph, const Node& node) {
  return scalar(graph, node.inputs[1]) &&
         (!has_input(node, 2) || graph.constant(node.inputs[2]) != nullptr);
}

DType element_type(const Graph& graph, ValueId id) { return graph.value(id).type.dtype; }

// Constant weights of bytes, with scales per tensor or per output channel.
bool weights_fit(const Graph& graph, const Node& weight, int64_t groups) {
  const Tensor* bytes = graph.constant(weight.inputs[0]);
  const Tensor* scale = graph.constant(weight.inputs[1]);
  if (!bytes || !scale || !is_8_bit(bytes->dtype()) || scale->dtype() != DType::Float) return false;
  if (bytes->rank() < 3 || groups < 1) return false;
  const bool alone = bytes->dims()[1] == 1 && bytes->rank() <= 4;
  const bool few = bytes->dims()[0] / groups < kFewest;
  if (few && !(alone && bytes->size() <= kMostTaps * bytes->dims()[0])) return false;
  const bool one = scale->rank() == 0;
  const bool each = scale->rank() == 1 && scale->size() == bytes->dims()[0];
  const int64_t axis = attr_int(weight, "axis", 1);
  if (!one && !(each && (axis == 0 || axis == -bytes->rank()))) return false;
  if (attr_int(weight, "block_size", 0) != 0) return false;
  const Tensor* zero = has_input(weight, 2) ? graph.constant(weight.inputs[2]) : nullptr;
  return !has_input(weight, 2) || (zero != nullptr && zero->dims() == scale->dims());
}

// The bias as a multiple of both scales; nullopt when it is no constant or too large.
std::optional<Tensor> whole_bias(Graph& graph, const Node& conv, const QuantizedConv& found) {
  const Tensor* bias = graph.constant(conv.inputs[2]);
  const Node* whole = producer(graph, conv.inputs[2], "DequantizeLinear");
  const Tensor* unit = whole ? graph.constant(whole->inputs[1]) : nullptr;
  if (whole) bias = graph.constant(whole->inputs[0]);
  if (!bias || (whole && (!unit || bias->dtype() != DType::Int32))) return std::nullopt;
  const Tensor* scale = graph.constant(found.weight.inputs[1]);
  const double step = *scalar(graph, found.x.inputs[1]);
  Tensor out(DType::Int32, bias->dims());
  for (int64_t i = 0; i < bias->size(); ++i) {
    const auto of = [i](const Tensor& t) { return *element(t, t.size() == 1 ? 0 : i); };
    double value = whole ? bias->data<int32_t>()[i] * of(*unit) : element(*bias, i).value_or(NAN);
    value = std::nearbyint(value / (step * of(*scale)));
    if (!(std::abs(value) < std::numeric_limits<int32_t>::max() / 2)) return std::nullopt;
    out.data<int32_t>()[i] = static_cast<int32_t>(value);
  }
  return out;
}

NodeId only_reader(const Graph& graph, const Uses& uses, ValueId id) {
  if (!uses.single(id)) return kNone;
  for (NodeId reader : graph.order) {
    const Node& node = graph.node(reader);
    if (!node.removed && std::ranges::find(node.inputs, id) != node.inputs.end()) return reader;
  }
  return kNone;
}

// The QuantizeLinear that alone reads the convolution, maybe behind a Relu that its range implies.
std::optional<Node> quantize_behind(const Graph& graph, const Uses& uses, const Node& conv) {
  NodeId reader = only_reader(graph, uses, conv.outputs[0]);
  const bool cut = reader != kNone && is_op(graph.node(reader), "Relu");
  if (cut) reader = only_reader(graph, uses, graph.node(reader).outputs[0]);
  if (reader == kNone || !is_op(graph.node(reader), "QuantizeLinear")) return std::nullopt;
  const Node& node = graph.node(reader);
  const DType dtype = element_type(graph, node.outputs[0]);
  if (!is_8_bit(dtype) || !has_one_scale(graph, node)) return std::nullopt;
  const double zero =
      has_input(node, 2) ? element(*graph.constant(node.inputs[2]), 0).value_or(1) : 0;
  const double least = dtype == DType::Int8 ? -128 : 0;
  return cut && zero != least ? std::nullopt : std::optional<Node>(node);
}

std::optional<QuantizedConv> match_conv(Graph& graph, const Uses& uses, NodeId id) {
  const Node& conv = graph.node(id);
  const Node* x = producer(graph, conv.inputs[0], "DequantizeLinear");
  const Node* weight = producer(graph, conv.inputs[1], "DequantizeLinear");
  if (!x || !weight || element_type(graph, conv.outputs[0]) != DType::Float) return std::nullopt;
  if (!is_8_bit(element_type(graph, x->inputs[0])) || !has_one_scale(graph, *x))
    return std::nullopt;
  if (!weights_fit(graph, *weight, attr_int(conv, "group", 1))) return std::nullopt;
  const std::optional<Node> y = quantize_behind(graph, uses, conv);
  if (!y) return std::nullopt;
  QuantizedConv found{id, *x, *weight, *y, std::nullopt};
  if (!has_input(conv, 2)) return found;
  found.bias = whole_bias(graph, conv, found);
  return found.bias ? std::optional(found) : std::nullopt;
}

void replace_conv(Graph& graph, const QuantizedConv& found) {
  const Node conv = graph.node(found.conv);
  const ValueId out = found.y.outputs[0];
  const Node &x = found.x, &weight = found.weight, &y = found.y;
  std::vector<ValueId> inputs = {x.inputs[0],
                                 x.inputs[1],
                                 zero_points(graph, x, element_type(graph, x.inputs[0])),
                                 weight.inputs[0],
                                 weight.inputs[1],
                                 zero_points(graph, weight, element_type(graph, weight.inputs[0])),
                                 y.inputs[1],
                                 zero_points(graph, y, element_type(graph, out))};
  if (found.bias) inputs.push_back(graph.add_constant(conv.name + "_whole_bias", *found.bias));
  const Type type = graph.value(out).type;
  const ValueId made = insert_node(
      graph, found.conv, {"QLinearConv", std::move(inputs), conv.attributes}, type, conv.name);
  redirect(graph, out, made);
}

bool quantize_convs(Graph& graph) {
  const Uses uses(graph);
  std::vector<NodeId> convs;
  for (NodeId id : graph.order) {
    if (!graph.node(id).removed && is_op(graph.node(id), "Conv")) convs.push_back(id);
  }
  const auto fit = std::ranges::count_if(
      convs, [&](NodeId id) { return match_conv(graph, uses, id).has_value(); });
  // Others run over blocks of float channels: going to and fro costs more than it saves.
  if (fit == 0 || 4 * static_cast<size_t>(fit) < 3 * convs.size()) return false;
  for (NodeId id : convs) {  // what one replaces, the next one reads
    if (const auto found = match_conv(graph, uses, id)) replace_conv(graph, *found);
  }
  return true;
}

}  // namespace

bool fuse_quantize_conv(Graph& graph, PassContext& context) {
  return context.bytes && each_graph(graph, quantize_convs);
}

}  // namespace tiercel::passes
