// In whose memory values are, and cross into the bodies of control flow nodes and out of them.
#pragma once
#include <string_view>

#include "runtime/plan.h"

namespace tiercel {

// The memory that a value is in: what its node writes, or what the run is given; "cpu": the host's.
[[nodiscard]] std::string_view memory_of_value(const Graph& graph, ValueId id,
                                               const CompileOptions& options);
// The memory in which a control flow node wants its input `index`.
[[nodiscard]] std::string_view memory_of_input(const Node& node, size_t index);
// The memory in which a body wants its capture `index`.
[[nodiscard]] std::string_view memory_of_capture(const Graph& body, size_t index);

// Decides for the control flow nodes of a graph, and sets the memories of their bodies' inputs and
// outputs: what a device makes in one run of a body and reads in the next stays there, and what all
// runs of a body read comes there once.
void place_bodies(Graph& graph, const CompileOptions& options);

}  // namespace tiercel
