// Checks that a graph keeps the rules everything after the reader relies on.
#pragma once
#include "ir/graph.h"

namespace tiercel {

// Throws Error(InvalidGraph) naming the node and the value. Every node is once in topological
// order; every value is made by exactly one thing (a node, an input, a constant, a capture); ids
// are in range; bodies likewise.
void verify(const Graph& graph);

}  // namespace tiercel
