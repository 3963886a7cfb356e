// Infers types, shapes and known elements of every value, in order; control flow nodes infer their
// bodies themselves.
#include "passes/edit.h"
#include "passes/passes.h"

namespace tiercel::passes {

bool infer(Graph& graph, PassContext&) {
  for (NodeId id : graph.order) {
    Node& node = graph.node(id);
    if (!node.removed) infer_node(graph, node);
  }
  return false;
}

}  // namespace tiercel::passes
