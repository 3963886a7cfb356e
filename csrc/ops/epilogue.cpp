// The element type that a program behind a node gives its output 0.
#include "ops/epilogue.h"

#include <algorithm>

namespace tiercel {

namespace {

struct Giver {
  std::string_view domain, op;
};

constexpr Giver kGiveSums[] = {
    {"", "MatMul"}, {"", "Gemm"}, {"tiercel", "PermutedMatMul"}, {"tiercel", "WeightMatMul"}};

}  // namespace

bool gives_sums(const Node& node) {
  return std::ranges::any_of(kGiveSums, [&](const Giver& giver) {
    return node.op_type == giver.op && node.domain == giver.domain;
  });
}

DType epilogue_dtype(const Node& node, DType dtype) {
  const auto* epilogue = node.attributes.get<std::shared_ptr<Graph>>("epilogue");
  const bool half = dtype_is_half(dtype);
  if (!epilogue || !half || !gives_sums(node) || (*epilogue)->outputs.empty()) return dtype;
  const DType result = (*epilogue)->value((*epilogue)->outputs[0]).type.dtype;
  return result == DType::Float ? result : dtype;
}

}  // namespace tiercel
