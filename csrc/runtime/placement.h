// Where nodes that several providers run are best run.
#pragma once
#include "runtime/plan.h"

namespace tiercel {

// The reason that such nodes are given.
inline constexpr std::string_view kMakesShapes = "shapes are made of its results";

// Takes back to the host's provider what only shapes are made of: its results are needed there. A
// graph whose nodes have been assigned; gives nodes the reason.
void keep_shapes_on_host(Graph& graph, const CompileOptions& options);

}  // namespace tiercel
