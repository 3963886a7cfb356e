// Matrix products of constant weights of 4 or 8 bits: on integers where the other operand is
// dequantised too; else by packed numbers where DequantizeLinear makes them real, or by whole ones
// with the scale behind the product, where the processor has tiles.
#include <algorithm>

#include "base/cpu_info.h"
#include "passes/edit.h"
#include "passes/passes.h"
#include "passes/weight_matmul.h"

namespace tiercel::passes {

namespace {

constexpr int64_t kFewestWeights = 32;  // rows and columns of weights, of one tile

// Weights [K, N] (or [N, K] where they are transposed) as (bytes - zero) * scale.
struct Weights {
  ValueId bytes = kNone;
  ValueId zero = kNone;   // of the bytes' type; kNone: none
  ValueId whole = kNone;  // bytes - zero as floats, where the graph has them
  ValueId scale = kNone;  // one number, or one for each column
};

const Tensor* bytes_of(const Graph& graph, ValueId id) {
  const Tensor* tensor = id == kNone ? nullptr : graph.constant(id);
  if (tensor == nullptr || tensor->rank() != 2) return nullptr;
  if (tensor->dtype() != DType::Int8 && tensor->dtype() != DType::UInt8) return nullptr;
  return std::ranges::min(tensor->dims()) < kFewestWeights ? nullptr : tensor;
}

bool is_scale(const Graph& graph, ValueId id, int64_t columns) {
  const Tensor* scale = graph.constant(id);
  if (!scale || scale->dtype() != DType::Float || scale->rank() > 2) return false;
  if (scale->size() == 1) return true;
  return scale->size() == columns && scale->dims().back() == columns;
}

// By DequantizeLinear, per tensor or along the axis of the columns.
std::optional<Weights> dequantised(Graph& graph, ValueId id, int64_t column_axis) {
  const Node* node = producer(graph, id, "DequantizeLinear");
  const Tensor* bytes = node ? bytes_of(graph, node->inputs[0]) : nullptr;
  if (!bytes || attr_int(*node, "block_size", 0) != 0) return std::nullopt;
  const Tensor* scale = graph.constant(node->inputs[1]);
  if (!scale || scale->rank() > 1) return std::nullopt;
  if (!is_scale(graph, node->inputs[1], bytes->dims()[static_cast<size_t>(column_axis)]))
    return std::nullopt;
  const int64_t axis = attr_int(*node, "axis", 1);
  if (scale->rank() == 1 && axis != column_axis && axis != column_axis - 2) return std::nullopt;
  Weights found{.bytes = node->inputs[0], .scale = node->inputs[1]};
  if (!has_input(*node, 2)) return found;
  const Tensor* zero = graph.constant(node->inputs[2]);
  if (!zero || zero->dims() != scale->dims()) return std::nullopt;
  found.zero = node->inputs[2];
  return found;
}

// By Cast and Mul, maybe with a zero point taken away in between.
std::optional<Weights> multiplied(Graph& graph, ValueId id) {
  const Node* mul = producer(graph, id, "Mul");
  if (!mul) return std::nullopt;
  for (size_t i = 0; i < 2; ++i) {
    const ValueId whole = mul->inputs[i];
    const Node* cast = producer(graph, whole, "Cast");
    if (const Node* difference = producer(graph, whole, "Sub")) {
      const ValueId zero = difference->inputs[1];
      const Node* other = producer(graph, zero, "Cast");
      if (!graph.constant(other ? other->inputs[0] : zero)) continue;
      if (!same_shape(graph, whole, difference->inputs[0])) continue;
      cast = producer(graph, difference->inputs[0], "Cast");
    }
    const Tensor* bytes = cast ? bytes_of(graph, cast->inputs[0]) : nullptr;
    if (bytes && is_scale(graph, mul->inputs[1 - i], bytes->dims()[1])) {
      return Weights{.bytes = cast->inputs[0], .whole = whole, .scale = mul->inputs[1 - i]};
    }
  }
  return std::nullopt;
}

// A constant scale as a vector, or as one number, times `factor`.
ValueId scaled(Graph& graph, ValueId id, double factor, const std::string& name) {
  const Tensor& from = *graph.constant(id);
  Tensor made(DType::Float, from.size() == 1 ? Dims{} : Dims{from.size()});
  for (int64_t i = 0; i < from.size(); ++i) {
    made.data<float>()[i] = static_cast<float>(from.data<float>()[i] * factor);
  }
  return graph.add_constant(name + "_scale", std::move(made));
}

ValueId as_float(Graph& graph, NodeId before, ValueId id, const std::string& name) {
  Attributes attributes;
  attributes.set("to", static_cast<int64_t>(DType::Float));
  const Type type = Type::tensor(DType::Float, *graph.value(id).type.shape);
  return insert_node(graph, before, {"Cast", {id}, attributes}, type, name);
}

// The operand of a product that comes from bytes with one scale and zero point.
const Node* dequantised_operand(Graph& graph, ValueId id) {
  const Node* node = producer(graph, id, "DequantizeLinear");
  if (!node || !scalar(graph, node->inputs[1])) return nullptr;
  const DType dtype = graph.value(node->inputs[0]).type.dtype;
  if (dtype != DType::Int8 && dtype != DType::UInt8) return nullptr;
  if (has_input(*node, 2) && !scalar(graph, node->inputs[2])) return nullptr;
  return graph.value(node->inputs[0]).type.shape ? node : nullptr;
}

// The zero point as a number without dims: ranks of one mean one for each row.
ValueId plain_zero(Graph& graph, const Node& node) {
  const Tensor& from = *graph.constant(node.inputs[2]);
  return graph.add_constant(node.name + "_zero",
                            Tensor(from.dtype(), {}, from.buffer(), from.raw()));
}

// x · weights, as many numbers as `out` has: on integers where both come from bytes, else kNone.
ValueId bytes_product(Graph& graph, NodeId id, const Weights& weights) {
  const Node node = graph.node(id);
  const Type type = graph.value(node.outputs[0]).type;
  const Node* left = dequantised_operand(graph, node.inputs[0]);
  if (!left || graph.constant(left->inputs[0])) return kNone;
  const Node x = *left;
  std::vector<ValueId> inputs = {x.inputs[0], weights.bytes};
  if (has_input(x, 2) || weights.zero != kNone) {
    inputs.push_back(has_input(x, 2) ? plain_zero(graph, x) : kNone);
  }
  if (weights.zero != kNone) inputs.push_back(weights.zero);
  const ValueId sums = insert_node(graph, id, {"MatMulInteger", std::move(inputs)},
                                   Type::tensor(DType::Int32, *type.shape), node.name + "_sums");
  const ValueId floats = as_float(graph, id, sums, node.name + "_floats");
  const double factor = *scalar(graph, x.inputs[1]);
  const ValueId scale = scaled(graph, weights.scale, factor, node.name);
  return insert_node(graph, id, {"Mul", {floats, scale}}, type, node.name);
}

bool is_known_float(const Graph& graph, ValueId id) {
  return graph.value(id).type.dtype == DType::Float && graph.value(id).type.shape;
}

bool multiply_bytes(Graph& graph, NodeId id) {
  const ValueId out = graph.node(id).outputs[0];
  if (!is_known_float(graph, out)) return false;
  const auto weights = dequantised(graph, graph.node(id).inputs[1], 1);
  const ValueId made = weights ? bytes_product(graph, id, *weights) : kNone;
  if (made != kNone) redirect(graph, out, made);
  return made != kNone;
}

// The transpose of a matrix of bytes.
Tensor turned_bytes(const Tensor& from) {
  const int64_t rows = from.dims()[0], columns = from.dims()[1];
  Tensor made(from.dtype(), {columns, rows});
  const auto* source = static_cast<const uint8_t*>(from.raw());
  auto* target = static_cast<uint8_t*>(made.raw());
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) target[c * rows + r] = source[r * columns + c];
  }
  return made;
}

