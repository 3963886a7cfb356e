// Matrix products of com.microsoft with transposed operands and activations as standard nodes.
#include <utility>

#include "passes/activate.h"

namespace tiercel {
namespace {

bool fused_gemm(Graph& graph, NodeId id) {
  Composer e(graph, id);
  Attributes attributes =
      e.attributes_but({"activation", "activation_alpha", "activation_beta", "activation_gamma"});
  std::vector<ValueId> inputs = {e.input(0), e.input(1)};
  if (e.has(2)) inputs.push_back(e.input(2));
  return e.finish({activated_by_name(e, e.op("Gemm", std::move(inputs), std::move(attributes)))});
}

// One operand with its last axes swapped and its first axis moved in front of the last, as asked.
ValueId operand(Composer& e, size_t i, bool transpose, bool batch) {
  const ValueId x = e.input(i);
  if (!transpose && !batch) return x;
  const int64_t rank = e.rank(x, i == 0 ? "A" : "B");
  if (rank < 2) return x;
  std::vector<int64_t> order;
  for (int64_t axis = 0; axis < rank; ++axis) order.push_back(axis);
  if (batch) {  // [M, b0, b1, K] to [b0, b1, M, K]
    order.erase(order.begin());
    order.insert(order.end() - 1, 0);
  }
  if (transpose) std::swap(order[order.size() - 1], order[order.size() - 2]);
  return e.transpose(x, order);
}

ValueId fused_product(Composer& e) {
  const ValueId a = operand(e, 0, e.flag("transA"), e.flag("transBatchA"));
  const ValueId b = operand(e, 1, e.flag("transB"), e.flag("transBatchB"));
  return e.scaled(e.mat_mul(a, b), e.real("alpha", 1));
}

bool fused_mat_mul(Graph& graph, NodeId id) {
  Composer e(graph, id);
  return e.finish({fused_product(e)});
}

bool fused_mat_mul_activation(Graph& graph, NodeId id) {
  Composer e(graph, id);
  if (e.text("activation") != "Softmax") return e.finish({activated_by_name(e, fused_product(e))});
  return e.finish(
      {e.op("Softmax", {fused_product(e)}, with("axis", e.integer("activation_axis", -1)))});
}

bool gemm_fast_gelu(Graph& graph, NodeId id) {
  Composer e(graph, id);
  const ValueId y = e.sum(e.mat_mul(e.input(0), e.input(1)), e.input(2));
  return e.finish({e.op("Gelu", {y}, with("approximate", std::string("tanh")))});
}

bool mat_mul_integer16(Graph& graph, NodeId id) {
  Composer e(graph, id);
  const DType dtype = e.dtype(e.input(0)) == DType::UInt16 ? DType::UInt32 : DType::Int32;
  return e.finish({e.mat_mul(e.cast(e.input(0), dtype), e.cast(e.input(1), dtype))});
}

// Distances between every row of A and every row of B.
bool c_dist(Graph& graph, NodeId id) {
  Composer e(graph, id);
  e.expect_text("metric", {"euclidean", "sqeuclidean"});
  const ValueId a = e.unsqueeze(e.input(0), {1});
  const ValueId b = e.unsqueeze(e.input(1), {0});
  const ValueId squares = e.reduce("ReduceSumSquare", e.sub(a, b), {-1}, 0);
  return e.finish({e.text("metric") == "euclidean" ? e.op("Sqrt", {squares}) : squares});
}

constexpr Expansion kMatrix[] = {
    {"com.microsoft", "FusedGemm", fused_gemm},
    {"com.microsoft", "FusedMatMul", fused_mat_mul},
    {"com.microsoft", "TransposeMatMul", fused_mat_mul},
    {"com.microsoft", "FusedMatMulActivation", fused_mat_mul_activation},
    {"com.microsoft", "GemmFastGelu", gemm_fast_gelu},
    {"com.microsoft", "MatMulInteger16", mat_mul_integer16},
    {"com.microsoft", "CDist", c_dist},
};

}  // namespace

std::span<const Expansion> contrib_matrix_expansions() { return kMatrix; }

}  // namespace tiercel
