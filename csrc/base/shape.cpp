// Shape text, checked products and broadcasting.
#include "base/shape.h"

#include <algorithm>

#include "base/error.h"

namespace tiercel {

namespace {

template <class List, class Text>
std::string list_text(const List& list, Text text) {
  std::string out = "[";
  for (const auto& item : list) {
    if (out.size() > 1) out += ", ";
    out += text(item);
  }
  return out + "]";
}

// One axis of a broadcast.
Dim broadcast_dim(const Dim& a, const Dim& b, const Shape& left, const Shape& right) {
  if (a.same(b)) return a;
  if (a.known() && b.known()) {
    if (a.value() == 1) return b;
    if (b.value() == 1) return a;
    throw_error(ErrorKind::InvalidGraph, "shapes ", shape_text(left), " and ", shape_text(right),
                " do not broadcast: extents ", a.value(), " and ", b.value(),
                " must be equal or one of them 1");
  }
  if (a.known()) return a.value() == 1 ? b : a;
  if (b.known()) return b.value() == 1 ? a : b;
  return {};
}

}  // namespace

std::string shape_text(const Shape& shape) {
  return list_text(shape, [](const Dim& d) { return d.text(); });
}

std::string dims_text(std::span<const int64_t> dims) {
  return list_text(dims, [](int64_t d) { return std::to_string(d); });
}

int64_t element_count(std::span<const int64_t> dims) {
  int64_t count = 1;
  for (int64_t d : dims) {
    if (d < 0 || __builtin_mul_overflow(count, d, &count)) {
      throw_error(ErrorKind::InvalidArgument, "shape ", dims_text(dims),
                  d < 0 ? " has a negative extent" : " has too many elements");
    }
  }
  return count;
}

std::optional<Dims> concrete(const Shape& shape) {
  Dims dims;
  dims.reserve(shape.size());
  for (const Dim& d : shape) {
    if (!d.known()) return std::nullopt;
    dims.push_back(d.value());
  }
  return dims;
}

Shape to_shape(std::span<const int64_t> dims) { return {dims.begin(), dims.end()}; }

Dim product(std::span<const Dim> dims) {
  Dim total(1);
  for (const Dim& d : dims) total = total * d;
  return total;
}

Shape broadcast(const Shape& a, const Shape& b) {
  const size_t rank = std::max(a.size(), b.size());
  Shape out(rank);
  for (size_t i = 0; i < rank; ++i) {
    const Dim one(1);
    const Dim& x = i < rank - a.size() ? one : a[i - (rank - a.size())];
    const Dim& y = i < rank - b.size() ? one : b[i - (rank - b.size())];
    out[i] = broadcast_dim(x, y, a, b);
  }
  return out;
}

Dims broadcast(std::span<const int64_t> a, std::span<const int64_t> b) {
  return *concrete(broadcast(to_shape(a), to_shape(b)));
}

int64_t normalize_axis(int64_t axis, int64_t rank) {
  if (axis < -rank || axis >= rank) {
    throw_error(ErrorKind::InvalidGraph, "axis ", axis, " is outside [", -rank, ", ", rank,
                ") of a tensor of rank ", rank);
  }
  return axis < 0 ? axis + rank : axis;
}

}  // namespace tiercel
