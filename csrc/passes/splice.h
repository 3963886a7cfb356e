// Bodies of operators as nodes of the graph around them.
#pragma once
#include <string>
#include <vector>

#include "ir/graph.h"
#include "ops/op_def.h"

namespace tiercel {

// Copies the nodes of `body` in front of `before`, `inputs` in the place of its inputs, and infers
// their types; returns what its outputs became. `name` begins the names of what is made.
std::vector<ValueId> splice(Graph& graph, NodeId before, const Graph& body,
                            const std::vector<ValueId>& inputs, const std::string& name);

}  // namespace tiercel
