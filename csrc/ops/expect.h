// What shape functions demand of operands that kernels read by the extents of another one. Extents
// that are not known yet pass: plans infer again with those of the run.
#pragma once
#include <initializer_list>

#include "ops/op_def.h"

namespace tiercel {

// Known extents of `input` agree with those of `wanted`, and so does the rank; absent inputs pass.
void expect_shape(InferContext& ctx, int input, const Shape& wanted);
// The rank of `input` is in [least, most].
void expect_rank(InferContext& ctx, int input, size_t least, size_t most);
// Each of the inputs is a vector of `length`.
void expect_vectors(InferContext& ctx, std::initializer_list<int> inputs, const Dim& length);
// `input` broadcasts to `target`: it has no more axes, and each extent is 1 or the target's.
void expect_into(InferContext& ctx, int input, const Shape& target);
// Both are known and differ.
[[nodiscard]] bool differ(const Dim& a, const Dim& b);

}  // namespace tiercel
