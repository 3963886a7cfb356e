// Products with constant matrices of 4 or 8 bits that stay packed, from DequantizeLinear in front
// of MatMul and Gemm.
#include "passes/weight_matmul.h"

#include <cmath>

#include "passes/edit.h"

namespace tiercel {

namespace {

constexpr int64_t kGroup = 8;  // numbers of a column that lie together
constexpr int64_t kRun = 128;  // of the depth, that one rounding of the other operand serves
constexpr int64_t kLongestRun = 1024;  // where blocks are no multiples of that

bool all_finite(const Tensor& tensor) {
  for (int64_t i = 0; i < tensor.size(); ++i) {
    const bool is_float = tensor.dtype() == DType::Float;
    if (is_float ? !std::isfinite(tensor.data<float>()[i])
                 : !std::isfinite(element(tensor, i).value_or(NAN))) {
      return false;
    }
  }
  return true;
}

bool fits(const WeightMatrix& w) {
  if (w.n < 1 || w.k < 1 || w.block < 1 || (w.bits != 4 && w.bits != 8)) return false;
  if (w.block < w.k && (w.block % kGroup != 0 || (w.block % kRun != 0 && w.block > kLongestRun))) {
    return false;
  }
  const DType dtype = w.scales.dtype();
  const bool known = dtype == DType::Float || dtype_is_half(dtype);
  return known && all_finite(w.scales);
}

// The bytes of a tensor as a matrix of `rows` rows, each of whole bytes.
Tensor bytes_of(const Tensor& from, int64_t rows) {
  const int64_t each = from.size() / rows;
  if (dtype_bits(from.dtype()) != 4 || each % 2 == 0) {
    return {DType::UInt8, {rows, from.bytes() / rows}, from.buffer(), from.raw()};
  }
  Tensor made(DType::UInt8, {rows, (each + 1) / 2});
  std::fill_n(made.data<uint8_t>(), made.size(), uint8_t{0});
  for (int64_t i = 0; i < from.size(); ++i) {
    const int number = (from.data<uint8_t>()[i / 2] >> (i % 2 * 4)) & 15;
    const int64_t column = i % each;
    uint8_t& to = made.data<uint8_t>()[i / each * made.dims()[1] + column / 2];
    to = static_cast<uint8_t>(to | (number << (column % 2 * 4)));
  }
  return made;
}

}  // namespace

std::optional<WeightOperands> weight_operands(Graph& graph, const WeightMatrix& w,
                                              const std::string& name) {
  if (!fits(w)) return std::nullopt;
  WeightOperands out;
  const int64_t blocks = (w.k + w.block - 1) / w.block;
  const bool by_rows = w.axis == 0;
  const auto add = [&](const char* part, Tensor tensor) {
    out.inputs.push_back(graph.add_constant(concat(name, "_", part), std::move(tensor)));
  };
  add("numbers", bytes_of(w.numbers, by_rows ? w.k : w.n));
  add("scales", w.scales.reshaped(by_rows ? Dims{blocks, w.n} : Dims{w.n, blocks}));
  if (w.zeros.valid()) add("zeros", bytes_of(w.zeros, by_rows ? blocks : w.n));
  const int64_t middle = int64_t{1} << (w.bits - 1);
  out.attributes.set("bits", w.bits);
  out.attributes.set("block_size", w.block);
  out.attributes.set("axis", w.axis);
  out.attributes.set("is_signed", static_cast<int64_t>(w.is_signed));
  out.attributes.set("zero_point", w.is_signed ? w.zero_point + middle : w.zero_point);
  out.attributes.set("accuracy_level", w.accuracy_level);
  out.attributes.set("N", w.n);
  return out;
}

namespace {

// One number for all columns becomes one for each.
std::optional<Tensor> for_columns(const Tensor& from, int64_t n) {
  if (from.size() == n) return from;
  if (from.size() != 1 || dtype_bits(from.dtype()) % 8 != 0) return std::nullopt;
  Tensor made(from.dtype(), {n});
  const auto bytes = static_cast<size_t>(from.bytes());
  for (int64_t i = 0; i < n; ++i) {
    std::copy_n(from.data<std::byte>(), bytes,
                made.data<std::byte>() + static_cast<size_t>(i) * bytes);
  }
  return made;
}

// Scales, or zero points, in the order of the matrix; nullopt where they run otherwise.
std::optional<Tensor> parts_of(const Tensor& from, const WeightMatrix& w, int64_t axis) {
  const int64_t blocks = (w.k + w.block - 1) / w.block;
  if (from.rank() == 2) {
    const Dims dims = w.axis == 0 ? Dims{blocks, w.n} : Dims{w.n, blocks};
    return axis == w.axis && from.dims() == dims ? std::optional(from) : std::nullopt;
  }
  if (from.rank() == 1 && from.size() > 1 && axis == w.axis) return std::nullopt;
  return blocks == 1 ? for_columns(from, w.n) : std::nullopt;
}

// The matrix that `node`, a DequantizeLinear, makes; its depth lies along `along`.
std::optional<WeightMatrix> matrix_of(const Graph& graph, const Node& node, int64_t along) {
  const Tensor* numbers = graph.constant(node.inputs[0]);
  const Tensor* scales = graph.constant(node.inputs[1]);
  if (!numbers || !scales || numbers->rank() != 2 || scales->rank() > 2) return std::nullopt;
  const DType dtype = numbers->dtype();
  const bool nibbles = dtype == DType::Int4 || dtype == DType::UInt4;
  if (!nibbles && dtype != DType::Int8 && dtype != DType::UInt8) return std::nullopt;
  const int64_t axis = (attr_int(node, "axis", 1) + 2) % 2;
  WeightMatrix w{.numbers = *numbers, .axis = along, .bits = nibbles ? 4 : 8};
  w.k = numbers->dims()[static_cast<size_t>(along)];
  w.n = numbers->dims()[static_cast<size_t>(1 - along)];
  const int64_t block = attr_int(node, "block_size", 0);
  w.block = block != 0 ? block : w.k;
  w.is_signed = dtype == DType::Int4 || dtype == DType::Int8;
  if (w.n < 1 || w.k < 1 || w.block < 1) return std::nullopt;
  if (nibbles && along == 1 && w.k % 2 != 0) return std::nullopt;
  const auto found = parts_of(*scales, w, axis);
  if (!found) return std::nullopt;
  w.scales = *found;
  if (!has_input(node, 2)) return w;
  const Tensor* zeros = graph.constant(node.inputs[2]);
  const auto of_columns = zeros ? parts_of(*zeros, w, axis) : std::nullopt;
  if (!of_columns) return std::nullopt;
  w.zeros = *of_columns;
  return w;
}

}  // namespace

bool multiply_weights(Graph& graph, NodeId id) {
  const Node node = graph.node(id);
  const ValueId out = node.outputs[0];
  const Type type = graph.value(out).type;
  const bool is_gemm = is_op(node, "Gemm");
  if (is_gemm && (attr_float(node, "alpha", 1) != 1 || attr_float(node, "beta", 1) != 1 ||
                  attr_int(node, "transA") != 0)) {
    return false;
  }
  if (!type.shape || type.shape->empty()) return false;
  const Shape* left = shape_of(graph, node.inputs[0]);
  if (!left || left->size() < 2) return false;
  int64_t along = is_gemm && attr_int(node, "transB") != 0 ? 1 : 0;
  const Node* made = producer(graph, node.inputs[1], "Transpose");
  if (made) along = 1 - along;
  made = producer(graph, made ? made->inputs[0] : node.inputs[1], "DequantizeLinear");
  if (!made) return false;
  const auto matrix = matrix_of(graph, *made, along);
  if (!matrix || matrix->scales.dtype() != type.dtype) return false;
  auto operands = weight_operands(graph, *matrix, node.name);
  if (!operands) return false;
  operands->inputs.insert(operands->inputs.begin(), node.inputs[0]);
  ValueId y = insert_node(
      graph, id,
      {"WeightMatMul", std::move(operands->inputs), std::move(operands->attributes), "tiercel"},
      type, node.name);
  if (is_gemm && has_input(node, 2)) {
    y = insert_node(graph, id, {"Add", {y, node.inputs[2]}}, type, node.name + "_bias");
  }
  redirect(graph, out, y);
  return true;
}

}  // namespace tiercel
