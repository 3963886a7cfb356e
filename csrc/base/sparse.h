// Sparse tensors as dense ones.
#pragma once
#include "base/tensor.h"

namespace tiercel {

// The dense form of a sparse tensor with flat or per-axis indices; other elements are zero. Throws
// Error(InvalidGraph) for indices that are not in the shape, and when the dense form has more than
// `budget` bytes; takes them off the budget otherwise.
[[nodiscard]] Tensor dense(const SparseTensor& sparse, int64_t& budget);
// What the dense forms of one model may take: a few bytes of a file may ask for any amount.
inline constexpr int64_t kDenseBudget = int64_t{1} << 30;

}  // namespace tiercel
