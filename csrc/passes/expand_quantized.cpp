// Quantised operators of com.microsoft as QDQ groups and integer products.
#include <algorithm>
#include <array>

#include "passes/compose.h"

namespace tiercel {
namespace {

// Inputs x, scale, zero point from `at` on.
ValueId real(Composer& e, size_t at) {
  std::vector<ValueId> inputs = {e.input(at), e.input(at + 1)};
  if (e.has(at + 2)) inputs.push_back(e.input(at + 2));
  return e.op("DequantizeLinear", std::move(inputs));
}

// Scale and zero point from `at` on.
ValueId quantized(Composer& e, ValueId y, size_t at) {
  std::vector<ValueId> inputs = {y, e.input(at)};
  if (e.has(at + 1)) inputs.push_back(e.input(at + 1));
  const DType dtype = e.dtype(e.node().outputs[0]);
  return e.op("QuantizeLinear", std::move(inputs),
              with("output_dtype", static_cast<int64_t>(dtype)));
}

bool binary(Graph& graph, NodeId id, std::string_view name) {
  Composer e(graph, id);
  return e.finish({quantized(e, e.op(name, {real(e, 0), real(e, 3)}), 6)});
}

bool q_add(Graph& graph, NodeId id) { return binary(graph, id, "Add"); }
bool q_mul(Graph& graph, NodeId id) { return binary(graph, id, "Mul"); }

bool unary(Graph& graph, NodeId id, std::string_view name, Attributes attributes) {
  Composer e(graph, id);
  return e.finish({quantized(e, e.op(name, {real(e, 0)}, std::move(attributes)), 3)});
}

bool q_sigmoid(Graph& graph, NodeId id) { return unary(graph, id, "Sigmoid", {}); }

bool q_leaky_relu(Graph& graph, NodeId id) {
  return unary(graph, id, "LeakyRelu", with("alpha", attr_float(graph.node(id), "alpha", 0.01)));
}

// Before opset 13 softmax ran over `axis` and all that follow.
bool q_softmax(Graph& graph, NodeId id) {
  Composer e(graph, id);
  const ValueId x = real(e, 0);
  const int64_t rank = e.rank(x, "X");
  int64_t axis = e.integer("axis", -1);
  if (axis < 0) axis += rank;
  if (axis < 0 || axis >= rank) e.refuse("axis", concat("an axis of X, which has rank ", rank));
  if (e.integer("opset", 13) >= 13) {
    return e.finish({quantized(e, e.op("Softmax", {x}, with("axis", axis)), 3)});
  }
  const ValueId rows = e.op("Flatten", {x}, with("axis", axis));
  const ValueId y = e.op("Softmax", {rows}, with("axis", int64_t{1}));
  return e.finish({quantized(e, e.reshape_to(y, e.op("Shape", {x})), 3)});
}

// Channels move to where the standard has them, and back.
ValueId pooled(Composer& e, std::string_view name, Attributes attributes) {
  const ValueId x = real(e, 0);
  if (!e.flag("channels_last")) return e.op(name, {x}, std::move(attributes));
  return e.channels_last(e.op(name, {e.channels_first(x)}, std::move(attributes)));
}

// Numbers of `x` for each channel where `other` has them.
ValueId as_many(Composer& e, ValueId x, ValueId other) {
  const Shape *one = e.shape(x), *all = e.shape(other);
  const bool differ = one && all && one->empty() && !all->empty();
  return differ ? e.op("Expand", {x, e.op("Shape", {other})}) : x;
}

// Weights [M, 1, …] of few taps: what the kernel of QLinearConv for single channels takes.
bool is_depthwise(const Tensor& weights) {
  constexpr int64_t kMostTaps = 128;
  const Dims& dims = weights.dims();
  if (dims.size() < 3 || dims.size() > 4 || dims[1] != 1) return false;
  return weights.size() <= kMostTaps * dims[0];
}

// Few channels of a group make no matrix product: constant weights then run between floats, as
// convolutions of QDQ groups do. Channels that stand alone have a kernel of their own.
bool q_linear_conv_of_standard(Graph& graph, NodeId id) {
  Composer e(graph, id);
  const Tensor* weights = graph.constant(e.input(3));
  if (!weights || !graph.constant(e.input(4)) || weights->dims().empty()) return false;
  if (weights->dims()[0] / std::max<int64_t>(e.integer("group", 1), 1) >= 4) return false;
  if (is_depthwise(*weights)) return false;
  const ValueId x = e.op("DequantizeLinear", {e.input(0), e.input(1), e.input(2)});
  const Attributes channels = with("axis", int64_t{0});
  const ValueId scale = as_many(e, e.input(4), e.input(5));
  const ValueId zero = as_many(e, e.input(5), e.input(4));
  std::vector<ValueId> inputs = {x, e.op("DequantizeLinear", {e.input(3), scale, zero}, channels)};
  if (e.has(8)) {  // counts in units of both scales
    const ValueId unit = e.mul(e.input(1), e.input(4));
    inputs.push_back(e.mul(e.cast(e.input(8), e.dtype(unit)), unit));
  }
  const ValueId y = e.op("Conv", std::move(inputs), e.node().attributes);
  return e.finish({quantized(e, y, 6)});
}

bool q_reduce_mean(Graph& graph, NodeId id) {
  Composer e(graph, id);
  const auto* axes = e.node().attributes.get<std::vector<int64_t>>("axes");
  std::vector<ValueId> inputs = {real(e, 0)};
  if (axes && !axes->empty()) inputs.push_back(e.ints(*axes));
  const ValueId y =
      e.op("ReduceMean", std::move(inputs), with("keepdims", e.integer("keepdims", 1)));
  return e.finish({quantized(e, y, 3)});
}

bool q_where(Graph& graph, NodeId id) {
  Composer e(graph, id);
  return e.finish({quantized(e, e.where(e.input(0), real(e, 1), real(e, 4)), 7)});
}

bool mul_integer(Graph& graph, NodeId id) {
  Composer e(graph, id);
  const auto whole = [&](size_t at) {
    const ValueId x = e.cast(e.input(at), DType::Int32);
    return e.has(at + 1) ? e.sub(x, e.cast(e.input(at + 1), DType::Int32)) : x;
  };
  return e.finish({e.mul(whole(0), whole(2))});
}

bool reduce_sum_integer(Graph& graph, NodeId id) {
  Composer e(graph, id);
  const auto* axes = e.node().attributes.get<std::vector<int64_t>>("axes");
  const bool is_signed = e.dtype(e.input(0)) == DType::Int8;
  std::vector<ValueId> inputs = {e.cast(e.input(0), is_signed ? DType::Int32 : DType::UInt32)};
  if (axes && !axes->empty()) inputs.push_back(e.ints(*axes));
  return e.finish(
      {e.op("ReduceSum", std::move(inputs), with("keepdims", e.integer("keepdims", 1)))});
}

bool q_global_average_pool(Graph& graph, NodeId id) {
  Composer e(graph, id);
  return e.finish({quantized(e, pooled(e, "GlobalAveragePool", {}), 3)});
}

bool q_average_pool(Graph& graph, NodeId id) {
  Composer e(graph, id);
  Attributes attributes = e.node().attributes;
  attributes.erase("channels_last");
  return e.finish({quantized(e, pooled(e, "AveragePool", std::move(attributes)), 3)});
}

bool q_concat(Graph& graph, NodeId id) {
  Composer e(graph, id);
  std::vector<ValueId> parts;
  for (size_t i = 2; i + 2 < e.node().inputs.size() + 1 && e.has(i); i += 3) {
    parts.push_back(real(e, i));
  }
  const ValueId y = e.op("Concat", std::move(parts), with("axis", attr_int(e.node(), "axis")));
  return e.finish({quantized(e, y, 0)});
}

bool q_gemm(Graph& graph, NodeId id) {
  Composer e(graph, id);
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
ValueId scaled_product(Composer& e, const std::vector<ValueId>& product, ValueId a_scale,
                       ValueId b_scale, size_t bias) {
  ValueId y = e.cast(e.op("MatMulInteger", product), DType::Float);
  y = e.op("Mul", {y, e.op("Mul", {a_scale, b_scale})});
  return e.has(bias) ? e.op("Add", {y, e.input(bias)}) : y;
}

bool mat_mul_integer_to_float(Graph& graph, NodeId id) {
  Composer e(graph, id);
  const std::vector<ValueId> product = {e.input(0), e.input(1), e.input(4), e.input(5)};
  return e.finish({scaled_product(e, product, e.input(2), e.input(3), 6)});
}

bool dynamic_quantize_mat_mul(Graph& graph, NodeId id) {
  Composer e(graph, id);
  const auto a = e.ops("DynamicQuantizeLinear", {e.input(0)}, 3);
  return e.finish({scaled_product(e, {a[0], e.input(1), a[2], e.input(3)}, a[1], e.input(2), 4)});
}

// The standard's, whose axis must be one of x even where it has no meaning.
bool same_linear(Graph& graph, NodeId id) {
  Composer e(graph, id);
  const Shape* scale = e.shape(e.input(1));
  Attributes attributes;
  if (!scale || !scale->empty()) attributes.set("axis", e.integer("axis", 1));
  return e.finish({e.op(e.node().op_type, e.node().inputs, std::move(attributes))});
}

constexpr Expansion kQuantized[] = {
    {"", "QLinearConv", q_linear_conv_of_standard},
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
    {"com.microsoft", "QLinearReduceMean", q_reduce_mean},
    {"com.microsoft", "QLinearWhere", q_where},
    {"com.microsoft", "MulInteger", mul_integer},
    {"com.microsoft", "ReduceSumInteger", reduce_sum_integer},
    {"com.microsoft", "QuantizeLinear", same_linear},
    {"com.microsoft", "DequantizeLinear", same_linear},
};

}  // namespace

std::span<const Expansion> quantized_expansions() { return kQuantized; }

}  // namespace tiercel
