// Chains of operators that only relabel dims (Reshape, Flatten, Squeeze, Unsqueeze) as one Reshape
// with a constant shape.
#pragma once
#include "ir/graph.h"

namespace tiercel::passes {

// A constant shape input that makes `to` out of `from`: integers, 0 to copy a symbol in its place,
// one -1.
[[nodiscard]] std::optional<std::vector<int64_t>> reshape_target(const Shape& from,
                                                                 const Shape& to);

// Replaces the node by Reshape(source, constant); false when its output shape cannot be written so.
bool to_reshape(Graph& graph, NodeId id, ValueId source);

// The rule for all of them: nothing to do goes away, chains become one Reshape from the first
// source.
bool merge_reshapes(Graph& graph, NodeId id);

}  // namespace tiercel::passes
