// Which nodes a device is not worth asking for: islands whose copies cost more than they save.
#pragma once
#include "runtime/plan.h"

namespace tiercel {

// Takes back to the host what a model of cost finds cheaper there: nodes of a device that other
// nodes of the host stand around and that hang together, where the shapes are known and the host
// runs all of them. Nodes whose provider was chosen by name stay. Gives the nodes of each island
// both costs as their reason. A graph whose nodes, aliases too, have been assigned.
void keep_small_islands_on_host(Graph& graph, const CompileOptions& options);

}  // namespace tiercel