// Gemm without factors, as the product and the sum that it is.
bool multiply_bytes_and_add(Graph& graph, NodeId id) {
  const Node node = graph.node(id);
  const ValueId out = node.outputs[0];
  const bool plain = attr_float(node, "alpha", 1) == 1 && attr_float(node, "beta", 1) == 1;
  const bool across = attr_int(node, "transB", 0) != 0;
  if (!plain || attr_int(node, "transA", 0) != 0 || !is_known_float(graph, out)) return false;
  auto weights = dequantised(graph, node.inputs[1], across ? 0 : 1);
  const Node* left = weights ? dequantised_operand(graph, node.inputs[0]) : nullptr;
  if (!left || graph.constant(left->inputs[0])) return false;
  if (across) {
    weights->bytes =
        graph.add_constant(node.name + "_turned", turned_bytes(*graph.constant(weights->bytes)));
  }
  ValueId made = bytes_product(graph, id, *weights);
  if (has_input(node, 2)) {
    const Type type = graph.value(out).type;
    made = insert_node(graph, id, {"Add", {made, node.inputs[2]}}, type, node.name + "_add");
  }
  redirect(graph, out, made);
  return true;
}

bool scale_behind(Graph& graph, NodeId id) {
  const Node node = graph.node(id);
  const ValueId out = node.outputs[0];
  const Type type = graph.value(out).type;
  if (type.dtype != DType::Float || !type.shape || type.shape->empty()) return false;
  auto weights = multiplied(graph, node.inputs[1]);
  if (!weights) weights = dequantised(graph, node.inputs[1], 1);
  if (!weights) return false;
  ValueId whole = weights->whole;
  if (whole == kNone) {
    whole = as_float(graph, id, weights->bytes, node.name + "_bytes");
    if (weights->zero != kNone) {
      const ValueId zero = as_float(graph, id, weights->zero, node.name + "_zero");
      const Type same = graph.value(whole).type;
      whole = insert_node(graph, id, {"Sub", {whole, zero}}, same, node.name + "_whole");
    }
  }
  const ValueId sums =
      insert_node(graph, id, {"MatMul", {node.inputs[0], whole}}, type, node.name + "_sums");
  const ValueId scale = scaled(graph, weights->scale, 1, node.name);
  redirect(graph, out, insert_node(graph, id, {"Mul", {sums, scale}}, type, node.name));
  return true;
}

}  // namespace

bool fuse_quantize_matmul(Graph& graph, PassContext& context) {
  const bool has_bytes = context.bytes, has_tiles = isa_rank("amx") >= 0;
  return each_graph(graph, [&](Graph& g) {
    bool changed = false;
    const std::vector<NodeId> order = g.order;
    for (NodeId id : order) {
      const bool is_product = !g.node(id).removed && is_op(g.node(id), "MatMul");
      const bool is_gemm = !g.node(id).removed && is_op(g.node(id), "Gemm");
      if (is_product && has_bytes && multiply_bytes(g, id)) {
        changed = true;
      } else if (is_gemm && has_bytes && multiply_bytes_and_add(g, id)) {
        changed = true;
      } else if ((is_product || is_gemm) && multiply_weights(g, id)) {
        changed = true;
      } else if (is_product && has_tiles && scale_behind(g, id)) {
        changed = true;
      }
    }
    return changed;
  });
}

}  // namespace tiercel::passes
