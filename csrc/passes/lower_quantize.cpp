// QuantizeLinear and DequantizeLinear as elementwise nodes, which join the programs around them.
#include "passes/lower_quantize.h"

#include <limits>
#include <optional>

#include "passes/expand.h"

namespace tiercel::passes {

namespace {

struct Limits {
  double low, high;
};

template <class T>
Limits limits() {
  return {static_cast<double>(std::numeric_limits<T>::min()),
          static_cast<double>(std::numeric_limits<T>::max())};
}

// Of the types that elementwise kernels hold.
std::optional<Limits> limits_of(DType dtype) {
  switch (dtype) {
    case DType::Int8:
      return limits<int8_t>();
    case DType::UInt8:
      return limits<uint8_t>();
    case DType::Int16:
      return limits<int16_t>();
    case DType::UInt16:
      return limits<uint16_t>();
    case DType::Int32:
      return limits<int32_t>();
    default:
      return std::nullopt;
  }
}

// How a scale or zero point of one channel each lies along the axis: its shape up to the last axis.
std::optional<std::vector<int64_t>> along_axis(const Expander& e) {
  const auto& scale = e.type(e.input(1)).shape;
  if (!scale || attr_int(e.node(), "block_size", 0) != 0) return std::nullopt;
  if (scale->empty()) return std::vector<int64_t>();
  const auto& shape = e.type(e.input(0)).shape;
  if (scale->size() != 1 || !shape) return std::nullopt;
  if ((*scale)[0].known() && (*scale)[0].value() == 1) return std::vector<int64_t>{1};
  const auto rank = static_cast<int64_t>(shape->size());
  int64_t axis = attr_int(e.node(), "axis", 1);
  if (axis < 0) axis += rank;
  if (axis < 0 || axis >= rank) return std::nullopt;
  if (!(*scale)[0].same((*shape)[static_cast<size_t>(axis)])) return std::nullopt;  // yet to check
  std::vector<int64_t> dims(static_cast<size_t>(rank - axis), 1);
  dims.front() = -1;
  return dims;
}

ValueId shaped(Expander& e, ValueId value, const std::vector<int64_t>& dims) {
  return dims.size() < 2 ? value : e.op("Reshape", {value, e.ints(dims)});
}

}  // namespace

bool lower_quantize(Graph& graph, NodeId id) {
  Expander e(graph, id);
  const DType to = e.dtype(e.node().outputs[0]);
  const auto range = limits_of(to);
  const auto dims = along_axis(e);
  const bool plain = e.dtype(e.input(0)) == DType::Float && e.dtype(e.input(1)) == DType::Float;
  if (!range || !dims || !plain) return false;
  ValueId y = e.op("Round", {e.op("Div", {e.input(0), shaped(e, e.input(1), *dims)})});
  if (e.has(2)) y = e.op("Add", {y, shaped(e, e.cast(e.input(2), DType::Float), *dims)});
  const ValueId low = e.number(DType::Float, range->low);
  const ValueId high = e.number(DType::Float, range->high);
  return e.finish({e.cast(e.op("Clip", {y, low, high}), to)});
}

bool lower_dequantize(Graph& graph, NodeId id) {
  Expander e(graph, id);
  const auto dims = along_axis(e);
  const bool plain =
      e.dtype(e.input(1)) == DType::Float && e.dtype(e.node().outputs[0]) == DType::Float;
  if (!limits_of(e.dtype(e.input(0))) || !dims || !plain) return false;
  ValueId x = e.cast(e.input(0), DType::Float);
  if (e.has(2)) x = e.op("Sub", {x, shaped(e, e.cast(e.input(2), DType::Float), *dims)});
  return e.finish({e.op("Mul", {x, shaped(e, e.input(1), *dims)})});
}

}  // namespace tiercel::passes
