// Activations, fused matrix products and odd operators of com.microsoft as standard nodes.
#include <array>
#include <cmath>

#include "passes/expand.h"

namespace tiercel {
namespace {

bool gelu(Graph& graph, NodeId id) {
  Expander e(graph, id);
  return e.finish({e.op("Gelu", {e.input(0)})});
}

bool bias_gelu(Graph& graph, NodeId id) {
  Expander e(graph, id);
  return e.finish({e.op("Gelu", {e.op("Add", {e.input(0), e.input(1)})})});
}

bool fast_gelu(Graph& graph, NodeId id) {
  Expander e(graph, id);
  const ValueId x = e.has(1) ? e.op("Add", {e.input(0), e.input(1)}) : e.input(0);
  return e.finish({e.op("Gelu", {x}, with("approximate", std::string("tanh")))});
}

bool quick_gelu(Graph& graph, NodeId id) {
  Expander e(graph, id);
  const ValueId x = e.input(0);
  const double alpha = attr_float(e.node(), "alpha", 1.702);
  const ValueId scaled = e.op("Mul", {x, e.number(e.dtype(x), alpha)});
  return e.finish({e.op("Mul", {x, e.op("Sigmoid", {scaled})})});
}

bool simplified_layer_norm(Graph& graph, NodeId id) {
  Expander e(graph, id);
  if (e.wants(1)) return false;
  Attributes attributes = with("axis", attr_int(e.node(), "axis", -1));
  attributes.set("epsilon", attr_float(e.node(), "epsilon", 1e-5));
  return e.finish({e.op("RMSNormalization", {e.input(0), e.input(1)}, std::move(attributes))});
}

// The named activation with its parameters, behind a fused product.
ValueId activated(Expander& e, ValueId x, const std::string& name,
                  const std::vector<double>& params) {
  if (name.empty()) return x;
  const auto param = [&](size_t i, double fallback) {
    return i < params.size() ? params[i] : fallback;
  };
  if (name == "Clip") {
    const double infinity = HUGE_VAL;
    return e.op("Clip", {x, e.number(e.dtype(x), param(0, -infinity)),
                         e.number(e.dtype(x), param(1, infinity))});
  }
  if (name == "LeakyRelu") return e.op("LeakyRelu", {x}, with("alpha", param(0, 0.01)));
  if (name == "HardSigmoid") {
    Attributes attributes = with("alpha", param(0, 0.2));
    attributes.set("beta", param(1, 0.5));
    return e.op("HardSigmoid", {x}, std::move(attributes));
  }
  if (name != "Relu" && name != "Sigmoid" && name != "Tanh" && name != "HardSwish") {
    e.fail(concat("unknown activation ", name));
  }
  return e.op(name, {x});
}

bool fused_conv(Graph& graph, NodeId id) {
  Expander e(graph, id);
  Attributes attributes = e.node().attributes;
  attributes.erase("activation");
  attributes.erase("activation_params");
  std::vector<ValueId> inputs = {e.input(0), e.input(1)};
  if (e.has(2)) inputs.push_back(e.input(2));
  ValueId y = e.op("Conv", std::move(inputs), std::move(attributes));
  if (e.has(3)) y = e.op("Add", {y, e.input(3)});
  const auto* params = e.node().attributes.get<std::vector<double>>("activation_params");
  return e.finish({activated(e, y, attr_string(e.node(), "activation"),
                             params ? *params : std::vector<double>{})});
}

bool fused_gemm(Graph& graph, NodeId id) {
  Expander e(graph, id);
  Attributes attributes;
  for (const Attributes::Entry& entry : e.node().attributes) {
    if (!entry.name.starts_with("activation")) attributes.set(entry.name, entry.value);
  }
  std::vector<ValueId> inputs = {e.input(0), e.input(1)};
  if (e.has(2)) inputs.push_back(e.input(2));
  const ValueId y = e.op("Gemm", std::move(inputs), std::move(attributes));
  std::vector<double> params;
  if (e.node().attributes.find("activation_alpha")) {
    params = {attr_float(e.node(), "activation_alpha"), attr_float(e.node(), "activation_beta")};
  }
  return e.finish({activated(e, y, attr_string(e.node(), "activation"), params)});
}

// One operand with its last axes swapped and its first axis moved in front of the last, as asked.
ValueId operand(Expander& e, ValueId x, bool transpose, bool batch) {
  const auto& shape = e.type(x).shape;
  if (!transpose && !batch) return x;
  if (!shape) e.fail("the rank of an operand to transpose is not known");
  const auto rank = static_cast<int64_t>(shape->size());
  if (rank < 2) return x;
  std::vector<int64_t> order;
  for (int64_t i = 0; i < rank; ++i) order.push_back(i);
  if (batch) {  // [M, b0, b1, K] to [b0, b1, M, K]
    order.erase(order.begin());
    order.insert(order.end() - 1, 0);
  }
  if (transpose) std::swap(order[order.size() - 1], order[order.size() - 2]);
  return e.op("Transpose", {x}, with("perm", order));
}

bool fused_mat_mul(Graph& graph, NodeId id) {
  Expander e(graph, id);
  const auto flag = [&](const char* name) { return attr_int(e.node(), name) != 0; };
  const ValueId a = operand(e, e.input(0), flag("transA"), flag("transBatchA"));
  const ValueId b = operand(e, e.input(1), flag("transB"), flag("transBatchB"));
  ValueId y = e.op("MatMul", {a, b});
  const double alpha = attr_float(e.node(), "alpha", 1);
  if (alpha != 1) y = e.op("Mul", {y, e.number(e.dtype(y), alpha)});
  return e.finish({y});
}

// Distances between every row of A and every row of B.
bool c_dist(Graph& graph, NodeId id) {
  Expander e(graph, id);
  const std::string metric = attr_string(e.node(), "metric", "sqeuclidean");
  if (metric != "sqeuclidean" && metric != "euclidean") {
    e.fail(concat("metric is \"", metric, "\"; expected euclidean or sqeuclidean"));
  }
  const ValueId a = e.op("Unsqueeze", {e.input(0), e.ints({1})});
  const ValueId b = e.op("Unsqueeze", {e.input(1), e.ints({0})});
  const ValueId squares =
      e.op("ReduceSumSquare", {e.op("Sub", {a, b}), e.ints({-1})}, with("keepdims", int64_t{0}));
  return e.finish({metric == "euclidean" ? e.op("Sqrt", {squares}) : squares});
}

bool trilu(Graph& graph, NodeId id) {
  Expander e(graph, id);
  std::vector<ValueId> inputs = {e.input(0)};
  if (e.has(1)) inputs.push_back(e.input(1));
  return e.finish(
      {e.op("Trilu", std::move(inputs), with("upper", attr_int(e.node(), "upper", 1)))});
}

// Values in the order of their first place, where each element went, and counts.
bool unique(Graph& graph, NodeId id) {
  Expander e(graph, id);
  const auto made = e.ops("Unique", {e.input(0)}, 4, with("sorted", int64_t{0}));
  return e.finish({made[0], made[2], made[3]});
}

// The bits of a packed constant as a tensor of that many elements.
Tensor packed_elements(const Tensor& bytes, DType dtype, Dims dims) {
  return Tensor(dtype, std::move(dims), bytes.buffer(), bytes.raw());
}

// Weights of 2, 4 or 8 bits, quantised in blocks along K, widened by one DequantizeLinear.
bool mat_mul_n_bits(Graph& graph, NodeId id) {
  Expander e(graph, id);
  const int64_t k = attr_int(e.node(), "K"), n = attr_int(e.node(), "N");
  const int64_t bits = attr_int(e.node(), "bits", 4), block = attr_int(e.node(), "block_size");
  const Tensor* b = graph.constant(e.input(1));
  if (!b || e.has(4) || (bits != 2 && bits != 4 && bits != 8)) return false;
  if (k < 1 || n < 1 || block < 1) e.fail("K, N and block_size are not positive");
  const int64_t blocks = (k + block - 1) / block;
  if (b->bytes() != n * blocks * (block * bits / 8)) {
    e.fail(concat("B has ", b->bytes(), " bytes; expected ", n * blocks * (block * bits / 8)));
  }
  const DType packed = bits == 2 ? DType::UInt2 : bits == 4 ? DType::UInt4 : DType::UInt8;
  const DType dtype = e.dtype(e.input(2));
  const ValueId weights = e.constant(packed_elements(*b, packed, {n, blocks, block}));
  const ValueId scales = e.op("Reshape", {e.input(2), e.ints({n, blocks, 1})});
  const ValueId wide = e.cast(weights, dtype);
  ValueId zero = e.number(dtype, std::ldexp(1.0, static_cast<int>(bits) - 1));
  if (e.has(3) && e.dtype(e.input(3)) != DType::UInt8) {
    zero = e.cast(e.op("Reshape", {e.input(3), e.ints({n, blocks, 1})}), dtype);
  } else if (e.has(3)) {
    const Tensor* points = graph.constant(e.input(3));
    if (!points) return false;
    const int64_t stored = (blocks * bits + 7) / 8 * 8 / bits;  // rows end on whole bytes
    if (points->bytes() * 8 != n * stored * bits) e.fail("zero_points has the wrong size");
    const ValueId all = e.cast(e.constant(packed_elements(*points, packed, {n, stored})), dtype);
    const ValueId kept = e.op("Slice", {all, e.ints({0}), e.ints({blocks}), e.ints({1})});
    zero = e.op("Unsqueeze", {kept, e.ints({2})});
  }
  const ValueId blocked = e.op("Mul", {e.op("Sub", {wide, zero}), scales});
  const ValueId rows = e.op("Reshape", {blocked, e.ints({n, blocks * block})});
  const ValueId cut = e.op("Slice", {rows, e.ints({0}), e.ints({k}), e.ints({1})});
  ValueId y = e.op("MatMul", {e.input(0), e.op("Transpose", {cut})});
  if (e.has(5)) y = e.op("Add", {y, e.input(5)});
  return e.finish({y});
}

constexpr Expansion kContrib[] = {
    {"com.microsoft", "Gelu", gelu},
    {"com.microsoft", "BiasGelu", bias_gelu},
    {"com.microsoft", "FastGelu", fast_gelu},
    {"com.microsoft", "QuickGelu", quick_gelu},
    {"", "SimplifiedLayerNormalization", simplified_layer_norm},
    {"com.microsoft", "FusedConv", fused_conv},
    {"com.microsoft", "FusedGemm", fused_gemm},
    {"com.microsoft", "FusedMatMul", fused_mat_mul},
    {"com.microsoft", "CDist", c_dist},
    {"com.microsoft", "Trilu", trilu},
    {"com.microsoft", "Unique", unique},
    {"com.microsoft", "MatMulNBits", mat_mul_n_bits},
};

}  // namespace

std::span<const Expansion> contrib_expansions() { return kContrib; }

}  // namespace tiercel
