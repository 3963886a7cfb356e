// Products with constant matrices of 4 or 8 bits that stay packed: the operator WeightMatMul.
#pragma once
#include <optional>

#include "ir/graph.h"

namespace tiercel {

// A matrix [k, n] of numbers of `bits` bits, (number - zero point) · scale.
struct WeightMatrix {
  Tensor numbers;  // [k, n], or [n, k or more] where the axis is 1: whole bytes, or elements
  Tensor scales;   // a block of the depth for each row; [blocks, n], or [n, blocks]
  Tensor zeros;    // as the scales, packed as the numbers; invalid: zero_point, of their type
  int64_t axis = 0, bits = 4, block = 0, n = 0, k = 0, zero_point = 0, accuracy_level = 0;
  bool is_signed = false;
};

// Inputs from B on, and attributes, of a product with `w`; nullopt where the operator has no
// meaning for it: blocks of odd extents, or scales that are not finite.
struct WeightOperands {
  std::vector<ValueId> inputs;
  Attributes attributes;
};
[[nodiscard]] std::optional<WeightOperands> weight_operands(Graph& graph, const WeightMatrix& w,
                                                            const std::string& name);

// A product of DequantizeLinear of such a matrix becomes one of its numbers.
bool multiply_weights(Graph& graph, NodeId id);

}  // namespace tiercel
