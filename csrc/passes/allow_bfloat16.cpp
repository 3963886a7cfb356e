// Marks the nodes whose kernels may multiply in fewer bits, as the session's options ask.
#include "passes/edit.h"
#include "passes/passes.h"

namespace tiercel::passes {

bool allow_bfloat16(Graph& graph, PassContext& context) {
  if (!context.bfloat16) return false;
  return each_graph(graph, [&](Graph& g) {
    bool changed = false;
    for (const NodeId id : g.order) {
      Node& node = g.node(id);
      if (node.removed || node.provider != context.layout_provider) continue;
      node.attributes.set("bfloat16", int64_t{1});
      changed = true;
    }
    return changed;
  });
}

}  // namespace tiercel::passes
