// Shapes: `Shape` is a list of Dim (load time), `Dims` a list of integers (run time); checked
// products and broadcasting.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/dim.h"

namespace tiercel {

using Shape = std::vector<Dim>;
using Dims = std::vector<int64_t>;

// "[batch, 3, ?, 224]"
[[nodiscard]] std::string shape_text(const Shape& shape);
[[nodiscard]] std::string dims_text(std::span<const int64_t> dims);
// Number of elements; throws Error(InvalidArgument) on a negative extent or on overflow of int64.
[[nodiscard]] int64_t element_count(std::span<const int64_t> dims);
// The integers, when every Dim is known.
[[nodiscard]] std::optional<Dims> concrete(const Shape& shape);
[[nodiscard]] Shape to_shape(std::span<const int64_t> dims);
// Product of all extents (empty: 1).
[[nodiscard]] Dim product(std::span<const Dim> dims);
// ONNX multidirectional broadcasting. Known extents that clash throw Error(InvalidGraph); symbol
// with 1 gives symbol, symbol with integer > 1 gives the integer, two different symbols give
// unknown.
[[nodiscard]] Shape broadcast(const Shape& a, const Shape& b);
[[nodiscard]] Dims broadcast(std::span<const int64_t> a, std::span<const int64_t> b);
// axis in [-rank, rank) to [0, rank); throws Error(InvalidGraph) otherwise.
[[nodiscard]] int64_t normalize_axis(int64_t axis, int64_t rank);

}  // namespace tiercel
