// QuantizeLinear and DequantizeLinear as elementwise nodes, which join the programs around them.
#pragma once
#include "ir/graph.h"

namespace tiercel::passes {

// False when the node is blocked, of a narrow type, or its channels may differ from its scales.
bool lower_quantize(Graph& graph, NodeId id);
bool lower_dequantize(Graph& graph, NodeId id);

}  // namespace tiercel::passes
