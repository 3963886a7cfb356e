// Transposed convolutions whose windows do not overlap, as 1×1 convolutions and DepthToSpace.
#pragma once
#include "ir/graph.h"

namespace tiercel::passes {

// Each input pixel makes a square of outputs of its own; false, with nothing changed, where
// windows overlap, leave gaps or are cut.
bool lower_conv_transpose(Graph& graph, NodeId id);

}  // namespace tiercel::passes
