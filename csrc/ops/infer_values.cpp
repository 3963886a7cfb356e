// What shape functions ask of axes, small integer inputs and constant numbers.
#include "ops/infer_values.h"

#include <bit>
#include <cmath>
#include <cstring>

namespace tiercel {
namespace {

double half_to_double(uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const int mantissa = bits & 1023;
  const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
  if (exponent == 31) return mantissa != 0 ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(mantissa, -24);
  return sign * std::ldexp(1024 + mantissa, exponent - 25);
}

template <class T>
std::vector<double> widened(const Tensor& tensor) {
  const T* data = tensor.data<T>();
  return {data, data + tensor.size()};
}

std::optional<std::vector<double>> as_doubles(const Tensor& tensor) {
  std::vector<double> out(static_cast<size_t>(tensor.size()));
  const auto* words = tensor.data<uint16_t>();
  switch (tensor.dtype()) {
    case DType::Float:
      return widened<float>(tensor);
    case DType::Double:
      return widened<double>(tensor);
    case DType::Int64:
      return widened<int64_t>(tensor);
    case DType::Int32:
      return widened<int32_t>(tensor);
    case DType::Int16:
      return widened<int16_t>(tensor);
    case DType::Int8:
      return widened<int8_t>(tensor);
    case DType::UInt64:
      return widened<uint64_t>(tensor);
    case DType::UInt32:
      return widened<uint32_t>(tensor);
    case DType::UInt16:
      return widened<uint16_t>(tensor);
    case DType::UInt8:
      return widened<uint8_t>(tensor);
    case DType::Float16:
      for (size_t i = 0; i < out.size(); ++i) out[i] = half_to_double(words[i]);
      return out;
    case DType::BFloat16:
      for (size_t i = 0; i < out.size(); ++i) {
        out[i] = std::bit_cast<float>(static_cast<uint32_t>(words[i]) << 16);
      }
      return out;
    default:
      return std::nullopt;
  }
}

}  // namespace

int64_t axis_in(InferContext& ctx, int64_t axis, int64_t rank) {
  if (axis < -rank || axis >= rank) {
    ctx.fail(
        concat("axis ", axis, " is outside [", -rank, ", ", rank, ") for an input of rank ", rank));
  }
  return axis < 0 ? axis + rank : axis;
}

std::vector<int64_t> axes_in(InferContext& ctx, const std::vector<int64_t>& axes, int64_t rank) {
  std::vector<int64_t> out;
  std::vector<bool> seen(static_cast<size_t>(rank), false);
  for (int64_t axis : axes) {
    const int64_t a = axis_in(ctx, axis, rank);
    if (seen[static_cast<size_t>(a)]) ctx.fail(concat("axis ", axis, " is listed twice"));
    seen[static_cast<size_t>(a)] = true;
    out.push_back(a);
  }
  return out;
}

std::optional<int64_t> list_length(InferContext& ctx, int input) {
  if (!ctx.has_shape(input)) return std::nullopt;
  const Shape& shape = *ctx.shape(input);
  if (shape.size() != 1 || !shape[0].known()) return std::nullopt;
  return shape[0].value();
}

std::optional<std::vector<double>> numbers(InferContext& ctx, int input) {
  if (!ctx.has_input(input)) return std::nullopt;
  if (const Tensor* tensor = ctx.constant(input)) return as_doubles(*tensor);
  const auto known = ctx.integers(input);
  if (!known) return std::nullopt;
  return std::vector<double>(known->begin(), known->end());
}

std::optional<int64_t> small_list(const std::optional<Shape>& shape) {
  if (!shape || shape->size() > 1) return std::nullopt;
  if (shape->empty()) return 1;
  const Dim& extent = shape->front();
  if (!extent.known() || extent.value() > kMaxKnown) return std::nullopt;
  return extent.value();
}

void pass_elements(InferContext& ctx, int input, const std::optional<Shape>& out) {
  const auto count = small_list(out);
  if (!count) return;
  auto known = ctx.elements(input);
  if (known && static_cast<int64_t>(known->size()) == *count) {
    ctx.set_elements(0, std::move(*known));
  }
}

void combine_elements(InferContext& ctx, Dim (*combine)(const Dim&, const Dim&)) {
  const DType dtype = ctx.dtype(0);
  if (dtype != DType::Int64 && dtype != DType::Int32) return;
  const auto a = ctx.elements(0);
  const auto b = ctx.elements(1);
  if (!a || !b) return;
  const size_t n = a->size() == 1 ? b->size() : a->size();
  if (b->size() != 1 && b->size() != n) return;
  std::vector<Dim> result(n);
  try {
    for (size_t i = 0; i < n; ++i) {
      result[i] = combine((*a)[a->size() == 1 ? 0 : i], (*b)[b->size() == 1 ? 0 : i]);
      if (dtype == DType::Int32 && result[i].known() &&
          result[i].value() != static_cast<int32_t>(result[i].value())) {
        return;
      }
    }
  } catch (const Error&) {
    return;  // beyond 64 bits: these are no extents, and kernels let them wrap
  }
  ctx.set_elements(0, std::move(result));
}

void set_like_first(InferContext& ctx, std::optional<Shape> shape) {
  ctx.set(0, ctx.dtype(0), std::move(shape));
}

}  // namespace tiercel
