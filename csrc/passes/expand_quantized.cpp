// Quantised operators of com.microsoft as QDQ groups and integer products.
#include <array>

#include "passes/expand.h"

namespace tiercel {
namespace {

// Inputs x, scale, zero point from `at` on.
ValueId real(Expander& e, size_t at) {
  std::vector<ValueId> inputs = {e.input(at), e.input(at + 1)};
  if (e.has(at + 2)) inputs.push_back(e.input(at + 2));
  return e.op("DequantizeLinear", std::move(inputs));
}

// Scale and zero point from `at` on.
ValueId quantized(Expander& e, ValueId y, size_t at) {
  std::vector<ValueId> inputs = {y, e.input(at)};
  if (e.has(at + 1)) inputs.push_back(e.input(at + 1));
  return e.op("QuantizeLinear", std::move(inputs));
}

bool binary(Graph& graph, NodeId id, std::string_view name) {
  Expander e(graph, id);
  return e.finish({quantized(e, e.op(name, {real(e, 0), real(e, 3)}), 6)});
}

bool q_add(Graph& graph, NodeId id) { return binary(graph, id, "Add"); }
bool q_mul(Graph& graph, NodeId id) { return binary(graph, id, "Mul"); }

bool unary(Graph& graph, NodeId id, std::string_view name, Attributes attributes) {
  Expander e(graph, id);
  return e.finish({quantized(e, e.op(name, {real(e, 0)}, std::move(attributes)), 3)});
}

bool q_sigmoid(Graph& graph, NodeId id) { return unary(graph, id, "Sigmoid", {}); }

bool q_leaky_relu(Graph& graph, NodeId id) {
  return unary(graph, id, "LeakyRelu", with("alpha", attr_float(graph.node(id), "alpha", 0.01)));
}

bool q_softmax(Graph& graph, NodeId id) {
  if (attr_int(graph.node(id), "opset", 13) < 13) return false;  // softmax over flattened axes
  return unary(graph, id, "Softmax", with("axis", attr_int(graph.node(id), "axis", -1)));
}

// Channels move to where the standard has them, and back.
ValueId pooled(Expander& e, std::string_view name, Attributes attributes) {
  const ValueId x = real(e, 0);
  if (attr_int(e.node(), "channels_last") == 0) return e.op(name, {x}, std::move(attributes));
  const auto& shape = e.type(x).shape;
  if (!shape) e.fail("the rank of X is not known");
  const auto rank = static_cast<int64_t>(shape->size());
  std::vector<int64_t> first = {0, rank - 1}, last = {0};
  for (int64_t i = 1; i + 1 < rank; ++i) first.push_back(i);
  for (int64_t i = 2; i < rank; ++i) last.push_back(i);
  last.push_back(1);
  const ValueId moved = e.op("Transpose", {x}, with("perm", first));
  return e.op("Transpose", {e.op(name, {moved}, std::move(attributes))}, with("perm", last));
}

bool q_global_average_pool(Graph& graph, NodeId id) {
  Expander e(graph, id);
  return e.finish({quantized(e, pooled(e, "GlobalAveragePool", {}), 3)});
}

bool q_average_pool(Graph& graph, NodeId id) {
  Expander e(graph, id);
  Attributes attributes = e.node().attributes;
  attributes.erase("channels_last");
  return e.finish({quantized(e, pooled(e, "AveragePool", std::move(attributes)), 3)});
}

bool q_concat(Graph& graph, NodeId id) {
  Expander e(graph, id);
  std::vector<ValueId> parts;
  for (size_t i = 2; i + 2 < e.node().inputs.size() + 1 && e.has(i); i += 3) {
    parts.push_back(real(e, i));
  }
  const ValueId y = e.op("Concat", std::move(parts), with("axis", attr_int(e.node(), "axis")));
  return e.finish({quantized(e, y, 0)});
}

bool q_gemm(Graph& graph, NodeId id) {
  Expander e(graph, id);
  Attributes attributes = with("transA", attr_int(e.node(), "transA"));
  attributes.set("transB", attr_int(e.node(), "transB"));
  const double alpha = attr_float(e.node(), "alpha", 1);
  attributes.set("alpha", alpha);
  const ValueId a = real(e, 0);
  std::vector<ValueId> b_inputs = {e.input(3), e.input(4), e.input(5)};
  const int64_t column = attr_int(e.node(), "transB") != 0 ? 0 : 1;
  const ValueId b = e.op("DequantizeLinear", std::move(b_inputs), with("axis", column));
  ValueId y = e.op("Gemm", {a, b}, std::move(attributes));
  if (e.has(6)) {  // C counts in units of alpha·a_scale·b_scale
    const ValueId unit = e.op("Mul", {e.input(1), e.input(4)});
    const ValueId c = e.op("Mul", {e.cast(e.input(6), DType::Float), unit});
    y = e.op("Add", {y, alpha == 1 ? c : e.op("Mul", {c, e.number(DType::Float, alpha)})});
  }
  return e.finish({e.has(7) ? quantized(e, y, 7) : y});
}

// An integer product scaled back, plus bias.
ValueId scaled_product(Expander& e, const std::vector<ValueId>& product, ValueId a_scale,
                       ValueId b_scale, size_t bias) {
  ValueId y = e.cast(e.op("MatMulInteger", product), DType::Float);
  y = e.op("Mul", {y, e.op("Mul", {a_scale, b_scale})});
  return e.has(bias) ? e.op("Add", {y, e.input(bias)}) : y;
}

bool mat_mul_integer_to_float(Graph& graph, NodeId id) {
  Expander e(graph, id);
  const std::vector<ValueId> product = {e.input(0), e.input(1), e.input(4), e.input(5)};
  return e.finish({scaled_product(e, product, e.input(2), e.input(3), 6)});
}

bool dynamic_quantize_mat_mul(Graph& graph, NodeId id) {
  Expander e(graph, id);
  const auto a = e.ops("DynamicQuantizeLinear", {e.input(0)}, 3);
  return e.finish({scaled_product(e, {a[0], e.input(1), a[2], e.input(3)}, a[1], e.input(2), 4)});
}

bool quantize(Graph& graph, NodeId id) {
  Expander e(graph, id);
  return e.finish(
      {e.op("QuantizeLinear", e.node().inputs, with("axis", attr_int(e.node(), "axis", 1)))});
}

bool dequantize(Graph& graph, NodeId id) {
  Expander e(graph, id);
  return e.finish(
      {e.op("DequantizeLinear", e.node().inputs, with("axis", attr_int(e.node(), "axis", 1)))});
}

constexpr Expansion kQuantized[] = {
    {"com.microsoft", "QLinearAdd", q_add},
    {"com.microsoft", "QLinearMul", q_mul},
    {"com.microsoft", "QLinearSigmoid", q_sigmoid},
    {"com.microsoft", "QLinearLeakyRelu", q_leaky_relu},
    {"com.microsoft", "QLinearSoftmax", q_softmax},
    {"com.microsoft", "QLinearGlobalAveragePool", q_global_average_pool},
    {"com.microsoft", "QLinearAveragePool", q_average_pool},
    {"com.microsoft", "QLinearConcat", q_concat},
    {"com.microsoft", "QGemm", q_gemm},
    {"com.microsoft", "MatMulIntegerToFloat", mat_mul_integer_to_float},
    {"com.microsoft", "DynamicQuantizeMatMul", dynamic_quantize_mat_mul},
    {"com.microsoft", "QuantizeLinear", quantize},
    {"com.microsoft", "DequantizeLinear", dequantize},
};

}  // namespace

std::span<const Expansion> quantized_expansions() { return kQuantized; }

}  // namespace tiercel
