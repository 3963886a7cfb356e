// The rewrites from old opset forms to the newest one.
#pragma once
#include "ir/graph.h"

namespace tiercel {

// Rewrites node `id` in place by its version; nodes put before or after it are handed to `added`.
void apply_upgrade(Graph& graph, NodeId id, void (*added)(Graph& graph, NodeId made));

}  // namespace tiercel
