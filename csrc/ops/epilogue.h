// The element type that a program behind a node gives its output 0.
#pragma once
#include "ir/graph.h"

namespace tiercel {

// Whether the node's kernels hand results of 16-bit floats to the program behind it as float32 sums
// that are not rounded yet, on every provider.
[[nodiscard]] bool gives_sums(const Node& node);
// Of output 0 with the node's attribute `epilogue`, where the operator alone gives `dtype`: float32
// where the program makes that of such sums, else the same.
[[nodiscard]] DType epilogue_dtype(const Node& node, DType dtype);

}  // namespace tiercel
